# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How ops are evaluated that no single ATen overload computes: a table that the evaluators fill."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from flambeau.dialects.bindings import ir
from flambeau.dialects.types import dtype_name

Value = Any  # torch.Tensor, int (index), Place, ResidentTensor (of compiled functions), or whatever a host op returns
Evaluator = Callable[[SimpleNamespace], Any]

EVALUATORS: dict[str, Evaluator] = {}


class InterpreterError(RuntimeError):
    """An op cannot be evaluated."""


def evaluates(*names: str) -> Callable[[Evaluator], Evaluator]:
    """Register a function that evaluates the ops `names`, which have no ATen overload of the same arguments.

    It receives a namespace with the op's fields (tensors, ints, Python attribute values) and `op`, the op itself.
    """

    def register(function: Evaluator) -> Evaluator:
        for name in names:
            if name in EVALUATORS:
                raise InterpreterError(f"two evaluators for {name}")
            EVALUATORS[name] = function
        return function

    return register


def torch_dtype(type_: ir.Type) -> torch.dtype:
    """The torch dtype of an element type or tensor type."""
    dtype = getattr(torch, dtype_name(type_))
    assert isinstance(dtype, torch.dtype)
    return dtype
