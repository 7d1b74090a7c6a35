# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tensors that TorchDynamo leaves in a graph, as an optimizer's parameters and state -> further inputs of the graph.

The graph is that of the caller's very tensors: they are read, and written, at each call.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import fx


@dataclass(frozen=True)
class HeldTensors:
    """The tensors that a graph holds. They stay its attributes: TorchDynamo takes them away with their optimizer."""

    owner: fx.GraphModule
    names: tuple[str, ...]

    def tensors(self) -> list[torch.Tensor]:
        """The tensors, now."""
        return [attrgetter(name)(self.owner) for name in self.names]

    def appended(self, compiled: Callable[..., Any]) -> Callable[..., Any]:
        """A callable over the original inputs, from one over these and the tensors."""
        return lambda *inputs: compiled(*inputs, *self.tensors())

    def as_inputs(self) -> fx.GraphModule:
        """The graph with a placeholder for each tensor, after its own."""
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        for node in self.owner.graph.find_nodes(op="placeholder"):
            copies[node] = graph.node_copy(node)
        placeholders = {name: graph.placeholder(name.replace(".", "_")) for name in self.names}
        for node in self.owner.graph.nodes:
            if node.op == "get_attr" and node.target in placeholders:
                copies[node] = placeholders[node.target]
            elif node.op != "placeholder":
                copies[node] = graph.node_copy(node, copies.__getitem__)
        return fx.GraphModule(self.owner, graph)


def held_tensors(gm: fx.GraphModule) -> HeldTensors | None:
    """The tensors that a graph reads from its attributes; None if there are none."""
    names = dict.fromkeys(str(node.target) for node in gm.graph.find_nodes(op="get_attr"))
    held = tuple(name for name in names if isinstance(attrgetter(name)(gm), torch.Tensor))
    return HeldTensors(gm, held) if held else None
