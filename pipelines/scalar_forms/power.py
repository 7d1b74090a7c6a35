# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forms of powers: x^y = 2^(y log2 x), the product in two parts, after Sun's fdlibm (e_pow.c, e_powf.c).

IREE's own form for f32 is off by 100 units in the last place.
"""

import math
from typing import NamedTuple

from flambeau.dialects.bindings import arith
from flambeau.pipelines.scalar_forms.arithmetic import reciprocal, rsqrt, sqrt
from flambeau.pipelines.scalar_forms.casts import rounded_once
from flambeau.pipelines.scalar_forms.exponential import as_float64, nearest_integer, scale
from flambeau.pipelines.scalar_forms.table import form
from flambeau.pipelines.scalar_forms.value import (
    Number,
    Value,
    absolute,
    copysign,
    integer_type,
    math_op,
    maximum,
    minimum,
    polynomial,
    select,
)


@form("pow")
@rounded_once
def power(x: Value, y: Value) -> Value:
    """x to the power y, special values included; for floats from the power of |x|."""
    if not x.is_float:
        return _integer_power(x, y)
    size = absolute(x)
    value = _power(size, y)
    value = select(size.equals(1), 1.0, value)
    half = y * 0.5
    is_even = math_op("floor", half).equals(half)
    is_integer = math_op("floor", y).equals(y)
    undefined = select(size.differs(math.inf) & (x < 0), math.nan, value)
    negative = select(is_integer, select(is_even, value, -value), undefined)
    value = select(copysign(x.constant(1), x) < 0, negative, value)
    value = select(x.is_nan() | y.is_nan(), math.nan, value)
    return select(x.equals(1) | y.equals(0), 1.0, value)


def _integer_power(x: Value, y: Value) -> Value:
    """By squaring, one bit of the exponent after the other; negative exponents as in eager: 1, -1 or 0."""
    result, square = x.constant(1), x
    for bit in range(x.bits):
        result = select((y & (1 << bit)).differs(0), result * square, result)
        square = square * square
    if not x.signed:
        return result
    sign = select((y & 1).differs(0), -1, x.constant(1))
    of_negative = select(x.equals(1), 1, select(x.equals(-1), sign, 0))
    return select(y < 0, of_negative, result)


# What eager computes for these exponents.
_POWERS = {0.5: sqrt, -0.5: rsqrt, -1.0: reciprocal}


@form("pow_scalar")
@rounded_once
def pow_scalar(x: Value, exponent: Number) -> Value:
    if not x.is_float:
        return power_of_integer(x, int(exponent)) if exponent >= 0 else power(x, x.constant(exponent))
    if exponent in _POWERS:
        return _POWERS[exponent](x)
    if exponent in (1, 2, 3):
        return power_of_integer(x, int(exponent))
    if exponent == -2:
        return reciprocal(x * x)
    return power(x, x.constant(exponent))


def power_of_integer(x: Value, exponent: int) -> Value:
    """x to the power of an integer that is not negative, by squaring."""
    result, square = None, x
    while exponent:
        if exponent % 2:
            result = square if result is None else result * square
        exponent //= 2
        if exponent:
            square = square * square
    return x.constant(1) if result is None else result


# --- Of positive floats ----------------------------------------------------------------------------------------------


class _Format(NamedTuple):
    """A float type: the width, the bits of the mantissa behind the point, and how many of them a factor of an exact
    product may have at the end as zeros. The numbers are pairs of which the first has such zeros."""

    bits: int
    mantissa: int
    zeros: int
    two_thirds_per_ln2: tuple[float, float]
    log2_of_1_5: tuple[float, float]
    ln2: tuple[float, float]

    @property
    def bias(self) -> int:
        return (1 << (self.bits - self.mantissa - 2)) - 1


_F32 = _Format(
    32,
    23,
    12,
    (9.6191406250e-01, -1.1736857402e-04),
    (5.84960938e-01, 1.56322085e-06),
    (6.93145752e-01, 1.42860654e-06),
)
_F64 = _Format(
    64,
    52,
    32,
    (9.61796700954437255859e-01, -7.02846165095275826516e-09),
    (5.84962487220764160156e-01, 1.35003920212974897128e-08),
    (6.93147182464599609375e-01, -1.90465429995776804525e-09),
)

# log(1 + f) / log 2 by a series in s = (x - c) / (x + c), c being 1 or 1.5; and e^r, as in `exponential`.
_LOG = (
    0.20697501780033842,
    0.23066074577556175,
    0.272728123808534,
    0.33333332981837743,
    0.4285714285785502,
    0.5999999999999946,
)
_EXP = (
    4.1381367970572385e-08,
    -1.6533902205465252e-06,
    6.613756321437934e-05,
    -0.0027777777777015593,
    0.16666666666666602,
)


def _format(x: Value) -> _Format:
    return _F64 if x.is_float64 else _F32


def _without_last_bits(x: Value) -> Value:
    """With zeros at the end: products of two such are exact."""
    of = _format(x)
    return (x.bitcast(integer_type(of.bits)) & -(1 << of.zeros)).bitcast(x.element)


def _power(x: Value, y: Value) -> Value:
    """x^y of x >= 0."""
    log_high, log_low = _log2_in_two_parts(x)
    # From here on the result is 0, 1 or infinite for all x.
    y = minimum(maximum(y, -(2.0**70)), 2.0**70)
    y_high = _without_last_bits(y)
    value = _exp2_of_two_parts(y_high * log_high, (y - y_high) * log_high + y * log_low)
    value = select(x.equals(math.inf), select(y > 0, math.inf, x.constant(0)), value)
    value = select(x.equals(0), select(y > 0, 0.0, x.constant(math.inf)), value)
    far = absolute(y) >= 2.0**70
    return select(far, select((x > 1) ^ (y < 0), math.inf, x.constant(0)), value)


def _mantissa_and_exponent(x: Value) -> tuple[Value, Value]:
    """A positive number as one from 1 to 2, and the exponent of 2 as an integer of the same width."""
    of = _format(x)
    small = x < 2.0 ** (1 - of.bias)  # subnormal: times 2^54
    bits = select(small, x * 2.0**54, x).bitcast(integer_type(of.bits))
    mantissa = (bits & ((1 << of.mantissa) - 1)) | (of.bias << of.mantissa)
    exponent = (bits >> of.mantissa) - of.bias
    return mantissa.bitcast(x.element), select(small, exponent - 54, exponent)


def _log2_in_two_parts(x: Value) -> tuple[Value, Value]:
    of = _format(x)
    mantissa, exponent = _mantissa_and_exponent(x)
    # Below sqrt(3/2) from 1, below sqrt(3) from 1.5, else from 1 with the next exponent.
    middle = (mantissa >= math.sqrt(1.5)) & (mantissa < math.sqrt(3))
    next_ = mantissa >= math.sqrt(3)
    a = select(next_, mantissa * 0.5, mantissa)
    exponent = select(next_, exponent + 1, exponent)
    base = select(middle, 1.5, a.constant(1))
    u, v = a - base, 1 / (a + base)
    s = u * v
    s_high = _without_last_bits(s)
    t_high = _without_last_bits(a + base)
    t_low = a - (t_high - base)
    s_low = v * ((u - s_high * t_high) - s_high * t_low)
    square = s * s
    rest = square * square * polynomial(square, _LOG) + s_low * (s_high + s)
    square = s_high * s_high
    t_high = _without_last_bits(3 + square + rest)
    t_low = rest - ((t_high - 3) - square)
    u, v = s_high * t_high, s_low * t_high + t_low * s
    p_high = _without_last_bits(u + v)
    p_low = v - (p_high - u)
    known, known_low = (select(middle, part, a.constant(0)) for part in of.log2_of_1_5)
    factor, factor_low = of.two_thirds_per_ln2
    z_high = p_high * factor
    z_low = p_high * factor_low + p_low * (2 / (3 * math.log(2.0))) + known_low
    count = Value(arith.sitofp(x.value.type, exponent.value)) if of.bits == 32 else as_float64(exponent)
    high = _without_last_bits(((z_high + z_low) + known) + count)
    return high, z_low - (((high - count) - known) - z_high)


def _exp2_of_two_parts(high: Value, low: Value) -> Value:
    """2^(high + low)."""
    of = _format(high)
    most = float(2 * of.bias)
    inside = absolute(high) < most
    low = select(inside, low, 0.0)
    high = select(inside | high.is_nan(), high, copysign(high.constant(most), high))
    whole, count = nearest_integer(high + low)
    high = high - whole
    t = _without_last_bits(low + high)
    u = t * of.ln2[0]
    v = (low - (t - high)) * math.log(2.0) + t * of.ln2[1]
    z = u + v
    w = v - (z - u)
    square = z * z
    t1 = z - square * polynomial(square, _EXP)
    r = (z * t1) / (t1 - 2) - (w + z * w)
    return scale(1 - (r - z), count)
