# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forms of the logarithm of the gamma function (after Sun's fdlibm, e_lgamma_r.c) and of its derivatives."""

import math

from flambeau.pipelines.scalar_forms.arithmetic import round_
from flambeau.pipelines.scalar_forms.casts import rounded_once
from flambeau.pipelines.scalar_forms.circular import sin, tan
from flambeau.pipelines.scalar_forms.exponential import log
from flambeau.pipelines.scalar_forms.power import power_of_integer
from flambeau.pipelines.scalar_forms.table import form
from flambeau.pipelines.scalar_forms.value import Value, absolute, math_op, polynomial, select

# --- log |gamma x| ---------------------------------------------------------------------------------------------------


@form("lgamma")
@rounded_once
def lgamma(x: Value) -> Value:
    """For x < 0 by gamma(x) gamma(-x) = -pi / (x sin(pi x)); infinite at 0, -1, -2, ..."""
    size = absolute(x)
    # One logarithm for all ranges, of which it is the smaller part but for large numbers.
    middle, product = _lgamma_middle(size)
    logarithm = log(select(size < 2, size, select(size < 8, product, size)))
    small = _lgamma_small(size) - select(size <= 0.9, logarithm, 0.0)
    value = select(size < 2, small, select(size < 8, middle + logarithm, _lgamma_large(size, logarithm)))
    value = select(size.equals(1) | size.equals(2), 0.0, value)
    sine = absolute(sin(_from_nearest_integer(size) * math.pi))
    reflected = log(math.pi / (sine * size)) - value
    reflected = select(sine.equals(0), math.inf, reflected)
    value = select(x < -(2.0**-60), reflected, value)  # nearer to 0 it is -log |x|, and sine * size may be 0
    value = select(size.equals(0) | size.equals(math.inf), math.inf, value)
    return select(x.is_nan(), x, value)


def _from_nearest_integer(x: Value) -> Value:
    """What x is more than the nearest integer; 0 for infinities."""
    return select(absolute(x).equals(math.inf), 0.0, x - round_(x))


def _lgamma_small(x: Value) -> Value:
    """log gamma(x) for 0.9 < x < 2; below log gamma(1 + x). From 2, from the minimum, or from 1."""
    left = x <= 0.9
    near_2 = select(left, x >= 0.7316, x >= 1.7316)
    near_minimum = select(left, x >= 0.23164, x >= 1.23164)
    y = select(left, 1 - x, 2 - x)
    z = y * y
    from_2 = (y * polynomial(z, _NEAR_2[0]) + z * polynomial(z, _NEAR_2[1])) - 0.5 * y
    y = select(left, x - (_MINIMUM - 1), x - _MINIMUM)
    z, w = y * y, y * y * y
    first, second, third = (polynomial(w, coefficients) for coefficients in _NEAR_MINIMUM)
    from_minimum = _AT_MINIMUM[0] + (z * first - (_AT_MINIMUM[1] - w * (second + y * third)))
    y = select(left, x, x - 1)
    from_1 = y * polynomial(y, _NEAR_1[0]) / polynomial(y, _NEAR_1[1]) - 0.5 * y
    return select(near_2, from_2, select(near_minimum, from_minimum, from_1))


def _lgamma_middle(x: Value) -> tuple[Value, Value]:
    """log gamma(2 + y) with y = x - floor(x), and (2 + y) (3 + y) ... (x - 1), whose logarithm is the rest."""
    y = x - math_op("floor", x)
    product = x.constant(1)
    for start in range(2, 7):
        product = product * select(x >= start + 1, y + start, 1.0)
    value = y * polynomial(y, _BETWEEN[0]) / polynomial(y, _BETWEEN[1])
    return y * 0.5 + value, product


def _lgamma_large(x: Value, logarithm: Value) -> Value:
    """Stirling's series."""
    z = 1 / x
    return (x - 0.5) * (logarithm - 1) + (_STIRLING_START + z * polynomial(z * z, _STIRLING))


