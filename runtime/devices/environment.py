# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What an artefact depends on besides its program: target, package versions, Flambeau's own code, this machine's CPU.

Loads none of the packages that it asks about.
"""

import hashlib
import os
import platform
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from flambeau.runtime.backends import Backend
from flambeau.runtime.devices import target_flags

__all__ = [
    "CPU_FEATURES",
    "compiler_parts",
    "cpu_features",
    "cpu_name",
    "package_version",
    "source_digest",
]

# Those whose version decides what comes out of a compilation.
_COMPILER_PACKAGES = ("torch", "torch-mlir", "iree-base-compiler", "iree-base-runtime")

# What code generators ask for, newest first; `cpu_features` knows all others too.
CPU_FEATURES = (
    "amx_tile",
    "avx512f",
    "avx512_bf16",
    "avx_vnni",
    "avx2",
    "fma",
    "sve2",
    "sve",
    "asimd",
    "neon",
)

_STARTED = time.time()


def package_version(name: str) -> str | None:
    """The installed version of a distribution, None if there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def compiler_parts(backend: Backend) -> dict[str, str] | None:
    """By name, what decides the artefact of any program for a backend; None if that cannot be told."""
    sources = source_digest()
    if sources is None:
        return None
    parts = {
        "target": " ".join((backend.target, backend.device, *target_flags(backend))),
        "flags": " ".join(backend.flags),
        "flambeau": f"{package_version('flambeau')}, sources {sources}",
        **{name: str(package_version(name)) for name in _COMPILER_PACKAGES},
    }
    if backend.device == "local":
        features = hashlib.sha256(" ".join(cpu_features()).encode()).hexdigest()
        parts["cpu"] = f"{cpu_name()}, features {features}"
    return parts


@cache
def source_digest() -> str | None:
    """The SHA-256 of Flambeau's sources, in hexadecimal: its version stays the same while its code is worked on.

    None if a file has changed since this process began: then nobody knows which of its states this process runs.
    """
    package = Path(__file__).parents[2]
    content = hashlib.sha256()
    for folder, folders, files in os.walk(package, followlinks=True):  # the parts of a checkout are links
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            if name.endswith(".py"):
                path = Path(folder, name)
                if _STARTED < path.stat().st_mtime <= time.time():
                    return None
                content.update(f"{path.relative_to(package)}\0".encode())
                content.update(path.read_bytes())
    return content.hexdigest()


@cache
def cpu_name() -> str:
    """The CPU's model as its maker calls it, or its architecture where the system does not say."""
    fields = _cpuinfo()
    return fields.get("model name") or fields.get("CPU part") or platform.processor() or platform.machine()


@cache
def cpu_features() -> tuple[str, ...]:
    """The instruction-set extensions that the system reports, sorted; empty where it does not say."""
    fields = _cpuinfo()
    return tuple(sorted((fields.get("flags") or fields.get("Features") or "").split()))


@cache
def _cpuinfo() -> dict[str, str]:
    """The description of the first core; empty on systems without /proc/cpuinfo."""
    try:
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
