# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Artefact in, executable on the backend's device out: finds and checks the device; on the CPU chooses the driver."""

from flambeau.runtime.artefact_cache import ArtefactCache
from flambeau.runtime.backends import Backend
from flambeau.runtime.devices import find_device
from flambeau.runtime.errors import BackendNotAvailableError
from flambeau.runtime.iree.compiler import Artefact
from flambeau.runtime.iree.executable import Executable
from flambeau.runtime.iree.self_check import check_device

__all__ = ["choose_driver", "estimate_seconds", "load"]

# One core of a current server or laptop, on the low side, so that middle-sized work goes to the worker threads.
_FLOPS_PER_SECOND = 20e9
_BYTES_PER_SECOND = 10e9

# Waking the workers costs 20 to 60 us per call.
_WORTH_WAKING_WORKERS = 100e-6


def load(
    artefact: Artefact,
    backend: Backend,
    *,
    driver: str | None = None,
    estimated_seconds: float | None = None,
    cache: ArtefactCache | None = None,
) -> Executable:
    """Load an artefact on the backend's device.

    driver: on the CPU "local-sync" or "local-task"; None chooses by `estimated_seconds`, see choose_driver.
    cache: where the numeric self-check of a GPU is kept.
    BackendNotAvailableError if there is no such device, if it fails the numeric self-check, or if the artefact was
    compiled for another one; LoadError if IREE refuses the artefact.
    """
    if backend.device == "local":
        return Executable(artefact, find_device(backend, driver or choose_driver(estimated_seconds)))
    device = find_device(backend, driver)
    if artefact.target != device.target:
        raise BackendNotAvailableError(
            f"the artefact was compiled for another {device.driver} device than {device.name!r}, where it could "
            f"compute wrong numbers: compile it again on this machine.\n"
            f"  artefact: {artefact.target}\n  device: {device.target}"
        )
    check_device(backend, device, cache)
    return Executable(artefact, device)


def choose_driver(estimated_seconds: float | None) -> str:
    """The CPU driver for a function that takes that long on one core: the caller's thread below 100 us, else workers.

    Unknown is taken for long: workers cost a short call 50 us, the caller's thread costs a long one all other cores.
    """
    if estimated_seconds is not None and estimated_seconds < _WORTH_WAKING_WORKERS:
        return "local-sync"
    return "local-task"


def estimate_seconds(flops: float, bytes_moved: float) -> float:
    """Time on one core of work that is bound by arithmetic or by memory, whichever takes longer."""
    return max(flops / _FLOPS_PER_SECOND, bytes_moved / _BYTES_PER_SECOND)
