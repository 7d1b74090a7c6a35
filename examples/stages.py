# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One small function on its way through the compiler: its IR after each stage, as `flambeau-opt` prints it."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.highlighter import RegexHighlighter
from rich.theme import Theme

import flambeau

# Title, what happened, flags of flambeau-opt.
STAGES = (
    ("imported", "what PyTorch does; `calls` is written, so it is a reference", ()),
    ("functional", "the write has become a result that updates argument 0", ("--pipeline=functional",)),
    (
        "joint",
        "differentiated: a tangent comes in, the gradient of argument 2 goes out",
        ("--pass-pipeline=builtin.module(functionalize,autodiff,canonicalize)",),
    ),
    ("lowered", "cut into forward and backward, in the dialect that IREE reads", ("--pipeline=training",)),
)


def f(x: torch.Tensor, w: torch.Tensor, calls: torch.Tensor) -> torch.Tensor:
    calls.add_(1)
    return torch.tanh(x @ w)


class Mlir(RegexHighlighter):
    base_style = "mlir."
    highlights = (
        r"(?P<value>%[\w#]+)",
        r'(?P<op>"?\b(flambeau|autograd|torch|torch_c|func|arith|linalg|tensor|affine_map)\.[\w.]+"?)',
        r"(?P<function>@\w+)",
        r"(?P<fact>\b(flambeau|autograd)\.\w+(?= =|[,}]))",
    )


THEME = Theme(
    {"mlir.value": "cyan", "mlir.op": "bold", "mlir.function": "bold magenta", "mlir.fact": "green"}
)


def show(console: Console, folder: Path) -> None:
    """Compile `f` for the CPU, dump its IR into `folder` and print each stage."""
    shutil.rmtree(folder, ignore_errors=True)  # what an earlier run left
    compiled = flambeau.compile(
        f, backend="cpu", dynamic=False, options={"dump": folder, "fallback": "error"}
    )
    w = torch.randn(8, 3, requires_grad=True)
    compiled(torch.randn(4, 8), w, torch.tensor(0)).sum().backward()
    (imported,) = folder.glob("*/00_imported.mlir")  # each graph has a folder, and there is one graph
    path = os.path.relpath(imported)
    with console.use_theme(THEME):
        for title, what, flags in STAGES:
            console.print(f"\n[bold]{title}[/bold]: {what}", highlight=False)
            text = _opt(path, *flags)
            console.print(Mlir()(text.rstrip()), soft_wrap=True)
    command = shlex.join(["flambeau-opt", path, *STAGES[-1][2]])
    console.print("\nThe same lowering from the shell; --list-passes shows what else there is:")
    console.print(f"  {command}", soft_wrap=True, highlight=False)


def _opt(*arguments: str) -> str:
    command = [sys.executable, "-m", "flambeau.tools.opt", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    show(Console(), Path("build/demo/ir"))
