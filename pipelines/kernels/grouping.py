# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which steps of a program become one kernel: rules on plain records, without MLIR.

In: steps in program order, each with the shape that it iterates over and where it reads the results of others. Out:
groups in an order in which each comes after those that it reads.

A group has one iteration space. A step belongs to it only if it reads every value of the group at the place that is
being computed: a value that is read along another axis, or at all places of a row before these are known, has to be
finished by an earlier kernel. This is the rule that makes kernels right; the others say what is fast.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import Final

from flambeau.dialects.calls.kernel import Kind


class Role(Enum):
    """What a step is to a kernel."""

    POINTWISE = (
        "each element from elements of its operands at the same place, or at any place of finished values"
    )
    REDUCTION = "over some dims of its operand"
    CONTRACTION = "a matrix product or convolution"
    OTHER = "anything else"


class _Linear:
    """The place of a value whose elements are those of the iteration space in row-major order, in another shape."""

    def __repr__(self) -> str:
        return "LINEAR"


LINEAR: Final = _Linear()

Place = tuple[int | None, ...] | _Linear | None
"""For each dim of a value, the dim of another shape that it runs along, None where it has one place only.

As a whole None: neither that nor LINEAR, as of a transposed or sliced value.
"""

Size = Hashable
"""A number, or something that is equal for equal sizes."""


@dataclass(frozen=True)
class Read:
    """An operand of a step: the step that computes it, and where that one's dims are in the operand as it is read.

    `size_only`: none of its elements are read, so it does not matter where they are.
    """

    producer: int
    place: Place
    size_only: bool = False


@dataclass(frozen=True)
class Step:
    """One op. `shape`: of its result, or of what it reduces over its dims `reduced`; `kept`: reduced dims stay as 1.

    `users`: the steps that read it; `escapes`: something else reads it, too. `sources`: numbers of the tensors of its
    shape that it reads and no step computes. `costly`: to compute it again takes longer than to read it.
    """

    role: Role
    shape: tuple[Size, ...]
    reads: tuple[Read, ...] = ()
    users: frozenset[int] = frozenset()
    escapes: bool = False
    reduced: frozenset[int] = frozenset()
    kept: bool = False
    sources: frozenset[int] = frozenset()
    costly: bool = False

    @property
    def result_place(self) -> tuple[int | None, ...]:
        """Where the result lies in the shape that is iterated over."""
        dims: list[int | None] = list(range(len(self.shape)))
        if self.kept:
            return tuple(None if d in self.reduced else d for d in dims)
        return tuple(d for d in dims if d not in self.reduced)


@dataclass(eq=False)
class Group:
    """A kernel in the making: its steps, its iteration space, and where each step's result lies in that."""

    label: int
    """Groups that this one reads have smaller labels."""
    shape: tuple[Size, ...]
    root: Role
    steps: list[int] = field(default_factory=list)
    copies: list[int] = field(default_factory=list)
    """Steps of other groups that this one computes, too, rather than read their results."""
    reduced: frozenset[int] | None = None
    places: dict[int, Place] = field(default_factory=dict)
    reduces: set[int] = field(default_factory=set)
    """The steps whose results depend on a reduction of the group."""
    reads: "set[Group]" = field(default_factory=set)
    readers: "set[Group]" = field(default_factory=set)

    @property
    def kind(self) -> Kind:
        """What decides its loops."""
        if self.root is Role.CONTRACTION:
            return Kind.CONTRACTION
        if self.root is Role.OTHER:
            return Kind.OTHER
        if self.reduced is None:
            return Kind.POINTWISE
        return Kind.ROW if are_rows(self.shape, self.reduced) else Kind.COLUMN


# --- Rules -----------------------------------------------------------------------------------------------------------

FEWEST_ROWS = 8
"""With fewer, a kernel that reads a reduction back would leave cores without work."""
SMALL = 1 << 14
"""Elements that one core computes in the time that a second kernel costs."""


MOST_COPIES = 8
"""Pointwise steps that a kernel computes again."""
MOST_READ = 2
"""Tensors that it may read for that, in the place of the one that it would read."""


def are_rows(shape: Sequence[Size], reduced: Iterable[int]) -> bool:
    """Whether the reduced dims are the last ones, with other dims before them."""
    gone = sorted(reduced)
    return 0 < len(gone) < len(shape) and gone == list(range(len(shape) - len(gone), len(shape)))


def may_read_back(shape: Sequence[Size], reduced: Iterable[int]) -> bool:
    """Whether the kernel that reduces may also compute what reads the result for every element of a row.

    A row is read once, then, and stays in the cache; but only rows can be shared out among cores.
    """
    gone = set(reduced)
    if not are_rows(shape, gone):
        return False
    known = [s for s in shape if isinstance(s, int)]
    if len(known) < len(shape):
        return True
    rows = product(s for d, s in enumerate(known) if d not in gone)
    return rows >= FEWEST_ROWS or product(known) <= SMALL


def product(sizes: Iterable[int]) -> int:
    """The product of numbers, 1 for none."""
    total = 1
    for size in sizes:
        total *= size
    return total


