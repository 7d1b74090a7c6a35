# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs one cell: compiles a sample, compares it with eager, and says what became of it.

A value is right if it is eager's to the last digits, or if over several inputs it is at most twice as far from the same
computation in float64 as eager's own. No tolerance belongs to an entry.
"""

import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch

import flambeau
from flambeau.dialects.calls import host
from flambeau.frontend.journal import Journal, collect_journals
from tests.oracle import FLOOR, KINDS, Make, Observation, assert_as_accurate, compare, observe
from tests.sweeps.cells import FAILURES, Cell, Outcome, Result
from tests.sweeps.databases import UNINITIALISED, NoSample, Subject, load

ULPS = {torch.float64: 16, torch.float32: 16, torch.float16: 2, torch.bfloat16: 2}
"""Units in the last place of a tensor's largest element that are allowed against eager: what another order of
summation makes of a few dozen terms; half-precision results are rounded from float32, so that is one rounding."""

HALF_FLOORS = {name: torch.finfo(getattr(torch, name)).eps for name in ("float16", "bfloat16")}
"""The relative error against float64 that is always allowed: of two roundings, where eager may do with one."""

VARIANTS = 8
"""On how many inputs the accuracy is measured where a value is farther off: one error alone is a matter of luck."""

_FUNCTION = Callable[..., Any]
_Values = Mapping[str, torch.Tensor]


def run_cell(cell: Cell) -> Result:
    """What became of a cell. Raises nothing of the cell's own."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            subject = load(cell.database, cell.entry, getattr(torch, cell.dtype), cell.sample)
            result = _Trial(cell, subject).result()
        except NoSample as error:
            result = Result(Outcome.NONE, Outcome.NONE, str(error))
        finally:
            torch._dynamo.reset()
    return replace(result, seconds=round(time.perf_counter() - start, 2))


@dataclass
class _Differences:
    """From eager: what is wrong for certain, and floats that are not equal to the last digits."""

    certain: list[str] = field(default_factory=list)
    inexact: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        return self.certain + self.inexact

    def __bool__(self) -> bool:
        return bool(self.certain or self.inexact)


@dataclass(frozen=True)
class _Compiled:
    """A compiled function and its runs, one per run of eager; how they ran, and why not natively."""

    function: _FUNCTION
    runs: list[Observation]
    how: Outcome
    reason: str


