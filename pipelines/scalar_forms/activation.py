# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forms of activation functions."""

from flambeau.pipelines.scalar_forms.casts import rounded_once
from flambeau.pipelines.scalar_forms.exponential import exp, log
from flambeau.pipelines.scalar_forms.table import form
from flambeau.pipelines.scalar_forms.value import Number, Value, maximum, minimum, select


@form("relu")
def relu(x: Value) -> Value:
    """Keeps NaN and -0.0."""
    return select(x < 0, 0, x)


@form("leaky_relu")
@rounded_once
def leaky_relu(x: Value, negative_slope: Number) -> Value:
    return select(x > 0, x, x * negative_slope)


@form("hardsigmoid")
@rounded_once
def hardsigmoid(x: Value) -> Value:
    return minimum(maximum(x + 3, 0), 6) / 6


@form("hardswish")
@rounded_once
def hardswish(x: Value) -> Value:
    return x * minimum(maximum(x + 3, 0), 6) / 6


@form("sigmoid")
@rounded_once
def sigmoid(x: Value) -> Value:
    return 1 / (1 + exp(-x))


@form("silu")
@rounded_once
def silu(x: Value) -> Value:
    return x / (1 + exp(-x))


@form("logit")
@rounded_once
def logit(x: Value, eps: float | None) -> Value:
    if eps is not None:
        x = select(x < eps, eps, select(x > 1.0 - eps, 1.0 - eps, x))
    return log(x / (1 - x))
