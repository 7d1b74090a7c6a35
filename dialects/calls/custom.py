# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls with a derivative of their own: how a user's `torch.autograd.Function` stands in the IR.

`func.call @f(inputs)` returns (outputs, saved). The attribute `autograd.backward = @g` names the function
(gradients of the outputs, saved) -> gradients of the inputs that `autograd.gradient_of` lists. `autograd.outputs` is
the number of outputs, `autograd.non_differentiable` lists those without a gradient. IRDL cannot say an op with
operands of different types, but `func.call` is one.
"""

from collections.abc import Sequence

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.derivative import Derivative, Differentiation, Gradients, carries_gradient
from flambeau.dialects.facts import integer
from flambeau.dialects.functions import call

BACKWARD = "autograd.backward"
OUTPUTS = "autograd.outputs"
GRADIENT_OF = "autograd.gradient_of"
NON_DIFFERENTIABLE = "autograd.non_differentiable"


def attach_backward(
    call: ir.Operation,
    backward: str,
    outputs: int,
    gradient_of: Sequence[int],
    non_differentiable: Sequence[int],
) -> None:
    """Give a `func.call` its own derivative."""
    call.attributes[BACKWARD] = ir.FlatSymbolRefAttr.get(backward)
    call.attributes[OUTPUTS] = integer(outputs)
    call.attributes[GRADIENT_OF] = ir.DenseI64ArrayAttr.get(list(gradient_of))
    call.attributes[NON_DIFFERENTIABLE] = ir.DenseI64ArrayAttr.get(list(non_differentiable))


def backward_name(op: ir.Operation) -> str | None:
    """The function that computes the derivative of a call, None for any other op."""
    if op.name != "func.call" or BACKWARD not in op.attributes:
        return None
    return str(ir.FlatSymbolRefAttr(op.attributes[BACKWARD]).value)


def output_count(op: ir.Operation) -> int:
    """How many of the call's results are outputs; the others are saved for the backward."""
    return int(ir.IntegerAttr(op.attributes[OUTPUTS]).value)


def gradient_of(op: ir.Operation) -> list[int]:
    """The inputs whose gradients the backward returns, in that order."""
    return list(ir.DenseI64ArrayAttr(op.attributes[GRADIENT_OF]))


class CustomDerivative(Derivative):
    """The derivative of a call that names its backward."""

    def results(self, op: ir.Operation) -> list[ir.Value]:
        excluded = set(ir.DenseI64ArrayAttr(op.attributes[NON_DIFFERENTIABLE]))
        outputs = list(op.results)[: output_count(op)]
        return [r for i, r in enumerate(outputs) if i not in excluded and carries_gradient(r)]

    def vjp(
        self, op: ir.Operation, incoming: Sequence[ir.Value | None], engine: Differentiation
    ) -> Gradients:
        """Absent gradients are zeros, as in eager."""
        count = output_count(op)
        outputs = list(op.results)[:count]
        tangents = [
            b.zeros_like(o) if g is None else g for o, g in zip(outputs, incoming[:count], strict=True)
        ]
        inputs = [op.operands[i] for i in gradient_of(op)]
        name = backward_name(op)
        assert name is not None
        made = call(name, [i.type for i in inputs], [*tangents, *list(op.results)[count:]])
        yield from zip(inputs, made.results, strict=True)

    def why_once(self, op: ir.Operation) -> str | None:
        return "the backward of a custom autograd.Function is not differentiated; run this function in eager"
