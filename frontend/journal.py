# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a compilation tells about itself: the seconds of each step, the IR after it, the artefact, why it failed.

`compile_graph` opens one journal per graph; whoever wants to read them collects them. Nothing is kept otherwise.
"""

import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import fx

from flambeau.dialects import create_context
from flambeau.dialects.bindings import ir
from flambeau.frontend.capture.records import CapturedGraph
from flambeau.runtime.backends import Backend

if TYPE_CHECKING:  # loads IREE
    from flambeau.runtime.iree.compiler import Artefact

__all__ = ["Journal", "Stage", "collect_journals", "opened_journal"]


@dataclass(frozen=True)
class Stage:
    """The IR of a graph after a pass (or as imported, when no pass has run)."""

    name: str
    bytecode: bytes = field(repr=False)

    def module(self) -> ir.Module:
        """The IR, parsed into a context of its own."""
        context = create_context()
        context.allow_unregistered_dialects = True  # lowered IR holds ops of IREE's
        with context, ir.Location.unknown():
            return ir.Module.parse(self.bytecode)


@dataclass
class Journal:
    """One graph's compilation, written while it goes on.

    graph: as TorchDynamo gave it; `example_inputs`: the arguments that it was compiled for.
    seconds: the steps in order, a name and its time; a pass that runs twice stands there twice.
    stages: the IR as imported and after each pass, if `keeps_ir`. Such a graph is compiled anew even on a cache hit.
    captured, artefact, cache: what the steps came to, None as long as (or where) there is no such thing; `cache` is
    "hit" or "miss".
    failure: why the graph runs in eager.
    """

    number: int
    backend: Backend
    graph: fx.GraphModule
    example_inputs: Sequence[Any]
    keeps_ir: bool
    seconds: list[tuple[str, float]] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    captured: CapturedGraph | None = None
    artefact: "Artefact | None" = None
    cache: str | None = None
    failure: Exception | None = None
    _last: float = field(default_factory=time.perf_counter)

    def step(self, name: str) -> None:
        """The step `name` is done: what has passed since the last one is its time."""
        now = time.perf_counter()
        self.seconds.append((name, now - self._last))
        self._last = now

    def stage(self, name: str, module: ir.Module) -> None:
        """The step `name` is done, and left this IR."""
        self.step(name)
        if self.keeps_ir:
            buffer = io.BytesIO()
            module.operation.write_bytecode(buffer)
            self.stages.append(Stage(name, buffer.getvalue()))
            self._last = time.perf_counter()


_COLLECTED: ContextVar[list[Journal] | None] = ContextVar("collected journals", default=None)


@contextmanager
def collect_journals() -> Iterator[list[Journal]]:
    """The journals, with their IR, of all graphs that this thread compiles inside, in a list that grows."""
    journals: list[Journal] = []
    token = _COLLECTED.set(journals)
    try:
        yield journals
    finally:
        _COLLECTED.reset(token)


def opened_journal(
    number: int, backend: Backend, graph: fx.GraphModule, example_inputs: Sequence[Any], *, keeps_ir: bool
) -> Journal:
    """A new journal, which whoever collects them gets. `keeps_ir`: keep the IR in any case."""
    collected = _COLLECTED.get()
    journal = Journal(number, backend, graph, example_inputs, keeps_ir or collected is not None)
    if collected is not None:
        collected.append(journal)
    return journal
