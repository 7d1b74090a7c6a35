# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""IREE's own ops, as lower-kernels writes them, between values of the torch dialect: `flow.dispatch` and reshapes."""

from typing import Any

from flambeau.dialects.bindings import ir
from flambeau.dialects.types import is_tensor
from flambeau.pipelines.lower_to_torch import builtin
from flambeau.pipelines.lower_to_torch import torch_builder as t


def is_dispatch(op: ir.Operation) -> bool:
    """Whether an op is IREE's own and takes builtin tensors."""
    return str(op.name).startswith("flow.")


def lower_dispatch(op: ir.Operation, values: dict[Any, Any]) -> None:
    """Write the op with builtin operands at the current insertion point and record its results in `values`."""
    operands = [
        builtin.to_builtin(values[v], v.type) if is_tensor(v.type) else builtin.to_index(values[v])
        for v in op.operands
    ]
    types = [builtin.signless(r.type) for r in op.results]
    if op.name == "flow.tensor.bitcast" and operands[0].type == types[0]:
        results = operands[:1]  # uint8 as the signless bytes that it is on this side
    else:
        attributes = {name: op.attributes[name] for name in op.attributes}
        results = list(
            ir.Operation.create(op.name, results=types, operands=operands, attributes=attributes).results
        )
    for before, after in zip(op.results, results, strict=True):
        values[before] = builtin.from_builtin(after, t.torch_type(before.type))
