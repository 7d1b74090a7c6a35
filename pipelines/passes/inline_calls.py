# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass inline-calls: calls of private functions -> their bodies; the functions go away.

Upstream's inliner leaves ops of dialects defined in Python alone.
"""

from dataclasses import dataclass
from typing import Any

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls.choice import all_branches
from flambeau.dialects.calls.host import all_bodies, is_host_function
from flambeau.pipelines.registry import register_pass


@register_pass
@dataclass(frozen=True)
class InlineCalls:
    """Replace calls of private functions by their bodies, and remove these functions.

    Functions of the host stay, those that a call chooses between, and those that a loop repeats.
    """

    name = "inline-calls"

    def run(self, module: ir.Module) -> None:
        named = all_branches(module) | all_bodies(module)
        private = {
            f.name.value: f
            for f in fn.functions(module)
            if fn.is_private(f) and not is_host_function(f) and f.name.value not in named
        }
        for function in fn.functions(module):
            if function.name.value not in private and not is_host_function(function):
                _inline_all(fn.entry_block(function), private)
        for function in private.values():
            function.operation.erase()


def _inline_all(block: ir.Block, private: dict[str, Any]) -> None:
    # An inlined body may hold calls itself, so go on until a walk finds none.
    while calls := [op for op in fn.operations(block) if fn.callee_name(op) in private]:
        for call in calls:
            with ir.InsertionPoint(call):
                values = inline(fn.entry_block(private[str(fn.callee_name(call))]), list(call.operands))
            fn.replace_op(call, values)


def inline(block: ir.Block, arguments: list[ir.Value]) -> list[ir.Value]:
    """Copy a block's ops here, with `arguments` for its arguments; gives what its terminator returns."""
    values = dict(zip(block.arguments, arguments, strict=True))
    *body, end = fn.operations(block)
    for op in body:
        fn.copy_op(op, values)
    return [values[v] for v in end.operands]
