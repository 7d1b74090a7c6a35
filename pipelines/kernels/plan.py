# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a kernel computes at each place of one iteration space: loads, arithmetic, reductions, stores.

In: the body of a `flambeau.kernel`. Out: a `Plan`, which knows nothing of views any more: they have become the index
maps of loads. `NotCovered` where the body has no single iteration space; a reduction that is read at another place
than it is computed has none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import OPS
from flambeau.dialects.types import is_tensor, shape_of
from flambeau.pipelines.kernels.index_maps import (
    START,
    Index,
    NotCovered,
    SplitLoop,
    linear,
    reshape,
)
from flambeau.pipelines.kernels.polynomial import ONE, ZERO, Polynomial, product
from flambeau.pipelines.kernels.symbols import Symbols
from flambeau.pipelines.scalar_forms import has_scalar_form

# --- What is computed --------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Node:
    """A scalar at each place. `loops`: the loop variables that it depends on. `level`: how many reductions deep.

    `type`: the element type as the kernel's ops say it.
    """

    type: ir.Type
    loops: frozenset[int]
    level: int
    arguments: tuple["Node", ...] = ()


@dataclass(frozen=True)
class Guard:
    """That an index lies in [low, high), or outside of it."""

    index: Index
    low: Polynomial
    high: Polynomial
    inside: bool = True


@dataclass(frozen=True, eq=False)
class Load(Node):
    """The element of operand `operand` at `place` in its memory; where a guard does not hold, any number."""

    operand: int = 0
    place: Index = START
    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True, eq=False)
class Choose(Node):
    """The first argument where the guard holds, else the second."""

    guard: Guard | None = None


@dataclass(frozen=True, eq=False)
class Constant(Node):
    """The same number everywhere."""

    value: ir.Attribute | None = None


@dataclass(frozen=True, eq=False)
class Position(Node):
    """An index as a number."""

    index: Index = START


@dataclass(frozen=True, eq=False)
class Apply(Node):
    """An elementwise op."""

    op: Any = None


@dataclass(frozen=True, eq=False)
class Random(Node):
    """The top `bits` bits of word number `word`; arguments: the two words of the key, the draw, the position."""

    word: int = 0
    bits: int = 32


@dataclass(frozen=True, eq=False)
class Reduce(Node):
    """A reduction of its argument over all reduced loops: `kind` is sum, prod, amax or amin; a mean is a sum."""

    kind: str = "sum"
    op: Any = None


@dataclass(frozen=True)
class Store:
    """Result number `result` is `node`, at `place` in its memory."""

    result: int
    node: Node
    place: Index


@dataclass(frozen=True)
class Loop:
    """A loop of the iteration space: its number in index maps, how many places it has, whether it is reduced over."""

    number: int
    size: Polynomial
    reduced: bool


@dataclass(frozen=True)
class LookedUp:
    """An index that is a value: `node`, in [0, size), or from -size on, counted from the end."""

    node: Node
    size: Polynomial


FIRST_LOOKED_UP = 1000  # the numbers of looked-up indices in index maps begin here, behind all loops


@dataclass(frozen=True)
class Plan:
    """A kernel's iteration space, outer loops first, what is stored, and the looked-up indices by number."""

    loops: tuple[Loop, ...]
    stores: tuple[Store, ...]
    reductions: tuple[Reduce, ...]
    symbols: Symbols = field(repr=False)
    looked_up: dict[int, LookedUp] = field(default_factory=dict)

    @property
    def parallel(self) -> list[Loop]:
        return [loop for loop in self.loops if not loop.reduced]

    @property
    def reduced(self) -> list[Loop]:
        return [loop for loop in self.loops if loop.reduced]

    @cached_property
    def nodes(self) -> list[Node]:
        """All nodes, arguments before what uses them."""
        found: dict[int, Node] = {}

        def visit(node: Node) -> None:
            if id(node) not in found:
                for argument in (*node.arguments, *self.indices_of(node)):
                    visit(argument)
                found[id(node)] = node

        for store in self.stores:
            visit(store.node)
        return list(found.values())

    def indices_of(self, node: Node) -> list[Node]:
        """The values that say where a node looks."""
        if not isinstance(node, Load):
            return []
        indices = [node.place, *(guard.index for guard in node.guards)]
        numbers = sorted({n for index in indices for n in index.loops if n in self.looked_up})
        return [self.looked_up[n].node for n in numbers]

    @property
    def loads(self) -> list[Load]:
        return [node for node in self.nodes if isinstance(node, Load)]


