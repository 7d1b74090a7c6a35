# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Functions that several test files compile."""

from typing import Any

import torch


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


class Half(torch.autograd.Function):
    """Multiplies; its backward gives half of the true gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        x, w = ctx.saved_tensors
        return g * w * 0.5, g * x * 0.5
