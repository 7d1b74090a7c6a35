# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ops that are more than a view of one operand: constants, positions, joins, lookups, random bits.

`CHOICES` holds a rule per op: (builder, op, index) -> what the op's result is at that index.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.pipelines.kernels.index_maps import START, Index, NotCovered, linear
from flambeau.pipelines.kernels.plan import Constant, Guard, Node, Position, Random
from flambeau.pipelines.kernels.polynomial import ZERO, Polynomial
from flambeau.pipelines.kernels.symbols import Symbols

Look: TypeAlias = tuple[ir.Value, tuple[Index, ...]]
"""A value, and at which index of it."""


class Walk(Protocol):
    """The walk that builds a plan, as rules see it."""

    @property
    def symbols(self) -> Symbols: ...

    def node(self, value: ir.Value, index: tuple[Index, ...]) -> Node:
        """What a value is at an index."""

    def look_up(self, value: ir.Value, index: tuple[Index, ...], size: Polynomial) -> Index:
        """The index into a dim of `size` places that a tensor of indices holds at `index`."""

    def loops_of(self, index: Index) -> frozenset[int]:
        """The loops that an index depends on, itself or by what it looks up."""

    def choose(self, guard: Guard, inside: Look, outside: Look | Node) -> Node:
        """What one value is where the guard holds, and another one elsewhere."""

    def choose_all(self, guards: Sequence[Guard], inside: Look, outside: Node) -> Node:
        """The same where all of several guards hold."""


def _constant(builder: Walk, op: Any, index: tuple[Index, ...]) -> Node:
    if not op.value.is_splat:
        raise NotCovered("a constant of several values")
    return Constant(op.out.type.element_type, frozenset(), 0, value=op.value)


def _size_to_tensor(builder: Walk, op: Any, index: tuple[Index, ...]) -> Node:
    place = START + builder.symbols.size(op.operation.operands[0])
    return Position(op.out.type.element_type, frozenset(), 0, index=place)


def _iota(builder: Walk, op: Any, index: tuple[Index, ...]) -> Node:
    return Position(op.out.type.element_type, index[0].loops, 0, index=index[0])


def _at(index: tuple[Index, ...], dim: int, place: Index) -> tuple[Index, ...]:
    return (*index[:dim], place, *index[dim + 1 :])


def _cat(builder: Walk, op: Any, index: tuple[Index, ...]) -> Node:
    """The first tensor up to its size, then the second."""
    size = builder.symbols.shape(op.x)[op.dim]
    second = _at(index, op.dim, index[op.dim] + size * -1)
    guard = Guard(index[op.dim], ZERO, size)
    return builder.choose(guard, (op.x, index), (op.y, second))


def _slice_scatter(builder: Walk, op: Any, index: tuple[Index, ...]) -> Node:
    """The part inside of the slice, the base outside."""
    if op.step != 1:
        raise NotCovered("writes a slice with a step")
    start, end = builder.symbols.size(op.start), builder.symbols.size(op.end)
    inside = _at(index, op.dim, index[op.dim] + start * -1)
    return builder.choose(Guard(index[op.dim], start, end), (op.src, inside), (op.x, index))


def _select_scatter(builder: Walk, op: Any, index: tuple[Index, ...]) -> Node:
    """The part at its index, the base elsewhere."""
    at = builder.symbols.size(op.index)
    part = (*index[: op.dim], *index[op.dim + 1 :])
    return builder.choose(Guard(index[op.dim], at, at + 1), (op.src, part), (op.x, index))


def _pad(builder: Walk, op: Any, index: tuple[Index, ...]) -> Node:
    """The tensor inside, the number around it; a negative pad crops."""
    sizes = builder.symbols.shape(op.x)
    outside = Constant(op.x.type.element_type, frozenset(), 0, value=_fill(op.value, op.x.type.element_type))
    pads = list(zip(op.pad[::2], op.pad[1::2], strict=True))
    dims = {len(sizes) - 1 - i: pair for i, pair in enumerate(pads)}
    inside = tuple(place + (-dims[d][0] if d in dims else 0) for d, place in enumerate(index))
    guards = [
        Guard(inside[d], ZERO, sizes[d])
        for d, (before, after) in sorted(dims.items())
        if before > 0 or after > 0
    ]
    return builder.choose_all(guards, (op.x, inside), outside)


def _fill(value: float | int | bool, element: ir.Type) -> ir.Attribute:
    """A number as a dense attribute of rank 0."""
    type_ = ir.RankedTensorType.get([], element)
    return ir.DenseElementsAttr.get_splat(type_, b.element_attribute(value, element))


def _gather(builder: Walk, op: Any, index: tuple[Index, ...]) -> Node:
    """The element at the position that the index says."""
    if not op.x.type.rank:
        return builder.node(op.x, ())
    found = builder.look_up(op.index, index, builder.symbols.shape(op.x)[op.dim])
    return builder.node(op.x, _at(index, op.dim, found) if index else (found,))


def _index(builder: Walk, op: Any, index: tuple[Index, ...]) -> Node:
    """The elements at several looked-up indices, whose dims stand where the first of them was, or in front."""
    dims, sizes = list(op.dims), builder.symbols.shape(op.x)
    rank = op.indices[0].type.rank
    start = dims[0] if dims == list(range(dims[0], dims[0] + len(dims))) else 0
    at = index[start : start + rank]
    rest = iter([*index[:start], *index[start + rank :]])
    found = dict(zip(dims, op.indices, strict=True))
    place = [builder.look_up(found[d], at, sizes[d]) if d in found else next(rest) for d in range(len(sizes))]
    return builder.node(op.x, tuple(place))


def random_bits(builder: Walk, op: Any, index: tuple[Index, ...], word: int) -> Node:
    i32 = ir.IntegerType.get_signless(32)
    place = linear(index, builder.symbols.shape(op.word0))
    keys = [builder.node(op.seed, (START + n,)) for n in (0, 1)]
    position = Position(i32, builder.loops_of(place), 0, index=place)
    arguments = (*keys, builder.node(op.offset, ()), position)
    loops = frozenset().union(*(a.loops for a in arguments))
    return Random(i32, loops, max(a.level for a in arguments), arguments, word=word, bits=op.bits)


CHOICES = {
    "flambeau.gather": _gather,
    "flambeau.index": _index,
    "flambeau.cat": _cat,
    "flambeau.constant_pad_nd": _pad,
    "flambeau.slice_scatter": _slice_scatter,
    "flambeau.select_scatter": _select_scatter,
    "flambeau.constant": _constant,
    "flambeau.size_to_tensor": _size_to_tensor,
    "flambeau.iota": _iota,
}
