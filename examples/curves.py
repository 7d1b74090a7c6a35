# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Draws the training curves: loss per epoch with characters in the terminal, loss and accuracy as a PNG file."""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path

from rich.text import Text
from training import Run

WIDTH, HEIGHT = 64, 14
STYLES = {"eager": ("o", "cyan"), "inductor": ("+", "yellow"), "flambeau": ("*", "bold red")}


def loss_chart(runs: Sequence[Run]) -> Text:
    """Mean training loss (logarithmic) over epochs, one mark per compiler; later ones are drawn on top."""
    losses = [math.log10(epoch.loss) for run in runs for epoch in run.epochs]
    low, high = min(losses), max(losses)
    grid = [[(" ", "")] * WIDTH for _ in range(HEIGHT)]
    for run in runs:
        last = max(len(run.epochs) - 1, 1)
        points = [
            (i / last * (WIDTH - 1), (high - math.log10(e.loss)) / (high - low or 1) * (HEIGHT - 1))
            for i, e in enumerate(run.epochs)
        ]
        for (x0, y0), (x1, y1) in pairwise(points):
            for x in range(round(x0), round(x1) + 1):
                y = y0 + (y1 - y0) * min(max((x - x0) / (x1 - x0), 0), 1)
                grid[round(y)][x] = STYLES[run.compiler]
    chart = Text("training loss ")
    for run in runs:
        mark, style = STYLES[run.compiler]
        chart.append(f"  {mark} {run.compiler}", style)
    for row, cells in enumerate(grid):
        value = 10 ** (high - (high - low) * row / (HEIGHT - 1))
        chart.append(f"\n{value:8.3f} |" if row % 4 == 0 else "\n         |")
        for mark, style in cells:
            chart.append(mark, style)
    chart.append("\n         +" + "-" * WIDTH)
    chart.append(f"\n{'1':>11}{'epoch':^{WIDTH - 4}}{max(len(r.epochs) for r in runs):>3}")
    return chart


def save_png(runs: Sequence[Run], path: Path) -> None:
    """Loss over epochs, and test accuracy over the seconds that compiling and training took."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for run in runs:
        style = {"label": run.compiler, "color": STYLES[run.compiler][1].split()[-1], "marker": "."}
        style["color"] = {"yellow": "goldenrod"}.get(style["color"], style["color"])
        left.plot(range(1, len(run.epochs) + 1), [e.loss for e in run.epochs], **style)
        seconds = list(accumulate((e.seconds for e in run.epochs), initial=run.compile_seconds or 0.0))
        right.plot(seconds[1:], [100 * e.accuracy for e in run.epochs], **style)
    left.set(xlabel="epoch", ylabel="training loss", yscale="log")
    right.set(xlabel="seconds, compilation included", ylabel="test accuracy (%)")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
