# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""torch.cond and PyTorch's loops: values, gradients, and what may stand in a branch or body, as in eager."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._higher_order_ops import scan, while_loop
from torch._higher_order_ops.map import map as torch_map
from torch.testing._internal.hop_db import hop_db
from torch.utils import _pytree as pytree

import flambeau
from tests.oracle import assert_like_eager

Leaves = Sequence[torch.Tensor]


def two_results(x: torch.Tensor, w: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """A tensor that both branches close over, and results of two shapes."""
    a, b = torch.cond(
        positive, lambda x: (x.sin() @ w, x.sum()), lambda x: (2 * (x.cos() @ w), w.mean()), (x,)
    )
    return a * b


def one_depends(x: torch.Tensor, w: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Each branch ignores one of the operands; its gradient there is zero."""
    return torch.cond(positive, lambda x, w: x * 2, lambda x, w: w.exp() + 1, (x, w))


def nested(x: torch.Tensor, w: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """A branch that chooses again, by what it computed."""

    def inner(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > w.sum(), lambda x: x * w, lambda x: x - w, (x,))

    return torch.cond(positive, inner, lambda x: x.sigmoid(), (x,)).tanh()


def writes_inside(x: torch.Tensor, w: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Writes to what a branch made itself."""

    def update(x: torch.Tensor) -> torch.Tensor:
        h = x * 2
        h[0].mul_(w[0])
        return h.add_(1)

    return torch.cond(positive, update, lambda x: x.clone(), (x,))


def detached(x: torch.Tensor, w: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """A factor without a history in one branch."""
    return torch.cond(positive, lambda x: x * x.detach(), lambda x: x * w, (x,))


def quiet(x: torch.Tensor, w: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """A branch that turns grad mode off for a part."""

    def partly(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            s = x.exp()
        return x * s * w

    return torch.cond(positive, partly, lambda x: x + w, (x,))


def then_the_host(x: torch.Tensor, w: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """What a branch computed goes on to the host: its history has to be known there."""
    y = torch.cond(positive, lambda x: x * w, lambda x: x + w, (x,))
    return torch.linalg.inv(y @ y.t() + 3).contiguous()


def one_element(x: torch.Tensor, w: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """A predicate with a dim, and numbers of the host in a branch."""
    return torch.cond(positive.reshape(1), lambda x: x.relu(), lambda x: x @ w + x.shape[0], (x,))


class Steep(torch.autograd.Function):
    """sin(x), with a derivative that is not its own."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.sin()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return 5 * g


def own_derivative(x: torch.Tensor, w: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """A custom autograd.Function in a branch."""
    return torch.cond(positive, lambda x: Steep.apply(x) * w, lambda x: x + w, (x,))


def on_the_host(x: torch.Tensor, w: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """A branch with an op that the dialect lacks."""
    return torch.cond(
        positive, lambda x: torch.linalg.inv(x @ x.t() + 3 * w).contiguous(), lambda x: x @ w, (x,)
    )


CASES: dict[str, Callable[..., torch.Tensor]] = {
    f.__name__: f
    for f in (
        two_results,
        one_depends,
        nested,
        writes_inside,
        detached,
        one_element,
        own_derivative,
        quiet,
        then_the_host,
        on_the_host,
    )
}


def arguments(positive: bool) -> Callable[[], tuple[Leaves, Sequence[Any]]]:
    def make() -> tuple[Leaves, Sequence[Any]]:
        generator = torch.Generator().manual_seed(0)
        x, w = (torch.randn(3, 3, generator=generator).requires_grad_() for _ in range(2))
        return [x, w], [x, w, torch.tensor(positive)]

    return make


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_choice_is_eagers(name: str, positive: bool) -> None:
    """Each branch is taken by what was compiled for both."""
    fallback = "eager" if "host" in name else "error"
    assert_like_eager(CASES[name], arguments(positive), fallback=fallback, afterwards=["nothing"])


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_compiled_choice_is_native(dynamic: bool) -> None:
    torch._dynamo.reset()
    flambeau.counters.clear()
    compiled = flambeau.compile(
        two_results, backend="cpu", fullgraph=True, dynamic=dynamic, options={"fallback": "error"}
    )
    for positive in (True, False):
        assert_like_eager(
            two_results, arguments(positive), compiled=compiled, ulps=64, afterwards=["nothing"]
        )
    assert flambeau.counters["graphs"] == 1


@pytest.mark.parametrize("positive", [True, False])
def test_a_branch_may_run_on_the_host(positive: bool) -> None:
    flambeau.counters.clear()
    make = arguments(positive)
    assert_like_eager(on_the_host, make, backend="cpu", fallback="eager", ulps=64, afterwards=["nothing"])
    assert flambeau.counters["graphs.eager"] == 0
    assert flambeau.counters["ops.fallback"] > 0


class Routed(nn.Module):
    """A layer chosen by the data."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.mean() > 0, self.small, self.large, (x,)) + x


def test_a_module_trains_through_both_branches() -> None:
    torch._dynamo.reset()
    batches = [torch.full((2, 4), s) + torch.randn(2, 4) / 9 for s in (1.0, -1.0, 0.5)]
    losses = {}
    for backend in ("eager", "cpu"):
        torch.manual_seed(0)
        model = Routed()
        step = (
            model
            if backend == "eager"
            else flambeau.compile(model, backend=backend, options={"fallback": "error"})
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        losses[backend] = []
        for batch in batches:
            optimizer.zero_grad()
            loss = step(batch).square().mean()
            loss.backward()
            optimizer.step()
            losses[backend].append(loss.item())
    assert losses["cpu"] == pytest.approx(losses["eager"], rel=1e-6)


class Noisy(nn.Module):
    """Dropout outside, in one branch and after it."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor, positive: torch.Tensor) -> tuple[torch.Tensor, ...]:
        before = self.drop(x)
        chosen = torch.cond(positive, lambda x: self.drop(x) * 3, lambda x: x * torch.rand_like(x), (x,))
        return before, chosen, self.drop(x)


@pytest.mark.parametrize("positive", [True, False])
def test_random_numbers_in_a_branch(positive: bool) -> None:
    """All stages draw alike, each draw is another, and the derivative sees what the forward drew."""
    x = torch.arange(1.0, 257).requires_grad_()
    drawn = {}
    for rung in ("imported", "functional", "partitioned", "cpu"):
        torch._dynamo.reset()
        model = Noisy()
        compiled = flambeau.compile(model, backend=rung, fullgraph=True, options={"fallback": "error"})
        torch.manual_seed(0)
        factors = []
        for y in compiled(x, torch.tensor(positive)):
            (gradient,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
            torch.testing.assert_close(gradient * x, y)
            factors.append(gradient)
        if rung != "imported":
            drawn[rung] = torch.stack(factors)
            torch.testing.assert_close(drawn[rung], drawn["functional"])
        assert set(factors[0].tolist()) == {0.0, 2.0}
        if positive:
            assert set(factors[1].tolist()) == {0.0, 6.0}
            assert 40 < sum(factors[1] != 3 * factors[0]) < 216
        else:
            assert len(factors[1].unique()) > 250
        assert 40 < sum(factors[2] != factors[0]) < 216
    torch._dynamo.reset()
    evaluated = flambeau.compile(Noisy().eval(), backend="functional", options={"fallback": "error"})
    torch.testing.assert_close(evaluated(x, torch.tensor(True))[1], 3 * x)


# --- Loops -----------------------------------------------------------------------------------------------------------


def repeated(x: torch.Tensor, w: torch.Tensor, count: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """As often as a tensor says; the body closes over another one."""
    return while_loop(lambda i, y: i < count, lambda i, y: (i + 1, (y @ w).sin()), (torch.tensor(0), x * 2))


def rows(x: torch.Tensor, w: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Each row of two tensors, with writes to what the body made."""
    a, b = torch_map(lambda both, w: (both[0].cos().add_(1) @ w, both[1].sum()), (x * 2, x + 1), w)
    return a.exp() + b[:, None]


def carried(x: torch.Tensor, w: torch.Tensor, count: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """From the last column to the first."""

    def combine(carry: torch.Tensor, column: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (carry @ w).sin() + column, carry * column

    last, all_of_them = scan(combine, x[0].clone(), x * 2, dim=1, reverse=True)
    return last, all_of_them.exp()


def partial_sums(x: torch.Tensor, w: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Combined with an associative function."""
    scanned = torch.ops.higher_order.associative_scan(lambda a, b: [a + b + a * b], [x * w], ())
    return scanned[0].sigmoid()


def in_each_other(x: torch.Tensor, w: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """A loop and a choice in a loop."""

    def row(y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        summed = torch_map(lambda a, w: (a * w).sum(), y, w)
        return torch.cond(summed.sum() > 0, lambda s: s.sin(), lambda s: s * 2, (summed,))

    return torch_map(row, x.exp(), w) * 2


def in_a_branch(x: torch.Tensor, w: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """A loop in a choice."""
    return torch.cond(
        count > 1, lambda x, w: torch_map(lambda a, w: a.sin() @ w, x, w), lambda x, w: x + w, (x, w)
    )


def quietly(x: torch.Tensor, w: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """A body without a history in one part."""

    def body(a: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            s = a.exp()
        return a * s

    return torch_map(body, x * w).cos()


def own_derivative_inside(x: torch.Tensor, w: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """A custom autograd.Function in a body."""
    return torch_map(lambda a: Steep.apply(a) * 2, x * w).cos()


def op_of_the_host_inside(x: torch.Tensor, w: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """A body with an op that the dialect lacks."""
    return torch_map(lambda a: torch.special.i0(a) * 2, x * w).cos()


LOOPS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        repeated,
        rows,
        carried,
        partial_sums,
        in_each_other,
        in_a_branch,
        quietly,
        own_derivative_inside,
        op_of_the_host_inside,
    )
}


def with_count(count: int) -> Callable[[], tuple[Leaves, Sequence[Any]]]:
    def make() -> tuple[Leaves, Sequence[Any]]:
        leaves, arguments_ = arguments(True)()
        return leaves, [*arguments_[:2], torch.tensor(count)]

    return make


@pytest.mark.parametrize(
    ("name", "rung"),
    [*((name, "partitioned") for name in LOOPS), ("rows", "imported"), ("rows", "functional")],
)
def test_a_loop_runs_on_the_host(name: str, rung: str) -> None:
    flambeau.counters.clear()
    assert_like_eager(
        LOOPS[name],
        with_count(2),
        backend=rung,
        fallback="eager",
        ulps=64,
        afterwards=["nothing"],
        dynamic=False,
    )
    assert flambeau.counters["graphs.eager"] == 0
    assert flambeau.counters["ops.fallback"] > 0


@pytest.mark.parametrize(
    "name",
    ["rows", *(pytest.param(n, marks=pytest.mark.slow) for n in ("repeated", "carried", "in_each_other"))],
)
def test_a_loop_between_compiled_segments(name: str) -> None:
    torch._dynamo.reset()
    flambeau.counters.clear()
    compiled = flambeau.compile(
        LOOPS[name], backend="cpu", fullgraph=True, dynamic=True, options={"min_block_size": 1}
    )
    for count in (3, 1):
        assert_like_eager(LOOPS[name], with_count(count), compiled=compiled, ulps=256, afterwards=["nothing"])
    assert flambeau.counters["graphs"] == 1
    assert flambeau.counters["graphs.eager"] == 0
    assert flambeau.counters["compile.failed"] == 0


@pytest.mark.parametrize("rung", ["imported", "partitioned"])
def test_a_loop_without_an_iteration(rung: str) -> None:
    """Its result is what it got, and so is the gradient. (PyTorch 2.13 differentiates one iteration.)"""

    def never(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return while_loop(lambda y: y.sum() != y.sum(), lambda y: (y * w,), (x.tanh(),))[0] * w

    torch._dynamo.reset()
    leaves, _ = arguments(True)()
    x, w = leaves
    found = flambeau.compile(never, backend=rung, fullgraph=True)(x, w)
    expected = x.tanh() * w
    torch.testing.assert_close(found, expected)
    for gradient, want in zip(
        torch.autograd.grad(found.sum(), leaves), torch.autograd.grad(expected.sum(), leaves), strict=True
    ):
        torch.testing.assert_close(gradient, want)


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_loop_counts_with_numbers(dynamic: bool) -> None:
    """PyTorch differentiates no loop that carries numbers."""

    def halves(x: torch.Tensor) -> tuple[int, torch.Tensor]:
        return while_loop(lambda i, y: 2 * i < x.shape[0], lambda i, y: (i + 1, y.sin() + i), (0, x.exp()))

    torch._dynamo.reset()
    compiled = flambeau.compile(halves, backend="partitioned", fullgraph=True, dynamic=dynamic)
    before = flambeau.counters["graphs.eager"]
    for size in (5, 8) if dynamic else (5,):
        x = torch.rand(size)
        (count, y), (expected_count, expected) = compiled(x), halves(x)
        assert count == expected_count
        torch.testing.assert_close(y, expected)
    assert flambeau.counters["graphs.eager"] == before


def test_what_a_loop_repeats_is_compiled_where_no_gradient_is_wanted() -> None:
    def recurrent(x: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        def step(h: torch.Tensor, row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            h = (h @ w + row).tanh() * row.sigmoid()
            return h, h.exp()

        return scan(step, torch.zeros(4, 8), x)

    x, w = torch.randn(5, 4, 8), torch.randn(8, 8) / 3
    compiled = flambeau.compile(recurrent, backend="cpu", fullgraph=True)
    flambeau.counters.clear()
    with torch.no_grad():
        for found, expected in zip(compiled(x, w), recurrent(x, w), strict=True):
            torch.testing.assert_close(found, expected)
    assert flambeau.counters["graphs.eager"] == 0
    assert flambeau.counters["ops.native"] > 4
    assert flambeau.counters["ops.fallback"] <= 2, "the loop itself, and the zeros that it begins with"


@pytest.mark.parametrize("rung", ["functional", "partitioned"])
def test_random_numbers_in_a_loop(rung: str) -> None:
    """PyTorch draws; the tape has what it drew."""
    torch._dynamo.reset()
    compiled = flambeau.compile(
        lambda x: torch_map(lambda row: nn.functional.dropout(row, 0.5, True), x),
        backend=rung,
        fullgraph=True,
    )
    before = flambeau.counters["graphs.eager"]
    x = torch.rand(8, 64).add(1).requires_grad_()
    y = compiled(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient * x, y)
    assert len(gradient.unique(dim=0)) == 8
    assert flambeau.counters["graphs.eager"] == before


@pytest.mark.slow
def test_a_loop_comes_out_of_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLAMBEAU_CACHE_SIZE", "1G")  # elsewhere in the tests there is no cache
    options = {"cache_dir": tmp_path, "min_block_size": 1}
    for _ in range(2):
        torch._dynamo.reset()
        compiled = flambeau.compile(rows, backend="cpu", fullgraph=True, options=options)
        flambeau.counters.clear()
        assert_like_eager(rows, with_count(1), compiled=compiled, ulps=256, afterwards=["nothing"])
    assert flambeau.counters["cache.hit"] == 1


@pytest.mark.parametrize(
    "info",
    [
        pytest.param(
            i,
            id=f"{i.name}-{i.variant_test_name}",
            marks=[pytest.mark.slow] * ("nested" in i.variant_test_name),
        )
        for i in hop_db
        if i.name in ("map", "scan", "while_loop")
    ],
)
def test_samples_of_pytorch(info: Any) -> None:
    before = flambeau.counters["graphs.eager"]
    for sample in info.sample_inputs("cpu", torch.float32, requires_grad=True):
        torch._dynamo.reset()
        compiled = flambeau.compile(info.op, backend="partitioned", fullgraph=True)
        results = []
        for function in (info.op, compiled):
            inputs = (sample.input, *sample.args)
            outputs = [o for o in pytree.tree_leaves(function(*inputs)) if isinstance(o, torch.Tensor)]
            leaves = [x for x in pytree.tree_leaves(inputs) if x.requires_grad]
            total = sum(o.square().sum() for o in outputs if o.requires_grad)
            gradients = torch.autograd.grad(total, leaves) if leaves else ()
            results.append([*outputs, *gradients])
        torch.testing.assert_close(results[1], results[0])
    assert flambeau.counters["graphs.eager"] == before


def test_a_loop_that_writes_what_it_takes_runs_in_eager() -> None:
    torch._dynamo.reset()
    total = torch.zeros(3)

    def body(i: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        total.add_(y)
        return i + 1, y * 2

    compiled = flambeau.compile(
        lambda x: while_loop(lambda i, y: i < 3, body, (torch.tensor(0), x)), backend="functional"
    )
    with pytest.warns(flambeau.FlambeauWarning, match="while_loop.*writes"), torch.no_grad():
        compiled(torch.ones(3))
    assert torch.equal(total, torch.full((3,), 7.0))
