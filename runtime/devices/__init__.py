# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which devices there are, what the compiler has to know about them, and the opened IREE device of each.

In: a backend. Out: the compiler's target flags, or an IREE device; BackendNotAvailableError if this machine has none.
"""

import ctypes
import os
import threading
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from flambeau.runtime.backends import Backend
from flambeau.runtime.devices import cuda, vulkan
from flambeau.runtime.errors import BackendNotAvailableError

if TYPE_CHECKING:
    import iree.runtime

__all__ = [
    "LOCAL_DRIVERS",
    "Device",
    "OpenDevice",
    "available_devices",
    "find_device",
    "open_device",
    "target_flags",
    "vm_instance",
    "why_absent",
]

# Runs in the caller's thread / in a pool of worker threads.
LOCAL_DRIVERS = ("local-sync", "local-task")

# Compiled code may take up to 1 MiB of stack (iree/compiler.py) and IREE's workers have 128 KiB by default.
_WORKER_STACK_BYTES = 2 << 20

# Freed buffers that the allocator keeps; by default 64, fewer than one training step has results.
_CACHE_BUFFERS = 1024

_INSTALL_HINTS = {
    "vulkan": "Debian and Ubuntu: `apt install mesa-vulkan-drivers` gives a software device; "
    "for a GPU install its vendor's Vulkan driver",
    "cuda": "install NVIDIA's driver, which brings libcuda",
}


@dataclass(frozen=True)
class Device:
    """One device: IREE's driver for it, its name, the target to compile for, whether the CPU plays the GPU."""

    driver: str
    name: str
    target: str = "local"
    path: str = ""
    software: bool = False


def available_devices() -> tuple[Device, ...]:
    """All devices of this machine, the CPU's two drivers first. Does not load IREE."""
    local = tuple(Device(driver, "CPU") for driver in LOCAL_DRIVERS)
    return local + tuple(device for driver in ("vulkan", "cuda") for device in _query(driver)[0])


def find_device(backend: Backend, driver: str | None = None) -> Device:
    """The device that a backend runs on; a real GPU is preferred to a software one.

    For the CPU `driver` is "local-sync" or "local-task" (None). BackendNotAvailableError if there is no such device;
    the message lists what there is and what to install.
    """
    if backend.device == "local":
        driver = driver or "local-task"
        if driver not in LOCAL_DRIVERS:
            raise ValueError(f"unknown CPU driver {driver!r}; valid: {', '.join(LOCAL_DRIVERS)}")
        return Device(driver, "CPU")
    if driver not in (None, backend.device):
        raise ValueError(f"backend {backend.name!r} has one driver, {backend.device!r}, not {driver!r}")
    if backend.device not in _INSTALL_HINTS:
        raise BackendNotAvailableError(
            f"backend {backend.name!r} runs on {backend.device!r}, which is not an IREE device; "
            f"IREE devices: local, {', '.join(_INSTALL_HINTS)}"
        )
    devices, _ = _query(backend.device)
    if not devices:
        present = ", ".join(f"{device.driver} ({device.name})" for device in available_devices())
        raise BackendNotAvailableError(
            f"backend {backend.name!r} needs a {backend.device} device, and there is none: "
            f"{why_absent(backend.device)} Devices of this machine: {present}."
        )
    return devices[0]


def why_absent(driver: str) -> str:
    """Why there is no device for "vulkan" or "cuda", and what to install; empty if there is one."""
    devices, reason = _query(driver)
    return "" if devices else f"{reason}. To get one: {_INSTALL_HINTS[driver]}."


def target_flags(backend: Backend) -> tuple[str, ...]:
    """The compiler flags that say what to compile for.

    A GPU target is written from the device's own features. Without a device it is a portable one, so that compiling
    works everywhere; an artefact for another target than the device's own is refused when it is loaded.
    """
    if backend.device == "local":
        return ("--iree-hal-target-device=local", f"--iree-hal-local-target-device-backends={backend.target}")
    portable = {"vulkan": vulkan.PORTABLE_DEVICE.target, "cuda": cuda.PORTABLE_DEVICE.target}
    if backend.device not in portable:
        raise ValueError(f"backend {backend.name!r} does not compile with IREE (device {backend.device!r})")
    devices, _ = _query(backend.device)
    return (f"--iree-hal-target-device={devices[0].target if devices else portable[backend.device]}",)


