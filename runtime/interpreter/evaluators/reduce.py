# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Evaluators of reductions whose ATen overloads do not take the same arguments for one dim and for all."""

from types import SimpleNamespace

import torch

from flambeau.runtime.interpreter.table import evaluates


@evaluates("flambeau.prod")
def _prod(a: SimpleNamespace) -> torch.Tensor:
    if a.dim is not None:
        return torch.prod(a.x, a.dim, a.keepdim)
    result = torch.prod(a.x)
    return result.reshape([1] * a.x.dim()) if a.keepdim else result


@evaluates("flambeau.var")
def _var(a: SimpleNamespace) -> torch.Tensor:
    # PyTorch's gradient of these four is infinite for an empty list of dims: "all" is None to them.
    return torch.var(a.x, a.dims or None, correction=a.correction, keepdim=a.keepdim)


@evaluates("flambeau.std")
def _std(a: SimpleNamespace) -> torch.Tensor:
    return torch.std(a.x, a.dims or None, correction=a.correction, keepdim=a.keepdim)


@evaluates("flambeau.var_mean")
def _var_mean(a: SimpleNamespace) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.var_mean(a.x, a.dims or None, correction=a.correction, keepdim=a.keepdim)


@evaluates("flambeau.std_mean")
def _std_mean(a: SimpleNamespace) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.std_mean(a.x, a.dims or None, correction=a.correction, keepdim=a.keepdim)
