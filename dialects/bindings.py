# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The one door to the MLIR Python bindings, which the torch-mlir wheel carries.

Everything else says `from flambeau.dialects.bindings import ir`, so that a change of wheel is a change of this file.
"""

from importlib import import_module
from typing import Any

from torch_mlir import ir, passmanager
from torch_mlir._mlir_libs._torchMlir import register_dialect
from torch_mlir.dialects import arith, ext, func

__all__ = ["arith", "ext", "func", "ir", "linalg", "passmanager", "register_torch_dialects"]


def __getattr__(name: str) -> Any:
    """`linalg`, at first use: importing it takes longer than importing MLIR."""
    if name != "linalg":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("torch_mlir.dialects.linalg")


def register_torch_dialects(context: ir.Context) -> None:
    """Make `torch`, `torch_c` (to and from builtin tensors) and `tm_tensor` (sort, scatter) known to a context.

    The last two have no bindings: they become known when a pass that depends on them has run.
    """
    register_dialect(context)
    passes = "torch-func-backend-type-conversion,func.func(convert-torch-to-tmtensor)"
    with context, ir.Location.unknown():
        passmanager.PassManager.parse(f"builtin.module({passes})").run(ir.Module.create().operation)
