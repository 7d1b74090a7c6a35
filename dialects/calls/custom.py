# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls with a derivative of their own: how a user's `torch.autograd.Function` stands in the IR.

`func.call @f(inputs)` returns (outputs, saved). The attribute `autograd.backward = @g` names the function
(gradients of the outputs, saved) -> gradients of the inputs that `autograd.gradient_of` lists. `autograd.outputs` is
the number of outputs, `autograd.non_differentiable` lists those without a gradient. IRDL cannot say an op with
operands of different types, but `func.call` is one.
"""

from collections.abc import Iterator, Sequence

from flambeau.dialects import build as b
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir


def attach_backward(
    call: ir.Operation,
    backward: str,
    outputs: int,
    gradient_of: Sequence[int],
    non_differentiable: Sequence[int],
) -> None:
    """Give a `func.call` its own derivative."""
    call.attributes["autograd.backward"] = ir.FlatSymbolRefAttr.get(backward)
    call.attributes["autograd.outputs"] = fn.integer(outputs)
    call.attributes["autograd.gradient_of"] = ir.DenseI64ArrayAttr.get(list(gradient_of))
    call.attributes["autograd.non_differentiable"] = ir.DenseI64ArrayAttr.get(list(non_differentiable))


def has_backward(op: ir.Operation) -> bool:
    """Whether `op` is a call with a derivative of its own."""
    return op.name == "func.call" and "autograd.backward" in op.attributes


def backward_name(op: ir.Operation) -> str:
    """The function that computes its derivative."""
    return str(ir.FlatSymbolRefAttr(op.attributes["autograd.backward"]).value)


def output_count(op: ir.Operation) -> int:
    """How many of the call's results are outputs; the others are saved for the backward."""
    return int(ir.IntegerAttr(op.attributes["autograd.outputs"]).value)


def gradient_of(op: ir.Operation) -> list[int]:
    """The inputs whose gradients the backward returns, in that order."""
    return list(ir.DenseI64ArrayAttr(op.attributes["autograd.gradient_of"]))


def differentiable_results(op: ir.Operation) -> list[ir.Value]:
    """The outputs that have a gradient."""
    excluded = set(ir.DenseI64ArrayAttr(op.attributes["autograd.non_differentiable"]))
    return [r for i, r in enumerate(list(op.results)[: output_count(op)]) if i not in excluded]


def call_backward(
    op: ir.Operation, incoming: Sequence[ir.Value | None]
) -> Iterator[tuple[ir.Value, ir.Value]]:
    """Call the backward at the insertion point; yields inputs with their gradients.

    Absent gradients are zeros, as in eager.
    """
    count = output_count(op)
    outputs = list(op.results)[:count]
    tangents = [b.zeros_like(o) if g is None else g for o, g in zip(outputs, incoming[:count], strict=True)]
    inputs = [op.operands[i] for i in gradient_of(op)]
    call = ir.Operation.create(
        "func.call",
        results=[i.type for i in inputs],
        operands=[*tangents, *list(op.results)[count:]],
        attributes={"callee": op.attributes["autograd.backward"]},
    )
    yield from zip(inputs, call.results, strict=True)
