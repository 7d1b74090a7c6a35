# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A backend made of others: for each graph the first one that takes it.

`python examples/composed_backend.py`. Tiny graphs stay in eager; else Flambeau, if it compiles all ops of the graph;
else whatever comes next.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

import flambeau
from flambeau.frontend.dynamo_backends import flambeau_cpu

DynamoBackend = Callable[..., Callable[..., Any]]


def eager(gm: fx.GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
    """The graph as it is."""
    return gm.forward


def native(gm: fx.GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
    """Flambeau, without any op on the host."""
    return flambeau_cpu(gm, example_inputs, options={"fallback": "error"})


def first_of(*backends: DynamoBackend, smallest: int) -> DynamoBackend:
    """The first of the backends that compiles a graph; eager for graphs of fewer than `smallest` ops."""

    def composed(gm: fx.GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
        ops = sum(node.op.startswith("call_") for node in gm.graph.nodes)
        for backend in backends if ops >= smallest else (eager,):
            try:
                compiled = backend(gm, example_inputs)
            except flambeau.CompilationError as error:
                print(f"{ops} ops, not {backend.__name__}: {error.__cause__}")
                continue
            print(f"{ops} ops: {backend.__name__}")
            return compiled
        raise RuntimeError("no backend takes this graph")

    return composed


def main() -> None:
    """Three graphs: one for each way."""
    backend = first_of(native, eager, smallest=2)
    x = torch.randn(4, 4)
    for function in (lambda x: x + 1, lambda x: (x @ x).tanh(), lambda x: torch.linalg.pinv(x @ x).tanh()):
        torch.testing.assert_close(
            torch.compile(function, backend=backend)(x), function(x), rtol=1e-3, atol=1e-4
        )


if __name__ == "__main__":
    main()
