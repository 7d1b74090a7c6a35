# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Pointwise arithmetic and mathematical functions.

Operands have equal shapes and element types; see `flambeau.expand` and `flambeau.to_dtype`. Gradients follow PyTorch's
conventions where a function has a kink or a pole.
"""

import math
import sys

from flambeau.dialects import build as b
from flambeau.dialects.dialect import ElementwiseOp
from flambeau.dialects.infer import equal_types
from flambeau.dialects.opdef import (
    DType,
    Float,
    Int,
    Literal,
    Lowering,
    Number,
    Result,
    Tensor,
    VerificationError,
    aten,
)
from flambeau.dialects.types import dtype_name, is_bool, is_float, is_integer, with_element

_LN2, _LN10 = math.log(2.0), math.log(10.0)

# The largest finite number of each float type.
_LARGEST = {
    "float64": sys.float_info.max,
    "float32": (2 - 2**-23) * 2.0**127,
    "bfloat16": (2 - 2**-7) * 2.0**127,
    "float16": 65504.0,
}


def _floating(*names: str):
    """Operands of equal float (or complex) types; the result too."""

    def infer(op):
        type_ = equal_types(*names)(op)
        if is_integer(type_):
            raise VerificationError(
                f"is for floating-point tensors, found {type_} (cast with flambeau.to_dtype)"
            )
        return type_

    return infer


def _numeric(*names: str):
    """Operands of equal types other than bool; the result too."""

    def infer(op):
        type_ = equal_types(*names)(op)
        if is_bool(type_):
            raise VerificationError(
                f"is not defined for bool tensors, found {type_} (cast with flambeau.to_dtype)"
            )
        return type_

    return infer


# --- Arithmetic of two operands --------------------------------------------------------------------------------------


class AddOp(ElementwiseOp, name="add"):
    """x + y; for bool "or".

    Gradient: g; g.
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = (aten("add.Tensor", "x", "y", 1), aten("add.Scalar", "x", "y", 1))

    def vjp(op, g):
        return {"x": g, "y": g}


class SubOp(ElementwiseOp, name="sub"):
    """x - y.

    Gradient: g; -g.
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = (
        aten("sub.Tensor", "x", "y", 1),
        aten("sub.Scalar", "x", "y", 1),
        aten("rsub.Tensor", "y", "x", 1),
        aten("rsub.Scalar", "y", "x", 1),
    )
    infer = _numeric("x", "y")

    def vjp(op, g):
        return {"x": g, "y": b.neg(g)}


class ScaledAddOp(ElementwiseOp, name="scaled_add"):
    """x + alpha * y, rounded once.

    Gradient: g; alpha * g.
    """

    x: Tensor
    y: Tensor
    alpha: Number
    out: Result
    aten = ("add.Tensor", "add.Scalar")

    def vjp(op, g):
        return {"x": g, "y": b.mul(g, op.alpha)}


class ScaledSubOp(ElementwiseOp, name="scaled_sub"):
    """x - alpha * y, rounded once.

    Gradient: g; -alpha * g.
    """

    x: Tensor
    y: Tensor
    alpha: Number
    out: Result
    aten = (
        "sub.Tensor",
        "sub.Scalar",
        aten("rsub.Tensor", "y", "x", "alpha"),
        aten("rsub.Scalar", "y", "x", "alpha"),
    )
    infer = _numeric("x", "y")

    def vjp(op, g):
        return {"x": g, "y": b.mul(g, -op.alpha)}


class MulOp(ElementwiseOp, name="mul"):
    """x * y; for bool "and".

    Gradient: g * y; g * x.
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = ("mul.Tensor", "mul.Scalar")

    def vjp(op, g):
        return {"x": b.mul(g, op.y), "y": b.mul(g, op.x)}


