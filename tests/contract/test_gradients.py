# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""C26 to C38: gradients: who has one, grad modes, custom functions, second derivatives, several backwards."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import flambeau
from tests.contract.conftest import State
from tests.contract.rungs import RUNGS, counted, gradients, signatures, stages, strict
from tests.oracle import assert_like_eager, close, leaf, numbers, of_leaf, plain, weights_like
from tests.programs import Half, Same, WritesGradient


def test_c26_all_mixes_of_requires_grad(rung: str) -> None:
    def function(*arguments: torch.Tensor) -> Any:
        pairs = [arguments[i : i + 2] for i in range(0, len(arguments), 2)]
        return [(a.cos(), b.cos(), a * b) for a, b in pairs]

    mixes = [(a, b) for a in (leaf, numbers) for b in (leaf, numbers)]
    make = plain(*(partial(made, 3) for mix in mixes for made in mix))
    assert_like_eager(function, make, backend=rung)


def test_c26_an_input_starts_to_require_grad(rung: str) -> None:
    def write(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        x.add_(y)
        return x.exp()

    assert_like_eager(write, plain(lambda: numbers(3), lambda: leaf(3)), backend=rung)

    def ask(x: torch.Tensor) -> torch.Tensor:
        x.requires_grad_()
        return x * x

    assert_like_eager(ask, plain(lambda: numbers(3)), backend=rung, fullgraph=False)


def test_c27_callers_without_grad_get_an_inference_graph(rung: str, tmp_path: Path) -> None:
    compiled = strict(lambda x, w: (x * w).sin(), rung, options={"dump": tmp_path})
    x, w = numbers(3), leaf(3)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found = compiled(x, w)
            assert not found.requires_grad and found.is_inference() == (mode is torch.inference_mode)
            close(found, (x * w).sin(), "output")
    assert compiled(x, w).requires_grad
    assert not compiled(x, numbers(3)).requires_grad
    if rung != RUNGS[0]:
        functions = [set(signatures(stages(tmp_path, graph)["partition"])) for graph in range(4)]
        assert functions == [{"forward"}, {"forward"}, {"forward", "backward"}, {"forward"}]


def test_c27_enable_grad_and_views_under_no_grad(rung: str) -> None:
    def function(x: torch.Tensor) -> Any:
        with torch.enable_grad():
            y = x.sin() * 2
        return y, x * 3, x.view(-1)

    def run(function: Callable[..., Any]) -> list[torch.Tensor]:
        x = leaf(3, 2)
        with torch.no_grad():
            y, z, v = function(x)
        assert [t.requires_grad for t in (y, z, v)] == [True, False, True]
        return [y, z, v, *torch.autograd.grad(y, x, weights_like(y))]

    for found, expected in zip(run(strict(function, rung)), run(function), strict=True):
        close(found, expected, "output or gradient")


def test_c27_views_of_views_made_under_no_grad(rung: str) -> None:
    """They have a history, which ends in the view without one."""

    def function(x: torch.Tensor) -> Any:
        y = x * 2
        with torch.no_grad():
            v, u = x[1:], y[1:]
        return v.t(), u.t(), v.t()[:1].unbind(), y, v.t() * y[0, 0]

    assert_like_eager(
        function, of_leaf(lambda a: [a.sin()], 3, 2), backend=rung, afterwards=("nothing", "write")
    )
    x = leaf(3, 2)
    found, expected = strict(function, rung)(x), function(x)
    for view, wanted in zip((*found[:2], *found[2]), (*expected[:2], *expected[2]), strict=True):
        assert view.requires_grad and not view.is_leaf
        for one in (view, wanted):
            assert torch.autograd.grad(one.sum(), x, allow_unused=True) == (None,)

    def alone(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            v = (x * 2)[1:]
        return v.t()

    def of_intermediate(x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        with torch.no_grad():
            v = y[1:]
        return v.t()

    for function in (alone, of_intermediate):
        assert_like_eager(function, plain(lambda: leaf(3, 2)), backend=rung, afterwards=("nothing", "write"))


def test_c28_grad_mode_left_changed(rung: str) -> None:
    def function(x: torch.Tensor) -> Any:
        y = x * x
        torch.set_grad_enabled(False)
        return y.clone(), y

    def run(function: Callable[..., Any]) -> list[bool]:
        try:
            a, b = function(leaf(3))
            return [a.requires_grad, b.requires_grad, torch.is_grad_enabled()]
        finally:
            torch.set_grad_enabled(True)

    assert run(strict(function, rung)) == run(function) == [False, True, False]


@pytest.mark.parametrize("shape", [(2, 3), (3, 3)], ids=["oblong", "square"])
def test_c29_detached_transposed_output(shape: tuple[int, ...], rung: str) -> None:
    def function(x: torch.Tensor) -> Any:
        a = (x + 1).t()
        return a.detach(), a

    assert_like_eager(function, plain(lambda: leaf(*shape)), backend=rung)


def test_c29_detach_and_no_grad_stop_gradients(rung: str) -> None:
    def function(x: torch.Tensor, y: torch.Tensor) -> Any:
        h = x.tanh() * y.detach()
        with torch.no_grad():
            s = h.sum()
        return h * s, s, (x * 2).detach() * y, x.detach()

    assert_like_eager(function, plain(lambda: leaf(3, 2), lambda: leaf(3, 2)), backend=rung)


def test_c30_modules_and_parameters(rung: str) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    leaves = list(model.parameters())
    assert_like_eager(model, lambda: (leaves, [numbers(2, 3)]), compiled=strict(model, rung))


def test_c31_gradients_taken_inside(rung: str) -> None:
    def function(t: torch.Tensor, x: torch.Tensor) -> Any:
        value, pull = torch.func.vjp(torch.sin, t)
        return (
            torch.func.grad(lambda t: (t * t).sum())(t),
            torch.func.vmap(torch.sum)(x),
            torch.func.jacrev(torch.cos)(t),
            pull(torch.ones_like(value))[0],
        )

    assert_like_eager(function, plain(lambda: numbers(3), lambda: numbers(2, 3)), backend=rung)
    compiled = strict(function, rung)
    with torch.no_grad():
        for factor in (1, 2):
            t = numbers(3) * factor
            found = compiled(t, numbers(2, 3) * factor)
            close(found[0], 2 * t, "gradient")
            close(found[1], (numbers(2, 3) * factor).sum(1), "sums")


def test_c31_gradients_of_gradients_taken_inside(rung: str) -> None:
    def function(t: torch.Tensor, w: torch.Tensor) -> Any:
        inner = lambda t: (torch.tanh(t * w) * t.exp() * t.detach()).sum()  # noqa: E731
        return torch.func.grad(inner)(t), torch.func.grad(lambda t: torch.func.grad(inner)(t).sum())(t)

    assert_like_eager(function, plain(lambda: leaf(3), lambda: leaf(3)), backend=rung, ulps=64)


def test_c31_autograd_grad_inside(rung: str) -> None:
    """Of a network, with respect to its input and to a weight; the loss is differentiated once more."""

    def function(x: torch.Tensor, w: torch.Tensor) -> Any:
        h = F.gelu(torch.tanh(x @ w)) + F.silu(x @ w)
        y = (
            torch.sigmoid(h)[:, 1:].softmax(1)
            + F.softplus(h[:, 0:1])
            + torch.relu(h)[:, 0:1]
            + h[:, 0].exp()[:, None]
        )
        gradients = torch.autograd.grad((y * y).sum(), [x, w], create_graph=True)
        return [g * 2 for g in gradients]

    with torch._dynamo.config.patch(trace_autograd_ops=True):
        make = plain(lambda: leaf(2, 3), lambda: leaf(3, 4))
        assert_like_eager(function, make, backend=rung, ulps=128, afterwards=("nothing",))


def test_c32_second_derivatives(rung: str) -> None:
    """Eager's values, also with respect to the tangents, and where there is another way to the leaf."""

    def run(function: Callable[..., Any]) -> list[torch.Tensor]:
        w, scale = (leaf(size, dtype=torch.float64) for size in (3, 2))
        y = function(numbers(2, 3, dtype=torch.float64), w)
        (first,) = torch.autograd.grad(y, w, scale.exp(), create_graph=True)
        penalised = (first * first).sum() + w.sum()
        second = torch.autograd.grad(penalised, [w, scale], create_graph=True)
        third = torch.autograd.grad(second[0].sum(), w)
        return [y, first, *second, *third]

    function = lambda x, w: ((x * w).exp().sum(1) * 0.1).tanh()  # noqa: E731
    for found, expected in zip(run(strict(function, rung)), run(function), strict=True):
        close(found, expected, "value or derivative", ulps=64)


def test_c33_second_derivatives_inside_one_graph(rung: str) -> None:
    """Of layer norm, for four batch sizes with one compilation."""

    def function(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        y = F.layer_norm(x, (4,), w, b)
        (g,) = torch.autograd.grad((y * y * y).sum(), w, create_graph=True)
        return (g * g).sum()

    with torch._dynamo.config.patch(trace_autograd_ops=True), counted("graphs") as graphs:
        compiled = strict(function, rung, dynamic=True)
        for batch in (2, 3, 5, 7):
            make = plain(lambda n=batch: numbers(n, 4), lambda: leaf(4), lambda: leaf(4))
            assert_like_eager(function, make, compiled=compiled, ulps=256, afterwards=("nothing",))
        assert graphs() == 1


def _message(function: Callable[..., Any], *arguments: Any) -> str:
    """What a call raises: the message of the innermost RuntimeError."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        function(*arguments)
    error: BaseException = getattr(caught.value, "inner_exception", caught.value)
    return str(error)


@pytest.mark.parametrize(
    ("function", "make", "text"),
    [
        (lambda x: x.set_(torch.ones(2)), lambda: leaf(3), "a leaf Variable that requires grad"),
        (lambda x: x.mul_(2), lambda: leaf(3), "a leaf Variable that requires grad"),
        (lambda x: x.expand(3, 3).add_(1), lambda: numbers(3), "more than one element of the written-to"),
    ],
    ids=["set", "leaf", "expanded"],
)
def test_c34_illegal_writes_fail_as_in_eager(function: Any, make: Any, text: str, rung: str) -> None:
    wanted = _message(function, make())
    assert text in wanted
    x = make()
    assert text in _message(flambeau.compile(function, backend=rung), x)
    close(x.detach(), make().detach(), "a failed call must not write")


class Mixed(torch.autograd.Function):
    """Two outputs, one without gradient; a saved intermediate; a gradient that is None; a saved value as gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factor: float, y: torch.Tensor) -> Any:
        h = x.exp()
        whole = x.floor()
        ctx.save_for_backward(h, y)
        ctx.mark_non_differentiable(whole)
        ctx.factor = factor
        return h * factor, whole

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor, _: torch.Tensor) -> Any:
        h, y = ctx.saved_tensors
        return g * h * ctx.factor * 3, None, y


def test_c35_custom_function(rung: str) -> None:
    def function(x: torch.Tensor, y: torch.Tensor) -> Any:
        a, b = Mixed.apply(x * 2, 1.5, y)
        return Half.apply(a, y.sin()), b

    assert_like_eager(function, plain(lambda: leaf(3), lambda: leaf(3)), backend=rung)
    x = leaf(3)
    close(gradients(strict(lambda x: Half.apply(x, torch.ones(3)), rung)(x), x)[0], torch.full((3,), 0.5), "")


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: Same.apply(x), "under another history"),
        (lambda x: WritesGradient.apply(x.sin()), "writes its inputs, gradients"),
    ],
    ids=["returns-argument", "writes-gradient"],
)
def test_c35_custom_functions_that_share_memory(function: Any, reason: str, rung: str, state: State) -> None:
    make = plain(lambda: leaf(3, 4))
    with state.eager(reason):
        assert_like_eager(function, make, backend=rung, fallback="eager")


