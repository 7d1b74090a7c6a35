# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Convolutions of every kind, forward and both gradients, beside eager: milliseconds of CPU time on one core.

`python -m benchmarks.convolution [part of a name]`, from the root. Values are checked first. CPU time of the calling
thread hardly sees what else runs on the machine; figures are the 10th percentile of interleaved runs.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from flambeau.dialects import create_context
from flambeau.dialects.bindings import ir
from flambeau.runtime.iree.executable import ResultSpec
from tests.dialects.compiled import load
from tests.dialects.sample import Sample
from tests.dialects.samples.convolution import input_grad, weight_grad

Shape = tuple[int, ...]
Call = Callable[[], torch.Tensor]


@dataclass(frozen=True)
class Case:
    """A convolution of x by a weight, with one number for all dims in place of lists."""

    name: str
    x: Shape
    weight: Shape
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    transposed: bool = False

    @property
    def parameters(self) -> list[object]:
        """What ATen takes after the tensors."""
        rank = len(self.x) - 2
        lists = ([n] * rank for n in (self.stride, self.padding, self.dilation))
        return [*lists, self.transposed, [0] * rank, self.groups]


CASES = (
    Case("3x3, 64 channels", (2, 64, 32, 32), (64, 64, 3, 3), padding=1),
    Case("3x3, 256 channels", (4, 256, 14, 14), (256, 256, 3, 3), padding=1),
    Case("3x3 strided", (2, 64, 32, 32), (128, 64, 3, 3), stride=2, padding=1),
    Case("3x3 dilated", (2, 64, 32, 32), (64, 64, 3, 3), padding=2, dilation=2),
    Case("7x7 strided, of images", (2, 3, 128, 128), (64, 3, 7, 7), stride=2, padding=3),
    Case("1x1", (2, 96, 32, 32), (24, 96, 1, 1)),
    Case("1x1 strided", (2, 64, 32, 32), (128, 64, 1, 1), stride=2),
    Case("16x16 patches", (2, 3, 128, 128), (192, 3, 16, 16), stride=16),
    Case("depthwise 3x3", (2, 96, 64, 64), (96, 1, 3, 3), padding=1, groups=96),
    Case("depthwise 5x5 strided", (2, 96, 32, 32), (96, 1, 5, 5), stride=2, padding=2, groups=96),
    Case("3x3, 4 groups", (2, 64, 32, 32), (64, 16, 3, 3), padding=1, groups=4),
    Case("3x3, 32 groups", (2, 128, 28, 28), (128, 4, 3, 3), padding=1, groups=32),
    Case("transposed 2x2 strided", (2, 64, 16, 16), (64, 32, 2, 2), stride=2, transposed=True),
    Case("transposed 4x4 strided", (2, 64, 16, 16), (64, 32, 4, 4), stride=2, padding=1, transposed=True),
    Case("1d", (4, 64, 256), (64, 64, 5), padding=2),
    Case("3d", (2, 16, 8, 16, 16), (16, 16, 3, 3, 3), padding=1),
)


def directions(case: Case) -> Iterator[tuple[str, Sample, Call]]:
    """Forward and gradients: the name, our op with its arguments, and eager's call."""
    x, weight = torch.randn(case.x), torch.randn(case.weight)
    out = torch.convolution(x, weight, None, *case.parameters)  # type: ignore[call-overload]
    g = torch.randn_like(out)
    forward = [x, weight, None, *case.parameters]
    by_x = [g, weight, list(case.x), *case.parameters]
    by_weight = [g, x, list(case.weight), *case.parameters]
    yield "forward", Sample("convolution", lambda: forward), partial(torch.convolution, *forward)
    yield "by x", Sample("convolution_input_grad", lambda: by_x), partial(input_grad, *by_x)
    yield "by weight", Sample("convolution_weight_grad", lambda: by_weight), partial(weight_grad, *by_weight)


def compiled(sample: Sample) -> Call:
    """The op as machine code, run by the calling thread."""
    with create_context(), ir.Location.unknown():
        executable = load([(sample, False)])
    call = executable.function("f0", [ResultSpec(torch.float32)])
    tensors = [v for v in sample.values() if isinstance(v, torch.Tensor)]
    return lambda: call(tensors)[0]  # type: ignore[return-value]


def milliseconds(calls: Sequence[Call], seconds: float) -> list[float]:
    """The 10th percentile of each call's times, for about `seconds` in all."""
    times: list[list[float]] = [[] for _ in calls]
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(times[0]) < 5:
        for call, seen in zip(calls, times, strict=True):
            start = time.thread_time()
            call()
            seen.append(time.thread_time() - start)
    return [sorted(seen)[len(seen) // 10] * 1e3 for seen in times]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("name", nargs="?", default="", help="only convolutions whose name contains this")
    parser.add_argument("--seconds", type=float, default=0.6, help="how long to measure each (default: 0.6)")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    print(f"{'convolution':26} {'':10} {'eager':>8} {'ours':>8} {'ratio':>6}")
    for case in CASES:
        if options.name not in case.name:
            continue
        for name, sample, eager in directions(case):
            ours = compiled(sample)
            found, wanted = ours(), eager()
            error = ((found - wanted).abs().max() / wanted.abs().max()).item()
            if not error < 1e-4:
                raise SystemExit(f"{case.name}, {name}: differs from eager by {error:.1e}")
            first, second = milliseconds([eager, ours], options.seconds)
            print(f"{case.name:26} {name:10} {first:8.3f} {second:8.3f} {first / second:6.2f}", flush=True)


if __name__ == "__main__":
    main()
