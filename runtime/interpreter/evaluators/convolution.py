# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Evaluation of the convolution's gradients by PyTorch's own backward."""

from types import SimpleNamespace

import torch

from flambeau.runtime.interpreter.table import evaluates


@evaluates("flambeau.convolution_input_grad")
def _input_grad(a: SimpleNamespace) -> torch.Tensor:
    return _backward(a, a.g.new_empty(a.input_shape), a.weight)[0]


@evaluates("flambeau.convolution_weight_grad")
def _weight_grad(a: SimpleNamespace) -> torch.Tensor:
    return _backward(a, a.x, a.g.new_empty(a.weight_shape))[1]


def _backward(
    a: SimpleNamespace, x: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    wanted = [hasattr(a, "input_shape"), hasattr(a, "weight_shape"), False]
    return torch.ops.aten.convolution_backward.default(  # type: ignore[no-any-return]
        a.g,
        x,
        weight,
        None,
        a.stride,
        a.padding,
        a.dilation,
        a.transposed,
        a.output_padding,
        a.groups,
        wanted,
    )
