# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Evaluation of the gradients of pooling, and of positions in its windows."""

from collections.abc import Sequence
from types import SimpleNamespace

import torch

from flambeau.runtime.interpreter.table import evaluates, torch_dtype


@evaluates("flambeau.max_pool_offsets")
def _max_pool_offsets(a: SimpleNamespace) -> torch.Tensor:
    places = torch.unravel_index(a.indices, a.input_shape[-len(a.kernel_size) :])
    starts = _starts(a, a.indices)
    taps = [(p - s) // d for p, s, d in zip(places, starts, a.dilation, strict=True)]
    return _number(taps, a.kernel_size).to(torch_dtype(a.op.offsets.type))


@evaluates("flambeau.max_pool_indices")
def _max_pool_indices(a: SimpleNamespace) -> torch.Tensor:
    taps = torch.unravel_index(a.offsets.long(), a.kernel_size)
    starts = _starts(a, a.offsets)
    places = [s + k * d for k, s, d in zip(taps, starts, a.dilation, strict=True)]
    return _number(places, a.input_shape[-len(a.kernel_size) :])


def _starts(a: SimpleNamespace, windows: torch.Tensor) -> list[torch.Tensor]:
    """Where each window starts, per spatial dim; to be broadcast to the windows, which are the last dims."""
    lines = [torch.arange(n, device=windows.device) for n in windows.shape[-len(a.kernel_size) :]]
    grids = torch.meshgrid(*lines, indexing="ij")
    return [g * stride - pad for g, stride, pad in zip(grids, a.stride, a.padding, strict=True)]


def _number(places: Sequence[torch.Tensor], sizes: Sequence[int]) -> torch.Tensor:
    """The row-major number of places, given per dim."""
    number = places[0]
    for place, size in zip(places[1:], sizes[1:], strict=True):
        number = number * size + place
    return number


@evaluates("flambeau.max_pool_grad")
def _max_pool_grad(a: SimpleNamespace) -> torch.Tensor:
    outer = a.g.dim() - len(a.kernel_size)
    indices = _max_pool_indices(a).flatten(outer)
    zeros = a.g.new_zeros(a.input_shape).flatten(outer)
    return zeros.scatter_add(outer, indices, a.g.flatten(outer)).view(a.input_shape)  # type: ignore[no-any-return]


@evaluates("flambeau.avg_pool_grad")
def _avg_pool_grad(a: SimpleNamespace) -> torch.Tensor:
    aten = torch.ops.aten
    backward = aten.avg_pool2d_backward if len(a.kernel_size) == 2 else aten.avg_pool3d_backward
    x = a.g.new_empty(a.input_shape)
    return backward.default(  # type: ignore[no-any-return]
        a.g, x, a.kernel_size, a.stride, a.padding, a.ceil_mode, a.count_include_pad, a.divisor_override
    )
