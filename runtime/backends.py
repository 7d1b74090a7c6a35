# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The backends by name: each is one frozen record that says how far the IR goes, for which target and on which device.

Loads neither torch nor IREE, so that command lines can list backends at once.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, overload

from flambeau.runtime.errors import UnknownBackendError

__all__ = ["ENTRY_POINT_GROUP", "Backend", "CompileFn", "list_backends", "lookup_backend", "register_backend"]

# (module, signature) -> callable: what a backend made from a function does with the IR that its pipeline left.
# `signature` has the facts of each function by name. Where there are several functions (@forward and @backward), a
# mapping from their names to callables comes back. They take the arguments one by one, and return a sequence of
# results.
CompileFn = Callable[[Any, Any], Any]

ENTRY_POINT_GROUP = "flambeau_backends"


@dataclass(frozen=True)
class Backend:
    """One way to run a graph.

    name: what users write.
    pipeline: name of the passes that the graph goes through.
    target: IREE's compiler target ("llvm-cpu", "vulkan-spirv", "cuda"); empty if IREE compiles nothing.
    flags: compiler flags that every compilation for this backend gets.
    device: where the result runs: "local" (the CPU), "vulkan", "cuda", "interpreter", or a name of your own.
    tags: "debug" and "experimental" hide a backend from `list_backends()`.
    compile_fn: takes the place of IREE: `(module, signature) -> callable`, or a mapping from function names to
    callables.
    description: one line for listings.
    """

    name: str
    pipeline: str
    target: str = ""
    flags: tuple[str, ...] = ()
    device: str = "interpreter"
    tags: tuple[str, ...] = ()
    compile_fn: CompileFn | None = None
    description: str = ""


BUILT_IN = (
    Backend(
        "cpu",
        pipeline="lower-to-torch",
        target="llvm-cpu",
        flags=("--iree-llvmcpu-target-cpu=host",),
        device="local",
        description="this machine's CPU",
    ),
    Backend(
        "vulkan",
        pipeline="lower-to-torch",
        target="vulkan-spirv",
        device="vulkan",
        description="any GPU with a Vulkan 1.3 driver; Mesa's software device counts",
    ),
    Backend(
        "cuda",
        pipeline="lower-to-torch",
        target="cuda",
        device="cuda",
        description="NVIDIA GPUs",
    ),
    Backend(
        "imported",
        pipeline="imported",
        tags=("debug",),
        description="interprets the IR as imported: references, views and writes are still there",
    ),
    Backend(
        "functional",
        pipeline="functional",
        tags=("debug",),
        description="interprets the IR after functionalization",
    ),
    Backend(
        "partitioned",
        pipeline="partitioned",
        tags=("debug",),
        description="interprets forward and backward after differentiation and partition",
    ),
)

_LOCK = threading.Lock()
_REGISTRY: dict[str, Backend] = {backend.name: backend for backend in BUILT_IN}


@overload
def register_backend(backend: Backend, /) -> Backend: ...
@overload
def register_backend(backend: CompileFn, /) -> CompileFn: ...
@overload
def register_backend(
    *, name: str | None = None, pipeline: str = "partitioned", tags: Sequence[str] = ()
) -> Callable[[CompileFn], CompileFn]: ...


def register_backend(
    backend: Backend | CompileFn | None = None,
    /,
    *,
    name: str | None = None,
    pipeline: str = "partitioned",
    tags: Sequence[str] = (),
) -> Backend | CompileFn | Callable[[CompileFn], CompileFn]:
    """Add a backend: a record, or as a decorator a function `(module, signature) -> callable`.

    A function goes by `name`, else by its own name, and gets the module as `pipeline` left it.
    Returns what it was given. ValueError if the name is taken.
    """
    if isinstance(backend, Backend):
        _add(backend)
        return backend

    def decorate(function: CompileFn) -> CompileFn:
        _add(_from_function(name or function.__name__, function, pipeline, tags))
        return function

    return decorate if backend is None else decorate(backend)


def list_backends(exclude_tags: Sequence[str] | None = ("debug", "experimental")) -> list[str]:
    """The registered names, sorted, without those that have one of `exclude_tags`; also names from entry points.

    What an installed package declares in the entry-point group `flambeau_backends` is listed without loading it.
    """
    hidden = set(exclude_tags or ())
    with _LOCK:
        registered = dict(_REGISTRY)
    shown = {name for name, backend in registered.items() if not hidden.intersection(backend.tags)}
    return sorted(shown | (_declared().keys() - registered.keys()))


def lookup_backend(name: str) -> Backend:
    """The record of that name; UnknownBackendError with the valid names if there is none."""
    with _LOCK:
        if name in _REGISTRY:
            return _REGISTRY[name]
    declared = _declared()
    if name in declared:
        found = declared[name].load()
        with _LOCK:  # the import may itself have registered the name
            if name not in _REGISTRY:
                _REGISTRY[name] = found if isinstance(found, Backend) else _from_function(name, found)
            return _REGISTRY[name]
    valid = list_backends(exclude_tags=None)
    close = get_close_matches(str(name), valid, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise UnknownBackendError(f"unknown backend {name!r}{hint}; valid: {', '.join(valid)}")


def _add(backend: Backend) -> None:
    with _LOCK:
        known = _REGISTRY.setdefault(backend.name, backend)
    if known is not backend:
        raise ValueError(f"a backend named {backend.name!r} is already registered: {known}")


def _from_function(
    name: str, function: CompileFn, pipeline: str = "partitioned", tags: Sequence[str] = ()
) -> Backend:
    summary = (function.__doc__ or "").strip().partition("\n")[0]
    return Backend(
        name, pipeline, device="custom", tags=tuple(tags), compile_fn=function, description=summary
    )


@cache
def _declared() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
