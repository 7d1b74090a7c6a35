# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of calls that choose between two functions: `scf.if` with the functions' bodies as regions."""

from collections.abc import Callable
from typing import Any

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.pipelines.lower_to_torch import builtin as bt
from flambeau.pipelines.lower_to_torch import torch_builder as t

LowerOp = Callable[[ir.Operation, dict[Any, Any]], None]


def lower_choice(
    op: ir.Operation, chosen: tuple[Any, Any], values: dict[Any, Any], lower_op: LowerOp
) -> None:
    """Lower a call at the insertion point and record its results in `values`; `lower_op` lowers what is in a branch."""
    predicate, *operands = op.operands
    i1 = ir.IntegerType.get_signless(1)
    flag = ir.Operation.create(
        "tensor.extract", results=[i1], operands=[bt.to_builtin(values[predicate], predicate.type)]
    ).results[0]
    types = [bt.signless(r.type) for r in op.results]
    choice = ir.Operation.create("scf.if", results=types, operands=[flag], regions=2)
    for region, function in zip(choice.regions, chosen, strict=True):
        source = fn.entry_block(function)
        inner = dict(zip(source.arguments, (values[o] for o in operands), strict=True))
        with ir.InsertionPoint(region.blocks.append()):
            *body, end = fn.operations(source)
            for inside in body:
                with inside.location:
                    lower_op(inside, inner)
            returned = [
                bt.cast(bt.to_builtin(inner[v], v.type), type_)
                for v, type_ in zip(end.operands, types, strict=True)
            ]
            ir.Operation.create("scf.yield", operands=returned)
    for before, after in zip(op.results, choice.results, strict=True):
        values[before] = bt.from_builtin(after, t.torch_type(before.type))