class DivOp(ElementwiseOp, name="div"):
    """x / y, for floating-point operands.

    Gradient: g / y; -g * (x / y) / y.
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = ("div.Tensor", "div.Scalar")
    infer = _floating("x", "y")

    def vjp(op, g):
        return {"x": b.div(g, op.y), "y": b.mul(b.neg(g), b.div(op.out, op.y))}


class FloorDivideOp(ElementwiseOp, name="floor_divide"):
    """x / y rounded towards minus infinity.

    Gradient: 0; 0.
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = (
        aten("div.Tensor_mode", "x", "y", Literal("floor")),
        aten("div.Scalar_mode", "x", "y", Literal("floor")),
        "floor_divide",
        "floor_divide.Scalar",
    )
    lowering = Lowering.DECOMPOSE
    infer = _numeric("x", "y")

    def vjp(op, g):
        return {"x": b.no_change(g), "y": b.no_change(g)}

    def decompose(op):
        x, y = op.x, op.y
        if not is_float(x.type):
            quotient = b.trunc_divide(x, y)
            inexact = b.ne(b.mul(quotient, y), x)
            below = b.logical_and(inexact, b.logical_xor(b.lt(x, 0), b.lt(y, 0)))
            return b.sub(quotient, b.cast(below, x.type.element_type))
        # Not floor(x / y), which is 10 for 1 and 0.1: from the exact rest, as in Python.
        rest = b.fmod(x, y)
        quotient = b.div(b.sub(x, rest), y)
        below = b.logical_and(b.ne(rest, 0), b.logical_xor(b.lt(rest, 0), b.lt(y, 0)))
        quotient = b.where(below, b.sub(quotient, 1), quotient)
        rounded = b.floor(quotient)
        rounded = b.where(b.gt(b.sub(quotient, rounded), 0.5), b.add(rounded, 1), rounded)
        ratio = b.div(x, y)
        rounded = b.where(b.eq(quotient, 0), b.copysign(b.zeros_like(x), ratio), rounded)
        return b.where(b.eq(y, 0), ratio, rounded)


class TruncDivideOp(ElementwiseOp, name="trunc_divide"):
    """x / y rounded towards zero.

    Gradient: 0; 0.
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = (
        aten("div.Tensor_mode", "x", "y", Literal("trunc")),
        aten("div.Scalar_mode", "x", "y", Literal("trunc")),
    )
    infer = _numeric("x", "y")

    def vjp(op, g):
        return {"x": b.no_change(g), "y": b.no_change(g)}


class RemainderOp(ElementwiseOp, name="remainder"):
    """x - y * floor(x / y): the sign is y's.

    Gradient: g; -g * floor(x / y).
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = ("remainder.Tensor", "remainder.Scalar", "remainder.Scalar_Tensor")
    infer = _numeric("x", "y")

    def vjp(op, g):
        return {"x": g, "y": b.mul(b.neg(g), b.floor_divide(op.x, op.y))}


class FmodOp(ElementwiseOp, name="fmod"):
    """x - y * trunc(x / y): the sign is x's.

    Gradient: g; -g * trunc(x / y).
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = ("fmod.Tensor", "fmod.Scalar")
    infer = _numeric("x", "y")

    def vjp(op, g):
        return {"x": g, "y": b.mul(b.neg(g), b.trunc_divide(op.x, op.y))}


class PowOp(ElementwiseOp, name="pow"):
    """x to the power y.

    Gradient: g * y * x^(y - 1), 0 where y is 0; g * out * log(x), 0 where x is 0 and y >= 0.
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = ("pow.Tensor_Tensor", "pow.Scalar")
    infer = _numeric("x", "y")

    def vjp(op, g):
        slope = b.mul(op.y, b.pow(op.x, b.sub(op.y, 1)))
        flat = b.logical_and(b.eq(op.x, 0), b.ge(op.y, 0))
        return {
            "x": b.where(b.eq(op.y, 0), 0, b.mul(g, slope)),
            "y": b.mul(g, b.where(flat, 0, b.mul(op.out, b.log(op.x)))),
        }


class PowScalarOp(ElementwiseOp, name="pow_scalar"):
    """x to the power of one number.

    Gradient: g * exponent * x^(exponent - 1), 0 for exponent 0.
    """

    x: Tensor
    exponent: Number
    out: Result
    aten = "pow.Tensor_Scalar"
    infer = _numeric("x")

    def vjp(op, g):
        if op.exponent == 0:
            return {"x": b.no_change(g)}
        return {"x": b.mul(g, b.mul(b.pow_scalar(op.x, op.exponent - 1), op.exponent))}