def compose(read: Place, place: Place, rank: int) -> Place:
    """Where an operand lies in an iteration space: `read` in a value of `rank` dims that lies there at `place`."""
    if read is None or place is None:
        return None
    if isinstance(read, _Linear):
        return LINEAR if isinstance(place, _Linear) or place == tuple(range(rank)) else None
    if isinstance(place, _Linear):
        return LINEAR if read == tuple(range(rank)) else None
    return tuple(None if dim is None else place[dim] for dim in read)


# --- Grouping --------------------------------------------------------------------------------------------------------


def form_groups(steps: Sequence[Step]) -> list[Group]:
    """The groups of a program, each after those that it reads."""
    forming = _Forming(steps)
    for number in range(len(steps)):
        forming.add(number)
    return sorted(forming.groups, key=lambda group: group.label)


class _Forming:
    def __init__(self, steps: Sequence[Step]):
        self._steps = steps
        self._group: dict[int, Group] = {}
        self.groups: set[Group] = set()

    def add(self, number: int) -> None:
        """Let a step join a group that it reads, the last one that may take it, or begin one."""
        step = self._steps[number]
        read = sorted({self._group[r.producer] for r in step.reads}, key=lambda g: g.label, reverse=True)
        for group in read if step.role in (Role.POINTWISE, Role.REDUCTION) else ():
            place = self._place(step, group)
            if place is not None and self._stays_in_order(group, read):
                self._join(number, group, place)
                for other in read:
                    if other is not group and self._may_merge(other, group):
                        self._merge(other, group)
                return
        self._begin(number, read)

    # --- Where a step would lie in a group ---

    def _place(self, step: Step, group: Group) -> Place:
        """Where the step's result would lie in a group's space; None if it does not belong there."""
        inside = [r for r in step.reads if self._group[r.producer] is group and not r.size_only]
        operands = [(r, self._composed(r)) for r in inside]
        if not operands:
            return None
        if any(place is None for _, place in operands):
            return None
        if step.role is Role.REDUCTION:
            return self._place_of_reduction(step, group, operands[0][1])
        place = self._place_of_result(step, group, [place for _, place in operands])
        if place is None or not self._may_be_computed(group, place, operands):
            return None
        return place

    def _composed(self, read: Read) -> Place:
        group = self._group[read.producer]
        return compose(read.place, group.places[read.producer], len(self._steps[read.producer].result_place))

    def _place_of_result(self, step: Step, group: Group, operands: Sequence[Place]) -> Place:
        whole = tuple(range(len(group.shape)))
        if any(isinstance(place, _Linear) for place in operands):
            alike = all(isinstance(place, _Linear) for place in operands)
            return LINEAR if alike else None
        tuples = [place for place in operands if isinstance(place, tuple)]
        if step.shape == group.shape and _all_within(tuples, whole):
            return whole
        place: list[int | None] = []
        for dim, size in enumerate(step.shape):
            along = {p[dim] for p in tuples} - {None}
            if len(along) > 1 or (not along and size != 1):
                return None
            place.append(next(iter(along), None))
        dims = [d for d in place if d is not None]
        one_each = all(a < b for a, b in pairwise(dims))  # a value read along two axes has no place
        fits = all(d is None or group.shape[d] == s for d, s in zip(place, step.shape, strict=True))
        return tuple(place) if one_each and fits else None

    def _may_be_computed(self, group: Group, place: Place, operands: Sequence[tuple[Read, Place]]) -> bool:
        """Whether a pointwise step that lies at `place` may be in a group, as its reductions are."""
        if group.reduced is None:
            return True
        along_rows = isinstance(place, _Linear) or any(
            d in group.reduced for d in place or () if d is not None
        )
        if not along_rows:
            return True
        if isinstance(place, _Linear) and any(read.producer in group.reduces for read, _ in operands):
            return False
        return may_read_back(group.shape, group.reduced)

    def _place_of_reduction(self, step: Step, group: Group, operand: Place) -> Place:
        if group.root is not Role.POINTWISE or group.reduced not in (None, step.reduced):
            return None
        if isinstance(operand, _Linear):
            if group.reduced is not None:
                return None
        elif operand != tuple(range(len(group.shape))):
            return None
        if may_read_back(step.shape, step.reduced) or self._is_read_only_by(group, step):
            return step.result_place
        return None

    def _is_read_only_by(self, group: Group, step: Step) -> bool:
        """Whether nobody but the step and the group itself reads a group's values."""
        members = set(group.steps)
        outside = [u for n in group.steps for u in self._steps[n].users if u not in members]
        return not any(self._steps[n].escapes for n in group.steps) and all(
            self._steps[u] is step for u in outside
        )

    # --- Order ---

    def _stays_in_order(self, group: Group, read: Iterable[Group]) -> bool:
        """Whether a group that also reads `read` can still come after all that it reads and before its readers."""
        return not group.readers or all(other is group or other.label < group.label for other in read)

    def _begin(self, number: int, read: Iterable[Group]) -> None:
        step = self._steps[number]
        root = Role.POINTWISE if step.role is Role.REDUCTION else step.role
        group = Group(number, step.shape, root)
        self.groups.add(group)
        group.copies = self._to_copy(step)
        group.places |= dict.fromkeys(group.copies, tuple(range(len(step.shape))))
        self._enter(number, group, step.result_place)
        if group.copies:
            copied = set(group.copies)
            outside = {r.producer for n in copied for r in self._steps[n].reads} - copied
            read = {self._group[producer] for producer in outside}
        self._connect(group, read)

    def _to_copy(self, step: Step) -> list[int]:
        """The pointwise steps that a reduction's kernel computes again, with what is cheaper to read than their result.

        In program order; none if it is better to read the result.
        """
        read = next((r for r in step.reads if not r.size_only), None)
        if step.role is not Role.REDUCTION or read is None:
            return []
        group = self._group[read.producer]
        whole = tuple(range(len(step.shape)))
        if group.root is not Role.POINTWISE or group.shape != step.shape or self._composed(read) != whole:
            return []
        chain: set[int] = set()
        worklist = [read.producer]
        while worklist:
            number = worklist.pop()
            if number not in chain:
                chain.add(number)
                worklist += [
                    r.producer
                    for r in self._steps[number].reads
                    if self._group[r.producer] is group
                    and not r.size_only
                    and group.places[r.producer] == whole
                    and self._composed(r) == whole
                ]
        members = [self._steps[n] for n in chain]
        large = {r.producer for s in members for r in s.reads if not r.size_only} - chain
        large = {n for n in large if self._steps[n].shape == step.shape and not self._steps[n].reduced}
        sources = {source for s in members for source in s.sources}
        costs_less = len(large) + len(sources) <= MOST_READ and len(chain) <= MOST_COPIES
        fits = costs_less and not any(s.costly or s.role is not Role.POINTWISE for s in members)
        return sorted(chain) if fits else []

    def _join(self, number: int, group: Group, place: Place) -> None:
        step = self._steps[number]
        if step.role is Role.REDUCTION and group.shape != step.shape:
            group.shape = step.shape  # it was read in another shape: there lies what the group computes
            group.places = dict.fromkeys(group.places, LINEAR)
        if not group.readers:
            group.label = number
        self._enter(number, group, place)
        self._connect(group, {self._group[r.producer] for r in step.reads})

    def _enter(self, number: int, group: Group, place: Place) -> None:
        step = self._steps[number]
        group.steps.append(number)
        group.places[number] = place
        self._group[number] = group
        if step.role is Role.REDUCTION:
            group.reduced = step.reduced
        if step.role is Role.REDUCTION or any(r.producer in group.reduces for r in step.reads):
            group.reduces.add(number)

    def _connect(self, group: Group, read: Iterable[Group]) -> None:
        for other in read:
            if other is not group:
                group.reads.add(other)
                other.readers.add(group)

    def _may_merge(self, other: Group, group: Group) -> bool:
        """Whether all of `other`, which a step of `group` reads, may be computed in `group`."""
        if other.shape != group.shape or other.root is not Role.POINTWISE or other.readers != {group}:
            return False
        if other.reduced is not None and (
            group.root is not Role.POINTWISE or group.reduced not in (None, other.reduced)
        ):
            return False
        if group.reduced is not None and not may_read_back(group.shape, group.reduced):
            return False
        if group.readers and any(read.label > group.label for read in other.reads):
            return False
        members = {*other.steps, *group.steps}
        reads = [
            (n, r)
            for n in group.steps
            for r in self._steps[n].reads
            if r.producer in other.places and not r.size_only
        ]
        if other.reduced is not None and not may_read_back(other.shape, other.reduced):
            return False
        return all(self._at_same_place(n, r, other, group) for n, r in reads) and not any(
            self._steps[n].escapes or not self._steps[n].users <= members for n in other.steps
        )

    def _at_same_place(self, number: int, read: Read, other: Group, group: Group) -> bool:
        found = compose(read.place, other.places[read.producer], len(self._steps[read.producer].result_place))
        wanted = group.places[number]
        if isinstance(found, tuple) and isinstance(wanted, tuple) and len(found) == len(wanted):
            return _all_within([found], wanted)
        return isinstance(found, _Linear) and isinstance(wanted, _Linear)

    def _merge(self, other: Group, group: Group) -> None:
        for number in other.steps:
            self._group[number] = group
        group.steps = sorted([*other.steps, *group.steps])
        group.copies = sorted({*other.copies, *group.copies} - set(group.steps))
        group.places |= other.places
        group.reduces |= other.reduces
        group.reduced = group.reduced if other.reduced is None else other.reduced
        self.groups.remove(other)
        for read in other.reads:
            read.readers.discard(other)
            read.readers.add(group)
        group.reads |= other.reads
        group.reads.discard(other)


def _all_within(places: Iterable[tuple[int | None, ...]], wanted: tuple[int | None, ...]) -> bool:
    """Whether values at these places are read at the wanted one: each dim there, or with one place only."""
    return all(
        len(place) == len(wanted) and all(a is None or a == b for a, b in zip(place, wanted, strict=True))
        for place in places
    )
