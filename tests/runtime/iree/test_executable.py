# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calling compiled functions: every dtype, every shape of memory, results as specified, threads."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from weakref import WeakValueDictionary

import pytest
import torch

from flambeau.runtime import devices
from flambeau.runtime.backends import lookup_backend
from flambeau.runtime.errors import ExecutionError, LoadError
from flambeau.runtime.iree.compiler import compile_module
from flambeau.runtime.iree.executable import Executable, ResultSpec
from flambeau.runtime.iree.session import choose_driver, estimate_seconds, load

Build = Callable[..., Executable]

DTYPES = {
    "i1": torch.bool,
    "ui8": torch.uint8,
    "si8": torch.int8,
    "si16": torch.int16,
    "si32": torch.int32,
    "si64": torch.int64,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "f32": torch.float32,
    "f64": torch.float64,
    "complex<f32>": torch.complex64,
}


def _round_trip(name: str, dims: str, rank: int) -> str:
    """A function that returns its argument, and its argument concatenated with itself (rank 0: stacked)."""
    source = f"!torch.vtensor<[{dims}],{name}>"
    doubled = f"!torch.vtensor<[{'2' if rank == 0 else '?,3'}],{name}>"
    one = f"!torch.vtensor<[1],{name}>"
    return f"""
    func.func @rank{rank}(%a: {source}) -> ({source}, {doubled}) {{
      %zero = torch.constant.int 0
      %one = torch.constant.int 1
      %x = {
        f"torch.aten.unsqueeze %a, %zero : {source}, !torch.int -> {one}"
        if rank == 0
        else f"torch.aten.clone %a, %none : {source}, !torch.none -> {source}"
    }
      %list = torch.prim.ListConstruct %x, %x
          : ({one if rank == 0 else source}, {one if rank == 0 else source}) -> !torch.list<vtensor>
      %0 = torch.aten.cat %list, %zero : !torch.list<vtensor>, !torch.int -> {doubled}
      return %a, %0 : {source}, {doubled}
    }}""".replace("%zero = ", "%none = torch.constant.none\n      %zero = ", 1)


@pytest.mark.parametrize("name", DTYPES)
def test_dtypes(name: str, build: Build) -> None:
    dtype = DTYPES[name]
    executable = build(_round_trip(name, "?,3", 2) + _round_trip(name, "", 0))
    specs = [ResultSpec(dtype), ResultSpec(dtype)]
    matrix, scalar = executable.function("rank2", specs), executable.function("rank0", specs)
    for shape in [(4, 3), (1, 3), (0, 3), ()]:
        value = _sample(shape, dtype)
        same, doubled = (matrix if shape else scalar)([value])
        assert same.dtype == doubled.dtype == dtype
        assert torch.equal(same, value)
        assert torch.equal(doubled, torch.cat([value, value]) if shape else torch.stack([value, value]))
        assert doubled.is_contiguous()


