# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""numpy arrays to torch tensors and back, bfloat16 included, for command lines that run something."""

import re
from typing import Any

import ml_dtypes
import numpy
import torch

from flambeau.tools.arrays import numpy_dtype

_ELEMENT = re.compile(r"tensor<(?:[\d?]+x)*(\w+)>|!torch\.vtensor<\[[\d?,]*\],(\w+)>")


def to_torch(value: Any) -> Any:
    """An array as a tensor of its own memory; integers stay."""
    if isinstance(value, int):
        return value
    if value.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(value.view(numpy.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(numpy.array(value, order="C"))


def from_torch(value: Any) -> Any:
    """A tensor as an array; integers stay."""
    if not isinstance(value, torch.Tensor):
        return int(value)
    value = value.detach().contiguous()
    if value.dtype == torch.bfloat16:
        return value.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return value.numpy()


def torch_dtype(type_: str) -> torch.dtype | None:
    """The dtype of an MLIR tensor type; None for an integer."""
    match = _ELEMENT.fullmatch(type_)
    if match is None:
        return None
    dtype = getattr(torch, numpy_dtype(match[1] or match[2]))
    assert isinstance(dtype, torch.dtype)
    return dtype
