# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""explain(): what its fields say of programs whose graphs, host ops, saved values and breaks are known."""

import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import flambeau
from flambeau.frontend.explaining.picture import readable_bytes


class Block(nn.Module):
    """A norm, a linear layer and tanh, with a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.tanh(self.linear(self.norm(x)))


def line_of(function: Callable[..., Any], text: str) -> str:
    """`file:line` of the line of this file, from `function` on, that holds `text`."""
    lines = Path(__file__).read_text().splitlines()
    start = function.__code__.co_firstlineno
    return f"{__file__}:{next(n for n in range(start, len(lines)) if text in lines[n]) + 1}"


def with_break(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    h = torch.tanh(x @ w)
    torch._dynamo.graph_break()
    return h.sin() * 2


def test_graphs_breaks_and_seconds() -> None:
    w = torch.randn(4, 3, requires_grad=True)
    found = flambeau.explain(with_break)(torch.randn(2, 4), w)
    first, second = found.graphs
    assert first.source == line_of(with_break, "tanh") and second.source == line_of(with_break, "sin")
    assert first.graph_break is not None and second.graph_break is None
    assert found.graph_breaks == (first.graph_break,)
    assert first.graph_break.source == line_of(with_break, "graph_break()")
    assert (first.failure, second.failure, first.host) == ("", "", ())
    names = [name for name, _ in first.seconds]
    assert (
        names.index("capture") < names.index("functionalize") < names.index("partition") < names.index("iree")
    )
    assert all(seconds >= 0 for _, seconds in first.seconds)
    assert "--iree-llvmcpu-target-cpu=host" in first.flags and first.rung.startswith("O")
    text = str(found)
    assert "with_break: 2 graphs, 1 graph break, 0 in eager" in text
    assert first.graph_break.source in text.replace("\n", "") or "test_explain.py" in text


@pytest.mark.parametrize("dynamic", [False, True])
def test_saved_values_are_those_of_this_call(dynamic: bool) -> None:
    def f(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.tanh(torch.exp(x) @ w).sum()

    w = torch.randn(4, 3, requires_grad=True)
    options = {"partitioner": "save-all"}
    for size in (5, 7):
        found = flambeau.explain(f, dry_run=True, dynamic=dynamic, options=options)(torch.randn(size, 4), w)
        (graph,) = found.graphs
        saved = {(v.name, v.kind, v.shape, v.dtype, v.bytes) for v in graph.saved}
        assert saved == {
            ("flambeau.exp", "computed", (size, 4), "float32", size * 16),
            ("flambeau.tanh", "computed", (size, 3), "float32", size * 12),
        }
        assert graph.saved_bytes == size * 28
        assert graph.saved[0].source == line_of(f, "torch.exp")
        assert graph.recomputed == ()


@pytest.mark.parametrize("dynamic", [False, True])
def test_sizes_behind_a_branch_on_data(dynamic: bool) -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,)).exp().sum()

    x = torch.randn(5, requires_grad=True)
    options = {"partitioner": "save-all"}
    (graph,) = flambeau.explain(f, dry_run=True, dynamic=dynamic, options=options)(x).graphs
    sizes = {(v.shape, v.bytes) for v in graph.saved if v.name == "flambeau.exp"}
    assert sizes == ({(None, None)} if dynamic else {((5,), 20)})


def test_what_the_minimum_cut_computes_again() -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        return torch.sin(torch.cos(torch.exp(x)))

    x = torch.randn(64, requires_grad=True)
    (graph,) = flambeau.explain(f, dry_run=True, options={"partitioner": "min-cut"})(x).graphs
    assert [(v.kind, v.name, v.bytes) for v in graph.saved] == [("argument", "x", 256)]
    assert {r.name for r in graph.recomputed} >= {"flambeau.exp", "flambeau.cos"}
    assert {r.source for r in graph.recomputed} == {line_of(f, "torch.sin")}


def test_ops_on_the_host() -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        h = (x * 2).exp().sin().cos()
        return torch.linalg.pinv(h).exp().sin().cos()

    (graph,) = flambeau.explain(f, dry_run=True)(torch.randn(4, 3)).graphs
    (pinv,) = (op for op in graph.host if "pinv" in op.name)
    assert pinv.reason and pinv.source == line_of(f, "pinv") and not pinv.chosen and pinv.count == 1
    assert "flambeau.exp" in {op.name for op in graph.native}
    assert graph.picture is not None
    assert any("pinv" in "".join(box.host) for box in graph.picture.boxes.values())


def test_what_runs_in_eager_is_explained_not_warned_about() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        options = {"fallback": "error", "pipeline": "no-such-pass"}
        found = flambeau.explain(with_break, dry_run=True, options=options)(
            torch.ones(2, 4), torch.ones(4, 3)
        )
    assert [g.failure.partition(";")[0] for g in found.graphs] == ["unknown pass 'no-such-pass'"] * 2
    assert "2 graphs, 1 graph break, 2 in eager" in str(found) and "unknown pass 'no-such-pass'" in str(found)
    assert all(g.picture is not None for g in found.graphs), "what could be done is shown"


def test_a_dry_run_runs_nothing() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).train()
    state = {k: v.clone() for k, v in module.state_dict().items()}
    x = torch.randn(3, 4)
    before = dict(flambeau.counters)
    found = flambeau.explain(module, dry_run=True)(x)
    assert [g.failure for g in found.graphs] == [""]
    assert "iree" not in dict(found.graphs[0].seconds)
    compilations = {k: n for k, n in flambeau.counters.items() if k.startswith("compile.")}
    assert compilations == {k: n for k, n in before.items() if k.startswith("compile.")}
    for name, value in module.state_dict().items():
        assert torch.equal(value, state[name]), name


@pytest.mark.parametrize("backend", ["imported", "functional", "partitioned", "cuda", "vulkan"])
def test_a_dry_run_needs_no_device(backend: str) -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        return torch.exp(x).sum()

    x = torch.randn(4, requires_grad=True)
    (graph,) = flambeau.explain(f, backend=backend, dry_run=True)(x).graphs
    assert (graph.failure, graph.backend) == ("", backend)
    assert [v.bytes for v in graph.saved] == ([] if backend in ("imported", "functional") else [16])


def test_compiled_functions_and_modules_are_looked_into() -> None:
    module = nn.Linear(3, 2)
    found = flambeau.explain(flambeau.compile(module), dry_run=True)(torch.ones(1, 3))
    assert found.function == "Linear" and [op.name for op in found.graphs[0].native]
    assert (
        flambeau.explain(torch.compile(with_break), dry_run=True)(*torch.ones(2, 1, 1)).function
        == "with_break"
    )


def test_a_dry_run_goes_on_behind_breaks_until_a_value_is_needed() -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        y = x.exp()
        torch._dynamo.graph_break()
        z = y.sin()
        if z.sum() > 0:
            return z
        return z.cos()

    found = flambeau.explain(f, dry_run=True)(torch.ones(3))
    assert len(found.graphs) == 2 and found.graphs[1].picture is not None
    assert "needs the value of a tensor" in found.stopped and line_of(f, "if z.sum()") in found.stopped
    assert found.stopped.partition(" (")[0] in str(found)


def test_what_is_compiled_stays_compiled() -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        return x.exp() + 1

    x = torch.ones(3)
    compiled = flambeau.compile(f, backend="functional")
    compiled(x)
    for _ in range(10):  # more often than TorchDynamo compiles one function
        assert len(flambeau.explain(compiled, backend="functional")(x).graphs) == 1
    graphs = flambeau.counters["graphs"]
    compiled(x)
    assert flambeau.counters["graphs"] == graphs


def test_picture_has_a_row_for_each_place_and_the_bytes_between(tmp_path: Path) -> None:
    module = nn.Sequential(Block(), Block())
    found = flambeau.explain(module, dry_run=True)(torch.randn(5, 8))
    picture = found.graphs[0].picture
    assert picture is not None
    modules = [place[0].rpartition(".")[2] for place in picture.rows]
    assert modules == ["norm", "linear", "0", "norm", "linear", "1"]
    assert {row for half, row in picture.boxes if half == "forward"} == set(range(6))
    assert {row for half, row in picture.boxes if half == "backward"} == set(range(6))
    saved = [e for e in picture.edges if e.saved]
    assert sum(e.bytes or 0 for e in saved) >= found.graphs[0].saved_bytes > 0
    assert all(e.source[0] == "forward" and e.target[0] == "backward" for e in saved)
    down = {(e.source[1], e.target[1]) for e in picture.edges if e.target[0] == "forward"}
    assert {(0, 1), (1, 2), (2, 3), (2, 5)} <= down
    found.svg(tmp_path / "graph.svg")
    root = ElementTree.parse(tmp_path / "graph.svg").getroot()
    texts = ["".join(t.itertext()) for t in root.iter("{http://www.w3.org/2000/svg}text")]
    boxes = list(root.iter("{http://www.w3.org/2000/svg}rect"))
    assert len(boxes) == len(picture.boxes) and {readable_bytes(e.bytes) for e in saved} & set(texts)
    assert any("torch.tanh(self.linear(self.norm(x)))" in t for t in texts)
    found.html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert (
        "<svg" in page
        and "1 graph, 0 graph breaks" in page
        and "http://" not in page.replace("http://www.w3", "")
    )


def test_no_such_picture() -> None:
    found = flambeau.explain(torch.sin, dry_run=True)(torch.ones(3))
    with pytest.raises(IndexError, match="no graph 3"):
        found.svg("nowhere.svg", graph=3)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (5 * 2**20, "5.0 MiB"),
        (2**31, "2.0 GiB"),
        (None, "size known at run time"),
    ],
)
def test_readable_bytes(number: int | None, text: str) -> None:
    assert readable_bytes(number) == text
