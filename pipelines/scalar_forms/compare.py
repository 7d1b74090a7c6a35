# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forms of comparisons, logical and bitwise operations, and choices."""

import math

from flambeau.pipelines.scalar_forms.casts import cast, truth
from flambeau.pipelines.scalar_forms.table import form
from flambeau.pipelines.scalar_forms.value import Value, absolute, select


@form("eq")
def eq(x: Value, y: Value) -> Value:
    return x.equals(y)


@form("ne")
def ne(x: Value, y: Value) -> Value:
    return x.differs(y)


@form("lt")
def lt(x: Value, y: Value) -> Value:
    return x < y


@form("le")
def le(x: Value, y: Value) -> Value:
    return x <= y


@form("gt")
def gt(x: Value, y: Value) -> Value:
    return x > y


@form("ge")
def ge(x: Value, y: Value) -> Value:
    return x >= y


@form("isnan")
def isnan(x: Value) -> Value:
    return x.is_nan() if x.is_float else x.differs(x)


@form("isinf")
def isinf(x: Value) -> Value:
    return absolute(x).equals(math.inf) if x.is_float else x.differs(x)


# --- Logical and bitwise operations ----------------------------------------------------------------------------------


@form("logical_and")
def logical_and(x: Value, y: Value) -> Value:
    return truth(x) & truth(y)


@form("logical_or")
def logical_or(x: Value, y: Value) -> Value:
    return truth(x) | truth(y)


@form("logical_xor")
def logical_xor(x: Value, y: Value) -> Value:
    return truth(x) ^ truth(y)


@form("logical_not")
def logical_not(x: Value) -> Value:
    return x.equals(0)


@form("bitwise_and")
def bitwise_and(x: Value, y: Value) -> Value:
    return x & y


@form("bitwise_or")
def bitwise_or(x: Value, y: Value) -> Value:
    return x | y


@form("bitwise_xor")
def bitwise_xor(x: Value, y: Value) -> Value:
    return x ^ y


@form("bitwise_not")
def bitwise_not(x: Value) -> Value:
    return ~x


@form("bitwise_left_shift")
def bitwise_left_shift(x: Value, y: Value) -> Value:
    inside = y.as_unsigned() < x.bits
    return select(inside, x << select(inside, y, 0), 0)


@form("bitwise_right_shift")
def bitwise_right_shift(x: Value, y: Value) -> Value:
    inside = y.as_unsigned() < x.bits
    if x.signed:
        return x >> select(inside, y, x.bits - 1)
    return select(inside, x >> select(inside, y, 0), 0)


# --- Choices ---------------------------------------------------------------------------------------------------------


@form("where")
def where(condition: Value, x: Value, y: Value) -> Value:
    return select(condition, x, y)


@form("heaviside")
def heaviside(x: Value, values: Value) -> Value:
    return select(x.equals(0), values, cast(x > 0, x.element, signed=x.signed))
