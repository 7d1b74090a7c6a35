# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass autodiff: forward function -> joint function (primals, tangents) -> (outputs, gradients).

The engine walks the ops backwards and asks each for its derivative (dialects/derivative.py); it knows no op itself.
Accumulation, "no gradient" and activity are decided here, once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flambeau.dialects import build as b
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import derivative_of
from flambeau.dialects.derivative import carries_gradient
from flambeau.dialects.errors import made_by_autodiff
from flambeau.dialects.facts import ArgumentFacts, ResultFacts, Role
from flambeau.dialects.types import is_tensor
from flambeau.pipelines.registry import register_pass


@register_pass
@dataclass(frozen=True)
class Autodiff:
    """Turn each forward function into its joint function.

    Differentiates with respect to the arguments marked `autograd.requires_grad`; in a function where no argument has
    a role or a mark (IR written by hand), with respect to every float argument. Each result that depends on them
    gets a tangent argument, each of them a gradient result. Functions without such results stay as they are.
    """

    name = "autodiff"

    def run(self, module: ir.Module) -> None:
        for function in fn.public_functions(module):
            differentiate(function)


def differentiate(function: Any) -> None:
    """Append tangent arguments, the backward ops and gradient results to a `func.func`."""
    block = fn.entry_block(function)
    arguments, results = fn.argument_facts(function), fn.result_facts(function)
    wanted = _differentiable_arguments(block, arguments)
    active, steps = _active_values(block, [block.arguments[i] for i in wanted])
    outputs = list(fn.terminator(block).operands)
    seeded = [i for i, value in enumerate(outputs) if value in active and not results[i].hidden]
    if not seeded:
        return

    gradients = _Gradients(active)
    end = fn.terminator(block)
    unknown = ir.Location.unknown()
    for index in seeded:
        tangent = block.add_argument(outputs[index].type, unknown)
        arguments.append(ArgumentFacts(role=Role.TANGENT, of_result=index))
        with ir.InsertionPoint(end), unknown:
            gradients.add(outputs[index], tangent)

    _backpropagate(block, gradients)
    stepped = _origins(block, steps)
    for index in wanted:
        gradient = gradients.take(block.arguments[index])
        if gradient is None and block.arguments[index] in stepped:
            with ir.InsertionPoint(end), unknown:
                gradient = b.zeros_like(block.arguments[index])
        if gradient is not None:
            outputs.append(gradient)
            results.append(ResultFacts(gradient_of=index))
    fn.set_return(function, outputs)
    fn.set_signature(function, arguments, results)


def _backpropagate(block: ir.Block, gradients: "_Gradients") -> None:
    """Apply the rules of a block's ops, last op first, building at its end."""
    end = fn.terminator(block)
    for op in reversed(fn.operations(block)[:-1]):
        incoming = [gradients.take(result) for result in op.results]
        if any(g is not None for g in incoming):
            with ir.InsertionPoint(end), ir.Location.name("backward", op.location):
                for value, gradient in derivative_of(op).vjp(op, incoming, gradients):
                    gradients.add(value, gradient)


def _differentiable_arguments(block: ir.Block, arguments: Sequence[ArgumentFacts]) -> list[int]:
    marked = [i for i, facts in enumerate(arguments) if facts.requires_grad]
    if marked or any(facts.role is not None for facts in arguments):
        return marked
    return [i for i, argument in enumerate(block.arguments) if carries_gradient(argument)]


def _active_values(block: ir.Block, roots: Sequence[ir.Value]) -> tuple[set[ir.Value], set[ir.Value]]:
    """The values that depend differentiably on `roots`. Ops are prepared for their derivative on the way.

    Also the steps: comparisons and positions that a derivative computed of active values. PyTorch differentiates
    `relu'(x)` to zeros where `x > 0`, written by the user, stops autograd; so what depends on a step is active as well.
    """
    active, steps, stepped = set(roots), set[ir.Value](), set[ir.Value]()
    for op in fn.operations(block)[:-1]:
        derivative = derivative_of(op)
        depends = any(operand in active for operand in derivative.sources(op))
        if not depends and not any(operand in stepped for operand in op.operands):
            continue
        op = derivative.prepared(op, active)
        active.update(derivative.results(op))
        others = [r for r in op.results if is_tensor(r.type) and not carries_gradient(r)]
        if depends and made_by_autodiff(op.location):
            steps.update(others)
        if not depends or made_by_autodiff(op.location):
            stepped.update(others)
    return active, steps


def _origins(block: ir.Block, values: set[ir.Value]) -> set[ir.Value]:
    """The given values and all that they are computed from."""
    found = set(values)
    for op in reversed(fn.operations(block)):
        if any(result in found for result in op.results):
            found.update(op.operands)
    return found


class _Gradients:
    """The gradient of each active value, as far as it has been accumulated; what rules see of the engine."""

    def __init__(self, active: set[ir.Value]):
        self._active = active
        self._sums: dict[ir.Value, ir.Value] = {}

    def wants(self, value: ir.Value) -> bool:
        """Whether a value's gradient is of use."""
        return value in self._active

    def add(self, value: ir.Value, gradient: ir.Value) -> None:
        if value in self._active:
            known = self._sums.get(value)
            # The order is eager's: what later ops contribute comes first.
            self._sums[value] = gradient if known is None else b.add(known, gradient)

    def take(self, value: ir.Value) -> ir.Value | None:
        return self._sums.pop(value, None)

    def differentiate_branch(self, function: Any, active: Sequence[int], present: Sequence[int]) -> None:
        """See `Differentiation`."""
        _differentiate_branch(function, active, present)


def _differentiate_branch(function: Any, active: Sequence[int], present: Sequence[int]) -> None:
    """Make a branch its derivative: (operands, tangents of the results `present`) -> gradients of `active` operands.

    A gradient that does not exist is zeros, because the other branch may have one.
    """
    block = fn.entry_block(function)
    operands = [block.arguments[i] for i in active]
    gradients = _Gradients(_active_values(block, operands)[0])
    end = fn.terminator(block)
    outputs = list(end.operands)
    with ir.InsertionPoint(end), end.location:
        for index in present:
            gradients.add(outputs[index], block.add_argument(outputs[index].type, ir.Location.unknown()))
        _backpropagate(block, gradients)
        found = [gradients.take(o) or b.zeros_like(o) for o in operands]
    fn.set_return(function, found)
    fn.set_signature(function)
