# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What residency saves: milliseconds and bytes per training step and per inference, with it and without.

`python -m benchmarks.residency [--backend=vulkan]`, from the root. Without it: identity hooks make every saved value a
tensor on the host, and inference does not freeze. Results of both ways are compared first.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

import flambeau

_RUNS = 20


def main() -> None:
    """Print one line per case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="vulkan", help="a backend of a device with memory of its own")
    backend = parser.parse_args().backend
    torch.manual_seed(0)
    net = nn.Sequential(*(layer for _ in range(4) for layer in (nn.Linear(512, 512), nn.GELU())))
    x = torch.randn(64, 512)
    compiled = flambeau.compile(net, backend=backend)
    frozen = flambeau.compile(net, backend=backend, options={"freezing": True})

    def train(hooks: Callable[[], AbstractContextManager[object]]) -> list[torch.Tensor]:
        with hooks():
            loss = compiled(x).square().mean()
        return list(torch.autograd.grad(loss, list(net.parameters())))

    def infer(function: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
        with torch.no_grad():
            return [function(x)]

    cases = {
        "training, saved values on the host": lambda: train(
            lambda: torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t)
        ),
        "training, resident": lambda: train(nullcontext),
        "inference": lambda: infer(compiled),
        "inference, freezing": lambda: infer(frozen),
    }
    results = {name: case() for name, case in cases.items()}
    for one, other in (list(results.values())[:2], list(results.values())[2:]):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b), "residency changes results"
    print(f"{backend}: {'':26} {'ms':>8} {'KiB to device':>14} {'KiB to host':>12}")
    for name, case in cases.items():
        milliseconds, to_device, to_host = _measure(case)
        print(f"{name:34} {milliseconds:8.2f} {to_device / 1024:14.0f} {to_host / 1024:12.0f}")


def _measure(case: Callable[[], object]) -> tuple[float, float, float]:
    """Median milliseconds, and bytes to the device and back, of one run."""
    names = ("bytes.to_device", "bytes.to_host")
    before = [flambeau.counters[name] for name in names]
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        case()
        times.append(time.perf_counter() - start)
    to_device, to_host = ((flambeau.counters[n] - b) / _RUNS for n, b in zip(names, before, strict=True))
    return statistics.median(times) * 1e3, to_device, to_host


if __name__ == "__main__":
    main()
