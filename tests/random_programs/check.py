# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs a program in eager and compiled, on several rungs from one trace of TorchDynamo, and says where they differ."""

import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import torch
from torch import fx

from flambeau.dialects.errors import UnsupportedOpError
from flambeau.frontend.capture.records import UnsupportedGraphError
from flambeau.frontend.compile import CompilationError, compile_graph
from flambeau.frontend.options import Options
from flambeau.pipelines.errors import PassError
from flambeau.runtime.backends import lookup_backend
from flambeau.runtime.counters import counters
from flambeau.runtime.errors import CompileError
from tests.oracle import (
    FLOOR,
    KINDS,
    Make,
    Observation,
    TensorFacts,
    assert_as_accurate,
    close,
    compare,
    observe,
)
from tests.random_programs.program import Program, in_mode

FLOORS = {
    torch.bfloat16: torch.finfo(torch.bfloat16).eps,
    torch.float16: torch.finfo(torch.float16).eps,
    torch.float32: FLOOR,
    torch.float64: 1e-13,
}
"""The error against float64 that is always allowed, by the coarsest float dtype of the program."""

CANCELLED = 1e-13
"""What may be rounding errors of float64, as a share of a program's largest value."""

VALUES = 6
"""On so many sets of values the accuracy is measured where a float is not equal to the last digits."""

LARGEST_GRADIENT = 1e4
"""A program with larger ones is badly conditioned: it is not counted."""

LOST = "depends on nothing that could receive it"
"""Why graphs are refused to which eager gives a history that no gradient comes through (`x.zero_()`). The rungs without
a backward of ours do not notice."""

REFUSALS = (UnsupportedGraphError, UnsupportedOpError, CompileError)
"""What says that a graph is not supported, and why. All else that is raised is a fault."""

_STRIDES_OF_THEIR_OWN = re.compile("copysign")
"""Ops whose results have other strides in PyTorch's own tracing than in eager, if what they get is transposed."""

WITHOUT_BACKWARD = ("imported", "functional")

NO_COMPILER = "dynamo"
"""TorchDynamo's graph in eager: what differs there is not ours."""


class _DynamoError(Exception):
    """TorchDynamo cannot run a program, or its graph raises in eager."""


class Outcome(StrEnum):
    """What became of a program on a rung."""

    AGREES = "agrees"
    DIFFERS = "differs"
    RAISES = "raises"
    REFUSED = "refused"
    DYNAMO = "dynamo"


@dataclass(frozen=True)
class Verdict:
    """The outcome and what it is about."""

    outcome: Outcome
    reason: str = ""


class RefusedLater(Exception):
    """The backward raises, where eager's does not: it computes values again from an argument that was written since."""


class NotUsable(Exception):
    """Eager itself raises, or the program says nothing: another one is drawn."""


@dataclass
class _Differences:
    """What is wrong for certain, and floats that are not equal to the last digits."""

    certain: list[str] = field(default_factory=list)
    inexact: list[str] = field(default_factory=list)


