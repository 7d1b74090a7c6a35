# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compile options: one frozen record, from `options=`, the environment (`FLAMBEAU_FALLBACK=error`), then defaults."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from flambeau.frontend.forced_ops import forced_ops
from flambeau.pipelines.partitioning.partition import Partition
from flambeau.pipelines.partitioning.partitioners import PARTITIONERS, partitioner_name
from flambeau.pipelines.registry import PipelineError, load_passes, parse_pipeline, pass_text, unknown_choice
from flambeau.runtime.artefact_cache import cache_max_bytes

MODES = ("default", "max-autotune")


@dataclass(frozen=True)
class Options:
    """What may be asked of a compilation. Field names are the keys of `options=`.

    fallback: what happens to a graph that cannot be compiled: run it in eager, counted and warned about, or raise.
    partitioner: which forward values are saved for the backward: "min-cut", "save-all", a name given to
        `flambeau.pipelines.partitioning.partitioners.register_partitioner`, a function as that takes it, or
        pipeline text in place of the pass `partition`.
    activation_memory_budget: from 1, where "min-cut" computes cheap ops again, to 0, where it does so with all it can.
    dump: a folder; the IR of each graph is written there after every pass, as `<graph>/<NN>_<pass>.mlir`.
    pipeline: pipeline text that takes the place of the backend's own lowering.
    iree_flags: more flags for IREE's compiler; they win over the backend's.
    cache_dir: where compiled graphs are kept; None: the user's cache folder. `FLAMBEAU_CACHE_SIZE` limits it.
    check: "stages" runs the first call at every stage too, and names the first pass that makes it differ from eager.
    force_eager: names of ops that PyTorch runs, on the host: its own (`aten.gelu`) or the dialect's (`flambeau.gelu`).
    min_block_size: between ops on the host, fewer ops than this are left there too.
    saved_dtype: "bfloat16" or "float16" keeps float32 values that are saved for the backward in half the memory.
        Gradients get its rounding errors (2^-9, 2^-12 of a value), and in float16 what is beyond 65504 is infinite;
        outputs stay as they are.
    freezing: in inference, parameters are copied to a device with memory of its own once. A write that
        PyTorch does not count (`_version`: writes through `.data` or numpy are not) is not seen.
    """

    fallback: Literal["eager", "error"] = "eager"
    partitioner: str = "min-cut"
    activation_memory_budget: float = 1.0
    dump: Path | None = None
    pipeline: str | None = None
    iree_flags: tuple[str, ...] = ()
    cache_dir: Path | None = None
    check: Literal["nothing", "stages"] = "nothing"
    force_eager: tuple[str, ...] = ()
    min_block_size: int = 3
    saved_dtype: Literal["unchanged", "bfloat16", "float16"] = "unchanged"
    freezing: bool = False

    @property
    def partition_passes(self) -> str:
        """What takes a joint function apart, as pipeline text. PipelineError if partitioner and budget do not match."""
        if self.partitioner in PARTITIONERS:
            return pass_text(Partition(self.partitioner, self.activation_memory_budget))
        if self.activation_memory_budget != 1:
            raise PipelineError("activation_memory_budget: pipeline text has its own, partition{...} in it")
        return self.partitioner


def read_options(given: Mapping[str, Any] | None = None, mode: str | None = None) -> Options:
    """Options from a mapping and the environment. ValueError lists the valid names or values."""
    if mode is not None and mode not in MODES:
        raise ValueError(unknown_choice("mode", mode, MODES))
    cache_max_bytes()  # refuses a size that is none
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
    options = Options(**values)
    forced_ops(options.force_eager)  # refuses names of no ops
    options.partition_passes  # noqa: B018 - refuses a budget that is none
    return options


def _from_text(kind: Any, text: str) -> Any:
    if kind is int and text.isdecimal():
        return int(text)
    if kind is float:
        try:
            return float(text)
        except ValueError:
            return text
    if kind is bool:
        return {"1": True, "0": False}.get(text, text)
    return tuple(text.split()) if get_origin(kind) is tuple else text


def _checked(name: str, kind: Any, value: Any) -> Any:
    """The value as its field takes it."""
    if name.lower().endswith("partitioner"):
        return _partitioner(name, value)
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
    if kind is bool:
        if not isinstance(value, bool):
            raise ValueError(
                f"option {name}: True or False is expected (1 or 0 in the environment), not {value!r}"
            )
        return value
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"option {name}: a number is expected, not {value!r}")
        return float(value)
    if kind is int:
        if not isinstance(value, int) or value < 0:
            raise ValueError(f"option {name}: a number from 0 on is expected, not {value!r}")
        return value
    if not isinstance(value, str):
        raise ValueError(f"option {name}: a string is expected, not {value!r}")
    return value


def _partitioner(name: str, value: Any) -> str:
    """The name of a partitioner, or pipeline text."""
    if callable(value):
        return partitioner_name(value)
    if (
        isinstance(value, str)
        and value not in PARTITIONERS
        and (set(value) & set("{(,") or value in load_passes())
    ):
        return ",".join(p if isinstance(p, str) else pass_text(p) for p in parse_pipeline(value))
    if value not in PARTITIONERS:
        raise ValueError(f"option {name}: {unknown_choice('value', str(value), [*PARTITIONERS])}")
    return str(value)
