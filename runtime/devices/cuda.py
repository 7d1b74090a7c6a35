# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The CUDA devices of this machine, asked from NVIDIA's driver library, and the compiler's target for them."""

import ctypes
import sys
from dataclasses import dataclass
from functools import cache

__all__ = ["PORTABLE_DEVICE", "CudaDevice", "query_devices"]

_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_CAPABILITY_MAJOR, _CAPABILITY_MINOR, _SHARED_MEMORY_OPTIN = 75, 76, 97  # CUdevice_attribute

# Tensor-core instructions that IREE 3.13 knows for sm_80; older parts get none.
_AMPERE_MMA = (
    "mma = [<NV_MMA_SYNC_F32_16x8x16_F16>, <NV_MMA_SYNC_F16_16x8x16_F16>, <NV_MMA_SYNC_F32_16x8x16_BF16>, "
    "<NV_WMMA_F32_16x16x16_F16>, <NV_WMMA_F16_16x16x16_F16>], "
)


@dataclass(frozen=True)
class CudaDevice:
    """One GPU: compute capability as (major, minor), shared memory per block in bytes."""

    name: str
    capability: tuple[int, int]
    shared_memory: int

    @property
    def target(self) -> str:
        """The device as IREE's `--iree-hal-target-device` takes it.

        PTX for sm_80 runs on every newer GPU (the driver compiles it at load time), and IREE 3.13 has no tuned code
        for what came after; so newer GPUs are targeted as sm_80 with their own shared memory.
        """
        major, minor = min(self.capability, (8, 0))
        mma = _AMPERE_MMA if major >= 8 else ""
        return (
            '#hal.device.target<"cuda", [#hal.executable.target<"cuda", "cuda-nvptx-fb", '
            f'{{iree_codegen.target_info = #iree_gpu.target<arch = "sm_{major}{minor}", features = "+ptx76", '
            "wgp = <compute = fp64|fp32|fp16|int64|int32|int16|int8, storage = b64|b32|b16|b8, "
            f"subgroup = shuffle|arithmetic, dot = dp4xi8toi32, {mma}subgroup_size_choices = [32], "
            "max_workgroup_sizes = [1024, 1024, 1024], max_thread_count_per_workgroup = 1024, "
            f"max_workgroup_memory_bytes = {self.shared_memory}, "
            "max_workgroup_counts = [2147483647, 65535, 65535]>>}>]>"
        )


# What to compile for where no GPU can be asked: the shared memory that every sm_80 part and newer has.
PORTABLE_DEVICE = CudaDevice("portable", (8, 0), 101376)


@cache
def query_devices() -> tuple[CudaDevice, ...]:
    """The GPUs in the driver's order. OSError if there is no driver library or it refuses to start."""
    cuda = ctypes.CDLL(_DRIVER)
    status = cuda.cuInit(0)
    if status != 0:
        raise OSError(f"{_DRIVER}: cuInit returned {status}")
    count = ctypes.c_int()
    cuda.cuDeviceGetCount(ctypes.byref(count))
    return tuple(_describe(cuda, ordinal) for ordinal in range(count.value))


def _describe(cuda: ctypes.CDLL, ordinal: int) -> CudaDevice:
    device = ctypes.c_int()
    cuda.cuDeviceGet(ctypes.byref(device), ordinal)
    name = ctypes.create_string_buffer(256)
    cuda.cuDeviceGetName(name, len(name), device)

    def attribute(code: int) -> int:
        value = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(value), code, device)
        return value.value

    capability = (attribute(_CAPABILITY_MAJOR), attribute(_CAPABILITY_MINOR))
    return CudaDevice(name.value.decode(errors="replace"), capability, attribute(_SHARED_MEMORY_OPTIN))
