# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The demo: trains a network on handwritten digits with eager PyTorch, inductor and Flambeau, side by side.

Then it runs the trained network on a Vulkan device, if there is one, and shows the compiler's stages. Files go to
build/demo.
"""

import argparse
import os
import platform
import statistics
import sys
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path

import curves
import stages
import torch
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from training import BATCH, COMPILERS, Images, Network, Run, load_images, train_in_new_process

import flambeau
from flambeau.runtime.devices import find_device
from flambeau.runtime.errors import BackendNotAvailableError

FOLDER = Path("build/demo")
GOAL = 0.97
WEIGHTS = "weights-{}.pt"


def main() -> int:
    """Run the demo; the exit code is 0 if Flambeau did all it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    epochs = parser.parse_args().epochs
    console = Console(highlight=False)
    FOLDER.mkdir(parents=True, exist_ok=True)
    print_machine(console, epochs)
    runs = [train(console, compiler, epochs) for compiler in COMPILERS]
    finished = [run for run in runs if run.failure is None]
    print_comparison(console, runs)
    if finished:
        console.print(curves.loss_chart(finished))
        curves.save_png(finished, FOLDER / "curves.png")
        console.print(f"as a picture: {FOLDER / 'curves.png'}")
    ours = runs[COMPILERS.index("flambeau")]
    if ours.failure is not None:
        return 1
    _, test = load_images()
    network = Network()
    network.load_state_dict(torch.load(FOLDER / WEIGHTS.format("flambeau")))
    console.rule("the trained network on Vulkan")
    run_on_vulkan(console, network.eval(), test)
    console.rule("one function through the stages")
    stages.show(console, FOLDER / "ir")
    console.print(f"\ntest accuracy: {100 * ours.epochs[-1].accuracy:.1f} %")
    return 0


def print_machine(console: Console, epochs: int) -> None:
    cores = os.cpu_count() or 1
    versions = {"PyTorch": "torch", "IREE": "iree-base-compiler", "Flambeau": "flambeau"}
    console.print(
        f"{cores} cores ({platform.machine()}), Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(package)}" for name, package in versions.items())
    )
    if (load := os.getloadavg()[0]) > cores / 2:
        console.print(f"Other processes are busy (load {load:.1f}): the times say little.", style="yellow")
    console.print(
        f"Digits: 1,437 images to train, 360 to test; {epochs} epochs, batches of {BATCH}.\n"
        "All start from the same weights and see the same batches; dropout draws its\n"
        "own masks in each. Each compiler runs in a new process with empty caches;\n"
        "importing it is not counted.\n"
    )


def train(console: Console, compiler: str, epochs: int) -> Run:
    """Train with one compiler and show how far it is."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"{compiler:9} compiles", total=epochs)
        for run in train_in_new_process(compiler, epochs, FOLDER / WEIGHTS.format(compiler)):
            if run.compile_seconds and not run.epochs:
                console.print(f"{compiler:9} compiled in {run.compile_seconds:.1f} s")
            if run.epochs:
                last = run.epochs[-1]
                text = f"{compiler:9} loss {last.loss:.4f}, test accuracy {100 * last.accuracy:.1f} %"
                progress.update(task, completed=len(run.epochs), description=text)
    if run.failure is not None:
        console.print(
            f"{compiler:9} left out: {run.failure.strip()}", style="red", markup=False, soft_wrap=True
        )
    else:
        console.print(f"{text} after {epochs} epochs, {sum(e.seconds for e in run.epochs):.1f} s")
    return run


def print_comparison(console: Console, runs: list[Run]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("", "s to compile", "s per epoch", f"s to {100 * GOAL:.0f} % accuracy", "test accuracy"):
        table.add_column(column, justify="left" if not column else "right")
    for run in runs:
        if run.failure is not None:
            table.add_row(run.compiler, "left out", "", "", "")
            continue
        compile_seconds = run.compile_seconds or 0.0
        table.add_row(
            run.compiler,
            f"{compile_seconds:.1f}" if compile_seconds else "-",
            f"{statistics.median(epoch.seconds for epoch in run.epochs):.3f}",
            _seconds_to_goal(run),
            f"{100 * run.epochs[-1].accuracy:.1f} %",
        )
    console.print(table)
    console.print(
        "To compile: first training step and first prediction. Per epoch: median.\n"
        f"To {100 * GOAL:.0f} %: compiling included, testing not.\n"
    )


def _seconds_to_goal(run: Run) -> str:
    elapsed = accumulate((epoch.seconds for epoch in run.epochs), initial=run.compile_seconds or 0.0)
    next(elapsed)
    reached = (s for s, epoch in zip(elapsed, run.epochs, strict=True) if epoch.accuracy >= GOAL)
    seconds = next(reached, None)
    return "not reached" if seconds is None else f"{seconds:.1f}"


def run_on_vulkan(console: Console, network: Network, test: Images) -> None:
    """Predict the test images on the first Vulkan device and compare with eager PyTorch on the CPU."""
    try:
        device = find_device(flambeau.lookup_backend("vulkan"))
    except BackendNotAvailableError as error:
        console.print(f"left out: {error}", markup=False, soft_wrap=True)
        return
    kind = "a software device: the CPU plays the GPU" if device.software else "a GPU"
    console.print(f"{device.name} ({kind})", markup=False)
    on_device = flambeau.compile(network, backend="vulkan", dynamic=False, options={"fallback": "error"})
    with torch.no_grad():
        logits, expected = on_device(test.images), network(test.images)
    right = (logits.argmax(1) == test.labels).float().mean().item()
    error = ((logits - expected).abs().max() / expected.abs().max()).item()
    console.print(f"test accuracy there {100 * right:.1f} %, logits within {error:.0e} of eager's")


if __name__ == "__main__":
    sys.exit(main())
