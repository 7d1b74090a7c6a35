# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass simplify-reductions: reductions along dims where every element is the same, and of negations.

`sum(expand(x))` is x times a count. No loop nest is left, then, whose iterations nothing reads: IREE drops the loops
of such a reduction and gives one element's contribution. `sum(-x)` is `-sum(x)`, equal to the last bit: IREE fuses a
negation into the reduction as a subtraction, and its splitting of reductions then fails ("Failed to get an identity
value").
"""

from dataclasses import dataclass
from math import nan
from typing import Any

from flambeau.dialects import build as b
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import OPS
from flambeau.dialects.types import is_float, is_tensor, shape_of, tensor_type
from flambeau.pipelines.registry import register_pass

_REDUCTIONS = ("flambeau.sum", "flambeau.mean", "flambeau.amax", "flambeau.amin")


@register_pass
@dataclass(frozen=True)
class SimplifyReductions:
    """Compute sums, means and extremes of equal elements from one of these; negate sums, not what is summed."""

    name = "simplify-reductions"

    def run(self, module: ir.Module) -> None:
        for function in fn.functions(module):
            for op in fn.operations(fn.entry_block(function)):
                if op.name in _REDUCTIONS and not _reduce_one(op):
                    _negate_afterwards(op)


def _negate_afterwards(op: ir.Operation) -> None:
    """Replace the sum of negated floats by the negated sum. (Of unsigned numbers it would be another one.)"""
    x = op.operands[0]
    negation = None if isinstance(x.owner, ir.Block) else x.owner.operation
    if op.name not in ("flambeau.sum", "flambeau.mean") or not is_float(x.type):
        return
    if negation is None or negation.name != "flambeau.neg":
        return
    reduce = getattr(b, op.name.removeprefix("flambeau."))
    with ir.InsertionPoint(op), op.location:
        found = b.neg(reduce(negation.operands[0], op.opview.dims, op.opview.keepdim))
    fn.replace_op(op, [found])


def _reduce_one(op: ir.Operation) -> bool:
    """Reduce along dims of equal elements by arithmetic; whether there are any."""
    view = op.opview
    rank = len(shape_of(view.x))
    reduced = {d % max(rank, 1) for d in view.dims} & set(range(rank)) or set(range(rank))
    alike = reduced & equal_along(view.x)
    if not alike:
        return False
    with ir.InsertionPoint(op), op.location:
        count = b.multiply_sizes([size for d, size in enumerate(b.sizes(view.x)) if d in alike])
        one = _narrowed(view.x, alike)
        found = getattr(b, op.name.removeprefix("flambeau."))(one, view.dims, view.keepdim)
        if op.name == "flambeau.sum":
            found = _times(found, count)
        elif op.name == "flambeau.mean":
            found = _if_any(count, found, nan)
    fn.replace_op(op, [found])
    return True


def _times(x: ir.Value, count: int | ir.Value) -> ir.Value:
    """The sum of so many times `x`: 0 for none, whatever x is."""
    element = x.type.element_type
    return _if_any(count, b.mul(x, b.expand(b.tensor_from_index(count, element), b.sizes(x))), 0)


def _if_any(count: int | ir.Value, x: ir.Value, otherwise: float) -> ir.Value:
    if isinstance(count, int):
        return x if count else b.full_like(x, otherwise)
    i64 = ir.IntegerType.get_signless(64)
    none = b.expand(b.eq(b.tensor_from_index(count, i64), 0), b.sizes(x))
    return b.where(none, otherwise, x)


def equal_along(x: ir.Value) -> set[int]:
    """The dims of a tensor along which all elements are known to be the same."""
    rank = len(shape_of(x))
    if isinstance(x.owner, ir.Block):
        return set()
    op = x.owner.operation
    if op.name == "flambeau.constant":
        return set(range(rank)) if op.attributes["value"].is_splat else set()
    if op.name == "flambeau.expand":
        inner, sizes = op.operands[0], shape_of(op.operands[0])
        added = rank - len(sizes)
        known = {d + added for d in equal_along(inner)}
        repeated = {d for d in range(rank) if d < added or sizes[d - added] == 1 != shape_of(x)[d]}
        return known | repeated
    if op.name == "autograd.detach":
        return equal_along(op.operands[0])
    if op.name not in OPS:
        return set()
    if OPS[op.name].view:
        everywhere = len(equal_along(op.operands[0])) == len(shape_of(op.operands[0]))
        return set(range(rank)) if everywhere else set()
    if OPS[op.name].elementwise:
        operands = [equal_along(o) for o in op.operands if is_tensor(o.type)]
        return set.intersection(*operands) if operands else set()
    return set()


def _narrowed(x: ir.Value, dims: set[int]) -> ir.Value:
    """A tensor with size 1 at `dims`, along which its elements are equal."""
    if not dims:
        return x
    op: Any = x.owner.operation
    shape = [1 if d in dims else s for d, s in enumerate(shape_of(x))]
    if op.name == "flambeau.constant":
        value = ir.DenseElementsAttr.get_splat(
            tensor_type(shape, x.type.element_type), op.attributes["value"].get_splat_value()
        )
        return b.constant(value)
    sizes = [1 if d in dims else s for d, s in enumerate(b.sizes(x))]
    if op.name == "flambeau.expand":
        inner = op.operands[0]
        added = len(shape) - len(shape_of(inner))
        narrow = {d - added for d in dims if d >= added and shape_of(inner)[d - added] != 1}
        return b.expand(_narrowed(inner, narrow), sizes)
    if op.name == "autograd.detach":
        return b.autograd_detach(_narrowed(op.operands[0], dims))
    if OPS[op.name].view:
        inner = op.operands[0]
        one = _narrowed(inner, set(range(len(shape_of(inner)))))
        return b.expand(b.view(one, [1] * len(shape)), sizes)
    operands = [_narrowed(o, dims) if is_tensor(o.type) else o for o in op.operands]
    attributes = {name: op.attributes[name] for name in op.attributes}
    return ir.Operation.create(
        op.name,
        results=[tensor_type(shape, x.type.element_type)],
        operands=operands,
        attributes=attributes,
    ).results[0]
