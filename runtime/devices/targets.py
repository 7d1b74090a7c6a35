# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Targets by name, for compiling on one machine what runs on another.

In: a backend and a target's name. Out: the compiler's flags, and what the machine that runs it must have.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from flambeau.runtime.backends import Backend
from flambeau.runtime.devices import cuda, target_flags, vulkan
from flambeau.runtime.devices.environment import cpu_features

__all__ = ["Target", "find_target", "list_targets"]


@dataclass(frozen=True)
class Target:
    """What to compile for.

    name: as `find_target` takes it.
    device: the value of `--iree-hal-target-device`.
    cpu_flags: more flags for IREE's compiler.
    cpu_features: what /proc/cpuinfo of the machine that runs it must list. GPUs are checked by what they compute.
    """

    name: str
    device: str
    cpu_flags: tuple[str, ...] = ()
    cpu_features: tuple[str, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """The compiler's flags; they win over the backend's."""
        return (f"{_DEVICE}={self.device}", *self.cpu_flags)


_DEVICE = "--iree-hal-target-device"

# The micro-architecture levels of x86-64, in the kernel's words.
_X86_64_V2 = ("cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3")
_X86_64_V3 = (*_X86_64_V2, "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe")
_X86_64_V4 = (*_X86_64_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
_X86_64_LEVELS = {"x86-64": (), "x86-64-v2": _X86_64_V2, "x86-64-v3": _X86_64_V3, "x86-64-v4": _X86_64_V4}

# Instruction sets that a compiler may use where it finds them: all others are the kernel's or the system's affair.
_INSTRUCTIONS = re.compile(
    r"sse\w*|ssse3|pni|avx\w*|fma|f16c|bmi[12]|abm|movbe|popcnt|cx16|lahf_lm|adx|aes|vaes|pclmulqdq|vpclmulqdq|gfni|amx_\w+"
    r"|sha_ni|asimd\w*|sve\w*|fphp|bf16|i8mm"
)

# Shared memory per block that a kernel may ask for, in bytes (CUDA C programming guide, table of technical
# specifications).
_CUDA_SHARED_MEMORY = {70: 98304, 75: 65536, 80: 166912, 86: 101376, 89: 101376, 90: 232448}


def find_target(backend: Backend, name: str | None = None) -> Target:
    """A target of the backend. ValueError, with the valid names, if it has none of that name.

    None: this machine's device where it has one, else a device that most have. A name that begins with
    `#hal.device.target` is IREE's own description of a target.
    """
    if name is not None and name.startswith("#hal.device.target<"):
        return Target(name, name)
    if name is None and backend.device != "local":
        (flag,) = target_flags(backend)
        return Target("default", flag.removeprefix(f"{_DEVICE}="))
    targets = _targets(backend)
    key = name or "host"
    if key not in targets:
        raise ValueError(
            f"backend {backend.name!r} has no target {name!r}; valid: {', '.join(targets)}, "
            "or IREE's own description (#hal.device.target<...>)"
        )
    return targets[key]()


def list_targets(backend: Backend) -> list[str]:
    """The names of the backend's targets."""
    return list(_targets(backend))


def _targets(backend: Backend) -> dict[str, Callable[[], Target]]:
    makers = {"local": _cpu_targets, "vulkan": _vulkan_targets, "cuda": _cuda_targets}
    if backend.device not in makers:
        raise ValueError(
            f"backend {backend.name!r} does not compile with IREE; those that do run on {', '.join(makers)}"
        )
    return makers[backend.device]()


def _cpu_targets() -> dict[str, Callable[[], Target]]:
    def level(name: str, features: tuple[str, ...]) -> Callable[[], Target]:
        flags = ("--iree-llvmcpu-target-triple=x86_64-unknown-linux-gnu", f"--iree-llvmcpu-target-cpu={name}")
        return lambda: Target(name, "local", flags, features)

    return {
        "host": lambda: Target("host", "local", (), _host_features()),
        **{name: level(name, features) for name, features in _X86_64_LEVELS.items()},
        "aarch64": lambda: Target(
            "aarch64",
            "local",
            ("--iree-llvmcpu-target-triple=aarch64-unknown-linux-gnu", "--iree-llvmcpu-target-cpu=generic"),
            ("asimd",),
        ),
    }


def _host_features() -> tuple[str, ...]:
    """The instruction sets of this machine, which the compiler finds for itself."""
    features = tuple(filter(_INSTRUCTIONS.fullmatch, cpu_features()))
    if not features:
        raise ValueError(
            "this system does not say what its CPU has, so nobody could check it later: name a target"
        )
    return features


def _vulkan_targets() -> dict[str, Callable[[], Target]]:
    def subgroup(size: int) -> Callable[[], Target]:
        device = replace(vulkan.PORTABLE_DEVICE, subgroup_size=size)
        return lambda: Target(f"subgroup-{size}", device.target)

    return {f"subgroup-{size}": subgroup(size) for size in (8, 16, 32, 64)}


def _cuda_targets() -> dict[str, Callable[[], Target]]:
    def architecture(number: int, shared_memory: int) -> Callable[[], Target]:
        device = cuda.CudaDevice("", divmod(number, 10), shared_memory)
        return lambda: Target(f"sm_{number}", device.target)

    return {f"sm_{number}": architecture(number, size) for number, size in _CUDA_SHARED_MEMORY.items()}
