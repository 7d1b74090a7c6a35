# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sizes as PyTorch writes them become arithmetic on index values."""

from collections.abc import Callable
from typing import Any

import pytest
import sympy
import torch
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.utils._sympy.functions import CeilDiv, FloorDiv

from flambeau.dialects import create_context
from flambeau.dialects.bindings import func, ir
from flambeau.frontend.importing.symbols import Symbols


def emitted(expression: Callable[[ShapeEnv, sympy.Symbol], Any]) -> list[str]:
    """The `arith` ops of a size that is made of the number of rows, which is even."""
    env = ShapeEnv()
    context = StatelessSymbolicContext([DimDynamic.DYNAMIC])  # type: ignore[var-annotated]
    x = FakeTensorMode(shape_env=env).from_tensor(torch.ones(8), symbolic_context=context)
    torch._check(x.shape[0] % 2 == 0)
    size = env.create_symintnode(expression(env, x.shape[0].node.expr), hint=4)  # type: ignore[attr-defined]
    with create_context(), ir.Location.unknown():
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            type_ = ir.RankedTensorType.get([ir.ShapedType.get_dynamic_size()], ir.F32Type.get())
            block = func.FuncOp("f", ([type_], [])).add_entry_block()
        with ir.InsertionPoint(block):
            Symbols([x], list(block.arguments)).value(size)  # type: ignore[arg-type]
        names = [op.operation.name for op in block.operations]
    return [n for n in names if n.startswith("arith.") and n != "arith.constant"]


@pytest.mark.parametrize(
    ("expression", "ops"),
    [
        (lambda env, rows: FloorDiv(rows, 2), ["arith.floordivsi"]),
        # PyTorch's CleanDiv: a division without a rest.
        (lambda env, rows: env.simplify(FloorDiv(rows, 2)), ["arith.floordivsi"]),
        # PyTorch has no division that rounds up: it writes this one as (rows + 2) // 3.
        (lambda env, rows: CeilDiv(rows, 3), ["arith.addi", "arith.floordivsi"]),
    ],
    ids=["down", "clean", "up"],
)
def test_divisions(expression: Callable[[ShapeEnv, sympy.Symbol], Any], ops: list[str]) -> None:
    assert emitted(expression) == ops
