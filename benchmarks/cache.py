# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Seconds until a model has run once in a fresh process: with an empty cache, and with what that left behind.

`python -m benchmarks.cache`, from the root. The first training step of a GPT-2 and a ResNet-18 of the published sizes,
on small inputs. `flambeau` is the time from TorchDynamo's graph to a callable; `first call` has TorchDynamo and the
step itself in it too. All processes must come to the same loss and gradients.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn
from torch._dynamo.utils import compilation_time_metrics

import flambeau
from tests.models.convolutional import ResNet18
from tests.models.transformers import GPT2, VOCABULARY

_BACKEND_TIME = "OutputGraph.call_user_compiler"  # TorchDynamo's name for what a backend takes

MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], torch.Tensor]]] = {
    "gpt2-small": (
        lambda: GPT2(width=768, heads=12, layers=12, length=128),
        lambda: torch.randint(0, VOCABULARY, (2, 64)),
    ),
    "resnet-18": (ResNet18, lambda: torch.randn(2, 3, 64, 64)),
}


def first_call(name: str) -> None:
    """Compile a model and run one step; print the times and what came out as JSON."""
    torch.manual_seed(0)
    build, batch = MODELS[name]
    module, inputs = build(), batch()
    compiled = flambeau.compile(module, options={"fallback": "error"})
    start = time.perf_counter()
    loss = compiled(inputs).square().mean()
    loss.backward()
    seconds = time.perf_counter() - start
    gradient = sum(p.grad.double().abs().sum().item() for p in module.parameters() if p.grad is not None)
    found = {
        "flambeau": sum(compilation_time_metrics[_BACKEND_TIME]),
        "first_call": seconds,
        "hits": flambeau.counters["cache.hit"],
        "misses": flambeau.counters["cache.miss"],
        "loss": loss.item(),
        "gradient": gradient,
    }
    print(json.dumps(found))


def in_fresh_process(name: str, cache: Path) -> dict[str, float]:
    """`first_call` in a process of its own."""
    environment = {**os.environ, "FLAMBEAU_CACHE_DIR": str(cache)}
    environment.pop("FLAMBEAU_CACHE_SIZE", None)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.cache", "--once", name],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; the exit code is 1 if a warm start is not warm, or computes something else."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS), metavar="model", help=", ".join(MODELS))
    parser.add_argument("--warm", type=int, default=3, help="warm starts per model; the median counts")
    parser.add_argument("--once", metavar="MODEL", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.once:
        first_call(args.once)
        return 0
    unknown = sorted(set(args.models) - set(MODELS))
    if unknown:
        parser.error(f"unknown model {unknown[0]!r}; valid: {', '.join(MODELS)}")
    sound = True
    print(f"{'':12}{'flambeau':>20}{'first call':>28}")
    print(f"{'model':12}" + f"{'cold':>8}{'warm':>8}{'ratio':>8}    " * 2)
    for name in args.models:
        with tempfile.TemporaryDirectory() as folder:
            cold = in_fresh_process(name, Path(folder))
            warm = [in_fresh_process(name, Path(folder)) for _ in range(args.warm)]
        row = f"{name:12}"
        for what in ("flambeau", "first_call"):
            median = sorted(run[what] for run in warm)[args.warm // 2]
            row += f"{cold[what]:8.2f}{median:8.2f}{cold[what] / median:7.1f}x    "
        print(row)
        sound &= cold["misses"] > 0 and all(
            run["hits"] == cold["misses"]
            and run["misses"] == 0
            and (run["loss"], run["gradient"]) == (cold["loss"], cold["gradient"])
            for run in warm
        )
    if not sound:
        print("a warm start compiled something, or its numbers differ", file=sys.stderr)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
