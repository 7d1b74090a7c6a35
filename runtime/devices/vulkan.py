# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The Vulkan devices of this machine with the features that IREE's code generator has to know.

Asks the Vulkan loader itself: IREE reports neither 64-bit integers and floats nor the limits of a work group. What goes
out is one record per device, and from it the target attribute that the compiler gets.
"""

import ctypes
import sys
from dataclasses import dataclass
from functools import cache

__all__ = ["PORTABLE_DEVICE", "VulkanDevice", "query_devices"]

_LOADER = {"win32": "vulkan-1.dll", "darwin": "libvulkan.1.dylib"}.get(sys.platform, "libvulkan.so.1")
_API_1_3 = (1 << 22) | (3 << 12)
_DEVICE_KINDS = ("other", "integrated", "discrete", "virtual", "cpu")  # VkPhysicalDeviceType
_SUBGROUP_ARITHMETIC, _SUBGROUP_SHUFFLE = 0x4, 0x10  # VkSubgroupFeatureFlagBits


@dataclass(frozen=True)
class VulkanDevice:
    """One physical device; sizes in bytes and threads, `uuid` in hexadecimal as IREE's device path has it."""

    name: str
    uuid: str
    kind: str
    subgroup_size: int
    subgroup_arithmetic: bool
    subgroup_shuffle: bool
    float64: bool
    float16: bool
    int64: bool
    int16: bool
    int8: bool
    storage16: bool
    storage8: bool
    workgroup_memory: int
    workgroup_counts: tuple[int, int, int]
    workgroup_threads: int
    workgroup_sizes: tuple[int, int, int]

    @property
    def software(self) -> bool:
        """Whether the CPU plays the GPU (Mesa's llvmpipe, SwiftShader)."""
        return self.kind == "cpu"

    @property
    def target(self) -> str:
        """The device as IREE's `--iree-hal-target-device` takes it.

        The subgroup size must be the device's own. With another one, as in IREE's named targets, small matmuls and
        reductions compute wrong numbers without an error.
        """
        compute = _bits(
            fp64=self.float64,
            fp32=True,
            fp16=self.float16,
            int64=self.int64,
            int32=True,
            int16=self.int16,
            int8=self.int8,
        )
        # A 64-bit element is read as a 64-bit integer or float, so storage of that width needs either.
        storage = _bits(b64=self.int64 or self.float64, b32=True, b16=self.storage16, b8=self.storage8)
        subgroup = _bits(shuffle=self.subgroup_shuffle, arithmetic=self.subgroup_arithmetic)
        return (
            '#hal.device.target<"vulkan", [#hal.executable.target<"vulkan-spirv", "vulkan-spirv-fb", '
            '{iree_codegen.target_info = #iree_gpu.target<arch = "", features = "spirv:v1.6,cap:Shader", '
            f"wgp = <compute = {compute}, storage = {storage}, subgroup = {subgroup}, "
            f"subgroup_size_choices = [{self.subgroup_size}], "
            f"max_workgroup_sizes = {list(self.workgroup_sizes)}, "
            f"max_thread_count_per_workgroup = {self.workgroup_threads}, "
            f"max_workgroup_memory_bytes = {self.workgroup_memory}, "
            f"max_workgroup_counts = {list(self.workgroup_counts)}>>}}>]>"
        )


# What to compile for where no device can be asked: subgroups of 32 (NVIDIA, most AMD and Intel settings), limits that
# every desktop driver has. An artefact made for it is refused on a device whose own record differs.
PORTABLE_DEVICE = VulkanDevice(
    name="portable",
    uuid="",
    kind="other",
    subgroup_size=32,
    subgroup_arithmetic=True,
    subgroup_shuffle=True,
    float64=True,
    float16=True,
    int64=True,
    int16=True,
    int8=True,
    storage16=True,
    storage8=True,
    workgroup_memory=32768,
    workgroup_counts=(65535, 65535, 65535),
    workgroup_threads=256,
    workgroup_sizes=(256, 256, 64),
)


@cache
def query_devices() -> tuple[VulkanDevice, ...]:
    """The devices with Vulkan 1.3, real GPUs first. OSError if there is no Vulkan loader or it refuses to start."""
    vulkan = ctypes.CDLL(_LOADER)
    application = _ApplicationInfo(sType=0, apiVersion=_API_1_3)
    info = _InstanceCreateInfo(sType=1, application=ctypes.addressof(application))
    instance = ctypes.c_void_p()
    status = vulkan.vkCreateInstance(ctypes.byref(info), None, ctypes.byref(instance))
    if status != 0:
        raise OSError(f"{_LOADER}: vkCreateInstance returned {status}")
    try:
        count = ctypes.c_uint32()
        vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None)
        handles = (ctypes.c_void_p * count.value)()
        vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), handles)
        found = [_describe(vulkan, ctypes.c_void_p(handle)) for handle in handles]
    finally:
        vulkan.vkDestroyInstance(instance, None)
    preference = ("discrete", "integrated", "virtual", "other", "cpu")
    return tuple(sorted(filter(None, found), key=lambda device: preference.index(device.kind)))


