# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reductions in two steps, for kernels with few results and long reductions: parts in parallel, then their sum.

In: a plan. Out: a plan whose results are the partial reductions, one set per part, and one that reduces these and
computes the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from flambeau.pipelines.kernels.index_maps import START, Index
from flambeau.pipelines.kernels.plan import Choose, Load, Loop, Node, Plan, Position, Reduce, Store
from flambeau.pipelines.kernels.polynomial import Polynomial, product
from flambeau.pipelines.kernels.reductions import partial_type


def longest_split(plan: Plan, wanted: int) -> int:
    """The largest number of parts up to `wanted` that a plan can be split into; 1 if it cannot be split."""
    reduced = {loop.number for loop in plan.reduced}
    inside = any((store.node.loops | store.place.loops) & reduced for store in plan.stores)
    if not plan.reductions or inside or any(r.level > 1 for r in plan.reductions):
        return 1
    size = plan.reduced[0].size.static
    if size is None:
        return 1
    return max((n for n in range(1, min(wanted, size) + 1) if size % n == 0), default=1)


def split_reduction(plan: Plan, parts: int, first_operand: int) -> tuple[Plan, Plan]:
    """Two plans; the second one reads the results of the first as operands from number `first_operand` on."""
    split = plan.reduced[0]
    length = split.size.static
    assert length is not None and length % parts == 0
    part = Loop(1 + max(loop.number for loop in plan.loops), Polynomial.of(parts), False)
    inner = replace(split, size=Polynomial.of(length // parts))
    place = _place(part, plan.parallel)

    def in_part(index: Index) -> Index:
        return index + Index.loop(part.number, index.coefficient(split.number) * inner.size)

    rewriter = _Rewriter(plan, in_part)
    partials = [
        replace(r, type=partial_type(r), arguments=(rewriter(r.arguments[0]),), divisor=None)
        for r in plan.reductions
    ]
    loops = (part, *(inner if loop == split else loop for loop in plan.loops))
    first = replace(
        plan,
        loops=loops,
        stores=tuple(Store(n, partial, place) for n, partial in enumerate(partials)),
        reductions=tuple(partials),
        looked_up={n: replace(found, node=rewriter(found.node)) for n, found in plan.looked_up.items()},
    )
    return first, _second(plan, replace(part, reduced=True), place, first_operand)


def _place(part: Loop, parallel: list[Loop]) -> Index:
    """Where a partial reduction lies: all places of one part together."""
    loops = [part, *parallel]
    total = START
    for i, loop in enumerate(loops):
        total = total + Index.loop(loop.number, product([inner.size for inner in loops[i + 1 :]]))
    return total


def _second(plan: Plan, part: Loop, place: Index, first_operand: int) -> Plan:
    """The plan that reduces the parts."""
    found: dict[Node, Node] = {}
    for number, reduction in enumerate(plan.reductions):
        load = Load(partial_type(reduction), place.loops, 0, operand=first_operand + number, place=place)
        found[reduction] = replace(reduction, arguments=(load,))
    rewriter = _Rewriter(plan, lambda index: index, found)
    stores = tuple(replace(store, node=rewriter(store.node)) for store in plan.stores)
    reductions = tuple(node for node in found.values() if isinstance(node, Reduce))
    looked_up = {n: replace(f, node=rewriter(f.node)) for n, f in plan.looked_up.items()}
    loops = (part, *plan.parallel)
    return replace(plan, loops=loops, stores=stores, reductions=reductions, looked_up=looked_up)


@dataclass
class _Rewriter:
    """Nodes with other index maps; `found` are those that are given."""

    plan: Plan
    change: Callable[[Index], Index]
    found: dict[Node, Node]

    def __init__(
        self, plan: Plan, change: Callable[[Index], Index], found: dict[Node, Node] | None = None
    ) -> None:
        self.plan, self.change, self.found = plan, change, dict(found or {})

    def __call__(self, node: Node) -> Node:
        if node not in self.found:
            self.found[node] = self._rewrite(node)
        return self.found[node]

    def _rewrite(self, node: Node) -> Node:
        arguments = tuple(self(a) for a in node.arguments)
        if isinstance(node, Load):
            guards = tuple(replace(g, index=self.change(g.index)) for g in node.guards)
            return replace(node, place=self.change(node.place), guards=guards)
        if isinstance(node, Position):
            return replace(node, index=self.change(node.index))
        if isinstance(node, Choose) and node.guard is not None:
            guard = replace(node.guard, index=self.change(node.guard.index))
            return replace(node, arguments=arguments, guard=guard)
        return replace(node, arguments=arguments) if arguments else node
