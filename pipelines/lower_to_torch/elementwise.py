# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of elementwise ops: one loop nest each, whose body is the op's scalar form."""

from typing import Any

from flambeau.dialects.bindings import ir
from flambeau.dialects.types import DYNAMIC, shape_of
from flambeau.pipelines.analysis.fills import fill_value
from flambeau.pipelines.lower_to_torch import builtin as bt
from flambeau.pipelines.lower_to_torch import torch_builder as t
from flambeau.pipelines.scalar_forms import scalar_form
from flambeau.pipelines.scalar_forms.table import FORMS
from flambeau.pipelines.scalar_forms.value import constant


@t.lowers(*FORMS)
def _loop_nest(o: t.Lowered) -> ir.Value:
    """Numbers are constants in the body: a tensor filled with one would be read, or made, for nothing."""
    given = list(o.op.operation.operands)
    fills = {v: fill_value(v) for v in given}
    numbers = {v: n for v, n in fills.items() if n is not None}
    if len(numbers) == len(fills):
        numbers = {}
    names = {v: f.name for f, v in _operands(o) if v not in numbers}  # an operand may be given twice
    tensors = {v: bt.operand(o, name) for v, name in names.items()}
    out = bt.empty(_sizes(o, next(iter(tensors.values()))), bt.signless(o.op.out.type).element_type)

    def body(*elements: ir.Value) -> list[ir.Value]:
        values = dict(zip(tensors, elements, strict=False))
        return [scalar_form(o.op, [values[v] if v in values else _number(v, numbers[v]) for v in given])]

    rank = len(shape_of(out))
    maps = [ir.AffineMap.get_identity(rank)] * (len(tensors) + 1)
    return bt.result(o, bt.generic(list(tensors.values()), [out], maps, ["parallel"] * rank, body)[0])


def _operands(o: t.Lowered) -> list[tuple[Any, ir.Value]]:
    """The operand fields that are there, and their values before the lowering."""
    found = [(f, getattr(o.op, f.name)) for f in o.op.fields if f.is_operand]
    return [(f, v) for f, v in found if v is not None]


def _sizes(o: t.Lowered, x: ir.Value) -> list[int | ir.Value]:
    """The result's sizes; where its type does not say them, those of operand `x`."""
    known = shape_of(o.op.operation.results[0].type)
    return [s if s != DYNAMIC else of_x for s, of_x in zip(known, bt.sizes_of(x), strict=True)]


def _number(filled: ir.Value, number: int | float) -> ir.Value:
    """The number that a tensor is filled with, as a scalar of the lowered type."""
    return constant(bt.signless(filled.type).element_type, number).value
