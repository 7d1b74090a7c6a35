# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A random program as plain data, and as the Python text that is executed: what is shown is what ran."""

import linecache
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from tests.oracle import Make

NAME = re.compile(r"\b[pxsv]\d+\b")
"""Tensors in a program's text: p: leaves, s: what arguments are made of, x: parameters, v: all others."""

COARSER_FLOATS = re.compile(r"torch\.(float32|bfloat16|float16)")

MODES = {
    "no_grad": "torch.no_grad()",
    "enable_grad": "torch.enable_grad()",
    "autocast": "torch.autocast('cpu', torch.bfloat16)",
    "inference_mode": "torch.inference_mode()",
}
"""Context managers that lines, or a whole call, stand under."""

IMPORTS = """\
import torch
import torch.nn.functional as F
"""

DEFINITIONS = {
    "Skewed": """\
class Skewed(torch.autograd.Function):  # with a backward that is not the derivative
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a)
        return a * b, a.sin()

    @staticmethod
    def backward(ctx, g, h):
        (a,) = ctx.saved_tensors
        return g * 0.5 + h * a, g * a * 2
""",
    "checkpoint": """\
from torch.utils.checkpoint import checkpoint

def block(a, b):
    c = a.sin() * b
    return c.clamp(max=1) + c.tanh()
""",
    "choose": """\
def choose(which, a, b):
    branches = (lambda a, b: a.sin() * b, lambda a, b: a - b.tanh())
    if torch.compiler.is_compiling():
        return torch.cond(which, *branches, (a, b))
    return branches[0](a, b) if which else branches[1](a, b)
""",
}
"""What lines may name, defined in the programs that do."""


@dataclass(frozen=True)
class Leaf:
    """A tensor that `make` draws. `sizes`: numbers, the same every time. `parameter`: an nn.Parameter."""

    name: str
    sizes: tuple[int, ...]
    dtype: torch.dtype
    requires_grad: bool = False
    parameter: bool = False

    def text(self, exact: bool) -> str:
        """The line that makes it; `exact`: as float64, with the same values."""
        if self.dtype.is_floating_point:
            drawn = f"torch.randn({list(self.sizes)}).to({self.dtype})"
            drawn += ".double()" if exact and self.dtype != torch.float64 else ""
        else:
            least, most = {torch.bool: (0, 2), torch.uint8: (0, 9)}.get(self.dtype, (-4, 5))
            drawn = f"torch.randint({least}, {most}, {list(self.sizes)}).to({self.dtype})"
        if self.parameter:
            return f"{self.name} = torch.nn.Parameter({drawn})"
        return f"{self.name} = {drawn}{'.requires_grad_()' if self.requires_grad else ''}"


@dataclass(frozen=True)
class Statement:
    """A line of Python. `mode`: the context manager it stands under; `exact`: the line that is right in float64."""

    text: str
    mode: str = ""
    exact: str = ""

    @property
    def targets(self) -> tuple[str, ...]:
        """The names that it gives a tensor to."""
        left, found, _ = self.text.partition(" = ")
        return tuple(NAME.findall(left)) if found and "[" not in left else ()

    @property
    def uses(self) -> tuple[str, ...]:
        """The names that it reads or writes through, each once."""
        text = self.text.partition(" = ")[2] if self.targets else self.text
        return tuple(dict.fromkeys(NAME.findall(text)))

    def renamed(self, names: Mapping[str, str]) -> "Statement":
        """The same with other names for what it uses."""

        def rename(text: str) -> str:
            left, equals, right = text.partition(" = ") if self.targets else ("", "", text)
            return left + equals + NAME.sub(lambda m: names.get(m[0], m[0]), right)

        return Statement(rename(self.text), self.mode, rename(self.exact))

    def line(self, exact: bool) -> str:
        """What is executed; `exact`: with float64 for the coarser floats."""
        return COARSER_FLOATS.sub("torch.float64", self.exact or self.text) if exact else self.text


