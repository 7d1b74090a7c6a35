# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Captures a function as TorchDynamo hands it over, and reads what came out."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from flambeau.frontend.capture.dynamo import capture_dynamo_graph
from flambeau.frontend.capture.records import NODE_RECORD, CapturedGraph, NodeRecord

aten = torch.ops.aten
SDPA = aten.scaled_dot_product_attention.default
USER_FUNCTION = torch.ops.higher_order.autograd_function_apply


def through_dynamo(function: Callable[..., Any], *args: Any, **options: Any) -> CapturedGraph:
    """Capture by way of torch.compile; the compiled function then runs the Dynamo graph as it is."""
    found: list[CapturedGraph] = []

    def backend(gm: fx.GraphModule, example_inputs: list[Any]) -> Callable[..., Any]:
        found.append(capture_dynamo_graph(gm, example_inputs))
        return gm.forward

    torch.compile(function, backend=backend, fullgraph=True, **options)(*args)
    assert len(found) == 1
    return found[0]


def calls(captured: CapturedGraph | fx.GraphModule) -> list[fx.Node]:
    module = captured if isinstance(captured, fx.GraphModule) else captured.graph_module
    return [node for node in module.graph.nodes if node.op == "call_function"]


def targets(captured: CapturedGraph | fx.GraphModule) -> list[Any]:
    return [node.target for node in calls(captured)]


def the(captured: CapturedGraph | fx.GraphModule, target: Any) -> fx.Node:
    """The one node that calls `target`."""
    (node,) = [node for node in calls(captured) if node.target == target]
    return node


def record(node: fx.Node) -> NodeRecord:
    found = node.meta[NODE_RECORD]
    assert isinstance(found, NodeRecord)
    return found


def causal_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)
