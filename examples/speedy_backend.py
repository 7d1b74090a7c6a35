# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A backend that is a record: the CPU with other flags for IREE's compiler, timed beside Flambeau's own choice.

`python examples/speedy_backend.py`. Data tiling packs matrices before they are multiplied: it pays for some shapes.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch

import flambeau

PACKED = replace(
    flambeau.lookup_backend("cpu"),
    name="cpu-packed",
    flags=("--iree-llvmcpu-target-cpu=host", "--iree-opt-data-tiling"),
    description="the CPU, with packed matrices",
)


def milliseconds(function: Callable[[], torch.Tensor], calls: int) -> float:
    """The median time of a call."""
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main(size: int = 512, calls: int = 50) -> None:
    """Compare the two on a product of matrices, after a look at the values."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    for backend in (flambeau.lookup_backend("cpu"), PACKED):
        product = flambeau.compile(torch.mm, backend=backend, options={"fallback": "error"})
        torch.testing.assert_close(product(a, b), a @ b, rtol=1e-4, atol=1e-3)
        print(f"{backend.name:12} {milliseconds(lambda p=product: p(a, b), calls):.2f} ms")
    print(f"{'eager':12} {milliseconds(lambda: a @ b, calls):.2f} ms")


if __name__ == "__main__":
    main()
