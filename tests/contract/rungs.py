# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the contract's tests share: the rungs, strict compilation, counters, and the IR of what was compiled."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import flambeau
from flambeau.dialects import create_context
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.frontend.calling import execution
from flambeau.frontend.calling.signature import Signature

RUNGS = ("functional", "partitioned", "cpu")

interpreted = pytest.mark.parametrize(
    "rung", [pytest.param("functional", marks=pytest.mark.slow), "partitioned"]
)
"""For what is decided before anything is compiled."""

differentiated = pytest.mark.parametrize("rung", ["partitioned", pytest.param("cpu", marks=pytest.mark.slow)])
"""The rungs that have a backward of ours."""

STRICT = {"fallback": "error"}
"""Options with which nothing but compiled code answers."""


def strict(function: Any, rung: str, **arguments: Any) -> Any:
    """The function compiled on a rung, all of it in one graph, with `STRICT` and what `options` adds."""
    options = STRICT | arguments.pop("options", {})
    return flambeau.compile(function, backend=rung, options=options, **{"fullgraph": True} | arguments)


@contextmanager
def counted(name: str) -> Iterator[Callable[[], int]]:
    """How much a counter of `flambeau.counters` has risen since."""
    before = flambeau.counters[name]
    yield lambda: flambeau.counters[name] - before


def gradients(output: torch.Tensor, *leaves: torch.Tensor, **arguments: Any) -> list[torch.Tensor]:
    """The gradients of the sum of an output."""
    return list(torch.autograd.grad(output.sum(), leaves, **arguments))


def stages(folder: Path, graph: int = 0) -> dict[str, Path]:
    """The files of one dumped graph, by pass: the `graph`-th graph of those in `folder`."""
    graphs = sorted((f for f in folder.iterdir() if f.is_dir()), key=lambda f: int(f.name))
    return {f.stem.partition("_")[2]: f for f in sorted(graphs[graph].iterdir())}


def parsed(path: Path) -> Any:
    """A module file; a lowered one holds ops of IREE's."""
    with create_context() as context, ir.Location.unknown():
        context.allow_unregistered_dialects = True
        return ir.Module.parse(path.read_text())


def signatures(path: Path) -> dict[str, Signature]:
    """The facts of the public functions in a module file, by name."""
    return execution.signatures(parsed(path))


def op_names(path: Path, function: str) -> list[str]:
    """The dialect's ops of one function in a module file, in order, without the dialect's name."""
    module = parsed(path)
    found = next(f for f in fn.functions(module) if f.name.value == function)
    names = [op.name for op in fn.operations(fn.entry_block(found))]
    return [name.removeprefix("flambeau.") for name in names if name.startswith("flambeau.")]


def plain_text(message: object) -> str:
    """A message without file names and line numbers."""
    return re.sub(r"\S+\.py:\d+:? ?", "", str(message))
