# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sums of many numbers, among them gradients of what is broadcast, are as exact as eager's, judged against float64."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from tests.models.checks import skip_without_device, strictly
from tests.oracle import Tensors, assert_as_accurate, weights_like

Function = Callable[..., torch.Tensor]


def _scaled(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x * weight + bias)


def _normalized(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    # Squared, or the weight's gradient would be a sum that cancels.
    return F.batch_norm(x, None, None, weight, bias, training=True).square()


def _sums(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return torch.stack([x.sum(0), x.mean(0), weight + bias])


# Shapes of x; its channels are dim 1.
CASES = [
    pytest.param(_scaled, (20000, 5), id="rows"),
    pytest.param(_scaled, (10007, 3), id="prime", marks=pytest.mark.slow),
    pytest.param(_normalized, (3, 4, 96, 128), id="batch norm"),
    pytest.param(_sums, (30000, 4), id="sum and mean", marks=pytest.mark.slow),
]


def _outcome(function: Function, arguments: tuple[torch.Tensor, ...]) -> Tensors:
    leaves = [a.clone().requires_grad_() for a in arguments]
    output = function(*leaves)
    # Away from zero: sums that cancel have errors in any order.
    gradients = torch.autograd.grad(output, leaves, weights_like(output) + 1)
    names = ("output", "x", "weight", "bias")
    return dict(zip(names, (output.detach(), *gradients), strict=True))


@pytest.mark.parametrize(("function", "shape"), CASES)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("backend", ["cpu", pytest.param("vulkan", marks=pytest.mark.slow)])
def test_long_sums(function: Function, shape: tuple[int, ...], dynamic: bool, backend: str) -> None:
    if backend != "cpu":
        skip_without_device(backend)
    compiled = strictly(function, backend, dynamic)
    runs = []
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(shape, generator=generator) + 1
        parameters = [torch.rand(shape[1], generator=generator) + 0.5 for _ in range(2)]
        arguments = (x, *parameters)
        wide = tuple(a.double() for a in arguments)
        runs.append((_outcome(compiled, arguments), _outcome(function, arguments), _outcome(function, wide)))
    assert_as_accurate(runs)
