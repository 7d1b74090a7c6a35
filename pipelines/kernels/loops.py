# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The loops of a kernel over one iteration space: pointwise, rows and columns.

Stages: a stage is one run through the reduced loops; it computes all reductions whose operands are known by then, and
stores what depends on no later one. Stage 0 computes the reductions of level 1.

form `rows`: for each place of the parallel loops a scalar per reduction; the innermost reduced loop goes in vectors,
whose lanes are added up in the end.
form `columns`: for each place of the outer parallel loops and each vector along the innermost one a vector per
reduction; the reduced loops go one by one. Without reductions these are pointwise kernels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from flambeau.dialects.bindings import ir
from flambeau.pipelines.kernels.emitter import Emitter, IndexLike, flat_type, storage, vector_type
from flambeau.pipelines.kernels.index_maps import START, Index, NotCovered
from flambeau.pipelines.kernels.plan import (
    Choose,
    Constant,
    Guard,
    Load,
    Loop,
    Node,
    Plan,
    Position,
    Random,
    Reduce,
    Store,
)
from flambeau.pipelines.kernels.polynomial import Polynomial, product
from flambeau.pipelines.kernels.random_words import random_word
from flambeau.pipelines.kernels.reductions import Accumulator, accumulator
from flambeau.pipelines.kernels.scalar_values import (
    apply_scalar_form,
    from_storage,
    index_to_number,
    positions,
    to_storage,
)
from flambeau.pipelines.kernels.schedule import Schedule, cost

_BUFFER_BYTES = 256 * 1024  # of the stack, all kept values of a row together
_LONGEST = 2**22  # what a row of unknown length is prepared for
_WORTH_KEEPING = 4.0  # a value that costs more than that is stored rather than computed again


