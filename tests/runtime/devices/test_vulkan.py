# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Numbers of the Vulkan device, a software one included, against torch."""

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from weakref import WeakValueDictionary

import pytest
import torch

from flambeau.runtime import devices
from flambeau.runtime.backends import lookup_backend
from flambeau.runtime.devices import vulkan
from flambeau.runtime.errors import BackendNotAvailableError
from flambeau.runtime.iree import self_check
from flambeau.runtime.iree.compiler import compile_module
from flambeau.runtime.iree.executable import Executable, ResultSpec
from flambeau.runtime.iree.session import load

Build = Callable[..., Executable]

pytestmark = pytest.mark.skipif(
    not any(device.driver == "vulkan" for device in devices.available_devices()),
    reason="no Vulkan device; Debian's mesa-vulkan-drivers has a software one",
)

VULKAN = lookup_backend("vulkan")


def _type(tensor: torch.Tensor) -> str:
    names = {
        torch.float32: "f32",
        torch.float16: "f16",
        torch.float64: "f64",
        torch.int64: "si64",
        torch.bool: "i1",
    }
    return f"!torch.vtensor<[{','.join(map(str, tensor.shape))}],{names[tensor.dtype]}>"


torch.manual_seed(0)
A, B, C = torch.randn(5, 16), torch.randn(16, 33), torch.randn(7, 300)
IMAGE, KERNEL = torch.randn(2, 3, 9, 9), torch.randn(4, 3, 3, 3)

# name -> (op with its attributes, arguments, the same in torch)
OPS = {
    "mm": ("torch.aten.mm %0, %1", [A, B], torch.mm),
    "mm_f16": ("torch.aten.mm %0, %1", [A.half(), B.half()], torch.mm),
    "mm_f64": ("torch.aten.mm %0, %1", [A.double(), B.double()], torch.mm),
    "mean": ("torch.aten.mean.dim %0, %dims, %false, %none", [C], lambda c: c.mean(1)),
    "sum_f64": ("torch.aten.sum.dim_IntList %0, %dims, %false, %none", [C.double()], lambda c: c.sum(1)),
    "amax": ("torch.aten.amax %0, %dims, %false", [C], lambda c: c.amax(1)),
    "argmax": ("torch.aten.argmax %0, %one, %false", [C], lambda c: c.argmax(1)),
    "softmax": ("torch.aten._softmax %0, %one, %false", [C], lambda c: c.softmax(1)),
    "tanh": ("torch.aten.tanh %0", [C], torch.tanh),
    "add_i64": (
        "torch.aten.add.Tensor %0, %1, %one",
        [torch.tensor([2**40, -1]), torch.tensor([5, 6])],
        torch.add,
    ),
    "less": ("torch.aten.lt.Tensor %0, %1", [A, A.flip(0)], torch.lt),
    "index_select": (
        "torch.aten.index_select %0, %zero, %1",
        [C, torch.tensor([6, 0, 3, 3])],
        lambda c, i: c.index_select(0, i),
    ),
    "cumsum": ("torch.aten.cumsum %0, %one, %none", [A], lambda a: a.cumsum(1)),
    "convolution": (
        "torch.aten.convolution %0, %1, %none, %ones, %ones, %ones, %false, %nothing, %one",
        [IMAGE, KERNEL],
        lambda x, w: torch.nn.functional.conv2d(x, w, padding=1),
    ),
}

CONSTANTS = """
  %zero = torch.constant.int 0
  %one = torch.constant.int 1
  %false = torch.constant.bool false
  %none = torch.constant.none
  %dims = torch.prim.ListConstruct %one : (!torch.int) -> !torch.list<int>
  %ones = torch.prim.ListConstruct %one, %one : (!torch.int, !torch.int) -> !torch.list<int>
  %nothing = torch.prim.ListConstruct : () -> !torch.list<int>
"""
CONSTANT_TYPES = {
    "%zero": "!torch.int",
    "%one": "!torch.int",
    "%false": "!torch.bool",
    "%none": "!torch.none",
    "%dims": "!torch.list<int>",
    "%ones": "!torch.list<int>",
    "%nothing": "!torch.list<int>",
}


def _function(name: str) -> str:
    op, arguments, reference = OPS[name]
    result = _type(reference(*arguments))
    types = {f"%{position}": _type(argument) for position, argument in enumerate(arguments)} | CONSTANT_TYPES
    operands = [operand.strip(",") for operand in op.split()[1:]]
    parameters = ", ".join(
        f"%arg{position}: {_type(argument)}" for position, argument in enumerate(arguments)
    )
    for position in range(len(arguments)):
        op = op.replace(f"%{position}", f"%arg{position}")
    return (
        f"func.func @{name}({parameters}) -> {result} {{{CONSTANTS}"
        f"  %result = {op} : {', '.join(types[operand] for operand in operands)} -> {result}\n"
        f"  return %result : {result}\n}}\n"
    )


