# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiling: artefacts for every target, the ladder, and failures that harm nobody."""

import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from flambeau.runtime import devices
from flambeau.runtime.backends import lookup_backend
from flambeau.runtime.counters import counters
from flambeau.runtime.devices import cuda, vulkan
from flambeau.runtime.errors import CompileError
from flambeau.runtime.iree import compiler
from flambeau.runtime.iree.compiler import DATA_TILING, LADDERS, Rung, compile_module

MATMUL = """
func.func @main(%a: !torch.vtensor<[?,16],f32>, %b: !torch.vtensor<[16,32],f32>) -> !torch.vtensor<[?,32],f32> {
  %0 = torch.aten.mm %a, %b
      : !torch.vtensor<[?,16],f32>, !torch.vtensor<[16,32],f32> -> !torch.vtensor<[?,32],f32>
  return %0 : !torch.vtensor<[?,32],f32>
}
"""

# An op that IREE's torch input path does not know, from line 12 of somebody's model.
UNSUPPORTED = """
func.func @main(%a: !torch.vtensor<[2,3],f32>) -> !torch.vtensor<[2,3],f32> {
  %0 = torch.operator "torch.aten.nonsense"(%a)
      : (!torch.vtensor<[2,3],f32>) -> !torch.vtensor<[2,3],f32> loc("model.py":12:5)
  return %0 : !torch.vtensor<[2,3],f32>
}
"""

CPU = lookup_backend("cpu")


