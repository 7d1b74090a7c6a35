# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a backward may compute again, and what saving costs: a joint function -> the plain graph of `min_cut`.

The classes, costs and bans are those of PyTorch's min-cut partitioner, with the ops' recompute class in place of its
op lists.
"""

import heapq
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from math import inf, prod

from flambeau.dialects.bindings import ir
from flambeau.dialects.errors import UnsupportedOpError
from flambeau.dialects.opdef import CHEAP, NEVER, OPS, Tensor
from flambeau.dialects.types import is_tensor
from flambeau.pipelines.partitioning.joint import Joint
from flambeau.pipelines.partitioning.min_cut import NoCutError, Vertex, minimum_cut
from flambeau.pipelines.partitioning.work import assumed_sizes, contracted_size

_FAR = 10**9
# Both from PyTorch, as is the 1.1 of `_cost`.
_MOST_DISTANCE = 100  # beyond this, distance makes saving no more costly
_LONGEST_CHAIN = 100  # ops between the first and the last of a chain that is computed again

# Loops over their neighbours' elements at both ends, with reductions or much arithmetic in between.
_COSTLY_BUT_FUSED = {
    f"flambeau.{name}"
    for name in (
        "random_bits",
        *("softmax", "log_softmax", "safe_softmax", "native_layer_norm", "native_group_norm"),
    )
}


def is_free(op: ir.Operation) -> bool:
    """Whether making the op's results again costs nothing: constants, sizes, index arithmetic, views, detach."""
    if op.name.startswith("arith.") or op.name == "autograd.detach":
        return True
    cls = OPS.get(op.name)
    if cls is None:
        return False  # a call on the host
    return cls.view or not any(f.kind is Tensor for f in cls.fields) or op.name == "flambeau.dim"


def runs_once(op: ir.Operation) -> bool:
    """Whether another run of an op may do or give something else: calls on the host, and what its class says."""
    cls = OPS.get(op.name)
    return cls.recompute is NEVER if cls is not None else not op.name.startswith("arith.")


@dataclass(frozen=True)
class Bans:
    """The rules against computing again that a memory budget lifts; see `Recomputation.banned`.

    costly: all ops that are not cheap, not just contractions and random bits.
    """

    costly: bool = True
    materialized: bool = True
    far_apart: bool = True
    long_chains: bool = True


