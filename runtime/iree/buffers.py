# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Torch tensors to IREE buffer views and back: shared memory on the CPU and on CUDA, copies on other devices."""

from collections.abc import Sequence
from typing import Any, Protocol

import iree.runtime
import numpy
import torch
from torch.utils.dlpack import from_dlpack, to_dlpack  # type: ignore[attr-defined]  # documented, not in __all__

from flambeau.runtime.counters import counters
from flambeau.runtime.devices import OpenDevice
from flambeau.runtime.errors import ExecutionError
from flambeau.runtime.resident import ResidentTensor, to_tensor

__all__ = [
    "ELEMENT_TYPES",
    "CopyingTransfer",
    "CudaTransfer",
    "SharingTransfer",
    "Span",
    "Transfer",
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
_DLPACK_CPU, _DLPACK_CUDA = 1, 2  # DLDeviceType

# First and past-the-end address of memory.
Span = tuple[int, int]


TensorValue = torch.Tensor | ResidentTensor


class Transfer(Protocol):
    """The way of tensors to a device and back."""

    def for_call(self, arguments: Sequence[Any]) -> "Transfer":
        """The way for one call with these arguments; the device may read the tensors among them from now on."""

    def to_device(self, value: TensorValue, *, private: bool) -> tuple[iree.runtime.HalBufferView, Span]:
        """The tensor's values on the device, and the memory of torch's that they lie in (empty if in none).

        `private` asks for memory that the callee may overwrite.
        """

    def to_torch(self, view: iree.runtime.HalBufferView, dtype: torch.dtype) -> torch.Tensor:
        """The values of a buffer as a contiguous tensor of that dtype."""

    def keep(self, view: iree.runtime.HalBufferView, dtype: torch.dtype) -> TensorValue:
        """The same where nobody but compiled functions need it: left on the device if it has memory of its own."""


class SharingTransfer:
    """Shares memory between torch and a CPU device; copies only what IREE cannot import."""

    def __init__(self, opened: OpenDevice) -> None:
        self._hal = opened.hal

    def for_call(self, arguments: Sequence[Any]) -> "SharingTransfer":
        """See Transfer."""
        return self

    def to_device(self, value: TensorValue, *, private: bool) -> tuple[iree.runtime.HalBufferView, Span]:
        """See Transfer. Copied is what is private, strided, unaligned, conjugated lazily or on another device."""
        tensor = value.tensor if isinstance(value, ResidentTensor) else value
        plain = _plain(tensor if tensor.is_cpu else tensor.detach().cpu())
        start = plain.data_ptr()
        if start % _ALIGNMENT or (private and _share_storage(plain, tensor)):
            plain = plain.clone()
            start = plain.data_ptr()
        return _imported(self._hal, plain), (start, start + plain.nbytes)

    def to_torch(self, view: iree.runtime.HalBufferView, dtype: torch.dtype) -> torch.Tensor:
        """See Transfer. The tensor shares the buffer's memory and keeps it alive."""
        return _with_dtype(from_dlpack(self._hal.create_dlpack_capsule(view, _DLPACK_CPU, 0)), dtype)

    keep = to_torch


class CopyingTransfer:
    """Copies to and from a device with memory of its own; what only compiled functions need stays there.

    The copy of an argument is kept for other calls only in a `ResidentTensor`, by who knows that the tensor has not
    been written: a tensor itself cannot be asked (writes through `.data` and numpy leave `_version` alone).
    `flambeau.counters` has the bytes that were copied, as `bytes.to_device` and `bytes.to_host`.
    """

    _DEVICE_MEMORY = int(iree.runtime.MemoryType.DEVICE_LOCAL)
    _DEVICE_USAGE = int(iree.runtime.BufferUsage.DEFAULT)
    _HOST_MEMORY = (
        int(iree.runtime.MemoryType.HOST_VISIBLE)
        | int(iree.runtime.MemoryType.HOST_COHERENT)
        | int(iree.runtime.MemoryType.DEVICE_VISIBLE)
    )
    _HOST_USAGE = int(iree.runtime.BufferUsage.TRANSFER) | int(iree.runtime.BufferUsage.MAPPING)

    def __init__(self, opened: OpenDevice) -> None:
        self.device = opened
        self._hal = opened.hal

    def for_call(self, arguments: Sequence[Any]) -> "CopyingTransfer":
        """See Transfer."""
        return self

    def to_device(self, value: TensorValue, *, private: bool) -> tuple[iree.runtime.HalBufferView, Span]:
        """See Transfer. The copy of a tensor is private."""
        if not isinstance(value, ResidentTensor):
            return self.upload(value), (0, 0)
        view = value.buffer(self)
        return self._copy_of(view) if private else view, (0, 0)

    def to_torch(self, view: iree.runtime.HalBufferView, dtype: torch.dtype) -> torch.Tensor:
        """See Transfer. A CPU tensor."""
        return self.download(view, dtype)

    def keep(self, view: iree.runtime.HalBufferView, dtype: torch.dtype) -> TensorValue:
        """See Transfer."""
        return ResidentTensor.on_device(self, view, torch.Size(view.shape), dtype)

    def upload(self, tensor: torch.Tensor) -> iree.runtime.HalBufferView:
        """A new buffer on the device with the tensor's values."""
        if tensor.dtype not in ELEMENT_TYPES:
            raise ExecutionError(f"cannot pass a tensor of {tensor.dtype} to IREE; valid: {_valid_dtypes()}")
        content = _plain(tensor.detach().cpu()).reshape(-1).view(torch.uint8).numpy()
        buffer = self._hal.allocator.allocate_buffer_copy(
            self._DEVICE_MEMORY, self._DEVICE_USAGE, self._hal, content
        )
        counters.add("bytes.to_device", content.nbytes)
        return iree.runtime.HalBufferView(buffer, list(tensor.shape), ELEMENT_TYPES[tensor.dtype])

    def download(self, buffer: iree.runtime.HalBufferView, dtype: torch.dtype) -> torch.Tensor:
        """The buffer's values in a new CPU tensor, by way of memory that both sides see: no other can be mapped."""
        size = buffer.byte_length
        if size == 0:
            return torch.empty(buffer.shape, dtype=dtype)
        staging = self._hal.allocator.allocate_buffer(self._HOST_MEMORY, self._HOST_USAGE, size)
        self._copy(buffer, staging)
        content = staging.map().asarray([size], numpy.dtype(numpy.uint8)).copy()
        counters.add("bytes.to_host", size)
        return _with_dtype(torch.from_numpy(content), dtype).view(buffer.shape)

    def _copy_of(self, view: iree.runtime.HalBufferView) -> iree.runtime.HalBufferView:
        """The same values in another buffer on the device."""
        if view.byte_length == 0:
            return view
        allocator = self._hal.allocator
        copy = allocator.allocate_buffer(self._DEVICE_MEMORY, self._DEVICE_USAGE, view.byte_length)
        self._copy(view, copy)
        return iree.runtime.HalBufferView(copy, view.shape, view.element_type)

    def _copy(self, source: iree.runtime.HalBufferView, target: iree.runtime.HalBuffer) -> None:
        copied = self._hal.create_semaphore(0)
        self._hal.queue_copy(source.get_buffer(), target, [], [(copied, 1)])
        copied.wait(1)


class CudaTransfer:
    """Shares memory with torch's CUDA tensors where a call has any among its arguments, and copies CPU tensors.

    IREE and torch both work in the device's primary context, so that one's pointers are the other's. Their streams know
    nothing of each other: a call begins when torch's work on the device has ended, and IREE's work has ended when it
    returns.
    """

    def __init__(self, opened: OpenDevice, index: int) -> None:
        """`index`: torch's number of the device."""
        self._copies = CopyingTransfer(opened)
        self._hal = opened.hal
        self._index = index

    def for_call(self, arguments: Sequence[Any]) -> Transfer:
        """See Transfer. ExecutionError if a tensor lies on another CUDA device."""
        found = [a for a in arguments if isinstance(a, torch.Tensor | ResidentTensor) and a.is_cuda]
        if not found:
            return self._copies
        for value in found:
            index = to_tensor(value).get_device()
            if index != self._index:
                raise ExecutionError(
                    f"a tensor is on cuda:{index}, but the code was loaded on cuda:{self._index}"
                )
        # All streams, not only the current one: memory of a result that was freed while another stream still reads it
        # may be what the call writes its results to.
        torch.cuda.synchronize(self._index)
        return self

    def to_device(self, value: TensorValue, *, private: bool) -> tuple[iree.runtime.HalBufferView, Span]:
        """See Transfer. Copied is what is private, strided or on the CPU."""
        if not value.is_cuda or value.shape.numel() == 0:
            return self._copies.to_device(value, private=private)
        tensor = to_tensor(value)
        plain = _plain(tensor)
        if private and _share_storage(plain, tensor):
            plain = plain.clone()
        if not _share_storage(plain, tensor):
            torch.cuda.synchronize(self._index)  # the copy was made on torch's stream
        start = plain.data_ptr()
        return _imported(self._hal, plain), (start, start + plain.nbytes)

    def to_torch(self, view: iree.runtime.HalBufferView, dtype: torch.dtype) -> torch.Tensor:
        """See Transfer. A CUDA tensor that shares the buffer's memory and keeps it alive."""
        if view.byte_length == 0:
            return torch.empty(view.shape, dtype=dtype, device=f"cuda:{self._index}")
        capsule = self._hal.create_dlpack_capsule(view, _DLPACK_CUDA, self._index)
        return _with_dtype(from_dlpack(capsule), dtype)

    keep = to_torch


def _imported(hal: iree.runtime.HalDevice, tensor: torch.Tensor) -> iree.runtime.HalBufferView:
    """A buffer view that shares a plain tensor's memory. ExecutionError if IREE cannot have it."""
    try:
        return hal.from_dlpack_capsule(to_dlpack(tensor))
    except (RuntimeError, ValueError, BufferError) as error:
        raise ExecutionError(
            f"cannot pass a tensor of {tensor.dtype} and shape {tuple(tensor.shape)} to IREE: {error}; "
            f"valid dtypes: {_valid_dtypes()}"
        ) from error


def _with_dtype(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The same bytes read as `dtype`, of the same size or from bytes: IREE knows no signs."""
    if tensor.dtype == dtype:
        return tensor
    if tensor.dtype.itemsize not in (1, dtype.itemsize):
        raise ExecutionError(f"the signature says {dtype} for a result, but IREE returned {tensor.dtype}")
    return tensor.view(dtype)


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor's values without history, contiguous, nothing lazy; the tensor itself if it is so."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.is_conj() or tensor.is_neg():
        tensor = tensor.resolve_conj().resolve_neg()
    if not tensor.numel():
        return tensor.new_empty(
            tensor.shape
        )  # whatever its strides are, PyTorch calls it contiguous; IREE does not
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def _share_storage(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(a.untyped_storage()._cdata == b.untyped_storage()._cdata)


def _valid_dtypes() -> str:
    return ", ".join(str(dtype).removeprefix("torch.") for dtype in ELEMENT_TYPES)
