# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which values to save for the backward, as a minimum cut. A plain-graph algorithm: no MLIR.

After PyTorch's min-cut partitioner (torch/_functorch/partitioners.py): each value is an edge from "available in the
forward" to "available in the backward" with the cost of saving it; a finite cut that separates what the forward alone
can know from what the backward needs crosses only such edges, and these values are saved.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx


@dataclass(frozen=True)
class Vertex:
    """One value of the joint graph; its number is its position in the sequence.

    users: the values computed from it, all of which come later. cost: of saving it, `inf` if it cannot be saved.
    fixed: an input, or a value that must not be computed again. tangent: it depends on a tangent, so only the backward
    can compute it. needed: the backward returns it.
    """

    users: tuple[int, ...]
    cost: float
    fixed: bool = False
    tangent: bool = False
    needed: bool = False


class NoCutError(ValueError):
    """A value is needed in the backward that can neither be saved nor computed again. `path`: how the need arises."""

    def __init__(self, path: Sequence[int]):
        self.path = tuple(path)
        super().__init__(f"values {list(path)} can neither be saved nor computed again in the backward")


def minimum_cut(vertices: Sequence[Vertex]) -> list[int]:
    """The numbers of the values to save, in order. NoCutError if there is no finite cut.

    Most of a joint graph decides itself, without a flow: what is never needed in the backward, what must be saved, and
    what can be computed from that. The rest falls apart into small networks.
    """
    required = [
        not v.tangent and (v.needed or any(vertices[user].tangent for user in v.users)) for v in vertices
    ]
    again = _users_to_compute_again(vertices, required)
    saved = {
        n
        for n, vertex in enumerate(vertices)
        if vertex.fixed and vertex.cost != inf and (required[n] or (again[n] and vertex.cost == 0))
    }
    undecided: set[int] = set()
    for n, vertex in enumerate(vertices):
        if n in undecided or (vertex.fixed and n not in saved and (required[n] or again[n])):
            undecided.add(n)
            undecided.update(again[n])
    for network in _networks(sorted(undecided), vertices, required, again):
        saved |= _cut(network)
    return _used(vertices, required, saved)


def _users_to_compute_again(vertices: Sequence[Vertex], required: Sequence[bool]) -> list[tuple[int, ...]]:
    """For each value, which of its users the backward may have to compute again, itself or for others."""
    again: list[tuple[int, ...]] = [()] * len(vertices)
    possible = [False] * len(vertices)
    for n in reversed(range(len(vertices))):
        vertex = vertices[n]
        if not vertex.tangent:
            again[n] = tuple(user for user in vertex.users if possible[user])
            possible[n] = not vertex.fixed and (required[n] or bool(again[n]))
    return again


def _used(vertices: Sequence[Vertex], required: Sequence[bool], saved: set[int]) -> list[int]:
    """Of the saved values those that the backward uses, or computes another one from."""
    wanted = list(required)
    for n in reversed(range(len(vertices))):
        wanted[n] = wanted[n] or any(
            wanted[user] and user not in saved for user in vertices[n].users if not vertices[user].tangent
        )
    return [n for n in sorted(saved) if wanted[n]]


# --- The flow --------------------------------------------------------------------------------------------------------

_SOURCE, _SINK = "source", "sink"


def _networks(
    undecided: Sequence[int],
    vertices: Sequence[Vertex],
    required: Sequence[bool],
    again: Sequence[Sequence[int]],
) -> Iterator["networkx.DiGraph"]:
    """The flow networks of these values, one for each part that is connected. An edge without capacity has no limit."""
    if not undecided:
        return
    import networkx  # not above: loading it takes as long as loading MLIR, and most runs cut nothing

    graph = networkx.DiGraph()
    for n in undecided:
        graph.add_edge((n, "in"), (n, "out"), **({"capacity": c} if (c := vertices[n].cost) != inf else {}))
        graph.add_edges_from(((n, "out"), (user, "in")) for user in again[n])
    for part in list(networkx.weakly_connected_components(graph)):
        network = networkx.DiGraph(graph.subgraph(part))
        for n, side in part:
            if side == "in" and vertices[n].fixed:
                network.add_edge(_SOURCE, (n, "in"))
            elif side == "out" and required[n]:
                network.add_edge((n, "out"), _SINK)
        if _SINK in network:
            yield network


def _cut(network: "networkx.DiGraph") -> set[int]:
    """The numbers of the values in the minimum cut of a network."""
    import networkx

    try:
        _, (reachable, _) = networkx.minimum_cut(network, _SOURCE, _SINK)
    except networkx.NetworkXUnbounded:
        unlimited = networkx.subgraph_view(network, filter_edge=lambda a, c: "capacity" not in network[a][c])
        path = networkx.shortest_path(unlimited, _SOURCE, _SINK)
        raise NoCutError(list(dict.fromkeys(node[0] for node in path[1:-1]))) from None
    return {n for n, side in reachable - {_SOURCE} if side == "in" and (n, "out") not in reachable}
