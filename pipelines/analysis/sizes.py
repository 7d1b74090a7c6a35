# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The origins of all dynamic sizes in a function: what ops infer, what arguments name, what tangents belong to."""

from typing import Any, TypeAlias

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.equal_sizes import SizeOrigins
from flambeau.dialects.facts import Role
from flambeau.dialects.types import DYNAMIC, is_tensor, shape_of

Dim: TypeAlias = tuple[ir.Value, int]  # a tensor, and one of its dims


def dynamic_dims(value: ir.Value) -> list[int]:
    """The dims of a tensor whose sizes are not static; none of what is no tensor."""
    return [d for d, s in enumerate(shape_of(value)) if s == DYNAMIC] if is_tensor(value.type) else []


def trace_sizes(function: Any) -> SizeOrigins:
    """Origins of the sizes in a `func.func`; equal ones are equal in every call.

    Arguments' sizes with one name in `flambeau.dims` are equal. A tangent has the sizes of its result.
    """
    origins = SizeOrigins()
    block = fn.entry_block(function)
    results = _forward_results(function)
    tangents: dict[ir.Value, ir.Value] = {}
    for argument, facts in zip(block.arguments, fn.argument_facts(function), strict=True):
        if facts.dims is not None:
            for dim in dynamic_dims(argument):
                origins.describe(argument, dim, facts.dims[dim])
        elif facts.role is Role.TANGENT and facts.of_result is not None and results:
            tangents[argument] = results[facts.of_result]
    for op in fn.operations(block)[:-1]:
        # The first op that takes a tangent comes after all that the results are computed by.
        if tangents and any(operand in tangents for operand in op.operands):
            _describe_tangents(tangents, origins)
            tangents = {}
        for result in op.results:
            for dim in dynamic_dims(result):  # in program order, so that tracing never goes deep
                origins.dim(result, dim)
    _describe_tangents(tangents, origins)
    return origins


def _forward_results(function: Any) -> list[ir.Value]:
    """What a joint function returns before the gradients; nothing in `@backward`, whose tangents are another's."""
    results = zip(fn.terminator(fn.entry_block(function)).operands, fn.result_facts(function), strict=True)
    return [value for value, facts in results if facts.gradient_of is None]


def _describe_tangents(tangents: dict[ir.Value, ir.Value], origins: SizeOrigins) -> None:
    for tangent, result in tangents.items():
        for dim in dynamic_dims(tangent):
            origins.describe(tangent, dim, origins.dim(result, dim))
