# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tensors that stay on a device: copied once, never overwritten, freed before the device. CUDA by a stand-in."""

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from weakref import WeakValueDictionary

import pytest
import torch

from flambeau.dialects import create_context
from flambeau.dialects.bindings import ir
from flambeau.runtime import devices, interpreter
from flambeau.runtime.backends import lookup_backend
from flambeau.runtime.counters import counters
from flambeau.runtime.errors import ExecutionError
from flambeau.runtime.iree import buffers
from flambeau.runtime.iree.compiler import compile_module
from flambeau.runtime.iree.executable import Executable, ResultSpec
from flambeau.runtime.iree.session import load
from flambeau.runtime.resident import ResidentTensor

Build = Callable[..., Executable]

needs_vulkan = pytest.mark.skipif(
    not any(device.driver == "vulkan" for device in devices.available_devices()),
    reason="no Vulkan device; Debian's mesa-vulkan-drivers has a software one",
)

V, ROWS = "!torch.vtensor<[4,8],f32>", "!torch.vtensor<[2],si64>"
R = "!torch.vtensor<[2,8],f32>"
# Overwrites %a where IREE is not kept from it; overwrites %b; and returns what it was given.
MODULE = f"""
func.func @put(%a: {V}, %i: {ROWS}, %r: {R}) -> {V} {{
  %true = torch.constant.bool true
  %list = torch.prim.ListConstruct %i : ({ROWS}) -> !torch.list<vtensor>
  %0 = torch.aten.index_put %a, %list, %r, %true : {V}, !torch.list<vtensor>, {R}, !torch.bool -> {V}
  return %0 : {V}
}}
func.func @matmul(%a: tensor<4x4xf32>, %b: tensor<4x4xf32>) -> tensor<4x4xf32> {{
  %0 = linalg.matmul ins(%a, %a : tensor<4x4xf32>, tensor<4x4xf32>) outs(%b : tensor<4x4xf32>) -> tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}}
func.func @negate(%a: {V}) -> ({V}, {V}) {{
  %0 = torch.aten.neg %a : {V} -> {V}
  return %0, %a : {V}, {V}
}}
"""

PLAIN = ResultSpec(torch.float32)
STAYS = ResultSpec(torch.float32, stays=True)


def _copied() -> tuple[int, int]:
    """Bytes to a device and back, so far."""
    return counters["bytes.to_device"], counters["bytes.to_host"]


@pytest.fixture
def executable(build: Build) -> Executable:
    return build(MODULE, "vulkan")


@needs_vulkan
def test_a_result_that_stays_is_fetched_once(executable: Executable) -> None:
    a = torch.randn(4, 8)
    before = _copied()
    first, _ = executable.function("negate", [STAYS, STAYS])([a])
    second, same = executable.function("negate", [STAYS, STAYS])([first])
    assert (first.shape, first.dtype) == (a.shape, a.dtype)
    assert _copied() == (before[0] + a.nbytes, before[1])
    assert torch.equal(second.tensor, a)
    assert second.tensor is second.tensor
    assert torch.equal(same.tensor, -a)
    assert _copied() == (before[0] + a.nbytes, before[1] + 2 * a.nbytes)


@needs_vulkan
def test_an_argument_is_copied_once(executable: Executable) -> None:
    a = torch.randn(4, 8)
    lent = ResidentTensor.lend(a)
    assert lent.device_part is None
    before = _copied()
    for _ in range(3):
        assert torch.equal(executable.function("negate", [PLAIN, STAYS])([lent])[0], -a)
    assert _copied()[0] == before[0] + a.nbytes
    part = lent.device_part
    assert part is not None
    assert part.host_part is None
    assert torch.equal(executable.function("negate", [PLAIN, STAYS])([part])[0], -a)
    assert _copied()[0] == before[0] + a.nbytes


