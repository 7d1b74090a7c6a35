# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Evaluators of views and layout ops, where ATen's overload does not take the same arguments or strides."""

from types import SimpleNamespace

import torch

from flambeau.dialects.types import DYNAMIC, shape_of
from flambeau.runtime.interpreter.table import evaluates


@evaluates("flambeau.view")
def _view(a: SimpleNamespace) -> torch.Tensor:
    # Values have no strides in the IR: a copy where eager's strides would have allowed a view. Of a contiguous tensor
    # (the base of a written place) it is a view.
    return a.x.reshape(a.shape)  # type: ignore[no-any-return]


@evaluates("flambeau.squeeze")
def _squeeze(a: SimpleNamespace) -> torch.Tensor:
    wrong = [d for d in a.dims if a.x.shape[d] != 1]
    if wrong:
        raise ValueError(f"squeeze: dim {wrong[0]} of {list(a.x.shape)} is not of size 1")
    return torch.squeeze(a.x, a.dims)


@evaluates("flambeau.expand")
def _expand(a: SimpleNamespace) -> torch.Tensor:
    added = len(a.shape) - a.x.dim()
    if a.op is not None:
        for dim, known in enumerate(shape_of(a.op.x)):
            if known == DYNAMIC and a.x.shape[dim] != a.shape[added + dim]:
                raise ValueError(
                    f"expand: dim {dim}, a `?`, is {a.x.shape[dim]}, which cannot become {a.shape[added + dim]}"
                )
    return a.x.expand(a.shape)  # type: ignore[no-any-return]


@evaluates("flambeau.cat")
def _cat(a: SimpleNamespace) -> torch.Tensor:
    return torch.cat([a.x, a.y], a.dim)


@evaluates("flambeau.as_strided")
def _as_strided(a: SimpleNamespace) -> torch.Tensor:
    x = a.x.contiguous()  # positions count in row-major order, from where x starts
    return x.as_strided(a.size, a.stride, x.storage_offset() + a.storage_offset)  # type: ignore[no-any-return]


@evaluates("flambeau.as_strided_scatter")
def _as_strided_scatter(a: SimpleNamespace) -> torch.Tensor:
    # By writing through the view: the derivative of torch.as_strided_scatter keeps the wrong part.
    x: torch.Tensor = a.x.clone(memory_format=torch.contiguous_format)
    x.as_strided(a.size, a.stride, a.storage_offset).copy_(a.src)
    return x
