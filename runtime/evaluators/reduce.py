# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Evaluators of reductions whose ATen overloads differ between one dim and all dims."""

from types import SimpleNamespace

import torch

from flambeau.runtime.interpreter import evaluates


@evaluates("flambeau.prod")
def _prod(a: SimpleNamespace) -> torch.Tensor:
    if a.dim is not None:
        return torch.prod(a.x, a.dim, a.keepdim)
    result = torch.prod(a.x)
    return result.reshape([1] * a.x.dim()) if a.keepdim else result
