# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""An estimate of how long a function takes on one CPU core, from its op list: enough to tell small from large.

Small functions are better run in the caller's thread, since waking a worker costs tens of microseconds.
"""

from math import prod
from typing import Any

from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import OPS
from flambeau.dialects.types import DYNAMIC, is_tensor, shape_of
from flambeau.pipelines import functions as fn

# Rough figures of a server core. They need only be right within a factor of a few.
_FLOPS_PER_SECOND = 5e10
_ELEMENTS_PER_SECOND = 2e9
_UNKNOWN_SIZE = 32  # what a `?` dim counts as


def estimate_seconds(function: Any) -> float:
    """Seconds on one core for one call of a functional `func.func` of our dialect."""
    return sum(_seconds(op) for op in fn.operations(fn.entry_block(function))[:-1])


def _seconds(op: ir.Operation) -> float:
    cls = OPS.get(op.name)
    if cls is None or cls.view:
        return 0.0
    elements = sum(_count(r) for r in op.results if is_tensor(r.type))
    return 2.0 * elements * _contracted(op) / _FLOPS_PER_SECOND + elements / _ELEMENTS_PER_SECOND


def _contracted(op: ir.Operation) -> int:
    """How many products are summed for one element of the result; 0 for ops that are no contractions."""
    if op.name in ("flambeau.mm", "flambeau.bmm"):
        return _sizes(op.operands[0])[-1]
    if op.name in ("flambeau.addmm", "flambeau.baddbmm"):
        return _sizes(op.operands[1])[-1]
    if op.name.startswith("flambeau.convolution"):
        return prod(_sizes(op.operands[1])[1:])
    return 0


def _sizes(value: ir.Value) -> list[int]:
    return [_UNKNOWN_SIZE if s == DYNAMIC else s for s in shape_of(value)]


def _count(value: ir.Value) -> int:
    return prod(_sizes(value))
