# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""C39 to C46: what happens to the caller's tensors when the graph writes them."""

from typing import Any

import pytest
import torch
from torch import nn

import flambeau
from tests.contract.conftest import State
from tests.contract.rungs import counted, interpreted, strict
from tests.oracle import assert_like_eager, close, leaf, numbers, of_leaf, plain, weights_like


def test_c39_plain_writes(rung: str) -> None:
    def function(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor, whole: torch.Tensor) -> Any:
        before = a.exp()
        a.mul_(2)
        a += b  # of another dtype
        torch.add(b, 1, out=out)
        whole.add_(1)
        t = a * 3
        t[0].add_(1)
        t.t()[1] = 0
        return a * 3, a, before, t, out.sum()

    make = plain(
        lambda: numbers(3, 4),
        lambda: numbers(3, 4, dtype=torch.float64),
        lambda: numbers(3, 4, dtype=torch.float64),
        lambda: torch.zeros((), dtype=torch.int64),
    )
    assert_like_eager(function, make, backend=rung)


def test_c39_a_write_happens_once_on_the_first_call(rung: str) -> None:
    compiled = strict(lambda x: x.add_(1).sum(), rung)
    x = torch.zeros(3)
    for count in (1, 2, 3):
        compiled(x)
        assert x.tolist() == [count] * 3


