# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""sin, cos and tan of float32 scalars, for arguments of any size, as arithmetic in the body of a loop nest.

IREE's own forms subtract a rounded multiple of pi: their errors grow with the argument, 3e-5 at 1,000 and beyond 1 at
1e8. Here the distance from the nearest quarter turn is taken from the product with 2 / pi in fixed point, of which only
the bits that matter are computed (M. Payne and R. Hanek, "Radian reduction for trigonometric functions", 1983).
"""

import math
from itertools import pairwise

from flambeau.dialects.bindings import arith, ir
from flambeau.pipelines.lower_to_torch.scalar import equal, math_op, number, polynomial

# The first 224 bits of 2 / pi behind the point, after 32 zeros: bit 31 + i has the weight 2^-i.
_TWO_OVER_PI = (0, 0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB)

# sin r = r + r^3 p(r^2) and cos r = 1 - r^2 / 2 + r^4 q(r^2) up to an eighth of a turn, highest power first, as in the
# Cephes library.
_SINE = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COSINE = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)


def sin(x: ir.Value) -> ir.Value:
    """The sine of an f32."""
    quadrant, sine, cosine = _parts(x)
    value = arith.select(_has_bit(quadrant, 1), cosine, sine)
    negative = arith.xori(_has_bit(quadrant, 2), _less(x, 0.0))
    # Of a zero it is that zero.
    return arith.select(equal(x, number(x, 0.0)), x, arith.select(negative, arith.negf(value), value))


def cos(x: ir.Value) -> ir.Value:
    """The cosine of an f32."""
    quadrant, sine, cosine = _parts(x)
    value = arith.select(_has_bit(quadrant, 1), sine, cosine)
    return arith.select(_has_bit(arith.addi(quadrant, _integer(1)), 2), arith.negf(value), value)


def tan(x: ir.Value) -> ir.Value:
    """The tangent of an f32."""
    quadrant, sine, cosine = _parts(x)
    odd = _has_bit(quadrant, 1)
    quotient = arith.divf(arith.select(odd, cosine, sine), arith.select(odd, sine, cosine))
    value = arith.select(arith.xori(odd, _less(x, 0.0)), arith.negf(quotient), quotient)
    return arith.select(equal(x, number(x, 0.0)), x, value)


def _parts(x: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Of |x|: the nearest quarter turn (only its last two bits count), and sine and cosine of the rest.

    NaN for infinities.
    """
    i32 = ir.IntegerType.get_signless(32)
    bits = arith.andi(arith.bitcast(i32, x), _integer(0x7FFFFFFF))
    exponent = arith.subi(arith.shrui(bits, _integer(23)), _integer(127))
    # |x| = mantissa 2^(exponent - 23). Of 2 / pi that makes whole turns of all bits before the one that this
    # multiplies to 2: it has the number exponent + 7. Below 1/2 there is nothing to reduce, see below.
    mantissa = arith.ori(arith.andi(bits, _integer(0x7FFFFF)), _integer(0x800000))
    first = arith.addi(arith.maxsi(exponent, _integer(-1)), _integer(7))
    high, middle, low = _window(first)
    product = arith.muli(mantissa, high)
    middle_low, middle_high = _wide_product(mantissa, middle)
    _, low_high = _wide_product(mantissa, low)
    fraction = arith.addi(middle_low, low_high)
    carry = arith.extui(i32, arith.cmpi(arith.CmpIPredicate.ult, fraction, middle_low))
    turns = arith.addi(arith.addi(product, middle_high), carry)  # two bits before the point, 30 behind
    quadrant = arith.shrui(arith.addi(turns, _integer(0x20000000)), _integer(30))
    # The distance from there in quarter turns: a signed fraction of 64 bits.
    upper = arith.ori(arith.shli(turns, _integer(2)), arith.shrui(fraction, _integer(30)))
    lower = arith.shli(fraction, _integer(2))
    distance = arith.addf(
        arith.mulf(arith.sitofp(x.type, upper), number(x, 2.0**-32)),
        arith.mulf(arith.uitofp(x.type, lower), number(x, 2.0**-64)),
    )
    size = math_op("absf", x)
    small = _less(size, 0.5)
    rest = arith.select(small, size, arith.mulf(distance, number(x, math.pi / 2)))
    rest = arith.select(_less(size, math.inf), rest, arith.subf(size, size))
    square = arith.mulf(rest, rest)
    sine = arith.addf(rest, arith.mulf(arith.mulf(rest, square), polynomial(square, _SINE)))
    cosine = arith.subf(number(x, 1.0), arith.mulf(square, number(x, 0.5)))
    cosine = arith.addf(cosine, arith.mulf(arith.mulf(square, square), polynomial(square, _COSINE)))
    return arith.select(small, _integer(0), quadrant), sine, cosine


def _window(first: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
    """96 bits of the table, from number `first` on."""
    word, shift = arith.shrui(first, _integer(5)), arith.andi(first, _integer(31))
    words = []
    for offset in range(4):
        chosen = _integer(_TWO_OVER_PI[offset])
        for index in range(1, len(_TWO_OVER_PI) - 3):
            here = arith.cmpi(arith.CmpIPredicate.eq, word, _integer(index))
            chosen = arith.select(here, _integer(_TWO_OVER_PI[index + offset]), chosen)
        words.append(chosen)
    # A shift by 32 is not defined, so the other part is shifted twice.
    back = arith.subi(_integer(31), shift)
    high, middle, low = (
        arith.ori(arith.shli(one, shift), arith.shrui(arith.shrui(next_, _integer(1)), back))
        for one, next_ in pairwise(words)
    )
    return high, middle, low


def _wide_product(x: ir.Value, y: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The lower and the upper 32 bits of an unsigned product.

    From products of 16 bits: IREE does not compile every `arith.mului_extended`, and not every GPU has 64-bit integers.
    """
    half, mask = _integer(16), _integer(0xFFFF)
    x_low, x_high = arith.andi(x, mask), arith.shrui(x, half)
    y_low, y_high = arith.andi(y, mask), arith.shrui(y, half)
    cross, other = arith.muli(x_low, y_high), arith.muli(x_high, y_low)
    middle = arith.addi(arith.andi(cross, mask), arith.andi(other, mask))
    middle = arith.addi(middle, arith.shrui(arith.muli(x_low, y_low), half))
    high = arith.addi(arith.muli(x_high, y_high), arith.shrui(middle, half))
    high = arith.addi(high, arith.addi(arith.shrui(cross, half), arith.shrui(other, half)))
    return arith.muli(x, y), high


def _integer(value: int) -> ir.Value:
    i32 = ir.IntegerType.get_signless(32)
    return arith.constant(i32, value - 2**32 if value >= 2**31 else value)


def _less(x: ir.Value, bound: float) -> ir.Value:
    return arith.cmpf(arith.CmpFPredicate.OLT, x, number(x, bound))


def _has_bit(value: ir.Value, bit: int) -> ir.Value:
    return arith.cmpi(arith.CmpIPredicate.ne, arith.andi(value, _integer(bit)), _integer(0))
