# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forms of activation functions."""

from flambeau.pipelines.scalar_forms.table import form
from flambeau.pipelines.scalar_forms.value import Number, Value, maximum, minimum, select


@form("relu")
def relu(x: Value) -> Value:
    return maximum(x, 0)


@form("leaky_relu")
def leaky_relu(x: Value, negative_slope: Number) -> Value:
    return select(x > 0, x, x * negative_slope)


@form("hardsigmoid")
def hardsigmoid(x: Value) -> Value:
    return minimum(maximum(x + 3, 0), 6) / 6


@form("hardswish")
def hardswish(x: Value) -> Value:
    return x * minimum(maximum(x + 3, 0), 6) / 6
