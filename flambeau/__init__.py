# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Flambeau compiles PyTorch programs, forward and backward, through MLIR passes to IREE.

The public names are loaded at first use: importing this package, or one of its compiler parts, loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flambeau.frontend.aot import aot
    from flambeau.frontend.compile import CompilationError, FlambeauWarning, compile
    from flambeau.frontend.explaining.explain import explain
    from flambeau.frontend.explaining.report import Explanation
    from flambeau.frontend.export import export
    from flambeau.runtime.backends import Backend, list_backends, lookup_backend, register_backend
    from flambeau.runtime.counters import counters

__all__ = [
    "Backend",
    "CompilationError",
    "Explanation",
    "FlambeauWarning",
    "aot",
    "compile",
    "counters",
    "explain",
    "export",
    "list_backends",
    "lookup_backend",
    "register_backend",
]

_HOME = {
    "Backend": "flambeau.runtime.backends",
    "CompilationError": "flambeau.frontend.compile",
    "Explanation": "flambeau.frontend.explaining.report",
    "FlambeauWarning": "flambeau.frontend.compile",
    "aot": "flambeau.frontend.aot",
    "compile": "flambeau.frontend.compile",
    "counters": "flambeau.runtime.counters",
    "explain": "flambeau.frontend.explaining.explain",
    "export": "flambeau.frontend.export",
    "list_backends": "flambeau.runtime.backends",
    "lookup_backend": "flambeau.runtime.backends",
    "register_backend": "flambeau.runtime.backends",
}


def __getattr__(name: str) -> object:
    """Load the public name `name` from the module that defines it, once."""
    if name not in _HOME:
        raise AttributeError(f"module 'flambeau' has no attribute {name!r}; it has: {', '.join(__all__)}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
