# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The loop forms against the interpreter: drawn shapes, tails, sizes 1 and 0, unknown sizes, special values."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.dialects import build as b
from tests.kernels.harness import KernelModule


def over(value: Any, like: Any) -> Any:
    return b.expand_to(value, like)


def softmax(x: Any) -> Any:
    e = b.exp(b.sub(x, over(b.amax(x, [1], True), x)))
    return b.div(e, over(b.sum(e, [1], True), e))


def log_softmax(x: Any) -> Any:
    shifted = b.sub(x, over(b.amax(x, [1], True), x))
    return b.sub(shifted, over(b.log(b.sum(b.exp(shifted), [1], True)), x))


def softmax_backward(g: Any, x: Any) -> Any:
    dot = b.mul(g, x)
    return b.sub(dot, b.mul(x, over(b.sum(dot, [1], True), x)))


def layer_norm(x: Any, y: Any) -> Any:
    mean = b.mean(x, [1], True)
    centred = b.sub(x, over(mean, x))
    rstd = b.rsqrt(b.add(b.mean(b.mul(centred, centred), [1], True), 1e-5))
    return b.add(b.mul(centred, over(rstd, x)), y), mean, rstd


def layer_norm_weights(g: Any, x: Any) -> Any:
    return b.sum(b.mul(g, x), [0]), b.sum(g, [0], True)


def column_softmax(x: Any) -> Any:
    e = b.exp(b.sub(x, over(b.amax(x, [0], True), x)))
    return b.div(e, over(b.sum(e, [0], True), e))


def spread(x: Any, y: Any) -> Any:
    """The mean of all added to each."""
    return b.add(y, over(b.mean(x, [0, 1], True), x))


FORMS: dict[str, tuple[int, Callable[..., Any]]] = {
    "pointwise": (2, lambda x, y: b.mul(b.tanh(x), b.exp(y))),
    "several results": (2, lambda x, y: (b.add(x, y), b.gt(x, y), b.neg(x))),
    "softmax": (1, softmax),
    "log softmax": (1, log_softmax),
    "softmax backward": (2, softmax_backward),
    "layer norm": (2, layer_norm),
    "sums of rows": (2, lambda x, y: (b.sum(b.mul(x, y), [1]), b.amin(x, [1]))),
    "sums of columns": (2, layer_norm_weights),
    "softmax of columns": (1, column_softmax),
    "sum of all": (1, lambda x: b.sum(x, [])),
    "extremes of all": (1, lambda x: (b.amax(x, []), b.amin(x, [0, 1], True))),
    "mean of all, spread": (2, spread),
}
REDUCES_EMPTY = ("sum", "mean", "weights")


@cache
def compiled(name: str, shape: tuple[int, ...] | None) -> tuple[KernelModule, Callable[..., Any]]:
    """A form for matrices of a shape, or of unknown sizes."""
    count, build = FORMS[name]
    type_ = "tensor<?x?xf32>" if shape is None else f"tensor<{shape[0]}x{shape[1]}xf32>"
    module = KernelModule([type_] * count, build)
    return module, module.compiled()


def matrices(name: str, shape: Sequence[int], seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator) / 2 + 1 for _ in range(FORMS[name][0])]


def error(found: torch.Tensor, exact: torch.Tensor) -> float:
    scale = exact.abs().max().item() if exact.numel() else 1.0
    return ((found.double() - exact).abs().max().item() / (scale or 1.0)) if exact.numel() else 0.0


