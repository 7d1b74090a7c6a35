# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""torch.cond: both branches, their gradients, and what may stand in a branch, as in eager on every stage."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

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


def test_random_numbers_in_a_branch_run_in_eager() -> None:
    torch._dynamo.reset()
    compiled = flambeau.compile(
        lambda x: torch.cond(x.sum() > 0, lambda x: torch.rand_like(x), lambda x: x.clone(), (x,)),
        backend="functional",
    )
    with pytest.warns(flambeau.FlambeauWarning, match="random numbers in a branch"):
        assert compiled(torch.ones(3)).shape == (3,)
