# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass simplify-sizes: sizes that must be equal become one value, the size of an argument where it is one."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from flambeau.dialects import build as b
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.facts import Role
from flambeau.pipelines.analysis.sizes import Dim, dynamic_dims, trace_sizes
from flambeau.pipelines.registry import register_pass


@register_pass
@dataclass(frozen=True)
class SimplifySizes:
    """Replace each `flambeau.dim` by an equal size that is known already.

    Sizes are equal if the ops' type inference says so for all inputs, or if arguments name them alike in
    `flambeau.dims`. VJP rules ask each tensor for its sizes; afterwards the joint function asks the arguments, so that
    the backward needs no tensor, and no number, for the sake of a size.
    """

    name = "simplify-sizes"

    def run(self, module: ir.Module) -> None:
        for function in fn.functions(module):
            if any(op.name == "flambeau.dim" for op in fn.operations(fn.entry_block(function))):
                _simplify(function)


def _simplify(function: Any) -> None:
    block = fn.entry_block(function)
    origins = trace_sizes(function)
    of_argument: dict[Hashable, Dim] = {}
    for argument, facts in zip(block.arguments, fn.argument_facts(function), strict=True):
        if facts.role is Role.TANGENT:
            continue  # the forward must not ask the backward's arguments
        for dim in dynamic_dims(argument):
            of_argument.setdefault(origins.dim(argument, dim), (argument, dim))
    known: dict[Hashable, ir.Value] = {}
    for op in fn.operations(block):
        for result in op.results:
            if isinstance(result.type, ir.IndexType):
                origin = origins.size(result)
                if op.name == "flambeau.dim":
                    _replace(result, origin, known, of_argument)
                else:
                    known.setdefault(origin, result)


def _replace(
    size: ir.Value, origin: Hashable, known: dict[Hashable, ir.Value], of_argument: dict[Hashable, Dim]
) -> None:
    """Put the known value of `origin` in the place of `size`, making it if it is not known yet."""
    op = size.owner.operation
    if origin not in known:
        with ir.InsertionPoint(op), op.location:
            if isinstance(origin, int):
                known[origin] = b.index_constant(origin)
            elif origin in of_argument:
                known[origin] = b.dim(*of_argument[origin])
            else:
                known[origin] = size
                return
    size.replace_all_uses_with(known[origin])
    op.erase()