def check(program: Program, rungs: Sequence[str]) -> dict[str, Verdict]:
    """The verdict of every rung. NotUsable if eager does not run the program."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _Check(program, rungs).verdicts()


class _OneTrace:
    """TorchDynamo's backend: compiles each graph on every rung; `rung` is the one that answers calls."""

    def __init__(self, rungs: Sequence[str], options: Options):
        self.rungs = rungs
        self.options = options
        self.rung = NO_COMPILER

    def __call__(self, gm: fx.GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
        calls: dict[str, Callable[..., Any]] = {NO_COMPILER: gm.forward}
        for rung in self.rungs:
            calls[rung] = self._compiled(rung, gm, example_inputs)
        return lambda *arguments: calls[self.rung](*arguments)

    def _compiled(self, rung: str, gm: fx.GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
        try:
            return compile_graph(gm, example_inputs, lookup_backend(rung), self.options)
        except CompilationError as error:
            refusal = error
        if "it would run on the host" in str(refusal):
            before = counters["graphs.eager"]
            options = replace(self.options, fallback="eager")
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                call = compile_graph(gm, example_inputs, lookup_backend(rung), options)
            if counters["graphs.eager"] == before:
                return call
            refusal = next(
                (CompilationError(text) for w in caught if LOST in (text := str(w.message))), refusal
            )
        return _raises(refusal)


def _raises(error: Exception) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        raise error

    return call


class _Check:
    """One program: eager's runs, and one compiled function for all rungs."""

    def __init__(self, program: Program, rungs: Sequence[str]):
        self.program = program
        self.rungs = rungs
        self.expected = _eager(program)
        self.trace = _OneTrace(rungs, Options(fallback="error", partitioner=program.partitioner))
        self.compiled = torch.compile(
            program.executable()[0], backend=self.trace, fullgraph=True, dynamic=program.dynamic
        )
        self.resized: tuple[Program, Observation] | None = None
        if program.dynamic:
            with suppress(NotUsable):
                self.resized = program.resized(), _eager(program.resized())

    def verdicts(self) -> dict[str, Verdict]:
        """See `check`."""
        try:
            wrong = self.differences(NO_COMPILER)
        except _DynamoError as error:
            return dict.fromkeys(self.rungs, Verdict(Outcome.DYNAMO, one_line(error)))
        if wrong:
            return dict.fromkeys(self.rungs, Verdict(Outcome.DYNAMO, wrong[0]))
        return {rung: self.verdict(rung) for rung in self.rungs}

    def verdict(self, rung: str) -> Verdict:
        try:
            wrong = self.differences(rung)
        except Exception as error:  # noqa: BLE001  (a refusal, or a finding)
            cause = _refusal(error)
            if cause is not None:
                return Verdict(Outcome.REFUSED, f"{type(cause).__name__}: {one_line(cause)}")
            return Verdict(Outcome.RAISES, f"{type(error).__name__}: {one_line(error)}")
        if not wrong:
            return Verdict(Outcome.AGREES)
        if rung in WITHOUT_BACKWARD:
            refused = check(self.program, ["partitioned"])["partitioned"]
            if LOST in refused.reason:
                return refused
        return Verdict(Outcome.DIFFERS, "\n".join(wrong))

    def differences(self, rung: str) -> list[str]:
        """From eager, with other sizes as well if these are dynamic; floats count if they are less accurate too."""
        wrong = self.differences_of(rung, self.program, self.expected)
        if wrong or self.resized is None:
            return wrong
        return [f"with other sizes, {line}" for line in self.differences_of(rung, *self.resized)]

    def differences_of(self, rung: str, program: Program, expected: Observation) -> list[str]:
        """The same for this program or for that with other sizes."""
        run = self.run(rung, program, 0)
        if run.refusal is not None and program.partitioner != "save-all" and _shares_inputs(expected):
            raise RefusedLater(one_line(run.refusal))
        found = compare_runs(run, expected, program.text())
        if found.certain or not found.inexact:
            return found.certain
        return self.inaccuracies(rung, program, found.inexact)

    def run(self, rung: str, program: Program, values: int) -> Observation:
        """The compiled function, on the arguments of a program."""
        self.trace.rung = rung
        function, make = self.compiled, program.executable()[1](values)
        try:
            return _run(program, function, make)
        except Exception as error:
            if rung == NO_COMPILER:
                raise _DynamoError(one_line(error)) from error
            raise

    def inaccuracies(self, rung: str, program: Program, inexact: list[str]) -> list[str]:
        """The lines, if they are not only another order of roundings."""
        runs = []
        for values in range(VALUES):
            try:
                eager, exact = _eager(program, values), _eager(program, values, exact=True)
            except NotUsable:
                continue
            found = self.run(rung, program, values)
            named = [_floats(seen) for seen in (found, eager, exact)]
            if all(seen.keys() == named[0].keys() for seen in named):
                runs.append((named[0], named[1], {k: v.double() for k, v in named[2].items()}))
        try:
            assert_as_accurate(runs, FLOORS[self.program.coarsest])
        except AssertionError as error:
            if self.program.coarsest == torch.float64 and self.agrees_in_single(rung, runs):
                return []
            return [str(error), *inexact]
        return []

    def agrees_in_single(self, rung: str, runs: list[Any]) -> bool:
        """Whether float32 tells that eager is as inexact: in float64 nothing tells eager's own rounding errors."""
        for found, _, exact in runs:
            scale = max(float(t.abs().max()) for t in exact.values() if t.numel())
            if any(t.numel() and (found[k] - t).abs().max() > CANCELLED * scale for k, t in exact.items()):
                return False
        try:
            return check(self.program.single(), [rung])[rung].outcome is Outcome.AGREES
        except NotUsable:
            return False


def _run(program: Program, function: Callable[..., Any], make: Make) -> Observation:
    """A function called as a program says."""
    return observe(in_mode(program.caller, function), make, program.afterwards, program.calls)


def _eager(program: Program, values: int = 0, exact: bool = False) -> Observation:
    """A run of a program itself. NotUsable if it raises, or gives gradients out of bounds."""
    function, make = program.executable(exact)
    try:
        seen = _run(program, function, make(values))
    except Exception as error:
        raise NotUsable(f"eager raises {error}") from error
    if seen.refusal is not None:
        raise NotUsable(f"eager's backward raises {seen.refusal}")
    gradients = [g.value.abs().max() for g in seen.gradients if g and g.value.numel()]
    if not all(g <= LARGEST_GRADIENT for g in gradients):
        raise NotUsable("a gradient is large or not finite")
    return seen


def _shares_inputs(seen: Observation) -> bool:
    """Whether a caller who writes the outputs writes arguments."""
    return any("input" in place for fact in seen.outputs for place in (fact.same_as, *fact.memory))


def _refusal(error: Exception) -> Exception | None:
    """The reason for which a graph or a call is refused on purpose; None for any other error."""
    if isinstance(error, RefusedLater):
        return error
    if not isinstance(error, CompilationError):
        return None
    cause = error.__cause__
    if isinstance(cause, PassError):
        cause = cause.__cause__
    if cause is None:
        return error  # a call that compiled code does not cover
    return cause if isinstance(cause, REFUSALS) else None


def compare_runs(found: Observation, expected: Observation, text: str) -> _Differences:
    """Everything that the oracle sees of the program with this text.

    Except for what a write through `.data` does: eager counts none, so its backward reads what was written later.
    """
    differences = _Differences()
    if found.refusal is not None:
        differences.certain.append(f"the backward, or a write before it, raises: {one_line(found.refusal)}")
        return differences
    if found.structure != expected.structure:
        differences.certain.append("containers or constants differ")
        return differences

    def judge(have: torch.Tensor, want: torch.Tensor, where: str) -> None:
        if have.shape != want.shape or have.dtype != want.dtype or not want.is_floating_point():
            close(have, want, where)
            return
        try:
            close(have, want, where)
        except AssertionError as error:
            differences.inexact.append(str(error))

    for kind in KINDS:
        have, wanted = getattr(found, f"{kind}s"), getattr(expected, f"{kind}s")
        if len(have) != len(wanted):
            differences.certain.append(f"{len(have)} {kind}s, in eager {len(wanted)}")
        if kind == "gradient" and ".data" in text:
            continue
        for index, (fact, want) in enumerate(zip(have, wanted, strict=False)):
            try:
                compare(_normal(fact, text), _normal(want, text), f"{kind} {index}", judge)
            except AssertionError as error:
                differences.certain.append(str(error))
    return differences


def _normal(fact: TensorFacts | None, text: str) -> TensorFacts | None:
    """Without what says nothing: strides over one element or where PyTorch's own tracing is not like eager, and the
    base of a view of what `detach` returned, which no caller holds.
    """
    if fact is None:
        return None
    sizes = fact.value.shape
    strides = tuple(s if size > 1 else 1 for s, size in zip(fact.strides, sizes, strict=True))
    strides = strides if fact.value.numel() and not _STRIDES_OF_THEIR_OWN.search(text) else ()
    return replace(fact, strides=strides, base="" if "detach" in text else fact.base)


def _floats(seen: Observation) -> dict[str, torch.Tensor]:
    """The float tensors of a run, by name."""
    return {
        f"{kind} {index}": fact.value
        for kind in KINDS
        for index, fact in enumerate(getattr(seen, f"{kind}s"))
        if fact is not None and fact.value.is_floating_point()
    }


def one_line(error: object) -> str:
    return " ".join(str(error).split())[:300]
