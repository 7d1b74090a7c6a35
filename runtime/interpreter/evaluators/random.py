# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Evaluation of random_bits: Threefry-2x32 in int64 arithmetic masked to 32 bits. Stateful ops are PyTorch's own."""

import math
from types import SimpleNamespace

import torch

from flambeau.dialects.ops.random import THREEFRY_PARITY, THREEFRY_ROTATIONS
from flambeau.runtime.interpreter.table import evaluates

_MASK = 0xFFFFFFFF


def threefry2x32(
    key0: int, key1: int, counter0: torch.Tensor, counter1: torch.Tensor | int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The two output words for each counter; everything is an unsigned 32-bit number held in int64."""
    keys = (key0, key1, key0 ^ key1 ^ THREEFRY_PARITY)
    x0, x1 = (counter0 + key0) & _MASK, (counter1 + torch.full_like(counter0, key1)) & _MASK
    for group, rotations in enumerate(THREEFRY_ROTATIONS):
        for rotation in rotations:
            x0 = (x0 + x1) & _MASK
            x1 = (((x1 << rotation) | (x1 >> (32 - rotation))) & _MASK) ^ x0
        x0 = (x0 + keys[(group + 1) % 3]) & _MASK
        x1 = (x1 + keys[(group + 2) % 3] + group + 1) & _MASK
    return x0, x1


@evaluates("flambeau.random_bits")
def _random_bits(a: SimpleNamespace) -> list[torch.Tensor]:
    key0, key1 = (int(k) & _MASK for k in a.seed)
    positions = torch.arange(math.prod(a.shape)).reshape(a.shape)
    words = threefry2x32(key0, key1, positions, int(a.offset) & _MASK)
    return [(w >> (32 - a.bits)).to(torch.int64).to(torch.int32) for w in words]
