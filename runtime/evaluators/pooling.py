# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Evaluation of the gradients of pooling."""

from types import SimpleNamespace

import torch

from flambeau.runtime.interpreter import evaluates


@evaluates("flambeau.max_pool_grad")
def _max_pool_grad(a: SimpleNamespace) -> torch.Tensor:
    outer = a.g.dim() - len(a.kernel_size)
    zeros = a.g.new_zeros(a.input_shape).flatten(outer)
    return zeros.scatter_add(outer, a.indices.flatten(outer), a.g.flatten(outer)).view(a.input_shape)  # type: ignore[no-any-return]


@evaluates("flambeau.avg_pool_grad")
def _avg_pool_grad(a: SimpleNamespace) -> torch.Tensor:
    aten = torch.ops.aten
    backward = aten.avg_pool2d_backward if len(a.kernel_size) == 2 else aten.avg_pool3d_backward
    x = a.g.new_empty(a.input_shape)
    return backward.default(  # type: ignore[no-any-return]
        a.g, x, a.kernel_size, a.stride, a.padding, a.ceil_mode, a.count_include_pad, a.divisor_override
    )
