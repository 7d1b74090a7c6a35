# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass join-slices: sums of parts that were written into zeros become joins of the parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flambeau.dialects import build as b
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.types import DYNAMIC, shape_of
from flambeau.pipelines.analysis.fills import fill_value
from flambeau.pipelines.registry import register_pass


@register_pass
@dataclass(frozen=True)
class JoinSlices:
    """Join the gradients of the parts that a tensor is split into.

    The gradient of a slice is a tensor of zeros with the slice's gradient in it, so a tensor that is split, halved or
    unbound gets a sum of such tensors. Where at least two of its terms stand beside each other, they become one
    `flambeau.cat`, with zeros between them. Values do not change, except that a term between two parts is added
    before or after both.
    """

    name = "join-slices"

    def run(self, module: ir.Module) -> None:
        for function in fn.functions(module):
            for op in reversed(fn.operations(fn.entry_block(function))):
                # From the end: a sum comes before the sums that are its terms.
                if op.name == "flambeau.add" and not _is_term(op.results[0]):
                    _join(op)


@dataclass(frozen=True)
class _Part:
    """A term of a sum: zeros but for `value`, which stands at [start, end) of `dim`."""

    value: ir.Value
    dim: int
    start: int
    end: int


def _is_term(value: ir.Value) -> bool:
    """Whether a sum is used by another sum and nothing else."""
    uses = list(value.uses)
    return len(uses) == 1 and uses[0].owner.name == "flambeau.add"


def _terms(value: ir.Value) -> Iterator[ir.Value]:
    """The terms of a sum in order, those of inner sums among them."""
    waiting = list(reversed(value.owner.operands))
    while waiting:
        value = waiting.pop()
        if _is_term(value) and not isinstance(value.owner, ir.Block) and value.owner.name == "flambeau.add":
            waiting.extend(reversed(value.owner.operands))
        else:
            yield value


def _part(value: ir.Value) -> _Part | None:
    """`value` as a part, if it is one and has a static size and place."""
    if isinstance(value.owner, ir.Block) or len(list(value.uses)) != 1:
        return None
    op = value.owner.opview
    if value.owner.name == "flambeau.slice_scatter":
        start, end, contiguous = op.start, op.end, op.step == 1
    elif value.owner.name == "flambeau.select_scatter":
        start, end, contiguous = op.index, op.index + 1 if isinstance(op.index, int) else None, True
    else:
        return None
    placed = isinstance(start, int) and isinstance(end, int) and shape_of(value)[op.dim] != DYNAMIC
    if not placed or not contiguous or fill_value(op.x) != 0:
        return None
    return _Part(value, op.dim, start, end)


def _disjoint(parts: Sequence[_Part]) -> list[_Part]:
    """Parts of one dim, in order of their places, without those that overlap one before."""
    chosen: list[_Part] = []
    for part in sorted(parts, key=lambda p: p.start):
        if part.start < part.end and (not chosen or chosen[-1].end <= part.start):
            chosen.append(part)
    return chosen


def _join(op: ir.Operation) -> None:
    """Replace the sum that `op` ends by one with fewer terms, if parts can be joined."""
    if not list(op.results[0].uses):
        return  # an inner sum of one that was replaced
    terms = list(_terms(op.results[0]))
    parts = [part for part in map(_part, terms) if part is not None]
    groups = [_disjoint([p for p in parts if p.dim == dim]) for dim in dict.fromkeys(p.dim for p in parts)]
    groups = [group for group in groups if len(group) > 1]
    if not groups:
        return
    with ir.InsertionPoint(op), op.location:
        for group in groups:
            joined = _joined(group)
            members = {part.value for part in group}
            place = next(i for i, term in enumerate(terms) if term in members)
            terms = [
                joined if i == place else t for i, t in enumerate(terms) if i == place or t not in members
            ]
        total = terms[0]
        for term in terms[1:]:
            total = b.add(total, term)
    op.results[0].replace_all_uses_with(total)
    op.erase()


def _joined(parts: Sequence[_Part]) -> ir.Value:
    """The sum of disjoint parts."""
    whole, dim = parts[0].value, parts[0].dim
    pieces: list[ir.Value] = []
    end = 0
    for part in parts:
        _fill_gap(pieces, whole, dim, part.start - end)
        source = part.value.owner.opview.src
        pieces.append(
            b.unsqueeze(source, dim) if part.value.owner.name == "flambeau.select_scatter" else source
        )
        end = part.end
    _fill_gap(pieces, whole, dim, shape_of(whole)[dim] - end)
    return b.cat(pieces, dim)


def _fill_gap(pieces: list[ir.Value], whole: ir.Value, dim: int, length: int) -> None:
    if length:
        sizes = b.sizes(whole)
        sizes[dim] = length
        pieces.append(b.full(sizes, 0, whole.type.element_type))
