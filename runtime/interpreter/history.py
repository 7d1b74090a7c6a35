# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A tensor with the value of one and the autograd history of another."""

from typing import Any

import torch


def with_history(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """The value of `new`; gradients go to `old`."""
    return _WithHistory.apply(old, new.detach())  # type: ignore[no-any-return, no-untyped-call]


class _WithHistory(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        return new.clone()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor, None]:
        return g, None
