# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Evaluators of the autograd dialect: with PyTorch's autograd watching, each has the history that the op says."""

from types import SimpleNamespace

import torch

from flambeau.runtime.interpreter.history import with_history
from flambeau.runtime.interpreter.table import evaluates


@evaluates("autograd.with_value")
def _with_value(a: SimpleNamespace) -> torch.Tensor:
    return with_history(a.old, a.new)


@evaluates("autograd.checkpoint")
def _checkpoint(a: SimpleNamespace) -> torch.Tensor:
    return a.x  # type: ignore[no-any-return]
