# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of views, scatters through views and joins.

Most go to tensor and linalg ops: torch-mlir's own lowering guards each dynamic size against broadcasting and negative
indices, which our ops exclude, and cannot split or merge several dynamic dims.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import pairwise
from math import prod
from typing import Any, TypeAlias

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.opdef import OPS
from flambeau.dialects.types import DYNAMIC, is_complex, shape_of, tensor_type
from flambeau.pipelines.analysis.fills import fill_value
from flambeau.pipelines.lower_to_torch import builtin
from flambeau.pipelines.lower_to_torch import torch_builder as t

SizeValue: TypeAlias = int | ir.Value  # an int, or a value of type `index`
Symbol = Hashable  # what a size is known to be: an int, or something that is equal only for equal sizes
Groups = list[tuple[list[int], list[int]]]  # old dims and the new dims that hold the same elements


def _size(value: int | ir.Value) -> SizeValue:
    """A size field of a lowered op as an int or `index`."""
    return value if isinstance(value, int) else builtin.to_index(value)


def _arith(function: Any, x: SizeValue, y: SizeValue) -> SizeValue:
    result: ir.Value = function(builtin.as_index(x), builtin.as_index(y))
    return result


def _subtract(x: SizeValue, y: SizeValue) -> SizeValue:
    if isinstance(x, int) and isinstance(y, int):
        return x - y
    return x if isinstance(y, int) and y == 0 else _arith(arith.subi, x, y)


# --- Broadcast -------------------------------------------------------------------------------------------------------


@t.lowers("flambeau.expand")
def _expand(o: t.Lowered) -> ir.Value:
    x = builtin.operand(o, "x")
    have, want = shape_of(x), shape_of(o.op.out)
    if have == want and (DYNAMIC not in have or len(have) == 0):
        return o.x
    constant = fill_value(o.op.x)
    if constant is not None and not is_complex(x.type):
        sizes = [s if s != DYNAMIC else _size(o.shape[i]) for i, s in enumerate(want)]
        return builtin.result(o, builtin.fill(sizes, constant, x.type.element_type))
    rank, added = len(want), len(want) - len(have)
    position = [ir.AffineExpr.get_dim(i) for i in range(rank)]
    source = [ir.AffineExpr.get_constant(0) if s == 1 else position[added + i] for i, s in enumerate(have)]
    sizes = [s if s != DYNAMIC else _size(o.shape[i]) for i, s in enumerate(want)]
    (out,) = builtin.generic(
        [x],
        [builtin.empty(sizes, x.type.element_type)],
        [ir.AffineMap.get(rank, 0, source), ir.AffineMap.get_identity(rank)],
        ["parallel"] * rank,
        lambda element, _: [element],
    )
    return builtin.result(o, out)


# --- Reshape ---------------------------------------------------------------------------------------------------------


@t.lowers("flambeau.view")
def _view(o: t.Lowered) -> ir.Value:
    x = builtin.operand(o, "x")
    have = [size_symbol(o.op.x, i) for i in range(len(shape_of(o.op.x)))]
    want = [s if isinstance(s, int) else index_symbol(s) for s in o.op.shape]
    return builtin.result(o, _reshape(x, [_size(s) for s in o.shape], _match(have, want)))


def _reshape(x: ir.Value, sizes: Sequence[SizeValue], groups: Groups) -> ir.Value:
    """`x` in the shape `sizes`: each group of old dims is collapsed to one, which is split into the new dims."""
    element = x.type.element_type
    have, want = shape_of(x), [_static(s) for s in sizes]
    if any(len(old) != 1 for old, _ in groups) or not groups:
        if not groups:  # one element: all sizes are 1
            x = builtin.cast(x, tensor_type([1] * len(have), element))
        x = builtin.collapse_shape(
            x, [old for old, _ in groups], tensor_type([_product(have, old) for old, _ in groups], element)
        )
    x = builtin.cast(x, tensor_type([_product(want, new) for _, new in groups], element))
    if any(len(new) != 1 for _, new in groups) or not groups:
        x = builtin.expand_shape(x, [new for _, new in groups], sizes if groups else [1] * len(sizes))
    return x


def _static(size: SizeValue) -> int:
    return size if isinstance(size, int) else DYNAMIC


