# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of pointwise ops that torch-mlir has no form of, or has one only for some element types."""

import math
from collections.abc import Callable
from typing import Any

from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.types import is_float, is_float64, is_integer, is_unsigned, shape_of, with_element
from flambeau.pipelines.lower_to_torch import builtin as bt
from flambeau.pipelines.lower_to_torch import circular, float64
from flambeau.pipelines.lower_to_torch import torch_builder as t
from flambeau.pipelines.lower_to_torch.scalar import math_op


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
    return _pointwise(o, ("x", "y"), lambda x, y: math_op("copysign", x, y))


@t.lowers("flambeau.maximum", "flambeau.minimum")
def _extreme(o: t.Lowered) -> ir.Value:
    name = o.op.operation.name.removeprefix("flambeau.")
    if not is_float(o.op.out.type):
        return _same_name(o)

    def compute(x: ir.Value, y: ir.Value) -> ir.Value:
        # Keeps NaN, which torch-mlir's comparison and choice loses.
        return ir.Operation.create(f"arith.{name}f", results=[x.type], operands=[x, y]).results[0]

    return _pointwise(o, ("x", "y"), compute)


@t.lowers("flambeau.trunc_divide")
def _trunc_divide(o: t.Lowered) -> ir.Value:
    mode = t.str_("trunc")
    return _signed(o, ("x", "y"), lambda x, y, type_: t.call("aten.div.Tensor_mode", [x, y, mode], type_))


@t.lowers("flambeau.fmod")
def _fmod(o: t.Lowered) -> ir.Value:
    if not is_float(o.op.out.type):
        return _signed(o, ("x", "y"), lambda x, y, type_: t.call("aten.fmod.Tensor", [x, y], type_))

    def compute(x: ir.Value, y: ir.Value) -> ir.Value:
        # Exact, which torch-mlir's x - y * trunc(x / y) is not.
        return ir.Operation.create("arith.remf", results=[x.type], operands=[x, y]).results[0]

    return _pointwise(o, ("x", "y"), compute)


@t.lowers("flambeau.remainder")
def _remainder(o: t.Lowered) -> ir.Value:
    return _signed(o, ("x", "y"), lambda x, y, type_: t.call("aten.remainder.Tensor", [x, y], type_))


@t.lowers("flambeau.neg", "flambeau.abs")
def _neg_or_abs(o: t.Lowered) -> ir.Value:
    name = o.op.operation.name.replace("flambeau.", "aten.")
    return _signed(o, ("x",), lambda x, type_: t.call(name, [x], type_))


def _signed(o: t.Lowered, names: tuple[str, ...], compute: Callable[..., ir.Value]) -> ir.Value:
    """`compute(*operands, result type)`; for ui8, which torch-mlir takes for a signed number, in i32."""
    type_ = o.op.out.type
    if not is_unsigned(type_):
        return compute(*(getattr(o, name) for name in names), *o.result_types)
    wide = with_element(type_, ir.IntegerType.get_signless(32))
    return _cast(compute(*(_cast(getattr(o, name), wide) for name in names), t.torch_type(wide)), type_)


def _if(
    predicate: str, x: ir.Value, y: ir.Value | float, then: ir.Value | float, otherwise: ir.Value
) -> ir.Value:
    """`then` where the comparison holds; the predicates are those of arith.cmpf."""
    y, then = (arith.constant(x.type, v) if isinstance(v, int | float) else v for v in (y, then))
    return arith.select(arith.cmpf(getattr(arith.CmpFPredicate, predicate), x, y), then, otherwise)


def _power(x: ir.Value, y: ir.Value) -> ir.Value:
    """x to the power y, special values included; IREE's powf is for x > 0."""
    size = math_op("absf", x)
    power = _if("OEQ", size, 1.0, 1.0, math_op("powf", size, y))
    half = arith.mulf(y, arith.constant(y.type, 0.5))
    signed = _if("OEQ", math_op("floor", half), half, power, arith.negf(power))
    undefined = arith.select(
        arith.andi(
            arith.cmpf(arith.CmpFPredicate.ONE, size, arith.constant(x.type, math.inf)),
            arith.cmpf(arith.CmpFPredicate.OLT, x, arith.constant(x.type, 0.0)),
        ),
        arith.constant(x.type, math.nan),
        power,
    )
    negative = _if("OEQ", math_op("floor", y), y, signed, undefined)
    minus = math_op("copysign", arith.constant(x.type, 1.0), x)
    result = _if("OLT", minus, 0.0, negative, power)
    result = _if("UNO", x, y, math.nan, result)
    return _if("OEQ", x, 1.0, 1.0, _if("OEQ", y, 0.0, 1.0, result))


@t.refuses("flambeau.pow")
def _no_integer_powers(op: Any) -> str | None:
    return "powers of integers are lowered only with a fixed exponent" if is_integer(op.out.type) else None