def _describe(vulkan: ctypes.CDLL, handle: ctypes.c_void_p) -> VulkanDevice | None:
    """The record of one device, or None if it is older than the Vulkan 1.3 that IREE needs."""
    subgroup = _SubgroupProperties(sType=1000094000)
    identity = _IdProperties(sType=1000071004, pNext=ctypes.addressof(subgroup))
    properties = _Properties2(sType=1000059001, pNext=ctypes.addressof(identity))
    vulkan.vkGetPhysicalDeviceProperties2(handle, ctypes.byref(properties))
    if properties.apiVersion < _API_1_3:
        return None
    small = _Float16Int8Features(sType=1000082000)
    storage8 = _StorageFeatures(sType=1000177000, pNext=ctypes.addressof(small))
    storage16 = _StorageFeatures(sType=1000083000, pNext=ctypes.addressof(storage8))
    features = _Features2(sType=1000059000, pNext=ctypes.addressof(storage16))
    vulkan.vkGetPhysicalDeviceFeatures2(handle, ctypes.byref(features))
    return VulkanDevice(
        name=properties.deviceName.decode(errors="replace"),
        uuid=bytes(identity.deviceUUID).hex(),
        kind=_DEVICE_KINDS[properties.deviceType] if properties.deviceType < len(_DEVICE_KINDS) else "other",
        subgroup_size=subgroup.subgroupSize,
        subgroup_arithmetic=bool(subgroup.supportedOperations & _SUBGROUP_ARITHMETIC),
        subgroup_shuffle=bool(subgroup.supportedOperations & _SUBGROUP_SHUFFLE),
        float64=bool(features.shaderFloat64),
        float16=bool(small.shaderFloat16),
        int64=bool(features.shaderInt64),
        int16=bool(features.shaderInt16),
        int8=bool(small.shaderInt8),
        storage16=bool(storage16.storageBufferAccess),
        storage8=bool(storage8.storageBufferAccess),
        workgroup_memory=properties.maxComputeSharedMemorySize,
        workgroup_counts=tuple(properties.maxComputeWorkGroupCount),
        workgroup_threads=properties.maxComputeWorkGroupInvocations,
        workgroup_sizes=tuple(properties.maxComputeWorkGroupSize),
    )


def _bits(**flags: bool) -> str:
    """The names that are set, in IREE's notation for bit enums."""
    return "|".join(name for name, on in flags.items() if on) or "none"


# The C structures of vulkan_core.h, with only the fields read here under their own names; `_` marks what is skipped.


class _ApplicationInfo(ctypes.Structure):
    _fields_ = (
        ("sType", ctypes.c_uint32),
        ("pNext", ctypes.c_void_p),
        ("_application_and_engine", ctypes.c_void_p * 3),  # a name, its version with padding, a name
        ("_engineVersion", ctypes.c_uint32),
        ("apiVersion", ctypes.c_uint32),
    )


class _InstanceCreateInfo(ctypes.Structure):
    _fields_ = (
        ("sType", ctypes.c_uint32),
        ("pNext", ctypes.c_void_p),
        ("flags", ctypes.c_uint32),
        ("application", ctypes.c_void_p),
        ("_layers_and_extensions", ctypes.c_void_p * 4),  # two counts with padding, two lists
    )


class _Properties2(ctypes.Structure):
    _fields_ = (
        ("sType", ctypes.c_uint32),
        ("pNext", ctypes.c_void_p),
        ("apiVersion", ctypes.c_uint32),
        ("_driver_vendor_device", ctypes.c_uint32 * 3),
        ("deviceType", ctypes.c_uint32),
        ("deviceName", ctypes.c_char * 256),
        ("_cache_uuid", ctypes.c_uint8 * 16),
        ("_padding", ctypes.c_uint32),
        ("_graphics_limits", ctypes.c_uint8 * 216),  # VkPhysicalDeviceLimits up to its compute part
        ("maxComputeSharedMemorySize", ctypes.c_uint32),
        ("maxComputeWorkGroupCount", ctypes.c_uint32 * 3),
        ("maxComputeWorkGroupInvocations", ctypes.c_uint32),
        ("maxComputeWorkGroupSize", ctypes.c_uint32 * 3),
        ("_rest", ctypes.c_uint64 * 64),
    )


class _IdProperties(ctypes.Structure):
    _fields_ = (
        ("sType", ctypes.c_uint32),
        ("pNext", ctypes.c_void_p),
        ("deviceUUID", ctypes.c_uint8 * 16),
        ("_rest", ctypes.c_uint32 * 8),
    )


class _SubgroupProperties(ctypes.Structure):
    _fields_ = (
        ("sType", ctypes.c_uint32),
        ("pNext", ctypes.c_void_p),
        ("subgroupSize", ctypes.c_uint32),
        ("_supportedStages", ctypes.c_uint32),
        ("supportedOperations", ctypes.c_uint32),
        ("_quadOperations", ctypes.c_uint32),
    )


class _Features2(ctypes.Structure):
    _fields_ = (
        ("sType", ctypes.c_uint32),
        ("pNext", ctypes.c_void_p),
        ("_graphics", ctypes.c_uint32 * 39),
        ("shaderFloat64", ctypes.c_uint32),
        ("shaderInt64", ctypes.c_uint32),
        ("shaderInt16", ctypes.c_uint32),
        ("_rest", ctypes.c_uint32 * 16),
    )


class _StorageFeatures(ctypes.Structure):
    """VkPhysicalDevice8BitStorageFeatures and its 16-bit sister, which begin alike."""

    _fields_ = (
        ("sType", ctypes.c_uint32),
        ("pNext", ctypes.c_void_p),
        ("storageBufferAccess", ctypes.c_uint32),
        ("_rest", ctypes.c_uint32 * 3),
    )


class _Float16Int8Features(ctypes.Structure):
    _fields_ = (
        ("sType", ctypes.c_uint32),
        ("pNext", ctypes.c_void_p),
        ("shaderFloat16", ctypes.c_uint32),
        ("shaderInt8", ctypes.c_uint32),
    )
