# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass autodiff: forward function -> joint function (primals, tangents) -> (outputs, gradients).

The engine walks the ops backwards and applies the VJP rules that stand with the ops; it knows no op itself.
Accumulation, "no gradient" and activity are decided here, once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flambeau.dialects import build as b
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import choice, custom, host
from flambeau.dialects.errors import MissingVjpError, UnsupportedOpError, made_by_autodiff
from flambeau.dialects.opdef import OPS, NoRule, NotDifferentiable
from flambeau.dialects.types import compatible, is_complex, is_float, is_tensor
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
        for function in fn.functions(module):
            if not fn.is_private(function):
                differentiate(function)


def differentiate(function: Any) -> None:
    """Append tangent arguments, the backward ops and gradient results to a `func.func`."""
    block = fn.entry_block(function)
    arguments, results = fn.argument_attributes(function), fn.result_attributes(function)
    wanted = _differentiable_arguments(block, arguments)
    active, steps = _active_values(block, [block.arguments[i] for i in wanted])
    outputs = list(fn.terminator(block).operands)
    seeded = [i for i, value in enumerate(outputs) if value in active and "autograd.hidden" not in results[i]]
    if not seeded:
        return

    gradients = _Gradients(active)
    end = fn.terminator(block)
    unknown = ir.Location.unknown()
    for index in seeded:
        tangent = block.add_argument(outputs[index].type, unknown)
        role = ir.StringAttr.get("tangent")
        arguments.append({"flambeau.role": role, "flambeau.of_result": fn.integer(index)})
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
            results.append({"flambeau.gradient_of": fn.integer(index)})
    fn.set_return(function, outputs)
    fn.set_signature(function, arguments, results)


def _differentiate_branch(function: Any, active: Sequence[int], present: Sequence[int]) -> None:
    """Make a branch its derivative: (operands, tangents of the results `present`) -> gradients of `active` operands.

    A gradient that does not exist is zeros: the other branch may have one.
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
    fn.set_signature(function, [{} for _ in block.arguments], [{} for _ in found])


def _backpropagate(block: ir.Block, gradients: "_Gradients") -> None:
    """Apply the rules of a block's ops, last op first, building at its end."""
    end = fn.terminator(block)
    for op in reversed(fn.operations(block)[:-1]):
        incoming = [gradients.take(result) for result in op.results]
        if any(g is not None for g in incoming):
            with ir.InsertionPoint(end), ir.Location.name("backward", op.location):
                _apply_rule(op, incoming, gradients)


def _differentiable_arguments(block: ir.Block, attributes: Sequence[fn.Attributes]) -> list[int]:
    marked = [i for i, a in enumerate(attributes) if "autograd.requires_grad" in a]
    if marked or any("flambeau.role" in a for a in attributes):
        return marked
    return [i for i, argument in enumerate(block.arguments) if _can_carry_gradient(argument)]


def _can_carry_gradient(value: ir.Value) -> bool:
    return is_tensor(value.type) and (is_float(value.type) or is_complex(value.type))


def _active_values(block: ir.Block, roots: Sequence[ir.Value]) -> tuple[set[ir.Value], set[ir.Value]]:
    """The values that depend differentiably on `roots`. What PyTorch has to differentiate gets a tape on the way.

    Also the steps: comparisons and positions that a derivative computed of active values. PyTorch differentiates
    `relu'(x)` to zeros where `x > 0`, written by the user, stops autograd; so what depends on a step is active as well.
    """
    active, steps, stepped = set(roots), set[ir.Value](), set[ir.Value]()
    for op in fn.operations(block)[:-1]:
        depends = any(operand in active for operand in _operands_with_history(op))
        if not depends and not any(operand in stepped for operand in op.operands):
            continue
        op = _taped(op, active)
        active.update(r for r in _differentiable_results(op) if _can_carry_gradient(r))
        active.update(r for r in op.results if host.is_tape(r))
        others = [r for r in op.results if is_tensor(r.type) and not _can_carry_gradient(r)]
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


def _taped(op: ir.Operation, active: set[ir.Value]) -> ir.Operation:
    """A call on the host is replaced by one that returns a tape, unless it does so already."""
    function = host.callee(op)
    if function is None or not host.differentiable_results(op, function):
        return op
    operands = [i for i, o in enumerate(op.operands) if o in active]
    if not host.has_tape(op):
        return host.with_tape(op, function, operands)
    if not set(operands) <= set(host.indices(function, host.ACTIVE)):
        raise UnsupportedOpError(op, "it is to be differentiated by an operand that its tape does not hold")
    return op


def _operands_with_history(op: ir.Operation) -> list[ir.Value]:
    cls = OPS.get(op.name)
    if cls is None or not cls.without_history:
        return list(op.operands)
    names = [f.name for f in cls.fields if f.is_operand and f.name not in cls.without_history]
    return [getattr(op.opview, name) for name in names]


def _differentiable_results(op: ir.Operation) -> list[ir.Value]:
    if custom.has_backward(op):
        return custom.differentiable_results(op)
    function = host.callee(op)
    if function is not None:
        return host.differentiable_results(op, function)
    if choice.branches(op) is not None:
        return choice.differentiable_results(op)
    cls = OPS.get(op.name)
    if cls is None or isinstance(cls.vjp, NotDifferentiable):
        return []
    constant = {getattr(op.opview, name) for name in cls.nondifferentiable}
    return [r for r in op.results if r not in constant]


class _Gradients:
    """The gradient of each active value, as far as it has been accumulated."""

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


def _apply_rule(op: ir.Operation, incoming: Sequence[ir.Value | None], gradients: _Gradients) -> None:
    if custom.has_backward(op):
        for value, part in custom.call_backward(op, incoming):
            gradients.add(value, part)
        return
    if host.has_tape(op):
        for value, part in host.call_vjp(op, incoming):
            gradients.add(value, part)
        return
    if choice.branches(op) is not None:
        for value, part in choice.call_derivative(op, incoming, gradients.wants, _differentiate_branch):
            gradients.add(value, part)
        return
    cls = OPS[op.name]
    if cls.vjp is None:
        raise MissingVjpError(op, "it has no VJP rule of its own; run `decompose` before `autodiff`")
    if isinstance(cls.vjp, NoRule):
        raise MissingVjpError(op, cls.vjp.reason)
    contributions = cls.vjp(op.opview, *incoming)
    for name, gradient in contributions.items():
        operand = getattr(op.opview, name)
        pairs = (
            zip(operand, gradient, strict=True)
            if isinstance(gradient, list | tuple)
            else [(operand, gradient)]
        )
        for value, part in pairs:
            if value is None or part is None:
                continue
            if not compatible(value.type, part.type):
                raise UnsupportedOpError(
                    op, f"its VJP rule gives {part.type} for operand '{name}' of type {value.type}"
                )
            gradients.add(value, part)
