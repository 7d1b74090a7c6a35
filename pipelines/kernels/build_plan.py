# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From the body of a kernel to its plan: a walk from the results to the operands with an index map.

`NotCovered` where the body has no single iteration space; a reduction that is read at another place than it is computed
has none.
"""

from collections.abc import Sequence
from dataclasses import replace

from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import OPS
from flambeau.dialects.types import is_tensor, shape_of
from flambeau.pipelines.kernels.choices import CHOICES, Look, random_bits
from flambeau.pipelines.kernels.collapse import collapse
from flambeau.pipelines.kernels.index_maps import (
    START,
    Index,
    NotCovered,
    SplitLoop,
    linear,
    reshape,
    with_gaps,
)
from flambeau.pipelines.kernels.plan import (
    FIRST_LOOKED_UP,
    Apply,
    Choose,
    Guard,
    Load,
    LookedUp,
    Loop,
    Node,
    Plan,
    Reduce,
    Store,
)
from flambeau.pipelines.kernels.polynomial import ONE, Polynomial, product
from flambeau.pipelines.kernels.symbols import Symbols
from flambeau.pipelines.kernels.views import VIEWS
from flambeau.pipelines.scalar_forms import has_scalar_form

REDUCTIONS = {"sum": "sum", "mean": "sum", "prod": "prod", "amax": "amax", "amin": "amin"}
_SAME = ("flambeau.clone", "autograd.detach", "autograd.checkpoint")
_DEEPEST_KERNEL = 150  # ops; the walk is recursive
_LARGEST_KERNEL = 400  # nodes; views at many places multiply what is computed


def make_plan(block: ir.Block) -> Plan:
    """The plan of a kernel's body, whose terminator's operands are the results."""
    symbols = Symbols(block)
    factors: dict[int, list[Polynomial]] = {}  # how the dims of the space are split
    for _ in range(16):
        builder = PlanBuilder(block, symbols, factors)
        try:
            return collapse(builder.build())
        except SplitLoop as split:
            builder.split(split, factors)
    raise NotCovered("views split the iteration space again and again")


class PlanBuilder:
    """Walks a kernel's body from its results to its operands with an index map."""

    def __init__(self, block: ir.Block, symbols: Symbols, factors: dict[int, list[Polynomial]]) -> None:
        self._operands = {a: i for i, a in enumerate(block.arguments)}
        operations = [o.operation for o in block.operations]
        self._results = list(operations[-1].operands)
        self.symbols = symbols
        self._memo: dict[tuple[ir.Value, tuple[Index, ...], tuple[Guard, ...]], Node] = {}
        self._guards: tuple[Guard, ...] = ()
        self._depth = 0
        self._looked_up: dict[int, LookedUp] = {}
        self._reductions: dict[ir.Value, tuple[tuple[Index, ...], Reduce]] = {}
        reducing = [op for op in operations if _reduction(op) is not None]
        self._main = (
            reducing[0].operands[0]
            if reducing
            else max(self._results, key=lambda v: (v.type.rank, sum(s != 1 for s in shape_of(v))))
        )
        self._lay_out(_reduced_dims(reducing[0]) if reducing else [], factors)
        if reducing and not any(loop.reduced for loop in self.loops):
            raise NotCovered("it reduces a number")

    def _lay_out(self, gone: Sequence[int], factors: dict[int, list[Polynomial]]) -> None:
        """Give each dim of the main value its loops."""
        self.loops: list[Loop] = []
        self._dims: dict[int, int] = {}  # loop -> dim
        index: list[Index] = []
        for dim, size in enumerate(self.symbols.shape(self._main)):
            parts = factors.get(dim, [size])
            place, stride = START, ONE
            numbers = range(len(self.loops), len(self.loops) + len(parts))
            for number, part in zip(reversed(numbers), reversed(parts), strict=True):
                if part.static != 1:
                    place = place + Index.loop(number, stride)
                stride = stride * part
            for number, part in zip(numbers, parts, strict=True):
                self.loops.append(Loop(number, part, dim in gone))
                self._dims[number] = dim
            index.append(place)
        self.sizes = [loop.size for loop in self.loops]
        self._index = tuple(index)

    def split(self, split: SplitLoop, factors: dict[int, list[Polynomial]]) -> None:
        """Note in `factors` that a loop has become two."""
        dim = self._dims[split.number]
        siblings = [n for n, d in self._dims.items() if d == dim]
        parts = factors.get(dim) or [self.sizes[n] for n in siblings]
        at = siblings.index(split.number)
        count = parts[at].static
        assert count is not None
        halves = [Polynomial.of(count // split.inner), Polynomial.of(split.inner)]
        factors[dim] = [*parts[:at], *halves, *parts[at + 1 :]]

    def build(self) -> Plan:
        stores = []
        for number, value in enumerate(self._results):
            index = self._index_of_root(value)
            place = linear(index, self.symbols.shape(value))
            stores.append(Store(number, self.node(value, tuple(index)), place))
        reductions = tuple(node for _, node in self._reductions.values())
        return Plan(tuple(self.loops), tuple(stores), reductions, self.symbols, self._looked_up)

    def _index_of_root(self, value: ir.Value) -> list[Index]:
        """Where a result lies in the iteration space: over all of it, or over its parallel loops."""
        shape = self.symbols.shape(value)
        every = [loop for loop in self.loops if loop.size.static != 1]
        kept = [loop for loop in every if not loop.reduced]
        for loops in (every, kept):
            if product([loop.size for loop in loops]) == product(shape):
                index = [Index.loop(loop.number) for loop in loops]
                return reshape(index, [loop.size for loop in loops], shape, self.sizes)
        raise NotCovered("the results have no common iteration space")

    def node(self, value: ir.Value, index: tuple[Index, ...]) -> Node:
        key = (value, index, self._guards)
        if key not in self._memo:
            if len(self._memo) > _LARGEST_KERNEL:
                raise NotCovered("it is too large")
            self._depth += 1
            if self._depth > _DEEPEST_KERNEL:
                raise NotCovered("its ops depend on each other in too long a chain")
            self._memo[key] = self._make(value, index)
            self._depth -= 1
        return self._memo[key]

    def _make(self, value: ir.Value, index: tuple[Index, ...]) -> Node:
        if value in self._operands:
            return self._load(value, linear(index, self.symbols.shape(value)))
        op = value.owner.operation
        if op.name == "flambeau.view" and op.operands[0] in self._operands:
            return self._load(op.operands[0], linear(index, self.symbols.shape(value)))
        if op.name in _SAME:
            return self.node(op.operands[0], index)
        if op.name in VIEWS:
            return self.node(
                op.operands[0], tuple(VIEWS[op.name](self.symbols, self.sizes, op.opview, index))
            )
        if op.name == "flambeau.random_bits":
            return random_bits(self, op.opview, index, list(op.results).index(value))
        if op.name in CHOICES:
            return CHOICES[op.name](self, op.opview, index)
        if _reduction(op) is not None:
            return self._reduce(op, index)
        if op.name in OPS and OPS[op.name].elementwise and has_scalar_form(op) and len(op.results) == 1:
            return self._apply(op, index)
        raise NotCovered(f"{op.name} has no loop form")

    def _load(self, value: ir.Value, place: Index) -> Node:
        """An element of an operand, which lies in memory in row-major order."""
        indices = [place, *(guard.index for guard in self._guards)]
        return Load(
            value.type.element_type,
            frozenset().union(*(self.loops_of(index) for index in indices)),
            max(self._level_of(index) for index in indices),
            operand=self._operands[value],
            place=place,
            guards=self._guards,
        )

    def look_up(self, value: ir.Value, index: tuple[Index, ...], size: Polynomial) -> Index:
        """The index into a dim of `size` places that a tensor of indices holds at `index`."""
        node = self.node(value, index)
        for number, found in self._looked_up.items():
            if found.node is node and found.size == size:
                return Index.loop(number)
        number = FIRST_LOOKED_UP + len(self._looked_up)
        self._looked_up[number] = LookedUp(node, size)
        return Index.loop(number)

    def loops_of(self, index: Index) -> frozenset[int]:
        """The loops that an index depends on, itself or by what it looks up."""
        found = [self._looked_up[n].node.loops if n in self._looked_up else {n} for n in index.loops]
        return frozenset().union(*found)

    def _level_of(self, index: Index) -> int:
        return max((self._looked_up[n].node.level for n in index.loops if n in self._looked_up), default=0)

    def choose(self, guard: Guard, inside: Look, outside: Look | Node) -> Node:
        """What one value is where the guard holds, and another one elsewhere."""
        first = self._guarded(guard, inside)
        other = replace(guard, inside=not guard.inside)
        second = outside if isinstance(outside, Node) else self._guarded(other, outside)
        loops = first.loops | second.loops | self.loops_of(guard.index)
        return Choose(first.type, loops, max(first.level, second.level), (first, second), guard=guard)

    def choose_all(self, guards: Sequence[Guard], inside: Look, outside: Node) -> Node:
        """The same where all of several guards hold."""
        if not guards:
            return self.node(*inside)
        before = self._guards
        self._guards = (*before, *guards)
        node = self.node(*inside)
        self._guards = before
        for guard in guards:
            loops = node.loops | outside.loops | self.loops_of(guard.index)
            node = Choose(node.type, loops, node.level, (node, outside), guard=guard)
        return node

    def _guarded(self, guard: Guard, look: Look) -> Node:
        before = self._guards
        self._guards = (*before, guard)
        try:
            return self.node(*look)
        finally:
            self._guards = before

    def _apply(self, op: ir.Operation, index: tuple[Index, ...]) -> Node:
        if any(not is_tensor(v.type) for v in op.operands):
            raise NotCovered(f"{op.name} takes a size")
        arguments = tuple(self.node(v, index) for v in op.operands)
        loops = frozenset().union(*(a.loops for a in arguments))
        level = max((a.level for a in arguments), default=0)
        return Apply(op.results[0].type.element_type, loops, level, arguments, op=op)

    def _reduce(self, op: ir.Operation, index: tuple[Index, ...]) -> Node:
        """A reduction read at `index`, which must be where the iteration space computes it."""
        gone = _reduced_dims(op)
        operand = op.operands[0]
        rank = operand.type.rank
        keeps = op.results[0].type.rank == rank
        read = list(index) if keeps else with_gaps(index, gone, rank)
        place = self._index_of_operand(op)
        if any(read[d] != place[d] for d in range(rank) if d not in gone):
            raise NotCovered("a reduction is read at another place than it is computed")
        result = op.results[0]
        if result not in self._reductions:
            guards, self._guards = self._guards, ()  # it is computed everywhere
            node = self._make_reduction(op, place)
            self._guards = guards
            self._reductions[result] = (place, node)
        return self._reductions[result][1]

    def _index_of_operand(self, op: ir.Operation) -> tuple[Index, ...]:
        """At which index a reduction reads its operand: along all loops, in the main value's order."""
        operand, gone = op.operands[0], _reduced_dims(op)
        shape = self.symbols.shape(operand)
        every = [loop for loop in self.loops if loop.size.static != 1]
        if product(shape) != product([loop.size for loop in every]):
            raise NotCovered("reductions run over spaces of different sizes")
        index = [Index.loop(loop.number) for loop in every]
        place = tuple(reshape(index, [loop.size for loop in every], shape, self.sizes))
        reduced = {loop.number for loop in every if loop.reduced}
        inside = frozenset().union(*(place[d].loops for d in gone)) if gone else frozenset()
        outside = frozenset().union(*(place[d].loops for d in range(len(place)) if d not in gone))
        if inside != reduced or outside & reduced:
            raise NotCovered("reductions run over different dims")
        return place

    def _make_reduction(self, op: ir.Operation, place: tuple[Index, ...]) -> Reduce:
        argument = self.node(op.operands[0], place)
        kept = frozenset(loop.number for loop in self.loops if not loop.reduced)
        kind = _reduction(op)
        assert kind is not None
        count = product([loop.size for loop in self.loops if loop.reduced])
        return Reduce(
            op.results[0].type.element_type,
            argument.loops & kept,
            argument.level + 1,
            (argument,),
            kind=kind,
            divisor=count if op.name == "flambeau.mean" else None,
        )


def _reduction(op: ir.Operation) -> str | None:
    """The kind of a reduction, None of any other op."""
    dialect, _, name = op.name.partition(".")
    return REDUCTIONS.get(name) if dialect == "flambeau" else None


def _reduced_dims(op: ir.Operation) -> list[int]:
    """The dims that a reduction takes away."""
    rank = op.operands[0].type.rank
    view = op.opview
    dims = view.dims if hasattr(view, "dims") else ([] if view.dim is None else [view.dim])
    return sorted({d % rank for d in dims}) if dims and rank else list(range(rank))
