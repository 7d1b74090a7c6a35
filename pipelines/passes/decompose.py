# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass decompose: composite ops -> the ops that their own rules name."""

from dataclasses import dataclass
from typing import Literal

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls.host import is_host_function
from flambeau.dialects.opdef import OPS, PARTS, Lowering
from flambeau.pipelines.registry import register_pass


@register_pass
@dataclass(frozen=True)
class Decompose:
    """Replace composite ops by core ops, with the rules that stand with the ops.

    `before=autodiff`: the ops without a VJP rule of their own. `before=partition`: the ops whose parts a partition
    decides about one by one. `before=lowering`: the ops that the lowering has no rule for.
    """

    name = "decompose"

    before: Literal["autodiff", "partition", "lowering"] = "autodiff"

    def run(self, module: ir.Module) -> None:
        for function in fn.functions(module):
            if is_host_function(function):
                continue  # PyTorch has these ops
            block = fn.entry_block(function)
            # A rule may emit composite ops itself, so go on until a walk finds none.
            while composite := [op for op in fn.operations(block) if self._applies(op)]:
                for op in composite:
                    _expand(op)

    def _applies(self, op: ir.Operation) -> bool:
        cls = OPS.get(op.name)
        if cls is None or cls.decompose is None:
            return False
        if self.before == "autodiff":
            return cls.vjp is None
        return cls.recompute is PARTS if self.before == "partition" else cls.lowering is Lowering.DECOMPOSE


def _expand(op: ir.Operation) -> None:
    """Replace `op` by its decomposition."""
    with ir.InsertionPoint(op), op.location:
        values = OPS[op.name].decompose(op.opview)
    fn.replace_op(op, values if isinstance(values, list | tuple) else [values])
