# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tensors whose values stay on a device: what compiled functions take and return where a copy is not to be made.

Loads no IREE: a device's own kind of buffer is an opaque object here.
"""

from typing import Any, Protocol

import torch

__all__ = ["DeviceMemory", "ResidentTensor", "to_tensor"]


class DeviceMemory(Protocol):
    """The memory of an opened device. `device` is one object per device, and keeps it open."""

    @property
    def device(self) -> object: ...

    def upload(self, tensor: torch.Tensor) -> Any:
        """A new buffer on the device with the tensor's values."""

    def download(self, buffer: Any, dtype: torch.dtype) -> torch.Tensor:
        """A new contiguous CPU tensor with the buffer's values."""


class ResidentTensor:
    """The values of one tensor on the host, on a device, or on both; they come to the other side when asked for, once.

    Nobody writes them: who gives a tensor lends it, and who takes `tensor` must not write it.
    """

    def __init__(
        self,
        tensor: torch.Tensor | None,
        shape: torch.Size,
        dtype: torch.dtype,
        held: tuple[DeviceMemory, Any] | None,
    ) -> None:
        """`held`: the memory and the buffer in it; one of `tensor` and `held` is given. See `lend` and `on_device`."""
        self.shape = shape
        self.dtype = dtype
        self._tensor = tensor
        self._held = held

    @classmethod
    def lend(cls, tensor: torch.Tensor) -> "ResidentTensor":
        """The values of a tensor."""
        return cls(tensor, tensor.shape, tensor.dtype, None)

    @classmethod
    def on_device(
        cls, memory: DeviceMemory, buffer: Any, shape: torch.Size, dtype: torch.dtype
    ) -> "ResidentTensor":
        """The values of a buffer."""
        return cls(None, shape, dtype, (memory, buffer))

    def __del__(self) -> None:
        # The buffer must be gone before its device is closed.
        if self._held is not None:
            memory, buffer = self._held
            self._held = None
            del buffer
            del memory

    @property
    def host_part(self) -> torch.Tensor | None:
        """The tensor, if the host has the values."""
        return self._tensor

    @property
    def is_cuda(self) -> bool:
        """Whether torch has the values in a CUDA tensor."""
        return self._tensor is not None and self._tensor.is_cuda

    @property
    def tensor(self) -> torch.Tensor:
        """The values as a tensor, which others may hold too."""
        if self._tensor is None:
            assert self._held is not None
            memory, buffer = self._held
            self._tensor = memory.download(buffer, self.dtype)
        return self._tensor

    def buffer(self, memory: DeviceMemory) -> Any:
        """The values as a buffer in that memory, which others may hold too."""
        held = self._held
        if held is None or held[0].device is not memory.device:
            # Two threads may do this at once: both buffers are right, and one of them is kept.
            held = self._held = memory, memory.upload(self.tensor)
        return held[1]

    @property
    def device_part(self) -> "ResidentTensor | None":
        """What the device has of it, without the tensor; None if it has nothing."""
        return None if self._held is None else ResidentTensor(None, self.shape, self.dtype, self._held)

    def with_tensor(self, tensor: torch.Tensor) -> "ResidentTensor":
        """The same, where the host has the same values in `tensor` already."""
        return ResidentTensor(tensor, self.shape, self.dtype, self._held)


def to_tensor(value: Any) -> Any:
    """A resident tensor as a tensor, which must not be written; anything else as it is."""
    return value.tensor if isinstance(value, ResidentTensor) else value
