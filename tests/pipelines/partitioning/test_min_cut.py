# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The minimum cut against brute force on small random graphs."""

from itertools import combinations
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.pipelines.partitioning.min_cut import NoCutError, Vertex, minimum_cut


@st.composite
def graphs(draw: st.DrawFn) -> list[Vertex]:
    """Acyclic graphs whose inputs are fixed, as those of joint functions are."""
    count = draw(st.integers(2, 8))
    tangent = [False] * count
    users: list[tuple[int, ...]] = []
    for number in range(count):
        later = list(range(number + 1, count))
        chosen = draw(st.lists(st.sampled_from(later), unique=True, max_size=3)) if later else []
        users.append(tuple(sorted(chosen)))
        tangent[number] = tangent[number] or draw(st.integers(0, 5)) == 0
        if tangent[number]:
            for user in chosen:
                tangent[user] = True
    used = {user for own in users for user in own}
    return [
        Vertex(
            users=users[number],
            cost=draw(st.sampled_from([1.0, 2.0, 3.0, 5.0, 8.0, inf])),
            fixed=not tangent[number] and (number not in used or draw(st.booleans())),
            tangent=tangent[number],
            needed=draw(st.integers(0, 3)) == 0,
        )
        for number in range(count)
    ]


def computable(vertices: list[Vertex], saved: frozenset[int]) -> bool:
    """Whether the backward can compute all that it needs from the saved values, without computing a fixed one."""
    operands = {n: [m for m, v in enumerate(vertices) if n in v.users] for n in range(len(vertices))}
    wanted = [n for n, v in enumerate(vertices) if v.needed and not v.tangent]
    wanted += [m for n, v in enumerate(vertices) if v.tangent for m in operands[n] if not vertices[m].tangent]
    seen: set[int] = set()
    while wanted:
        number = wanted.pop()
        if number in saved or number in seen:
            continue
        seen.add(number)
        if vertices[number].fixed:
            return False
        wanted.extend(operands[number])
    return True


def cheapest(vertices: list[Vertex]) -> float:
    candidates = [n for n, v in enumerate(vertices) if not v.tangent and v.cost != inf]
    costs = [
        sum(vertices[n].cost for n in chosen)
        for size in range(len(candidates) + 1)
        for chosen in combinations(candidates, size)
        if computable(vertices, frozenset(chosen))
    ]
    return min(costs, default=inf)


@settings(deadline=None)  # the first call loads networkx
@given(graphs())
def test_no_choice_is_cheaper(vertices: list[Vertex]) -> None:
    best = cheapest(vertices)
    if best == inf:
        with pytest.raises(NoCutError):
            minimum_cut(vertices)
        return
    saved = minimum_cut(vertices)
    assert computable(vertices, frozenset(saved))
    assert sum(vertices[n].cost for n in saved) == best


def test_what_can_neither_be_saved_nor_computed_again_is_named() -> None:
    vertices = [Vertex((1,), inf, fixed=True), Vertex((2,), inf), Vertex((), 0.0, tangent=True)]
    with pytest.raises(NoCutError) as caught:
        minimum_cut(vertices)
    assert caught.value.path == (0, 1)
