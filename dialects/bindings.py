# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The one door to the MLIR Python bindings, which the torch-mlir wheel carries.

Everything else says `from flambeau.dialects.bindings import ir`, so that a change of wheel is a change of this file.
"""

import sys
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from torch_mlir import ir, passmanager
from torch_mlir._mlir_libs._mlir import globals as bindings
from torch_mlir._mlir_libs._torchMlir import register_dialect
from torch_mlir.dialects import arith, ext, func

if TYPE_CHECKING:
    from torch_mlir.dialects import linalg

__all__ = [
    "arith",
    "ext",
    "func",
    "ir",
    "linalg",
    "passmanager",
    "register_torch_dialects",
    "torch_op_classes",
]


def __getattr__(name: str) -> Any:
    """`linalg`, at first use: importing it takes longer than importing MLIR."""
    if name != "linalg":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("torch_mlir.dialects.linalg")


def _look_for_no_module(dialect: str) -> None:
    """Let the bindings take the ops of a dialect as they are.

    They look for a Python module of the dialect whenever they wrap one of its ops, until they have found one: where
    there is none, that takes longer than everything that a pass does to the op.
    """
    name = f"torch_mlir.dialects.{dialect}"
    sys.modules[name] = ModuleType(name)
    bindings._check_dialect_module_loaded(dialect)
    del sys.modules[name]


# Ours have their classes elsewhere, two have none, and the torch dialect's are many and not used here.
for _dialect in ("flambeau", "autograd", "torch", "torch_c", "tm_tensor"):
    _look_for_no_module(_dialect)


def register_torch_dialects(context: ir.Context) -> None:
    """Make `torch`, `torch_c` (to and from builtin tensors) and `tm_tensor` (sort, scatter) known to a context.

    The last two have no bindings: they become known when a pass that depends on them has run.
    """
    register_dialect(context)
    passes = "torch-func-backend-type-conversion,func.func(convert-torch-to-tmtensor)"
    with context, ir.Location.unknown():
        passmanager.PassManager.parse(f"builtin.module({passes})").run(ir.Module.create().operation)


@cache
def torch_op_classes() -> dict[str, Any]:
    """The classes of the torch dialect's ops by name, for the names of their operands. Takes 0.2 s the first time."""
    module = import_module("torch_mlir.dialects.torch")
    classes: list[Any] = [
        c for c in vars(module).values() if isinstance(c, type) and issubclass(c, ir.OpView)
    ]
    return {c.OPERATION_NAME: c for c in classes if "OPERATION_NAME" in vars(c)}