@needs_vulkan
def test_what_stays_is_never_overwritten(executable: Executable) -> None:
    """By an op that updates its argument; with builtin tensor types, which IREE does not leave alone."""
    a, rows, values = torch.randn(4, 8), torch.tensor([1, 1]), torch.randn(2, 8)
    put, (kept, _) = executable.function("put", [PLAIN]), executable.function("negate", [STAYS, STAYS])([a])
    for _ in range(2):
        (result,) = put([kept, rows, values])
        torch.testing.assert_close(result, (-a).index_put((rows,), values, accumulate=True))
    assert torch.equal(kept.tensor, -a)

    square = torch.ones(4, 4)
    lent = ResidentTensor.lend(square)
    for _ in range(2):
        (result,) = executable.function("matmul", [PLAIN])([lent, lent])
        assert torch.equal(result, torch.full((4, 4), 5.0))
    part = lent.device_part
    assert part is not None
    assert torch.equal(part.tensor, square)


def test_memory_is_shared_on_the_cpu(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flambeau.runtime.iree.executable._separate", lambda values, spans: None)
    call = build(MODULE).function("negate", [STAYS, PLAIN])
    a = torch.randn(4, 8)
    lent = ResidentTensor.lend(a)
    before = _copied()
    result, same = call([lent])
    assert torch.equal(result, -a)
    assert same.data_ptr() == a.data_ptr()
    assert lent.device_part is None
    assert _copied() == before


class CountingMemory:
    """A device's memory, as tensors; says how often it was read."""

    def __init__(self) -> None:
        self.device = self
        self.downloads = 0

    def upload(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.clone()

    def download(self, buffer: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        self.downloads += 1
        return buffer.to(dtype)


def test_the_interpreter_fetches_what_an_op_reads() -> None:
    """Once, however often it is read; not for its size; and not what only compiled functions read."""
    memory = CountingMemory()
    x, y = (ResidentTensor.on_device(memory, torch.arange(3.0), torch.Size([3]), torch.float32) for _ in "xy")
    t = "tensor<?xf32>"
    text = f"""
    func.func private @compiled({t}) -> {t}
    func.func @f(%x: {t}, %y: {t}) -> ({t}, {t}, index) {{
      %0 = func.call @compiled(%y) : ({t}) -> {t}
      %1 = "flambeau.mul"(%x, %x) : ({t}, {t}) -> {t}
      %2 = "flambeau.add"(%1, %x) : ({t}, {t}) -> {t}
      %n = "flambeau.dim"(%y) {{index = 0 : i64}} : ({t}) -> index
      return %0, %2, %n : {t}, {t}, index
    }}"""
    with create_context(), ir.Location.unknown():
        module = interpreter.Module(ir.Module.parse(text), {"compiled": lambda value: [value]})
        passed, computed, size = module.function("f")(x, y)
    assert passed is y
    assert size == 3
    assert torch.equal(computed, torch.tensor([0.0, 2.0, 6.0]))
    assert memory.downloads == 1


@needs_vulkan
def test_what_stays_keeps_its_device_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_OPEN", WeakValueDictionary())
    vulkan = lookup_backend("vulkan")
    loaded = load(compile_module(MODULE, vulkan), vulkan)
    a = torch.randn(4, 8)
    kept, _ = loaded.function("negate", [STAYS, PLAIN])([a])
    opened = weakref.ref(devices.open_device(loaded.device))
    del loaded
    gc.collect()
    assert torch.equal(kept.tensor, -a)
    del kept
    gc.collect()
    assert opened() is None


@pytest.mark.slow
@needs_vulkan
def test_what_still_stays_at_exit_harms_nothing() -> None:
    code = f"""
import torch
from flambeau.runtime.backends import lookup_backend
from flambeau.runtime.iree.executable import ResultSpec
from flambeau.runtime.iree.compiler import compile_module
from flambeau.runtime.iree.session import load
vulkan = lookup_backend("vulkan")
executable = load(compile_module({MODULE!r}, vulkan), vulkan)
kept, other = executable.function("negate", [ResultSpec(torch.float32, stays=True)] * 2)([torch.ones(4, 8)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- CUDA, with the CPU in the place of the GPU ----------------------------------------------------------------------


class CudaTensor(torch.Tensor):
    """A CPU tensor that says that it is on cuda:<number>."""

    number = 0
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    device = property(lambda self: torch.device("cuda", self.number))  # type: ignore[assignment]

    def get_device(self) -> int:
        return self.number


def _on_gpu(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_subclass(CudaTensor)


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def on_cuda(build: Build, monkeypatch: pytest.MonkeyPatch, events: list[str]) -> Iterator[Executable]:
    """An executable on the CPU that takes its device for cuda:0; `events` are what it asks of IREE and torch."""
    executable = build(MODULE)
    hal = devices.open_device(executable.device).hal

    def export(view: Any, kind: int, index: int) -> Any:
        events.append(f"export {kind}:{index}")
        return hal.create_dlpack_capsule(view, 1, 0)

    def share(capsule: Any) -> Any:
        events.append("share")
        return hal.from_dlpack_capsule(capsule)

    invoke = executable._invoke

    def invoked(*arguments: Any) -> None:
        events.append("invoke")
        invoke(*arguments)

    stand_in = SimpleNamespace(
        allocator=hal.allocator, create_dlpack_capsule=export, from_dlpack_capsule=share
    )
    monkeypatch.setattr(executable, "_transfer", buffers.CudaTransfer(devices.OpenDevice(stand_in), 0))
    monkeypatch.setattr(executable, "_invoke", invoked)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda index: events.append(f"wait {index}"))
    monkeypatch.setattr(
        buffers.CopyingTransfer,
        "upload",
        lambda self, t: events.append("copy") or hal.from_dlpack_capsule(_capsule(t)),
    )
    return executable


def _capsule(tensor: torch.Tensor) -> Any:
    return torch.utils.dlpack.to_dlpack(tensor)  # type: ignore[attr-defined]


def test_cuda_tensors_are_shared_after_torch_has_finished(
    on_cuda: Executable, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flambeau.runtime.iree.executable._separate", lambda values, spans: None)
    a = torch.randn(4, 8)
    result, same = on_cuda.function("negate", [STAYS, PLAIN])([_on_gpu(a)])
    assert events == ["wait 0", "share", "invoke", "export 2:0", "export 2:0"]
    assert torch.equal(result, -a)
    assert same.data_ptr() == a.data_ptr()


def test_results_on_cuda_have_memory_of_their_own(on_cuda: Executable) -> None:
    a = torch.randn(4, 8)
    _, same = on_cuda.function("negate", [STAYS, STAYS])([_on_gpu(a)])
    assert torch.equal(same, a)
    assert same.data_ptr() != a.data_ptr()


def test_lent_cuda_tensors_are_shared_and_not_kept(on_cuda: Executable, events: list[str]) -> None:
    lent = ResidentTensor.lend(_on_gpu(torch.randn(4, 8)))
    on_cuda.function("negate", [PLAIN, PLAIN])([lent])
    assert events[:3] == ["wait 0", "share", "invoke"]
    assert lent.device_part is None


def test_strided_cuda_tensors_are_copied_by_torch_first(on_cuda: Executable, events: list[str]) -> None:
    a = torch.randn(8, 4)
    result, _ = on_cuda.function("negate", [PLAIN, PLAIN])([_on_gpu(a.t())])
    assert events[:4] == ["wait 0", "wait 0", "share", "invoke"]
    assert torch.equal(result, -a.t())


def test_cpu_tensors_are_copied_to_cuda(on_cuda: Executable, events: list[str]) -> None:
    """All of a call's: then nothing has to wait. Or some, among CUDA tensors: a scalar, the random seed."""
    a, rows, values = torch.randn(4, 8), torch.tensor([1, 2]), torch.randn(2, 8)
    kept, _ = on_cuda.function("negate", [STAYS, STAYS])([a])
    assert isinstance(kept, ResidentTensor)
    assert events == ["copy", "invoke"]
    events.clear()
    on_cuda.function("put", [PLAIN])([_on_gpu(a), rows, values])
    assert events == ["wait 0", "share", "copy", "copy", "invoke", "export 2:0"]


def test_another_cuda_device_is_refused(on_cuda: Executable, events: list[str]) -> None:
    other = _on_gpu(torch.randn(4, 8))
    other.number = 1  # type: ignore[attr-defined]
    with pytest.raises(ExecutionError, match=r"a tensor is on cuda:1, but the code was loaded on cuda:0"):
        on_cuda.function("negate", [PLAIN, PLAIN])([other])
    assert not events
