# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Activation functions. Gradients follow PyTorch's conventions at kinks."""

import math

from flambeau.dialects import build as b
from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.dialect import ElementwiseOp, FlambeauOp
from flambeau.dialects.infer import normalize_dim
from flambeau.dialects.opdef import CHEAP, Int, Lowering, Number, Result, Str, Tensor, VerificationError
from flambeau.dialects.types import DYNAMIC, is_low_precision, shape_of, tensor_type


def _rounded_once(function):
    """A decomposition that computes f16 and bf16 in f32 and rounds the result, as PyTorch does."""

    def decompose(op):
        element = op.x.type.element_type
        x = b.cast(op.x, ir.F32Type.get()) if is_low_precision(element) else op.x
        return b.cast(function(op, x), element)

    return decompose


class ReluOp(ElementwiseOp, name="relu"):
    """max(x, 0).

    Gradient: g where out > 0, else 0.
    """

    x: Tensor
    out: Result
    aten = "relu"

    def vjp(op, g):
        return {"x": b.where(b.le(op.out, 0), 0, g)}


class LeakyReluOp(ElementwiseOp, name="leaky_relu"):
    """x where x > 0, negative_slope * x elsewhere.

    Gradient: g where x > 0, negative_slope * g elsewhere.
    """

    x: Tensor
    negative_slope: Number
    out: Result
    aten = "leaky_relu"

    def vjp(op, g):
        return {"x": b.where(b.gt(op.x, 0), g, b.mul(g, op.negative_slope))}


class PreluOp(ElementwiseOp, name="prelu"):
    """x where x > 0, weight * x elsewhere; `weight` broadcast to x.

    Gradient: g where x > 0, weight * g elsewhere; 0 where x > 0, x * g elsewhere.
    """

    x: Tensor
    weight: Tensor
    out: Result
    aten = "_prelu_kernel"
    lowering = Lowering.DECOMPOSE

    def vjp(op, g):
        positive = b.gt(op.x, 0)
        return {
            "x": b.where(positive, g, b.mul(op.weight, g)),
            "weight": b.where(positive, 0, b.mul(op.x, g)),
        }

    def decompose(op):
        return b.where(b.gt(op.x, 0), op.x, b.mul(op.weight, op.x))


class HardtanhOp(ElementwiseOp, name="hardtanh"):
    """x limited to [min_val, max_val].

    Gradient: g strictly inside the limits, else 0.
    """

    x: Tensor
    min_val: Number
    max_val: Number
    out: Result
    aten = "hardtanh"
    lowering = Lowering.DECOMPOSE

    def vjp(op, g):
        outside = b.logical_or(b.le(op.x, op.min_val), b.ge(op.x, op.max_val))
        return {"x": b.where(outside, 0, g)}

    def decompose(op):
        limited = b.where(b.lt(op.x, op.min_val), op.min_val, op.x)
        return b.where(b.gt(limited, op.max_val), op.max_val, limited)


class ThresholdOp(ElementwiseOp, name="threshold"):
    """`value` where x <= threshold, x elsewhere.

    Gradient: 0 where x <= threshold, g elsewhere.
    """

    x: Tensor
    threshold: Number
    value: Number
    out: Result
    aten = "threshold"
    lowering = Lowering.DECOMPOSE

    def vjp(op, g):
        return {"x": b.where(b.le(op.x, op.threshold), 0, g)}

    def decompose(op):
        return b.where(b.le(op.x, op.threshold), op.value, op.x)


class EluOp(ElementwiseOp, name="elu"):
    """scale * x where x > 0, scale * alpha * (exp(input_scale * x) - 1) elsewhere.

    Gradient: g * scale where x > 0, g * scale * alpha * input_scale * exp(input_scale * x) elsewhere.
    """

    x: Tensor
    alpha: Number
    scale: Number
    input_scale: Number
    out: Result
    aten = "elu"
    lowering = Lowering.DECOMPOSE

    def vjp(op, g):
        factor = op.scale * op.alpha * op.input_scale
        # exp of the positive elements could be infinite, and is not used.
        exponential = b.exp(b.mul(b.minimum(op.x, 0), op.input_scale))
        below = b.mul(b.mul(g, factor), exponential)
        return {"x": b.where(b.le(op.x, 0), below, b.mul(g, op.scale))}

    @_rounded_once
    def decompose(op, x):
        below = b.mul(b.expm1(b.mul(b.minimum(x, 0), op.input_scale)), op.alpha * op.scale)
        return b.where(b.le(x, 0), below, b.mul(x, op.scale))