def _sample(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Values that use the whole range of an unsigned byte and the precision of a double."""
    if dtype == torch.bool:
        return torch.rand(shape) > 0.5
    if dtype == torch.uint8:
        return torch.randint(0, 256, shape, dtype=dtype)
    return (torch.randn(shape, dtype=torch.float64) * 50).to(dtype)


NEGATE = """
func.func @main(%a: !torch.vtensor<[?,?],f32>) -> !torch.vtensor<[?,?],f32> {
  %0 = torch.aten.neg %a : !torch.vtensor<[?,?],f32> -> !torch.vtensor<[?,?],f32>
  return %0 : !torch.vtensor<[?,?],f32>
}
"""


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("unaligned", torch.randn(21)[1:].view(4, 5)),
        ("transposed", torch.randn(5, 4).t()),
        ("expanded", torch.randn(4, 1).expand(4, 5)),
        ("every other row", torch.randn(8, 5)[::2]),
        ("odd stride of a size of 1", torch.randn(5).as_strided((1, 5), (77, 1))),
        ("empty", torch.randn(0, 5)),
        ("empty slice", torch.randn(4, 5)[2:2]),
        ("parameter", torch.nn.Parameter(torch.randn(4, 5))),
        ("with history", torch.randn(4, 5, requires_grad=True) * 2),
        ("lazily negated", torch.randn(4, 5, dtype=torch.complex64).conj().imag),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_memory_forms(form: str, value: torch.Tensor, build: Build) -> None:
    (result,) = build(NEGATE).function("main", [ResultSpec(torch.float32)])([value])
    assert torch.equal(result, -value.detach())
    assert not result.requires_grad


def test_lazy_conjugate(build: Build) -> None:
    type_ = "!torch.vtensor<[4],complex<f32>>"
    function = build(f"func.func @main(%a: {type_}) -> {type_} {{ return %a : {type_} }}").function(
        "main", [ResultSpec(torch.complex64)]
    )
    value = torch.randn(4, dtype=torch.complex64).conj()
    assert value.is_conj()
    (result,) = function([value])
    assert torch.equal(result, value)


V4 = "!torch.vtensor<[4],f32>"
ALIASES = f"""
func.func @identity(%a: {V4}, %b: {V4}) -> ({V4}, {V4}) {{
  return %b, %b : {V4}, {V4}
}}
func.func @equal_results(%a: {V4}) -> ({V4}, {V4}) {{
  %0 = torch.aten.neg %a : {V4} -> {V4}
  return %0, %0 : {V4}, {V4}
}}
"""


def test_results_have_memory_of_their_own(build: Build) -> None:
    executable = build(ALIASES)
    plain = ResultSpec(torch.float32)
    a, b = torch.ones(4), torch.full((4,), 2.0)
    first, second = executable.function("identity", [plain, plain])([a, b])
    first.add_(10)
    second.add_(20)
    assert (b[0], first[0], second[0]) == (2, 12, 22)
    first, second = executable.function("equal_results", [plain, plain])([a])
    first.add_(10)
    assert (a[0], first[0], second[0]) == (1, 9, -1)


def test_one_tensor_as_two_arguments(build: Build) -> None:
    specs = [ResultSpec(torch.float32), ResultSpec(torch.float32)]
    a = torch.ones(4)
    first, second = build(ALIASES).function("identity", specs)([a, a])
    first.add_(1)
    assert (a[0], second[0]) == (1, 1)


def test_arguments_are_shared_not_copied(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes a call cheap: an aligned contiguous argument is not copied (IREE gives its memory back)."""
    monkeypatch.setattr("flambeau.runtime.iree.executable._separate", lambda values, spans: None)
    specs = [ResultSpec(torch.float32), ResultSpec(torch.float32)]
    parameter = torch.nn.Parameter(torch.ones(4))
    first, _ = build(ALIASES).function("identity", specs)([torch.ones(4), parameter])
    assert first.data_ptr() == parameter.data_ptr()


def test_host_integers(build: Build) -> None:
    function = build("""
    func.func @main(%a: !torch.vtensor<[?],f32>, %n: i64, %m: !torch.int)
        -> (i64, !torch.vtensor<[?],f32>, !torch.int) {
      %zero = torch.constant.int 0
      %size = torch.aten.size.int %a, %zero : !torch.vtensor<[?],f32>, !torch.int -> !torch.int
      %nt = torch_c.from_i64 %n
      %sum = torch.aten.add.int %size, %nt : !torch.int, !torch.int -> !torch.int
      %sum64 = torch_c.to_i64 %sum
      return %sum64, %a, %m : i64, !torch.vtensor<[?],f32>, !torch.int
    }""").function("main", [ResultSpec(None), ResultSpec(torch.float32), ResultSpec(None)])
    total, same, back = function([torch.ones(5), 2**40, -7])
    assert (total, back) == (2**40 + 5, -7)
    assert isinstance(total, int)
    assert torch.equal(same, torch.ones(5))


def test_dynamic_sizes_one_artefact(build: Build) -> None:
    function = build(NEGATE).function("main", [ResultSpec(torch.float32)])
    for rows in (0, 1, 2, 3, 7):
        value = torch.randn(rows, 3)
        assert torch.equal(function([value])[0], -value)


def test_wrong_calls(build: Build) -> None:
    executable = build(ALIASES)
    plain = ResultSpec(torch.float32)
    with pytest.raises(LookupError, match="it has: identity, equal_results"):
        executable.function("main", [])
    with pytest.raises(ValueError, match="2 results, 1 were specified"):
        executable.function("identity", [plain])
    with pytest.raises(ValueError, match="does not fit"):
        executable.function("identity", [plain, ResultSpec(None)])
    call = executable.function("identity", [plain, plain])
    a = torch.ones(4)
    with pytest.raises(ExecutionError, match="takes 2 arguments, got 1"):
        call([a])
    with pytest.raises(ExecutionError, match="argument 1 of @identity is a tensor, got 3"):
        call([a, 3])
    negate = executable.function("equal_results", [plain, plain])
    with pytest.raises(ExecutionError, match="tensor shape dimension 0 mismatch; expected 4 but have 5"):
        negate([torch.ones(5)])
    with pytest.raises(ExecutionError, match="tensor element type mismatch; expected f32"):
        negate([torch.ones(4, dtype=torch.float64)])
    with pytest.raises(ExecutionError, match="valid dtypes: bool, uint8"):
        call([a, torch.ones(4).to(torch.float8_e4m3fn)])
    assert torch.equal(negate([a])[0], -a)  # and goes on working


def test_wrong_dtype_in_the_specification(build: Build) -> None:
    call = build(NEGATE).function("main", [ResultSpec(torch.float64)])
    with pytest.raises(
        ExecutionError, match=r"says torch\.float64 for a result, but IREE returned torch\.float32"
    ):
        call([torch.ones(1, 1)])


@pytest.mark.parametrize("driver", ["local-sync", "local-task"])
def test_eight_threads_call_one_function(driver: str, build: Build) -> None:
    executable = build(
        """
        func.func @main(%a: !torch.vtensor<[?,64],f32>, %b: !torch.vtensor<[64,64],f32>) -> !torch.vtensor<[?,64],f32> {
          %0 = torch.aten.mm %a, %b
              : !torch.vtensor<[?,64],f32>, !torch.vtensor<[64,64],f32> -> !torch.vtensor<[?,64],f32>
          return %0 : !torch.vtensor<[?,64],f32>
        }""",
        driver=driver,
    )
    assert executable.device.driver == driver
    function = executable.function("main", [ResultSpec(torch.float32)])
    weight = torch.eye(64).flip(0).contiguous()
    wrong: list[int] = []

    def work(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for call in range(50):
            value = torch.randn(1 + (seed + call) % 40, 64, generator=generator)
            if not torch.equal(function([value, weight])[0], value.flip(1)):
                wrong.append(call)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_eight_threads_compile_load_and_call() -> None:
    cpu = lookup_backend("cpu")
    results: dict[int, torch.Tensor] = {}

    def work(number: int) -> None:
        asm = NEGATE.replace("?,?", f"?,{number + 1}")
        executable = load(compile_module(asm, cpu), cpu, driver="local-task" if number % 2 else "local-sync")
        (results[number],) = executable.function("main", [ResultSpec(torch.float32)])(
            [torch.ones(3, number + 1)]
        )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(8))
    assert all(torch.equal(result, -torch.ones(3, number + 1)) for number, result in results.items())


@pytest.mark.parametrize("driver", ["local-sync", "local-task"])
def test_calls_leak_no_memory(driver: str, build: Build) -> None:
    """Arguments, results and copies of 1 MB: what stays must be far below one per call."""
    function = build(NEGATE, driver=driver).function("main", [ResultSpec(torch.float32)])
    value = torch.randn(512, 513)[:, 1:]
    for _ in range(20):
        function([value])
    before = _resident_bytes()
    for _ in range(150):
        function([value])
    assert _resident_bytes() - before < 50e6


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_memory_of_results_is_reused(build: Build) -> None:
    executable = build(NEGATE)
    allocator = devices.open_device(executable.device).hal.allocator
    function = executable.function("main", [ResultSpec(torch.float32)])
    function([torch.ones(77, 991)])
    before = allocator.statistics["device_bytes_allocated"]
    for _ in range(10):
        function([torch.ones(77, 991)])
    assert allocator.statistics["device_bytes_allocated"] == before


def test_memory_kept_for_reuse_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A freed buffer serves its own size only: results of ever new sizes must not add up."""
    monkeypatch.setattr(devices, "_OPEN", WeakValueDictionary())
    monkeypatch.setattr(devices, "_cache_bytes", lambda: 10_000_000)
    cpu = lookup_backend("cpu")
    executable = load(compile_module(NEGATE, cpu), cpu, driver="local-sync")
    allocator = devices.open_device(executable.device).hal.allocator
    function = executable.function("main", [ResultSpec(torch.float32)])
    for rows in range(1000, 2000, 50):
        function([torch.ones(rows, 500)])
    statistics = allocator.statistics
    assert statistics["device_bytes_allocated"] > 50e6
    assert statistics["device_bytes_allocated"] - statistics["device_bytes_freed"] < 20e6


def test_what_iree_cannot_load(build: Build) -> None:
    """A sum of so many tensors becomes one kernel with more buffers than IREE's CPU driver can bind."""
    count = 40
    arguments = ", ".join(f"%a{index}: {V4}" for index in range(count))
    body = (
        "%s0 = torch.aten.clone %a0, %none : !torch.vtensor<[4],f32>, !torch.none -> !torch.vtensor<[4],f32>"
    )
    for index in range(1, count):
        body += (
            f"\n%s{index} = torch.aten.add.Tensor %s{index - 1}, %a{index}, %one"
            f" : {V4}, {V4}, !torch.int -> {V4}"
        )
    with pytest.raises(LoadError, match="binding count"):
        build(
            f"func.func @main({arguments}) -> {V4} {{\n%none = torch.constant.none\n%one = torch.constant.int 1\n"
            f"{body}\nreturn %s{count - 1} : {V4}\n}}"
        )


def test_driver_by_estimated_work() -> None:
    assert choose_driver(estimate_seconds(flops=1e5, bytes_moved=1e5)) == "local-sync"
    assert choose_driver(estimate_seconds(flops=1e9, bytes_moved=1e5)) == "local-task"
    assert choose_driver(estimate_seconds(flops=1e5, bytes_moved=1e8)) == "local-task"
    assert choose_driver(None) == "local-task"


def test_a_result_may_outlive_the_executable(build: Build) -> None:
    cpu = lookup_backend("cpu")
    executable = load(compile_module(NEGATE, cpu), cpu, driver="local-sync")
    (result,) = executable.function("main", [ResultSpec(torch.float32)])([torch.ones(100, 100)])
    del executable
    assert torch.equal(result, -torch.ones(100, 100))


@pytest.mark.parametrize("driver", ["local-sync", "local-task"])
def test_a_result_that_outlives_the_device_harms_nothing(driver: str) -> None:
    """At exit the order is anybody's guess, and memory that comes back to a caching allocator that is gone crashes."""
    code = f"""
import gc, torch
from flambeau.runtime import devices
from flambeau.runtime.backends import lookup_backend
from flambeau.runtime.iree.executable import ResultSpec
from flambeau.runtime.iree.compiler import compile_module
from flambeau.runtime.iree.session import load
cpu = lookup_backend("cpu")
executable = load(compile_module({NEGATE!r}, cpu), cpu, driver={driver!r})
(result,) = executable.function("main", [ResultSpec(torch.float32)])([torch.ones(100, 100)])
del executable
del devices._OPEN
gc.collect()
del result
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
