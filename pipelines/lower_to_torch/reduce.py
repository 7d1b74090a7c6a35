# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of reductions and scans: sums and products of f16 and bf16 are accumulated in f32 and rounded once."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from flambeau.dialects.bindings import ir
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

ReduceDim = Callable[[ir.Value, int, ir.Type], ir.Value]


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
    """Reduce `x`, of type `source`, by steps along one dim each; neighbouring dims are made one first.

    IREE builds wrong code for reductions over several dims: fused with a consumer that broadcasts the result back it
    computes wrong numbers (Vulkan, dims that are no neighbours) or overruns its stack (CPU, dynamic sizes), and a
    product with something broadcast does not compile ("invalid accumulator/result vector shape"). `reduce(x, dim,
    type)` is one step.
    """
    rank = source.rank
    gone = {d % rank for d in dims} if dims else set(range(rank))
    groups: list[list[int]] = []
    for dim in range(rank):
        if groups and dim in gone and groups[-1][-1] in gone:
            groups[-1].append(dim)
        else:
            groups.append([dim])
    sizes = shape_of(source)
    merged = [prod(sizes[d] for d in g) if all(sizes[d] != DYNAMIC for d in g) else DYNAMIC for g in groups]
    if len(groups) < rank:
        value = builtin.to_builtin(x, source)
        value = builtin.collapse_shape(
            value, groups, builtin.signless(tensor_type(merged, source.element_type))
        )
        x = builtin.from_builtin(value, t.torch_type(tensor_type(merged, source.element_type)))
    for position in reversed(range(len(groups))):
        if groups[position][0] in gone:
            del merged[position]
            x = reduce(x, position, t.torch_type(tensor_type(merged, element)))
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


def _reduce(
    o: t.Lowered, name: str, x: ir.Value, dtype: ir.Value, element: ir.Type, source: ir.RankedTensorType
) -> ir.Value:
    """A sum or mean of `x`, which has type `source`.

    Of a negation it is the negated sum of what is negated, equal to the last bit: IREE fuses a negation into the
    reduction as a subtraction, and its splitting of reductions then fails ("Failed to get an identity value").
    """
    negation = x.owner.operation if isinstance(x, ir.OpResult) else None
    if negation is not None and negation.name == "torch.aten.neg" and is_float(source):
        total = _reduce(o, name, negation.operands[0], dtype, element, source)
        return t.call("aten.neg", [total], total.type)

    def reduce(value: ir.Value, dim: int, type_: ir.Type) -> ir.Value:
        return t.call(name, [value, t.ints([dim]), t.bool_(False), dtype], type_)

    return _one_dim_at_a_time(x, source, o.dims, o.keepdim, element, reduce)


@t.lowers("flambeau.sum")
def _sum(o: t.Lowered) -> ir.Value:
    if not shape_of(o.op.x.type):
        return _cast(o.x, o.op.out.type)
    return _in_f32(
        o,
        lambda x, source, element: _reduce(o, "aten.sum.dim_IntList", x, t.dtype_(element), element, source),
    )


@t.lowers("flambeau.mean")
def _mean(o: t.Lowered) -> ir.Value:
    if not shape_of(o.op.x.type):
        return o.x
    return _in_f32(
        o, lambda x, source, element: _reduce(o, "aten.mean.dim", x, t.dtype_(element), element, source)
    )


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

    def reduce(value: ir.Value, dim: int, type_: ir.Type) -> ir.Value:
        return t.call(name, [value, t.ints([dim]), t.bool_(False)], type_)

    source = o.op.x.type
    return _one_dim_at_a_time(o.x, source, o.dims, o.keepdim, source.element_type, reduce)
