# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forms of sine, cosine, tangent and their inverses.

IREE's own forms of the first three subtract a rounded multiple of pi: their errors grow with the argument, 3e-5 at
1,000 and beyond 1 at 1e8. Here the distance from the nearest quarter turn is taken from the product with 2 / pi in
fixed point, of which only the bits that matter are computed (M. Payne and R. Hanek, "Radian reduction for trigonometric
functions", 1983). The polynomials are those of the Cephes library for f32, of Sun's fdlibm for f64 (k_sin.c, k_cos.c,
s_atan.c, e_asin.c, e_acos.c), without branches.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from flambeau.dialects.bindings import arith, ir
from flambeau.pipelines.scalar_forms.arithmetic import sqrt
from flambeau.pipelines.scalar_forms.casts import rounded_once
from flambeau.pipelines.scalar_forms.exponential import even, without_low_word
from flambeau.pipelines.scalar_forms.table import form
from flambeau.pipelines.scalar_forms.value import (
    Value,
    absolute,
    constant,
    copysign,
    integer_type,
    math_op,
    maximum,
    polynomial,
    select,
)


class Turn(NamedTuple):
    """Of |x|: the nearest quarter turn (only its last two bits count), and sine and cosine of the rest."""

    quadrant: Value
    sine: Value
    cosine: Value


@form("sin")
@rounded_once
def sin(x: Value) -> Value:
    turn = _turn(x)
    value = select(_has_bit(turn.quadrant, 1), turn.cosine, turn.sine)
    negative = _has_bit(turn.quadrant, 2) ^ (x < 0)
    return select(x.equals(0), x, select(negative, -value, value))


@form("cos")
@rounded_once
def cos(x: Value) -> Value:
    turn = _turn(x)
    value = select(_has_bit(turn.quadrant, 1), turn.sine, turn.cosine)
    return select(_has_bit(turn.quadrant + 1, 2), -value, value)


@form("tan")
@rounded_once
def tan(x: Value) -> Value:
    turn = _turn(x)
    odd = _has_bit(turn.quadrant, 1)
    quotient = select(odd, turn.cosine, turn.sine) / select(odd, turn.sine, turn.cosine)
    return select(x.equals(0), x, select(odd ^ (x < 0), -quotient, quotient))


def _turn(x: Value) -> Turn:
    return _turn_64(x) if x.is_float64 else _turn_32(x)


def _has_bit(value: Value, bit: int) -> Value:
    return (value & bit).differs(0)


def _window(table: Sequence[int], first: Value, words: int) -> list[Value]:
    """`words` unsigned integers with the bits of the table from number `first` on; the table's are as wide."""
    width = first.bits
    word, shift = first >> int(math.log2(width)), first & (width - 1)
    found: list[Value] = [first.constant(entry).as_unsigned() for entry in table]
    last = len(table) - (words + 1)  # the largest number of the first word
    for step in reversed([1 << i for i in range(last.bit_length())]):
        # Afterwards fewer than `step` words remain to be skipped.
        needed = min(words + step, len(found))
        chosen = _has_bit(word, step)
        found = [
            select(chosen, found[i + step], found[i]) if i + step < len(found) else found[i]
            for i in range(needed)
        ]
    # A shift by the whole width is not defined, so the other part is shifted twice.
    back = (width - 1) - shift
    return [(one << shift) | ((next_ >> 1) >> back) for one, next_ in pairwise(found)]


# --- f32 -------------------------------------------------------------------------------------------------------------

# The first 224 bits of 2 / pi behind the point, after 32 zeros: bit 31 + i has the weight 2^-i.
_TWO_OVER_PI_32 = (0, 0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB)

# sin r = r + r^3 p(r^2) and cos r = 1 - r^2 / 2 + r^4 q(r^2) up to an eighth of a turn, highest power first.
_SINE_32 = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COSINE_32 = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)


