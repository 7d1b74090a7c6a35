# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A memory budget for what is saved: how far the bans of `recompute` are lifted to keep it.

After PyTorch's `activation_memory_budget`: 1 is the minimum cut with all bans, 0 the one with none that can be lifted,
and what lies between is bought with the computations that take the least time.
"""

from collections.abc import Iterable, Sequence

from flambeau.pipelines.partitioning.recompute import Bans, Recomputation
from flambeau.pipelines.partitioning.work import operation_flops

_STEPS = 10_000  # how fine weights are in `knapsack`, which rounds them up; as in PyTorch
_MOST_TRIES = 8  # a choice, not measured: each costs a minimum cut, and gives up 1/8 of the room at least
_CHEAP = Bans(materialized=False, far_apart=False, long_chains=False)
_ALMOST_ALL = Bans(costly=False, materialized=False, far_apart=False, long_chains=False)


def choose_saved(recomputation: Recomputation, budget: float) -> list[int]:
    """The values to save, by number: from the least possible memory on at most `budget` of the way to a plain cut."""
    everything = recomputation.saved(recomputation.banned(Bans()))
    if budget == 1:
        return everything
    least = recomputation.saved(recomputation.banned(_ALMOST_ALL, range(len(recomputation.results))))
    fixed = _bytes(recomputation, least)
    limit = fixed + budget * (_bytes(recomputation, everything) - fixed)
    for bans in (_CHEAP, _ALMOST_ALL):
        banned = recomputation.banned(bans)
        saved = recomputation.saved(banned)
        if _bytes(recomputation, saved) <= limit:
            return saved
    room = limit - fixed
    while room > 0:
        allowed = banned.keys() - _worth_keeping(recomputation, banned, room)
        saved = recomputation.saved(recomputation.banned(_ALMOST_ALL, allowed))
        excess = _bytes(recomputation, saved) - limit
        if excess <= 0:
            return saved
        # What the other ops are computed again from takes memory as well.
        room -= max(excess, (limit - fixed) / _MOST_TRIES)
    return least


def _bytes(recomputation: Recomputation, saved: Iterable[int]) -> int:
    """The memory that is held for saved values; parameters are there anyway."""
    return sum(recomputation.bytes[n] for n in saved if not recomputation.outlives_call(n))


def _worth_keeping(recomputation: Recomputation, banned: Iterable[int], capacity: float) -> set[int]:
    """The ops whose results take the most time to compute again, as many as have room in `capacity` bytes."""
    ops = [n for n in banned if recomputation.reaches_backward(n)]
    weights = [sum(recomputation.bytes[v] for v in recomputation.results[n]) / capacity for n in ops]
    times = [operation_flops(recomputation.joint.operations[n]) for n in ops]
    return {ops[i] for i in knapsack(weights, times)}


def knapsack(weights: Sequence[float], values: Sequence[float]) -> list[int]:
    """The positions of the items of largest value that weigh 1 at most together, weights being rounded up a little."""
    import numpy  # not above: only a budget needs it

    best = numpy.zeros(_STEPS + 1)
    taken = numpy.zeros((len(weights), _STEPS + 1), dtype=bool)
    steps = [-int(-weight * _STEPS // 1) for weight in weights]
    for i, (step, value) in enumerate(zip(steps, values, strict=True)):
        if step <= _STEPS:
            with_item = best[: _STEPS + 1 - step] + value
            taken[i, step:] = with_item > best[step:]
            best[step:] = numpy.maximum(best[step:], with_item)
    chosen, room = [], _STEPS
    for i in reversed(range(len(steps))):
        if taken[i, room]:
            chosen.append(i)
            room -= steps[i]
    return chosen[::-1]
