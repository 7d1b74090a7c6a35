# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forms of composite elementwise ops: the forms of the ops that their decompositions name."""

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import OPS
from flambeau.pipelines.scalar_forms.value import constant

ScalarForm = Callable[[Any, Sequence[ir.Value]], Any]


def by_decomposition(op: Any, operands: Sequence[ir.Value], scalar_form: ScalarForm) -> list[ir.Value]:
    """The values of the op's results; `scalar_form` computes the parts."""
    parts = ir.Module.create()
    with ir.InsertionPoint(parts.body):
        results = OPS[op.operation.name].decompose(op.operation.opview)
    values = dict(zip(op.operation.operands, operands, strict=True))
    for part in [o.operation for o in parts.body.operations]:
        _compute(part, values, operands[0], scalar_form)
    return [values[r] for r in (results if isinstance(results, list | tuple) else [results])]


def _compute(part: Any, values: dict[Any, ir.Value], like: ir.Value, scalar_form: ScalarForm) -> None:
    """Record the values of a part's results; `like` has the shape of them all."""
    cls = OPS.get(part.name)
    if part.name == "flambeau.constant":
        values[part.results[0]] = _fill(part, like)
    elif cls is not None and cls.view and part.operands[0] in values:
        values[part.results[0]] = values[part.operands[0]]  # a fill that is made as large as the operands
    elif cls is not None and cls.elementwise:
        computed = scalar_form(part, [values[v] for v in part.operands])
        computed = computed if isinstance(computed, list) else [computed]
        values.update(zip(part.results, computed, strict=True))


def _fill(part: Any, like: ir.Value) -> ir.Value:
    """The number that a constant op is filled with, in the shape of `like`."""
    element = part.results[0].type.element_type
    if isinstance(element, ir.IntegerType):
        element = ir.IntegerType.get_signless(element.width)
    is_vector = isinstance(like.type, ir.VectorType)
    type_ = ir.VectorType.get(like.type.shape, element) if is_vector else element
    return constant(type_, part.attributes["value"].get_splat_value().value).value
