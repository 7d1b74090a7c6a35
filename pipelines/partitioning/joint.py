# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A joint function taken apart by data flow: what is forward, what is backward, what either computes."""

from collections.abc import Iterable
from typing import Any

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls.host import EFFECTS
from flambeau.dialects.facts import Role
from flambeau.pipelines.partitioning.checkpoints import take_checkpoints


class Joint:
    """A joint function taken apart by data flow, and its checkpoint markers out of it: `checkpoints`."""

    def __init__(self, function: Any):
        self.function = function
        self.block = fn.entry_block(function)
        self.arguments = fn.argument_facts(function)
        self.results = fn.result_facts(function)
        self.tangents = [i for i, a in enumerate(self.arguments) if a.role is Role.TANGENT]
        self.checkpoints = take_checkpoints(self.block, self._closure(self.tangents))
        self.returned = list(fn.terminator(self.block).operands)
        self.operations = fn.operations(self.block)[:-1]
        self.gradients = [i for i, r in enumerate(self.results) if r.gradient_of is not None]
        gradients = set(self.gradients)
        self.forward_results = [i for i in range(len(self.results)) if i not in gradients]
        self.written = {r.updates for r in self.results if r.updates is not None}
        """The arguments that the graph writes: whoever saves one saves a copy."""
        self.needs_tangent = self._closure(self.tangents)
        self.forward = slice_of(
            self.operations, [self.returned[i] for i in self.forward_results], keep_effects=True
        )
        self.backward = slice_of(self.operations, [self.returned[i] for i in self.gradients])

    def outlives_call(self, argument: int) -> bool:
        """Whether an argument costs no memory if it is saved: a parameter or buffer that the graph does not write."""
        static = self.arguments[argument].role in (Role.PARAMETER, Role.BUFFER)
        return static and argument not in self.written

    def _closure(self, arguments: Iterable[int]) -> set[ir.Value]:
        reached: set[ir.Value] = {self.block.arguments[i] for i in arguments}
        for op in fn.operations(self.block)[:-1]:
            if any(v in reached for v in op.operands):
                reached.update(op.results)
        return reached

    def producer(self, value: ir.Value) -> ir.Operation | None:
        """The op that computes `value`, None for an argument."""
        return None if isinstance(value, ir.BlockArgument) else value.owner


def slice_of(
    operations: list[ir.Operation],
    values: Iterable[ir.Value],
    stop: Iterable[ir.Value] = (),
    *,
    keep_effects: bool = False,
) -> list[ir.Operation]:
    """The ops that compute `values`, in program order, without going behind the values in `stop`.

    `keep_effects`: also those that must run although nobody uses their results.
    """
    stops = set(stop)
    needed = {v for v in values if v not in stops}
    found = []
    for op in reversed(operations):
        if any(r in needed for r in op.results) or (keep_effects and EFFECTS in op.attributes):
            found.append(op)
            needed.update(v for v in op.operands if v not in stops)
    return found[::-1]