class OpenDevice:
    """An opened device: `hal` is IREE's. A Vulkan one is closed when the last owner of this object is gone."""

    def __init__(self, hal: "iree.runtime.HalDevice") -> None:
        self.hal = hal


def open_device(device: Device) -> OpenDevice:
    """The device, opened once however many use it. BackendNotAvailableError with IREE's message if it cannot be.

    While a Vulkan device is open, IREE's threads wait in the driver for work to end. Mesa's software device implements
    that wait by spinning, on two cores: hence closed when unused.
    """
    with _OPEN_LOCK:
        opened = _OPEN.get(device)
        if opened is None:
            opened = _OPEN[device] = OpenDevice(_open(device))
            if device.driver != "vulkan":
                _make_immortal(opened)
        return opened


@cache
def vm_instance() -> "iree.runtime.VmInstance":
    """IREE's one virtual machine of this process."""
    import iree.runtime

    return iree.runtime.VmInstance()


_OPEN_LOCK = threading.Lock()
_OPEN: WeakValueDictionary[Device, OpenDevice] = WeakValueDictionary()


@cache
def _query(driver: str) -> tuple[tuple[Device, ...], str]:
    """The devices of a GPU driver, and the reason if there are none."""
    try:
        if driver == "vulkan":
            found = tuple(
                Device("vulkan", device.name, device.target, f"GPU-{device.uuid}", device.software)
                for device in vulkan.query_devices()
            )
        else:
            found = tuple(
                Device("cuda", device.name, device.target, str(ordinal))
                for ordinal, device in enumerate(cuda.query_devices())
            )
    except OSError as error:
        return (), str(error)
    return found, "" if found else f"the {driver} driver library is there but shows no usable device"


def _open(device: Device) -> "iree.runtime.HalDevice":
    import iree.runtime
    from iree.runtime import _binding

    _binding.disable_leak_checker()  # would report at exit, at length, what still lives then
    if device.driver == "local-task" and "task_worker_stack_size" not in os.environ.get(
        "IREE_PY_RUNTIME_FLAGS", ""
    ):
        iree.runtime.flags.parse_flags(f"--task_worker_stack_size={_WORKER_STACK_BYTES}")
    if device.driver == "cuda":
        # Memory from CUDA's own pools cannot be shared with torch (IREE 3.13: "not supported for export").
        iree.runtime.flags.parse_flags("--cuda_async_allocations=false")
    # Without the caching allocator each result is fresh memory, zeroed and faulted in page by page: ten times slower
    # for large results. The Vulkan driver cannot serve it (IREE 3.13: "cannot allocate a Vulkan buffer").
    allocators = None if device.driver == "vulkan" else [f"caching:*=*;{_cache_bytes()};{_CACHE_BUFFERS}"]
    try:
        driver = iree.runtime.get_driver(device.driver)
        return driver.create_device_by_uri(f"{device.driver}://{device.path}", allocators=allocators)
    except (RuntimeError, ValueError) as error:
        raise BackendNotAvailableError(
            f"IREE cannot open {device.driver} device {device.name!r}: {error}"
        ) from error


def _cache_bytes() -> int:
    """What the allocator may hold, buffers in use included, before it gives freed ones back.

    A freed buffer serves only a request of the same size, so without a limit every new size would stay for ever.
    """
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4


def _make_immortal(device: OpenDevice) -> None:
    """Keep a device that shares memory with torch until the process ends.

    Result tensors hold memory of its caching allocator and may outlive everything else; giving memory back to an
    allocator that is gone crashes the process. A Vulkan device need not be kept: its results are copies.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(device))
