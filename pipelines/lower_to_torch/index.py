# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of reads and writes at computed positions, and of sort.

Reads are loop nests that extract elements; writes are one scatter of slices along the first dim.
"""

from collections.abc import Sequence

from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.ops.index import index_position
from flambeau.dialects.types import dtype_name, is_bool, shape_of
from flambeau.pipelines.analysis.fills import fill_value
from flambeau.pipelines.lower_to_torch import builtin
from flambeau.pipelines.lower_to_torch import torch_builder as t

# --- Reading ---------------------------------------------------------------------------------------------------------


def _clamped(position: ir.Value, size: int | ir.Value) -> ir.Value:
    """An `index` into a dim: the nearest valid one."""
    last = arith.subi(builtin.as_index(size), builtin.as_index(1))
    return arith.maxsi(arith.minsi(position, last), builtin.as_index(0))


def _as_position(index: ir.Value) -> ir.Value:
    return arith.index_cast(ir.IndexType.get(), index)


@t.lowers("flambeau.index")
def _index(o: t.Lowered) -> ir.Value:
    x = builtin.operand(o, "x")
    tables = [builtin.to_builtin(v, w.type) for v, w in zip(o.indices, o.op.indices, strict=True)]
    sizes, common = builtin.sizes_of(x), builtin.sizes_of(tables[0])
    rest = [d for d in range(len(sizes)) if d not in o.dims]
    at = index_position(o.dims)
    shape = [*(sizes[d] for d in rest[:at]), *common, *(sizes[d] for d in rest[at:])]
    loop = {d: i if i < at else i + len(common) for i, d in enumerate(rest)}

    def position(*indices: ir.Value) -> list[ir.Value]:
        places = {}
        for dim, index in zip(o.dims, map(_as_position, indices), strict=True):
            negative = arith.cmpi(arith.CmpIPredicate.slt, index, builtin.as_index(0))
            from_end = arith.addi(index, builtin.as_index(sizes[dim]))
            places[dim] = _clamped(arith.select(negative, from_end, index), sizes[dim])
        return [places[d] if d in places else builtin.loop_index(loop[d]) for d in range(len(sizes))]

    table_map = ir.AffineMap.get(len(shape), 0, [ir.AffineExpr.get_dim(at + i) for i in range(len(common))])
    return builtin.result(o, builtin.read(x, shape, tables, [table_map] * len(tables), position))


@t.lowers("flambeau.gather")
def _gather(o: t.Lowered) -> ir.Value:
    x, index = builtin.operand(o, "x"), builtin.operand(o, "index")
    sizes, shape = builtin.sizes_of(x), builtin.sizes_of(index)

    def position(along: ir.Value) -> list[ir.Value]:
        return [
            _clamped(_as_position(along), size) if d == o.dim else builtin.loop_index(d)
            for d, size in enumerate(sizes)
        ]

    return builtin.result(
        o, builtin.read(x, shape, [index], [ir.AffineMap.get_identity(len(shape))], position)
    )


# --- Writing ---------------------------------------------------------------------------------------------------------


@t.lowers("flambeau.index_add")
def _index_add(o: t.Lowered) -> ir.Value:
    return _write_slices(o, accumulate=True)


@t.lowers("flambeau.index_copy")
def _index_copy(o: t.Lowered) -> ir.Value:
    return _write_slices(o, accumulate=False)


def _write_slices(o: t.Lowered, *, accumulate: bool) -> ir.Value:
    """Scatters along the first dim into fills, the only tensors that IREE writes in place without losing other uses.

    (See `_write` in shape.py.) IREE also fuses what computes the operands into a scatter, and then wants them on the
    stack as a whole: they are computed apart from it.
    """
    x, index, source = builtin.operand(o, "x"), builtin.operand(o, "index"), builtin.operand(o, "source")
    if 0 in (*shape_of(x), *shape_of(source)):
        return o.x
    i1 = ir.IntegerType.get_signless(1)
    rank, element = len(shape_of(x)), x.type.element_type
    source = builtin.apart(_moved(source, o.dim, 0))
    sizes = builtin.sizes_of(x)
    sizes.insert(0, sizes.pop(o.dim))
    positions = builtin.apart(_valid_positions(index, sizes[0]))
    value = fill_value(o.op.x)
    base = builtin.fill(sizes, 0 if value is None else value, element)
    written = _moved(_scatter(base, positions, source, accumulate=accumulate), 0, o.dim)
    if value is not None:
        return builtin.result(o, written)
    operands = [x, written]
    if not accumulate:
        count = builtin.sizes_of(positions)
        hits = _scatter(
            builtin.fill(sizes[:1], 0, i1), positions, builtin.fill(count, 1, i1), accumulate=False
        )
        operands.append(hits)
    each = ir.AffineMap.get_identity(rank)
    along = ir.AffineMap.get(rank, 0, [ir.AffineExpr.get_dim(o.dim)])

    def combine(old: ir.Value, new: ir.Value, *hit: ir.Value) -> list[ir.Value]:
        if not accumulate:
            return [arith.select(hit[0], new, old)]
        return [(arith.addi if isinstance(element, ir.IntegerType) else arith.addf)(old, new)]

    out = builtin.empty(builtin.sizes_of(x), element)
    maps = [each, each, *([] if accumulate else [along]), each]
    return builtin.result(o, builtin.generic(operands, [out], maps, ["parallel"] * rank, combine)[0])


def _scatter(base: ir.Value, positions: ir.Value, source: ir.Value, *, accumulate: bool) -> ir.Value:
    """`base` with slices along dim 0 replaced or added to."""
    types = [t.torch_type(v.type) for v in (base, positions, source)]
    onto, places, updates = (
        builtin.from_builtin(v, type_) for v, type_ in zip((base, positions, source), types, strict=True)
    )
    indices = t.list_([places], "optional<vtensor>")
    written = t.call("aten.index_put", [onto, indices, updates, t.bool_(accumulate)], types[0])
    return builtin.to_builtin(written, base.type)


def _valid_positions(index: ir.Value, size: int | ir.Value) -> ir.Value:
    """The positions as i64 within [0, size)."""
    i64 = ir.IntegerType.get_signless(64)
    each = ir.AffineMap.get_identity(1)
    out = builtin.empty(builtin.sizes_of(index), i64)

    def body(position: ir.Value, _: ir.Value) -> list[ir.Value]:
        return [arith.index_cast(i64, _clamped(_as_position(position), size))]

    return builtin.generic([index], [out], [each, each], ["parallel"], body)[0]


def _moved(x: ir.Value, source: int, target: int) -> ir.Value:
    """`x` with dim `source` moved to `target`."""
    if source == target:
        return x
    sizes = builtin.sizes_of(x)
    order = [d for d in range(len(sizes)) if d != source]
    order.insert(target, source)
    inverse = ir.AffineMap.get(
        len(sizes), 0, [ir.AffineExpr.get_dim(order.index(d)) for d in range(len(sizes))]
    )
    out = builtin.empty([sizes[d] for d in order], x.type.element_type)
    maps = [inverse, ir.AffineMap.get_identity(len(sizes))]
    return builtin.generic([x], [out], maps, ["parallel"] * len(sizes), lambda element, _: [element])[0]


# --- Order -----------------------------------------------------------------------------------------------------------


@t.lowers("flambeau.sort")
def _sort(o: t.Lowered) -> list[ir.Value | None]:
    # Not through aten.sort, whose comparison leaves everything around a NaN unsorted.
    x, i64 = builtin.operand(o, "x"), ir.IntegerType.get_signless(64)
    if not shape_of(x):
        return [o.x, builtin.from_builtin(builtin.fill([], 0, i64), o.result_types[1])]
    # IREE sorts in place, and where one tensor is sorted twice it makes no copy: each sort gets its own.
    sorts = [op.operation for op in o.op.operation.block.operations if op.operation.name == "flambeau.sort"]
    passes = 2 + sorts.index(o.op.operation)
    unsorted = [builtin.apart(x, passes), builtin.apart(_positions_along(x, o.dim), passes)]
    if not list(o.op.indices.uses):
        values = _sort_in_place(o, unsorted[:1])[0]
        return [builtin.from_builtin(values, o.result_types[0]), None]
    values, indices = _sort_in_place(o, unsorted)
    if not list(o.op.values.uses):
        indices = _after(values, indices)
    return [
        builtin.from_builtin(v, type_) for v, type_ in zip((values, indices), o.result_types, strict=True)
    ]


def _positions_along(x: ir.Value, dim: int) -> ir.Value:
    """For each element its position along a dim."""
    i64 = ir.IntegerType.get_signless(64)
    sizes = builtin.sizes_of(x)
    each = ir.AffineMap.get_identity(len(sizes))

    def body(_: ir.Value) -> list[ir.Value]:
        return [arith.index_cast(i64, builtin.loop_index(dim))]

    return builtin.generic([], [builtin.empty(sizes, i64)], [each], ["parallel"] * len(sizes), body)[0]


def _sort_in_place(o: t.Lowered, tensors: Sequence[ir.Value]) -> list[ir.Value]:
    """Sort `tensors` together along `o.dim`, in the order of the first."""
    op = ir.Operation.create(
        "tm_tensor.sort",
        results=[x.type for x in tensors],
        operands=list(tensors),
        attributes={
            "dimension": ir.IntegerAttr.get(ir.IntegerType.get_signless(64), o.dim),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([0, len(tensors)]),
        },
        regions=1,
    )
    pairs = [x.type.element_type for x in tensors for _ in range(2)]
    block = op.regions[0].blocks.append(*pairs, arg_locs=[ir.Location.current] * len(pairs))
    unsigned = is_bool(o.op.x.type) or dtype_name(o.op.x.type) == "uint8"
    with ir.InsertionPoint(block):
        first, second = block.arguments[0], block.arguments[1]
        ordered = _in_order(first, second, descending=o.descending, unsigned=unsigned)
        ir.Operation.create("tm_tensor.yield", operands=[ordered])
    return list(op.results)


def _after(values: ir.Value, indices: ir.Value) -> ir.Value:
    """`indices`, in a way that needs `values`: IREE wants a sorted tensor that nobody uses on the stack as a whole."""
    element, i64 = values.type.element_type, ir.IntegerType.get_signless(64)
    each = ir.AffineMap.get_identity(len(shape_of(values)))

    def body(value: ir.Value, index: ir.Value, _: ir.Value) -> list[ir.Value]:
        zero = builtin.number(element, 0)
        if isinstance(element, ir.IntegerType):
            p = arith.CmpIPredicate
            below, above = arith.cmpi(p.slt, value, zero), arith.cmpi(p.sgt, value, zero)
        else:
            q = arith.CmpFPredicate
            below, above = arith.cmpf(q.OLT, value, zero), arith.cmpf(q.OGT, value, zero)
        return [arith.addi(index, arith.extui(i64, arith.andi(below, above)))]

    out = builtin.empty(builtin.sizes_of(indices), i64)
    iterators = ["parallel"] * len(shape_of(values))
    return builtin.generic([values, indices], [out], [each] * 3, iterators, body)[0]


def _in_order(first: ir.Value, second: ir.Value, *, descending: bool, unsigned: bool) -> ir.Value:
    """Whether two scalars may stay in this order; equal ones may."""
    if isinstance(first.type, ir.IntegerType):
        p = arith.CmpIPredicate
        predicate = (p.uge if descending else p.ule) if unsigned else (p.sge if descending else p.sle)
        return arith.cmpi(predicate, first, second)
    ordered = arith.cmpf(arith.CmpFPredicate.OGE if descending else arith.CmpFPredicate.OLE, first, second)
    largest = first if descending else second
    return arith.ori(ordered, arith.cmpf(arith.CmpFPredicate.UNO, largest, largest))
