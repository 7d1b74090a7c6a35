# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checkpointed regions: the markers `autograd.checkpoint` of a joint function out, what they say about values in."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.types import is_tensor

_MARKER = "autograd.checkpoint"


@dataclass(frozen=True)
class Checkpoints:
    """What checkpointed regions ask of a partition.

    again: values inside of regions, to be computed again rather than saved. kept: what leaves a region, and what its
    policy wants to be saved: never to be computed again.
    """

    again: frozenset[ir.Value] = frozenset()
    kept: frozenset[ir.Value] = frozenset()


def take_checkpoints(block: ir.Block, on_tangent: Collection[ir.Value]) -> Checkpoints:
    """Erase the markers of a joint function's block and say what they meant; `on_tangent` is of no region."""
    operations = fn.operations(block)[:-1]
    if not any(op.name == _MARKER for op in operations):
        return Checkpoints()
    regions = _regions(operations, on_tangent)
    kept = {v for v in fn.terminator(block).operands if v in regions}
    for op in operations:
        if op.name == _MARKER:
            (value,), (out,) = op.operands, op.results
            if op.opview.save or (value in regions and regions[value] != op.opview.region):
                kept.add(value)
            if out in kept:
                kept.add(value)
            regions.pop(out, None)
            kept.discard(out)
            out.replace_all_uses_with(value)
            op.erase()
    return Checkpoints(frozenset(regions.keys() - kept), frozenset(kept))


def _regions(operations: Sequence[ir.Operation], on_tangent: Collection[ir.Value]) -> dict[ir.Value, int]:
    """The region of each tensor that is computed in one: from its inputs' markers on, to the markers of its results."""
    found: dict[ir.Value, int] = {}
    for op in operations:
        if op.name == _MARKER:
            region = op.opview.region
        else:
            region = next((found[operand] for operand in op.operands if operand in found), None)
        if region is not None:
            found.update((r, region) for r in op.results if is_tensor(r.type) and r not in on_tangent)
    # What depends on no input of a region, like random bits, but is used there alone.
    for op in reversed(operations):
        if op.name == _MARKER or any(r in found or r in on_tangent for r in op.results):
            continue
        users = {use.owner.operation for result in op.results for use in result.uses}
        regions = {_region_of_user(u, found) for u in users if not any(r in on_tangent for r in u.results)}
        if len(regions) == 1 and (region := regions.pop()) is not None:
            found.update((r, region) for r in op.results if is_tensor(r.type))
    return found


def _region_of_user(op: ir.Operation, regions: Mapping[ir.Value, int]) -> int | None:
    if op.name == _MARKER:
        return None
    return next((regions[r] for r in op.results if r in regions), None)