class MaximumOp(ElementwiseOp, name="maximum"):
    """The larger of x and y; NaN if one is.

    Gradient: g to the larger one, half of it to both where they are equal.
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = ("maximum", aten("max.other", "x", "y"))

    def vjp(op, g):
        shared = b.where(b.eq(op.x, op.y), b.mul(g, 0.5), g)
        return {"x": b.where(b.lt(op.x, op.y), 0, shared), "y": b.where(b.gt(op.x, op.y), 0, shared)}


class MinimumOp(ElementwiseOp, name="minimum"):
    """The smaller of x and y; NaN if one is.

    Gradient: g to the smaller one, half of it to both where they are equal.
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = ("minimum", aten("min.other", "x", "y"))

    def vjp(op, g):
        shared = b.where(b.eq(op.x, op.y), b.mul(g, 0.5), g)
        return {"x": b.where(b.gt(op.x, op.y), 0, shared), "y": b.where(b.lt(op.x, op.y), 0, shared)}


class FmaxOp(ElementwiseOp, name="fmax"):
    """The larger of x and y; the other one if one is NaN.

    Gradient: g to x where x >= y or y is NaN, else to y.
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = "fmax"
    lowering = Lowering.DECOMPOSE

    def vjp(op, g):
        first = b.logical_or(b.ge(op.x, op.y), b.isnan(op.y))
        return {"x": b.where(first, g, 0), "y": b.where(first, 0, g)}

    def decompose(op):
        other = b.where(b.isnan(op.x), op.y, b.maximum(op.x, op.y))
        return b.where(b.isnan(op.y), op.x, other)


class FminOp(ElementwiseOp, name="fmin"):
    """The smaller of x and y; the other one if one is NaN.

    Gradient: g to x where x <= y or y is NaN, else to y.
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = "fmin"
    lowering = Lowering.DECOMPOSE

    def vjp(op, g):
        first = b.logical_or(b.le(op.x, op.y), b.isnan(op.y))
        return {"x": b.where(first, g, 0), "y": b.where(first, 0, g)}

    def decompose(op):
        other = b.where(b.isnan(op.x), op.y, b.minimum(op.x, op.y))
        return b.where(b.isnan(op.y), op.x, other)


class Atan2Op(ElementwiseOp, name="atan2"):
    """The angle of the point (y, x): arctangent of x / y in the right quadrant, `x` being ATen's self.

    Gradient: g * y / (x^2 + y^2); -g * x / (x^2 + y^2); 0 where x^2 + y^2 is 0.
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = "atan2"
    infer = _floating("x", "y")

    def vjp(op, g):
        square = b.add(b.mul(op.x, op.x), b.mul(op.y, op.y))
        scaled = b.mul(g, b.where(b.eq(square, 0), 0, b.reciprocal(square)))
        return {"x": b.mul(scaled, op.y), "y": b.mul(scaled, b.neg(op.x))}


class CopysignOp(ElementwiseOp, name="copysign"):
    """The magnitude of x with the sign of y.

    Gradient: g * out / x, 0 where x is 0; 0.
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = ("copysign.Tensor", "copysign.Scalar")
    infer = _floating("x", "y")

    def vjp(op, g):
        ratio = b.where(b.eq(op.x, 0), 0, b.div(op.out, op.x))
        return {"x": b.mul(g, ratio), "y": b.no_change(g)}


class HypotOp(ElementwiseOp, name="hypot"):
    """sqrt(x^2 + y^2).

    Gradient: g * x / out; g * y / out.
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = "hypot"
    lowering = Lowering.DECOMPOSE
    infer = _floating("x", "y")

    def vjp(op, g):
        return {"x": b.mul(g, b.div(op.x, op.out)), "y": b.mul(g, b.div(op.y, op.out))}

    def decompose(op):
        # The larger one is taken out, so that its square cannot overflow.
        x, y = b.abs(op.x), b.abs(op.y)
        large, small = b.maximum(x, y), b.minimum(x, y)
        ratio = b.where(b.eq(large, 0), 0, b.div(small, large))
        length = b.mul(large, b.sqrt(b.add(b.mul(ratio, ratio), 1)))
        return b.where(b.logical_or(b.isinf(x), b.isinf(y)), math.inf, length)


class XlogyOp(ElementwiseOp, name="xlogy"):
    """x * log(y), 0 where x is 0 (NaN where y is).

    Gradient: g * log(y), 0 where x is 0 and y <= 0; g * x / y.
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = ("xlogy.Tensor", "xlogy.Scalar_Self", "xlogy.Scalar_Other")
    lowering = Lowering.DECOMPOSE
    infer = _floating("x", "y")

    def decompose(op):
        zero = b.logical_and(b.eq(op.x, 0), b.logical_not(b.isnan(op.y)))
        return b.where(zero, 0, b.mul(op.x, b.log(op.y)))

    def vjp(op, g):
        undefined = b.logical_and(b.eq(op.x, 0), b.le(op.y, 0))
        return {"x": b.where(undefined, 0, b.xlogy(g, op.y)), "y": b.div(b.mul(g, op.x), op.y)}


