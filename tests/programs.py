# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Functions and modules that several test files compile."""

from typing import Any

import torch
from torch import nn

from tests.oracle import numbers


class Same(torch.autograd.Function):
    """Returns its argument as it is, and three times the gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return g * 3


class WritesGradient(torch.autograd.Function):
    """Its backward works in place."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return g.mul_(5)


class Counting(nn.Module):
    """Counts its calls and follows a mean, in buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(4))
        self.weight = nn.Parameter(numbers(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        self.mean.lerp_(x.detach().mean(0), 0.5)
        return x * self.weight - self.mean
