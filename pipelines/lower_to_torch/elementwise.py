# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of pointwise ops that torch-mlir has no form of, or has one only for some element types."""

from collections.abc import Callable

from flambeau.dialects.bindings import ir
from flambeau.dialects.types import is_integer, is_unsigned, shape_of, with_element
from flambeau.pipelines.errors import UnsupportedOpError
from flambeau.pipelines.lower_to_torch import builtin as bt
from flambeau.pipelines.lower_to_torch import torch_builder as t


def _cast(x: ir.Value, type_: ir.RankedTensorType) -> ir.Value:
    arguments = [x, t.dtype_(type_.element_type), t.bool_(False), t.bool_(False), t.none()]
    return t.call("aten.to.dtype", arguments, t.torch_type(type_))


def _pointwise(o: t.Lowered, names: tuple[str, ...], compute: Callable[..., ir.Value]) -> ir.Value:
    """One loop nest in which `compute` makes an element of the result from those of the operands."""
    operands = [bt.operand(o, name) for name in names]
    out = bt.empty(bt.sizes_of(operands[0]), operands[0].type.element_type)
    each = ir.AffineMap.get_identity(len(shape_of(out)))
    maps, loops = [each] * (len(operands) + 1), ["parallel"] * len(shape_of(out))
    return bt.result(
        o, bt.generic(operands, [out], maps, loops, lambda *elements: [compute(*elements[:-1])])[0]
    )


@t.lowers("flambeau.copysign")
def _copysign(o: t.Lowered) -> ir.Value:
    def compute(x: ir.Value, y: ir.Value) -> ir.Value:
        return ir.Operation.create("math.copysign", results=[x.type], operands=[x, y]).results[0]

    return _pointwise(o, ("x", "y"), compute)


@t.lowers("flambeau.floor_divide")
def _floor_divide(o: t.Lowered) -> ir.Value:
    type_ = o.op.out.type
    if not is_unsigned(type_):
        return t.call("aten.floor_divide", [o.x, o.y], *o.result_types)  # type: ignore[no-any-return]
    wide = with_element(type_, ir.IntegerType.get_signless(32))
    quotient = t.call("aten.floor_divide", [_cast(o.x, wide), _cast(o.y, wide)], t.torch_type(wide))
    return _cast(quotient, type_)


@t.lowers("flambeau.pow")
def _pow(o: t.Lowered) -> ir.Value:
    if is_integer(o.op.out.type):
        raise UnsupportedOpError(o.op.operation, "powers of integers are lowered only with a fixed exponent")
    return t.call("aten.pow.Tensor_Tensor", [o.x, o.y], *o.result_types)  # type: ignore[no-any-return]


@t.lowers("flambeau.pow_scalar")
def _pow_scalar(o: t.Lowered) -> ir.Value:
    if not is_integer(o.op.out.type):
        return t.call("aten.pow.Tensor_Scalar", [o.x, t.number(o.exponent)], *o.result_types)  # type: ignore[no-any-return]
    if o.exponent < 1 or o.exponent != int(o.exponent):
        raise UnsupportedOpError(
            o.op.operation, "powers of integers are lowered only with a positive integer exponent"
        )
    # Square and multiply.
    power, square, rest = None, o.x, int(o.exponent)
    while rest:
        if rest % 2:
            power = square if power is None else t.call("aten.mul.Tensor", [power, square], *o.result_types)
        rest //= 2
        if rest:
            square = t.call("aten.mul.Tensor", [square, square], *o.result_types)
    assert power is not None
    return power
