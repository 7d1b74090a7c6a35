# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Computes a few ops on a GPU once per process and refuses the device if a number is wrong.

IREE's GPU code can be silently wrong where its idea of the device is: with another subgroup size, small matmuls and
reductions came out as garbage. On a device with subgroups of 8, each of these three showed it for each of 16, 32 and
64; other shapes, odd ones above all, did not.
"""

import json
import threading

import torch

from flambeau.runtime.artefact_cache import ArtefactCache, digest
from flambeau.runtime.backends import Backend
from flambeau.runtime.devices import Device
from flambeau.runtime.devices.environment import compiler_parts
from flambeau.runtime.errors import BackendNotAvailableError, CompileError, ExecutionError, LoadError
from flambeau.runtime.iree.compiler import Artefact, compile_module
from flambeau.runtime.iree.executable import Executable, ResultSpec

__all__ = ["MODULE", "check_device"]

MODULE = """
func.func @matmul(%a: !torch.vtensor<[2,64],f32>, %b: !torch.vtensor<[64,10],f32>) -> !torch.vtensor<[2,10],f32> {
  %0 = torch.aten.mm %a, %b
      : !torch.vtensor<[2,64],f32>, !torch.vtensor<[64,10],f32> -> !torch.vtensor<[2,10],f32>
  return %0 : !torch.vtensor<[2,10],f32>
}
func.func @row_sum(%a: !torch.vtensor<[4,1024],f32>) -> !torch.vtensor<[4],f32> {
  %one = torch.constant.int 1
  %false = torch.constant.bool false
  %none = torch.constant.none
  %dims = torch.prim.ListConstruct %one : (!torch.int) -> !torch.list<int>
  %0 = torch.aten.sum.dim_IntList %a, %dims, %false, %none
      : !torch.vtensor<[4,1024],f32>, !torch.list<int>, !torch.bool, !torch.none -> !torch.vtensor<[4],f32>
  return %0 : !torch.vtensor<[4],f32>
}
func.func @softmax(%a: !torch.vtensor<[4,128],f32>) -> !torch.vtensor<[4,128],f32> {
  %one = torch.constant.int 1
  %false = torch.constant.bool false
  %0 = torch.aten._softmax %a, %one, %false
      : !torch.vtensor<[4,128],f32>, !torch.int, !torch.bool -> !torch.vtensor<[4,128],f32>
  return %0 : !torch.vtensor<[4,128],f32>
}
"""

_LOCK = threading.Lock()
_VERDICTS: dict[Device, str] = {}  # "" if the device is sound


def check_device(backend: Backend, device: Device, cache: ArtefactCache | None = None) -> None:
    """BackendNotAvailableError if the device computes wrong numbers or fails; costs about a second the first time.

    With a `cache` the check is compiled once for all processes; it runs once in each, as a driver may have changed.
    """
    with _LOCK:
        if device not in _VERDICTS:
            _VERDICTS[device] = _failures(backend, device, cache)
    if _VERDICTS[device]:
        raise BackendNotAvailableError(
            f"{device.driver} device {device.name!r} fails the numeric self-check and is refused: {_VERDICTS[device]}"
        )


def _failures(backend: Backend, device: Device, cache: ArtefactCache | None) -> str:
    """The checks that are off by more than 1e-5 of the largest value, with by how much; empty if none."""
    try:
        executable = Executable(_artefact(backend, cache), device)
    except (CompileError, LoadError) as error:
        return f"it cannot be run: {error}"
    generator = torch.Generator().manual_seed(0)
    a, b, c, d = (
        torch.randn(shape, generator=generator) for shape in ((2, 64), (64, 10), (4, 1024), (4, 128))
    )
    checks = {
        "matmul": ([a, b], a.double() @ b.double()),
        "row_sum": ([c], c.double().sum(1)),
        "softmax": ([d], d.double().softmax(1)),
    }
    failures = []
    for name, (arguments, expected) in checks.items():
        try:
            (result,) = executable.function(name, [ResultSpec(torch.float32)])(arguments)
        except ExecutionError as error:
            failures.append(str(error))
            continue
        assert isinstance(result, torch.Tensor)
        difference = ((result.double() - expected).abs().max() / expected.abs().max()).item()
        if not difference < 1e-5:  # also true for NaN
            failures.append(f"{name} is off by {difference:.1e}")
    return ", ".join(failures)


def _artefact(backend: Backend, cache: ArtefactCache | None) -> Artefact:
    """The compiled check, from the cache or put there."""
    parts = compiler_parts(backend) if cache else None
    if cache is None or parts is None:
        return compile_module(MODULE, backend)
    parts["ir"] = digest(MODULE)
    files = cache.lookup(parts)
    if files is not None:
        return Artefact.of_facts(files["artefact.vmfb"], json.loads(files["facts.json"]))
    artefact = compile_module(MODULE, backend)
    files = {"artefact.vmfb": artefact.vmfb, "facts.json": json.dumps(artefact.facts()).encode()}
    cache.store(parts, files, f"self-check of {backend.name}")
    return artefact
