# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Programs that PyTorch's own compilers get wrong or refuse, and what each makes of them: writes docs/beyond.md.

`python -m tests.contract.beyond` runs each program in eager, with aot_eager, inductor and Flambeau.
"""

import contextlib
import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import flambeau

PAGE = Path(__file__).parents[2] / "docs" / "beyond.md"

PROGRAMS = {
    "A value that the backward computes again from an input that was written meanwhile": """\
@compile
def f(x, w):
    y = (x.sin() * w).sum()
    x.mul_(2)
    return y

x, w = torch.ones(3), torch.ones(3, requires_grad=True)
f(x, w).backward()
print(w.grad)
""",
    "Arguments that lie apart in one call and overlap in the next": """\
@compile
def f(a, b):
    a.add_(1)
    return b * 2

f(torch.zeros(4), torch.zeros(4))
memory = torch.zeros(6)
print(f(memory[:4], memory[2:]))
""",
    "A transposed value beside itself without history": """\
@compile
def f(x):
    a = (x + 1).t()
    return a.detach(), a

detached, a = f(torch.ones(2, 2, requires_grad=True))
print(detached.stride(), a.stride(), detached.requires_grad, a.requires_grad)
""",
    "The same, not square": """\
@compile
def f(x):
    a = (x + 1).t()
    return a.detach(), a

detached, a = f(torch.ones(2, 3, requires_grad=True))
print(detached.stride(), a.stride())
""",
    "A view made under no_grad, viewed again outside": """\
@compile
def f(x):
    with torch.no_grad():
        v = x[:2]
    return v.view(2, 1)

w = torch.ones(3, requires_grad=True)
f(w * 2).sum().backward()
print(w.grad)
""",
    "A write that autograd sees, to an argument that is no leaf, while the caller wants no gradients": """\
@compile
def f(x):
    with torch.enable_grad():
        x.mul_(2)

w = torch.ones(3, requires_grad=True)
x = w * 1
with torch.no_grad():
    f(x)
x.sum().backward()
print(w.grad)
""",
    "A write to an expanded tensor": """\
@compile
def f(x):
    y = x.sin().expand(3, 2)
    y.add_(1)
    return y

print(f(torch.zeros(2)))
""",
    "A write to one of several views of a result": """\
@compile
def f(x):
    return x.sin().chunk(2)

a, b = f(torch.ones(4, requires_grad=True))
a.add_(1)
print(a.detach())
""",
    "Dropout in evaluation returns its input itself": """\
@compile
def f(x):
    return torch.nn.functional.dropout(x, 0.5, training=False)

x = torch.ones(3)
f(x).add_(1)
print(x)
""",
    "The derivative of a derivative": """\
@compile
def f(x):
    return x.sin().sum()

x = torch.ones(2, requires_grad=True)
(gradient,) = torch.autograd.grad(f(x), x, create_graph=True)
print(torch.autograd.grad(gradient.sum(), x)[0])
""",
}

COMPILERS: dict[str, Callable[[Any], Any]] = {
    "eager": lambda f: f,
    "aot_eager": torch.compile(backend="aot_eager"),
    "inductor": torch.compile(backend="inductor"),
    "Flambeau": flambeau.compile,
}


NOTES = {
    "A write that autograd sees, to an argument that is no leaf, while the caller wants no gradients": (
        "Where the grad mode stays the same, writes to arguments that are no leaves come out alike everywhere."
    ),
    "A write to one of several views of a result": "If the graph itself makes the write, all four raise.",
}
"""What is to be said of a program's neighbours."""


def outcome(program: str, compiler: Callable[[Any], Any]) -> str:
    """What a program prints, or the error that ends it, in one line."""
    torch._dynamo.reset()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(program, {"torch": torch, "compile": compiler})
        except Exception as error:  # noqa: BLE001  (it is what is to be shown)
            lines = [line for line in str(error).splitlines() if line.strip()]
            text = next((line for line in lines if not line.startswith("backend=")), "")
            return f"{type(error).__name__}: {text[:110]}"
    return " ".join(printed.getvalue().split())


def page() -> str:
    version = torch.__version__.partition("+")[0]
    lines = [
        "# Beyond torch.compile",
        "",
        "Programs that PyTorch's own compilers get wrong or refuse, and what each makes of them. Eager is right by",
        "definition; what differs from it is in bold. Written by `python -m tests.contract.beyond`, with PyTorch",
        f"{version}; of an error the first line is shown.",
    ]
    for title, program in PROGRAMS.items():
        lines += ["", f"## {title}", "", "```python", program.rstrip(), "```", "", "| | |", "|---|---|"]
        wanted = outcome(program, COMPILERS["eager"])
        for name, compiler in COMPILERS.items():
            found = outcome(program, compiler)
            text = f"`{found.replace('|', '/')}`"
            lines.append(f"| {name} | {text if alike(found, wanted) else f'**{text}**'} |")
        lines += ["", NOTES[title]] if title in NOTES else []
    return "\n".join(lines) + "\n"


def alike(found: str, wanted: str) -> bool:
    """Whether two outcomes are the same: what was printed, or the kind of error."""
    return found == wanted or _error(found) == _error(wanted) != ""


def _error(found: str) -> str:
    """The kind of error that a line shows, if it shows one."""
    name = found.partition(":")[0]
    return name if name.endswith("Error") else ""


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.exit(0)
