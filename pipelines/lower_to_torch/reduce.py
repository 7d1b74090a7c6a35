# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of reductions and scans: sums and products of f16 and bf16 are accumulated in f32 and rounded once.

IREE adds one number after the other where eager adds sums of few. Long sums are cut into parts, or their rounding
errors would be up to 50 times eager's.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.types import (
    DYNAMIC,
    is_float,
    is_low_precision,
    is_unsigned,
    shape_of,
    tensor_type,
    with_element,
)
from flambeau.pipelines.lower_to_torch import builtin
from flambeau.pipelines.lower_to_torch import torch_builder as t

ReduceDim = Callable[[ir.Value, ir.RankedTensorType, int], ir.Value]
"""Reduces a value in torch dialect, which stands for a tensor of the given type, along one dim."""


def _in_f32(o: t.Lowered, compute: Callable[[ir.Value, ir.RankedTensorType, ir.Type], Any]) -> ir.Value:
    """`compute(x, its type, the result's element type)`, in f32 between two casts if x is f16 or bf16."""
    source, result = o.op.x.type, o.op.out.type
    if not is_low_precision(source):
        if is_unsigned(source):
            # torch-mlir's own extension of ui8 is that of a signed number.
            source = with_element(source, result.element_type)
            return compute(_cast(o.x, source), source, result.element_type)
        return compute(o.x, source, result.element_type)
    wide = with_element(source, ir.F32Type.get())
    return _cast(compute(_cast(o.x, wide), wide, wide.element_type), result)


def _cast(x: ir.Value, type_: ir.RankedTensorType) -> ir.Value:
    arguments = [x, t.dtype_(type_.element_type), t.bool_(False), t.bool_(False), t.none()]
    return t.call("aten.to.dtype", arguments, t.torch_type(type_))


def _one_dim_at_a_time(
    x: ir.Value,
    source: ir.RankedTensorType,
    dims: Sequence[int],
    keepdim: bool,
    element: ir.Type,
    reduce: ReduceDim,
) -> ir.Value:
    """Reduce `x`, of type `source`, by steps along one dim each; neighbours of known size are made one dim first.

    IREE builds wrong code for reductions over several dims: fused with a consumer that broadcasts the result back it
    computes wrong numbers (Vulkan, dims that are no neighbours) or overruns its stack (CPU, dynamic sizes), and a
    product with something broadcast does not compile ("invalid accumulator/result vector shape"). `reduce` is one
    step.
    """
    rank = source.rank
    sizes = shape_of(source)
    gone = {d % rank for d in dims} if dims else set(range(rank))
    groups: list[list[int]] = []
    for dim in range(rank):
        before = groups[-1][-1] if groups else dim
        if before != dim and {before, dim} <= gone and DYNAMIC not in (sizes[before], sizes[dim]):
            groups[-1].append(dim)
        else:
            groups.append([dim])
    merged = [prod(sizes[d] for d in g) for g in groups]  # a dim of unknown size is alone
    if len(groups) < rank:
        value = builtin.to_builtin(x, source)
        value = builtin.collapse_shape(
            value, groups, builtin.signless(tensor_type(merged, source.element_type))
        )
        x = builtin.from_builtin(value, t.torch_type(tensor_type(merged, source.element_type)))
    type_ = tensor_type(merged, source.element_type)
    for position in reversed(range(len(groups))):
        if groups[position][0] in gone:
            x = reduce(x, type_, position)
            del merged[position]
            type_ = tensor_type(merged, element)
    if not keepdim:
        return x
    value = builtin.to_builtin(x, tensor_type(merged, element))
    known = iter(builtin.sizes_of(value))
    shape = [1 if d in gone else next(known) for d in range(rank)]
    beside: list[list[int]] = [[] for _ in merged]
    kept = -1
    for dim in range(rank):
        kept += dim not in gone
        if beside:
            beside[max(kept, 0)].append(dim)
    value = builtin.expand_shape(value, beside, shape)
    result = tensor_type([s if isinstance(s, int) else DYNAMIC for s in shape], element)
    return builtin.from_builtin(value, t.torch_type(result))


# The sum of so many numbers is about as exact as eager's, within 1e-6.
_LONGEST = 256