def test_c40_writes_through_views_and_strides(rung: str) -> None:
    def function(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> Any:
        x[0::2].add_(1)
        x[:, 0].mul_(2)
        x.t()[2].sub_(3)
        x[1:3, ::2].fill_(7)
        x.view(-1)[5] = 9
        x.diagonal().add_(1)
        y.mul_(2)
        z.add_(1)
        return x.sum() + y.sum(), torch.relu(z)

    make = plain(
        lambda: numbers(4, 4),
        lambda: numbers(8, 4)[::2, 1:3],
        lambda: numbers(2, 3, 4, 4).to(memory_format=torch.channels_last),
    )
    assert_like_eager(function, make, backend=rung)


def test_c40_gradients_of_writes_through_views(rung: str) -> None:
    def function(x: torch.Tensor, y: torch.Tensor) -> Any:
        x[0].mul_(2)
        x[:, 1:].add_(x[:, :-1] * 2)
        new = torch.zeros(5, 4)
        new[1:4] = y
        new[0, ::2] = y[0, :2]
        e = y.expand(2, 3, 4)[0]
        return x.sin(), new.exp() + e.sum()

    def make() -> Any:
        a, b = leaf(3, 4), leaf(3, 4)
        return [a, b], [a * 1, b]

    assert_like_eager(function, make, backend=rung)
    assert_like_eager(lambda x: x.mul_(2).sin(), of_leaf(lambda a: [(a * 1)[::2]], 4, 3), backend=rung)


def test_c41_writes_unseen_by_autograd(rung: str) -> None:
    def function(p: torch.Tensor, q: torch.Tensor, r: torch.Tensor, x: torch.Tensor) -> Any:
        y = q * x
        with torch.no_grad():
            p.add_(x, alpha=-0.1)
            r[1] = 5.0
        q.detach().add_(1)
        return (p * x).sum(), y.sum(), (r.sin() * x).sum()

    assert_like_eager(
        function, plain(lambda: leaf(4), lambda: leaf(4), lambda: leaf(4), lambda: numbers(4)), backend=rung
    )
    # Mixed: seen, unseen, and a use of the new value.
    assert_like_eager(_seen_and_unseen, of_leaf(lambda a: [a * 1], 4), backend=rung)


def _seen_and_unseen(x: torch.Tensor) -> torch.Tensor:
    x.mul_(3)
    with torch.no_grad():
        x.add_(1)
    return x.sin()


def test_c41_writes_through_data(rung: str) -> None:
    def function(p: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        p.data.mul_(2)
        return (p * p * x).sum()

    # Eager's p.data has a version counter of its own, so nobody counts a write to it.
    assert_like_eager(function, plain(lambda: leaf(3, 4), lambda: numbers(3, 4)), backend=rung)
    assert_like_eager(lambda x: x.data.mul_(2), plain(lambda: numbers(3)), backend=rung)
    assert_like_eager(lambda x: (x.data.mul_(2), x.add_(1)), plain(lambda: numbers(3)), backend=rung)


def test_c41_an_optimizer_step_under_no_grad(rung: str) -> None:
    def step(p: torch.Tensor, g: torch.Tensor, momentum: torch.Tensor) -> None:
        momentum.mul_(0.9).add_(g)
        p.add_(momentum, alpha=-0.1)

    def run(step: Any) -> list[torch.Tensor]:
        p, momentum = nn.Parameter(numbers(3)), numbers(3)
        with torch.no_grad():
            for _ in range(2):
                step(p, numbers(3), momentum)
        assert p.is_leaf and p.requires_grad and p._version > 0
        return [p.detach(), momentum]

    for found, expected in zip(run(strict(step, rung)), run(step), strict=True):
        close(found, expected, "parameter or momentum")


def test_c42_writes_seen_by_autograd(rung: str) -> None:
    """Also by views that were made before the call; the backward reads what was there before the write."""

    def run(function: Any) -> list[torch.Tensor]:
        a = leaf(3, 4)
        x = a * 1
        before = x[1]
        y = function(x)
        (gradient,) = torch.autograd.grad((before * before).sum() + x.sum() + y, a)
        assert x.grad_fn is not None and before._version == x._version > 0
        return [before, x, gradient]

    def function(x: torch.Tensor) -> torch.Tensor:
        y = x.exp()
        x.mul_(2)
        return (x * y).sum()

    for found, expected in zip(run(strict(function, rung)), run(function), strict=True):
        close(found, expected, "view, argument or gradient")
    assert_like_eager(lambda x, y: x.mul_(y).sin() + y, of_leaf(lambda a: [a * 1, a * 3], 3, 4), backend=rung)


@interpreted
def test_c43_changed_sizes_of_arguments(rung: str) -> None:
    """TorchDynamo ends the graph there, and compiles what comes before and after."""

    def function(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        total = a.exp().sum() + b.exp().sum()
        a.t_()
        b.transpose_(0, 1)
        c.unsqueeze_(0)
        for x in (a, b, c):
            x.mul_(2)
        return total + a.sum() + (b + c).sum()

    make = plain(lambda: numbers(2, 3), lambda: numbers(4, 2), lambda: numbers(2, 4))
    with counted("graphs.eager") as in_eager:
        assert_like_eager(function, make, backend=rung, fullgraph=False)
        assert in_eager() == 0


@interpreted
@pytest.mark.parametrize(
    "function",
    [lambda x: x.set_(torch.ones(2)), lambda x: x.resize_(2), lambda x: x.detach_()],
    ids=["set", "resize", "detach"],
)
def test_c44_storage_surgery(function: Any, rung: str) -> None:
    """TorchDynamo ends the graph there: in one graph it is an error with the op's name, else eager does it."""

    def written(x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        function(x)
        return y + 1

    make = plain(lambda: numbers(4))
    (x,), (z,) = make()[1], make()[1]
    close(strict(written, rung, fullgraph=False)(x), written(z), "output")
    assert x.shape == z.shape and x.untyped_storage().nbytes() == z.untyped_storage().nbytes()
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"set_|resize_|detach_|storage"):
        strict(written, rung)(numbers(4))


def _of_data(x: torch.Tensor) -> torch.Tensor:
    x.data = torch.ones(4)
    return x * 2


def _of_a_temporary(x: torch.Tensor) -> torch.Tensor:
    return x.clone().set_(torch.ones(2)) + x[0]


@interpreted
@pytest.mark.parametrize("function", [_of_data, _of_a_temporary], ids=["data", "temporary"])
def test_c44_storage_that_is_replaced(function: Any, rung: str, state: State) -> None:
    x, z = numbers(4), numbers(4)
    with state.eager("it changes the storage behind a tensor"):
        close(flambeau.compile(function, backend=rung)(x), function(z), "output")
    close(x, z, "argument")


@interpreted
def test_c44_resized_storage(rung: str, state: State) -> None:
    """TorchDynamo leaves this one in the graph."""

    def function(x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        x.untyped_storage().resize_(0)
        return y

    x = numbers(4)
    with state.eager("it changes the storage behind a tensor"):
        close(flambeau.compile(function, backend=rung)(x), numbers(4) * 2, "output")
    assert x.untyped_storage().nbytes() == 0


def test_c43_changed_sizes_of_a_temporary(rung: str) -> None:
    def function(x: torch.Tensor) -> Any:
        y = x * 2
        y.t_().mul_(3)
        y.unsqueeze_(0)
        return y, y.sum(1)

    assert_like_eager(function, plain(lambda: leaf(2, 3)), backend=rung)


class Counting(nn.Module):
    """Counts its calls and follows a mean, in buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(4))
        self.weight = nn.Parameter(numbers(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        self.mean.lerp_(x.detach().mean(0), 0.5)
        return x * self.weight - self.mean


def test_c45_buffers(rung: str) -> None:
    module, reference = Counting(), Counting()
    compiled = strict(module, rung)
    for _ in range(3):
        for m in (compiled, reference):
            m(numbers(2, 4)).sum().backward()
    assert module.calls.item() == 3
    close(module.mean, reference.mean, "mean")
    assert module.weight.grad is not None and reference.weight.grad is not None
    close(module.weight.grad, reference.weight.grad, "gradient")


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_c46_batch_norm(train: bool, rung: str) -> None:
    """Also under autocast; in eval nothing is written. Eager does not count the writes to the running statistics."""
    module, reference = (nn.BatchNorm1d(4).train(train) for _ in range(2))
    compiled = strict(module, rung)
    versions = [b._version for b in module.buffers()]
    for factor, mixed in ((1, False), (2, False), (3, True)):
        x, y = leaf(5, 4), leaf(5, 4)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
            found, expected = compiled(x * factor), reference(y * factor)
        close(found, expected, "output")
        found.backward(weights_like(found))
        expected.backward(weights_like(expected))
        assert x.grad is not None and y.grad is not None
        close(x.grad, y.grad, "gradient", ulps=64)
    for (name, found), expected in zip(module.named_buffers(), reference.buffers(), strict=True):
        close(found, expected, name)
        assert (found._version > 0) == (expected._version > 0), name
    for found, expected in zip(module.parameters(), reference.parameters(), strict=True):
        assert found.grad is not None and expected.grad is not None
        close(found.grad, expected.grad, "gradient of a parameter", ulps=64)
    if not train:
        assert [b._version for b in module.buffers()] == versions, "eval must not write"
