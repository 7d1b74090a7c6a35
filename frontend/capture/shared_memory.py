# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arguments that share memory which the graph writes: their base, one tensor that is all of it, takes their place.

Where they share memory but no element, they may stay separate tensors. What else than that is for a caller to refuse.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch

from flambeau.frontend.capture.records import CapturedGraph, TensorRecord


@dataclass(frozen=True)
class Member:
    """An argument that lies in a base: its position among the arguments, its place, and whether it is the base."""

    position: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    is_base: bool


@dataclass(frozen=True)
class Group:
    """Arguments of one base. The base is contiguous, and stands where the first of them stood."""

    members: tuple[Member, ...]
    shape: tuple[int, ...]
    requires_grad: bool

    def base(self, arguments: Sequence[Any]) -> torch.Tensor | None:
        """The base in this call; None if the arguments do not lie as they did when this group was made."""
        base = _base(arguments[self.members[0].position])
        alike = (
            base.shape == self.shape
            and base.requires_grad == self.requires_grad
            and base.is_contiguous()
            and base.storage_offset() == 0
        )
        for member in self.members:
            tensor = arguments[member.position]
            alike = alike and _base(tensor) is base and tensor.dtype == base.dtype
            alike = alike and (tensor is base) == member.is_base
            alike = alike and (tensor.stride(), tensor.storage_offset()) == (member.stride, member.offset)
        return base if alike else None


@dataclass(frozen=True)
class SharedMemory:
    """The groups among a graph's arguments."""

    groups: tuple[Group, ...]

    def merged(self, arguments: Sequence[Any]) -> list[Any] | None:
        """The arguments with bases in place of their members; None if one of these is not to be had."""
        given = dict(enumerate(arguments))
        for group in self.groups:
            first, *others = group.members
            base = group.base(arguments)
            if base is None:
                return None
            given[first.position] = base
            for member in others:
                del given[member.position]
        return list(given.values())

    def split(self, merged: Sequence[Any]) -> list[Any]:
        """The arguments again: members are bases or views of them."""
        dropped = {m.position for group in self.groups for m in group.members[1:]}
        remaining = iter(merged)
        count = len(merged) + len(dropped)
        arguments = [None if i in dropped else next(remaining) for i in range(count)]
        for group in self.groups:
            base = arguments[group.members[0].position]
            assert base is not None
            with torch.enable_grad():  # the caller made them before this graph, whatever its grad mode
                for member in group.members:
                    if member.is_base:
                        arguments[member.position] = base
                        continue
                    arguments[member.position] = base.as_strided(member.size, member.stride, member.offset)
        return arguments

    def merged_facts(self, facts: Sequence[Any]) -> list[Any]:
        """Facts of the arguments (names, sources), a base with those of its first member."""
        dropped = {m.position for group in self.groups for m in group.members[1:]}
        return [fact for position, fact in enumerate(facts) if position not in dropped]


def shared_memory(captured: CapturedGraph, example_inputs: Sequence[Any]) -> SharedMemory | None:
    """The groups that a captured graph's inputs have to be merged to; None if there are none, or if that cannot be."""
    groups = []
    for positions in written_together(captured):
        if are_separate(captured, positions):
            continue
        group = _group([example_inputs[p] for p in positions], positions)
        if group is None:
            return None
        groups.append(group)
    return SharedMemory(tuple(groups)) if groups else None


def written_together(captured: CapturedGraph) -> list[list[int]]:
    """The inputs that share memory that the graph writes, two or more at a time."""
    by_storage: dict[int, list[int]] = defaultdict(list)
    for position, record in enumerate(captured.inputs):
        if record.tensor is not None and record.written:
            by_storage[record.tensor.storage].append(position)
    return [positions for positions in by_storage.values() if len(positions) > 1]


def are_separate(captured: CapturedGraph, positions: Iterable[int]) -> bool:
    """Whether inputs that share memory may be taken for separate tensors: no element is in two of them.

    Not where something is differentiated: a write to one would forbid the use of another that was saved before.
    """
    if any(record.tensor is not None and record.tensor.requires_grad for record in captured.inputs):
        return False
    places = [_place_of_record(captured.inputs[p].tensor) for p in positions]
    return all(a is not None and b is not None and not meet(a, b) for a, b in combinations(places, 2))


def _group(tensors: Sequence[torch.Tensor], positions: Sequence[int]) -> Group | None:
    base = _base(tensors[0])
    if any(type(t.storage_offset()) is not int or t.is_inference() for t in (*tensors, base)):
        return None
    members = tuple(
        Member(p, tuple(t.shape), tuple(t.stride()), int(t.storage_offset()), t is base)
        for p, t in zip(positions, tensors, strict=True)
    )
    group = Group(members, tuple(base.shape), base.requires_grad)
    given = dict(zip(positions, tensors, strict=True))
    return group if group.base([given.get(i) for i in range(max(positions) + 1)]) is not None else None


def _base(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor that a tensor is a view of, or itself."""
    return tensor if tensor._base is None else tensor._base


# --- Which elements --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a tensor lies, in bytes: of its first element, of an element, and per dim the count and the distance."""

    start: int
    element: int
    dims: tuple[tuple[int, int], ...]


def place_of(tensor: torch.Tensor) -> Place:
    """The place of a real tensor in the process's memory."""
    size = tensor.element_size()
    dims = ((count, stride * size) for count, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return Place(tensor.data_ptr(), size, tuple(dims))


def _place_of_record(record: TensorRecord | None) -> Place | None:
    """The place of a traced tensor in its storage; None if it depends on symbols."""
    assert record is not None
    numbers = [*record.shape, *record.stride, record.storage_offset]
    if any(type(n) is not int for n in numbers):
        return None
    size = record.dtype.itemsize
    dims = ((int(n), int(s) * size) for n, s in zip(record.shape, record.stride, strict=True))
    return Place(int(record.storage_offset) * size, size, tuple(dims))


def meet(a: Place, b: Place) -> bool:
    """Whether two tensors have an element in common. Where that is hard to tell: yes."""
    if any(count == 0 for count, _ in (*a.dims, *b.dims)):
        return False
    if a.start + _reach(a.dims, a.element) <= b.start or b.start + _reach(b.dims, b.element) <= a.start:
        return False
    periods = {distance for count, distance in (*a.dims, *b.dims) if count > 1 and distance > 0}
    return not any(_miss(a, b, period) for period in periods)


def _reach(dims: Iterable[tuple[int, int]], element: int) -> int:
    """The bytes from the first one of a tensor to the one behind its last."""
    return sum((count - 1) * distance for count, distance in dims) + element


def _miss(a: Place, b: Place, period: int) -> bool:
    """Whether the tensors keep to different columns of a table whose rows have `period` bytes."""
    columns = []
    for place in (a, b):
        first = (place.start - min(a.start, b.start)) % period
        reach = _reach((dim for dim in place.dims if dim[1] % period), place.element)
        if first + reach > period:
            return False
        columns.append((first, first + reach))
    (first, end), (other, other_end) = columns
    return end <= other or other_end <= first