def _sum_along(x: ir.Value, source: ir.RankedTensorType, dim: int, element: ir.Type) -> ir.Value:
    """The sum of `x` along one dim: if it is long, of sums of parts of equal length, and of what they leave."""
    size = shape_of(source)[dim]
    if not is_float(source) or DYNAMIC != size <= _LONGEST:
        return _plain_sum(x, source, dim, element)
    value = builtin.to_builtin(x, source)
    if size == DYNAMIC:
        whole = builtin.sizes_of(value)[dim]
        length = arith.divui(whole, builtin.as_index(_LONGEST))
        covered = arith.muli(length, builtin.as_index(_LONGEST))
        return _sum_with_rest(value, dim, _LONGEST, length, covered, arith.subi(whole, covered))
    length = next((n for n in range(_LONGEST, 15, -1) if size % n == 0), 0)
    if length:
        return _sum_of_parts(value, dim, size // length, length)
    covered = size // _LONGEST * _LONGEST
    return _sum_with_rest(value, dim, size // _LONGEST, _LONGEST, covered, size - covered)


def _sum_of_parts(x: ir.Value, dim: int, parts: int, length: int | ir.Value) -> ir.Value:
    """The sum along `dim` of a builtin tensor, of `parts` sums of `length` each."""
    sizes = builtin.sizes_of(x)
    groups = [[d + (d > dim)] if d != dim else [d, d + 1] for d in range(len(sizes))]
    x = builtin.expand_shape(x, groups, [*sizes[:dim], parts, length, *sizes[dim + 1 :]])
    shape, element = shape_of(x), x.type.element_type
    sums = _plain_sum(builtin.from_builtin(x, t.torch_type(x.type)), x.type, dim + 1, element)
    return _sum_along(sums, tensor_type([*shape[: dim + 1], *shape[dim + 2 :]], element), dim, element)


def _sum_with_rest(
    x: ir.Value, dim: int, parts: int, length: int | ir.Value, covered: int | ir.Value, left: int | ir.Value
) -> ir.Value:
    """The sum along `dim` of a builtin tensor, of whose elements parts of equal length are `covered`."""
    total = _sum_of_parts(_slice_along(x, dim, 0, covered), dim, parts, length)
    rest = _slice_along(x, dim, covered, left)
    value = builtin.from_builtin(rest, t.torch_type(rest.type))
    last = _plain_sum(value, rest.type, dim, rest.type.element_type)
    return t.call("aten.add.Tensor", [total, last, t.int_(1)], total.type)


def _slice_along(x: ir.Value, dim: int, start: int | ir.Value, count: int | ir.Value) -> ir.Value:
    """`count` elements of a builtin tensor along `dim`, the first of them at `start`."""
    sizes = builtin.sizes_of(x)
    offsets: list[int | ir.Value] = [0] * len(sizes)
    offsets[dim], sizes[dim] = start, count
    type_ = tensor_type([s if isinstance(s, int) else DYNAMIC for s in sizes], x.type.element_type)
    return builtin.extract_slice(x, offsets, sizes, [1] * len(sizes), type_)


def _plain_sum(x: ir.Value, source: ir.RankedTensorType, dim: int, element: ir.Type) -> ir.Value:
    shape = shape_of(source)
    type_ = t.torch_type(tensor_type(shape[:dim] + shape[dim + 1 :], element))
    return t.call("aten.sum.dim_IntList", [x, t.ints([dim]), t.bool_(False), t.dtype_(element)], type_)


def _total(o: t.Lowered, x: ir.Value, source: ir.RankedTensorType, element: ir.Type) -> ir.Value:
    """The sum of `x`, which has type `source`.

    Left in one piece are sums of rows that are about to be broadcast back, as in softmax and norms, which IREE makes
    one loop nest of; and dims of unknown size if others are summed too, since each is then only a part.
    """
    gone = {d % source.rank for d in o.dims} if o.dims else set(range(source.rank))
    alone = len(gone) == 1

    def reduce(value: ir.Value, type_: ir.RankedTensorType, dim: int) -> ir.Value:
        normalizes_rows = alone and o.keepdim and dim == type_.rank - 1 > 0
        short_enough = shape_of(type_)[dim] == DYNAMIC and not alone
        if normalizes_rows or short_enough:
            return _plain_sum(value, type_, dim, element)
        return _sum_along(value, type_, dim, element)

    return _one_dim_at_a_time(x, source, o.dims, o.keepdim, element, reduce)


@t.lowers("flambeau.sum")
def _sum(o: t.Lowered) -> ir.Value:
    if not shape_of(o.op.x.type):
        return _cast(o.x, o.op.out.type)
    return _in_f32(o, lambda x, source, element: _total(o, x, source, element))


@t.lowers("flambeau.mean")
def _mean(o: t.Lowered) -> ir.Value:
    source = o.op.x.type
    if not shape_of(source):
        return o.x
    count = t.int_(1)
    for dim in sorted({d % source.rank for d in o.dims}) or range(source.rank):
        size = t.call("aten.size.int", [o.x, t.int_(dim)], count.type)
        count = t.call("aten.mul.int", [count, size], count.type)

    def compute(x: ir.Value, source: ir.RankedTensorType, element: ir.Type) -> ir.Value:
        total = _total(o, x, source, element)
        return t.call("aten.div.Scalar", [total, count], total.type)

    return _in_f32(o, compute)


@t.lowers("flambeau.prod")
def _prod(o: t.Lowered) -> ir.Value:
    if not shape_of(o.op.x.type):
        return _cast(o.x, o.op.out.type)

    def compute(x: ir.Value, source: ir.RankedTensorType, element: ir.Type) -> ir.Value:
        type_ = t.torch_type(with_element(o.op.out.type, element))
        if o.dim is None:
            return t.call("aten.prod", [x, t.dtype_(element)], type_)
        arguments = [x, t.int_(o.dim), t.bool_(o.keepdim), t.dtype_(element)]
        return t.call("aten.prod.dim_int", arguments, type_)

    return _in_f32(o, compute)


@t.lowers("flambeau.cumsum")
def _cumsum(o: t.Lowered) -> ir.Value:
    if not shape_of(o.op.x.type):
        return _cast(o.x, o.op.out.type)

    def compute(x: ir.Value, source: ir.RankedTensorType, element: ir.Type) -> ir.Value:
        type_ = t.torch_type(with_element(o.op.out.type, element))
        return t.call("aten.cumsum", [x, t.int_(o.dim), t.dtype_(element)], type_)

    return _in_f32(o, compute)


@t.lowers("flambeau.amax", "flambeau.amin")
def _extreme(o: t.Lowered) -> ir.Value:
    if not shape_of(o.op.x.type):
        return o.x
    name = o.op.operation.name.replace("flambeau.", "aten.")
    source = o.op.x.type

    def reduce(value: ir.Value, type_: ir.RankedTensorType, dim: int) -> ir.Value:
        shape = shape_of(type_)
        smaller = tensor_type(shape[:dim] + shape[dim + 1 :], type_.element_type)
        return t.call(name, [value, t.ints([dim]), t.bool_(False)], t.torch_type(smaller))

    return _one_dim_at_a_time(o.x, source, o.dims, o.keepdim, source.element_type, reduce)
