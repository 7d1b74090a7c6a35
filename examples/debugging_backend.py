# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A backend for looking: prints what each pass made of a graph, then lets the interpreter run it.

`python examples/debugging_backend.py`. `options={"dump": FOLDER}` writes the same to files, for any backend.
"""

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

from flambeau.frontend.dynamo_backends import flambeau_partitioned
from flambeau.frontend.journal import collect_journals


def debugging(gm: fx.GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
    """Print the imported IR, then for each pass the lines that it changed."""
    with collect_journals() as journals:
        compiled = flambeau_partitioned(gm, example_inputs, options={"fallback": "error"})
    before: list[str] = []
    for stage in journals[0].stages:
        after = str(stage.module()).splitlines()
        changed = [line for line in difflib.ndiff(before, after) if line.startswith(("+ ", "- "))]
        print(f"--- {stage.name}: {f'{len(changed)} lines differ' if changed else 'nothing changed'}")
        for line in changed:
            print(line)
        before = after
    return compiled


def main() -> None:
    """A function that writes to its argument, and its gradient."""

    @torch.compile(backend=debugging)
    def f(x: torch.Tensor, calls: torch.Tensor) -> torch.Tensor:
        calls.add_(1)
        return torch.sin(x * x)

    x, calls = torch.tensor([0.5, 1.0], requires_grad=True), torch.zeros(())
    f(x, calls).sum().backward()
    print(f"calls {calls.item():g}, gradient {x.grad}")


if __name__ == "__main__":
    main()
