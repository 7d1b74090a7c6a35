# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled functions called by several threads at once, by custom ops, by hooks, and under other compiled functions.

TorchDynamo compiles once for each thread that meets a function before another one has compiled it.
"""

import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import flambeau
from flambeau.frontend import compile as frontend_compile
from tests.oracle import close

both = pytest.mark.parametrize("backend", ["partitioned", pytest.param("cpu", marks=pytest.mark.slow)])


def compiled(function: Callable[..., Any], backend: str, **arguments: Any) -> Any:
    return flambeau.compile(function, backend=backend, options={"fallback": "error"}, **arguments)


def at_once(count: int, work: Callable[[int], None]) -> None:
    """Run `work(0)`, ..., `work(count - 1)` in threads that start together; what one of them raises fails the test."""
    start, failures = threading.Barrier(count), []

    def run(number: int) -> None:
        try:
            start.wait()
            work(number)
        except BaseException:  # noqa: BLE001  (a failed assertion too)
            failures.append(traceback.format_exc())

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


def numbers(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


class Counting(nn.Module):
    """A small network that writes a buffer of its caller's."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor, calls: torch.Tensor) -> torch.Tensor:
        calls.add_(1)
        return self.second(torch.tanh(self.first(x))).softmax(-1)


@both
def test_training_steps_of_eight_threads(backend: str) -> None:
    """The first call of all included; each has its own arguments and sizes of its own values."""
    torch.manual_seed(0)
    model = Counting().double()
    fast = compiled(model, backend, fullgraph=True)

    def step(call: Callable[..., Any], number: int) -> Iterator[torch.Tensor]:
        calls = torch.zeros(())
        for repetition in range(10):
            x = numbers(100 * number + repetition, 4, 6).requires_grad_()
            y = call(x, calls)
            yield y.detach()
            yield from torch.autograd.grad((y * numbers(1, 4, 3)).sum(), [x, *model.parameters()])
        yield calls

    def work(number: int) -> None:
        for have, want in zip(step(fast, number), step(model, number), strict=True):
            close(have, want, f"thread {number}", ulps=64)

    before = flambeau.counters["graphs.eager"] + flambeau.counters["calls.eager"]
    at_once(8, work)
    assert flambeau.counters["graphs.eager"] + flambeau.counters["calls.eager"] == before


@both
def test_gradients_are_compiled_once(backend: str) -> None:
    """By the first of eight threads that differentiate a gradient."""
    fast = compiled(lambda x: (x.tanh() * x).sum(), backend)
    fast(numbers(0, 5).requires_grad_())
    before = flambeau.counters["graphs.gradients"]

    def work(number: int) -> None:
        x = numbers(number, 5).requires_grad_()
        (gradient,) = torch.autograd.grad(fast(x), x, create_graph=True)
        (second,) = torch.autograd.grad(gradient.sum(), x)
        y = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad((y.tanh() * y).sum(), y, create_graph=True)
        close(second, torch.autograd.grad(gradient.sum(), y)[0], f"thread {number}", ulps=64)

    at_once(8, work)
    assert flambeau.counters["graphs.gradients"] == before + 1


@both
def test_different_functions_are_compiled_at_once(backend: str) -> None:
    functions = [lambda x, k=k: (x * (k + 1)).tanh().sum() for k in range(4)]

    def work(number: int) -> None:
        x = numbers(number, 3, 5).requires_grad_()
        compiled(functions[number], backend)(x).backward()
        assert x.grad is not None
        close(x.grad, (number + 1) * (1 - (x.detach() * (number + 1)).tanh() ** 2), f"thread {number}")

    at_once(4, work)


# --- One compiled function under another -----------------------------------------------------------------------------

_INNER: list[Callable[[torch.Tensor], torch.Tensor]] = []


@torch.library.custom_op("flambeau_threads::inner", mutates_args=())
def inner(x: torch.Tensor) -> torch.Tensor:
    return _INNER[-1](x).clone()


inner.register_fake(torch.empty_like)
inner.register_autograd(lambda ctx, g: 2 * inner(g))


@both
def test_a_custom_op_that_calls_a_compiled_function(backend: str) -> None:
    """It runs on the host, in the middle of the graph and of its backward; its first call compiles there."""

    def doubled(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    _INNER.append(compiled(doubled, backend))
    try:
        fast = flambeau.compile(lambda x: inner(x.tanh() + 1).exp().sum(), backend=backend)
        for _ in range(2):
            x = numbers(0, 4).requires_grad_()
            fast(x).backward()
            # Its derivative is twice what it makes of the cotangent: 4.
            close(x.grad, 4 * (2 * (x.tanh() + 1)).exp().detach() * (1 - x.tanh() ** 2).detach(), "gradient")
    finally:
        _INNER.pop()


@both
def test_hooks_that_call_compiled_functions(backend: str) -> None:
    """A hook in the backward, and saved-tensor hooks: they run while a compiled backward or forward does."""
    scaled = compiled(lambda g: g * 3, backend)
    packed, unpacked = compiled(lambda t: t * 2, backend), compiled(lambda t: t / 2, backend)
    fast = compiled(lambda x: (x * x).exp(), backend)
    x = (numbers(0, 4) * 0.1).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(packed, unpacked):
        h = x * 1.0
        h.register_hook(scaled)
        y = fast(h)
    z = fast(y)
    y.register_hook(scaled)
    z.sum().backward()
    wanted = 9 * ((y * y).exp() * 2 * y * y * 2 * x).detach()
    close(x.grad, wanted, "gradient", ulps=64)


# --- Modes of the caller ---------------------------------------------------------------------------------------------


@both
def test_autocast_is_off_while_compiled_code_runs(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In forward, backward and the gradients' own graph; and it is on again afterwards."""
    seen: list[bool] = []

    def observed(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(arguments: Any) -> Any:
            seen.append(torch.is_autocast_enabled("cpu"))
            return call(arguments)

        return run

    plain = frontend_compile.differentiable
    monkeypatch.setattr(
        frontend_compile,
        "differentiable",
        lambda functions, *rest: plain({n: observed(f) for n, f in functions.items()}, *rest),
    )
    w = numbers(0, 3, 3).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = compiled(lambda w: (w.tanh() * w).sum(), backend)(w)
        torch.autograd.grad(loss, w, retain_graph=True)
        (gradient,) = torch.autograd.grad(loss, w, create_graph=True)
        torch.autograd.grad(gradient.sum(), w)
        assert torch.is_autocast_enabled("cpu")
    assert seen == [False] * 4


def test_modes_of_a_thread_are_its_own() -> None:
    """Autocast and no_grad of one thread while another one calls the same function."""
    fast = compiled(lambda x, w: (x @ w).sum(), "partitioned")
    arguments = numbers(0, 4, 4).float(), numbers(1, 4, 4).float().requires_grad_()
    for _ in range(2):
        fast(*arguments)

    def work(number: int) -> None:
        for _ in range(5):
            with torch.set_grad_enabled(number % 2 == 0), torch.autocast("cpu", enabled=number >= 2):
                y = fast(*arguments)
                assert y.requires_grad == (number % 2 == 0)
                assert torch.is_autocast_enabled("cpu") == (number >= 2)
                wanted = (arguments[0] @ arguments[1]).sum()  # in autocast a product of bfloat16
                close(y.detach(), wanted.detach(), "output", ulps=64)

    at_once(4, work)