def _turn_32(x: Value) -> Turn:
    bits = x.bitcast(integer_type(32)) & 0x7FFFFFFF
    exponent = (bits >> 23) - 127
    # |x| = mantissa 2^(exponent - 23). Of 2 / pi that makes whole turns of all bits before the one that this
    # multiplies to 2: it has the number exponent + 7. Below 1/2 there is nothing to reduce, see below.
    mantissa = ((bits & 0x7FFFFF) | 0x800000).as_unsigned()
    high, middle, low = _window(_TWO_OVER_PI_32, maximum(exponent, -1) + 7, 3)
    middle_low, middle_high = _wide_product(mantissa, middle)
    _, low_high = _wide_product(mantissa, low)
    fraction = middle_low + low_high
    carry = select(fraction < middle_low, 1, fraction.constant(0))
    turns = mantissa * high + middle_high + carry  # two bits before the point, 30 behind
    quadrant = (turns + 0x20000000) >> 30
    # The distance from there in quarter turns: a signed fraction of 64 bits.
    upper, lower = (turns << 2) | (fraction >> 30), fraction << 2
    distance = _to_float(upper.as_signed(), x) * 2.0**-32 + _to_float(lower, x) * 2.0**-64
    size = absolute(x)
    small = size < 0.5
    rest = select(small, size, distance * (math.pi / 2))
    rest = select(size < math.inf, rest, size - size)
    square = rest * rest
    sine = rest + rest * square * polynomial(square, _SINE_32)
    cosine = (1 - square * 0.5) + square * square * polynomial(square, _COSINE_32)
    return Turn(select(small, 0, quadrant), sine, cosine)


def _to_float(x: Value, like: Value) -> Value:
    convert = arith.sitofp if x.signed else arith.uitofp
    return Value(convert(like.value.type, x.value))


def _wide_product(x: Value, y: Value) -> tuple[Value, Value]:
    """The lower and the upper 32 bits of an unsigned product.

    From products of 16 bits: IREE does not compile every `arith.mului_extended`, and not every GPU has 64-bit integers.
    """
    x_low, x_high = x & 0xFFFF, x >> 16
    y_low, y_high = y & 0xFFFF, y >> 16
    cross, other = x_low * y_high, x_high * y_low
    middle = (cross & 0xFFFF) + (other & 0xFFFF) + ((x_low * y_low) >> 16)
    return x * y, x_high * y_high + (middle >> 16) + ((cross >> 16) + (other >> 16))


# --- f64 -------------------------------------------------------------------------------------------------------------

# 1,216 bits of 2 / pi behind the point, after 64 zeros: bit 63 + i has the weight 2^-i.
_TWO_OVER_PI_64 = (
    0x0000000000000000,
    0xA2F9836E4E441529,
    0xFC2757D1F534DDC0,
    0xDB6295993C439041,
    0xFE5163ABDEBBC561,
    0xB7246E3A424DD2E0,
    0x06492EEA09D1921C,
    0xFE1DEB1CB129A73E,
    0xE88235F52EBB4484,
    0xE99C7026B45F7E41,
    0x3991D639835339F4,
    0x9C845F8BBDF9283B,
    0x1FF897FFDE05980F,
    0xEF2F118B5A0A6D1F,
    0x6D367ECF27CB09B7,
    0x4F463F669E5FEA2D,
    0x7527BAC7EBE5F17B,
    0x3D0739F78A5292EA,
    0x6BFB5FB11F8D5D08,
    0x56033046FC7B6BAB,
)

_SINE_64 = (
    1.58969099521155e-10,
    -2.5050760253406863e-08,
    2.7557313707070068e-06,
    -0.0001984126982985795,
    0.00833333333332249,
    -0.16666666666666632,
)
_COSINE_64 = (
    -1.1359647557788195e-11,
    2.087572321298175e-09,
    -2.7557314351390663e-07,
    2.480158728947673e-05,
    -0.001388888888887411,
    0.0416666666666666,
)

# pi / 2 in two parts, and the first of them in two: a product of the first 26 bits with 27 other ones is exact.
_HALF_PI = (1.57079632679489655800e00, 6.12323399573676603587e-17)
_HALF_PI_START = 1.5707963109016418


def _turn_64(x: Value) -> Turn:
    bits = x.bitcast(integer_type(64)) & (2**63 - 1)
    exponent = (bits >> 52) - 1023
    # |x| = mantissa 2^(exponent - 52). Here the first bit of 2 / pi that matters has the number exponent + 10.
    mantissa = ((bits & (2**52 - 1)) | 2**52).as_unsigned()
    window = _window(_TWO_OVER_PI_64, maximum(exponent, -1) + 10, 3)
    digits = _product_of_digits(
        mantissa, [half for word in window for half in (word >> 32, word & 0xFFFFFFFF)]
    )
    quadrant = (digits[0] + (1 << 29)) >> 30
    size = absolute(x)
    small = size < 0.5
    high, low = _radians(digits)
    high, low = select(small, size, high), select(small, 0.0, low)
    high = select(size < math.inf, high, size - size)
    return Turn(select(small, 0, quadrant), _sine_64(high, low), _cosine_64(high, low))