@dataclass(frozen=True)
class Program:
    """`make`, which builds the arguments out of leaves, and `function`, which is compiled.

    `arguments`: the name in `make` of each parameter x0, x1, ...; `afterwards`: what the caller does to the outputs, as
    in `tests.oracle`; `partitioner` and `dynamic`: how it is compiled; `calls`: how often it is called, on the same
    arguments; `caller`: the mode that calls stand under.
    """

    seed: int
    leaves: tuple[Leaf, ...]
    setup: tuple[Statement, ...]
    arguments: tuple[str, ...]
    statements: tuple[Statement, ...]
    outputs: tuple[str, ...]
    afterwards: str = "nothing"
    partitioner: str = "min-cut"
    dynamic: bool = False
    calls: int = 1
    caller: str = ""

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(f"x{i}" for i in range(len(self.arguments)))

    @property
    def coarsest(self) -> torch.dtype:
        """The float dtype with the fewest digits that occurs in it."""
        text = self.text()
        for dtype in (torch.bfloat16, torch.float16, torch.float32):
            if str(dtype) in text:
                return dtype
        return torch.float64

    def text(self, exact: bool = False) -> str:
        """As Python. `exact`: with float64 for the coarser floats, on the same values."""
        leaves = ", ".join(leaf.name for leaf in self.leaves)
        body = _block(self.statements, exact)
        lines = [
            *IMPORTS.splitlines(),
            "",
            *(
                d
                for n, t in DEFINITIONS.items()
                if any(n in line for line in body)
                for d in [*t.splitlines(), ""]
            ),
            "def make():",
            *(f"    {leaf.text(exact)}" for leaf in self.leaves),
            *(f"    {line}" for line in _block(self.setup, exact)),
            f"    return [{leaves}], [{', '.join(self.arguments)}]",
            "",
            f"def function({', '.join(self.parameters)}):",
            *(f"    {line}" for line in body),
            f"    return [{', '.join(self.outputs)}]",
        ]
        return "\n".join(lines) + "\n"

    def resized(self) -> "Program":
        """The same with arguments of other sizes, equal ones where they are equal here; 0 and 1 stay."""
        leaves = (replace(f, sizes=tuple(s + 2 if s > 1 else s for s in f.sizes)) for f in self.leaves)
        return replace(self, leaves=tuple(leaves))

    def single(self) -> "Program":
        """The same with float32 for float64."""

        def coarser(statements: Sequence[Statement]) -> tuple[Statement, ...]:
            return tuple(
                replace(s, text=s.text.replace("torch.float64", "torch.float32")) for s in statements
            )

        leaves = (replace(f, dtype=torch.float32) if f.dtype.is_floating_point else f for f in self.leaves)
        return replace(
            self, leaves=tuple(leaves), setup=coarser(self.setup), statements=coarser(self.statements)
        )

    def executable(self, exact: bool = False) -> tuple[Callable[..., Any], Callable[[int], Make]]:
        """`function`, and `make` by a seed for the values."""
        text = self.text(exact)
        file = f"<random program {self.seed}{' in float64' if exact else ''}>"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        names: dict[str, Any] = {}
        exec(compile(text, file, "exec"), names)
        return names["function"], lambda seed: partial(_make_from, names["make"], seed)


def in_mode(mode: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, called under a mode."""
    if not mode:
        return function

    def called(*arguments: Any) -> Any:
        with eval(MODES[mode], {"torch": torch}):
            return function(*arguments)

    return called


def _make_from(make: Make, seed: int) -> tuple[Sequence[torch.Tensor], Sequence[Any]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def _block(statements: Sequence[Statement], exact: bool) -> list[str]:
    """The lines of a function's body, with consecutive ones of one mode under one `with`."""
    lines: list[str] = []
    mode = ""
    for statement in statements:
        if statement.mode and statement.mode != mode:
            manager = MODES[statement.mode]
            lines.append(f"with {COARSER_FLOATS.sub('torch.float64', manager) if exact else manager}:")
        mode = statement.mode
        lines.append(f"{'    ' if mode else ''}{statement.line(exact)}")
    return lines