# First, while no device is open in this process: an open software device keeps two cores busy.
def test_a_result_that_lives_at_exit_harms_nothing() -> None:
    code = f"""
import torch
from flambeau.runtime.backends import lookup_backend
from flambeau.runtime.iree.executable import ResultSpec
from flambeau.runtime.iree.compiler import compile_module
from flambeau.runtime.iree.session import load
vulkan = lookup_backend("vulkan")
executable = load(compile_module({_function("tanh")!r}, vulkan), vulkan)
(result,) = executable.function("tanh", [ResultSpec(torch.float32)])([torch.ones(7, 300)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture(scope="module")
def executable(build: Build) -> Executable:
    return build("".join(map(_function, OPS)), "vulkan")


@pytest.mark.parametrize("name", OPS)
def test_numbers(name: str, executable: Executable) -> None:
    _, arguments, reference = OPS[name]
    expected = reference(*arguments)
    (result,) = executable.function(name, [ResultSpec(expected.dtype)])(arguments)
    assert result.dtype == expected.dtype
    if expected.dtype.is_floating_point:
        exact = reference(
            *(argument.double() if argument.is_floating_point() else argument for argument in arguments)
        )
        error = (result.double() - exact).abs().max() / exact.abs().max()
        assert error <= {torch.float16: 2e-3, torch.float32: 1e-6, torch.float64: 1e-12}[expected.dtype]
    else:
        assert torch.equal(result, expected)


def test_strided_and_unaligned_arguments(executable: Executable) -> None:
    (result,) = executable.function("mm", [ResultSpec(torch.float32)])(
        [A.t().contiguous().t(), torch.cat([torch.zeros(1), B.flatten()])[1:].view(16, 33)]
    )
    torch.testing.assert_close(result, A @ B)


def test_results_never_alias(build: Build) -> None:
    type_ = "!torch.vtensor<[4],f32>"
    function = build(
        f"func.func @main(%a: {type_}) -> ({type_}, {type_}) {{ return %a, %a : {type_}, {type_} }}", "vulkan"
    ).function("main", [ResultSpec(torch.float32)] * 2)
    a = torch.ones(4)
    first, second = function([a])
    first.add_(1)
    assert (a[0], first[0], second[0]) == (1, 2, 1)


def test_eight_threads(executable: Executable) -> None:
    function = executable.function("mm", [ResultSpec(torch.float32)])
    wrong: list[int] = []

    def work(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for call in range(10):
            value = torch.randn(5, 16, generator=generator)
            if not torch.allclose(function([value, B])[0], value @ B, atol=1e-5):
                wrong.append(call)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_device_is_closed_when_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_OPEN", WeakValueDictionary())
    executable = load(compile_module(_function("tanh"), VULKAN), VULKAN)
    function = executable.function("tanh", [ResultSpec(torch.float32)])
    opened = weakref.ref(devices.open_device(executable.device))
    del executable
    gc.collect()
    assert torch.allclose(function([C])[0], C.tanh(), atol=1e-6)
    assert opened() is not None
    del function
    gc.collect()
    assert opened() is None


def test_artefact_for_another_device_is_refused() -> None:
    artefact = compile_module(_function("tanh"), VULKAN)
    foreign = replace(artefact, target=vulkan.PORTABLE_DEVICE.target)
    with pytest.raises(BackendNotAvailableError, match="compiled for another vulkan device"):
        load(foreign, VULKAN)


@pytest.mark.skipif(
    not any(device.software for device in devices.available_devices()),
    reason="tried on the software device only",
)
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_device_that_computes_wrong_numbers_is_refused(
    factor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target with larger subgroups than the device's, which is what IREE's named targets amount to."""
    (device,) = [device for device in devices.available_devices() if device.software]
    (own,) = [device.subgroup_size for device in vulkan.query_devices() if device.software]
    target = device.target.replace(f"choices = [{own}]", f"choices = [{own * factor}]")
    assert target != device.target
    lying = replace(device, target=target)
    monkeypatch.setattr(devices, "_query", lambda driver: ((lying,), ""))
    monkeypatch.setattr(self_check, "_VERDICTS", {})
    artefact = compile_module(_function("tanh"), VULKAN)
    with pytest.raises(BackendNotAvailableError) as caught:
        load(artefact, VULKAN)
    assert "fails the numeric self-check and is refused" in str(caught.value)
    for check in ("matmul", "row_sum", "softmax"):
        assert f"{check} is off by" in str(caught.value)


def test_product_fused_with_a_reduction_of_it() -> None:
    """The backward of a linear layer and an activation: both results were wrong with aggressive fusion."""
    text = """
func.func @f(%g: !torch.vtensor<[16,16],f32>, %w: !torch.vtensor<[16,32],f32>, %h: !torch.vtensor<[16,32],f32>)
    -> (!torch.vtensor<[16,32],f32>, !torch.vtensor<[32],f32>) {
  %zero = torch.constant.int 0
  %dims = torch.prim.ListConstruct %zero : (!torch.int) -> !torch.list<int>
  %false = torch.constant.bool false
  %none = torch.constant.none
  %m = torch.aten.mm %g, %w : !torch.vtensor<[16,16],f32>, !torch.vtensor<[16,32],f32> -> !torch.vtensor<[16,32],f32>
  %d = torch.aten.mul.Tensor %h, %m
    : !torch.vtensor<[16,32],f32>, !torch.vtensor<[16,32],f32> -> !torch.vtensor<[16,32],f32>
  %s = torch.aten.sum.dim_IntList %d, %dims, %false, %none
    : !torch.vtensor<[16,32],f32>, !torch.list<int>, !torch.bool, !torch.none -> !torch.vtensor<[32],f32>
  return %d, %s : !torch.vtensor<[16,32],f32>, !torch.vtensor<[32],f32>
}
"""
    g, w, h = torch.randn(16, 16), torch.randn(16, 32), torch.randn(16, 32)
    function = load(compile_module(text, VULKAN), VULKAN).function("f", [ResultSpec(torch.float32)] * 2)
    product = h * (g @ w)
    for found, expected in zip(function([g, w, h]), (product, product.sum(0)), strict=True):
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
