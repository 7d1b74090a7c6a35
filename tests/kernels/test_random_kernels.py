# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Kernels drawn at random, of arithmetic, reductions and views in any order: covered ones compute what eager does.

What has no single iteration space must be refused: a guess would be a wrong result.
"""

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flambeau.dialects import build as b
from flambeau.dialects.types import shape_of
from tests.kernels.harness import KernelModule

Step = Callable[[Any, Any, int], Any]  # two values of the square shape, a number -> one of that shape

SIZE = 12


def over(value: Any, like: Any) -> Any:
    return b.expand_to(value, like)


def reduced(name: str) -> Step:
    def step(x: Any, y: Any, n: int) -> Any:
        return over(getattr(b, name)(x, [n % 2], True), x)

    return step


def swapped_sum(x: Any, y: Any, n: int) -> Any:
    """A sum that is read along the other dim."""
    return b.expand(b.unsqueeze(b.sum(x, [n % 2]), n // 2 % 2), [SIZE, SIZE])


def shifted(x: Any, y: Any, n: int) -> Any:
    dim, by = n % 2, 1 + n % 5
    return b.cat([b.slice(x, dim, by, SIZE, 1), b.slice(y, dim, 0, by, 1)], dim)


def padded(x: Any, y: Any, n: int) -> Any:
    dim, by = n % 2, 1 + n % 4
    pads = [0, 0, by, 0] if dim == 0 else [by, 0]
    return b.constant_pad_nd(b.slice(x, dim, 0, SIZE - by, 1), pads, float(n))


def viewed(x: Any, y: Any, n: int) -> Any:
    inner = (2, 3, 4, 6)[n % 4]
    parts = b.view(x, [SIZE, SIZE // inner, inner])
    return b.view(b.permute(parts, [(0, 1, 2), (0, 2, 1), (1, 0, 2), (2, 1, 0)][n // 4 % 4]), [SIZE, SIZE])


def parts_reduced(x: Any, y: Any, n: int) -> Any:
    """A reduction over a part of a dim, as of a group norm."""
    inner = (2, 3, 4, 6)[n % 4]
    parts = b.view(x, [SIZE, SIZE // inner, inner])
    return b.view(over(b.sum(parts, [[2], [1], [1, 2], [0, 2]][n // 4 % 4], True), parts), [SIZE, SIZE])


STEPS: dict[str, Step] = {
    "add": lambda x, y, n: b.add(x, y),
    "mul": lambda x, y, n: b.mul(x, y),
    "sub of a number": lambda x, y, n: b.sub(x, float(n) / 4),
    "abs": lambda x, y, n: b.abs(x),
    "where": lambda x, y, n: b.where(b.gt(x, y), x, b.neg(y)),
    "maximum": lambda x, y, n: b.maximum(x, y),
    "sum": reduced("sum"),
    "mean": reduced("mean"),
    "amax": reduced("amax"),
    "swapped sum": swapped_sum,
    "mean of all": lambda x, y, n: over(b.mean(x, [0, 1], True), x),
    "transpose": lambda x, y, n: b.t(x),
    "flip": lambda x, y, n: b.flip(x, [n % 2]),
    "shifted": shifted,
    "padded": padded,
    "viewed": viewed,
    "parts reduced": parts_reduced,
    "column": lambda x, y, n: b.expand(b.slice(x, n % 2, n % 5, n % 5 + 1, 1), [SIZE, SIZE]),
    "slice written": lambda x, y, n: b.slice_scatter(x, b.slice(y, n % 2, 2, 7, 1), n % 2, 3, 8, 1),
}

programs = st.lists(
    st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 9), st.integers(0, 9), st.integers(0, 31)),
    min_size=1,
    max_size=5,
)


def write(program: list[tuple[str, int, int, int]], inputs: tuple[Any, ...]) -> list[Any]:
    """The values that nothing uses, or reductions of them."""
    values, used = list(inputs), set()
    for name, first, second, number in program:
        # The last value is used more often than not, so that steps build on each other.
        x = values[-1] if first < 6 else values[first % len(values)]
        y = values[second % len(values)]
        used |= {x, y}
        values.append(STEPS[name](x, y, number))
    unused = [v for v in values[len(inputs) :] if v not in used or v is values[-1]]
    assert all(shape_of(v) == [SIZE, SIZE] for v in unused)
    return [b.mul(v, 1.0) for v in unused]


COVERED = {"yes": 0, "no": 0}


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
@given(programs)
def test_drawn_kernels(program: list[tuple[str, int, int, int]]) -> None:
    type_ = f"tensor<{SIZE}x{SIZE}xf32>"
    module = KernelModule([type_, type_], lambda *inputs: write(program, inputs))
    lowered = module.run("builtin.module(decompose{before=lowering},cse,schedule-kernels,lower-kernels)")
    covered = "flambeau.not_covered" not in lowered
    COVERED["yes" if covered else "no"] += 1
    if not covered:
        return
    torch.manual_seed(0)
    inputs = [torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)]
    for found, wanted in zip(module.compiled()(inputs), module.interpret(inputs), strict=True):
        scale = wanted.abs().max().item() + 1e-30
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max().item() <= 2e-6 * scale + 1e-6


def test_drawn_kernels_are_covered_more_often_than_not() -> None:
    if COVERED["yes"] + COVERED["no"] > 50:
        assert COVERED["yes"] > COVERED["no"]
