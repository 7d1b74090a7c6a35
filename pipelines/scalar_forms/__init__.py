# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The table of scalar forms: each elementwise op once as `arith` and `math` ops, on scalars and on vectors alike.

What becomes loops over vectors and what becomes the body of a `linalg.generic` use the same table. A form has eager's
semantics: NaN, infinities, the sign of zeros, integers that wrap around.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import OPS
from flambeau.dialects.types import is_unsigned
from flambeau.pipelines.scalar_forms.composite import by_decomposition
from flambeau.pipelines.scalar_forms.table import FORMS
from flambeau.pipelines.scalar_forms.value import Value

# The modules with forms, one per family.
FAMILIES = (
    "activation",
    "arithmetic",
    "casts",
    "circular",
    "compare",
    "exponential",
    "gamma",
    "hyperbolic",
    "power",
    "special",
)
for _family in FAMILIES:
    import_module(f"flambeau.pipelines.scalar_forms.{_family}")


def has_scalar_form(op: Any) -> bool:
    """Whether `scalar_form` takes the op (an operation or its view)."""
    cls = OPS.get(op.operation.name)
    return op.operation.name in FORMS or (cls is not None and cls.elementwise and cls.decompose is not None)


def scalar_form(op: Any, operands: Sequence[ir.Value]) -> Any:
    """Compute an elementwise op at the current insertion point.

    op: one of our ops, for its attributes and element types; its shapes do not matter. operands: the op's operands as
    scalars, or as vectors of one shape; bool is i1, integers are signless. Returns the value of the op's result, of the
    same shape (a list if it has several results).
    """
    if op.operation.name not in FORMS:
        values = by_decomposition(op, operands, scalar_form)
        return values if len(values) > 1 else values[0]
    result = FORMS[op.operation.name](*_fields(op.operation.opview, operands))
    return [r.value for r in result] if isinstance(result, list) else result.value


def _fields(op: Any, operands: Sequence[ir.Value]) -> list[Any]:
    """The op's fields in declared order: values for its operands, Python values for its attributes."""
    given = iter(operands)
    fields = []
    for item in OPS[op.operation.name].fields:
        field = getattr(op, item.name)
        if item.is_operand and field is not None:
            field = Value(next(given), signed=not is_unsigned(field.type))
        fields.append(field)
    return fields
