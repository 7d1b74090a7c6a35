# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the door to the bindings does: dialects known, and no search for Python modules while ops are wrapped."""

import sys

import pytest

from flambeau.dialects import create_context
from flambeau.dialects.bindings import ir

FUNCTION = """
func.func @f(%x: tensor<2xf32>, %t: !torch.vtensor<[2],f32>) -> tensor<2xf32> {
  %0 = "flambeau.tanh"(%x) : (tensor<2xf32>) -> tensor<2xf32>
  %1 = "autograd.detach"(%0) : (tensor<2xf32>) -> tensor<2xf32>
  %2 = torch.aten.tanh %t : !torch.vtensor<[2],f32> -> !torch.vtensor<[2],f32>
  %3 = torch_c.to_builtin_tensor %2 : !torch.vtensor<[2],f32> -> tensor<2xf32>
  return %3 : tensor<2xf32>
}
"""


def test_wrapping_ops_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bindings would look for a module at every op, which takes longer than a pass does."""
    searched: list[str] = []

    class Recorder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            searched.append(name)

    with create_context(), ir.Location.unknown():
        module = ir.Module.parse(FUNCTION)
        monkeypatch.setattr(sys, "meta_path", [Recorder, *sys.meta_path])
        names = [op.operation.name for op in module.body.operations[0].regions[0].blocks[0].operations]
    assert names[:4] == ["flambeau.tanh", "autograd.detach", "torch.aten.tanh", "torch_c.to_builtin_tensor"]
    assert not searched
