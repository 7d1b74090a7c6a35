# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ops that cannot be compiled run on the host, between compiled segments: values, gradients, effects, counts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._dynamo.exc import BackendCompilerFailed

import flambeau

RUNGS = ("imported", "functional", "partitioned", "cpu")


def outcome(f: Callable[..., Any], *inputs: torch.Tensor) -> list[torch.Tensor]:
    """Outputs, then the gradients of the inputs that require one."""
    given = [x.detach().clone().requires_grad_(x.requires_grad) for x in inputs]
    outputs = f(*given)
    outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
    wanted = [x for x in given if x.requires_grad]
    if wanted:
        total = sum((o * o).sum() for o in outputs if o.requires_grad)
        assert isinstance(total, torch.Tensor)
        return [*outputs, *torch.autograd.grad(total, wanted)]
    return [*outputs, *given]  # what was written


def assert_like_eager(f: Callable[..., Any], *inputs: torch.Tensor, rung: str, **options: Any) -> None:
    before = flambeau.counters["graphs.eager"], flambeau.counters["ops.fallback"]
    torch.manual_seed(0)
    expected = outcome(f, *inputs)
    found = outcome(flambeau.compile(f, backend=rung, fullgraph=True, options=options), *inputs)
    assert flambeau.counters["graphs.eager"] == before[0], "the graph ran in eager as a whole"
    assert flambeau.counters["ops.fallback"] > before[1], "nothing ran on the host"
    for position, (e, g) in enumerate(zip(expected, found, strict=True)):
        assert e.stride() == g.stride(), position
        assert g.dtype == e.dtype and g.shape == e.shape, position
        assert (g - e).abs().max() <= 1e-5 * e.abs().max(), f"{position}: {g} instead of {e}"


def between(x: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    h = torch.tanh(x @ w)
    y = torch.special.i0(h)
    z = (y * h).sum(1).exp()
    return torch.special.i0e(z[:4, None] * torch.eye(4) + y[:4, :4]), z


@pytest.mark.parametrize("rung", RUNGS)
def test_gradients_pass_through_ops_on_the_host(rung: str) -> None:
    torch.manual_seed(0)
    x, w = torch.randn(6, 8, requires_grad=True), torch.randn(8, 5, requires_grad=True)
    assert_like_eager(between, x, w, rung=rung)


@pytest.mark.parametrize("partitioner", ["default", "min-cut"])
def test_both_partitioners_carry_tapes(partitioner: str) -> None:
    torch.manual_seed(0)
    x, w = torch.randn(6, 8, requires_grad=True), torch.randn(8, 5, requires_grad=True)
    assert_like_eager(between, x, w, rung="partitioned", partitioner=partitioner)


def test_a_backward_may_run_twice() -> None:
    x = torch.rand(4, requires_grad=True)
    y = flambeau.compile(lambda x: torch.special.i0(x.exp()).sum(), backend="cpu")(x)
    first = torch.autograd.grad(y, x, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(y, x)[0])


@torch.library.custom_op("flambeau_tests::cube", mutates_args=())
def cube(x: torch.Tensor, scale: float) -> torch.Tensor:
    return scale * x**3


cube.register_fake(lambda x, scale: torch.empty_like(x))


def _save(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.save_for_backward(inputs[0])
    ctx.scale = inputs[1]


def _cube_backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor, None]:
    (x,) = ctx.saved_tensors
    return 7 * ctx.scale * x**2 * g, None  # not the true factor, 3: so it is seen that this ran


cube.register_autograd(_cube_backward, setup_context=_save)


@pytest.mark.parametrize("rung", RUNGS)
def test_a_custom_op_has_its_own_derivative(rung: str) -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        return torch.sin(cube(torch.cos(x) * 2, 0.5) + x).mul(2).exp()

    assert_like_eager(f, torch.randn(5, requires_grad=True), rung=rung)


@torch.library.custom_op("flambeau_tests::bump", mutates_args=("x",))
def bump(x: torch.Tensor, by: float) -> None:
    x += by


@pytest.mark.parametrize("rung", RUNGS)
def test_a_custom_op_that_writes_its_argument(rung: str) -> None:
    def f(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = y * 2
        bump(h, 3.0)
        bump(x, 1.0)
        return h * x

    assert_like_eager(f, torch.rand(4), torch.rand(4), rung=rung)


@pytest.mark.parametrize("rung", RUNGS)
def test_sizes_that_depend_on_data(rung: str) -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        positions = torch.nonzero(x > 0)
        return (positions * 3 + 1).to(torch.float32).exp().neg()

    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        assert_like_eager(f, torch.tensor([0.5, -1.0, 2.0, 0.25]), rung=rung)


def test_named_ops_stay_on_the_host_and_are_no_error() -> None:
    options = {"force_eager": ["exp"], "min_block_size": 1, "fallback": "error"}
    assert_like_eager(lambda x: x.sin().exp().cos(), torch.rand(4), rung="cpu", **options)


def test_strict_compilation_names_op_and_line() -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        return torch.special.i0(x) + 1

    line = f.__code__.co_firstlineno + 1
    with pytest.raises(
        BackendCompilerFailed, match=rf"(?s)test_host_segments\.py:{line}.*aten\.i0.*on the host"
    ):
        flambeau.compile(f, options={"fallback": "error"})(torch.ones(2))
