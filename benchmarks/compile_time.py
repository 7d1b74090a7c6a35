# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""CPU seconds that the passes of the pipeline `training` take, by size of the joint graph.

`python benchmarks/compile_time.py`. A chain of layers tanh(x @ w + b) on a dynamic batch, in text; IREE is not part of
it. One row per graph, one column per pass (with its verification). The third column says what an op costs: it stays
level as long as every pass is linear.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from flambeau.dialects import build as b
from flambeau.dialects import create_context
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import func, ir
from flambeau.pipelines.driver import run_pipeline
from flambeau.pipelines.registry import load_passes
from flambeau.pipelines.stages import named_pipeline

PAGE = Path(__file__).parent.parent / "docs" / "compile_time.md"
PLOT = PAGE.with_suffix(".svg")
OPS_PER_LAYER = 13  # in the joint graph, after cse


def chain(layers: int) -> ir.Module:
    """The forward function of `layers` layers of width 16, a weight and a bias each; needs a context."""
    x, w, bias = (ir.Type.parse(f"tensor<{shape}xf32>") for shape in ("?x16", "16x16", "16"))
    module = ir.Module.create()
    with ir.InsertionPoint(module.body):
        function = func.FuncOp("graph", ([x, *[w, bias] * layers], [x]))
        block = function.add_entry_block()
    with ir.InsertionPoint(block):
        value, *parameters = block.arguments
        for weight, shift in zip(parameters[::2], parameters[1::2], strict=True):
            product = b.mm(value, weight)
            value = b.tanh(b.add(product, b.expand_to(shift, product)))
        func.ReturnOp([value])
    return module


def pass_times(module: ir.Module) -> Iterator[tuple[str, float, int]]:
    """Run the pipeline; for each pass its name, its seconds (with verification) and the ops after it."""
    found: list[tuple[str, float, int]] = []
    last = time.process_time()

    def record(index: int, name: str, module: ir.Module) -> None:
        nonlocal last
        seconds = time.process_time() - last
        found.append(
            (name, seconds, sum(len(fn.operations(fn.entry_block(f))) for f in fn.functions(module)))
        )
        last = time.process_time()

    run_pipeline(module, named_pipeline("training"), on_stage=record)
    yield from found


@dataclass(frozen=True)
class Timing:
    """One graph: its ops after autodiff, and the seconds of each pass."""

    ops: int
    passes: tuple[tuple[str, float], ...]

    @property
    def seconds(self) -> float:
        """Of all passes together."""
        return sum(seconds for _, seconds in self.passes)


def measure(size: int) -> Timing:
    """A chain with a joint graph of about `size` ops."""
    with create_context(), ir.Location.unknown():
        rows = list(pass_times(chain(size // OPS_PER_LAYER)))
    ops = next(count for name, _, count in reversed(rows) if name == "inline-calls")
    return Timing(ops, tuple((name, seconds) for name, seconds, _ in rows))


def table(timings: Sequence[Timing]) -> Iterator[str]:
    """Lines of text: one per graph, the last columns by pass."""
    names = [name[:12].rjust(12) for name, _ in timings[0].passes]
    yield " ".join(["ops".rjust(8), "total".rjust(8), "us/op".rjust(8), *names])
    for t in timings:
        columns = [f"{seconds:12.3f}" for _, seconds in t.passes]
        yield " ".join([f"{t.ops:8}", f"{t.seconds:8.2f}", f"{1e6 * t.seconds / t.ops:8.0f}", *columns])


# --- The page --------------------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 640, 360, 60, 40


def page(timings: Sequence[Timing]) -> str:
    """The page with the plot, and the passes that take most."""
    largest = timings[-1]
    by_pass: dict[str, float] = defaultdict(float)
    for name, seconds in largest.passes:
        by_pass[name] += seconds
    longest = sorted(by_pass.items(), key=lambda item: -item[1])[:6]
    lines = [
        "# How long the passes take",
        "",
        "CPU seconds of the pipeline `training` by ops of the joint graph, verification after each pass included, IREE",
        "not. Written by `python benchmarks/compile_time.py --page`; do not edit.",
        "",
        f"![Seconds by number of ops: a straight line]({PLOT.name})",
        "",
        "| ops | seconds | microseconds per op |",
        "|---|---|---|",
        *(f"| {t.ops} | {t.seconds:.2f} | {1e6 * t.seconds / t.ops:.0f} |" for t in timings),
        "",
        f"Of the {largest.seconds:.1f} s for {largest.ops} ops: "
        + ", ".join(f"`{name}` {seconds:.1f}" for name, seconds in longest)
        + ".",
    ]
    return "\n".join(lines) + "\n"


def plot(timings: Sequence[Timing]) -> str:
    """An SVG of seconds over ops."""
    most_ops, most = max(t.ops for t in timings), max(t.seconds for t in timings)

    def place(ops: float, seconds: float) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - 20) * ops / most_ops
        return round(x, 1), round((_HEIGHT - _BOTTOM) * (1 - 0.95 * seconds / most), 1)

    corner, right, top = place(0, 0), place(most_ops, 0), place(0, most)
    points = [place(t.ops, t.seconds) for t in timings]
    parts = [
        f'<polyline points="{_points([top, corner, right])}" fill="none" stroke="gray"/>',
        f'<polyline points="{_points(points)}" fill="none" stroke="steelblue"/>',
    ]
    for t, (x, y) in zip(timings, points, strict=True):
        parts.append(f'<circle cx="{x}" cy="{y}" r="4" fill="steelblue"/>')
        parts.append(f'<text x="{x}" y="{corner[1] + 18}" text-anchor="middle">{t.ops}</text>')
        parts.append(f'<text x="{x - 8}" y="{y - 8}" text-anchor="end">{t.seconds:.1f} s</text>')
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in places)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table; write the page, if asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "sizes", nargs="*", type=int, default=[1000, 2000, 4000, 8000, 16000], help="ops of the joint graph"
    )
    parser.add_argument("--page", action="store_true", help="write docs/compile_time.md and its plot")
    given = parser.parse_args(argv)
    load_passes()
    import_module("networkx")  # which is not compiling
    timings = [measure(size) for size in given.sizes]
    print("\n".join(table(timings)))
    if given.page:
        PAGE.write_text(page(timings))
        PLOT.write_text(plot(timings))


if __name__ == "__main__":
    main()
