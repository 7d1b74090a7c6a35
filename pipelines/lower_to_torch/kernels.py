# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of kernels: their ops where they are called, and a barrier behind each result.

IREE decides by itself which loop nests it computes together, and is wrong where one reads what the other has computed
elsewhere. It joins nothing across `iree_tensor_ext.compute_barrier.start`, which costs nothing at run time.
"""

from typing import Any

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.types import is_tensor
from flambeau.pipelines.lower_to_torch import builtin as bt
from flambeau.pipelines.lower_to_torch.branches import LowerOp


def lower_kernel(op: ir.Operation, kernel: Any, values: dict[Any, Any], lower_op: LowerOp) -> None:
    """Lower a call of a kernel at the insertion point and record its results in `values`."""
    block = fn.entry_block(kernel)
    inner = dict(zip(block.arguments, (values[o] for o in op.operands), strict=True))
    *body, end = fn.operations(block)
    for inside in body:
        with inside.location:
            lower_op(inside, inner)
    for result, returned in zip(op.results, end.operands, strict=True):
        values[result] = _barrier(inner[returned], returned.type)


def _barrier(value: ir.Value, type_: ir.Type) -> ir.Value:
    """A value in torch dialect, behind a barrier if it is a tensor."""
    if not is_tensor(type_):
        return value
    value.context.allow_unregistered_dialects = True  # the op is IREE's
    tensor = bt.to_builtin(value, type_)
    sizes = [s for s in bt.sizes_of(tensor) if isinstance(s, ir.Value)]
    behind = ir.Operation.create(
        "iree_tensor_ext.compute_barrier.start", results=[tensor.type], operands=[tensor, *sizes]
    ).results[0]
    return bt.from_builtin(behind, value.type)