class Recomputation:
    """A joint function in numbers, with what is known about saving each value and computing each op again.

    A value's number is its position in `values`: arguments, then results in program order. An op's is its position in
    `joint.operations`. `results` are those of each op, `producers` the op of each value, None for an argument.
    """

    def __init__(self, joint: Joint) -> None:
        self.joint = joint
        forward = set(joint.forward)
        live = forward.union(joint.backward)
        self.values: list[ir.Value] = [*joint.block.arguments]
        self.producers: list[int | None] = [None] * len(self.values)
        self.results: list[range] = []
        numbers = {value: n for n, value in enumerate(self.values)}
        self._operands: list[tuple[int, ...]] = []
        self._users: list[list[int]] = [[] for _ in self.values]  # ops
        for n, op in enumerate(joint.operations):
            # What leads nowhere needs nothing.
            self._operands.append(tuple(dict.fromkeys(numbers[v] for v in op.operands if op in live)))
            for operand in self._operands[n]:
                self._users[operand].append(n)
            first = len(self.values)
            for value in op.results:
                numbers[value] = len(self.values)
                self.values.append(value)
                self.producers.append(n)
                self._users.append([])
            self.results.append(range(first, len(self.values)))
        self.bytes = [_bytes(value) for value in self.values]
        self.forward = [op in forward for op in joint.operations]
        self.free = [is_free(op) for op in joint.operations]
        self._fuses = [_fuses(op) for op in joint.operations]
        self._constant: list[bool] = []  # whether it depends on nothing
        for n, free in enumerate(self.free):
            producers = [self.producers[v] for v in self._operands[n]]
            self._constant.append(free and all(p is not None and self._constant[p] for p in producers))
        self._is_cat = [op.name == "flambeau.cat" for op in joint.operations]
        self._on_tangent = [value in joint.needs_tangent for value in self.values]
        self._distances = self._distances_from_backward()
        self._written = set(joint.written)  # and views of these
        for n, free in enumerate(self.free):
            if free and any(v in self._written for v in self._operands[n]):
                self._written.update(self.results[n])
        self._needed = {numbers[joint.returned[i]] for i in joint.gradients}
        self._returned = {numbers[value] for value in joint.returned}

    def outlives_call(self, value: int) -> bool:
        """Whether a value costs no memory if it is saved, because it stays in memory anyway."""
        return self.producers[value] is None and self.joint.outlives_call(value)

    def reaches_backward(self, op: int) -> bool:
        """Whether something outside the forward depends on a forward op."""
        return any(self._distances[v] < _FAR for v in self.results[op])

    def saved(self, banned: Collection[int]) -> list[int]:
        """The values in the minimum cut that computes no `banned` op again; UnsupportedOpError if there is none."""
        vertices = []
        again = self.joint.checkpoints.again
        for n, value in enumerate(self.values):
            op = self.producers[n]
            vertices.append(
                Vertex(
                    users=tuple(result for user in self._users[n] for result in self.results[user]),
                    cost=inf if value in again and op not in banned else self._cost(n),
                    fixed=not self._on_tangent[n] and (op is None or op in banned),
                    tangent=self._on_tangent[n],
                    needed=n in self._needed,
                )
            )
        try:
            return minimum_cut(vertices)
        except NoCutError as error:
            producers = (self.producers[n] for n in error.path)
            op = next((n for n in producers if n is not None), 0)
            raise UnsupportedOpError(
                self.joint.operations[op],
                "the backward needs it, but it can neither be saved nor computed again",
            ) from error

    # --- What saving costs -------------------------------------------------------------------------------------------

    def _cost(self, value: int) -> float:
        """Weighted bytes: times 1.1 for each op up to the backward, times 2 for what else stays inside of a loop."""
        op = self.producers[value]
        distance = min(max(self._distances[value], 1), _MOST_DISTANCE)
        weighted = int(self.bytes[value] * 1.1**distance)
        if op is None:
            return 0 if self.outlives_call(value) else weighted
        if self.free[op] and self.bytes[value] >= sum(self.bytes[v] for v in self._operands[op]):
            return inf  # a view costs nothing to make again, but saved it would be a copy
        inside = value not in self._returned and all(self._fusible(op, user) for user in self._users[value])
        # Less by 1: of two values that cost the same, the one with fewer bytes is saved.
        return max(0, 2 * weighted - 1) if inside else weighted

    def _distances_from_backward(self) -> list[int]:
        """For each value, how many ops lie between it and the first that is not of the forward."""
        distances = [_FAR] * len(self.values)
        for n in reversed(range(len(self.results))):
            own = min((distances[v] for v in self.results[n]), default=_FAR) if self.forward[n] else -1
            for operand in self._operands[n]:
                distances[operand] = min(distances[operand], 1 + own)
        return distances

    # --- What must not be computed again -----------------------------------------------------------------------------

    def banned(self, bans: Bans, allowed: Collection[int] = ()) -> dict[int, str]:
        """The forward ops that must not be computed again, and why; `allowed` ones are none of them if possible.

        Costs nothing: never banned. On the host, not repeatable, or computed from a written argument, of which saving
        takes a copy: always. Costly. Materialized: used as a whole in
        the backward, so that it would cost a pass over memory. Reductions: their result is much smaller than their
        operands. Far apart: behind an op that fuses with nothing, while its operand is also used before that op, for
        nothing would be fused twice. Long chains: one of them would be computed again from its far end.
        """
        found: dict[int, str] = {}
        for n in self._recomputable():
            if runs_once(self.joint.operations[n]):
                reason = "to be run once"
            elif any(v in self._written for v in self._operands[n]):
                reason = "computed from what the graph writes"
            elif self._any_of(self.joint.checkpoints.kept, n):
                reason = "kept by a checkpoint"
            elif n in allowed or self._any_of(self.joint.checkpoints.again, n):
                reason = ""
            else:
                reason = self._why_banned(n, bans)
            if reason:
                found[n] = reason
        if bans.far_apart:
            for n in self._used_far_apart(found):
                if n not in allowed and not self._any_of(self.joint.checkpoints.again, n):
                    found.setdefault(n, "far from where its operand is used first")
        if bans.long_chains:
            for n in self._ends_of_long_chains(found):
                if n not in allowed and not self._any_of(self.joint.checkpoints.again, n):
                    found.setdefault(n, "the end of a long chain of cheap ops")
        return found

    def _any_of(self, values: Collection[ir.Value], op: int) -> bool:
        return any(self.values[n] in values for n in self.results[op])

    def _recomputable(self) -> Iterator[int]:
        return (n for n, forward in enumerate(self.forward) if forward and not self.free[n])

    def _why_banned(self, op: int, bans: Bans) -> str:
        operation = self.joint.operations[op]
        if OPS[operation.name].recompute is not CHEAP and (bans.costly or _is_heavy(operation)):
            return "costly"
        if bans.materialized and any(map(self._is_materialized_in_backward, self.results[op])):
            return "used as a whole"
        given = sum(self.bytes[v] for v in self._operands[op])
        if 4 * sum(self.bytes[v] for v in self.results[op]) < given:
            return "much smaller than its operands"
        return ""

    def _is_materialized_in_backward(self, value: int) -> bool:
        """Whether some op outside the forward uses the value, or a view of it, without being fused with it."""
        views = [value]
        while views:
            op = self.producers[view := views.pop()]
            assert op is not None
            for user in self._users[view]:
                if not self.forward[user] and not self._fusible(op, user):
                    return True
                if self.free[user]:
                    views.extend(self.results[user])
        return False

    def _fusible(self, op: int, user: int) -> bool:
        """Whether `op` is computed inside the loops of `user`."""
        return self._is_cat[user] or (self._fuses[op] and self._fuses[user])

    def _forward_users(self, op: int) -> Iterator[int]:
        return (user for v in self.results[op] for user in self._users[v] if self.forward[user])

    def _used_far_apart(self, banned: Mapping[int, str]) -> Iterator[int]:
        """Ops that use what an earlier op uses as well, with an op in between that nothing is fused with."""
        # For each op the first one below it, along ops that are fused, that is not fused with what it uses.
        unfusible = [_FAR] * len(self.results)
        for n in reversed(range(len(self.results))):
            for user in self._forward_users(n):
                unfusible[n] = min(unfusible[n], unfusible[user] if self._fusible(n, user) else user)
        for n, forward in enumerate(self.forward):
            users = list(self._forward_users(n)) if forward and not self._constant[n] else []
            first = min((unfusible[user] for user in users), default=_FAR)
            for user in users:
                if user > first and self._fusible(n, user) and not self.free[user] and user not in banned:
                    yield user

    def _ends_of_long_chains(self, banned: Mapping[int, str]) -> Iterator[int]:
        """Where the only way on leads along more than `_LONGEST_CHAIN` ops that are all fused."""
        order = {n: position for position, n in enumerate(n for n, f in enumerate(self.forward) if f)}
        visited: set[int] = set()
        for start in order:
            ahead = [start] if not self._constant[start] else []
            while ahead:
                op = heapq.heappop(ahead)
                if op in visited:
                    continue
                visited.add(op)
                if not ahead and order[op] > order[start] + _LONGEST_CHAIN:
                    if not self.free[op]:
                        yield op
                    break
                for user in self._forward_users(op):
                    if self._fusible(op, user) and user not in banned:
                        heapq.heappush(ahead, user)


def _fuses(op: ir.Operation) -> bool:
    """Whether an op is computed inside its neighbours' loops."""
    cheap = op.name in OPS and OPS[op.name].recompute is CHEAP
    return cheap or is_free(op) or op.name in _COSTLY_BUT_FUSED


def _is_heavy(op: ir.Operation) -> bool:
    return op.name == "flambeau.random_bits" or contracted_size(op) > 0


def _bytes(value: ir.Value) -> int:
    """The size of a value in memory; that of what is no tensor counts as 1."""
    if not is_tensor(value.type):
        return 1
    element, parts = value.type.element_type, 1
    if isinstance(element, ir.ComplexType):
        element, parts = element.element_type, 2
    return prod(assumed_sizes(value)) * parts * max(1, int(element.width) // 8)