@dataclass
class Scope:
    """What is computed at one nesting of loops, by node: scalars, and vectors."""

    scalars: dict[Node, ir.Value] = field(default_factory=dict)
    vectors: dict[Node, ir.Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Lanes:
    """The vector that a body computes: its first place, and the mask with the number of lanes that are on."""

    start: IndexLike
    mask: tuple[ir.Value, IndexLike] | None = None


class KernelLoops:
    """Writes the loops of one kernel into its function."""

    def __init__(
        self,
        plan: Plan,
        schedule: Schedule,
        emitter: Emitter,
        inputs: Sequence[ir.Value | None],
        outputs: Sequence[tuple[ir.Value, list[ir.Value]]],
    ) -> None:
        self.plan, self.schedule, self.e = plan, schedule, emitter
        self._inputs, self._outputs = inputs, outputs
        self._variables: dict[int, IndexLike] = {}
        self._scopes = [Scope()]
        self._innermost: Loop | None = plan.loops[-1] if plan.loops else None
        self._levels = max((r.level for r in plan.reductions), default=0)
        self._kept: dict[Node, int] = {}
        self._buffers: dict[Node, ir.Value] = {}
        if schedule.form == "rows" and schedule.keep:
            self._kept = _values_to_keep(plan, self._innermost)

    def write(self, group: IndexLike) -> None:
        """All loops of the work group of this number."""
        plan = self.plan
        if self._innermost is None:
            self._stage_without_loops()
        elif self.schedule.form == "rows":
            self._over(plan.parallel, group, self.schedule.rows, self._row)
        else:
            *outer, line = plan.parallel
            tiles = self._column_tiles(line)
            tile = self.e.mod(group, tiles)
            rows = self.e.div(group, tiles)
            self._over(outer, rows, self.schedule.rows, lambda: self._line(line, tile))

    def _column_tiles(self, line: Loop) -> IndexLike:
        size = self.e.polynomial(line.size)
        return self.e.ceildiv(size, self.schedule.columns) if self.schedule.columns else 1

    # --- Parallel loops ---

    def _over(self, loops: list[Loop], group: IndexLike, count: int, body: Callable[[], None]) -> None:
        """`body` at each of the `count` places of the outer loops that belong to the group."""
        total = product([loop.size for loop in loops])
        if total.static == 1:
            self._scoped(body)
            return
        start = self.e.mul(group, count)
        end = self.e.add(start, count)
        if total.static is None or total.static % count:
            end = self.e.min(end, self.e.polynomial(total))

        def at(place: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            self._set_variables(loops, place)
            self._scoped(body)
            return []

        self.e.loop(start, end, 1, [], at)

    def _set_variables(self, loops: list[Loop], place: IndexLike) -> None:
        for loop in reversed(loops[1:]):
            size = self.e.polynomial(loop.size)
            self._variables[loop.number] = self.e.mod(place, size)
            place = self.e.div(place, size)
        self._variables[loops[0].number] = place

    def _line(self, line: Loop, tile: IndexLike) -> None:
        """All vectors of a tile along the innermost parallel loop."""
        size = self.e.polynomial(line.size)
        columns = self.schedule.columns
        start = self.e.mul(tile, columns) if columns else 0
        end = self.e.min(self.e.add(start, columns), size) if columns else size
        if columns and isinstance(size, int) and size % columns == 0:
            end = self.e.add(start, columns)

        def at(lanes: Lanes, _: list[ir.Value]) -> list[ir.Value]:
            self._variables[line.number] = lanes.start
            self._scoped(lambda: self._stages(lanes))
            return []

        self._vectors(start, end, [], at)

    def _vectors(
        self,
        start: IndexLike,
        end: IndexLike,
        carried: Sequence[ir.Value],
        body: Callable[[Lanes, list[ir.Value]], Sequence[ir.Value]],
    ) -> list[ir.Value]:
        """`body` for each vector from `start` to `end`; the last one has a mask unless it is known to be whole."""
        width = self.schedule.vector
        length = self.e.sub(end, start)
        rest = self.e.mod(length, width)
        whole = self.e.sub(end, rest)
        values = list(carried)
        if isinstance(whole, ir.Value) or isinstance(start, ir.Value) or whole != start:
            values = self.e.loop(start, whole, width, values, lambda j, v: body(Lanes(j), v))
        if isinstance(rest, int):
            if not rest or self._known_whole(end):
                return values
            mask = (self.e.mask(width, rest), rest)
            return list(body(Lanes(whole, mask), values))

        def masked(j: ir.Value, v: list[ir.Value]) -> Sequence[ir.Value]:
            left = self.e.sub(end, j)
            return body(Lanes(j, (self.e.mask(width, left), left)), v)

        return self.e.loop(whole, end, width, values, masked) if not self._known_whole(end) else values

    def _known_whole(self, end: IndexLike) -> bool:
        """Whether all tiles are whole numbers of vectors."""
        size = self._innermost.size.static if self._innermost else None
        return (
            size is not None
            and size % self.schedule.vector == 0
            and self.schedule.columns % self.schedule.vector == 0
        )

    def _scoped(self, body: Callable[[], None]) -> None:
        self._scopes.append(Scope())
        body()
        self._scopes.pop()

    # --- Form `rows` ---

    def _row(self) -> None:
        """All stages of one row."""
        self._buffers = {}
        for stage in range(self._levels + 1):
            reductions = [r for r in self.plan.reductions if r.level == stage + 1]
            stores = self._stores_of(stage)
            if reductions or stores:
                self._row_stage(stage, reductions, stores)
        for store in self.plan.stores:
            if not self._inner(store.node, store):
                self._store_scalar(store)

    def _stores_of(self, stage: int) -> list[Store]:
        return [s for s in self.plan.stores if s.node.level == stage and self._inner(s.node, s)]

    def _inner(self, node: Node, store: Store) -> bool:
        """Whether a store lies in the reduced loops."""
        reduced = {loop.number for loop in self.plan.reduced}
        return bool((node.loops | store.place.loops) & reduced)

    def _row_stage(self, stage: int, reductions: list[Reduce], stores: list[Store]) -> None:
        accumulators = [self._accumulator(r) for r in reductions]
        kept = [n for n, s in self._kept.items() if s == stage]
        lanes = self.schedule.vector
        *outer, inner = self.plan.reduced
        count = product([loop.size for loop in self.plan.reduced]).static
        empty = [self.e.value("tensor.empty", [], flat_type(count, n.type)) for n in kept]

        def body(at: Lanes, values: list[ir.Value]) -> list[ir.Value]:
            self._variables[inner.number] = at.start
            results = []
            self._scopes.append(Scope())
            for node, reduction, value in zip(accumulators, reductions, values, strict=False):
                term = node.widen(self.e, self._vector(reduction.arguments[0], at))
                results.append(node.combine(self.e, value, term, at.mask))
            for node_, buffer in zip(kept, values[len(accumulators) :], strict=True):
                vector = self._vector(node_, at)
                results.append(self.e.write(buffer, self._place_in_row(), vector, at.mask and at.mask[0]))
            for store in stores:
                self._store_vector(store, at)
            self._scopes.pop()
            return results

        def run(carried: list[ir.Value]) -> list[ir.Value]:
            self._prepare([*(r.arguments[0] for r in reductions), *(s.node for s in stores), *kept], inner)
            size = self.e.polynomial(inner.size)
            vectors = lambda first, last, v: self._vectors(first, last, v, body)  # noqa: E731
            return self._blocks(size, lanes, accumulators, carried, vectors)

        values = self._nest(
            outer, accumulators, [*(a.start(self.e, lanes) for a in accumulators), *empty], run
        )
        for reduction, node, value in zip(reductions, accumulators, values, strict=False):
            total = node.across(self.e, value)
            self._scopes[-1].scalars[reduction] = self._finish(reduction, node, total)
        for node_, buffer in zip(kept, values[len(accumulators) :], strict=True):
            self._buffers[node_] = buffer

    def _blocks(
        self,
        end: IndexLike,
        step: int,
        accumulators: list[Accumulator],
        carried: list[ir.Value],
        run: Callable[[IndexLike, IndexLike, list[ir.Value]], list[ir.Value]],
    ) -> list[ir.Value]:
        """`run(start, end, carried)` from 0 to `end` in steps of `step`; long sums in blocks of blocks, each from zero.

        So the rounding error of a sum grows with the logarithm of its length, as that of PyTorch's does.
        """
        sizes: list[int] = []
        if any(a.rounds for a in accumulators):
            size = step * self.schedule.block
            longest = end if isinstance(end, int) else _LONGEST
            while 2 * size < longest and self.schedule.block > 1:
                sizes.insert(0, size)
                size *= self.schedule.block

        def level(depth: int, start: IndexLike, last: IndexLike, values: list[ir.Value]) -> list[ir.Value]:
            if depth == len(sizes):
                return run(start, last, values)

            def one(at: ir.Value, totals: list[ir.Value]) -> list[ir.Value]:
                stop = self.e.min(self.e.add(at, sizes[depth]), last)
                return self._subtotal(accumulators, totals, lambda v: level(depth + 1, at, stop, v))

            return self.e.loop(start, last, sizes[depth], values, one)

        return level(0, 0, end, carried)

    def _subtotal(
        self,
        accumulators: list[Accumulator],
        totals: list[ir.Value],
        run: Callable[[list[ir.Value]], list[ir.Value]],
    ) -> list[ir.Value]:
        """Run with accumulators that begin anew, and add what they come to."""
        n = len(accumulators)
        fresh = [a.start_like(self.e, t) for a, t in zip(accumulators, totals, strict=False)]
        values = run([*fresh, *totals[n:]])
        added = [a.merge(self.e, t, v) for a, t, v in zip(accumulators, totals, values, strict=False)]
        return [*added, *values[n:]]

    def _nest(
        self,
        loops: list[Loop],
        accumulators: list[Accumulator],
        carried: list[ir.Value],
        run: Callable[[list[ir.Value]], list[ir.Value]],
    ) -> list[ir.Value]:
        """`run` inside of loops, with a subtotal for each place."""
        if not loops:
            return run(carried)
        first, *rest = loops

        def at(variable: ir.Value, values: list[ir.Value]) -> list[ir.Value]:
            self._variables[first.number] = variable
            self._scopes.append(Scope())
            inner = lambda v: self._nest(rest, accumulators, v, run)  # noqa: E731
            result = self._subtotal(accumulators, values, inner)
            self._scopes.pop()
            return result

        return self.e.loop(0, self.e.polynomial(first.size), 1, carried, at)

    # --- Form `columns` ---

    def _stages(self, lanes: Lanes) -> None:
        """All stages at one vector of places."""
        for stage in range(self._levels + 1):
            reductions = [r for r in self.plan.reductions if r.level == stage + 1]
            stores = self._stores_of(stage)
            if reductions or stores:
                self._column_stage(reductions, stores, lanes)
        for store in self.plan.stores:
            if not self._inner(store.node, store):
                self._store_vector(store, lanes)

    def _column_stage(self, reductions: list[Reduce], stores: list[Store], lanes: Lanes) -> None:
        accumulators = [self._accumulator(r) for r in reductions]
        *outer, inner = self.plan.reduced

        def body(variable: ir.Value, values: list[ir.Value]) -> list[ir.Value]:
            self._variables[inner.number] = variable
            self._scopes.append(Scope())
            results = []
            for reduction, node, value in zip(reductions, accumulators, values, strict=True):
                term = node.widen(self.e, self._vector(reduction.arguments[0], lanes))
                results.append(node.combine(self.e, value, term, None))
            for store in stores:
                self._store_vector(store, lanes)
            self._scopes.pop()
            return results

        def run(carried: list[ir.Value]) -> list[ir.Value]:
            size = self.e.polynomial(inner.size)
            steps = lambda first, last, v: self.e.loop(first, last, 1, v, body)  # noqa: E731
            return self._blocks(size, 1, accumulators, carried, steps)

        starts = [a.start(self.e, self.schedule.vector) for a in accumulators]
        values = self._nest(outer, accumulators, starts, run)
        for reduction, node, value in zip(reductions, accumulators, values, strict=True):
            self._scopes[-1].vectors[reduction] = self._finish(reduction, node, value)

    def _stage_without_loops(self) -> None:
        for store in self.plan.stores:
            self._store_scalar(store)

    # --- Values ---

    def _accumulator(self, reduction: Reduce) -> Accumulator:
        return accumulator(reduction.kind, reduction.arguments[0].type, reduction.type)

    def _finish(self, reduction: Reduce, node: Accumulator, total: ir.Value) -> ir.Value:
        """A reduction's value from what its accumulator came to."""
        if reduction.divisor is not None:
            total = node.divide(self.e, total, self.e.polynomial(reduction.divisor))
        return node.narrow(self.e, total)

    def _place(self, index: Index) -> IndexLike:
        total = self.e.polynomial(index.constant)
        for number, coefficient in index.terms:
            if number in self.plan.looked_up:
                if not self._is_spread(number):
                    found = self.plan.looked_up[number]
                    at = self._inside(self._scalar(found.node), found.size)
                    total = self.e.add(total, self.e.mul(at, self.e.polynomial(coefficient)))
            elif number in self._variables:
                step = self.e.mul(self._variables[number], self.e.polynomial(coefficient))
                total = self.e.add(total, step)
        return total

    def _place_in_row(self) -> IndexLike:
        """The number of the current place among all of the reduced loops."""
        loops = self.plan.reduced
        place = START
        for i, loop in enumerate(loops):
            place = place + Index.loop(loop.number, product([inner.size for inner in loops[i + 1 :]]))
        return self._place(place)

    def _scalar(self, node: Node) -> ir.Value:
        """The value of a node that does not depend on the innermost loop."""
        for scope in self._scopes:
            if node in scope.scalars:
                return scope.scalars[node]
        self._scopes[-1].scalars[node] = value = self._make_scalar(node)
        return value

    def _make_scalar(self, node: Node) -> ir.Value:
        if isinstance(node, Load):
            return from_storage(self.e, self._extract(node), node.type)
        if isinstance(node, Choose):
            assert node.guard is not None
            chosen = [self._scalar(a) for a in node.arguments]
            return self.e.value("arith.select", [self._holds(node.guard), *chosen], chosen[0].type)
        if isinstance(node, Constant):
            return self.e.constant(_splat(node))
        if isinstance(node, Position):
            return index_to_number(self.e, self.e.index(self._place(node.index)), node.type)
        if isinstance(node, Random):
            return random_word(self.e, node.word, node.bits, *[self._scalar(a) for a in node.arguments])
        if isinstance(node, Reduce):
            raise NotCovered("a reduction is needed before it is computed")
        return apply_scalar_form(node, [self._scalar(a) for a in node.arguments])

    def _vector(self, node: Node, lanes: Lanes) -> ir.Value:
        """The values of a node along the innermost loop."""
        for scope in self._scopes:
            if node in scope.vectors:
                return scope.vectors[node]
        if self._innermost is None or self._innermost.number not in node.loops:
            value = self.e.broadcast(self._scalar(node), self.schedule.vector)
        else:
            value = self._make_vector(node, lanes)
        self._scopes[-1].vectors[node] = value
        return value

    def _make_vector(self, node: Node, lanes: Lanes) -> ir.Value:
        mask = lanes.mask[0] if lanes.mask else None
        width = self.schedule.vector
        if node in self._buffers:
            return self.e.read(self._buffers[node], self._place_in_row(), width, mask)
        if isinstance(node, Load):
            return from_storage(self.e, self._load(node, lanes), node.type)
        if isinstance(node, Position):
            assert self._innermost is not None
            first = self.e.index(self._place(node.index))
            step = self.e.polynomial(node.index.coefficient(self._innermost.number))
            return positions(self.e, first, step, width, node.type)
        if isinstance(node, Reduce):
            raise NotCovered("a reduction is needed before it is computed")
        if isinstance(node, Random):
            words = [self._vector(a, lanes) for a in node.arguments]
            return random_word(self.e, node.word, node.bits, *words)
        if isinstance(node, Choose):
            assert node.guard is not None
            chosen = [self._vector(a, lanes) for a in node.arguments]
            return self.e.value("arith.select", [self._holding(node.guard), *chosen], chosen[0].type)
        return apply_scalar_form(node, [self._vector(a, lanes) for a in node.arguments])

    def _extract(self, node: Load) -> ir.Value:
        """One element; where a guard does not hold the first one, so that nothing outside is read."""
        tensor = self._inputs[node.operand]
        assert tensor is not None
        place = self._place(node.place)
        for guard in node.guards:
            zero = self.e.index(0)
            place = self.e.value("arith.select", [self._holds(guard), self.e.index(place), zero], zero.type)
        return self.e.extract(tensor, place)

    def _holds(self, guard: Guard) -> ir.Value:
        """Whether a guard holds, as a bool."""
        place = self.e.index(self._place(guard.index))
        return self._between(place, guard)

    def _holding(self, guard: Guard) -> ir.Value:
        """In which lanes a guard holds."""
        assert self._innermost is not None
        number, width = self._innermost.number, self.schedule.vector
        if number not in guard.index.loops:
            return self.e.broadcast(self._holds(guard), width)
        first = self.e.index(self._place(guard.index))
        step = self.e.polynomial(guard.index.coefficient(number))
        return self._between(self.e.line(first, step, width), guard)

    def _between(self, place: ir.Value, guard: Guard) -> ir.Value:
        """low <= place < high, or not."""
        low, high = (self.e.index(self.e.polynomial(p)) for p in (guard.low, guard.high))
        if isinstance(place.type, ir.VectorType):
            low, high = (self.e.broadcast(v, place.type.shape[0]) for v in (low, high))
        first = self.e.compare("sge" if guard.inside else "slt", place, low)
        second = self.e.compare("slt" if guard.inside else "sge", place, high)
        return self.e.value("arith.andi" if guard.inside else "arith.ori", [first, second], first.type)

    def _load(self, node: Load, lanes: Lanes) -> ir.Value:
        """The elements of a load along the innermost loop."""
        assert self._innermost is not None
        tensor = self._inputs[node.operand]
        assert tensor is not None
        mask, width = lanes.mask[0] if lanes.mask else None, self.schedule.vector
        for guard in node.guards:
            holding = self._holding(guard)
            mask = holding if mask is None else self.e.value("arith.andi", [mask, holding], mask.type)
        step = node.place.coefficient(self._innermost.number)
        spread = [(n, c) for n, c in node.place.terms if self._is_spread(n)]
        place = self._place(node.place)
        if step.static == 1 and not spread:
            return self.e.read(tensor, place, width, mask)
        offsets = self.e.line(self.e.index(0), self.e.polynomial(step), width)
        for number, coefficient in spread:
            index = self._looked_up_vector(number, lanes)
            stride = self.e.broadcast(self.e.index(self.e.polynomial(coefficient)), width)
            far = self.e.value("arith.muli", [index, stride], index.type)
            offsets = self.e.value("arith.addi", [offsets, far], offsets.type)
        return self.e.gather(tensor, place, offsets, mask)

    def _is_spread(self, number: int) -> bool:
        """Whether a looked-up index differs along the innermost loop."""
        found = self.plan.looked_up.get(number)
        return bool(found and self._innermost and self._innermost.number in found.node.loops)

    def _looked_up_vector(self, number: int, lanes: Lanes) -> ir.Value:
        found = self.plan.looked_up[number]
        return self._inside(self._vector(found.node, lanes), found.size)

    def _inside(self, found: ir.Value, size: Polynomial) -> ir.Value:
        """What was looked up as an index that lies in [0, size), so that nothing outside is read; -1 is the last."""
        vector = isinstance(found.type, ir.VectorType)
        index = ir.IndexType.get()
        type_ = vector_type(found.type.shape[0], index) if vector else index
        place = self.e.value("arith.index_cast", [found], type_)
        count = self.e.index(self.e.polynomial(size))
        last, zero = self.e.index(self.e.sub(self.e.polynomial(size), 1)), self.e.index(0)
        if vector:
            count, last, zero = (self.e.broadcast(v, type_.shape[0]) for v in (count, last, zero))
        wrapped = self.e.value("arith.addi", [place, count], type_)
        place = self.e.value("arith.select", [self.e.compare("slt", place, zero), wrapped, place], type_)
        place = self.e.value("arith.maxsi", [place, zero], type_)
        return self.e.value("arith.minsi", [place, last], type_)

    def _prepare(self, roots: Sequence[Node], inner: Loop) -> None:
        """Compute what does not depend on the innermost loop before it begins, and spread it over vectors."""
        seen: set[int] = set()

        def visit(node: Node) -> None:
            if id(node) in seen or node in self._buffers:
                return
            seen.add(id(node))
            if inner.number not in node.loops:
                self._vector(node, Lanes(0))
                return
            for argument in (*node.arguments, *self.plan.indices_of(node)):
                visit(argument)

        for root in roots:
            visit(root)

    # --- Stores ---

    def _store_vector(self, store: Store, lanes: Lanes) -> None:
        assert self._innermost is not None
        if store.place.coefficient(self._innermost.number).static != 1:
            raise NotCovered("a result is not stored along the innermost loop")
        value = to_storage(self.e, self._vector(store.node, lanes), store.node.type)
        self.e.store(self._outputs[store.result], self._place(store.place), value, lanes.mask)

    def _store_scalar(self, store: Store) -> None:
        value = to_storage(self.e, self._scalar(store.node), store.node.type)
        self.e.store(self._outputs[store.result], self._place(store.place), value)


def _splat(node: Constant) -> ir.Attribute:
    """The number of a constant as an attribute in the type of its register."""
    assert node.value is not None
    attribute = ir.DenseElementsAttr(node.value).get_splat_value()
    if str(node.type) == "ui8":
        return ir.IntegerAttr.get(ir.IntegerType.get_signless(8), int(ir.IntegerAttr(attribute).value))
    return attribute


def _values_to_keep(plan: Plan, innermost: Loop | None) -> dict[Node, int]:
    """Values that are costly and needed in several stages, with the stage that computes them."""
    count = product([loop.size for loop in plan.reduced]).static
    if innermost is None or count is None:
        return {}
    first: dict[Node, int] = {}
    kept: dict[Node, int] = {}
    left = _BUFFER_BYTES

    def recomputing(node: Node, seen: set[int]) -> float:
        if (
            id(node) in seen
            or innermost.number not in node.loops
            or isinstance(node, Load | Constant | Position)
        ):
            return 0.0
        seen.add(id(node))
        return cost(node) + sum(recomputing(a, seen) for a in node.arguments)

    def visit(node: Node, stage: int) -> None:
        nonlocal left
        if innermost.number not in node.loops or node in kept:
            return
        if node in first:
            if first[node] == stage:
                return
            bytes_ = count * (8 if isinstance(node.type, ir.F64Type) else 4)
            floats = isinstance(node.type, ir.F32Type | ir.F64Type)
            if floats and recomputing(node, set()) > _WORTH_KEEPING and bytes_ <= left:
                kept[node] = first[node]
                left -= bytes_
                return
        first.setdefault(node, stage)
        for argument in (*node.arguments, *plan.indices_of(node)):
            visit(argument, stage)

    for stage in range(max((r.level for r in plan.reductions), default=0) + 1):
        for reduction in plan.reductions:
            if reduction.level == stage + 1:
                visit(reduction.arguments[0], stage)
        for store in plan.stores:
            if store.node.level == stage:
                visit(store.node, stage)
    return kept


def polynomial_symbols(plan: Plan) -> list[int]:
    """All unknown sizes that the loops use, by number."""
    used: set[int] = set()
    indices = [n.place for n in plan.loads] + [s.place for s in plan.stores]
    indices += [n.index for n in plan.nodes if isinstance(n, Position)]
    guards = [n.guard for n in plan.nodes if isinstance(n, Choose) and n.guard]
    indices += [guard.index for guard in guards]
    polynomials: list[Polynomial] = [loop.size for loop in plan.loops]
    polynomials += [p for guard in guards for p in (guard.low, guard.high)]
    polynomials += [found.size for found in plan.looked_up.values()]
    polynomials += [r.divisor for r in plan.reductions if r.divisor is not None]
    for index in indices:
        polynomials += [index.constant, *(c for _, c in index.terms)]
    for polynomial in polynomials:
        used |= polynomial.symbols
    return sorted(used)


__all__ = ["KernelLoops", "polynomial_symbols", "storage"]
