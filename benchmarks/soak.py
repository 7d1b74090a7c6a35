# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Does memory stay flat? `python -m benchmarks.soak`: many training steps, then many compilations, in one process.

Prints the process's resident memory along the way and how fast it grows over the second half; exits with 1 if that is
faster than the bounds below. Compilations are repeated with PyTorch's backend "eager" first: TorchDynamo keeps some
memory per compilation by itself, and only what Flambeau adds is judged.
"""

import argparse
import gc
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

import flambeau

# Kilobytes of growth allowed per training step and per compilation beyond TorchDynamo's own. A leaked activation of
# the network below would be 64 KB per step, a leaked MLIR context or IREE module about 1 MB per compilation.
BYTES_PER_STEP = 200.0
BYTES_PER_COMPILATION = 60_000.0
SAMPLES = 40


def resident() -> int:
    """Bytes of this process that are in memory (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def growth(count: int, action: Callable[[int], None], what: str) -> float:
    """Bytes of resident memory per action over the second half of `count` actions: the slope of a fitted line."""
    every = max(count // SAMPLES, 1)
    points: list[tuple[int, int]] = []
    for index in range(count):
        action(index)
        if (index + 1) % every == 0:
            gc.collect()
            points.append((index + 1, resident()))
            if len(points) % 8 == 0:
                print(f"  {what} {index + 1}: {points[-1][1] / 1e6:.1f} MB", flush=True)
    late = points[len(points) // 2 :]
    middle = sum(x for x, _ in late) / len(late)
    mean = sum(y for _, y in late) / len(late)
    spread = sum((x - middle) ** 2 for x, _ in late)
    return sum((x - middle) * (y - mean) for x, y in late) / spread


def _network(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(16, width), nn.LayerNorm(width), nn.GELU(), nn.Dropout(0.1), nn.Linear(width, 4)
    )


def train(steps: int, backend: str) -> float:
    """Growth in bytes per step of a small network's training with AdamW; batches of two sizes."""
    torch.manual_seed(0)
    network = _network(256)

    @flambeau.compile(backend=backend, dynamic=True, fullgraph=True, options={"fallback": "error"})
    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(network(x), y)

    optimizer = torch.optim.AdamW(network.parameters())
    batches = [(torch.randn(n, 16), torch.randint(0, 4, (n,))) for n in (64, 48)]

    def step(index: int) -> None:
        optimizer.zero_grad()
        loss_of(*batches[index % 2]).backward()
        optimizer.step()

    return growth(steps, step, "step")


def recompile(count: int, compiled: Callable[[nn.Module], Callable[..., torch.Tensor]]) -> float:
    """Growth in bytes per compilation of forward and backward, each of a network of another width."""
    x = torch.randn(8, 16)

    def action(index: int) -> None:
        torch._dynamo.reset()
        network = _network(8 + index % 97)
        compiled(network)(x).sum().backward()

    return growth(count, action, "compilation")


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if memory is flat."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--compilations", type=int, default=500)
    parser.add_argument("--backend", default="cpu")
    options = parser.parse_args(arguments)

    per_step = train(options.steps, options.backend)
    print(f"{options.steps} training steps: {per_step:.0f} bytes per step (allowed: {BYTES_PER_STEP:.0f})")

    own = recompile(options.compilations, lambda m: torch.compile(m, backend="eager", dynamic=False))
    strict = {"fallback": "error"}
    ours = recompile(
        options.compilations,
        lambda m: flambeau.compile(m, backend=options.backend, dynamic=False, options=strict),
    )
    print(
        f"{options.compilations} compilations: {ours:.0f} bytes each, {own:.0f} of them with backend 'eager' too "
        f"(allowed beyond: {BYTES_PER_COMPILATION:.0f})"
    )
    return int(per_step > BYTES_PER_STEP or ours - max(own, 0.0) > BYTES_PER_COMPILATION)


if __name__ == "__main__":
    sys.exit(main())