def _product_of_digits(x: Value, digits: Sequence[Value]) -> list[Value]:
    """The fraction of x * 0.digits in digits of 32 bits, one digit less; x has 53 bits."""
    low, high = x & 0xFFFFFFFF, x >> 32
    by_low = [low * d for d in digits]
    by_high = [high * d for d in digits[1:]]
    product: list[Value] = []
    carry = None
    for place in reversed(range(len(digits) - 1)):
        total = (by_low[place] & 0xFFFFFFFF) + (by_low[place + 1] >> 32) + (by_high[place] & 0xFFFFFFFF)
        if place + 1 < len(by_high):
            total = total + (by_high[place + 1] >> 32)
        if carry is not None:
            total = total + carry
        product.append(total & 0xFFFFFFFF)
        carry = total >> 32
    return product[::-1]


def _radians(digits: Sequence[Value]) -> tuple[Value, Value]:
    """The distance of a fraction of a turn from the nearest quarter, in radians, as a sum of two f64."""
    shifted = [((one << 2) & 0xFFFFFFFF) | (next_ >> 30) for one, next_ in pairwise(digits)]
    # The first digit has the sign.
    parts = [_small_to_float64(d) for d in shifted]
    first = select(parts[0] >= 2.0**31, parts[0] - 2.0**32, parts[0]) * 2.0**-32
    second = parts[1] * 2.0**-64
    total = even(first + second)
    rest = (second - (total - first)) + (parts[2] * 2.0**-96 + parts[3] * 2.0**-128)
    high = even(total + rest)
    low = rest - (high - total)
    product = high * _HALF_PI[0]
    start = without_low_word(high)
    end = high - start
    lost = ((start * _HALF_PI_START - product) + end * _HALF_PI_START) + high * (_HALF_PI[0] - _HALF_PI_START)
    return product, lost + (high * _HALF_PI[1] + low * _HALF_PI[0])


def _small_to_float64(x: Value) -> Value:
    """An integer of less than 2^52 as f64: as the last bits of 2^52, which not every CPU needs an instruction for."""
    f64 = ir.F64Type.get()
    offset = constant(x.type_of(f64), 2.0**52)
    return (x | offset.bitcast(x.element)).bitcast(f64) - offset


def _sine_64(x: Value, low: Value) -> Value:
    """sin(x + low), |x| up to an eighth of a turn."""
    z = x * x
    v = z * x
    r = polynomial(z, _SINE_64[:-1])
    return x - ((z * (low * 0.5 - v * r) - low) - v * _SINE_64[-1])


def _cosine_64(x: Value, low: Value) -> Value:
    """cos(x + low), |x| up to an eighth of a turn."""
    z = x * x
    r = z * polynomial(z, _COSINE_64)
    half = z * 0.5
    w = 1 - half
    return w + (((1 - w) - half) + (z * r - x * low))


# --- Inverses --------------------------------------------------------------------------------------------------------


@form("asin")
@rounded_once
def asin(x: Value) -> Value:
    return _asin_64(x) if x.is_float64 else math_op("asin", x)


@form("acos")
@rounded_once
def acos(x: Value) -> Value:
    return _acos_64(x) if x.is_float64 else math_op("acos", x)


@form("atan")
@rounded_once
def atan(x: Value) -> Value:
    return _atan_64(x) if x.is_float64 else math_op("atan", x)


@form("atan2")
@rounded_once
def atan2(x: Value, y: Value) -> Value:
    """The angle of the point (y, x); of two zeros and two infinities, where the quotient is not defined, too."""
    opposite, adjacent = absolute(x), absolute(y)
    if x.is_float64:
        angle = _atan_64(opposite / adjacent)
    else:
        angle = math_op("atan2", opposite, adjacent)
    angle = select(opposite.equals(adjacent), math.pi / 4, angle)
    angle = select(opposite.equals(0), 0.0, angle)
    angle = select(x.is_nan() | y.is_nan(), math.nan, angle)
    minus = copysign(y.constant(1), y) < 0
    opposite_side = math.pi - (angle - _PI_REST) if x.is_float64 else math.pi - angle
    return copysign(select(minus, opposite_side, angle), x)