class _Trial:
    """One cell and its subject."""

    def __init__(self, cell: Cell, subject: Subject):
        self.cell = cell
        self.subject = subject
        self.anything = cell.entry in UNINITIALISED
        try:
            first = self.observe(subject.function, subject.make(True, 0))
        except Exception as error:
            raise NoSample(f"eager raises {_one_line(error)}") from error
        self.has_backward = any(g is not None for g in first.gradients)
        self.runs: dict[bool, list[Observation]] = {}

    def eager(self, requires_grad: bool) -> list[Observation]:
        """Eager's runs: on the sample, and on other values, which tell what is compiled in as a constant."""
        if requires_grad not in self.runs:
            make = self.subject.make
            runs = [self.observe(self.subject.function, make(requires_grad, 0))]
            if not self.anything:
                with suppress(Exception):  # outside the function's domain
                    runs.append(self.observe(self.subject.function, make(requires_grad, 1)))
            self.runs[requires_grad] = runs
        return self.runs[requires_grad]

    def observe(self, function: _FUNCTION, make: Make, seed: int = 0) -> Observation:
        """One run, from a known state of the random numbers."""
        torch.manual_seed(seed)
        return observe(function, make)

    def result(self) -> Result:
        """Both directions: from one compilation if that is native, else the forward once more without gradients."""
        result = self.attempt(requires_grad=True)
        if not self.has_backward or result.forward not in (Outcome.HOST, Outcome.EAGER, *FAILURES):
            return result
        alone = self.attempt(requires_grad=False)
        reasons = [result.reason]
        if alone.forward is not Outcome.NATIVE and alone.reason != result.reason:
            reasons.append(f"forward alone: {alone.reason}")
        forward = result.forward if result.forward in FAILURES else alone.forward
        return Result(forward, result.backward, "\n".join(reasons))

    def attempt(self, *, requires_grad: bool, fullgraph: bool = True) -> Result:
        """Compile and compare once."""
        try:
            compiled = self.compile(self.cell.backend, requires_grad, fullgraph)
        except torch._dynamo.exc.TorchDynamoException as error:
            if fullgraph and not isinstance(error, torch._dynamo.exc.BackendCompilerFailed):
                pieces = self.attempt(requires_grad=requires_grad, fullgraph=False)
                reason = f"TorchDynamo: {_one_line(error)[:160]}"
                if pieces.forward in FAILURES or pieces.forward is Outcome.DYNAMO:
                    return replace(pieces, reason=f"{pieces.reason}\n{reason}")
                return self.both(Outcome.BREAK, requires_grad, reason)
            return self.failure(Outcome.ERROR, requires_grad, fullgraph, _one_line(error))
        except Exception as error:  # noqa: BLE001  (a finding)
            return self.failure(Outcome.ERROR, requires_grad, fullgraph, _one_line(error))
        wrong = self.mistakes(compiled, requires_grad, fullgraph)
        if not wrong:
            return self.both(compiled.how, requires_grad, compiled.reason)
        result = self.failure(Outcome.WRONG, requires_grad, fullgraph, "; ".join(wrong[:3]))
        if result.forward is Outcome.WRONG and all(line.startswith("gradient") for line in wrong):
            return replace(result, forward=compiled.how)
        return result

    def both(self, outcome: Outcome, requires_grad: bool, reason: str) -> Result:
        """The same for both directions, if there are two."""
        return Result(outcome, outcome if requires_grad and self.has_backward else Outcome.NONE, reason)

    def failure(self, outcome: Outcome, requires_grad: bool, fullgraph: bool, reason: str) -> Result:
        """A failure, unless TorchDynamo fails by itself as well."""
        try:
            alone = self.compile(None, requires_grad, fullgraph)
            fails_alone = bool(self.differences(alone.runs, self.eager(requires_grad), requires_grad))
        except Exception:  # noqa: BLE001  (a finding)
            fails_alone = True
        return self.both(Outcome.DYNAMO if fails_alone else outcome, requires_grad, reason)

    def compile(self, backend: str | None, requires_grad: bool, fullgraph: bool) -> _Compiled:
        """Compile and run. Backend None is PyTorch's own "eager": TorchDynamo without a compiler."""
        torch._dynamo.reset()
        flambeau.counters.clear()
        dynamic = self.cell.shapes == "dynamic"
        function = self.subject.function
        if backend is None:
            compiled = torch.compile(function, backend="eager", fullgraph=fullgraph, dynamic=dynamic)
        else:
            compiled = flambeau.compile(function, backend=backend, fullgraph=fullgraph, dynamic=dynamic)
        with warnings.catch_warnings(record=True) as caught, collect_journals() as journals:
            warnings.simplefilter("always", flambeau.FlambeauWarning)
            runs = [
                self.observe(compiled, self.subject.make(requires_grad, variant))
                for variant in range(len(self.eager(requires_grad)))
            ]
        how = _how()
        if how is Outcome.HOST:
            return _Compiled(compiled, runs, how, _on_host(journals))
        reasons = [str(w.message) for w in caught if issubclass(w.category, flambeau.FlambeauWarning)]
        return _Compiled(compiled, runs, how, _reason(reasons))

    # --- Comparison ---------------------------------------------------------------------------------------------------

    def mistakes(self, compiled: _Compiled, requires_grad: bool, fullgraph: bool) -> list[str]:
        """What a compiled function does unlike eager, one line each."""
        found = self.differences(compiled.runs, self.eager(requires_grad), requires_grad)
        if found and self.is_random():
            return self.random_mistakes(compiled, requires_grad, fullgraph)
        if found.inexact and not found.certain:
            if self.subject.exact is not None:
                return self.inaccuracies(compiled.function, requires_grad)
            if self.cell.dtype == "float64":
                return self.beyond_rounded_inputs(compiled.function, requires_grad)
        return found.lines()

    def differences(
        self, found: Sequence[Observation], wanted: Sequence[Observation], requires_grad: bool
    ) -> _Differences:
        """Between runs."""
        differences = _Differences()
        for number, (have, want) in enumerate(zip(found, wanted, strict=True)):
            suffix = "" if number == 0 else " (second call)"
            self._differences_of_run(have, want, requires_grad, suffix, differences)
        return differences

    def _differences_of_run(
        self,
        have: Observation,
        want: Observation,
        requires_grad: bool,
        suffix: str,
        differences: _Differences,
    ) -> None:
        if want.refusal is not None:
            return  # eager has no such gradient
        if have.refusal is not None:
            differences.certain.append(f"gradient: raises {_one_line(have.refusal)}{suffix}")
            return
        if have.structure != want.structure:
            differences.certain.append(f"output: {have.structure}, in eager {want.structure}{suffix}")
            return

        def judge(value: torch.Tensor, wanted: torch.Tensor, where: str) -> None:
            if self.anything:
                assert (value.dtype, value.shape) == (wanted.dtype, wanted.shape), f"{where}: another type"
            elif not is_close(value, wanted, where):
                differences.inexact.append(f"{where}: {_few(value)}, in eager {_few(wanted)}{suffix}")

        for kind in KINDS if requires_grad else ("output", "input"):
            facts, expected = getattr(have, f"{kind}s"), getattr(want, f"{kind}s")
            if len(facts) != len(expected):
                differences.certain.append(f"{kind}: {len(facts)} of them, in eager {len(expected)}")
                continue
            for index, (fact, eager) in enumerate(zip(facts, expected, strict=True)):
                try:
                    compare(fact, eager, f"{kind} {index}", judge)
                except AssertionError as error:
                    differences.certain.append(str(error).partition("\n")[0] + suffix)

    def inaccuracies(self, function: _FUNCTION, requires_grad: bool) -> list[str]:
        """What is less accurate than eager, judged against float64 on several inputs."""
        assert self.subject.exact is not None
        runs = []
        for variant in range(VARIANTS):
            make = self.subject.make(requires_grad, variant)
            try:
                eager = _floats(self.observe(self.subject.function, make), requires_grad)
                exact = _floats(
                    self.observe(self.subject.exact, self.subject.exact_make(variant)), requires_grad
                )
            except Exception:  # noqa: BLE001  (outside the function's domain, or not defined in float64)
                continue
            if eager.keys() == exact.keys():
                runs.append(_finite(_floats(self.observe(function, make), requires_grad), eager, exact))
        if not runs:
            return ["output: differs from eager, and float64 cannot tell who is right"]
        return self.less_accurate(runs)

    def less_accurate(self, runs: Sequence[tuple[_Values, _Values, _Values]]) -> list[str]:
        """The first tensor in which the first of each triple is farther from the third than the second is."""
        try:
            assert_as_accurate(runs, HALF_FLOORS.get(self.cell.dtype, FLOOR))
        except AssertionError as error:
            return [str(error).partition("\n")[0] or "output: not what eager computes in float64"]
        return []

    def beyond_rounded_inputs(self, function: _FUNCTION, requires_grad: bool) -> list[str]:
        """What differs from eager by more than twice what eager's values change by when each input is one unit in the
        last place larger or smaller: no more can be asked of float64, for which there is no better reference."""
        wrong = []
        for variant in range(len(self.eager(requires_grad))):
            make = self.subject.make(requires_grad, variant)
            eager = _floats(self.observe(self.subject.function, make), requires_grad)
            moved = [
                _floats(self.observe(self.subject.function, _rounded_away(make, seed)), requires_grad)
                for seed in range(VARIANTS)
            ]
            for name, value in _floats(self.observe(function, make), requires_grad).items():
                bound = 2 * max(_distance(other[name], eager[name]) for other in moved)
                if (distance := _distance(value, eager[name])) > bound:
                    wrong.append(f"{name}: differs from eager by {distance:.3g}, allowed {bound:.3g}")
        return wrong

    # --- Random entries -----------------------------------------------------------------------------------------------

    def is_random(self) -> bool:
        """Whether eager's results depend on the seed."""
        again = self.observe(self.subject.function, self.subject.make(True, 0), seed=1)
        return bool(self.differences([again], self.eager(True)[:1], True))

    def random_mistakes(self, compiled: _Compiled, requires_grad: bool, fullgraph: bool) -> list[str]:
        """A random entry is right if `imported`, which draws from torch, gives eager's results, and if the backend
        gives those of `functional`, which draws the same bits as every backend and whose gradients are PyTorch's."""
        imported = self.compile("imported", requires_grad, fullgraph)
        first = self.differences(imported.runs, self.eager(requires_grad), requires_grad)
        functional = self.compile("functional", requires_grad, fullgraph)
        against = self.differences(compiled.runs, functional.runs, requires_grad)
        if against.inexact and not against.certain:
            pairs = [
                (_floats(have, requires_grad), _floats(want, requires_grad))
                for have, want in zip(compiled.runs, functional.runs, strict=True)
            ]
            exact = [{name: value.double() for name, value in want.items()} for _, want in pairs]
            against.inexact = self.less_accurate(
                [_finite(have, want, true) for (have, want), true in zip(pairs, exact, strict=True)]
            )
        lines = [f"{line} (at 'imported')" for line in first.lines()]
        return lines + [f"{line} (against 'functional')" for line in against.lines()]


