# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Torch tensors to IREE buffer views and back: shared memory on the CPU, copies on other devices."""

from collections.abc import Sequence
from typing import Protocol

import iree.runtime
import numpy
import torch
from torch.utils.dlpack import from_dlpack, to_dlpack

from flambeau.runtime.errors import ExecutionError

__all__ = ["ELEMENT_TYPES", "CopyingTransfer", "SharingTransfer", "Transfer", "with_dim_order", "with_dtype"]

_Type = iree.runtime.HalElementType

# What may cross. IREE's own element type of a result may differ in sign (uint8 comes back as int8).
ELEMENT_TYPES: dict[torch.dtype, iree.runtime.HalElementType] = {
    torch.bool: _Type.BOOL_8,
    torch.uint8: _Type.UINT_8,
    torch.int8: _Type.SINT_8,
    torch.int16: _Type.SINT_16,
    torch.int32: _Type.SINT_32,
    torch.int64: _Type.SINT_64,
    torch.float16: _Type.FLOAT_16,
    torch.bfloat16: _Type.BFLOAT_16,
    torch.float32: _Type.FLOAT_32,
    torch.float64: _Type.FLOAT_64,
    torch.complex64: _Type.COMPLEX_64,
    torch.complex128: _Type.COMPLEX_128,
}

_ALIGNMENT = 64  # bytes; IREE refuses to import other pointers


class Transfer(Protocol):
    """The way of tensors to a device and back."""

    def to_device(self, tensor: torch.Tensor, *, private: bool) -> iree.runtime.HalBufferView:
        """The tensor's values on the device. `private`: in memory that the callee may overwrite."""

    def to_torch(self, view: iree.runtime.HalBufferView, dtype: torch.dtype) -> torch.Tensor:
        """The values of a buffer as a contiguous CPU tensor of that dtype."""