def _fake_compiler(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    path = folder / "iree-compile"
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(compiler, "_compiler", lambda: str(path))


def test_artefact() -> None:
    before = counters["compile.O2"]
    artefact = compile_module(MATMUL, CPU)
    assert artefact.rung == "O2"
    assert counters["compile.O2"] == before + 1
    assert [attempt.rung for attempt in artefact.attempts] == ["O2"]
    assert artefact.target == "local"
    assert "--iree-input-demote-f64-to-f32=false" in artefact.flags
    assert "--iree-llvmcpu-target-cpu=host" in artefact.flags
    signature = artefact.functions["main"]
    assert signature.arguments == ("!torch.vtensor<[?,16],f32>", "!torch.vtensor<[16,32],f32>")
    assert signature.results == ("!torch.vtensor<[?,32],f32>",)


@pytest.mark.parametrize("name", ["cuda", "vulkan"])
def test_compiles_for_gpus_that_are_not_here(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vulkan, "query_devices", tuple)
    monkeypatch.setattr(cuda, "query_devices", tuple)
    devices._query.cache_clear()
    artefact = compile_module(MATMUL, lookup_backend(name))
    devices._query.cache_clear()
    assert (b".target sm_80" if name == "cuda" else b"vulkan-spirv-fb") in artefact.vmfb


def test_extra_flags_win() -> None:
    artefact = compile_module(MATMUL, CPU, extra_flags=["--iree-opt-level=O1"])
    assert [flag for flag in artefact.flags if flag.startswith("--iree-opt-level")] == ["--iree-opt-level=O1"]


# Rows minus their mean, divided by their variance.
STANDARDIZE = """
func.func @main(%x: X) -> X {
  %none = torch.constant.none
  %true = torch.constant.bool true
  %one = torch.constant.int 1
  %dims = torch.prim.ListConstruct %one : (!torch.int) -> !torch.list<int>
  %mean = torch.aten.mean.dim %x, %dims, %true, %none : X, !torch.list<int>, !torch.bool, !torch.none -> MEAN
  %c = torch.aten.sub.Tensor %x, %mean, %one : X, MEAN, !torch.int -> X
  %s = torch.aten.mul.Tensor %c, %c : X, X -> X
  %v = torch.aten.mean.dim %s, %dims, %true, %none : X, !torch.list<int>, !torch.bool, !torch.none -> MEAN
  %q = torch.aten.div.Tensor %c, %v : X, MEAN -> X
  return %q : X
}
"""


@pytest.mark.parametrize(
    ("rows", "columns", "rung", "fused"),
    [
        ("4", "8", "O2", True),
        ("?", "8", "O2", True),
        ("4", "?", "O2-no-fusion", False),
        ("?", "?", "O2", False),
    ],
)
def test_reductions_over_dynamic_dims_are_not_fused(rows: str, columns: str, rung: str, fused: bool) -> None:
    """IREE would need a stack buffer of unknown size: it refuses one unknown factor, and miscounts two."""
    mean, x = (f"!torch.vtensor<[{rows},{size}],f32>" for size in (1, columns))
    artefact = compile_module(STANDARDIZE.replace("MEAN", mean).replace("X", x), CPU)
    assert artefact.rung == rung
    assert ("--iree-dispatch-creation-enable-aggressive-fusion=false" not in artefact.flags) == fused


def test_the_ladder_is_climbed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rung that fails is recorded, equal rungs are not tried twice, a rung may drop a flag of the caller."""
    impossible = "--iree-llvmcpu-target-cpu=abacus"
    ladder = (
        Rung("first", (impossible,)),
        Rung("same", (impossible,)),
        Rung("plain", (), without=(DATA_TILING,)),
    )
    monkeypatch.setitem(LADDERS, "llvm-cpu", ladder)
    artefact = compile_module(MATMUL, CPU, extra_flags=[DATA_TILING])
    assert [attempt.rung for attempt in artefact.attempts] == ["first", "plain"]
    assert artefact.attempts[0].failure
    assert artefact.rung == "plain"
    assert DATA_TILING not in artefact.flags


def test_unsupported_op(tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        compile_module(UNSUPPORTED, CPU, reproducer_dir=tmp_path / "made")
    error = caught.value
    assert error.op == "torch.aten.nonsense"
    assert error.location == "model.py:12:5"
    assert error.attempts == ("O2",)  # no other flags would help
    assert "failed to legalize" in error.diagnostics
    assert error.reproducer
    assert error.reproducer.parent == tmp_path / "made"
    for part in ("torch.aten.nonsense", "model.py:12:5", str(error.reproducer)):
        assert part in str(error)
    again = subprocess.run(["bash", "-c", error.command], capture_output=True, text=True, check=False)
    assert again.returncode != 0
    assert "model.py:12:5: error: failed to legalize operation" in again.stderr


def test_malformed_module() -> None:
    with pytest.raises(CompileError, match="malformed module") as caught:
        compile_module("func.func @main( {", CPU)
    assert caught.value.location == "-:1:17"


def test_unknown_flag(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="Unknown command line argument '--bogus'") as caught:
        compile_module(MATMUL, CPU, extra_flags=["--bogus"], reproducer_dir=tmp_path)
    assert caught.value.attempts == ("O2",)


def test_crash_of_the_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _fake_compiler(
        monkeypatch,
        tmp_path,
        "cat > /dev/null; echo \"model.py:7:1: error: 'torch.aten.mm' op oh\" >&2; kill -SEGV $$",
    )
    with pytest.raises(CompileError, match=r"crashed \(SIGSEGV\): 'torch.aten.mm' op oh") as caught:
        compile_module(MATMUL.replace("?", "4"), CPU, reproducer_dir=tmp_path)
    assert caught.value.op == "torch.aten.mm"
    assert caught.value.location == "model.py:7:1"
    assert caught.value.attempts == ("O2", "O2-no-fusion", "O0-fusion", "O0")
    assert caught.value.reproducer
    assert "torch.aten.mm" in caught.value.reproducer.read_text()


def test_compiler_that_does_not_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _fake_compiler(monkeypatch, tmp_path, "exec sleep 60")
    with pytest.raises(CompileError, match=r"did not end within 0\.1 s"):
        compile_module(MATMUL, CPU, reproducer_dir=tmp_path, timeout=0.1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_reproducer_dir_does_not_hide_the_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CompileError, match="nonsense") as caught:
        compile_module(UNSUPPORTED, CPU, reproducer_dir=tmp_path / "no")
    assert caught.value.reproducer is None


def test_eight_threads_compile() -> None:
    rungs: list[str] = []
    threads = [
        threading.Thread(target=lambda: rungs.append(compile_module(MATMUL, CPU).rung)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rungs == ["O2"] * 8
