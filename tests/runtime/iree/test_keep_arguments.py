# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arguments stay as they are: IREE by itself writes into them."""

from collections.abc import Callable

import pytest
import torch

from flambeau.runtime.errors import CompileError
from flambeau.runtime.iree.executable import Executable, ResultSpec
from flambeau.runtime.iree.keep_arguments import keep_arguments

T, ROWS, R = "!torch.vtensor<[100,8],f32>", "!torch.vtensor<[20],si64>", "!torch.vtensor<[20,8],f32>"
INDICES, B = "!torch.vtensor<[20,8],si64>", "tensor<100x8xf32>"
S = "!torch.vtensor<[100,20],f32>"

# name -> (arguments, body that computes %0 of type T)
IN_PLACE = {
    "index_put": (
        f"%a: {T}, %i: {ROWS}, %r: {R}",
        f"""%true = torch.constant.bool true
        %list = torch.prim.ListConstruct %i : ({ROWS}) -> !torch.list<vtensor>
        %0 = torch.aten.index_put %a, %list, %r, %true : {T}, !torch.list<vtensor>, {R}, !torch.bool -> {T}""",
        lambda a, i, r: a.index_put((i,), r, accumulate=True),
    ),
    "scatter_add": (
        f"%a: {T}, %i: {INDICES}, %r: {R}",
        f"""%zero = torch.constant.int 0
        %0 = torch.aten.scatter_add %a, %zero, %i, %r : {T}, !torch.int, {INDICES}, {R} -> {T}""",
        lambda a, i, r: a.scatter_add(0, i, r),
    ),
    "slice_scatter": (
        f"%a: {T}, %r: {R}",
        f"""%zero = torch.constant.int 0
        %one = torch.constant.int 1
        %ten = torch.constant.int 10
        %thirty = torch.constant.int 30
        %0 = torch.aten.slice_scatter %a, %r, %zero, %ten, %thirty, %one
            : {T}, {R}, !torch.int, !torch.int, !torch.int, !torch.int -> {T}""",
        lambda a, r: a.slice_scatter(r, 0, 10, 30),
    ),
    "sort": (
        f"%a: {T}",
        f"""%zero = torch.constant.int 0
        %false = torch.constant.bool false
        %0, %order = torch.aten.sort %a, %zero, %false
            : {T}, !torch.int, !torch.bool -> {T}, !torch.vtensor<[100,8],si64>""",
        lambda a: a.sort(0).values,
    ),
    "linalg_in_torch": (
        f"%a: {T}, %r: {R}, %s: {S}",
        f"""%out = torch_c.to_builtin_tensor %a : {T} -> {B}
        %rows = torch_c.to_builtin_tensor %r : {R} -> tensor<20x8xf32>
        %in = torch_c.to_builtin_tensor %s : {S} -> tensor<100x20xf32>
        %sum = linalg.matmul ins(%in, %rows : tensor<100x20xf32>, tensor<20x8xf32>) outs(%out : {B}) -> {B}
        %0 = torch_c.from_builtin_tensor %sum : {B} -> {T}""",
        lambda a, r, s: a + s @ r,
    ),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_ops_that_update_an_argument(name: str, build: Callable[..., Executable]) -> None:
    arguments, body, expected = IN_PLACE[name]
    function = build(f"func.func @main({arguments}) -> {T} {{\n{body}\nreturn %0 : {T}\n}}").function(
        "main", [ResultSpec(torch.float32)]
    )
    torch.manual_seed(0)
    by_type = {
        T: torch.randn(100, 8),
        R: torch.randn(20, 8),
        S: torch.randn(100, 20),
        ROWS: torch.randint(0, 100, (20,)),
        INDICES: torch.randint(0, 100, (20, 8)),
    }
    values = [by_type[argument.partition(": ")[2]] for argument in arguments.split(", %")]
    originals = [value.clone() for value in values]
    for _ in range(2):
        (result,) = function(values)
        torch.testing.assert_close(result, expected(*originals))
        for value, original in zip(values, originals, strict=True):
            assert torch.equal(value, original)


def test_builtin_types_are_copied(build: Callable[..., Executable]) -> None:
    function = build("""
    func.func @main(%a: tensor<4x4xf32>, %b: tensor<4x4xf32>) -> tensor<4x4xf32> {
      %0 = linalg.matmul ins(%a, %a : tensor<4x4xf32>, tensor<4x4xf32>) outs(%b : tensor<4x4xf32>) -> tensor<4x4xf32>
      return %0 : tensor<4x4xf32>
    }""").function("main", [ResultSpec(torch.float32)])
    a, b = torch.ones(4, 4), torch.ones(4, 4)
    (result,) = function([a, b])
    assert torch.equal(result, torch.full((4, 4), 5.0))
    assert torch.equal(b, torch.ones(4, 4))


def test_result_attributes_and_private_functions() -> None:
    prepared = keep_arguments(f"""
    func.func @main(%a: {T}, %n: i64) -> ({T} {{x.y = 1 : i64}}, i64) {{
      return %a, %n : {T}, i64
    }}
    func.func private @inner(%a: {T}) -> {T} {{
      return %a : {T}
    }}""")
    assert list(prepared.functions) == ["main"]
    assert prepared.functions["main"].arguments == (T, "i64")
    assert f"-> ({T} {{x.y = 1 : i64}}, i64, {T})" in prepared.text
    assert f"@inner(%arg0: {T}" in prepared.text
    assert prepared.module.operation.verify()


def test_public_functions_must_not_be_called() -> None:
    with pytest.raises(CompileError, match="@f is public and called by the module itself"):
        keep_arguments("""
        func.func @f(%a: i64) -> i64 { return %a : i64 }
        func.func @g(%a: i64) -> i64 {
          %0 = call @f(%a) : (i64) -> i64
          return %0 : i64
        }""")
