# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forms of arithmetic, rounding and choices of bounds."""

from flambeau.pipelines.scalar_forms.table import form
from flambeau.pipelines.scalar_forms.value import (
    Number,
    Value,
    absolute,
    copysign,
    math_op,
    maximum,
    minimum,
    select,
)

# --- Two operands ----------------------------------------------------------------------------------------------------


@form("add")
def add(x: Value, y: Value) -> Value:
    return x | y if x.is_bool else x + y


@form("sub")
def sub(x: Value, y: Value) -> Value:
    return x - y


@form("scaled_add")
def scaled_add(x: Value, y: Value, alpha: Number) -> Value:
    return x | (y & alpha) if x.is_bool else x + y * alpha


@form("scaled_sub")
def scaled_sub(x: Value, y: Value, alpha: Number) -> Value:
    return x - y * alpha


@form("mul")
def mul(x: Value, y: Value) -> Value:
    return x & y if x.is_bool else x * y


@form("div")
def div(x: Value, y: Value) -> Value:
    return x / y


@form("trunc_divide")
def trunc_divide(x: Value, y: Value) -> Value:
    if x.is_float:
        return trunc(x / y)
    return select(y.equals(-1), -x, x / _divisor(y)) if x.signed else x / y


@form("fmod")
def fmod(x: Value, y: Value) -> Value:
    return x % y if x.is_float or not x.signed else x % _divisor(y)


@form("remainder")
def remainder(x: Value, y: Value) -> Value:
    rest = fmod(x, y)
    if not x.signed:
        return rest
    other_sign = rest.differs(0) & ((rest < 0) ^ (y < 0))
    return select(other_sign, rest + y, rest)


def _divisor(y: Value) -> Value:
    """y, and 1 for -1: the smallest integer divided by -1 has no quotient, and stops the processor."""
    return select(y.equals(-1), 1, y)


@form("maximum")
def larger(x: Value, y: Value) -> Value:
    return maximum(x, y)


@form("minimum")
def smaller(x: Value, y: Value) -> Value:
    return minimum(x, y)


@form("copysign")
def with_sign(x: Value, y: Value) -> Value:
    return copysign(x, y)


# --- Three operands --------------------------------------------------------------------------------------------------


@form("lerp")
def lerp(x: Value, end: Value, weight: Value) -> Value:
    """From the nearer end, as in eager, so that weight 1 gives `end` itself."""
    distance = end - x
    return select(absolute(weight) < 0.5, x + weight * distance, end - distance * (1 - weight))


@form("addcmul")
def addcmul(x: Value, tensor1: Value, tensor2: Value, value: Number) -> Value:
    return x + tensor1 * tensor2 * value if value != 1 else x + tensor1 * tensor2


@form("addcdiv")
def addcdiv(x: Value, tensor1: Value, tensor2: Value, value: Number) -> Value:
    return x + tensor1 * value / tensor2 if value != 1 else x + tensor1 / tensor2


# --- Signs and rounding ----------------------------------------------------------------------------------------------


@form("neg")
def neg(x: Value) -> Value:
    return -x


@form("abs")
def abs_(x: Value) -> Value:
    return absolute(x)


@form("sign")
def sign(x: Value) -> Value:
    if not x.signed:
        return select(x > 0, x.constant(1), 0)
    return select(x > 0, x.constant(1), select(x < 0, x.constant(-1), 0))


@form("floor")
def floor(x: Value) -> Value:
    return math_op("floor", x) if x.is_float else x


@form("ceil")
def ceil(x: Value) -> Value:
    return math_op("ceil", x) if x.is_float else x


@form("round")
def round_(x: Value) -> Value:
    return math_op("roundeven", x) if x.is_float else x


@form("trunc")
def trunc(x: Value) -> Value:
    return math_op("trunc", x) if x.is_float else x


@form("frac")
def frac(x: Value) -> Value:
    return x - trunc(x)


# --- Powers that are products or roots -------------------------------------------------------------------------------


@form("square")
def square(x: Value) -> Value:
    return x * x


@form("sqrt")
def sqrt(x: Value) -> Value:
    return math_op("sqrt", x)


@form("rsqrt")
def rsqrt(x: Value) -> Value:
    return 1 / sqrt(x) if x.is_float64 else math_op("rsqrt", x)


@form("reciprocal")
def reciprocal(x: Value) -> Value:
    return 1 / x


@form("clone")
def clone(x: Value) -> Value:
    return x
