# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Finding devices, and what is said where there are none."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from flambeau.runtime import devices
from flambeau.runtime.backends import Backend, lookup_backend
from flambeau.runtime.devices import cuda, vulkan
from flambeau.runtime.errors import BackendNotAvailableError


@pytest.fixture(autouse=True)
def _fresh_query() -> Iterator[None]:
    devices._query.cache_clear()
    yield
    devices._query.cache_clear()


def _nothing() -> tuple[()]:
    return ()


def _no_library() -> tuple[()]:
    raise OSError("libfoo.so: cannot open shared object file")


def test_cpu_drivers() -> None:
    cpu = lookup_backend("cpu")
    assert devices.find_device(cpu, "local-sync").driver == "local-sync"
    with pytest.raises(ValueError, match="valid: local-sync, local-task"):
        devices.find_device(cpu, "vulkan")
    assert devices.target_flags(cpu)[0] == "--iree-hal-target-device=local"


def test_missing_vulkan_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vulkan, "query_devices", _no_library)
    with pytest.raises(BackendNotAvailableError) as caught:
        devices.find_device(lookup_backend("vulkan"))
    for part in ("libfoo.so", "local-sync (CPU), local-task (CPU)", "apt install mesa-vulkan-drivers"):
        assert part in str(caught.value)


def test_library_without_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vulkan, "query_devices", _nothing)
    with pytest.raises(BackendNotAvailableError, match="shows no usable device"):
        devices.find_device(lookup_backend("vulkan"))


def test_missing_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "query_devices", _no_library)
    with pytest.raises(BackendNotAvailableError, match="NVIDIA's driver"):
        devices.find_device(lookup_backend("cuda"))


def test_device_unknown_to_iree() -> None:
    with pytest.raises(BackendNotAvailableError, match="IREE devices: local, vulkan, cuda"):
        devices.find_device(Backend("x", pipeline="y", device="abacus"))


def test_targets_without_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vulkan, "query_devices", _no_library)
    monkeypatch.setattr(cuda, "query_devices", _no_library)
    assert "subgroup_size_choices = [32]" in devices.target_flags(lookup_backend("vulkan"))[0]
    assert '"sm_80"' in devices.target_flags(lookup_backend("cuda"))[0]


def test_target_has_the_subgroup_size_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    device = replace(vulkan.PORTABLE_DEVICE, name="narrow", subgroup_size=4, float64=False, int64=False)
    monkeypatch.setattr(vulkan, "query_devices", lambda: (device,))
    (flag,) = devices.target_flags(lookup_backend("vulkan"))
    assert "subgroup_size_choices = [4]" in flag
    assert "compute = fp32|fp16|int32|int16|int8, storage = b32|b16|b8," in flag


def test_cuda_targets() -> None:
    """Newer parts run sm_80's PTX; older ones get their own, without its tensor-core instructions."""
    assert 'arch = "sm_80"' in cuda.CudaDevice("H100", (9, 0), 232448).target
    assert "max_workgroup_memory_bytes = 232448" in cuda.CudaDevice("H100", (9, 0), 232448).target
    old = cuda.CudaDevice("T4", (7, 5), 65536).target
    assert 'arch = "sm_75"' in old
    assert "mma" not in old


def test_a_device_is_opened_once() -> None:
    device = devices.find_device(lookup_backend("cpu"), "local-sync")
    assert devices.open_device(device) is devices.open_device(device)


def test_open_failure_keeps_iree_s_words() -> None:
    with pytest.raises(BackendNotAvailableError, match=r"IREE cannot open vulkan device 'gone': ."):
        devices.open_device(devices.Device("vulkan", "gone", path="GPU-" + "00" * 16))
