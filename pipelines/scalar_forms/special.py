# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forms of the error function and of its relatives, after Sun's fdlibm (s_erf.c), without branches."""

import math

from flambeau.dialects.bindings import ir
from flambeau.pipelines.scalar_forms.arithmetic import sqrt
from flambeau.pipelines.scalar_forms.casts import rounded_once
from flambeau.pipelines.scalar_forms.exponential import exp, exp_of_sum, log1p, without_low_word
from flambeau.pipelines.scalar_forms.table import form
from flambeau.pipelines.scalar_forms.value import (
    Value,
    absolute,
    copysign,
    integer_type,
    math_op,
    minimum,
    polynomial,
    select,
)


@form("erf")
@rounded_once
def erf(x: Value) -> Value:
    if not x.is_float64:
        return copysign(math_op("erf", x), x)  # IREE's form loses the sign of zeros
    size = absolute(x)
    near = x + x * _ratio(x * x, _NEAR)
    middle = _ERF_1 + _ratio(size - 1, _MIDDLE)
    far = 1 - _erfc_far(minimum(size, 6.0))
    outer = copysign(select(size < 1.25, middle, far), x)
    return select(size < 0.84375, near, select(x.is_nan(), x, outer))


@form("erfc")
@rounded_once
def erfc(x: Value) -> Value:
    size = absolute(x)
    ratio = x * _ratio(x * x, _NEAR)
    near = select(x < 0.25, 1 - (x + ratio), 0.5 - (ratio + (x - 0.5)))
    middle = _ratio(size - 1, _MIDDLE)
    middle = select(x < 0, 1 + (_ERF_1 + middle), (1 - _ERF_1) - middle)
    far = _erfc_far(minimum(size, 28.0))
    outer = select(size < 1.25, middle, select(x < 0, 2 - far, far))
    return select(size < 0.84375, near, select(x.is_nan(), x, outer))


def _erfc_far(x: Value) -> Value:
    """erfc x = e^-x^2 e^r / x for x from 1.25 on, r + 0.5625 being a function of 1 / x^2."""
    z = 1 / (x * x)
    r = select(x < 1 / 0.35, polynomial(z, _FAR[0]), polynomial(z, _FARTHER[0]))
    s = select(x < 1 / 0.35, polynomial(z, _FAR[1]), polynomial(z, _FARTHER[1]))
    start = _with_exact_square(x)
    high, low = -start * start - 0.5625, (start - x) * (start + x) + r / s
    return (exp_of_sum(high, low) if x.is_float64 else exp(high) * exp(low)) / x


def _with_exact_square(x: Value) -> Value:
    """x with so few bits that its square is exact."""
    if x.is_float64:
        return without_low_word(x)
    return (x.bitcast(integer_type(32)) & 0xFFFFF000).bitcast(ir.F32Type.get())


def _ratio(x: Value, polynomials: tuple[tuple[float, ...], tuple[float, ...]]) -> Value:
    top, bottom = polynomials
    return polynomial(x, top) / polynomial(x, bottom)


# The f32 nearest to erf(1), and numerators and denominators, highest power first: of erf(x) / x - 1 by x^2 up to
# 0.84375, of erf(1 + s) - erf(1) up to 1.25, and of what `_erfc_far` says.
_ERF_1 = 8.45062911510467529297e-01
_NEAR = (
    (
        -2.3763016656650163e-05,
        -0.005770270296489442,
        -0.02848174957559851,
        -0.3250421072470015,
        0.12837916709551256,
    ),
    (
        -3.960228278775368e-06,
        0.00013249473800432164,
        0.005081306281875766,
        0.0650222499887673,
        0.39791722395915535,
        1.0,
    ),
)
_MIDDLE = (
    (
        -0.002166375594868791,
        0.035478304325618236,
        -0.11089469428239668,
        0.31834661990116175,
        -0.3722078760357013,
        0.41485611868374833,
        -0.0023621185607526594,
    ),
    (
        0.011984499846799107,
        0.01363708391202905,
        0.12617121980876164,
        0.07182865441419627,
        0.540397917702171,
        0.10642088040084423,
        1.0,
    ),
)
_FAR = (
    (
        -9.814329344169145,
        -81.2874355063066,
        -184.60509290671104,
        -162.39666946257347,
        -62.375332450326006,
        -10.558626225323291,
        -0.6938585727071818,
        -0.009864944034847148,
    ),
    (
        -0.0604244152148581,
        6.570249770319282,
        108.63500554177944,
        429.00814002756783,
        645.3872717332679,
        434.56587747522923,
        137.65775414351904,
        19.651271667439257,
        1.0,
    ),
)
_FARTHER = (
    (
        -483.5191916086514,
        -1025.0951316110772,
        -637.5664433683896,
        -160.63638485582192,
        -17.757954917754752,
        -0.799283237680523,
        -0.0098649429247001,
    ),
    (
        -22.44095244658582,
        474.52854120695537,
        2553.0504064331644,
        3199.8582195085955,
        1536.729586084437,
        325.7925129965739,
        30.33806074348246,
        1.0,
    ),
)


