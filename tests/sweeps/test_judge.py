# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A sweep that sees no difference is worth nothing: wrong values, gradients, layouts and failures are found."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch

import flambeau
from flambeau.runtime import backends, interpreter
from tests.oracle import assert_as_accurate
from tests.sweeps.cells import Cell, Outcome, Result
from tests.sweeps.judge import _finite, is_close, run_cell

Change = Callable[[str, list[Any]], list[Any]]


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Iterator[Callable[[Change], str]]:
    """Registers a backend that interprets, then lets `change(function name, results)` spoil the results."""
    name = "spoiled"

    def register(change: Change) -> str:
        @flambeau.register_backend(name=name)
        def spoiled(module: Any, signatures: Any) -> dict[str, Callable[..., Sequence[Any]]]:
            whole = interpreter.Module(module)

            def function(part: str) -> Callable[..., Sequence[Any]]:
                return lambda *arguments: change(part, list(whole.function(part)(*arguments)))

            return {part: function(part) for part in signatures}

        return name

    yield register
    del backends._REGISTRY[name]


def run(entry: str, backend: str, dtype: str = "float32", shapes: str = "static") -> Result:
    return run_cell(Cell("op_db", entry, dtype, 0, shapes, backend))


def unchanged(part: str, results: list[Any]) -> list[Any]:
    return results


def test_right_is_native(backend: Callable[[Change], str]) -> None:
    result = run("sin", backend(unchanged))
    assert (result.forward, result.backward) == (Outcome.NATIVE, Outcome.NATIVE), result.reason


def test_wrong_values(backend: Callable[[Change], str]) -> None:
    result = run("sin", backend(lambda part, results: [r * 1.0001 for r in results]))
    assert result.forward is Outcome.WRONG
    assert "output 0" in result.reason


def test_less_accurate_than_eager(backend: Callable[[Change], str]) -> None:
    result = run("matmul", backend(lambda part, results: [r * (1 + 1e-5) for r in results]))
    assert result.forward is Outcome.WRONG
    assert "allowed" in result.reason


@pytest.mark.parametrize(("factor", "forward"), [(1 + 2e-15, Outcome.NATIVE), (1 + 1e-12, Outcome.WRONG)])
def test_float64_is_judged_by_what_rounding_of_the_inputs_does(
    backend: Callable[[Change], str], factor: float, forward: Outcome
) -> None:
    result = run("atanh", backend(lambda part, results: [r * factor for r in results]), "float64")
    assert result.forward is forward, result.reason


def test_wrong_gradients(backend: Callable[[Change], str]) -> None:
    name = backend(lambda part, results: results if part == "forward" else [-r for r in results])
    result = run("sin", name)
    assert (result.forward, result.backward) == (Outcome.NATIVE, Outcome.WRONG)


def test_values_that_were_compiled_in(backend: Callable[[Change], str]) -> None:
    first: list[Any] = []

    def remember(part: str, results: list[Any]) -> list[Any]:
        first[:] = first or [r.clone() for r in results]
        return [r.clone() for r in first] if part == "forward" else results

    assert run("neg", backend(remember), dtype="float64").forward is Outcome.WRONG


def test_integers_are_compared_exactly(backend: Callable[[Change], str]) -> None:
    name = backend(lambda part, results: [r + 1 for r in results])
    assert run("add", name, dtype="int64").forward is Outcome.WRONG


def test_a_graph_that_is_left_to_eager(backend: Callable[[Change], str]) -> None:
    def refuse(part: str, results: list[Any]) -> list[Any]:
        raise AssertionError("not reached")

    result = run("view_as_complex", backend(refuse))
    assert result.forward is Outcome.EAGER
    assert "complex" in result.reason


def test_an_exception_at_run_time(backend: Callable[[Change], str]) -> None:
    def fail(part: str, results: list[Any]) -> list[Any]:
        raise RuntimeError("the device is gone")

    result = run("sin", backend(fail))
    assert result.forward is Outcome.ERROR
    assert "the device is gone" in result.reason


def test_random_entries_on_a_stage_with_bits_of_its_own(backend: Callable[[Change], str]) -> None:
    assert run("bernoulli", backend(unchanged)).forward is Outcome.NATIVE


def test_random_entries_with_other_bits(backend: Callable[[Change], str]) -> None:
    assert run("bernoulli", backend(lambda part, results: [1 - r for r in results])).forward is Outcome.WRONG


def test_entries_without_a_sample() -> None:
    assert run_cell(Cell("op_db", "sin", "float32", 1000, "static", "partitioned")).forward is Outcome.NONE


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_modules(mode: str) -> None:
    result = run_cell(Cell("module_db", f"BatchNorm1d.{mode}", "float32", 0, "static", "partitioned"))
    assert (result.forward, result.backward) == (Outcome.NATIVE, Outcome.NATIVE), result.reason


class TestIsClose:
    """Values against eager's."""

    def test_digits(self) -> None:
        eager = torch.tensor([1.0, 2.0, 1e-3])
        assert is_close(eager * (1 + 2e-7), eager, "here")
        assert not is_close(eager * (1 + 1e-5), eager, "here")

    def test_a_small_element_beside_large_ones(self) -> None:
        assert not is_close(torch.tensor([1e6, 0.0]), torch.tensor([1e6, 1e-1]), "here")

    def test_float64_that_went_through_float32(self) -> None:
        eager = torch.tensor([0.1, 0.7], dtype=torch.float64)
        assert not is_close(eager.float().double(), eager, "here")

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_special_values(self, value: float) -> None:
        special = torch.tensor([1.0, value])
        with pytest.raises(AssertionError, match="in eager"):
            is_close(special, torch.tensor([1.0, 2.0]), "here")
        assert is_close(special, special.clone(), "here")

    def test_the_brink_of_overflow(self) -> None:
        eager = torch.tensor([1.0, float("inf")], dtype=torch.float16)
        assert is_close(torch.tensor([1.0, 65504.0], dtype=torch.float16), eager, "here")
        assert not is_close(torch.tensor([1.0, 60000.0], dtype=torch.float16), eager, "here")

    @pytest.mark.parametrize(
        ("truth", "found", "right"), [(3e4, 3e4, True), (3e4, 5e4, False), (9e4, 6e4, False)]
    )
    def test_an_overflow_in_eager_alone(self, truth: float, found: float, right: bool) -> None:
        ours, eager = (torch.tensor([1.0, v], dtype=torch.float16) for v in (found, float("inf")))
        exact = torch.tensor([1.0, truth], dtype=torch.float64)
        run = _finite({"x": ours}, {"x": eager}, {"x": exact})
        with nullcontext() if right else pytest.raises(AssertionError):
            assert_as_accurate([run])
