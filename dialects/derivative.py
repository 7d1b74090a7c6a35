# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What differentiation asks of an op: one protocol for ops of the dialect and for calls, and the ops' implementation.

`flambeau.dialects.calls.derivative_of` gives the derivative of any op.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol

from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import TapeType
from flambeau.dialects.errors import MissingVjpError, UnsupportedOpError
from flambeau.dialects.opdef import OPS, NoRule, NotDifferentiable
from flambeau.dialects.types import compatible, is_complex, is_float, is_tensor

Gradients = Iterator[tuple[ir.Value, ir.Value]]
"""Operands, each with a contribution to its gradient."""


class Differentiation(Protocol):
    """The engine, as rules see it."""

    def wants(self, value: ir.Value) -> bool:
        """Whether the gradient of a value is of use."""

    def differentiate_branch(self, function: Any, active: Sequence[int], present: Sequence[int]) -> None:
        """Make a function its derivative.

        Afterwards it takes its arguments and tangents of the results `present`, and returns the gradients of the
        arguments `active`, zeros where there is none.
        """


class Derivative:
    """What differentiation asks of an op. This base class is that of an op without a derivative."""

    def sources(self, op: ir.Operation) -> list[ir.Value]:
        """The operands whose history the results have."""
        return list(op.operands)

    def results(self, op: ir.Operation) -> list[ir.Value]:
        """The results that have a gradient if a source has one."""
        return []

    def prepared(self, op: ir.Operation, active: Collection[ir.Value]) -> ir.Operation:
        """The op, or what took its place, ready to be differentiated by those of its operands that are `active`."""
        return op

    def vjp(
        self, op: ir.Operation, incoming: Sequence[ir.Value | None], engine: Differentiation
    ) -> Gradients:
        """Build the gradients of operands at the insertion point, from the gradient of each result, None for none."""
        raise MissingVjpError(op, "it has no derivative")

    def why_once(self, op: ir.Operation) -> str | None:
        """Why the op must not run again for its gradient to be differentiated; None if it may."""
        return None

    def inside(self, op: ir.Operation) -> list[ir.Operation]:
        """The ops that may run in the place of this one."""
        return []


class RuleDerivative(Derivative):
    """The derivative of an op of the dialect: the rule `vjp` of its class."""

    def sources(self, op: ir.Operation) -> list[ir.Value]:
        cls = OPS[op.name]
        if not cls.without_history:
            return list(op.operands)
        names = [f.name for f in cls.fields if f.is_operand and f.name not in cls.without_history]
        return [getattr(op.opview, name) for name in names]

    def results(self, op: ir.Operation) -> list[ir.Value]:
        cls = OPS[op.name]
        if isinstance(cls.vjp, NotDifferentiable):
            return []
        constant = {getattr(op.opview, name) for name in cls.nondifferentiable}
        return [r for r in op.results if r not in constant and carries_gradient(r)]

    def vjp(
        self, op: ir.Operation, incoming: Sequence[ir.Value | None], engine: Differentiation
    ) -> Gradients:
        rule = OPS[op.name].vjp
        if rule is None:
            raise MissingVjpError(op, "it has no VJP rule of its own; run `decompose` before `autodiff`")
        if isinstance(rule, NoRule):
            raise MissingVjpError(op, rule.reason)
        for name, gradient in rule(op.opview, *incoming).items():
            operand = getattr(op.opview, name)
            many = isinstance(gradient, list | tuple)
            for value, part in zip(operand, gradient, strict=True) if many else [(operand, gradient)]:
                if value is None or part is None:
                    continue
                if not compatible(value.type, part.type):
                    reason = f"its VJP rule gives {part.type} for operand '{name}' of type {value.type}"
                    raise UnsupportedOpError(op, reason)
                yield value, part


def carries_gradient(value: ir.Value) -> bool:
    """Whether a value can have a gradient, or is a tape, by which PyTorch computes some."""
    if isinstance(value.type, TapeType):
        return True
    return is_tensor(value.type) and (is_float(value.type) or is_complex(value.type))
