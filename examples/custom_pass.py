# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A pass of your own in the pipeline: x ** 2 becomes x * x, in the forward and in the backward.

`python examples/custom_pass.py`. `flambeau-opt --load-pass-plugin=examples/custom_pass.py --square-by-multiplication`
runs it on a file.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import flambeau
from flambeau.dialects import build as b
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.pipelines.registry import register_pass


@register_pass
@dataclass(frozen=True)
class SquareByMultiplication:
    """Compute second powers as products."""

    name = "square-by-multiplication"

    def run(self, module: ir.Module) -> None:
        for function in fn.functions(module):
            for op in fn.operations(fn.entry_block(function)):
                if op.name == "flambeau.pow_scalar" and op.opview.exponent == 2:
                    with ir.InsertionPoint(op), op.location:
                        op.results[0].replace_all_uses_with(b.mul(op.operands[0], op.operands[0]))
                    op.erase()


def main() -> None:
    """Compile a function with the pass, and look at what it did."""
    with TemporaryDirectory() as folder:
        options = {"pipeline": "square-by-multiplication,lower-to-torch", "fallback": "error", "dump": folder}

        @flambeau.compile(options=options)
        def f(x: torch.Tensor) -> torch.Tensor:
            return (x**2 + 1).sum()

        x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
        f(x).backward()
        files = sorted(Path(folder).glob("*/*.mlir"))
        position = next(i for i, path in enumerate(files) if "square-by-multiplication" in path.name)
        for path in files[position - 1 : position + 1]:
            text = path.read_text()
            print(f"{path.stem}: {text.count('flambeau.pow')} powers, {text.count('flambeau.mul')} products")
    print(f"gradient {x.grad}")


if __name__ == "__main__":
    main()
