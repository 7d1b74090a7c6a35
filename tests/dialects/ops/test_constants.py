# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sizes as values: `flambeau.dim`, whose result is an index and no tensor."""

import pytest
import torch

from flambeau.dialects import build as b
from flambeau.dialects import create_context
from flambeau.dialects.bindings import func, ir
from flambeau.dialects.types import element_type
from flambeau.pipelines.lower_to_torch import LowerToTorch
from flambeau.runtime import interpreter
from flambeau.runtime.backends import lookup_backend
from flambeau.runtime.devices import find_device
from flambeau.runtime.iree.compiler import compile_module
from flambeau.runtime.iree.executable import Executable, ResultSpec


@pytest.fixture(autouse=True)
def context():
    with create_context() as context, ir.Location.unknown():
        yield context


def test_dim_of_static_and_dynamic_dims():
    module = ir.Module.parse("""
      func.func @f(%x: tensor<?x3xf32>) -> (index, index) {
        %0 = "flambeau.dim"(%x) {index = 0 : i64} : (tensor<?x3xf32>) -> index
        %1 = "flambeau.dim"(%x) {index = 1 : i64} : (tensor<?x3xf32>) -> index
        return %0, %1 : index, index
      }""")
    x = torch.randn(5, 3)
    assert interpreter.run(module, "f", [x]) == [5, 3]
    LowerToTorch().run(module)
    backend = lookup_backend("cpu")
    executable = Executable(compile_module(str(module), backend), find_device(backend, "local-sync"))
    assert executable.function("f", [ResultSpec(None), ResultSpec(None)])([x]) == [5, 3]


def test_dim_out_of_range_is_refused():
    with pytest.raises(ir.MLIRError, match="index 2 is out of range"):
        ir.Module.parse("""
          func.func @f(%x: tensor<?x3xf32>) -> index {
            %0 = "flambeau.dim"(%x) {index = 2 : i64} : (tensor<?x3xf32>) -> index
            return %0 : index
          }""")


FILLS = [
    ("uint8", 250),
    ("bool", True),
    ("bool", False),
    ("int8", -3),
    ("int64", -(2**40)),
    ("float16", 0.5),
    ("bfloat16", -1.5),
    ("float64", 0.1),
    ("float32", float("inf")),
    ("float32", float("nan")),
    ("float32", -0.0),
]


def test_fills_of_every_element_type():
    module = ir.Module.create()
    with ir.InsertionPoint(module.body):
        function = func.FuncOp("f", ([ir.Type.parse("tensor<?xf32>")], []))
        block = function.add_entry_block()
    with ir.InsertionPoint(block):
        size = b.size(block.arguments[0], 0)
        returned = [b.full([size, 2], value, element_type(dtype)) for dtype, value in FILLS]
        func.ReturnOp(returned)
    function.attributes["function_type"] = ir.TypeAttr.get(
        ir.FunctionType.get([block.arguments[0].type], [r.type for r in returned])
    )
    LowerToTorch().run(module)
    backend = lookup_backend("cpu")
    executable = Executable(compile_module(str(module), backend), find_device(backend, "local-sync"))
    expected = [torch.full((3, 2), value, dtype=getattr(torch, dtype)) for dtype, value in FILLS]
    found = executable.function("f", [ResultSpec(e.dtype) for e in expected])([torch.randn(3)])
    for result, want in zip(found, expected, strict=True):
        assert result.dtype == want.dtype
        assert torch.equal(result.contiguous().view(torch.uint8), want.view(torch.uint8)), (
            f"{result} is not {want}"
        )
