# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forms of arithmetic, rounding and choices of bounds."""

import math

from flambeau.dialects.bindings import ir
from flambeau.pipelines.scalar_forms.casts import rounded_once
from flambeau.pipelines.scalar_forms.table import form
from flambeau.pipelines.scalar_forms.value import (
    Number,
    Value,
    absolute,
    constant,
    copysign,
    integer_type,
    math_op,
    maximum,
    minimum,
    repeat_while,
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
@rounded_once
def scaled_add(x: Value, y: Value, alpha: Number) -> Value:
    return x | (y & alpha) if x.is_bool else x + y * alpha


@form("scaled_sub")
@rounded_once
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
    """Eager refuses to divide integers by zero; here the quotient is x then, since it may not stop the processor."""
    if x.is_float:
        return trunc(x / y)
    return select(y.equals(-1), -x, x / _divisor(y)) if x.signed else x / _divisor(y)


@form("fmod")
def fmod(x: Value, y: Value) -> Value:
    if x.is_float64:
        return _fmod_64(x, y)
    return x % y if x.is_float else x % _divisor(y)


@form("remainder")
def remainder(x: Value, y: Value) -> Value:
    rest = fmod(x, y)
    if not x.signed:
        return rest
    other_sign = rest.differs(0) & ((rest < 0) ^ (y < 0))
    return select(other_sign, rest + y, rest)


def _divisor(y: Value) -> Value:
    """An integer to divide by: y, and 1 for 0 and for -1, by which the smallest integer has no quotient."""
    undefined = y.equals(0) | y.equals(-1) if y.signed else y.equals(0)
    return select(undefined, 1, y)


def _fmod_64(x: Value, y: Value) -> Value:
    """Exact: the long division of the mantissas, ten bits of the quotient at a time."""
    size, divisor = absolute(x), absolute(y)
    mantissa, exponent = _mantissa_and_exponent(size)
    by, of_divisor = _mantissa_and_exponent(divisor)

    def step(rest: Value, left: Value) -> list[Value]:
        bits = maximum(minimum(left, 10), 0)
        return [(rest << bits) % by, left - bits]

    rest, _ = repeat_while(lambda _, left: left > 0, step, [mantissa % by, exponent - of_divisor])
    # Of 53 bits: the first and the others as an f64 each.
    f64 = ir.F64Type.get()
    offset = constant(x.value.type, 2.0**52)
    low = ((rest & (2**52 - 1)) | offset.bitcast(rest.element)).bitcast(f64) - offset
    whole = low + select((rest >> 52).differs(0), offset, 0.0)
    # In two steps, since the factor itself may be too small.
    value = whole * 2.0**-52 * _power_of_two(of_divisor)
    value = select(size < divisor, size, value)
    undefined = size.equals(math.inf) | divisor.equals(0) | x.is_nan() | y.is_nan()
    return copysign(select(undefined, math.nan, value), x)


def _mantissa_and_exponent(x: Value) -> tuple[Value, Value]:
    """Of a positive f64 m and e with x = m 2^(e - 52), m having 53 bits; of 0 the m is 2^52, too."""
    bits = x.bitcast(integer_type(64))
    return ((bits & (2**52 - 1)) | 2**52).as_unsigned(), (bits >> 52) - 1023


def _power_of_two(exponent: Value) -> Value:
    return ((exponent + 1023) << 52).bitcast(ir.F64Type.get())


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
@rounded_once
def lerp(x: Value, end: Value, weight: Value) -> Value:
    """From the nearer end, as in eager, so that weight 1 gives `end` itself."""
    distance = end - x
    return select(absolute(weight) < 0.5, x + weight * distance, end - distance * (1 - weight))


@form("addcmul")
@rounded_once
def addcmul(x: Value, tensor1: Value, tensor2: Value, value: Number) -> Value:
    return x + tensor1 * value * tensor2 if value != 1 else x + tensor1 * tensor2


@form("addcdiv")
@rounded_once
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
