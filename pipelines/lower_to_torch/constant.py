# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of constants and sizes."""

from flambeau.dialects.bindings import ir
from flambeau.dialects.types import is_integer, shape_of
from flambeau.pipelines.lower_to_torch import torch_builder as t


@t.lowers("flambeau.constant")
def _constant(o: t.Lowered) -> ir.Value:
    return ir.Operation.create(
        "torch.vtensor.literal", results=o.result_types, attributes={"value": literal_attribute(o.value)}
    ).results[0]


def literal_attribute(value: ir.Attribute) -> ir.Attribute:
    """The dense attribute with the signed element types that the torch dialect's literals carry."""
    element = value.type.element_type
    if not is_integer(element) or str(element) in ("i1", "ui8"):
        return value
    signed = ir.RankedTensorType.get(value.type.shape, ir.Type.parse(f"s{element}"))
    if value.is_splat:
        splat = ir.IntegerAttr.get(signed.element_type, value.get_splat_value().value)
        return ir.DenseElementsAttr.get_splat(signed, splat)
    return ir.Attribute.parse(f"dense<{_nested(list(value), shape_of(signed))}> : {signed}")


def _nested(values: list[int], shape: list[int]) -> str:
    if not shape:
        return str(values[0])
    step = len(values) // shape[0] if shape[0] else 0
    return (
        "[" + ", ".join(_nested(values[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])) + "]"
    )


@t.lowers("flambeau.dim")
def _dim(o: t.Lowered) -> ir.Value:
    return t.call("aten.size.int", [o.x, t.int_(o.index)], ir.Type.parse("!torch.int"))


@t.lowers("flambeau.size_to_tensor")
def _size_to_tensor(o: t.Lowered) -> ir.Value:
    return t.call(
        "aten.full", [t.ints([]), o.size, t.dtype_(o.dtype), t.none(), t.none(), t.none()], *o.result_types
    )


@t.lowers("flambeau.iota")
def _iota(o: t.Lowered) -> ir.Value:
    return t.call(
        "aten.arange", [t.int_(o.size), t.dtype_(o.dtype), t.none(), t.none(), t.none()], *o.result_types
    )
