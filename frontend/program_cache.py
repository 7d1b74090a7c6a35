# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled graphs in the cache on disk: from an imported module to what passes and compiler made of it before.

A program is found by its IR without locations and by all that decides what becomes of it. Where something takes part
that Flambeau cannot name by content, such as a pass of another package, nothing is kept.
"""

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.errors import source_line
from flambeau.dialects.opdef import OPS
from flambeau.frontend.options import Options
from flambeau.pipelines.lower_to_torch.torch_builder import REFUSALS, RULES
from flambeau.pipelines.partitioning.partitioners import PARTITIONERS
from flambeau.pipelines.registry import PASSES
from flambeau.pipelines.stages import STAGES, stage_passes
from flambeau.runtime.artefact_cache import ArtefactCache, Miss, digest, open_cache
from flambeau.runtime.backends import Backend
from flambeau.runtime.counters import counters
from flambeau.runtime.devices.environment import compiler_parts
from flambeau.runtime.iree.compiler import Artefact

# Options that change nothing of the program.
_IRRELEVANT = ("dump", "cache_dir", "freezing")

_HOST, _ARTEFACT, _FACTS = "host.mlirbc", "artefact.vmfb", "facts.json"


@dataclass(frozen=True)
class Program:
    """A compiled graph.

    host: bytecode of a module with the facts of `@forward` and `@backward`, the functions that the host runs, and
    declarations of those that are compiled. artefact: what IREE made of these, None if there are none. seconds: the
    estimated time of their longest call on one core. ops: how many ops run where, as counted in `flambeau.counters`.
    """

    host: bytes
    artefact: Artefact | None
    seconds: float
    ops: Mapping[str, int]


class ProgramCache:
    """The place of one graph in the cache."""

    def __init__(self, cache: ArtefactCache, parts: Mapping[str, str], label: str) -> None:
        self._cache = cache
        self._parts = parts
        self._label = label

    def load(self) -> Program | None:
        """What was kept; counted as `cache.hit` or `cache.miss`."""
        files = self._cache.lookup(self._parts, self._label)
        counters.add("cache.miss" if files is None else "cache.hit")
        return None if files is None else _decode(files)

    def store(self, program: Program) -> None:
        """Keep a program; that it cannot be kept is a warning."""
        self._cache.store(self._parts, _encode(program), self._label)

    def refuse(self, error: Exception) -> None:
        """What was kept does not work: forget it, with a warning."""
        self._cache.discard(self._parts, str(error))


def place_in_cache(module: ir.Module, backend: Backend, options: Options) -> ProgramCache | None:
    """Where the program of an imported module is kept; None if there is no cache, or if it must not be kept.

    Why not is recorded for `flambeau-info cache why`, and counted as `cache.bypass`.
    """
    cache = open_cache(options.cache_dir)
    if not cache.max_bytes or backend.compile_fn is not None or not backend.target:
        return None
    (graph,) = (f for f in fn.functions(module) if f.name.value == "graph")
    of_compiler = compiler_parts(backend)
    passes = _passes(backend, options)
    foreign = _foreign(module, passes, options.partitioner)
    if of_compiler is None or foreign:
        reason = (
            f"{foreign} is not part of Flambeau, and could change unseen"
            if foreign
            else "Flambeau's sources have changed since this process began"
        )
        cache.record(Miss("", _label(graph), {}, time.time(), f"not kept: {reason}"))
        counters.add("cache.bypass")
        return None
    decisive = {
        f"options.{field.name}": json.dumps(getattr(options, field.name))
        for field in dataclasses.fields(options)
        if field.name not in _IRRELEVANT
    }
    parts = {
        # In `ir` already, but what differs in most misses: spelt out to explain them.
        "arguments": ", ".join(map(str, graph.type.inputs)),
        "results": ", ".join(map(str, graph.type.results)),
        "ir": digest(module.operation.get_asm(enable_debug_info=False)),
        "passes": passes,
        **decisive,
        **of_compiler,
    }
    return ProgramCache(cache, parts, _label(graph))


def _passes(backend: Backend, options: Options) -> str:
    """The passes that the module may go through, as pipeline text."""
    stages = [s for s in ("functional", "forward", "partitioned", "split", backend.pipeline) if s in STAGES]
    given = [] if options.partitioner in PARTITIONERS else [options.partitioner]
    return ",".join([*map(stage_passes, stages), *given, *([options.pipeline] if options.pipeline else [])])


def _foreign(module: ir.Module, passes: str, partitioner: str) -> str:
    """A pass, partitioner, op or rule whose code is in another package and may take part; empty if there is none."""
    used = _operations(module)
    candidates = (
        *((f"pass {name}", item) for name, item in PASSES.items() if name in passes),
        *((f"partitioner {name}", item) for name, item in PARTITIONERS.items() if name in partitioner),
        *((f"op {name}", item) for name, item in OPS.items() if name in used),
        *((f"the lowering of {name}", item) for table in (RULES, REFUSALS) for name, item in table.items()),
    )
    return next((what for what, item in candidates if not item.__module__.startswith("flambeau.")), "")


def _operations(module: ir.Module) -> set[str]:
    """The names of all ops of a module."""
    names: set[str] = set()

    def visit(op: ir.Operation) -> ir.WalkResult:
        names.add(op.name)
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    return names


def _label(graph: Any) -> str:
    """The user's line that the graph begins with."""
    lines = (source_line(op.location) for op in fn.operations(fn.entry_block(graph)))
    return next(filter(None, lines), "a graph")


def _encode(program: Program) -> dict[str, bytes]:
    artefact = program.artefact
    facts: dict[str, Any] = {"seconds": program.seconds, "ops": dict(program.ops)}
    files = {_HOST: program.host}
    if artefact is not None:
        files[_ARTEFACT] = artefact.vmfb
        facts["artefact"] = artefact.facts()
    return {**files, _FACTS: json.dumps(facts).encode()}


def _decode(files: Mapping[str, bytes]) -> Program:
    facts = json.loads(files[_FACTS])
    artefact = Artefact.of_facts(files[_ARTEFACT], facts["artefact"]) if "artefact" in facts else None
    return Program(files[_HOST], artefact, facts["seconds"], facts["ops"])
