# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Torch tensors to IREE buffer views and back: shared memory on the CPU, copies on other devices."""

from collections.abc import Sequence
from typing import Protocol

import iree.runtime
import numpy
import torch
from torch.utils.dlpack import from_dlpack, to_dlpack  # type: ignore[attr-defined]  # documented, not in __all__

from flambeau.runtime.errors import ExecutionError

__all__ = [
    "ELEMENT_TYPES",
    "CopyingTransfer",
    "SharingTransfer",
    "Span",
    "Transfer",
    "with_dim_order",
]

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
_DLPACK_CPU = 1

# First and past-the-end address of memory.
Span = tuple[int, int]


class Transfer(Protocol):
    """The way of tensors to a device and back."""

    def to_device(self, tensor: torch.Tensor, *, private: bool) -> tuple[iree.runtime.HalBufferView, Span]:
        """The tensor's values on the device, and the host memory that they lie in (empty if in none).

        `private` asks for memory that the callee may overwrite.
        """

    def to_torch(self, view: iree.runtime.HalBufferView, dtype: torch.dtype) -> torch.Tensor:
        """The values of a buffer as a contiguous CPU tensor of that dtype."""


class SharingTransfer:
    """Shares memory between torch and a CPU device; copies only what IREE cannot import."""

    def __init__(self, device: iree.runtime.HalDevice) -> None:
        self._device = device

    def to_device(self, tensor: torch.Tensor, *, private: bool) -> tuple[iree.runtime.HalBufferView, Span]:
        """See Transfer. Copied is what is private, strided, unaligned, conjugated lazily or on another device."""
        plain = _plain(tensor)
        start = plain.data_ptr()
        if start % _ALIGNMENT or (
            private and plain.untyped_storage()._cdata == tensor.untyped_storage()._cdata
        ):
            plain = plain.clone()
            start = plain.data_ptr()
        try:
            view = self._device.from_dlpack_capsule(to_dlpack(plain))
        except (RuntimeError, ValueError, BufferError) as error:
            raise ExecutionError(
                f"cannot pass a tensor of {tensor.dtype} and shape {tuple(tensor.shape)} to IREE: {error}; "
                f"valid dtypes: {_valid_dtypes()}"
            ) from error
        return view, (start, start + plain.nbytes)

    def to_torch(self, view: iree.runtime.HalBufferView, dtype: torch.dtype) -> torch.Tensor:
        """See Transfer. The tensor shares the buffer's memory and keeps it alive."""
        return _with_dtype(from_dlpack(self._device.create_dlpack_capsule(view, _DLPACK_CPU, 0)), dtype)


class CopyingTransfer:
    """Copies to and from a device with memory of its own, on every call.

    Nothing stays on the device between calls: a torch tensor cannot be asked whether it has been written since the
    last call (writes through `.data` and numpy leave `_version` alone), so a kept copy could be stale.
    """

    _DEVICE_MEMORY = int(iree.runtime.MemoryType.DEVICE_LOCAL)
    _DEVICE_USAGE = int(iree.runtime.BufferUsage.DEFAULT)
    _HOST_MEMORY = (
        int(iree.runtime.MemoryType.HOST_VISIBLE)
        | int(iree.runtime.MemoryType.HOST_COHERENT)
        | int(iree.runtime.MemoryType.DEVICE_VISIBLE)
    )
    _HOST_USAGE = int(iree.runtime.BufferUsage.TRANSFER) | int(iree.runtime.BufferUsage.MAPPING)

    def __init__(self, device: iree.runtime.HalDevice) -> None:
        self._device = device

    def to_device(self, tensor: torch.Tensor, *, private: bool) -> tuple[iree.runtime.HalBufferView, Span]:
        """See Transfer. Every copy is private."""
        if tensor.dtype not in ELEMENT_TYPES:
            raise ExecutionError(f"cannot pass a tensor of {tensor.dtype} to IREE; valid: {_valid_dtypes()}")
        content = _plain(tensor).reshape(-1).view(torch.uint8).numpy()
        buffer = self._device.allocator.allocate_buffer_copy(
            self._DEVICE_MEMORY, self._DEVICE_USAGE, self._device, content
        )
        view = iree.runtime.HalBufferView(buffer, list(tensor.shape), ELEMENT_TYPES[tensor.dtype])
        return view, (0, 0)

    def to_torch(self, view: iree.runtime.HalBufferView, dtype: torch.dtype) -> torch.Tensor:
        """See Transfer. By way of a buffer that both sides see: device memory itself cannot be mapped."""
        size = view.byte_length
        if size == 0:
            return torch.empty(view.shape, dtype=dtype)
        staging = self._device.allocator.allocate_buffer(self._HOST_MEMORY, self._HOST_USAGE, size)
        copied = self._device.create_semaphore(0)
        self._device.queue_copy(view.get_buffer(), staging, [], [(copied, 1)])
        copied.wait(1)
        content = staging.map().asarray([size], numpy.dtype(numpy.uint8)).copy()
        return _with_dtype(torch.from_numpy(content), dtype).view(view.shape)


def _with_dtype(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The same bytes read as `dtype`, of the same size or from bytes: IREE knows no signs."""
    if tensor.dtype == dtype:
        return tensor
    if tensor.dtype.itemsize not in (1, dtype.itemsize):
        raise ExecutionError(f"the signature says {dtype} for a result, but IREE returned {tensor.dtype}")
    return tensor.view(dtype)


def with_dim_order(tensor: torch.Tensor, dim_order: Sequence[int] | None) -> torch.Tensor:
    """The tensor with the strides of one that is contiguous in that order of dimensions, outermost first."""
    if dim_order is None or list(dim_order) == sorted(dim_order):
        return tensor
    strides = [0] * len(dim_order)
    step = 1
    for dim in reversed(dim_order):
        strides[dim] = step
        step *= max(tensor.shape[dim], 1)
    return torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype).copy_(tensor)


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor's values without history, contiguous on the CPU, nothing lazy; the tensor itself if it is so."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    if not tensor.is_cpu:
        tensor = tensor.cpu()
    if tensor.is_conj() or tensor.is_neg():
        tensor = tensor.resolve_conj().resolve_neg()
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def _valid_dtypes() -> str:
    return ", ".join(str(dtype).removeprefix("torch.") for dtype in ELEMENT_TYPES)
