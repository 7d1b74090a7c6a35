# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forms of hyperbolic functions and their inverses, after Sun's fdlibm (e_sinh.c, s_tanh.c, s_asinh.c, ...)."""

import math

from flambeau.pipelines.scalar_forms.arithmetic import sqrt
from flambeau.pipelines.scalar_forms.casts import rounded_once
from flambeau.pipelines.scalar_forms.exponential import exp, exp_scaled, expm1, log, log1p
from flambeau.pipelines.scalar_forms.table import form
from flambeau.pipelines.scalar_forms.value import Value, absolute, copysign, math_op, minimum, select


def _half_exp(x: Value) -> Value:
    """e^x / 2, which overflows later than e^x."""
    if x.is_float64:
        return exp_scaled(x, -1)
    return select(x > 80, exp(x - 8) * (math.exp(8.0) / 2), exp(x) * 0.5)


@form("sinh")
@rounded_once
def sinh(x: Value) -> Value:
    size = absolute(x)
    grown = expm1(minimum(size, 22.0))
    tiny = grown * 2 - grown * grown / (grown + 1)
    small = grown + grown / (grown + 1)
    value = select(size < 22, select(size < 1, tiny, small) * 0.5, _half_exp(size))
    return copysign(select(x.is_nan(), x, value), x)


@form("cosh")
@rounded_once
def cosh(x: Value) -> Value:
    half = _half_exp(absolute(x))
    return half + 0.25 / half


@form("tanh")
@rounded_once
def tanh(x: Value) -> Value:
    if not x.is_float64:
        return math_op("tanh", x)
    size = minimum(absolute(x), 22.0)
    grown = expm1(size * 2)
    value = select(size < 0.5, grown / (grown + 2), 1 - 2 / (grown + 2))
    return copysign(value, x)


# From here on x^2 + 1 and x^2 are one number, in f64 too.
_LARGE = 2.0**28


@form("asinh")
@rounded_once
def asinh(x: Value) -> Value:
    size = absolute(x)
    root = sqrt(size * size + 1)
    small = log1p(size + size * size / (root + 1))
    large = log(select(size > _LARGE, size, 2 * size + 1 / (root + size)))
    large = select(size > _LARGE, large + math.log(2.0), large)
    return copysign(select(size > 2, large, small), x)


@form("acosh")
@rounded_once
def acosh(x: Value) -> Value:
    above = x - 1
    small = log1p(above + sqrt(above * 2 + above * above))
    large = log(select(x > _LARGE, x, 2 * x - 1 / (x + sqrt(x * x - 1))))
    large = select(x > _LARGE, large + math.log(2.0), large)
    return select(x < 1, math.nan, select(x > 2, large, small))


@form("atanh")
@rounded_once
def atanh(x: Value) -> Value:
    size = absolute(x)
    twice = size + size
    argument = select(size < 0.5, twice + twice * size / (1 - size), twice / (1 - size))
    return copysign(log1p(argument) * 0.5, x)