_PI_REST = 2 * _HALF_PI[1]

_ATAN = (
    0.016285820115365782,
    -0.036531572744216916,
    0.049768779946159324,
    -0.058335701337905735,
    0.06661073137387531,
    -0.0769187620504483,
    0.09090887133436507,
    -0.11111110405462356,
    0.14285714272503466,
    -0.19999999999876483,
    0.3333333333333293,
)
# From which size on the arctangent of which number is taken out, and that in two parts.
_ATAN_STEPS = (
    (0.4375, 4.63647609000806093515e-01, 2.26987774529616870924e-17),
    (0.6875, 7.85398163397448278999e-01, 3.06161699786838301793e-17),
    (1.1875, 9.82793723247329054082e-01, 1.39033110312309984516e-17),
    (2.4375, 1.57079632679489655800e00, 6.12323399573676603587e-17),
)


def _atan_64(x: Value) -> Value:
    """atan |x| = atan a + atan((|x| - a) / (1 + a |x|)) with a = 0, 1/2, 1, 3/2 or infinity."""
    size = absolute(x)
    above = [size >= bound for bound, _, _ in _ATAN_STEPS]
    top = select(above[0], 2 * size - 1, size)
    bottom = select(above[0], 2 + size, x.constant(1))
    top, bottom = select(above[1], size - 1, top), select(above[1], size + 1, bottom)
    top, bottom = select(above[2], size - 1.5, top), select(above[2], 1 + 1.5 * size, bottom)
    top, bottom = select(above[3], -1.0, top), select(above[3], size, bottom)
    known, rest = x.constant(0), x.constant(0)
    for is_above, (_, high, low) in zip(above, _ATAN_STEPS, strict=True):
        known, rest = select(is_above, high, known), select(is_above, low, rest)
    t = top / bottom
    z = t * t
    value = known - ((t * (z * polynomial(z, _ATAN)) - rest) - t)
    return copysign(value, x)


_ASIN_TOP = (
    3.479331075960212e-05,
    0.0007915349942898145,
    -0.04005553450067941,
    0.20121253213486293,
    -0.3255658186224009,
    0.16666666666666666,
)
_ASIN_BOTTOM = (
    0.07703815055590194,
    -0.6882839716054533,
    2.0209457602335057,
    -2.403394911734414,
    1.0,
)


def _asin_quotient(z: Value) -> Value:
    """(asin(s) - s) / s of s = sqrt(z), for z up to 1/4."""
    return z * polynomial(z, _ASIN_TOP) / polynomial(z, _ASIN_BOTTOM)


def _root_in_two_parts(z: Value) -> tuple[Value, Value, Value]:
    """The root of z as it is, its first bits, and what they lack of the exact one."""
    root = sqrt(z)
    start = without_low_word(root)
    return root, start, select(z.equals(0), 0.0, (z - start * start) / (root + start))


def _asin_64(x: Value) -> Value:
    """From 1/2 on pi / 2 - 2 asin(sqrt((1 - x) / 2))."""
    size = absolute(x)
    near = size < 0.5
    z = select(near, size * size, (1 - size) * 0.5)
    quotient = _asin_quotient(z)
    root, start, lost = _root_in_two_parts(z)
    p = 2 * root * quotient - (_HALF_PI[1] - 2 * lost)
    q = math.pi / 4 - 2 * start
    far = math.pi / 4 - (p - q)
    return copysign(select(near, size + size * quotient, far), x)


def _acos_64(x: Value) -> Value:
    """Below 1/2 pi / 2 - asin(x), else 2 asin(sqrt((1 - x) / 2)), and pi less that of -x for x <= -1/2."""
    size = absolute(x)
    near = size < 0.5
    z = select(near, size * size, (1 - size) * 0.5)
    quotient = _asin_quotient(z)
    root, start, lost = _root_in_two_parts(z)
    middle = _HALF_PI[0] - (x - (_HALF_PI[1] - x * quotient))
    right = 2 * (start + (quotient * root + lost))
    left = math.pi - 2 * (root + (quotient * root - _HALF_PI[1]))
    return select(near, middle, select(x < 0, left, right))
