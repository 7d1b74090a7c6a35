# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A backend in one function: counts the ops of forward and backward, and has the interpreter run them.

`python examples/toy_backend.py`. The function gets the IR after differentiation and partition, and returns a callable
per function. Copies back to the caller, views and torch.autograd are Flambeau's business.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch

import flambeau
from flambeau.dialects.bindings import ir
from flambeau.runtime import interpreter


@flambeau.register_backend(name="toy")
def toy(module: ir.Module, signatures: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """Counts ops, and interprets them."""
    for function in module.body.operations:
        counts = Counter(op.operation.name for op in function.entry_block.operations)
        print(f"@{function.name.value}: {', '.join(f'{n} {name}' for name, n in counts.most_common(3))}")
    interpreted = interpreter.Module(module)
    return {name: interpreted.function(name) for name in signatures}


def main() -> None:
    """Train a small network for a few steps."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    compiled = flambeau.compile(model, backend="toy", options={"fallback": "error"})
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    x = torch.randn(64, 4)
    for _ in range(20):
        loss = (compiled(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
