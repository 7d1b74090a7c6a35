# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How a kernel stands in the IR: a private `func.func` with the attribute `flambeau.kernel`, and calls of it."""

from dataclasses import dataclass
from typing import Any

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.walk import operations

KERNEL = "flambeau.kernel"


@dataclass(frozen=True)
class Kernel:
    """A kernel's body, the op that carries its attributes, and the ops that call it."""

    definition: ir.Operation
    block: ir.Block
    calls: tuple[ir.Operation, ...]

    @property
    def attributes(self) -> Any:
        return self.definition.attributes


def kernels(module: ir.Module) -> list[Kernel]:
    """All kernels of a module, in order."""
    defined = [f for f in fn.functions(module) if KERNEL in f.operation.attributes]
    calls: dict[str, list[ir.Operation]] = {f.name.value: [] for f in defined}
    for op in operations(module):
        if op.name == "func.call":
            callee = ir.FlatSymbolRefAttr(op.attributes["callee"]).value
            if callee in calls:
                calls[callee].append(op)
    return [Kernel(f.operation, fn.entry_block(f), tuple(calls[f.name.value])) for f in defined]
