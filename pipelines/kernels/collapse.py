# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fewer and longer loops: neighbouring loops as one where every access allows it."""

from collections.abc import Sequence
from dataclasses import replace

from flambeau.pipelines.kernels.plan import Choose, Loop, Plan, Position


def _without_units(loops: Sequence[Loop]) -> tuple[Loop, ...]:
    """The loops over more than one place, but one reduced loop at least if there are any."""
    kept = [loop for loop in loops if loop.size.static != 1]
    units = [loop for loop in loops if loop.reduced and loop.size.static == 1]
    if units and not any(loop.reduced for loop in kept):
        kept = [loop for loop in loops if loop.size.static != 1 or loop is units[0]]
    return tuple(kept)


def collapse(plan: Plan) -> Plan:
    """A plan with neighbouring loops as one, where every access goes from the inner one on to the outer one's next."""
    plan = replace(plan, loops=_without_units(plan.loops))
    maps = [node.place for node in plan.loads] + [store.place for store in plan.stores]
    maps += [node.index for node in plan.nodes if isinstance(node, Position)]
    maps += [node.guard.index for node in plan.nodes if isinstance(node, Choose) and node.guard]
    loops = list(plan.loops)
    at = 0
    while at + 1 < len(loops):
        outer, inner = loops[at : at + 2]
        if outer.reduced == inner.reduced and all(
            m.coefficient(outer.number) == m.coefficient(inner.number) * inner.size for m in maps
        ):
            # The inner variable now counts through both; the outer one is always 0, so its terms do nothing.
            loops[at : at + 2] = [Loop(inner.number, outer.size * inner.size, outer.reduced)]
        else:
            at += 1
    return replace(plan, loops=tuple(loops))