def assert_as_eager(name: str, shape: tuple[int, ...] | None, inputs: Sequence[torch.Tensor]) -> None:
    """At most twice eager's error, and 1e-6, against float64."""
    module, function = compiled(name, shape)
    eager = module.interpret(inputs)
    exact = KernelModule(
        [f"tensor<{'x'.join(map(str, x.shape))}xf64>" for x in inputs], FORMS[name][1]
    ).interpret([x.double() for x in inputs])
    for found, wanted, double in zip(function(inputs), eager, exact, strict=True):
        assert found.shape == wanted.shape and found.dtype == wanted.dtype
        if not found.is_floating_point():
            assert torch.equal(found, wanted)
        else:
            assert error(found, double) <= max(1e-6, 2 * error(wanted, double))


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=6, deadline=None)
@given(st.integers(1, 70), st.integers(1, 300), st.integers(0, 99))
def test_drawn_static_shapes(name: str, rows: int, columns: int, seed: int) -> None:
    assert_as_eager(name, (rows, columns), matrices(name, (rows, columns), seed))


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 200), st.integers(1, 400), st.integers(0, 99))
def test_drawn_unknown_sizes(name: str, rows: int, columns: int, seed: int) -> None:
    assert_as_eager(name, None, matrices(name, (rows, columns), seed))


@pytest.mark.parametrize("shape", [(1, 1), (1, 16), (16, 1), (1, 17), (33, 64), (3, 20_000)])
@pytest.mark.parametrize("name", FORMS)
def test_borders(name: str, shape: tuple[int, int]) -> None:
    assert_as_eager(name, None, matrices(name, shape, 0))
    if "all" not in name and shape not in ((1, 1), (16, 1), (1, 16), (1, 17)):
        assert_as_eager(name, shape, matrices(name, shape, 0))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("name", ["pointwise", "several results", "sums of columns", "sum of all"])
def test_no_elements(name: str, shape: tuple[int, int]) -> None:
    module, function = compiled(name, None)
    inputs = matrices(name, shape, 0)
    for found, wanted in zip(function(inputs), module.interpret(inputs), strict=True):
        assert found.shape == wanted.shape and torch.equal(found, wanted)


SPECIAL = (0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e-45, -1e-40, 1e15, 1.0)


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 70), st.data())
def test_special_values(name: str, rows: int, columns: int, data: st.DataObject) -> None:
    """inf and NaN where eager has them."""
    values = st.lists(st.sampled_from(SPECIAL), min_size=rows * columns, max_size=rows * columns)
    inputs = [torch.tensor(data.draw(values)).view(rows, columns) for _ in range(FORMS[name][0])]
    module, function = compiled(name, None)
    for found, wanted in zip(function(inputs), module.interpret(inputs), strict=True):
        assert torch.equal(found.isnan(), wanted.isnan())
        assert torch.equal(found.isinf(), wanted.isinf())


@dataclass(frozen=True)
class Sum:
    """A sum of `shape` over `dims`, long enough that the order of additions shows."""

    shape: tuple[int, ...]
    dims: tuple[int, ...]


@pytest.mark.parametrize("case", [Sum((2, 100_000), (1,)), Sum((100_000, 3), (0,)), Sum((1_000_003,), (0,))])
def test_long_sums_err_no_more_than_eager(case: Sum) -> None:
    x = torch.rand(*case.shape) + 1
    module = KernelModule(
        [f"tensor<{'x'.join(map(str, case.shape))}xf32>"], lambda value: b.sum(value, list(case.dims))
    )
    exact = x.double().sum(case.dims)
    (found,) = module.compiled()([x])
    assert error(found, exact) <= max(2e-7, error(x.sum(case.dims), exact))


def test_sums_of_negative_zeros_are_zero() -> None:
    x = torch.full((3, 20), -0.0)
    for dim in (0, 1):
        (found,) = KernelModule(["tensor<3x20xf32>"], lambda v, dim=dim: b.sum(v, [dim])).compiled()([x])
        assert not found.signbit().any()


def test_denormals_are_kept() -> None:
    x = torch.full((4, 16), 1e-45)
    (found,) = KernelModule(["tensor<4x16xf32>"], lambda v: b.add(v, v)).compiled(driver="local-task")([x])
    assert torch.equal(found, x + x) and found.ne(0).all()


