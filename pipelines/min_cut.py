# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which values to save for the backward, as a minimum cut. A plain-graph algorithm: no MLIR.

After PyTorch's min-cut partitioner (torch/_functorch/partitioners.py): each value is an edge from "available in the
forward" to "available in the backward" with the cost of saving it; a finite cut that separates what the forward alone
can know from what the backward needs crosses only such edges, and these values are saved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx


@dataclass(frozen=True)
class Vertex:
    """One value of the joint graph; its number is its position in the sequence.

    users: values computed from it. cost: of saving it, `inf` if it cannot be saved.
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


_SOURCE, _SINK = "source", "sink"


def minimum_cut(vertices: Sequence[Vertex]) -> list[int]:
    """The numbers of the values to save, in order. NoCutError if there is no finite cut."""
    finite = sum(v.cost for v in vertices if v.cost != inf and not v.tangent)
    infinity = 2.0 * finite + 1.0
    import networkx  # not above: loading it takes as long as loading MLIR, and most runs cut nothing

    graph = networkx.DiGraph()
    graph.add_nodes_from((_SOURCE, _SINK))
    for number, vertex in enumerate(vertices):
        into, out = (number, "in"), (number, "out")
        if vertex.tangent:
            graph.add_edge(into, _SINK, capacity=infinity)
            continue
        graph.add_edge(into, out, capacity=min(vertex.cost, infinity))
        if vertex.fixed:
            graph.add_edge(_SOURCE, into, capacity=infinity)
        if vertex.needed:
            graph.add_edge(out, _SINK, capacity=infinity)
        for user in vertex.users:
            graph.add_edge(out, (user, "in"), capacity=infinity)
    value, (reachable, _) = networkx.minimum_cut(graph, _SOURCE, _SINK)
    if value >= infinity:
        raise NoCutError(_infinite_path(graph, infinity))
    return [
        n
        for n in range(len(vertices))
        if (n, "in") in reachable and (n, "out") in graph and (n, "out") not in reachable
    ]


def _infinite_path(graph: "networkx.DiGraph", infinity: float) -> list[int]:
    """A path from source to sink that no finite edge interrupts."""
    import networkx

    uncut = networkx.subgraph_view(graph, filter_edge=lambda a, c: graph[a][c]["capacity"] >= infinity)
    path = networkx.shortest_path(uncut, _SOURCE, _SINK)
    return list(dict.fromkeys(node[0] for node in path[1:-1]))
