# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of kernels: ops that a target computes together, and nothing else with them.

A private `func.func` with the attribute `flambeau.kernel = "<kind>"` is a kernel: its body holds ops of the dialect,
and each `func.call` of it runs it once. Its arguments carry names of equal dynamic sizes (`flambeau.dims`). IRDL cannot
declare an op with a region and operands of several types; a function is one, can be read and tested by itself, and any
interpreter of calls runs it.
"""

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.walk import operations

KERNEL = "flambeau.kernel"


class Kind(StrEnum):
    """What decides the loops of a kernel."""

    POINTWISE = "pointwise"
    """Each element of a result is computed from elements of the operands at one place."""
    ROW = "row"
    """Reductions over the last dims, and pointwise work before, between and after them."""
    COLUMN = "column"
    """Reductions over other dims, or over all, and pointwise work before them."""
    CONTRACTION = "contraction"
    """One matrix product or convolution, and pointwise work on its result."""
    OTHER = "other"
    """One op of any other sort, and pointwise work on its result."""


def kind_of(function: Any) -> Kind | None:
    """The kind of a kernel, None for any other function."""
    attributes = function.operation.attributes
    return Kind(ir.StringAttr(attributes[KERNEL]).value) if KERNEL in attributes else None


def kernels(module: ir.Module) -> list[Any]:
    """The kernels of a module, in order."""
    return [f for f in fn.functions(module) if kind_of(f) is not None]


def called_kernel(op: ir.Operation) -> Any | None:
    """The kernel that an op calls, None for any other op."""
    function = fn.called_function(op)
    return function if function is not None and kind_of(function) is not None else None


@dataclass(frozen=True)
class CalledKernel:
    """A kernel's body, the function op that carries its attributes, and the ops that call it."""

    definition: ir.Operation
    block: ir.Block
    calls: tuple[ir.Operation, ...]

    @property
    def attributes(self) -> Any:
        """The function's attributes."""
        return self.definition.attributes


def kernels_with_calls(module: ir.Module) -> list[CalledKernel]:
    """All kernels of a module, in order, with the ops that call them."""
    calls = defaultdict(list)
    for op in operations(module):
        calls[fn.callee_name(op)].append(op)
    return [CalledKernel(f.operation, fn.entry_block(f), tuple(calls[f.name.value])) for f in kernels(module)]