class CeluOp(ElementwiseOp, name="celu"):
    """x where x > 0, alpha * (exp(x / alpha) - 1) elsewhere.

    Gradient: g where x > 0, g * exp(x / alpha) elsewhere.
    """

    x: Tensor
    alpha: Number = 1.0
    out: Result
    aten = "celu"
    lowering = Lowering.DECOMPOSE

    def vjp(op, g):
        below = b.mul(g, b.exp(b.mul(b.minimum(op.x, 0), 1.0 / op.alpha)))
        return {"x": b.where(b.le(op.x, 0), below, g)}

    @_rounded_once
    def decompose(op, x):
        below = b.mul(b.expm1(b.mul(b.minimum(x, 0), 1.0 / op.alpha)), op.alpha)
        return b.where(b.le(x, 0), below, x)


class SigmoidOp(ElementwiseOp, name="sigmoid"):
    """1 / (1 + exp(-x)).

    Gradient: g * (1 - out) * out.
    """

    x: Tensor
    out: Result
    aten = "sigmoid"

    def vjp(op, g):
        return {"x": b.mul(b.mul(g, b.sub(1, op.out)), op.out)}


class LogSigmoidForwardOp(ElementwiseOp, name="log_sigmoid_forward"):
    """log(1 / (1 + exp(-x))), and exp(-|x|), which eager keeps for its backward.

    Gradient: g * sigmoid(-x).
    """

    x: Tensor
    out: Result
    buffer: Result
    aten = "log_sigmoid_forward"
    lowering = Lowering.DECOMPOSE
    nondifferentiable = ("buffer",)

    def infer(op):
        return [op.x, op.x]

    def vjp(op, g, _):
        return {"x": b.mul(g, b.sigmoid(b.neg(op.x)))}

    def decompose(op):
        element = op.x.type.element_type
        x = b.cast(op.x, ir.F32Type.get()) if is_low_precision(element) else op.x
        buffer = b.exp(b.neg(b.abs(x)))
        return [b.cast(b.sub(b.minimum(x, 0), b.log1p(buffer)), element), b.cast(buffer, element)]


class GluOp(FlambeauOp, name="glu"):
    """a * sigmoid(b), a and b being the halves of x along `dim`."""

    x: Tensor
    dim: Int = -1
    out: Result
    aten = "glu"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP

    def infer(op):
        shape = shape_of(op.x)
        if not shape:
            raise VerificationError("needs at least one dim to halve")
        dim = normalize_dim(op.dim, len(shape))
        if shape[dim] % 2 and shape[dim] != DYNAMIC:
            raise VerificationError(f"dim {dim} of {op.x} cannot be halved")
        shape[dim] = shape[dim] if shape[dim] == DYNAMIC else shape[dim] // 2
        return tensor_type(shape, op.x.element_type)

    def decompose(op):
        dim = normalize_dim(op.dim, len(shape_of(op.x)))
        end = b.size(op.x, dim)
        half = end // 2 if isinstance(end, int) else arith.floordivsi(end, b.as_index(2))
        return b.mul(b.slice(op.x, dim, 0, half, 1), b.sigmoid(b.slice(op.x, dim, half, end, 1)))


class GeluOp(ElementwiseOp, name="gelu"):
    """x * Phi(x), Phi being the normal distribution function; with approximate="tanh" by a formula with tanh.

    Gradient: g * (Phi(x) + x * Phi'(x)).
    """

    x: Tensor
    approximate: Str = "none"
    out: Result
    aten = "gelu"
    lowering = Lowering.DECOMPOSE

    def check(op):
        if op.approximate not in ("none", "tanh"):
            raise VerificationError(
                f"attribute 'approximate' is '{op.approximate}'; it may be 'none' or 'tanh'"
            )

    def vjp(op, g):
        x = op.x
        square = b.mul(x, x)
        if op.approximate == "none":
            distribution = b.mul(b.add(b.erf(b.mul(x, math.sqrt(0.5))), 1), 0.5)
            density = b.mul(b.exp(b.mul(square, -0.5)), 1 / math.sqrt(2 * math.pi))
            return {"x": b.mul(g, b.add(distribution, b.mul(x, density)))}
        scale, cubic = math.sqrt(2 / math.pi), 0.044715
        inner = b.mul(b.mul(x, b.add(b.mul(square, cubic), 1)), scale)
        slope = b.mul(b.add(b.mul(square, 3 * cubic), 1), scale)
        t = b.tanh(inner)
        left = b.mul(b.add(t, 1), 0.5)
        right = b.mul(b.mul(b.mul(x, 0.5), b.sub(1, b.mul(t, t))), slope)
        return {"x": b.mul(g, b.add(left, right))}

    @_rounded_once
    def decompose(op, x):
        if op.approximate == "none":
            return b.mul(b.mul(x, 0.5), b.add(b.erf(b.mul(x, math.sqrt(0.5))), 1))
        cube = b.mul(b.mul(x, x), x)
        inner = b.mul(b.add(x, b.mul(cube, 0.044715)), math.sqrt(2 / math.pi))
        return b.mul(b.mul(x, 0.5), b.add(b.tanh(inner), 1))


