# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Visiting the ops of a module, in a way that passes may raise errors and rewrite while they go."""

from flambeau.dialects.bindings import ir


def operations(root: ir.Operation | ir.Module) -> list[ir.Operation]:
    """All ops inside `root` and `root` itself, parents first, as a list: the IR may change while it is walked.

    The bindings' own `walk` turns an exception in its callback into a RuntimeError that has lost op and type.
    """
    found: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        found.append(op)
        return ir.WalkResult.ADVANCE

    root.operation.walk(visit, ir.WalkOrder.PRE_ORDER)
    return found