@t.lowers("flambeau.pow")
def _pow(o: t.Lowered) -> ir.Value:
    return _pointwise(o, ("x", "y"), _power)


@t.lowers("flambeau.atan2")
def _atan2(o: t.Lowered) -> ir.Value:
    def compute(x: ir.Value, y: ir.Value) -> ir.Value:
        # IREE's atan2 is NaN for two zeros and two infinities, and does not see the sign of a zero.
        opposite, adjacent = math_op("absf", x), math_op("absf", y)
        angle = _if("OEQ", opposite, adjacent, math.pi / 4, math_op("atan2", opposite, adjacent))
        angle = _if("OEQ", opposite, 0.0, 0.0, angle)
        angle = _if("UNO", x, y, math.nan, angle)
        minus = math_op("copysign", arith.constant(y.type, 1.0), y)
        angle = _if("OLT", minus, 0.0, arith.subf(arith.constant(y.type, math.pi), angle), angle)
        return math_op("copysign", angle, x)

    return _pointwise(o, ("x", "y"), compute)


# What eager computes for these exponents.
_POWERS = {0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}


@t.refuses("flambeau.pow_scalar")
def _no_roots_of_integers(op: Any) -> str | None:
    if is_integer(op.out.type) and (op.exponent < 1 or op.exponent != int(op.exponent)):
        return "powers of integers are lowered only with a positive integer exponent"
    return None


@t.lowers("flambeau.pow_scalar")
def _pow_scalar(o: t.Lowered) -> ir.Value:
    exponent = o.exponent
    if is_integer(o.op.out.type):
        return _repeated_product(o, int(exponent))
    if exponent in _POWERS:
        return t.call(f"aten.{_POWERS[exponent]}", [o.x], *o.result_types)
    if exponent in (1, 2, 3):
        return _repeated_product(o, int(exponent))
    if exponent == -2:
        return t.call("aten.reciprocal", [_repeated_product(o, 2)], *o.result_types)
    return _pointwise(o, ("x",), lambda x: _power(x, arith.constant(x.type, float(exponent))))


def _repeated_product(o: t.Lowered, exponent: int) -> ir.Value:
    """x to the power of a positive integer, by squaring."""
    power, square = None, o.x
    while exponent:
        if exponent % 2:
            power = square if power is None else t.call("aten.mul.Tensor", [power, square], *o.result_types)
        exponent //= 2
        if exponent:
            square = t.call("aten.mul.Tensor", [square, square], *o.result_types)
    assert power is not None
    return power


# IREE approximates these in f32 and has nothing for f64.
_F32_ONLY = ("asin", "acos", "atan")


@t.lowers(*(f"flambeau.{name}" for name in _F32_ONLY))
def _f32_only(o: t.Lowered) -> ir.Value:
    return _same_name(o)


_CIRCULAR = {"flambeau.sin": circular.sin, "flambeau.cos": circular.cos, "flambeau.tan": circular.tan}


@t.lowers(*_CIRCULAR)
def _circular(o: t.Lowered) -> ir.Value:
    def compute(x: ir.Value) -> ir.Value:
        f32 = ir.F32Type.get()
        if x.type == f32:
            return _CIRCULAR[o.op.operation.name](x)
        return arith.truncf(x.type, _CIRCULAR[o.op.operation.name](arith.extf(f32, x)))

    return _pointwise(o, ("x",), compute)


@t.refuses(*_CIRCULAR, *(f"flambeau.{name}" for name in (*_F32_ONLY, "atan2", "fmod", "remainder")))
def _no_float64(op: Any) -> str | None:
    return "there is no compiled form of it for float64" if is_float64(op.out.type) else None


_FLOAT64 = {
    "flambeau.erf": float64.erf,
    "flambeau.expm1": float64.expm1,
    "flambeau.log1p": float64.log1p,
    "flambeau.tanh": float64.tanh,
}


@t.lowers(*_FLOAT64)
def _own_in_float64(o: t.Lowered) -> ir.Value:
    if not is_float64(o.op.out.type):
        return _same_name(o)
    return _pointwise(o, ("x",), _FLOAT64[o.op.operation.name])


def _same_name(o: t.Lowered) -> ir.Value:
    name = o.op.operation.name.replace("flambeau.", "aten.")
    operands = [getattr(o, item.name) for item in o.op.fields]
    return t.call(name, operands, *o.result_types)


@t.lowers("flambeau.log2", "flambeau.log10")
def _log(o: t.Lowered) -> ir.Value:
    base = 2.0 if o.op.operation.name == "flambeau.log2" else 10.0
    if base == 2.0 and not is_float64(o.op.out.type):
        return _same_name(o)
    natural = t.call("aten.log", [o.x], *o.result_types)
    return t.call("aten.mul.Scalar", [natural, t.float_(1.0 / math.log(base))], *o.result_types)