@form("erfinv")
@rounded_once
def erfinv(x: Value) -> Value:
    """The inverse of the error function; NaN beyond 1."""
    size = absolute(x)
    root = sqrt(-log1p(-size))
    near, middle, far = _erfinv_64(size, root) if x.is_float64 else _erfinv_32(size, root)
    value = select(size <= 0.75, near, select(size <= 0.9375, middle, far))
    value = select(size.equals(1), math.inf, select(size > 1, math.nan, value))
    return copysign(value, x)


def _erfinv_64(x: Value, root: Value) -> tuple[Value, Value, Value]:
    """erfinv(x) for x up to 0.75, up to 0.9375 and beyond; `root` is (-log(1 - x))^1/2."""
    t = 1 / root
    near = x * _ratio(x * x - 0.5625, _ERFINV_64[0])
    return near, root + root * _ratio(t, _ERFINV_64[1]), root + root * _ratio(t, _ERFINV_64[2])


def _erfinv_32(x: Value, root: Value) -> tuple[Value, Value, Value]:
    near = x * _ratio(x * x - 0.5625, _ERFINV_32[0])
    return near, x * _ratio(x * x - 0.87890625, _ERFINV_32[1]), root * _ratio(1 / root, _ERFINV_32[2])


# Numerators and denominators, highest power first (J. M. Blair, C. A. Edwards and J. H. Johnson, "Rational Chebyshev
# approximations for the inverse of the error function", 1976, table 17, and tables 10, 29 and 50). Blair's other tables
# for f64 lose some digits; the two here are fitted to mpmath's values of erfinv(x) / root - 1.
_ERFINV_64 = (
    (
        (
            0.176058782139059,
            -8.642130115872478,
            65.45466284794487,
            -169.0014273464238,
            186.44914861620987,
            -90.78495926296033,
            16.030495584406623,
        ),
        (
            1.0,
            -20.601073032826545,
            107.60453916055124,
            -222.10254121855132,
            210.1579048620532,
            -91.37416702426032,
            14.780647071513831,
        ),
    ),
    (
        (
            -2.764423681249112,
            -2.8421547554627358,
            -4.629444399018465,
            -1.7294039579388194,
            -0.030210156449516745,
            0.0005829203731575472,
        ),
        (2.7678074175996237, 5.257942624879207, 9.475825101645375, 8.34026464926702, 6.17656608339953, 1.0),
    ),
    (
        (
            -0.9970785648304304,
            -1.2785311834920159,
            -2.0264158545467565,
            -1.1646311223561896,
            -0.16026322615955024,
            -0.0049523717242312415,
            -8.493855651381388e-06,
            2.7335456118495263e-08,
        ),
        (
            1.0,
            2.1373837829904625,
            4.0391401423911635,
            3.994293224222399,
            3.259096714887053,
            0.9829423575830094,
            0.08801257644362333,
            0.0018313962304749006,
        ),
    ),
)

_ERFINV_32 = (
    ((-9.289057365, 26.78522576, -13.0959967422), (1.0, -17.149977991, 30.960614529, -12.0749426297)),
    (
        (0.4230581357, -1.9594556078, 1.0688059574, -0.12402565221),
        (1.0, -2.1757031196, 0.8900743359, -0.08827697997),
    ),
    (
        (-0.16444156791, 0.680544246825, -1.128081391617, 0.690969348887, 1.382719649631, 0.1550470003116),
        (1.0, 1.385228141995, 0.155024849822),
    ),
)