def _product(sizes: Sequence[int], dims: Sequence[int]) -> int:
    """The product of static sizes; DYNAMIC if one is."""
    chosen = [sizes[d] for d in dims]
    return DYNAMIC if DYNAMIC in chosen else prod(chosen)


def _match(have: Sequence[Symbol], want: Sequence[Symbol]) -> Groups:
    """Pairs of neighbouring old and new dims that hold the same elements, as fine as the symbols prove.

    Where one pair of prefixes (or of suffixes) has equal products, a group may end: the longest chain of such places
    is taken.
    """
    if not have or not want:
        return []
    ends = [(0, 0)]
    if 0 not in have and 0 not in want:
        ends += [
            (i, j)
            for i in range(1, len(have))
            for j in range(1, len(want))
            if _factors(have[:i]) == _factors(want[:j]) or _factors(have[i:]) == _factors(want[j:])
        ]
    ends.append((len(have), len(want)))
    chains: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for end in ends:
        before = [chain for (i, j), chain in chains.items() if i < end[0] and j < end[1]]
        chains[end] = [*max(before, key=len, default=[]), end]
    chain = chains[ends[-1]]
    return [(list(range(a, c)), list(range(b, d))) for (a, b), (c, d) in pairwise(chain)]


def _factors(sizes: Sequence[Symbol]) -> Counter[Symbol]:
    """A product of sizes: its symbols, and its static part."""
    static = prod(s for s in sizes if isinstance(s, int))
    return Counter([*(s for s in sizes if not isinstance(s, int)), ("static", static)])


def size_symbol(x: ir.Value, dim: int) -> Symbol:
    """What a size is known to be: an int, or something hashable that is equal only for equal sizes."""
    static = shape_of(x)[dim]
    if static != DYNAMIC:
        return static
    if isinstance(x.owner, ir.Block):
        dims = fn.argument_facts(x.owner.owner.opview)[x.arg_number].dims
        return (x, dim) if dims is None else dims[dim]
    op = x.owner
    cls = OPS.get(op.name)
    if op.name in ("flambeau.view", "flambeau.expand"):
        size = op.opview.shape[dim]
        return size if isinstance(size, int) else index_symbol(size)
    if cls is not None and cls.elementwise:
        # `?` never broadcasts: an operand that has a `?` there has the result's size.
        for operand in op.operands:
            sizes = shape_of(operand)
            if len(sizes) == len(shape_of(x)) and sizes[dim] == DYNAMIC:
                return size_symbol(operand, dim)
    return (x, dim)


def index_symbol(value: ir.Value) -> Symbol:
    """`size_symbol` of an `index` value."""
    if isinstance(value.owner, ir.Block):
        dims = fn.argument_facts(value.owner.owner.opview)[value.arg_number].dims
        return (value, None) if dims is None else dims[0]
    if value.owner.name == "flambeau.dim":
        return size_symbol(value.owner.operands[0], value.owner.opview.index)
    return (value, None)


@t.lowers("flambeau.unsqueeze")
def _unsqueeze(o: t.Lowered) -> ir.Value:
    x = builtin.operand(o, "x")
    sizes = builtin.sizes_of(x)
    groups = _beside_units(len(sizes), [o.dim])
    return builtin.result(o, builtin.expand_shape(x, groups, [*sizes[: o.dim], 1, *sizes[o.dim :]]))


@t.lowers("flambeau.squeeze")
def _squeeze(o: t.Lowered) -> ir.Value:
    x = builtin.operand(o, "x")
    element, shape = x.type.element_type, shape_of(x)
    for dim in o.dims:
        shape[dim] = 1
    rest = [s for i, s in enumerate(shape) if i not in o.dims]
    x = builtin.cast(x, tensor_type(shape, element))
    return builtin.result(
        o, builtin.collapse_shape(x, _beside_units(len(rest), o.dims), tensor_type(rest, element))
    )


def _beside_units(rank: int, unit_dims: Sequence[int]) -> list[list[int]]:
    """For each of `rank` dims, the dims it becomes where dims of size 1 are added at `unit_dims` of the result."""
    groups: list[list[int]] = [[] for _ in range(rank)]
    seen = 0
    for dim in range(rank + len(set(unit_dims)) if rank else 0):
        groups[min(seen, rank - 1)].append(dim)
        seen += dim not in unit_dims
    return groups