class Counts(torch.autograd.Function):
    """Counts its forwards and its backwards in a tensor."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
        count.add_(1)
        ctx.count = count
        return x * 2

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        ctx.count.add_(1)
        return g * 2, None


def test_c36_writes_in_a_custom_backward(rung: str, state: State) -> None:
    x, count = leaf(3), torch.zeros(())
    with state.eager("a body that writes its inputs"):
        y = flambeau.compile(lambda x, count: Counts.apply(x.sin(), count), backend=rung)(x, count)
    assert count.item() == 1
    y.sum().backward()
    assert count.item() == 2
    close(x.grad, 2 * numbers(3).cos(), "gradient")


def test_c37_several_backwards(rung: str) -> None:
    w = leaf(3)
    compiled = strict(lambda w: w.exp().sum() + (w * w).sin().sum(), rung)
    expected = w.detach().exp() + 2 * w.detach() * (w.detach() ** 2).cos()
    loss = compiled(w)
    for retain in (True, True, True, True, True, False):
        close(torch.autograd.grad(loss, w, retain_graph=retain)[0], expected, "gradient")
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, w)
    loss = compiled(w)
    close(torch.autograd.grad(loss, w)[0], expected, "gradient")
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, w, retain_graph=True)


@pytest.mark.parametrize(
    ("function", "kept"),
    [(lambda x, p: torch.relu(x) + p, 1), (lambda x, p: x @ p, 0)],
    ids=["relu", "matmul"],
)
def test_c38_what_only_the_backward_needs_is_known(function: Any, kept: int, rung: str) -> None:
    """Of relu one value, of a product none: these could be overwritten. None is, so a backward may run again."""
    x, p = leaf(3, 3), leaf(3, 3)
    if rung != RUNGS[0]:
        (graph,) = flambeau.explain(function, backend=rung, dry_run=True)(x, p).graphs
        assert [v.kind for v in graph.saved].count("computed") == kept
    y = strict(function, rung)(x, p)
    first = gradients(y, x, p, retain_graph=True)
    for found, expected in zip(gradients(y, x, p), first, strict=True):
        close(found, expected, "second backward", ulps=0)