def is_close(found: torch.Tensor, wanted: torch.Tensor, where: str) -> bool:
    """Whether floats are equal to the last digits: to ULPS of the largest, and each by PyTorch's own measure.

    AssertionError if dtype, shape, integers, NaN or infinities differ: these are certainly wrong.
    """
    assert found.dtype == wanted.dtype, f"{where}: {found.dtype}, in eager {wanted.dtype}"
    assert found.shape == wanted.shape, f"{where}: {list(found.shape)}, in eager {list(wanted.shape)}"
    message = f"{where}: {_few(found)}, in eager {_few(wanted)}"
    if not (wanted.is_floating_point() or wanted.is_complex()):
        assert torch.equal(found, wanted), message
        return True
    have, want = _real(found), _real(wanted)
    assert torch.equal(have.isnan(), want.isnan()), message
    overflow = _overflows_in_one(have, want)
    infinite = have.isinf() & ~overflow
    assert torch.equal(have[infinite], want[infinite]), message
    if not torch.equal(infinite, want.isinf() & ~overflow):
        return False  # an intermediate value may have overflowed in eager alone; float64 tells
    finite = want.isfinite() & ~overflow
    have, want = have[finite], want[finite]
    if torch.equal(have, want):
        return True
    bound = ULPS[want.dtype] * torch.finfo(want.dtype).eps * want.double().abs().max()
    return bool((have.double() - want.double()).abs().max() <= bound) and _close_elements(have, want)


