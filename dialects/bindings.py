# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The one door to the MLIR Python bindings, which the torch-mlir wheel carries.

Everything else says `from flambeau.dialects.bindings import ir`, so that a change of wheel is a change of this file.
"""

from torch_mlir import ir, passmanager
from torch_mlir.dialects import arith, ext, func, irdl, linalg, tensor
from torch_mlir.dialects import torch as torch_dialect

__all__ = [
    "arith",
    "ext",
    "func",
    "ir",
    "irdl",
    "linalg",
    "passmanager",
    "register_torch_dialects",
    "tensor",
    "torch_dialect",
]


def register_torch_dialects(context: ir.Context) -> None:
    """Make `torch`, `torch_c` (to and from builtin tensors) and `tm_tensor` (sort, scatter) known to a context.

    The last two have no bindings: they become known when a pass that depends on them has run.
    """
    torch_dialect.register_dialect(context)
    passes = "torch-func-backend-type-conversion,func.func(convert-torch-to-tmtensor)"
    with context, ir.Location.unknown():
        passmanager.PassManager.parse(f"builtin.module({passes})").run(ir.Module.create().operation)
