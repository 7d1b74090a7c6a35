# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What an op is: signature, type inference, VJP rule, recompute class, ATen names. No torch, no IREE."""

import threading
from importlib import import_module

from flambeau.dialects import build
from flambeau.dialects.bindings import ir, register_torch_dialects
from flambeau.dialects.dialect import Autograd, Flambeau
from flambeau.dialects.ops import FAMILIES

__all__ = ["FAMILIES", "build", "create_context"]

for _family in FAMILIES:
    import_module(f"flambeau.dialects.ops.{_family}")

# Loading a Python-defined dialect into two contexts at once crashes the bindings.
_LOAD_LOCK = threading.Lock()


def create_context() -> ir.Context:
    """A new MLIR context that knows our dialects and the torch dialect."""
    with _LOAD_LOCK:
        context = ir.Context()
        register_torch_dialects(context)
        with context, ir.Location.unknown():
            Flambeau.load()
            Autograd.load()
    return context
