# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compile options: one frozen record, from `options=`, the environment (`FLAMBEAU_FALLBACK=error`), then defaults."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from flambeau.pipelines.registry import unknown_choice

MODES = ("default", "max-autotune")


@dataclass(frozen=True)
class Options:
    """What may be asked of a compilation. Field names are the keys of `options=`.

    fallback: what happens to a graph that cannot be compiled: run it in eager, counted and warned about, or raise.
    partitioner: which forward values are saved for the backward, as the pass `partition` takes it.
    dump: a folder; the IR of each graph is written there after every pass, as `<graph>/<NN>_<pass>.mlir`.
    pipeline: pipeline text that takes the place of the backend's own lowering.
    iree_flags: more flags for IREE's compiler; they win over the backend's.
    """

    fallback: Literal["eager", "error"] = "eager"
    partitioner: Literal["default", "min-cut"] = "default"
    dump: Path | None = None
    pipeline: str | None = None
    iree_flags: tuple[str, ...] = ()


def read_options(given: Mapping[str, Any] | None = None, mode: str | None = None) -> Options:
    """Options from a mapping and the environment. ValueError lists the valid names or values."""
    if mode is not None and mode not in MODES:
        raise ValueError(unknown_choice("mode", mode, MODES))
    values: dict[str, Any] = {}
    hints = get_type_hints(Options)
    for field in dataclasses.fields(Options):
        variable = f"FLAMBEAU_{field.name.upper()}"
        if variable in os.environ:
            values[field.name] = _checked(
                variable, hints[field.name], _from_text(hints[field.name], os.environ[variable])
            )
    for name, value in (given or {}).items():
        if name not in hints:
            raise ValueError(unknown_choice("option", name, list(hints)))
        values[name] = _checked(name, hints[name], value)
    return Options(**values)


def _from_text(kind: Any, text: str) -> Any:
    return tuple(text.split()) if get_origin(kind) is tuple else text


def _checked(name: str, kind: Any, value: Any) -> Any:
    """The value as its field takes it."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ValueError(f"option {name}: {unknown_choice('value', str(value), get_args(kind))}")
        return value
    if get_origin(kind) is tuple:
        if isinstance(value, str) or not all(isinstance(v, str) for v in value):
            raise ValueError(f"option {name}: a sequence of strings is expected, not {value!r}")
        return tuple(value)
    if value is None and type(None) in get_args(kind):
        return None
    if Path in get_args(kind):
        return Path(value)
    if not isinstance(value, str):
        raise ValueError(f"option {name}: a string is expected, not {value!r}")
    return value