REDUCTIONS = {"sum": "sum", "mean": "sum", "prod": "prod", "amax": "amax", "amin": "amin"}
_SAME = ("flambeau.clone", "autograd.detach", "autograd.checkpoint")
_LARGEST_KERNEL = 400  # nodes; views at many places multiply what is computed


def make_plan(block: ir.Block) -> Plan:
    """The plan of a kernel's body, whose terminator's operands are the results."""
    symbols = Symbols(block)
    factors: dict[int, list[Polynomial]] = {}  # how the dims of the space are split
    for _ in range(16):
        builder = _Builder(block, symbols, factors)
        try:
            return _collapse(builder.build())
        except SplitLoop as split:
            builder.split(split, factors)
    raise NotCovered("views split the iteration space again and again")


# --- Building ----------------------------------------------------------------------------------------------------


class _Builder:
    """Walks a kernel's body from its results to its operands with an index map."""

    def __init__(self, block: ir.Block, symbols: Symbols, factors: dict[int, list[Polynomial]]) -> None:
        self._operands = {a: i for i, a in enumerate(block.arguments)}
        operations = [o.operation for o in block.operations]
        self._results = list(operations[-1].operands)
        self._symbols = symbols
        self._memo: dict[tuple[ir.Value, tuple[Index, ...], tuple[Guard, ...]], Node] = {}
        self._guards: tuple[Guard, ...] = ()
        self._looked_up: dict[int, LookedUp] = {}
        self._reductions: dict[ir.Value, tuple[tuple[Index, ...], Reduce]] = {}
        reducing = [op for op in operations if _reduction(op) is not None]
        self._main = reducing[0].operands[0] if reducing else max(
            self._results, key=lambda v: (v.type.rank, sum(s != 1 for s in shape_of(v)))
        )
        self._lay_out(_reduced_dims(reducing[0]) if reducing else [], factors)
        if reducing and not any(loop.reduced for loop in self.loops):
            raise NotCovered("it reduces a number")

    def _lay_out(self, gone: Sequence[int], factors: dict[int, list[Polynomial]]) -> None:
        """Give each dim of the main value its loops."""
        self.loops: list[Loop] = []
        self._dims: dict[int, int] = {}  # loop -> dim
        index: list[Index] = []
        for dim, size in enumerate(self._symbols.shape(self._main)):
            if size.static == 0:
                raise NotCovered("there are no elements")
            parts = factors.get(dim, [size])
            place, stride = START, ONE
            numbers = range(len(self.loops), len(self.loops) + len(parts))
            for number, part in zip(reversed(numbers), reversed(parts), strict=True):
                if part.static != 1:
                    place = place + Index.loop(number, stride)
                stride = stride * part
            for number, part in zip(numbers, parts, strict=True):
                self.loops.append(Loop(number, part, dim in gone))
                self._dims[number] = dim
            index.append(place)
        self._sizes = [loop.size for loop in self.loops]
        self._index = tuple(index)

    def split(self, split: SplitLoop, factors: dict[int, list[Polynomial]]) -> None:
        """Note in `factors` that a loop has become two."""
        dim = self._dims[split.number]
        siblings = [n for n, d in self._dims.items() if d == dim]
        parts = factors.get(dim) or [self._sizes[n] for n in siblings]
        at = siblings.index(split.number)
        count = parts[at].static
        assert count is not None
        halves = [Polynomial.of(count // split.inner), Polynomial.of(split.inner)]
        factors[dim] = [*parts[:at], *halves, *parts[at + 1 :]]

    def build(self) -> Plan:
        stores = []
        for number, value in enumerate(self._results):
            index = self._index_of_root(value)
            place = linear(index, self._symbols.shape(value))
            stores.append(Store(number, self._node(value, tuple(index)), place))
        reductions = tuple(node for _, node in self._reductions.values())
        return Plan(tuple(self.loops), tuple(stores), reductions, self._symbols, self._looked_up)

    def _index_of_root(self, value: ir.Value) -> list[Index]:
        """Where a result lies in the iteration space: over all of it, or over its parallel loops."""
        shape = self._symbols.shape(value)
        every = [loop for loop in self.loops if loop.size.static != 1]
        kept = [loop for loop in every if not loop.reduced]
        for loops in (every, kept):
            if product([loop.size for loop in loops]) == product(shape):
                index = [Index.loop(loop.number) for loop in loops]
                return reshape(index, [loop.size for loop in loops], shape, self._sizes)
        raise NotCovered("the results have no common iteration space")

    def _node(self, value: ir.Value, index: tuple[Index, ...]) -> Node:
        key = (value, index, self._guards)
        if key not in self._memo:
            if len(self._memo) > _LARGEST_KERNEL:
                raise NotCovered("it is too large")
            self._memo[key] = self._make(value, index)
        return self._memo[key]

    def _make(self, value: ir.Value, index: tuple[Index, ...]) -> Node:
        if value in self._operands:
            place = linear(index, self._symbols.shape(value))
            indices = [place, *(guard.index for guard in self._guards)]
            return Load(
                value.type.element_type,
                frozenset().union(*(self._loops_of(index) for index in indices)),
                max(self._level_of(index) for index in indices),
                operand=self._operands[value],
                place=place,
                guards=self._guards,
            )
        op = value.owner.operation
        if op.name in _SAME:
            return self._node(op.operands[0], index)
        if op.name in _VIEWS:
            return self._node(op.operands[0], tuple(_VIEWS[op.name](self, op.opview, index)))
        if op.name == "flambeau.random_bits":
            return _random_bits(self, op.opview, index, list(op.results).index(value))
        if op.name in _LEAVES:
            return _LEAVES[op.name](self, op.opview, index)
        if _reduction(op) is not None:
            return self._reduce(op, index)
        if op.name in OPS and OPS[op.name].elementwise and has_scalar_form(op) and len(op.results) == 1:
            return self._apply(op, index)
        raise NotCovered(f"{op.name} has no loop form")

    def look_up(self, value: ir.Value, index: tuple[Index, ...], size: Polynomial) -> Index:
        """The index into a dim of `size` places that a tensor of indices holds at `index`."""
        node = self._node(value, index)
        for number, found in self._looked_up.items():
            if found.node is node and found.size == size:
                return Index.loop(number)
        number = FIRST_LOOKED_UP + len(self._looked_up)
        self._looked_up[number] = LookedUp(node, size)
        return Index.loop(number)

    def _loops_of(self, index: Index) -> frozenset[int]:
        """The loops that an index depends on, itself or by what it looks up."""
        found = [self._looked_up[n].node.loops if n in self._looked_up else {n} for n in index.loops]
        return frozenset().union(*found)

    def _level_of(self, index: Index) -> int:
        return max((self._looked_up[n].node.level for n in index.loops if n in self._looked_up), default=0)

    def choose(self, guard: Guard, inside: "Look", outside: "Look | Node") -> Node:
        """What one value is where the guard holds, and another one elsewhere."""
        first = self._guarded(guard, inside)
        other = replace(guard, inside=not guard.inside)
        second = outside if isinstance(outside, Node) else self._guarded(other, outside)
        loops = first.loops | second.loops | self._loops_of(guard.index)
        return Choose(first.type, loops, max(first.level, second.level), (first, second), guard=guard)

    def choose_all(self, guards: Sequence[Guard], inside: "Look", outside: Node) -> Node:
        """The same where all of several guards hold."""
        if not guards:
            return self._node(*inside)
        before = self._guards
        self._guards = (*before, *guards)
        node = self._node(*inside)
        self._guards = before
        for guard in guards:
            loops = node.loops | outside.loops | self._loops_of(guard.index)
            node = Choose(node.type, loops, node.level, (node, outside), guard=guard)
        return node

    def _guarded(self, guard: Guard, look: "Look") -> Node:
        before = self._guards
        self._guards = (*before, guard)
        try:
            return self._node(*look)
        finally:
            self._guards = before

    def _apply(self, op: ir.Operation, index: tuple[Index, ...]) -> Node:
        if any(not is_tensor(v.type) for v in op.operands):
            raise NotCovered(f"{op.name} takes a size")
        arguments = tuple(self._node(v, index) for v in op.operands)
        loops = frozenset().union(*(a.loops for a in arguments))
        level = max((a.level for a in arguments), default=0)
        return Apply(op.results[0].type.element_type, loops, level, arguments, op=op)

    def _reduce(self, op: ir.Operation, index: tuple[Index, ...]) -> Node:
        """A reduction read at `index`, which must be where the iteration space computes it."""
        gone = _reduced_dims(op)
        operand = op.operands[0]
        rank = operand.type.rank
        keeps = op.results[0].type.rank == rank
        read = list(index) if keeps else _with_gaps(index, gone, rank)
        place = self._index_of_operand(op)
        if any(read[d] != place[d] for d in range(rank) if d not in gone):
            raise NotCovered("a reduction is read at another place than it is computed")
        result = op.results[0]
        if result not in self._reductions:
            guards, self._guards = self._guards, ()  # it is computed everywhere
            node = self._make_reduction(op, place)
            self._guards = guards
            self._reductions[result] = (place, node)
        return self._reductions[result][1]

    def _index_of_operand(self, op: ir.Operation) -> tuple[Index, ...]:
        """At which index a reduction reads its operand: along all loops, in the main value's order."""
        operand, gone = op.operands[0], _reduced_dims(op)
        shape = self._symbols.shape(operand)
        every = [loop for loop in self.loops if loop.size.static != 1]
        if product(shape) != product([loop.size for loop in every]):
            raise NotCovered("reductions run over spaces of different sizes")
        index = [Index.loop(loop.number) for loop in every]
        place = tuple(reshape(index, [loop.size for loop in every], shape, self._sizes))
        reduced = {loop.number for loop in every if loop.reduced}
        inside = frozenset().union(*(place[d].loops for d in gone)) if gone else frozenset()
        outside = frozenset().union(*(place[d].loops for d in range(len(place)) if d not in gone))
        if inside != reduced or outside & reduced:
            raise NotCovered("reductions run over different dims")
        return place

    def _make_reduction(self, op: ir.Operation, place: tuple[Index, ...]) -> Reduce:
        argument = self._node(op.operands[0], place)
        kept = frozenset(loop.number for loop in self.loops if not loop.reduced)
        kind = _reduction(op)
        assert kind is not None
        element = op.results[0].type.element_type
        return Reduce(element, argument.loops & kept, argument.level + 1, (argument,), kind=kind, op=op)


def _reduction(op: ir.Operation) -> str | None:
    """The kind of a reduction, None of any other op."""
    dialect, _, name = op.name.partition(".")
    return REDUCTIONS.get(name) if dialect == "flambeau" else None


def _reduced_dims(op: ir.Operation) -> list[int]:
    """The dims that a reduction takes away."""
    rank = op.operands[0].type.rank
    view = op.opview
    dims = view.dims if hasattr(view, "dims") else ([] if view.dim is None else [view.dim])
    return sorted({d % rank for d in dims}) if dims and rank else list(range(rank))


def _with_gaps(index: Sequence[Index], gone: Sequence[int], rank: int) -> list[Index]:
    rest = iter(index)
    return [START if d in gone else next(rest) for d in range(rank)]


# --- Views: at which index of its operand an op looks -----------------------------------------------------------------


def _expand(builder: _Builder, op: Any, index: tuple[Index, ...]) -> list[Index]:
    sizes = shape_of(op.x)
    rest = index[len(index) - len(sizes) :]
    return [START if size == 1 else i for size, i in zip(sizes, rest, strict=True)]


def _view(builder: _Builder, op: Any, index: tuple[Index, ...]) -> list[Index]:
    symbols = builder._symbols
    return reshape(index, symbols.shape(op.out), symbols.shape(op.x), builder._sizes)


def _unsqueeze(builder: _Builder, op: Any, index: tuple[Index, ...]) -> list[Index]:
    return [*index[: op.dim], *index[op.dim + 1 :]]


def _squeeze(builder: _Builder, op: Any, index: tuple[Index, ...]) -> list[Index]:
    return _with_gaps(index, list(op.dims), op.x.type.rank)


def _permute(builder: _Builder, op: Any, index: tuple[Index, ...]) -> list[Index]:
    return [index[list(op.dims).index(d)] for d in range(len(index))]


def _transpose(builder: _Builder, op: Any, index: tuple[Index, ...]) -> list[Index]:
    result = list(index)
    if result:
        result[op.dim0], result[op.dim1] = index[op.dim1], index[op.dim0]
    return result


def _t(builder: _Builder, op: Any, index: tuple[Index, ...]) -> list[Index]:
    return list(reversed(index))


def _slice(builder: _Builder, op: Any, index: tuple[Index, ...]) -> list[Index]:
    result = list(index)
    result[op.dim] = index[op.dim] * op.step + builder._symbols.size(op.start)
    return result


def _select(builder: _Builder, op: Any, index: tuple[Index, ...]) -> list[Index]:
    return [*index[: op.dim], START + builder._symbols.size(op.index), *index[op.dim :]]


def _flip(builder: _Builder, op: Any, index: tuple[Index, ...]) -> list[Index]:
    sizes, rank = builder._symbols.shape(op.x), len(index)
    dims = {d % rank for d in op.dims} if rank else set()
    return [i * -1 + (sizes[d] - 1) if d in dims else i for d, i in enumerate(index)]


_VIEWS = {
    "flambeau.expand": _expand,
    "flambeau.view": _view,
    "flambeau.unsqueeze": _unsqueeze,
    "flambeau.squeeze": _squeeze,
    "flambeau.permute": _permute,
    "flambeau.transpose": _transpose,
    "flambeau.t": _t,
    "flambeau.slice": _slice,
    "flambeau.select": _select,
    "flambeau.flip": _flip,
}


def _constant(builder: _Builder, op: Any, index: tuple[Index, ...]) -> Node:
    if not op.value.is_splat:
        raise NotCovered("a constant of several values")
    return Constant(op.out.type.element_type, frozenset(), 0, value=op.value)


def _size_to_tensor(builder: _Builder, op: Any, index: tuple[Index, ...]) -> Node:
    place = START + builder._symbols.size(op.operation.operands[0])
    return Position(op.out.type.element_type, frozenset(), 0, index=place)


def _iota(builder: _Builder, op: Any, index: tuple[Index, ...]) -> Node:
    return Position(op.out.type.element_type, index[0].loops, 0, index=index[0])


Look: TypeAlias = tuple[ir.Value, tuple[Index, ...]]  # a value, and at which index of it


def _at(index: tuple[Index, ...], dim: int, place: Index) -> tuple[Index, ...]:
    return (*index[:dim], place, *index[dim + 1 :])


def _cat(builder: _Builder, op: Any, index: tuple[Index, ...]) -> Node:
    """The first tensor up to its size, then the second."""
    size = builder._symbols.shape(op.x)[op.dim]
    second = _at(index, op.dim, index[op.dim] + size * -1)
    guard = Guard(index[op.dim], ZERO, size)
    return builder.choose(guard, (op.x, index), (op.y, second))


def _slice_scatter(builder: _Builder, op: Any, index: tuple[Index, ...]) -> Node:
    """The part inside of the slice, the base outside."""
    if op.step != 1:
        raise NotCovered("writes a slice with a step")
    start, end = builder._symbols.size(op.start), builder._symbols.size(op.end)
    inside = _at(index, op.dim, index[op.dim] + start * -1)
    return builder.choose(Guard(index[op.dim], start, end), (op.src, inside), (op.x, index))


def _select_scatter(builder: _Builder, op: Any, index: tuple[Index, ...]) -> Node:
    """The part at its index, the base elsewhere."""
    at = builder._symbols.size(op.index)
    part = (*index[: op.dim], *index[op.dim + 1 :])
    return builder.choose(Guard(index[op.dim], at, at + 1), (op.src, part), (op.x, index))


def _pad(builder: _Builder, op: Any, index: tuple[Index, ...]) -> Node:
    """The tensor inside, the number around it; a negative pad crops."""
    sizes = builder._symbols.shape(op.x)
    outside = Constant(op.x.type.element_type, frozenset(), 0, value=_fill(op.value, op.x.type.element_type))
    pads = list(zip(op.pad[::2], op.pad[1::2], strict=True))
    dims = {len(sizes) - 1 - i: pair for i, pair in enumerate(pads)}
    inside = tuple(place + (-dims[d][0] if d in dims else 0) for d, place in enumerate(index))
    guards = [
        Guard(inside[d], ZERO, sizes[d]) for d, (before, after) in sorted(dims.items()) if before > 0 or after > 0
    ]
    return builder.choose_all(guards, (op.x, inside), outside)


def _fill(value: float | int | bool, element: ir.Type) -> ir.Attribute:
    """A number as a dense attribute of rank 0."""
    type_ = ir.RankedTensorType.get([], element)
    return ir.DenseElementsAttr.get_splat(type_, b.element_attribute(value, element))


def _gather(builder: _Builder, op: Any, index: tuple[Index, ...]) -> Node:
    """The element at the position that the index says."""
    size = builder._symbols.shape(op.x)[op.dim]
    return builder._node(op.x, _at(index, op.dim, builder.look_up(op.index, index, size)))


def _index(builder: _Builder, op: Any, index: tuple[Index, ...]) -> Node:
    """The elements at several looked-up indices, whose dims stand where the first of them was, or in front."""
    dims, sizes = list(op.dims), builder._symbols.shape(op.x)
    rank = op.indices[0].type.rank
    start = dims[0] if dims == list(range(dims[0], dims[0] + len(dims))) else 0
    at = index[start : start + rank]
    rest = iter([*index[:start], *index[start + rank :]])
    found = dict(zip(dims, op.indices, strict=True))
    place = [
        builder.look_up(found[d], at, sizes[d]) if d in found else next(rest) for d in range(len(sizes))
    ]
    return builder._node(op.x, tuple(place))


def _random_bits(builder: _Builder, op: Any, index: tuple[Index, ...], word: int) -> Node:
    i32 = ir.IntegerType.get_signless(32)
    place = linear(index, builder._symbols.shape(op.word0))
    keys = [builder._node(op.seed, (START + n,)) for n in (0, 1)]
    position = Position(i32, builder._loops_of(place), 0, index=place)
    arguments = (*keys, builder._node(op.offset, ()), position)
    loops = frozenset().union(*(a.loops for a in arguments))
    return Random(i32, loops, max(a.level for a in arguments), arguments, word=word, bits=op.bits)


_LEAVES = {
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


# --- Collapsing -----------------------------------------------------------------------------------------------------


def _without_units(loops: Sequence[Loop]) -> tuple[Loop, ...]:
    """The loops over more than one place, but one reduced loop at least if there are any."""
    kept = [loop for loop in loops if loop.size.static != 1]
    units = [loop for loop in loops if loop.reduced and loop.size.static == 1]
    if units and not any(loop.reduced for loop in kept):
        kept = [loop for loop in loops if loop.size.static != 1 or loop is units[0]]
    return tuple(kept)


def _collapse(plan: Plan) -> Plan:
    """Neighbouring loops as one, where every access goes on through the inner one to the next place of the outer one."""
    plan = replace(plan, loops=_without_units(plan.loops))
    maps = [node.place for node in plan.loads] + [store.place for store in plan.stores]
    maps += [node.index for node in plan.nodes if isinstance(node, Position)]
    maps += [node.guard.index for node in plan.nodes if isinstance(node, Choose) and node.guard]
    loops = list(plan.loops)
    at = 0
    while at + 1 < len(loops):
        outer, inner = loops[at : at + 2]
        if outer.reduced == inner.reduced and all(
            m.coefficient(outer.number) == m.coefficient(inner.number) * inner.size for m in maps
        ):
            # The inner variable now counts through both; the outer one is always 0, so its terms do nothing.
            loops[at : at + 2] = [Loop(inner.number, outer.size * inner.size, outer.reduced)]
        else:
            at += 1
    return replace(plan, loops=tuple(loops))
