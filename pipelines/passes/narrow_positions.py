# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass narrow-positions: positions that a backward uses -> the same by way of the narrowest integers.

In: joint functions, before `partition`, which then saves what takes fewer bytes.
"""

from dataclasses import dataclass
from typing import Any

from flambeau.dialects import build as b
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import OPS
from flambeau.dialects.types import DYNAMIC, element_type, narrowest_integer
from flambeau.pipelines.partitioning.joint import slice_of
from flambeau.pipelines.registry import register_pass


@register_pass
@dataclass(frozen=True)
class NarrowPositions:
    """Let the backward use positions that were narrowed and widened again, so that they can be saved in fewer bytes.

    Op classes say of which results the values are below a known number (`bounds`). Such a result is cast to the
    narrowest integers that hold all of them, and back; what does not belong to the forward uses that. No value
    changes. What is an output anyway stays as it is, and so does what has no static bound.
    """

    name = "narrow-positions"

    def run(self, module: ir.Module) -> None:
        for function in fn.functions(module):
            if any(fact.gradient_of is not None for fact in fn.result_facts(function)):
                narrow_positions(function)


def narrow_positions(function: Any) -> None:
    """Narrow the positions in one joint function."""
    block = fn.entry_block(function)
    operations = fn.operations(block)[:-1]
    facts = zip(fn.terminator(block).operands, fn.result_facts(function), strict=True)
    outputs = [value for value, fact in facts if fact.gradient_of is None]
    forward = set(slice_of(operations, outputs, keep_effects=True))
    for op in operations:
        bounds = OPS[op.name].bounds if op.name in OPS else None
        for name, count in bounds(op.opview).items() if bounds is not None else ():
            value = getattr(op.opview, name)
            if value not in outputs:
                _narrow(value, count, [use for use in value.uses if use.owner.operation not in forward])


def _narrow(value: ir.Value, count: int, uses: list[Any]) -> None:
    """Let `uses` read `value`, which is below `count`, cast to the narrowest integers and back."""
    wide = value.type.element_type
    narrow = wide if count == DYNAMIC else element_type(narrowest_integer(count))
    if not uses or narrow == wide:
        return
    with ir.InsertionPoint.after(value.owner), value.owner.location:
        widened = b.cast(b.cast(value, narrow), wide)
    for use in uses:
        use.owner.operands[use.operand_number] = widened
