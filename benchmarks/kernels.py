# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times of single kernels, loops of our own against inductor and eager: `python -m benchmarks.kernels [name ...]`.

Each contender runs in blocks of calls, in turns, and the median of its blocks counts. Ratios are inductor's or eager's
time over ours. Trust them on a quiet machine only.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from flambeau.dialects import build as b
from tests.kernels.harness import KernelModule

ROWS, COLUMNS = 2048, 1024
_MATRIX, _LINE, _ROW = f"tensor<{ROWS}x{COLUMNS}xf32>", f"tensor<{COLUMNS}xf32>", f"tensor<{ROWS}x1xf32>"


@dataclass(frozen=True)
class Form:
    """A kernel in our ops, the same in PyTorch's, and its inputs."""

    types: Sequence[str]
    build: Callable[..., Any]
    torch: Callable[..., Any]
    inputs: Callable[[], list[torch.Tensor]]


def _over(value: Any, like: Any) -> Any:
    return b.expand_to(value, like)


def _softmax(x: Any) -> Any:
    e = b.exp(b.sub(x, _over(b.amax(x, [1], True), x)))
    return b.div(e, _over(b.sum(e, [1], True), e))


def _softmax_backward(g: Any, out: Any) -> Any:
    dot = b.mul(g, out)
    return b.sub(dot, b.mul(out, _over(b.sum(dot, [1], True), out)))


def _layer_norm(x: Any, w: Any, bias: Any) -> Any:
    centred = b.sub(x, _over(b.mean(x, [1], True), x))
    rstd = b.rsqrt(b.add(b.mean(b.mul(centred, centred), [1], True), 1e-5))
    return b.add(b.mul(b.mul(centred, _over(rstd, x)), _over(w, x)), _over(bias, x))


def _layer_norm_backward(g: Any, x: Any, w: Any, mean: Any, rstd: Any) -> Any:
    x_hat = b.mul(b.sub(x, _over(mean, x)), _over(rstd, x))
    g = b.mul(g, _over(w, x))
    projection = b.mul(x_hat, _over(b.mean(b.mul(g, x_hat), [1], True), x))
    return b.mul(b.sub(b.sub(g, _over(b.mean(g, [1], True), x)), projection), _over(rstd, x))


def _layer_norm_weights(g: Any, x: Any, mean: Any, rstd: Any) -> Any:
    x_hat = b.mul(b.sub(x, _over(mean, x)), _over(rstd, x))
    return b.sum(b.mul(g, x_hat), [0]), b.sum(g, [0])


def _cross_entropy(x: Any, target: Any) -> Any:
    i64 = target.type.element_type
    largest = b.amax(x, [1], True)
    total = b.sum(b.exp(b.sub(x, _over(largest, x))), [1])
    places = b.expand(b.iota(COLUMNS, i64), [ROWS, COLUMNS])
    chosen = b.where(b.eq(places, b.expand(b.unsqueeze(target, 1), [ROWS, COLUMNS])), x, b.zeros_like(x))
    return b.sub(b.add(b.log(total), b.squeeze(largest, [1])), b.sum(chosen, [1]))


def _gelu(x: Any, bias: Any, residual: Any) -> Any:
    x = b.add(x, _over(bias, x))
    return b.add(b.mul(b.mul(x, 0.5), b.add(b.erf(b.mul(x, 0.7071067811865476)), 1.0)), residual)


def _matrix() -> torch.Tensor:
    return torch.randn(ROWS, COLUMNS)