def test_a_sum_that_is_read_along_both_axes_is_not_covered() -> None:
    """It has no single iteration space: IREE computes it wrong, we refuse it."""

    def pairs(q: Any) -> Any:
        total = b.sum(q, [1])
        return b.add(b.expand(b.unsqueeze(total, 0), [4, 4]), b.expand(b.unsqueeze(total, 1), [4, 4]))

    module = KernelModule(["tensor<4x4xf32>"], pairs)
    text = module.run("builtin.module(schedule-kernels)")
    assert "flambeau.schedule" not in text
    assert "a reduction is read at another place than it is computed" in text


def edited(module: KernelModule, **changes: object) -> str:
    """The module with the schedule that the cost model chooses, some entries of which are changed."""
    chosen = module.run("builtin.module(decompose{before=lowering},cse,schedule-kernels)")
    for name, value in changes.items():
        chosen, count = re.subn(rf"\b{name} = [^,}}]+", f"{name} = {value}", chosen)
        assert count == 1
    return chosen


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(sorted(FORMS)),
    st.sampled_from([1, 2, 8, 32, 128]),
    st.integers(1, 9),
    st.integers(0, 3),
    st.sampled_from([1, 2, 64]),
    st.booleans(),
)
def test_an_edited_schedule_changes_the_loops_and_not_the_result(
    name: str, vector: int, rows: int, tiles: int, block: int, keep: bool
) -> None:
    count, build = FORMS[name]
    module = KernelModule(["tensor<11x150xf32>"] * count, build)
    form = "rows" if 'form = "rows"' in edited(module) else "columns"
    columns = tiles * vector if form == "columns" else 0
    module.text = edited(
        module, vector=vector, rows=rows, columns=columns, block=block, keep=str(keep).lower()
    )
    inputs = matrices(name, (11, 150), 0)
    for found, wanted in zip(module.compiled()(inputs), module.interpret(inputs), strict=True):
        assert torch.allclose(found.float(), wanted.float(), rtol=3e-6, atol=3e-6)


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum of all": lambda x: b.sum(x, []),
    "mean of all": lambda x: (b.mean(x, [], True), b.amax(x, [])),
    "columns": lambda x: (b.sum(x, [0]), b.amax(x, [0])),
    "rows": lambda x: (b.amin(x, [1]), b.sum(b.mul(x, x), [1], True)),
}
ELEMENTS = {
    "f32": torch.float32,
    "f64": torch.float64,
    "bf16": torch.bfloat16,
    "i32": torch.int32,
    "ui8": torch.uint8,
}


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_in_two_steps(name: str, element: str) -> None:
    """Parts in parallel, then their reduction: the same as in one step, up to rounding."""
    if name == "mean of all" and element in ("i32", "ui8"):
        pytest.skip("means are of floats")
    x = (torch.rand(12, 40) * 250).to(ELEMENTS[element])
    module = KernelModule([f"tensor<12x40x{element}>"], REDUCTIONS[name])
    module.text = edited(module, parts=4)
    assert module.lowered().count('"flow.dispatch"') == 2
    for found, wanted in zip(module.compiled()([x]), module.interpret([x]), strict=True):
        assert found.dtype == wanted.dtype and found.shape == wanted.shape
        assert torch.allclose(found.double(), wanted.double(), rtol=1e-2 if element == "bf16" else 1e-6)


def test_a_long_sum_of_all_is_split() -> None:
    module = KernelModule(["tensor<1024x1024xf32>"], lambda x: b.sum(x, []))
    x = torch.rand(1024, 1024)
    assert module.lowered().count('"flow.dispatch"') == 2
    (found,) = module.compiled()([x])
    assert error(found, x.double().sum()) <= 2e-7


@pytest.mark.parametrize("name", FORMS)
def test_work_groups_on_threads(name: str) -> None:
    """Many work groups, with tails in both dims, on the driver with worker threads: as on the one without."""
    count, build = FORMS[name]
    inputs = matrices(name, (1031, 517), 0)
    module = KernelModule(["tensor<1031x517xf32>"] * count, build)
    alone = module.compiled()(inputs)
    for _ in range(3):
        for found, wanted in zip(module.compiled(driver="local-task")(inputs), alone, strict=True):
            assert torch.equal(found, wanted)
