# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The benchmark of models: when a result counts, how models are checked and timed, and the page made of results."""

from xml.etree import ElementTree

import pytest
import torch

models = pytest.importorskip("benchmarks.models", reason="needs a checkout")
saved_bytes = pytest.importorskip("benchmarks.saved_bytes", reason="needs a checkout")
compile_time = pytest.importorskip("benchmarks.compile_time", reason="needs a checkout")

pytestmark = pytest.mark.checkout

TIMES = {"eager": 4.0, "inductor": 2.0, "control": 2.1, "flambeau": 1.0}


def result(**changes: object) -> "models.Result":
    given: dict[str, object] = {"milliseconds": dict(TIMES), "error": {"flambeau": 1.5}, "add": (0.05, 0.06)}
    given["first_call"] = {"inductor": 9.0, "flambeau": 3.0}
    return models.Result("mlp", "inference", "default", **{**given, **changes})


def test_only_a_quiet_machine_counts() -> None:
    assert result().verdict == "ok"
    assert result(add=(0.05, 8.0)).verdict == "discard: an add took 8.00 ms"
    assert result(milliseconds={**TIMES, "control": 1.0}).verdict == "discard: inductor over inductor 2.00"
    assert result(milliseconds={"eager": 1.0, "flambeau": 1.0}).verdict == "ok"


def test_the_page_leaves_out_what_does_not_count() -> None:
    slow = result(milliseconds={**TIMES, "flambeau": 8.0})
    discarded = result(milliseconds={**TIMES, "flambeau": 0.001}, add=(9.0, 9.0))
    failed = result(milliseconds={"eager": 1.0}, failures={"flambeau": "CompilationError: a | b"})
    page = models.page({"CPU": "a chip"}, [result(), slow, discarded, failed])
    assert "* CPU: a chip" in page and "## Training" not in page
    assert "| mlp | 4 | 2 | 1 | 4.00 | 2.00 | 9.0 | 3.0 | 1.50 |  |" in page
    assert "Over inductor: geometric mean 0.71, worst 0.25, best 2.00, of 2 models." in page
    assert "discard: an add took 9.00 ms" in page and r"flambeau: CompilationError: a \| b" in page
    assert max(map(len, page.splitlines())) < 200


@pytest.mark.parametrize("name", models.MODELS)
@pytest.mark.parametrize("mode", models.MODES)
def test_every_model_runs_in_eager(name: str, mode: str) -> None:
    model = models.MODELS[name]
    (batch,) = model.batches((1,))
    with torch.device("meta"):
        module = model.build().train(mode == "training")
    batch = type(batch)(*(tuple(t.to("meta") for t in part) for part in batch))
    values = models.Contender(model, module, batch, mode, "eager").values()
    assert values and all(t.numel() for t in values.values())


def test_a_contender_is_timed_and_checked() -> None:
    model = models.MODELS["tiny-mlp"]
    (batch,) = model.batches((2,))
    contender = models.Contender(model, model.module(train=True), batch, "training", "eager")
    values = contender.values()
    assert {"output 0", "0.weight", "6.bias"} <= values.keys()
    times = models.interleaved({"a": contender.call, "b": contender.call}, 3)
    assert times.keys() == {"a", "b"} and all(0 < t < 1e3 for t in times.values())


def test_errors_are_counted_in_eagers_own() -> None:
    exact = {"a": torch.tensor([1.0, -4.0], dtype=torch.float64), "b": torch.zeros(2, dtype=torch.float64)}
    eager = {"a": torch.tensor([1.0, -4.0 - 4e-5]), "b": torch.zeros(2)}
    found = {"a": torch.tensor([1.0 + 8e-5, -4.0]), "b": torch.zeros(2)}
    assert models.error_ratio(found, eager, exact) == pytest.approx(2, rel=0.01)
    assert models.error_ratio(eager, eager, exact) == pytest.approx(1)
    assert models.error_ratio({**found, "b": torch.tensor([0.0, 1.0])}, eager, exact) > 1e4
    wrong = models.error_ratio({**found, "a": torch.tensor([torch.nan, 0])}, eager, exact)
    assert not wrong <= models.LARGEST_ERROR


@pytest.mark.slow
@pytest.mark.parametrize("name", saved_bytes.NAMES)
def test_no_more_bytes_are_saved_than_by_pytorchs_minimum_cut(name: str) -> None:
    model = models.MODELS[name]
    ours, its = saved_bytes.flambeau_saves(model), saved_bytes.pytorch_saves(model, decompositions=None)
    assert 0 < ours["min-cut"].bytes <= min(its.bytes, ours["save-all"].bytes)


def test_the_plot_of_compile_times() -> None:
    timings = [compile_time.Timing(ops, (("autodiff", ops / 1000),)) for ops in (1000, 2000)]
    assert "| 2000 | 2.00 | 1000 |" in compile_time.page(timings)
    root = ElementTree.fromstring(compile_time.plot(timings))
    assert [e.text for e in root if e.tag.endswith("text")] == ["1000", "1.0 s", "2000", "2.0 s"]