# --- Parts -----------------------------------------------------------------------------------------------------------

Place = tuple[list[SizeValue], list[SizeValue], list[SizeValue]]  # offsets, sizes, strides


@t.lowers("flambeau.slice")
def _slice(o: t.Lowered) -> ir.Value:
    x = builtin.operand(o, "x")
    place = _slice_place(o, x)
    type_ = tensor_type([_static(s) for s in place[1]], x.type.element_type)
    return builtin.result(o, builtin.extract_slice(x, *place, type_))


@t.lowers("flambeau.slice_scatter")
def _slice_scatter(o: t.Lowered) -> ir.Value:
    x, src = builtin.operand(o, "x"), builtin.operand(o, "src")
    return builtin.result(o, _write(o, x, src, _slice_place(o, x)))


def _write(o: t.Lowered, x: ir.Value, src: ir.Value, place: Place) -> ir.Value:
    """`x` with `src` at a place that is all of `x` except along `o.dim`.

    Into a fill, `src` is inserted. IREE inserts in place, and where one tensor is the base of several inserts it
    loses the first; only of fills does it make as many as are needed. Elsewhere each element is chosen from `x` or
    `src`. So it is too where the result is inserted again: IREE folds two inserts into fills into one, wrongly if
    their ranks differ.
    """
    _, sizes, _ = place
    src = builtin.cast(src, tensor_type([_static(s) for s in sizes], src.type.element_type))
    whole = builtin.sizes_of(x)
    inserted_again = any(use.owner.name.endswith("_scatter") for use in o.op.out.uses)
    value = None if inserted_again else fill_value(o.op.x)
    base = builtin.fill(whole, 0 if value is None else value, x.type.element_type)
    written = builtin.insert_slice(src, base, *place)
    if value is not None:
        return written
    offset, length, step = (builtin.as_index(parts[o.dim]) for parts in place)
    each = ir.AffineMap.get_identity(len(whole))

    def choose(old: ir.Value, new: ir.Value, _: ir.Value) -> list[ir.Value]:
        distance = arith.subi(builtin.loop_index(o.dim), offset)  # unsigned: very large before the slice
        inside = arith.cmpi(arith.CmpIPredicate.ult, arith.divui(distance, step), length)
        hit = arith.cmpi(arith.CmpIPredicate.eq, arith.remui(distance, step), builtin.as_index(0))
        return [arith.select(arith.andi(inside, hit), new, old)]

    out = builtin.empty(whole, x.type.element_type)
    return builtin.generic([x, written], [out], [each] * 3, ["parallel"] * len(whole), choose)[0]