def _overflows_in_one(have: torch.Tensor, want: torch.Tensor) -> torch.Tensor:
    """Where one is infinite and the other all but: a last digit decides that."""
    info = torch.finfo(want.dtype)
    large = (1 - 4 * info.eps) * info.max
    alike = (have.abs() >= large) & (want.abs() >= large) & (have.sign() == want.sign())
    return alike & (have.isinf() != want.isinf())


def _close_elements(have: torch.Tensor, want: torch.Tensor) -> bool:
    try:
        torch.testing.assert_close(have, want)
    except AssertionError:
        return False
    return True


def _real(tensor: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _floats(run: Observation, requires_grad: bool) -> dict[str, torch.Tensor]:
    """The floating-point values of a run by name."""
    return {
        f"{kind} {index}": _real(facts.value)
        for kind in (KINDS if requires_grad else ("output", "input"))
        for index, facts in enumerate(getattr(run, f"{kind}s"))
        if facts is not None and (facts.value.is_floating_point() or facts.value.is_complex())
    }


def _rounded_away(make: Make, seed: int) -> Make:
    """Arguments of which each float64 is the next larger or the next smaller number."""

    def build() -> tuple[Sequence[torch.Tensor], Sequence[Any]]:
        leaves, arguments = make()
        generator = torch.Generator().manual_seed(seed)
        storages = {leaf.untyped_storage().data_ptr(): leaf for leaf in leaves if leaf.dtype == torch.float64}
        for leaf in storages.values():
            whole = torch.empty(0, dtype=leaf.dtype).set_(leaf.untyped_storage())
            upwards = torch.randint(0, 2, whole.shape, generator=generator).double() * 2 - 1
            whole.copy_(torch.nextafter(whole, upwards * torch.inf))
        return leaves, arguments

    return build


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference of elements; those that are equal or both NaN do not count."""
    differs = (one != other) & ~(one.isnan() & other.isnan())
    return (one - other)[differs].abs().max().item() if differs.any() else 0.0


def _finite(found: _Values, eager: _Values, exact: _Values) -> tuple[_Values, _Values, _Values]:
    """The same with 0 where eager or float64 are not finite and ours agrees with eager.

    Where an intermediate value overflowed in eager alone, ours is compared with the true value, rounded. Where ours is
    not finite otherwise, or eager's is not, ours becomes NaN, which is never right.
    """
    cleaned: tuple[dict[str, torch.Tensor], ...] = ({}, {}, {})
    for name, want in eager.items():
        have, true = found[name], exact[name]
        left_out = ~(want.isfinite() & true.isfinite())
        left_out &= (have == want) | (have.isnan() & want.isnan())
        left_out |= _overflows_in_one(have, want)
        want = torch.where(want.isinf() & have.isfinite(), true.to(want.dtype), want)
        have = have.masked_fill(have.isfinite() != want.isfinite(), torch.nan)
        for values, tensor in zip(cleaned, (have, want, true), strict=True):
            values[name] = tensor.masked_fill(left_out, 0)
    return cleaned[0], cleaned[1], cleaned[2]


def _few(tensor: torch.Tensor) -> str:
    """The first elements."""
    values = tensor.detach().flatten()[:4].tolist()
    return str([round(v, 6) if isinstance(v, float) else v for v in values])


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:600]


def _how() -> Outcome:
    counters = flambeau.counters
    if not counters["graphs"]:
        return Outcome.NONE  # TorchDynamo computed it by itself
    if counters["graphs.eager"] or counters["calls.eager"]:
        return Outcome.EAGER
    return Outcome.HOST if counters["ops.fallback"] else Outcome.NATIVE


def _on_host(journals: Sequence[Journal]) -> str:
    """Which ops run on the host, and why."""
    found: dict[str, None] = {}
    for stage in (stage for journal in journals for stage in journal.stages if stage.name == "split"):
        module = stage.module()
        with module.context:
            found.update((f"{op.name}: {op.reason}"[:200], None) for op in host.ops_on_host(module))
    return "; ".join(found)


_PREFIX = re.compile(r"graph \d+ runs in eager, because it cannot be compiled for backend '[^']*': ")


def _reason(messages: Sequence[str]) -> str:
    """Why it did not compile, without what is the same in every message."""
    lines = [_PREFIX.sub("", m).replace("\n", " ") for m in messages]
    return " | ".join(
        dict.fromkeys(line.partition(' compile with options={"fallback"')[0][:400] for line in lines)
    )
