# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forms of exponentials, logarithms and powers.

IREE has vector forms of these functions for f32. For f64 they are computed here: the method is that of Sun's fdlibm
(e_exp.c, s_expm1.c, e_log.c, s_log1p.c, e_log2.c, e_pow.c), without branches, so that vectors can take it.
"""

import math

from flambeau.dialects.bindings import arith, ir
from flambeau.pipelines.scalar_forms.casts import cast, rounded_once
from flambeau.pipelines.scalar_forms.table import form
from flambeau.pipelines.scalar_forms.value import (
    Value,
    absolute,
    constant,
    integer_type,
    math_op,
    maximum,
    minimum,
    polynomial,
    select,
)

# ln 2 in two parts; the first has 21 zeros at its end, so that small multiples of it are exact.
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10

_SMALLEST_NORMAL = 2.0**-1022


@form("exp")
@rounded_once
def exp(x: Value) -> Value:
    return exp_scaled(x) if x.is_float64 else math_op("exp", x)


@form("exp2")
@rounded_once
def exp2(x: Value) -> Value:
    if not x.is_float64:
        return math_op("exp2", x)
    x = minimum(maximum(x, -1100.0), 1100.0)
    whole, count = nearest_integer(x)
    rest = x - whole
    high = rest * _LN2_HIGH
    return scale(_exp_of_rest(high, -(rest * _LN2_LOW)), count)


@form("expm1")
@rounded_once
def expm1(x: Value) -> Value:
    return _expm1_64(x) if x.is_float64 else math_op("expm1", x)


@form("log")
@rounded_once
def log(x: Value) -> Value:
    return _log_64(x) if x.is_float64 else math_op("log", x)


@form("log1p")
@rounded_once
def log1p(x: Value) -> Value:
    return _log1p_64(x) if x.is_float64 else math_op("log1p", x)


@form("log2")
@rounded_once
def log2(x: Value) -> Value:
    return _log_to_base(x, _PER_LN2, (1.0, 0.0)) if x.is_float64 else math_op("log2", x)


@form("log10")
@rounded_once
def log10(x: Value) -> Value:
    return _log_to_base(x, _PER_LN10, _LOG10_2) if x.is_float64 else log(x) * (1 / math.log(10.0))


# --- e^x in f64 ------------------------------------------------------------------------------------------------------


def nearest_integer(x: Value) -> tuple[Value, Value]:
    """The integer nearest to x, which i32 can hold, as float and as an integer of the same width (0 for NaN).

    Through i32, to and from which every CPU has instructions for vectors. Adding and subtracting 1.5 2^52 would do
    with less, but drivers of GPUs take that for nothing.
    """
    whole = math_op("roundeven", x)
    number = select(x.is_nan(), 0.0, whole).value
    count = Value(arith.fptosi(x.type_of(integer_type(32)), number))
    return whole, cast(count, integer_type(x.bits))


def as_float64(count: Value) -> Value:
    """An i64 that i32 can hold as f64."""
    short = arith.trunci(count.type_of(integer_type(32)), count.value)
    return Value(arith.sitofp(count.type_of(ir.F64Type.get()), short))


def power_of_two(exponent: Value) -> Value:
    """2^exponent, a normal float as wide as the exponent: f32 or f64."""
    if exponent.bits == 32:
        return ((exponent + 127) << 23).bitcast(ir.F32Type.get())
    return ((exponent + 1023) << 52).bitcast(ir.F64Type.get())


def scale(x: Value, exponent: Value) -> Value:
    """x * 2^exponent, in two steps, since 2^exponent itself may be out of range."""
    half = exponent >> 1
    return x * power_of_two(half) * power_of_two(exponent - half)


def exp_scaled(x: Value, exponent: int = 0) -> Value:
    """e^x * 2^exponent of f64; the intermediate results do not overflow before the result does."""
    x = minimum(maximum(x, -760.0), 720.0)
    whole, count = nearest_integer(x * (1 / math.log(2.0)))
    high = x - whole * _LN2_HIGH
    return scale(_exp_of_rest(high, whole * _LN2_LOW), count + exponent if exponent else count)


def exp_of_sum(x: Value, y: Value) -> Value:
    """e^(x + y) of f64, |x| being the larger one and less than 1000, with the bits of y that x + y does not hold."""
    total = even(x + y)
    whole, count = nearest_integer(total * (1 / math.log(2.0)))
    high = total - whole * _LN2_HIGH
    return scale(_exp_of_rest(high, whole * _LN2_LOW - (y - (total - x))), count)


_EXP = (
    4.1381367970572385e-08,
    -1.6533902205465252e-06,
    6.613756321437934e-05,
    -0.0027777777777015593,
    0.16666666666666602,
)


def _exp_of_rest(high: Value, low: Value) -> Value:
    """e^(high - low) for |high| <= ln 2 / 2."""
    rest = high - low
    square = rest * rest
    c = rest - square * polynomial(square, _EXP)
    return 1 - ((low - (rest * c) / (2 - c)) - high)


_EXPM1 = (
    -2.0109921818362437e-07,
    4.008217827329362e-06,
    -7.93650757867488e-05,
    0.0015873015872548146,
    -0.03333333333333313,
    1.0,
)


def _expm1_64(x: Value) -> Value:
    """Of x = k ln 2 + r: 2^k ((1 - 2^-k) + (e^r - 1))."""
    near = minimum(maximum(x, -45.0), 720.0)
    whole, count = nearest_integer(near * (1 / math.log(2.0)))
    high, low = near - whole * _LN2_HIGH, whole * _LN2_LOW
    rest = high - low
    lost = (high - rest) - low
    half = rest * 0.5
    square = rest * half
    r1 = polynomial(square, _EXPM1)
    t = 3 - r1 * half
    e = square * ((r1 - t) / (6 - rest * t))
    e = rest * (e - lost) - lost - square  # e^r - 1 is rest - e
    offset = 1 - power_of_two(-minimum(count, 60))
    total = offset + rest
    error = select(absolute(offset) >= absolute(rest), rest - (total - offset), offset - (total - rest))
    return select(x.equals(0), x, scale(total + (error - e), count))


# --- Logarithms in f64 -----------------------------------------------------------------------------------------------

_LOG = (
    0.14798198605116586,
    0.15313837699209373,
    0.1818357216161805,
    0.22222198432149784,
    0.2857142874366239,
    0.3999999999940942,
    0.6666666666666735,
)


def split(x: Value) -> tuple[Value, Value]:
    """A positive normal f64 as a number between sqrt(1/2) and sqrt(2), and the i64 exponent of 2."""
    bits = x.bitcast(integer_type(64)) + ((0x3FF00000 - 0x3FE6A09E) << 32)
    exponent = (bits >> 52) - 1023
    mantissa = (bits & (2**52 - 1)) + (0x3FE6A09E << 32)
    return mantissa.bitcast(ir.F64Type.get()), exponent


def _normal(x: Value) -> tuple[Value, Value]:
    """Subnormal numbers times 2^54, and what to add to the exponent for it."""
    small = x < _SMALLEST_NORMAL
    zero = constant(x.type_of(integer_type(64)), 0)
    return select(small, x * 2.0**54, x), select(small, -54, zero)


def _log_of_grown(f: Value) -> tuple[Value, Value]:
    """f^2 / 2, and log(1 + f) - f + f^2 / 2, for 1 + f between sqrt(1/2) and sqrt(2)."""
    half_square = f * f * 0.5
    s = f / (2 + f)
    z = s * s
    return half_square, s * (half_square + z * polynomial(z, _LOG))


def _at_the_ends(x: Value, value: Value) -> Value:
    """The logarithm `value` of x, and what it is for zeros, negative numbers, infinity and NaN."""
    value = select(x.equals(math.inf) | x.is_nan(), x, value)
    return select(x.equals(0), -math.inf, select(x < 0, math.nan, value))


def _log_64(x: Value) -> Value:
    normal, offset = _normal(x)
    mantissa, exponent = split(normal)
    f = mantissa - 1
    count = as_float64(exponent + offset)
    half_square, rest = _log_of_grown(f)
    value = count * _LN2_HIGH - ((half_square - (rest + count * _LN2_LOW)) - f)
    return _at_the_ends(x, value)


def _log1p_64(x: Value) -> Value:
    """log(u + c), u being 1 + x rounded and c what the rounding lost."""
    u = 1 + x
    mantissa, exponent = split(u)
    lost = select(exponent >= 2, 1 - (u - x), x - (u - 1)) / u
    direct = (x > -0.2929) & (x < 0.41422)
    f = select(direct, x, mantissa - 1)
    count = select(direct, 0.0, as_float64(exponent))
    lost = select(direct, 0.0, lost)
    half_square, rest = _log_of_grown(f)
    value = count * _LN2_HIGH - ((half_square - (rest + (count * _LN2_LOW + lost))) - f)
    value = select(x.equals(0) | x.equals(math.inf) | x.is_nan(), x, value)
    return select(x.equals(-1), -math.inf, select(x < -1, math.nan, value))


# 1 / ln 2, 1 / ln 10 and log10(2) in two parts, the first with zeros at its end.
_PER_LN2 = (1.4426950407214463, 1.6751713164886512e-10)
_PER_LN10 = (4.34294481878168880939e-01, 2.50829467116452752298e-11)
_LOG10_2 = (3.01029995663611771306e-01, 3.69423907715893078616e-13)


def even(x: Value) -> Value:
    """An f64 with the last bit 0.

    What it lacks of a sum can be computed on every device: where z is x + y as it is, drivers of GPUs take z - x for y.
    """
    return (x.bitcast(integer_type(64)) & -2).bitcast(ir.F64Type.get())


def without_low_word(x: Value) -> Value:
    """An f64 with the last 32 bits 0: products of two such are exact."""
    return (x.bitcast(integer_type(64)) & -(2**32)).bitcast(ir.F64Type.get())


def _log_to_base(x: Value, per_log: tuple[float, float], log_2: tuple[float, float]) -> Value:
    """log(x) times `per_log` (a sum of two numbers); `log_2` is the logarithm of 2 to that base."""
    normal, offset = _normal(x)
    mantissa, exponent = split(normal)
    f = mantissa - 1
    count = as_float64(exponent + offset)
    half_square, rest = _log_of_grown(f)
    high = without_low_word(f - half_square)
    low = (f - high) - half_square + rest
    whole = count * log_2[0]
    high_part = high * per_log[0]
    low_part = count * log_2[1] + (low + high) * per_log[1] + low * per_log[0]
    total = whole + high_part
    return _at_the_ends(x, total + (low_part + ((whole - total) + high_part)))