def _slice_place(o: t.Lowered, x: ir.Value) -> Place:
    sizes = builtin.sizes_of(x)
    start, end = _size(o.start), _size(o.end)
    offsets: list[SizeValue] = [0] * len(sizes)
    strides: list[SizeValue] = [1] * len(sizes)
    length = _subtract(end, start)
    offsets[o.dim] = (
        start if length != 0 else 0
    )  # an empty slice may start at the end, where MLIR allows no offset
    strides[o.dim] = o.step
    if isinstance(length, int):
        length = -(-length // o.step)
    elif o.step != 1:
        length = _arith(arith.ceildivsi, length, o.step)
    sizes[o.dim] = length
    return offsets, sizes, strides


@t.lowers("flambeau.select")
def _select(o: t.Lowered) -> ir.Value:
    x = builtin.operand(o, "x")
    offsets, sizes, strides = _select_place(o, x)
    rest = [_static(s) for i, s in enumerate(sizes) if i != o.dim]
    return builtin.result(
        o, builtin.extract_slice(x, offsets, sizes, strides, tensor_type(rest, x.type.element_type))
    )


@t.lowers("flambeau.select_scatter")
def _select_scatter(o: t.Lowered) -> ir.Value:
    x, src = builtin.operand(o, "x"), builtin.operand(o, "src")
    place = _select_place(o, x)
    row = builtin.sizes_of(src)
    src = builtin.expand_shape(src, _beside_units(len(row), [o.dim]), [*row[: o.dim], 1, *row[o.dim :]])
    return builtin.result(o, _write(o, x, src, place))


def _select_place(o: t.Lowered, x: ir.Value) -> Place:
    sizes = builtin.sizes_of(x)
    offsets: list[SizeValue] = [0] * len(sizes)
    offsets[o.dim], sizes[o.dim] = _size(o.index), 1
    return offsets, sizes, [1] * len(sizes)


# --- Joining ---------------------------------------------------------------------------------------------------------


@t.lowers("flambeau.cat")
def _cat(o: t.Lowered) -> ir.Value:
    tensors = [*_chain(o), o.y]
    return t.call("aten.cat", [t.list_(tensors, "vtensor"), t.int_(o.dim)], *o.result_types)


def _chain(o: t.Lowered) -> list[ir.Value]:
    """What is joined in `o.x`, if that is a join along the same dim and nothing else uses it."""
    inner = o.op.x.owner
    if isinstance(inner, ir.Block) or inner.name != "flambeau.cat":
        return [o.x]
    if inner.opview.dim != o.dim or len(list(o.op.x.uses)) != 1:
        return [o.x]
    return list(o.x.owner.operands[0].owner.operands)


# --- Diagonals -------------------------------------------------------------------------------------------------------


@t.lowers("flambeau.diagonal")
def _diagonal(o: t.Lowered) -> ir.Value:
    x = builtin.operand(o, "x")
    sizes = builtin.sizes_of(x)
    rest = [d for d in range(len(sizes)) if d not in (o.dim1, o.dim2)]
    length = shape_of(o.op.out)[-1]
    shape = [*(sizes[d] for d in rest), _diagonal_length(o, sizes) if length < 0 else length]

    def position() -> list[ir.Value]:
        places = {d: builtin.loop_index(i) for i, d in enumerate(rest)}
        places[o.dim1], places[o.dim2] = _on_diagonal(o, builtin.loop_index(len(rest)))
        return [places[d] for d in range(len(sizes))]

    return builtin.result(o, builtin.read(x, shape, [], [], position))


def _on_diagonal(o: t.Lowered, along: ir.Value) -> list[ir.Value]:
    """The positions in dim1 and dim2 of an element of the diagonal."""
    return [arith.addi(along, builtin.as_index(max(0, shift))) for shift in (-o.offset, o.offset)]


def _diagonal_length(o: t.Lowered, sizes: Sequence[int | ir.Value]) -> ir.Value:
    rows = arith.subi(builtin.as_index(sizes[o.dim1]), builtin.as_index(max(0, -o.offset)))
    columns = arith.subi(builtin.as_index(sizes[o.dim2]), builtin.as_index(max(0, o.offset)))
    return arith.maxsi(arith.minsi(rows, columns), builtin.as_index(0))


@t.lowers("flambeau.diagonal_scatter")
def _diagonal_scatter(o: t.Lowered) -> ir.Value:
    x, src = builtin.operand(o, "x"), builtin.operand(o, "src")
    if 0 in shape_of(src):
        return o.x
    rank = len(shape_of(x))
    rest = [d for d in range(rank) if d not in (o.dim1, o.dim2)]
    sizes = builtin.sizes_of(src)
    length = builtin.as_index(sizes[-1])
    # One more element, so that there is one to read where the diagonal is empty.
    padded = builtin.pad(src, [0] * len(sizes), [0] * len(rest) + [1], 0)
    element = x.type.element_type

    def body(old: ir.Value, _: ir.Value) -> list[ir.Value]:
        row, column = builtin.loop_index(o.dim1), builtin.loop_index(o.dim2)
        along = arith.subi(row, builtin.as_index(max(0, -o.offset)))
        equal = arith.cmpi(arith.CmpIPredicate.eq, arith.addi(row, builtin.as_index(o.offset)), column)
        inside = arith.andi(equal, arith.cmpi(arith.CmpIPredicate.ult, along, length))
        place = [*(builtin.loop_index(d) for d in rest), arith.select(inside, along, builtin.as_index(0))]
        new = ir.Operation.create("tensor.extract", results=[element], operands=[padded, *place]).results[0]
        return [arith.select(inside, new, old)]

    each = ir.AffineMap.get_identity(rank)
    out = builtin.empty(builtin.sizes_of(x), element)
    return builtin.result(o, builtin.generic([x], [out], [each, each], ["parallel"] * rank, body)[0])