class SiluOp(ElementwiseOp, name="silu"):
    """x * sigmoid(x).

    Gradient: g * s * (1 + x * (1 - s)), s = sigmoid(x).
    """

    x: Tensor
    out: Result
    aten = "silu"

    def vjp(op, g):
        s = b.sigmoid(op.x)
        return {"x": b.mul(b.mul(g, s), b.add(b.mul(op.x, b.sub(1, s)), 1))}


class MishOp(ElementwiseOp, name="mish"):
    """x * tanh(log(1 + exp(x))).

    Gradient: g * (t + x * sigmoid(x) * (1 - t^2)), t = tanh(log(1 + exp(x))).
    """

    x: Tensor
    out: Result
    aten = "mish"
    lowering = Lowering.DECOMPOSE

    def vjp(op, g):
        t = b.tanh(b.softplus(op.x, 1, 20))
        right = b.mul(b.mul(op.x, b.sigmoid(op.x)), b.sub(1, b.mul(t, t)))
        return {"x": b.mul(g, b.add(t, right))}

    @_rounded_once
    def decompose(op, x):
        return b.mul(x, b.tanh(b.log1p(b.exp(x))))


class SoftplusOp(ElementwiseOp, name="softplus"):
    """log(1 + exp(beta * x)) / beta; x itself where beta * x > threshold.

    Gradient: g * sigmoid(beta * x); g where beta * x > threshold.
    """

    x: Tensor
    beta: Number = 1
    threshold: Number = 20
    out: Result
    aten = "softplus"
    lowering = Lowering.DECOMPOSE

    def vjp(op, g):
        scaled = b.mul(op.x, op.beta)
        return {"x": b.where(b.gt(scaled, op.threshold), g, b.mul(g, b.sigmoid(scaled)))}

    @_rounded_once
    def decompose(op, x):
        scaled = b.mul(x, op.beta)
        return b.where(b.gt(scaled, op.threshold), x, b.div(b.log1p(b.exp(scaled)), op.beta))


# One sixth in float32, by which eager multiplies in float64 too.
_SIXTH = 0.16666667163372040


class HardsigmoidOp(ElementwiseOp, name="hardsigmoid"):
    """min(max(x + 3, 0), 6) / 6.

    Gradient: g / 6 where -3 < x < 3, else 0.
    """

    x: Tensor
    out: Result
    aten = "hardsigmoid"

    def vjp(op, g):
        inside = b.logical_and(b.gt(op.x, -3), b.lt(op.x, 3))
        return {"x": b.where(inside, b.mul(g, _SIXTH), 0)}


class HardswishOp(ElementwiseOp, name="hardswish"):
    """x * min(max(x + 3, 0), 6) / 6.

    Gradient: 0 where x <= -3, g where x >= 3, g * (x / 3 + 1/2) between.
    """

    x: Tensor
    out: Result
    aten = "hardswish"

    def vjp(op, g):
        between = b.mul(g, b.add(b.mul(op.x, 1 / 3), 0.5))
        return {"x": b.where(b.le(op.x, -3), 0, b.where(b.lt(op.x, 3), between, g))}


class HardshrinkOp(ElementwiseOp, name="hardshrink"):
    """x where |x| > lambd, else 0.

    Gradient: g where |x| > lambd, else 0.
    """

    x: Tensor
    lambd: Number = 0.5
    out: Result
    aten = "hardshrink"
    lowering = Lowering.DECOMPOSE

    def vjp(op, g):
        inside = b.logical_and(b.ge(op.x, -op.lambd), b.le(op.x, op.lambd))
        return {"x": b.where(inside, 0, g)}

    def decompose(op):
        inside = b.logical_and(b.ge(op.x, -op.lambd), b.le(op.x, op.lambd))
        return b.where(inside, 0, op.x)


class SoftshrinkOp(ElementwiseOp, name="softshrink"):
    """x - lambd where x > lambd, x + lambd where x < -lambd, else 0.

    Gradient: g where |x| > lambd, else 0.
    """

    x: Tensor
    lambd: Number = 0.5
    out: Result
    aten = "softshrink"
    lowering = Lowering.DECOMPOSE

    def vjp(op, g):
        inside = b.logical_and(b.ge(op.x, -op.lambd), b.le(op.x, op.lambd))
        return {"x": b.where(inside, 0, g)}

    def decompose(op):
        inside = b.where(b.isnan(op.x), op.x, 0)
        above = b.where(b.gt(op.x, op.lambd), b.sub(op.x, op.lambd), inside)
        return b.where(b.lt(op.x, -op.lambd), b.add(op.x, op.lambd), above)