def _statistics(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x.mean(1, keepdim=True), (x.var(1, unbiased=False, keepdim=True) + 1e-5).rsqrt()


def _norm_inputs() -> list[torch.Tensor]:
    x = _matrix()
    return [_matrix(), x, torch.randn(COLUMNS), *_statistics(x)]


FORMS = {
    "softmax": Form([_MATRIX], _softmax, lambda x: x.softmax(1), lambda: [_matrix()]),
    "softmax backward": Form(
        [_MATRIX] * 2,
        _softmax_backward,
        lambda g, out: torch.ops.aten._softmax_backward_data(g, out, 1, torch.float32),
        lambda: [_matrix(), _matrix().softmax(1)],
    ),
    "layer norm": Form(
        [_MATRIX, _LINE, _LINE],
        _layer_norm,
        lambda x, w, bias: F.layer_norm(x, (COLUMNS,), w, bias),
        lambda: [_matrix(), torch.randn(COLUMNS), torch.randn(COLUMNS)],
    ),
    "layer norm backward (input)": Form(
        [_MATRIX, _MATRIX, _LINE, _ROW, _ROW],
        _layer_norm_backward,
        lambda g, x, w, mean, rstd: torch.ops.aten.native_layer_norm_backward(
            g, x, [COLUMNS], mean, rstd, w, w, [True, False, False]
        )[0],
        _norm_inputs,
    ),
    "layer norm backward (weights)": Form(
        [_MATRIX, _MATRIX, _ROW, _ROW],
        _layer_norm_weights,
        lambda g, x, mean, rstd: torch.ops.aten.native_layer_norm_backward(
            g, x, [COLUMNS], mean, rstd, x[0], x[0], [False, True, True]
        )[1:],
        lambda: [t for i, t in enumerate(_norm_inputs()) if i != 2],
    ),
    "cross entropy": Form(
        [_MATRIX, f"tensor<{ROWS}xi64>"],
        _cross_entropy,
        lambda x, target: F.cross_entropy(x, target, reduction="none"),
        lambda: [_matrix(), torch.randint(0, COLUMNS, (ROWS,))],
    ),
    "bias, gelu, residual": Form(
        [_MATRIX, _LINE, _MATRIX],
        _gelu,
        lambda x, bias, residual: F.gelu(x + bias) + residual,
        lambda: [_matrix(), torch.randn(COLUMNS), _matrix()],
    ),
    "bias gradient": Form([_MATRIX], lambda g: b.sum(g, [0]), lambda g: g.sum(0), lambda: [_matrix()]),
    "sum of all": Form([_MATRIX], lambda g: b.sum(g, []), lambda g: g.sum(), lambda: [_matrix()]),
    "narrow bias gradient": Form(
        ["tensor<65536x32xf32>"],
        lambda g: b.sum(g, [0]),
        lambda g: g.sum(0),
        lambda: [torch.randn(65536, 32)],
    ),
    "softmax of short rows": Form(
        ["tensor<65536x10xf32>"],
        _softmax,
        lambda x: x.softmax(1),
        lambda: [torch.randn(65536, 10)],
    ),
    "transposed copy": Form(
        ["tensor<1024x1024xf32>"],
        lambda x: b.mul(b.t(x), 2.0),
        lambda x: (x.t() * 2).contiguous(),
        lambda: [torch.randn(1024, 1024)],
    ),
}


def blocks(calls: Sequence[Callable[[], Any]], rounds: int, seconds: float) -> list[float]:
    """The milliseconds of one call of each contender: the median of `rounds` blocks, in turns."""
    counts = []
    for call in calls:
        call()
        start = time.perf_counter()
        call()
        counts.append(max(3, int(seconds / (time.perf_counter() - start))))
    found: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for times, call, count in zip(found, calls, counts, strict=True):
            start = time.perf_counter()
            for _ in range(count):
                call()
            times.append((time.perf_counter() - start) / count * 1e3)
    return [statistics.median(times) for times in found]


def measure(form: Form, threads: int, rounds: int, *, inductor: bool) -> tuple[list[float], float]:
    """Milliseconds of ours, eager's and inductor's, and our relative error against eager in float64."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    inputs = form.inputs()
    ours = KernelModule(form.types, form.build).compiled(driver="local-task" if threads > 1 else "local-sync")
    exact = form.torch(*[t.double() if t.is_floating_point() else t for t in inputs])
    found = ours(inputs)
    wanted = list(exact) if isinstance(exact, tuple) else [exact]
    error = max(
        ((f.double() - w).abs().max() / w.abs().max()).item() for f, w in zip(found, wanted, strict=True)
    )
    calls: list[Callable[[], Any]] = [lambda: ours(inputs), lambda: form.torch(*inputs)]
    with torch.no_grad():
        if inductor:
            torch._dynamo.reset()
            compiled = torch.compile(form.torch)
            calls.append(lambda: compiled(*inputs))
        return blocks(calls, rounds, 0.05), error


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(FORMS)}")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--no-inductor", action="store_true")
    args = parser.parse_args(argv)
    print(f"{'kernel':32} {'ours':>8} {'eager':>8} {'inductor':>8} {'x eager':>8} {'x inductor':>10}   error")
    for name in args.names or FORMS:
        reason = KernelModule(FORMS[name].types, FORMS[name].build).why_not_covered()
        if reason:
            print(f"{name:32} not covered: {reason}", flush=True)
            continue
        times, error = measure(FORMS[name], args.threads, args.rounds, inductor=not args.no_inductor)
        ratios = [t / times[0] for t in times[1:]]
        shown = [
            *(f"{t:8.3f}" for t in times),
            *([] if len(times) > 2 else [" " * 8]),
            *(f"{r:8.2f}" for r in ratios),
        ]
        print(f"{name:32} {' '.join(shown)}   {error:.1e}", flush=True)


if __name__ == "__main__":
    main()
