# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A user's `torch.autograd.Function`: its own forward and backward run, on every rung."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.frontend.rungs import rungs
from tests.oracle import assert_like_eager, leaf, plain
from tests.programs import Half, Same


class Mixed(torch.autograd.Function):
    """Two outputs, a saved intermediate, arguments that are no tensors, and an argument without gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, factor: float, y: torch.Tensor, name: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        h = x.exp()
        ctx.save_for_backward(h, y)
        ctx.factor = factor
        return h * factor, x + y

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor, k: torch.Tensor) -> Any:
        h, y = ctx.saved_tensors
        return g * h * ctx.factor * 3 + k * y, None, None, None


@rungs
def test_custom_function_with_everything(backend: str) -> None:
    def function(x, y):
        a, c = Mixed.apply(x * 2, 1.5, y, "name")
        return a, c * y

    assert_like_eager(function, plain(lambda: leaf(3), lambda: leaf(3)), backend=backend)


@rungs
def test_custom_function_with_one_output_used(backend: str) -> None:
    assert_like_eager(
        lambda x, y: Mixed.apply(x, 2.0, y, "")[1] * 2,
        plain(lambda: leaf(3), lambda: leaf(3)),
        backend=backend,
    )


class Marked(torch.autograd.Function):
    """One output without gradient; uses sizes in its backward; returns memory of its own."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        whole = x.floor()
        ctx.mark_non_differentiable(whole)
        ctx.shape = x.shape
        return x.sum(), whole

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return g.expand(ctx.shape) * 7


@rungs
@pytest.mark.parametrize(
    "function",
    [
        lambda x: Marked.apply(x),
        lambda x: Same.apply(x).sin(),
        lambda x: ((y := Half.apply(x, x.cos())), y.t()),
        lambda x: Half.apply(x, x.double()),
        lambda x: (Half.apply(x[:1], x), Half.apply(x, x[:1, 0])),
    ],
    ids=["marked", "same", "viewed", "gradient of another dtype", "gradients of another shape"],
)
def test_custom_functions(function: Callable[..., Any], backend: str) -> None:
    assert_like_eager(function, plain(lambda: leaf(3, 4)), backend=backend)
