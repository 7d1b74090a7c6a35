# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Evaluators of the autograd dialect: with PyTorch's autograd watching, each has the history that the op says."""

from types import SimpleNamespace
from typing import Any

import torch

from flambeau.runtime.interpreter import evaluates


class _WithValue(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        return new.clone()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        return g, None


@evaluates("autograd.with_value")
def _with_value(a: SimpleNamespace) -> torch.Tensor:
    return _WithValue.apply(a.old, a.new)  # type: ignore[no-any-return, no-untyped-call]
