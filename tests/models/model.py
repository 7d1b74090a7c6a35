# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a model is to tests and benchmarks: how to build it, the batches that it takes, and its loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

Tensors = tuple[torch.Tensor, ...]


class Batch(NamedTuple):
    """The arguments of a module's call, and what its loss takes besides the output."""

    inputs: Tensors
    targets: Tensors = ()

    def to(self, dtype: torch.dtype) -> "Batch":
        """The same with floating tensors in `dtype`."""
        return Batch(*(tuple(t.to(dtype) if t.is_floating_point() else t for t in part) for part in self))


@dataclass(frozen=True)
class Model:
    """A network with its data.

    `build()` gives a module in training mode, with weights from PyTorch's global generator. `batch(size, generator)`
    gives a batch whose every dynamic dim depends on `size`, so that other sizes are other shapes. `loss(output,
    *targets)` is a scalar. Without one the output is the end of the graph, and tests weight it by a cotangent.
    `static_size` is for fixed shapes; `dynamic_sizes` are those of the calls of one function with dynamic ones.
    `steps` is how many steps of training are compared: enough that both errors, whose largest are compared, are seen.
    """

    name: str
    build: Callable[[], nn.Module]
    batch: Callable[[int, torch.Generator], Batch]
    loss: Callable[..., torch.Tensor] | None = None
    static_size: int = 4
    dynamic_sizes: tuple[int, ...] = (7, 9, 11)
    steps: int = 3

    def module(self, *, train: bool) -> nn.Module:
        """The module, with the same weights each time."""
        torch.manual_seed(0)
        return self.build().train(train)

    def batches(self, sizes: tuple[int, ...]) -> list[Batch]:
        """A batch for each size, the same each time."""
        generator = torch.Generator().manual_seed(1)
        return [self.batch(size, generator) for size in sizes]

    def training(self, module: nn.Module) -> "LossOf":
        """What is compiled to train `module`: batch -> loss (or the output of a model without one)."""
        return LossOf(module, self.loss)


class Noise(nn.Module):
    """A tensor -> normal random numbers of its shape. A module, so that tests can give eager the same numbers."""

    def forward(self, like: torch.Tensor) -> torch.Tensor:
        return torch.randn_like(like)


class LossOf(nn.Module):
    """A module and its loss as one: batch -> loss."""

    def __init__(self, module: nn.Module, loss: Callable[..., torch.Tensor] | None) -> None:
        super().__init__()
        self.module, self.loss = module, loss

    def forward(self, batch: Batch) -> Any:
        output = self.module(*batch.inputs)
        return output if self.loss is None else self.loss(output, *batch.targets)


def next_token_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy of logits [n, l, vocabulary] and targets [n, l], -100 where there is none."""
    return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))
