# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How much work a function is, from its op list: enough to tell small graphs from large ones."""

from dataclasses import dataclass
from math import prod
from typing import Any

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import OPS
from flambeau.dialects.types import DYNAMIC, is_tensor, shape_of

# What a `?` dim counts as: a batch of middling size, most often. A guess, but one guess: a memory budget weighs time
# against bytes, and both are made of it.
_UNKNOWN_SIZE = 64
_BYTES_PER_ELEMENT = 4


@dataclass(frozen=True)
class Work:
    """Floating-point operations of contractions, and bytes written by all other ops."""

    flops: float
    bytes: float


def estimate_work(function: Any) -> Work:
    """The work of one call of a functional `func.func` of our dialect."""
    ops = [op for op in fn.operations(fn.entry_block(function))[:-1] if _computes(op)]
    flops = sum(2.0 * _elements(op) * contracted_size(op) for op in ops)
    return Work(flops, sum(_elements(op) * _BYTES_PER_ELEMENT for op in ops))


def operation_flops(op: ir.Operation) -> float:
    """Floating-point operations of one op: two for each product of a contraction, else one for each element."""
    return _elements(op) * max(2.0 * contracted_size(op), 1.0)


def _computes(op: ir.Operation) -> bool:
    return op.name in OPS and not OPS[op.name].view


def _elements(op: ir.Operation) -> int:
    return sum(prod(assumed_sizes(r)) for r in op.results if is_tensor(r.type))


def contracted_size(op: ir.Operation) -> int:
    """How many products are summed for one element of the result; 0 for ops that are no contractions."""
    if op.name in ("flambeau.mm", "flambeau.bmm"):
        return assumed_sizes(op.operands[0])[-1]
    if op.name in ("flambeau.addmm", "flambeau.baddbmm"):
        return assumed_sizes(op.operands[1])[-1]
    if op.name.startswith("flambeau.convolution"):
        return prod(assumed_sizes(op.operands[1])[1:])
    return 0


def assumed_sizes(value: ir.Value) -> list[int]:
    """The sizes of a tensor, with a number for each `?`."""
    return [_UNKNOWN_SIZE if s == DYNAMIC else s for s in shape_of(value)]
