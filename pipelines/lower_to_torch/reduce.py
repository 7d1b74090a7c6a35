# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of reductions and scans: sums and products of f16 and bf16 are accumulated in f32 and rounded once."""

from collections.abc import Callable
from typing import Any

from flambeau.dialects.bindings import ir
from flambeau.dialects.types import is_low_precision, is_unsigned, shape_of, tensor_type, with_element
from flambeau.pipelines.lower_to_torch import torch_builder as t


def _in_f32(o: t.Lowered, compute: Callable[[ir.Value, ir.Type, ir.Value], Any]) -> ir.Value:
    """`compute(x, result type, dtype argument)`, in f32 between two casts if x is f16 or bf16."""
    source, result = o.op.x.type, o.op.out.type
    if not is_low_precision(source):
        # torch-mlir's own extension of ui8 is that of a signed number.
        x = _cast(o.x, with_element(source, result.element_type)) if is_unsigned(source) else o.x
        return compute(x, t.torch_type(result), t.dtype_(result.element_type))
    f32 = ir.F32Type.get()
    wide = compute(_cast(o.x, with_element(source, f32)), t.torch_type(with_element(result, f32)), t.dtype_(f32))
    return _cast(wide, result)


def _cast(x: ir.Value, type_: ir.RankedTensorType) -> ir.Value:
    arguments = [x, t.dtype_(type_.element_type), t.bool_(False), t.bool_(False), t.none()]
    return t.call("aten.to.dtype", arguments, t.torch_type(type_))


def _reduce(o: t.Lowered, name: str, x: ir.Value, dims: list[int], type_: ir.Type, dtype: ir.Value) -> ir.Value:
    """A sum or mean, in two stages where IREE cannot compile one.

    A product with something broadcast, summed over the last dim and others, becomes a vector contraction that IREE
    builds wrongly ("invalid accumulator/result vector shape"). The last dim alone first is right.
    """
    source = o.op.x.type
    last = source.rank - 1
    if len(dims) > 1 and {last, -1} & set(dims) and _is_product_with_broadcast(o.op.x):
        partial = tensor_type([*shape_of(source)[:-1], 1], ir.RankedTensorType(o.op.out.type).element_type)
        if is_low_precision(partial):
            partial = with_element(partial, ir.F32Type.get())
        x = t.call(name, [x, t.ints([last]), t.bool_(True), dtype], t.torch_type(partial))
    return t.call(name, [x, t.ints(dims), t.bool_(o.keepdim), dtype], type_)


_TRANSPARENT = {
    f"flambeau.{name}" for name in ("view", "unsqueeze", "squeeze", "transpose", "t", "permute", "to_dtype")
}


def _is_product_with_broadcast(x: ir.Value) -> bool:
    """Whether `x` is a product with a factor that `expand` repeats."""
    op = _source(x)
    return op is not None and op.name == "flambeau.mul" and any(
        source is not None and source.name == "flambeau.expand" for source in map(_source, op.operands)
    )


def _source(x: ir.Value) -> ir.Operation | None:
    """The op that computes `x`, seen through views and casts."""
    while isinstance(x, ir.OpResult):
        op = x.owner.operation
        if op.name not in _TRANSPARENT:
            return op
        x = op.operands[0]
    return None


@t.lowers("flambeau.sum")
def _sum(o: t.Lowered) -> ir.Value:
    if not shape_of(o.op.x.type):
        return _cast(o.x, o.op.out.type)
    dims = o.dims or list(range(len(shape_of(o.op.x.type))))
    return _in_f32(o, lambda x, type_, dtype: _reduce(o, "aten.sum.dim_IntList", x, dims, type_, dtype))


@t.lowers("flambeau.mean")
def _mean(o: t.Lowered) -> ir.Value:
    if not shape_of(o.op.x.type):
        return o.x  # type: ignore[no-any-return]
    dims = o.dims or list(range(len(shape_of(o.op.x.type))))
    return _in_f32(o, lambda x, type_, dtype: _reduce(o, "aten.mean.dim", x, dims, type_, dtype))


@t.lowers("flambeau.prod")
def _prod(o: t.Lowered) -> ir.Value:
    if not shape_of(o.op.x.type):
        return _cast(o.x, o.op.out.type)
    if o.dim is None:
        return _in_f32(o, lambda x, type_, dtype: t.call("aten.prod", [x, dtype], type_))
    return _in_f32(
        o, lambda x, type_, dtype: t.call("aten.prod.dim_int", [x, t.int_(o.dim), t.bool_(o.keepdim), dtype], type_)
    )


@t.lowers("flambeau.cumsum")
def _cumsum(o: t.Lowered) -> ir.Value:
    if not shape_of(o.op.x.type):
        return _cast(o.x, o.op.out.type)
    return _in_f32(o, lambda x, type_, dtype: t.call("aten.cumsum", [x, t.int_(o.dim), dtype], type_))


@t.lowers("flambeau.amax", "flambeau.amin")
def _extreme(o: t.Lowered) -> ir.Value:
    if not shape_of(o.op.x.type):
        return o.x  # type: ignore[no-any-return]
    name = o.op.operation.name.replace("flambeau.", "aten.")
    return t.call(name, [o.x, t.ints(o.dims), t.bool_(o.keepdim)], *o.result_types)  # type: ignore[no-any-return]