_NEAR_2 = (
    (
        2.5214456545125733e-05,
        0.00022086279071390839,
        0.0011927076318336207,
        0.007385550860814029,
        0.06735230105312927,
        0.07721566490153287,
    ),
    (
        4.4864094961891516e-05,
        0.00010801156724758394,
        0.0005100697921535113,
        0.0028905138367341563,
        0.020580808432516733,
        0.3224670334241136,
    ),
)
# The minimum, and log gamma there in two parts.
_MINIMUM = 1.4616321449683622
_AT_MINIMUM = (-0.12148629053584961, -3.638676997039505e-18)
_NEAR_MINIMUM = (
    (
        0.00031563207090362595,
        -0.0014034646998923284,
        0.006100538702462913,
        -0.032788541075985965,
        0.48383612272381005,
    ),
    (
        -0.00031275416837512086,
        0.000881081882437654,
        -0.0036845201678113826,
        0.01797067508118204,
        -0.1475877229945939,
    ),
    (
        0.0003355291926355191,
        -0.0005385953053567405,
        0.0022596478090061247,
        -0.010314224129834144,
        0.06462494023913339,
    ),
)
_NEAR_1 = (
    (
        0.013381091853678766,
        0.22896372806469245,
        0.9777175279633727,
        1.4549225013723477,
        0.6328270640250934,
        -0.07721566490153287,
    ),
    (
        0.003217092422824239,
        0.10422264559336913,
        0.7692851504566728,
        2.128489763798934,
        2.4559779371304113,
        1.0,
    ),
)
_BETWEEN = (
    (
        3.194753265841009e-05,
        0.0018402845140733772,
        0.02664227030336386,
        0.14635047265246445,
        0.325778796408931,
        0.21498241596060885,
        -0.07721566490153287,
    ),
    (
        7.326684307446256e-06,
        0.0007779424963818936,
        0.01864591917156529,
        0.17193386563280308,
        0.7219355475671381,
        1.3920053346762105,
        1.0,
    ),
)
_STIRLING_START = 0.4189385332046727
_STIRLING = (
    -0.0016309293409657527,
    0.0008363399189962821,
    -0.00059518755745034,
    0.0007936505586430196,
    -0.0027777777772877554,
    0.08333333333333297,
)

# --- Its derivatives -------------------------------------------------------------------------------------------------

# The Bernoulli numbers B_2, B_4, ..., B_20.
_BERNOULLI = (
    1 / 6,
    -1 / 30,
    1 / 42,
    -1 / 30,
    5 / 66,
    -691 / 2730,
    7 / 6,
    -3617 / 510,
    43867 / 798,
    -174611 / 330,
)

# From here on the asymptotic series have converged.
_FAR = 10


@form("digamma")
@rounded_once
def digamma(x: Value) -> Value:
    """NaN at -1, -2, ..., and infinite at zeros with the other sign, as in eager."""
    z, shift = select(x < 0, 1 - x, x), x.constant(0)
    for _ in range(_FAR):
        near = z < _FAR
        shift = shift + select(near, 1 / z, 0.0)
        z = select(near, z + 1, z)
    square = 1 / (z * z)
    series = [b / (2 * k) for k, b in enumerate(_BERNOULLI, 1)]
    value = log(z) - 0.5 / z - square * polynomial(square, series[::-1]) - shift
    value = select(z.equals(math.inf), z, value)
    from_integer = _from_nearest_integer(x)
    reflected = select(from_integer.equals(0), math.nan, value - math.pi / tan(from_integer * math.pi))
    return select(x.equals(0), -1 / x, select(x < 0, reflected, value))


@form("polygamma")
@rounded_once
def polygamma(n: int, x: Value) -> Value:
    """For x < 0 from 1 - x and the derivative of the cotangent; infinite at 0, -1, -2, ..."""
    if n == 0:
        return digamma(x)
    sign = 1 if n % 2 else -1
    factor = _factorial(n) * sign
    value = _hurwitz_zeta(n + 1, select(x < 0, 1 - x, x)) * factor
    from_integer = _from_nearest_integer(x)
    cotangent = 1 / tan(from_integer * math.pi)
    derivative = polynomial(cotangent, _cotangent_derivative(n)) * math.pi ** (n + 1)
    pole = (x <= 0) & from_integer.equals(0)
    return select(pole, sign * math.inf, select(x < 0, value * -sign - derivative, value))


def _factorial(n: int) -> float:
    return float(math.factorial(n)) if n <= 170 else math.inf


def _hurwitz_zeta(s: int, x: Value) -> Value:
    """The sum of (x + k)^-s for k = 0, 1, ..., x >= 0: the first terms one by one, the rest by Euler and Maclaurin."""
    total = x.constant(0)
    for k in range(_FAR):
        total = total + 1 / power_of_integer(x + k, s)
    far = x + _FAR
    last = 1 / power_of_integer(far, s)
    square = 1 / (far * far)
    rising, terms = float(s), []  # s (s + 1) ... (s + 2 j - 2) / (2 j)! times B_2j
    for j, bernoulli in enumerate(_BERNOULLI, 1):
        terms.append(bernoulli * rising / math.factorial(2 * j))
        rising *= (s + 2 * j - 1) * (s + 2 * j)
    rest = far / (s - 1) + 0.5 + polynomial(square, terms[::-1]) / far
    return total + select(far.equals(math.inf), 0.0, last * rest)


def _cotangent_derivative(n: int) -> list[float]:
    """The n-th derivative of cot(t) as a polynomial in cot(t), the highest power first: that of c is -(1 + c^2)."""
    powers = [0, 1]
    for _ in range(n):
        slope = [k * c for k, c in enumerate(powers)][1:]
        powers = [-(a + b) for a, b in zip([*slope, 0, 0], [0, 0, *slope], strict=True)]
    return [float(c) for c in reversed(powers)]