class LogaddexpOp(ElementwiseOp, name="logaddexp"):
    """log(exp(x) + exp(y)).

    Gradient: g / (1 + exp(y - x)); g / (1 + exp(x - y)).
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = "logaddexp"
    lowering = Lowering.DECOMPOSE
    infer = _floating("x", "y")

    def decompose(op):
        distance = b.abs(b.sub(op.x, op.y))
        total = b.add(b.maximum(op.x, op.y), b.log1p(b.exp(b.neg(distance))))
        return b.where(b.logical_and(b.isinf(op.x), b.eq(op.x, op.y)), op.x, total)

    def vjp(op, g):
        return {
            "x": b.div(g, b.add(b.exp(b.sub(op.y, op.x)), 1)),
            "y": b.div(g, b.add(b.exp(b.sub(op.x, op.y)), 1)),
        }


class Logaddexp2Op(ElementwiseOp, name="logaddexp2"):
    """log2(2^x + 2^y).

    Gradient: g / (1 + 2^(y - x)); g / (1 + 2^(x - y)).
    """

    x: Tensor
    y: Tensor
    out: Result
    aten = "logaddexp2"
    lowering = Lowering.DECOMPOSE
    infer = _floating("x", "y")

    def decompose(op):
        distance = b.abs(b.sub(op.x, op.y))
        total = b.add(b.maximum(op.x, op.y), b.mul(b.log1p(b.exp2(b.neg(distance))), 1 / _LN2))
        return b.where(b.logical_and(b.isinf(op.x), b.eq(op.x, op.y)), op.x, total)

    def vjp(op, g):
        return {
            "x": b.div(g, b.add(b.exp2(b.sub(op.y, op.x)), 1)),
            "y": b.div(g, b.add(b.exp2(b.sub(op.x, op.y)), 1)),
        }


# --- Arithmetic of three operands and with bounds --------------------------------------------------------------------


class LerpOp(ElementwiseOp, name="lerp"):
    """x + weight * (end - x).

    Gradient: g * (1 - weight); g * weight; g * (end - x).
    """

    x: Tensor
    end: Tensor
    weight: Tensor
    out: Result
    aten = ("lerp.Tensor", "lerp.Scalar")
    infer = _floating("x", "end", "weight")

    def vjp(op, g):
        return {
            "x": b.mul(g, b.sub(1, op.weight)),
            "end": b.mul(g, op.weight),
            "weight": b.mul(g, b.sub(op.end, op.x)),
        }


class AddcmulOp(ElementwiseOp, name="addcmul"):
    """x + value * tensor1 * tensor2.

    Gradient: g; g * value * tensor2; g * value * tensor1.
    """

    x: Tensor
    tensor1: Tensor
    tensor2: Tensor
    value: Number = 1
    out: Result
    aten = "addcmul"
    infer = _numeric("x", "tensor1", "tensor2")

    def vjp(op, g):
        scaled = b.mul(g, op.value)
        return {"x": g, "tensor1": b.mul(scaled, op.tensor2), "tensor2": b.mul(scaled, op.tensor1)}


class AddcdivOp(ElementwiseOp, name="addcdiv"):
    """x + value * tensor1 / tensor2.

    Gradient: g; g * value / tensor2; -g * value * tensor1 / tensor2^2.
    """

    x: Tensor
    tensor1: Tensor
    tensor2: Tensor
    value: Number = 1
    out: Result
    aten = "addcdiv"
    infer = _floating("x", "tensor1", "tensor2")

    def vjp(op, g):
        scaled = b.div(b.mul(g, op.value), op.tensor2)
        return {
            "x": g,
            "tensor1": scaled,
            "tensor2": b.neg(b.mul(scaled, b.div(op.tensor1, op.tensor2))),
        }


class ClampOp(ElementwiseOp, name="clamp"):
    """x limited to [min, max]; None is no limit; NaN stays.

    Gradient: g where min <= x <= max, else 0.
    """

    x: Tensor
    min: Number | None = None
    max: Number | None = None
    out: Result
    aten = ("clamp", aten("clamp_min", "x", "min"), aten("clamp_max", "x", "max"))
    lowering = Lowering.DECOMPOSE
    infer = _numeric("x")

    def check(op):
        if op.min is None and op.max is None:
            raise VerificationError("needs at least one of 'min' and 'max'")

    def vjp(op, g):
        gradient = g
        if op.min is not None:
            gradient = b.where(b.ge(op.x, op.min), gradient, 0)
        if op.max is not None:
            gradient = b.where(b.le(op.x, op.max), gradient, 0)
        return {"x": gradient}

    def decompose(op):
        limited = op.x if op.min is None else b.maximum(op.x, op.min)
        return limited if op.max is None else b.minimum(limited, op.max)


class ClampTensorOp(ElementwiseOp, name="clamp_tensor"):
    """min(max(x, min), max) with tensors as limits, NaN winning; None is no limit.

    Gradient: g to x where min <= x <= max; to min where x < min < max; to max where x > max or max < min.
    """

    x: Tensor
    min: Tensor | None = None
    max: Tensor | None = None
    out: Result
    aten = ("clamp.Tensor", aten("clamp_min.Tensor", "x", "min"), aten("clamp_max.Tensor", "x", "max"))
    lowering = Lowering.DECOMPOSE

    def infer(op):
        given = [n for n in ("x", "min", "max") if getattr(op, n) is not None]
        if len(given) == 1:
            raise VerificationError("needs at least one of 'min' and 'max'")
        return _numeric(*given)(op)

    def vjp(op, g):
        if op.max is None:
            return {"x": b.where(b.ge(op.x, op.min), g, 0), "min": b.where(b.gt(op.min, op.x), g, 0)}
        if op.min is None:
            return {"x": b.where(b.le(op.x, op.max), g, 0), "max": b.where(b.lt(op.max, op.x), g, 0)}
        inside = b.logical_and(b.ge(op.x, op.min), b.le(op.x, op.max))
        low = b.logical_and(b.lt(op.min, op.max), b.lt(op.x, op.min))
        high = b.logical_or(b.gt(op.x, op.max), b.lt(op.max, op.min))
        return {"x": b.where(inside, g, 0), "min": b.where(low, g, 0), "max": b.where(high, g, 0)}

    def decompose(op):
        limited = op.x if op.min is None else b.maximum(op.x, op.min)
        return limited if op.max is None else b.minimum(limited, op.max)


class NanToNumOp(ElementwiseOp, name="nan_to_num"):
    """x with NaN, +inf and -inf replaced: by 0 and the largest and smallest finite numbers where None.

    Gradient: g where x is finite, else 0.
    """

    x: Tensor
    nan: Float | None = None
    posinf: Float | None = None
    neginf: Float | None = None
    out: Result
    aten = "nan_to_num"
    lowering = Lowering.DECOMPOSE

    def vjp(op, g):
        return {"x": b.where(b.isfinite(op.x), g, 0)}

    def decompose(op):
        if not is_float(op.x.type):
            return b.clone(op.x)
        largest = _LARGEST[dtype_name(op.x.type)]
        x = b.where(b.isnan(op.x), 0.0 if op.nan is None else op.nan, op.x)
        x = b.where(b.eq(x, math.inf), largest if op.posinf is None else op.posinf, x)
        return b.where(b.eq(x, -math.inf), -largest if op.neginf is None else op.neginf, x)


# --- Signs and rounding ----------------------------------------------------------------------------------------------


class NegOp(ElementwiseOp, name="neg"):
    """-x.

    Gradient: -g.
    """

    x: Tensor
    out: Result
    aten = "neg"
    infer = _numeric("x")

    def vjp(op, g):
        return {"x": b.neg(g)}


class AbsOp(ElementwiseOp, name="abs"):
    """|x|.

    Gradient: g * sign(x), so 0 at 0.
    """

    x: Tensor
    out: Result
    aten = "abs"
    infer = _numeric("x")

    def vjp(op, g):
        return {"x": b.mul(g, b.sign(op.x))}


class SignOp(ElementwiseOp, name="sign"):
    """-1, 0 or 1; 0 for NaN.

    Gradient: 0.
    """

    x: Tensor
    out: Result
    aten = ("sign", "sgn")
    infer = _numeric("x")

    def vjp(op, g):
        return {"x": b.no_change(g)}


class FloorOp(ElementwiseOp, name="floor"):
    """The largest integer <= x.

    Gradient: 0.
    """

    x: Tensor
    out: Result
    aten = "floor"
    infer = _numeric("x")

    def vjp(op, g):
        return {"x": b.no_change(g)}


class CeilOp(ElementwiseOp, name="ceil"):
    """The smallest integer >= x.

    Gradient: 0.
    """

    x: Tensor
    out: Result
    aten = "ceil"
    infer = _numeric("x")

    def vjp(op, g):
        return {"x": b.no_change(g)}


class RoundOp(ElementwiseOp, name="round"):
    """The nearest integer, halves to the even one.

    Gradient: 0.
    """

    x: Tensor
    out: Result
    aten = "round"
    infer = _numeric("x")

    def vjp(op, g):
        return {"x": b.no_change(g)}


class RoundDecimalsOp(ElementwiseOp, name="round_decimals"):
    """x rounded to `decimals` digits after the point, or before it if negative.

    Gradient: 0.
    """

    x: Tensor
    decimals: Int
    out: Result
    aten = "round.decimals"
    lowering = Lowering.DECOMPOSE
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.no_change(g)}

    def decompose(op):
        if op.decimals == 0:
            return b.round(op.x)
        scale = 10.0 ** abs(op.decimals)
        up, down = (b.mul, b.div) if op.decimals > 0 else (b.div, b.mul)
        return down(b.round(up(op.x, scale)), scale)


class TruncOp(ElementwiseOp, name="trunc"):
    """The nearest integer towards zero.

    Gradient: 0.
    """

    x: Tensor
    out: Result
    aten = "trunc"
    infer = _numeric("x")

    def vjp(op, g):
        return {"x": b.no_change(g)}


class FracOp(ElementwiseOp, name="frac"):
    """x - trunc(x).

    Gradient: g.
    """

    x: Tensor
    out: Result
    aten = "frac"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": g}


# --- Powers, exponentials, logarithms --------------------------------------------------------------------------------


class SquareOp(ElementwiseOp, name="square"):
    """x^2.

    Gradient: 2 * g * x.
    """

    x: Tensor
    out: Result
    aten = "square"
    infer = _numeric("x")

    def vjp(op, g):
        return {"x": b.mul(g, b.mul(op.x, 2))}


class SqrtOp(ElementwiseOp, name="sqrt"):
    """The square root.

    Gradient: g / (2 * out), so infinite at 0.
    """

    x: Tensor
    out: Result
    aten = "sqrt"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.div(g, b.mul(op.out, 2))}


class RsqrtOp(ElementwiseOp, name="rsqrt"):
    """1 / sqrt(x).

    Gradient: -g * out^3 / 2.
    """

    x: Tensor
    out: Result
    aten = "rsqrt"
    infer = _floating("x")

    def vjp(op, g):
        cube = b.mul(op.out, b.mul(op.out, op.out))
        return {"x": b.mul(b.mul(g, -0.5), cube)}


class ReciprocalOp(ElementwiseOp, name="reciprocal"):
    """1 / x.

    Gradient: -g * out^2.
    """

    x: Tensor
    out: Result
    aten = "reciprocal"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(b.neg(g), b.mul(op.out, op.out))}


class ExpOp(ElementwiseOp, name="exp"):
    """e^x.

    Gradient: g * out.
    """

    x: Tensor
    out: Result
    aten = "exp"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(g, op.out)}


class Exp2Op(ElementwiseOp, name="exp2"):
    """2^x.

    Gradient: g * out * log(2).
    """

    x: Tensor
    out: Result
    aten = "exp2"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(b.mul(g, op.out), _LN2)}


class Expm1Op(ElementwiseOp, name="expm1"):
    """e^x - 1, accurate near 0.

    Gradient: g * (out + 1).
    """

    x: Tensor
    out: Result
    aten = "expm1"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(g, b.add(op.out, 1))}


class LogOp(ElementwiseOp, name="log"):
    """The natural logarithm.

    Gradient: g / x.
    """

    x: Tensor
    out: Result
    aten = "log"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.div(g, op.x)}


class Log2Op(ElementwiseOp, name="log2"):
    """The logarithm to base 2.

    Gradient: g / (x * log(2)).
    """

    x: Tensor
    out: Result
    aten = "log2"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.div(g, b.mul(op.x, _LN2))}


class Log10Op(ElementwiseOp, name="log10"):
    """The logarithm to base 10.

    Gradient: g / (x * log(10)).
    """

    x: Tensor
    out: Result
    aten = "log10"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.div(g, b.mul(op.x, _LN10))}


class Log1pOp(ElementwiseOp, name="log1p"):
    """log(1 + x), accurate near 0.

    Gradient: g / (x + 1).
    """

    x: Tensor
    out: Result
    aten = "log1p"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.div(g, b.add(op.x, 1))}


# --- Circular and hyperbolic functions -------------------------------------------------------------------------------


class SinOp(ElementwiseOp, name="sin"):
    """Sine.

    Gradient: g * cos(x).
    """

    x: Tensor
    out: Result
    aten = "sin"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(g, b.cos(op.x))}


class CosOp(ElementwiseOp, name="cos"):
    """Cosine.

    Gradient: -g * sin(x).
    """

    x: Tensor
    out: Result
    aten = "cos"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(g, b.neg(b.sin(op.x)))}


class TanOp(ElementwiseOp, name="tan"):
    """Tangent.

    Gradient: g * (1 + out^2).
    """

    x: Tensor
    out: Result
    aten = "tan"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(g, b.add(b.mul(op.out, op.out), 1))}


class AsinOp(ElementwiseOp, name="asin"):
    """Arcsine.

    Gradient: g / sqrt(1 - x^2).
    """

    x: Tensor
    out: Result
    aten = "asin"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(g, b.rsqrt(b.sub(1, b.mul(op.x, op.x))))}


class AcosOp(ElementwiseOp, name="acos"):
    """Arccosine.

    Gradient: -g / sqrt(1 - x^2).
    """

    x: Tensor
    out: Result
    aten = "acos"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(g, b.neg(b.rsqrt(b.sub(1, b.mul(op.x, op.x)))))}


class AtanOp(ElementwiseOp, name="atan"):
    """Arctangent.

    Gradient: g / (x^2 + 1).
    """

    x: Tensor
    out: Result
    aten = "atan"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.div(g, b.add(b.mul(op.x, op.x), 1))}


class SinhOp(ElementwiseOp, name="sinh"):
    """Hyperbolic sine.

    Gradient: g * cosh(x).
    """

    x: Tensor
    out: Result
    aten = "sinh"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(g, b.cosh(op.x))}


class CoshOp(ElementwiseOp, name="cosh"):
    """Hyperbolic cosine.

    Gradient: g * sinh(x).
    """

    x: Tensor
    out: Result
    aten = "cosh"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(g, b.sinh(op.x))}


class TanhOp(ElementwiseOp, name="tanh"):
    """Hyperbolic tangent.

    Gradient: g * (1 - out^2).
    """

    x: Tensor
    out: Result
    aten = "tanh"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(g, b.sub(1, b.mul(op.out, op.out)))}


class AsinhOp(ElementwiseOp, name="asinh"):
    """Inverse hyperbolic sine.

    Gradient: g / sqrt(x^2 + 1).
    """

    x: Tensor
    out: Result
    aten = "asinh"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(g, b.rsqrt(b.add(b.mul(op.x, op.x), 1)))}


class AcoshOp(ElementwiseOp, name="acosh"):
    """Inverse hyperbolic cosine.

    Gradient: g / sqrt(x^2 - 1).
    """

    x: Tensor
    out: Result
    aten = "acosh"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(g, b.rsqrt(b.sub(b.mul(op.x, op.x), 1)))}


class AtanhOp(ElementwiseOp, name="atanh"):
    """Inverse hyperbolic tangent.

    Gradient: g / (1 - x^2).
    """

    x: Tensor
    out: Result
    aten = "atanh"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.div(g, b.sub(1, b.mul(op.x, op.x)))}


# --- Special functions -----------------------------------------------------------------------------------------------


class ErfOp(ElementwiseOp, name="erf"):
    """The error function.

    Gradient: g * 2 / sqrt(pi) * exp(-x^2).
    """

    x: Tensor
    out: Result
    aten = "erf"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(b.mul(b.exp(b.neg(b.mul(op.x, op.x))), 2 / math.sqrt(math.pi)), g)}


class ErfcOp(ElementwiseOp, name="erfc"):
    """1 - erf(x), accurate where erf is near 1.

    Gradient: -g * 2 / sqrt(pi) * exp(-x^2).
    """

    x: Tensor
    out: Result
    aten = "erfc"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(b.mul(b.exp(b.neg(b.mul(op.x, op.x))), -2 / math.sqrt(math.pi)), g)}


class ErfinvOp(ElementwiseOp, name="erfinv"):
    """The inverse of the error function.

    Gradient: g * sqrt(pi) / 2 * exp(out^2).
    """

    x: Tensor
    out: Result
    aten = "erfinv"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(b.mul(b.exp(b.mul(op.out, op.out)), math.sqrt(math.pi) / 2), g)}


class LogitOp(ElementwiseOp, name="logit"):
    """log(z / (1 - z)) of z = x limited to [eps, 1 - eps] (z = x if eps is None).

    Gradient: g / (x * (1 - x)); outside the limits 0, or NaN outside [0, 1] if eps is None.
    """

    x: Tensor
    eps: Float | None = None
    out: Result
    aten = "logit"
    infer = _floating("x")

    def vjp(op, g):
        low = 0.0 if op.eps is None else op.eps
        inside = b.logical_and(b.ge(op.x, low), b.le(op.x, 1.0 - low))
        slope = b.div(g, b.mul(op.x, b.sub(1, op.x)))
        return {"x": b.where(inside, slope, math.nan if op.eps is None else 0.0)}


class DigammaOp(ElementwiseOp, name="digamma"):
    """The derivative of lgamma.

    Gradient: g * polygamma(1, x).
    """

    x: Tensor
    out: Result
    aten = "digamma"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(g, b.polygamma(1, op.x))}


class LgammaOp(ElementwiseOp, name="lgamma"):
    """The logarithm of |gamma(x)|.

    Gradient: g * digamma(x).
    """

    x: Tensor
    out: Result
    aten = "lgamma"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(g, b.digamma(op.x))}


class PolygammaOp(ElementwiseOp, name="polygamma"):
    """The n-th derivative of digamma.

    Gradient: g * polygamma(n + 1, x).
    """

    n: Int
    x: Tensor
    out: Result
    aten = "polygamma"
    infer = _floating("x")

    def vjp(op, g):
        return {"x": b.mul(g, b.polygamma(op.n + 1, op.x))}


# --- Copies and casts ------------------------------------------------------------------------------------------------


class CloneOp(ElementwiseOp, name="clone"):
    """x itself, as a value of its own.

    Gradient: g.
    """

    x: Tensor
    out: Result
    aten = (aten("clone", "x", None), aten("lift_fresh_copy", "x"))

    def vjp(op, g):
        return {"x": g}


class ToDtypeOp(ElementwiseOp, name="to_dtype"):
    """x with element type `dtype`: floats to integers truncate, anything to bool is "not 0".

    Gradient: g cast back, for a cast between float types.
    """

    x: Tensor
    dtype: DType
    out: Result
    aten = (
        aten("to.dtype", "x", "dtype", False, False, None),
        aten("_to_copy", "x", "dtype", None, None, None, False, None),
    )

    def infer(op):
        dtype_name(op.dtype)
        return with_element(op.x, op.dtype)

    def vjp(op, g):
        return {"x": b.cast(g, op.x.type.element_type)} if is_float(op.x.type) else {}
