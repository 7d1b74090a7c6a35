# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Do the contract's tests notice? Passes and wrappers broken on purpose, and the rows that have to fail for each.

`python -m tests.contract.mutants` runs the tests for all of them, or for those that it names, and writes the table
into docs/contract.md.
"""

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from flambeau.dialects import build as b
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.errors import made_by_autodiff
from flambeau.dialects.opdef import OPS
from flambeau.frontend.calling import autograd, execution, wrapper
from flambeau.frontend.calling.autograd import Differentiable
from flambeau.frontend.calling.wrapper import CompiledGraph
from flambeau.pipelines.passes import autodiff
from tests.contract.page import PAGE, mutants_on, with_mutants
from tests.contract.record import run

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Mutant:
    """what: is broken. rows: that fail for certain. apply: breaks it."""

    what: str
    rows: frozenset[str]
    apply: Callable[[Patch], None]


MUTANTS: dict[str, Mutant] = {}


def mutant(name: str, what: str, rows: str) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Add a function that breaks something to the mutants. `rows`: separated by blanks."""

    def add(apply: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTANTS[name] = Mutant(what, frozenset(rows.split()), apply)
        return apply

    return add


@mutant("no-copy-back", "written arguments keep their old values", "C15 C39 C40 C41 C42 C45 C46")
def _no_copy_back(patch: Patch) -> None:
    patch.setattr(wrapper, "_copy_back", lambda *_, **__: None)


@mutant("no-view-replay", "outputs that are views come as the compiled code computed them", "C29 C47 C48 C49")
def _no_view_replay(patch: Patch) -> None:
    output = CompiledGraph._output

    def without_view(graph: Any, fact: Any, *rest: Any) -> Any:
        return output(graph, replace(fact, view=None), *rest)

    patch.setattr(CompiledGraph, "_output", without_view)


@mutant("clones-for-views", "outputs that are views are copied", "C29 C47 C48 C49")
def _clones_for_views(patch: Patch) -> None:
    output = CompiledGraph._output

    def cloned(graph: Any, fact: Any, *rest: Any) -> Any:
        value = output(graph, fact, *rest)
        return value.clone() if fact.view is not None else value

    patch.setattr(CompiledGraph, "_output", cloned)


@mutant("detach-ignored", "gradients flow through detached values", "C29")
def _detach_ignored(patch: Patch) -> None:
    patch.setattr(OPS["autograd.detach"], "vjp", lambda op, g: {"x": g})


@mutant("last-tangent-dropped", "the last output contributes no gradient", "C26 C30 C37 C48")
def _last_tangent_dropped(patch: Patch) -> None:
    backward = autograd._Apply.backward

    def dropping(ctx: Any, *tangents: Any) -> Any:
        *others, _, token = tangents
        return backward(ctx, *others, None, token)

    patch.setattr(autograd._Apply, "backward", staticmethod(dropping))


class _Live(torch.autograd.Function):
    """The same memory, with another version counter, so that nobody notices when it is written."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.data

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return g


@mutant("written-input-read-later", "the backward reads written arguments as they are by then", "C42")
def _written_input_read_later(patch: Patch) -> None:
    call = Differentiable.__call__

    def with_live_arguments(graph: Differentiable, arguments: Sequence[Any]) -> list[Any]:
        written = graph.written
        return call(graph, [_Live.apply(a) if i in written else a for i, a in enumerate(arguments)])

    patch.setattr(Differentiable, "overwritten", frozenset())
    patch.setattr(Differentiable, "__call__", with_live_arguments)


@mutant("contiguous-strides", "results are contiguous, whatever eager's are", "C40 C48 C61")
def _contiguous_strides(patch: Patch) -> None:
    patch.setattr(execution, "with_strides", lambda value, strides: value.contiguous())


@mutant("random-numbers-redrawn", "the backward draws other random numbers than the forward", "C64")
def _random_numbers_redrawn(patch: Patch) -> None:
    differentiate = autodiff.differentiate

    def redrawing(function: Any) -> None:
        differentiate(function)
        _redraw_in_backward(fn.entry_block(function))

    patch.setattr(autodiff, "differentiate", redrawing)


def _redraw_in_backward(block: ir.Block) -> None:
    """Give the backward ops of a joint function copies of all random values, drawn with another offset."""
    copies: dict[ir.Value, ir.Value] = {}
    for op in fn.operations(block)[:-1]:
        if made_by_autodiff(op.location):
            for index, operand in enumerate(op.operands):
                op.operands[index] = copies.get(operand, operand)
        elif op.name == "flambeau.random_bits" or any(operand in copies for operand in op.operands):
            with ir.InsertionPoint(op), op.location:
                copy = op.clone()
                for index, operand in enumerate(op.operands):
                    copy.operands[index] = copies.get(operand, operand)
                if op.name == "flambeau.random_bits":
                    copy.operands[1] = b.scalar(1000, ir.IntegerType.get_signless(32))
            copies.update(zip(op.results, copy.results, strict=True))


# --- The command -----------------------------------------------------------------------------------------------------


def rows_that_notice(name: str, *arguments: str) -> list[str]:
    """The rows that fail for a mutant on the rung `partitioned`, in a process of its own; `arguments` for pytest."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_run_broken, name, arguments).result()


def _run_broken(name: str, arguments: Sequence[str]) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        MUTANTS[name].apply(patch)
        quietly = ("--tb=no", "-p", "no:cacheprovider", "--disable-warnings")
        return list(run(*quietly, *(arguments or ("-k", "partitioned", "-m", "not slow"))).failed)


def main(names: Sequence[str]) -> int:
    """Run all mutants, or those of these names; write the page. 1 if one was not noticed by the rows that must."""
    page = PAGE.read_text()
    rows = {name: mutants_on(page).get(name, []) for name in MUTANTS}
    rows |= {name: rows_that_notice(name) for name in names or MUTANTS}
    missed = {name: sorted(MUTANTS[name].rows - set(found)) for name, found in rows.items()}
    for name, found in rows.items():
        print(f"{name}: {', '.join(found)}" + (f"; not by {', '.join(missed[name])}" if missed[name] else ""))
    table = {name: (MUTANTS[name].what, found) for name, found in rows.items()}
    PAGE.write_text(with_mutants(page, table))
    return 1 if any(missed.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
