# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What crosses between host and device: of saved values nothing, of parameters one copy per step, or one at all."""

import copy
import gc
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._higher_order_ops.while_loop import while_loop

import flambeau
from flambeau.frontend.calling.freezing import Frozen
from flambeau.runtime import devices
from flambeau.runtime.resident import ResidentTensor

pytestmark = pytest.mark.skipif(
    not any(device.driver == "vulkan" for device in devices.available_devices()),
    reason="no Vulkan device; Debian's mesa-vulkan-drivers has a software one",
)

STRICT = {"fallback": "error"}

Live = weakref.WeakSet[ResidentTensor]


class Net(nn.Module):
    """Saves x, both weights (of which the first gets no use in the backward), and values between the ops."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 32)
        self.second = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)).exp())


def _compiled(module: nn.Module, **options: Any) -> Any:
    return flambeau.compile(module, backend="vulkan", fullgraph=True, options=STRICT | options)


def _bytes() -> tuple[int, int]:
    """Copied to the device and back, so far."""
    return flambeau.counters["bytes.to_device"], flambeau.counters["bytes.to_host"]


def _copied_by(call: Callable[[], Any]) -> tuple[int, int]:
    before = _bytes()
    call()
    return _bytes()[0] - before[0], _bytes()[1] - before[1]


def _size(*tensors: torch.Tensor) -> int:
    return sum(t.nbytes for t in tensors)


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Live:
    """The tensors that stay on a device. All are freed without the garbage collector."""
    found = Live()
    initialize = ResidentTensor.__init__

    def noted(self: ResidentTensor, *arguments: Any) -> None:
        initialize(self, *arguments)
        found.add(self)

    monkeypatch.setattr(ResidentTensor, "__init__", noted)
    return found


def _resident_bytes() -> int:
    """Memory of this process, in which a software device's lies too."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_training_step_copies_each_parameter_once_and_no_saved_value() -> None:
    net = Net()
    eager = copy.deepcopy(net)
    fast, x = _compiled(net), torch.randn(8, 16)
    parameters = list(net.parameters())
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (net, eager)]
    fast(x)  # compiles, and checks the device
    for _ in range(3):
        out = torch.empty(8, 4)
        forward = _copied_by(lambda: out.set_(fast(x).detach()))  # noqa: B023
        assert forward == (_size(x, *parameters), _size(out))

        def step() -> None:
            fast(x).square().mean().backward()

        # To the device: the arguments, then the gradient of the output. Back: the output, then the gradients.
        assert _copied_by(step) == (_size(x, *parameters, out), _size(out, *parameters))
        eager(x).square().mean().backward()
        for mine, its in zip(parameters, eager.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, its.grad)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


@pytest.fixture
def net() -> Any:
    """A module, and the same compiled."""
    net = Net()
    fast = _compiled(net)
    fast(torch.randn(8, 16)).sum().backward()
    net.zero_grad()
    return net, fast


def test_hooks_see_what_is_saved(net: Any, live: Live) -> None:
    module, fast = net
    x = torch.randn(8, 16)
    seen: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        seen.append(tensor)
        return tensor * 2

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor / 2):
        out = fast(x)
    exp = torch.tanh(module.first(x)).exp()
    assert any(t.shape == exp.shape and torch.allclose(t, exp, atol=1e-6) for t in seen), "a saved result"
    assert any(t is module.second.weight or torch.equal(t, module.second.weight) for t in seen)
    assert len(live) == 0
    _check_gradients(module, out, x)


def _check_gradients(module: nn.Module, out: torch.Tensor, x: torch.Tensor) -> None:
    parameters = list(module.parameters())
    found = torch.autograd.grad(out.square().sum(), parameters)
    expected = torch.autograd.grad(module(x).square().sum(), parameters)
    for mine, its in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, its)


def test_hooks_that_change_what_is_saved_are_obeyed(net: Any) -> None:
    module, fast = net
    x = torch.randn(8, 16)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: torch.zeros_like(t), lambda t: t):
        out = fast(x)
    (gradient,) = torch.autograd.grad(out.sum(), [module.second.weight])
    assert not gradient.any()


def test_checkpointing_around_a_compiled_module(net: Any, live: Live) -> None:
    module, fast = net
    x = torch.randn(8, 16)
    out = torch.utils.checkpoint.checkpoint(fast, x, use_reentrant=False)
    assert len(live) == 0
    _check_gradients(module, out, x)


def test_a_parameter_that_was_written_is_refused() -> None:
    net = Net()
    fast = _compiled(net)
    out = fast(torch.randn(8, 16))
    with torch.no_grad():
        net.second.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_memory_is_given_back_after_the_backward(net: Any, live: Live) -> None:
    """Even if the loss is kept; and not before, if the graph is kept."""
    module, fast = net
    x = torch.randn(8, 16)
    loss = fast(x).square().sum()
    kept = len(live)
    assert kept > 0
    first = torch.autograd.grad(loss, [module.first.weight], retain_graph=True)
    assert len(live) == kept
    second = torch.autograd.grad(loss, [module.first.weight])
    assert len(live) == 0
    assert torch.equal(first[0], second[0])
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, [module.first.weight])
    out = fast(x)
    assert len(live) == kept
    del out
    assert len(live) == 0


@pytest.mark.slow
def test_two_hundred_steps_leak_nothing(live: Live) -> None:
    """Each has a saved value and a copied parameter of 1 MB: what stays must be far below one per step."""
    w = nn.Parameter(torch.randn(512, 512))
    fast = flambeau.compile(lambda x: torch.tanh(x * w).exp().sum(), backend="vulkan", options=STRICT)
    x, losses = torch.randn(512, 512), []

    def step() -> None:
        losses.append(fast(x))
        losses[-1].backward()

    for _ in range(20):
        step()
    before = _resident_bytes()
    for _ in range(200):
        step()
    assert len(live) == 0
    assert _resident_bytes() - before < 50e6


def test_arguments_that_the_graph_writes() -> None:
    """Batch norm: the backward needs the input; the running statistics get new values."""
    net = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Tanh())
    eager = copy.deepcopy(net)
    fast = _compiled(net)
    for _ in range(2):
        x = torch.randn(8, 16, requires_grad=True)
        (mine,) = torch.autograd.grad(fast(x).square().sum(), [x])
        (its,) = torch.autograd.grad(eager(x).square().sum(), [x])
        torch.testing.assert_close(mine, its)
        for a, b in zip(net.buffers(), eager.buffers(), strict=True):
            torch.testing.assert_close(a, b)


def test_an_argument_that_is_saved_and_written() -> None:
    def f(x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        out = torch.tanh(x * state)
        state.add_(1)
        return out

    fast = flambeau.compile(f, backend="vulkan", fullgraph=True, options=STRICT)
    outcomes = []
    x, start = torch.randn(5, requires_grad=True), torch.randn(5)
    for function in (fast, f):
        state = start.clone()
        out = function(x, state) if function is fast else torch.tanh(x * start)
        outcomes.append(torch.autograd.grad(out.sum(), [x])[0])
    torch.testing.assert_close(*outcomes)


# --- Host segments ---------------------------------------------------------------------------------------------------


def test_only_what_the_host_touches_crosses() -> None:
    """Of three compiled segments' values, the host reads one (32 rows), and one goes past it."""

    def f(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(x @ w).exp() * 2
        row = torch.special.i0(h.sum(0).tanh() + 1)  # not compiled
        return ((h * row).tanh().exp() + h).sum(1)

    x, w = torch.randn(64, 16), torch.randn(16, 32, requires_grad=True)
    fast = flambeau.compile(f, backend="vulkan", fullgraph=True)
    out = fast(x, w)
    row = torch.empty(32)
    with torch.no_grad():
        expected = f(x, w)
    torch.testing.assert_close(out, expected)

    def forward() -> None:
        fast(x, w)

    assert _copied_by(forward) == (_size(x, w, row), _size(row, out))
    (mine,) = torch.autograd.grad(out.square().sum(), [w])
    double = w.detach().double().requires_grad_()
    (exact,) = torch.autograd.grad(f(x.double(), double).square().sum(), [double])
    assert (mine - exact).abs().max() <= 1e-5 * exact.abs().max()
    out = fast(x, w)

    def backward() -> None:
        torch.autograd.grad(out.square().sum(), [w])

    to_device, to_host = _copied_by(backward)
    assert to_device <= 4 * _size(row) + _size(out), "a saved matrix came back"
    assert to_host <= 4 * _size(row) + _size(w), "a saved matrix was fetched"


@pytest.mark.slow
def test_choices_and_loops_on_the_host_take_what_stays() -> None:
    """A choice by a value on the device, whose branches are too small to be compiled; a loop whose body is compiled."""

    def f(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        h = torch.special.i0(torch.tanh(x @ w))
        h = torch.cond(h.sum() > 0, lambda h: h * h, lambda h: h - 1, (h,))
        _, h = while_loop(
            lambda i, h: i < 3, lambda i, h: (i + 1, torch.tanh(h @ w).exp() * 0.5), (torch.tensor(0), h)
        )
        return h.tanh()

    fast = flambeau.compile(f, backend="vulkan", fullgraph=True)
    x, w = torch.randn(4, 8), torch.randn(8, 8)
    eager = flambeau.counters["graphs.eager"]
    for _ in range(2):
        torch.testing.assert_close(fast(x, w), f(x, w))
    assert flambeau.counters["graphs.eager"] == eager


# --- Freezing --------------------------------------------------------------------------------------------------------


def test_frozen_parameters_are_copied_once() -> None:
    net = Net().eval()
    fast, x = _compiled(net, freezing=True), torch.randn(8, 16)
    with torch.no_grad():
        expected = net(x)
        torch.testing.assert_close(fast(x), expected)
        out = fast(x)
        assert _copied_by(lambda: fast(x)) == (_size(x), _size(out))
        torch.testing.assert_close(out, expected)
        # A write that PyTorch counts is seen, and costs one copy.
        net.second.bias.add_(1)
        assert _copied_by(lambda: torch.testing.assert_close(fast(x), expected + 1)) == (
            _size(x, net.second.bias),
            _size(out),
        )
        net.load_state_dict(Net().state_dict())
        assert _copied_by(lambda: torch.testing.assert_close(fast(x), net(x)))[0] == _size(
            x, *net.parameters()
        )


def test_without_freezing_parameters_are_copied_at_each_call() -> None:
    net = Net().eval()
    fast, x = _compiled(net), torch.randn(8, 16)
    with torch.no_grad():
        fast(x)
        assert _copied_by(lambda: fast(x))[0] == _size(x, *net.parameters())
        net.second.bias.data.add_(1)  # a write that nobody counts
        torch.testing.assert_close(fast(x), net(x))


def test_graphs_share_frozen_parameters_which_go_with_the_module(live: Live) -> None:
    net: Any = Net().eval()
    fast = _compiled(net, freezing=True)
    with torch.no_grad():
        fast(torch.randn(8, 16))
        x = torch.randn(3, 16)
        assert _copied_by(lambda: fast(x))[0] == _size(x), "another graph, for another size"
    assert len(live) == 4
    gone = weakref.ref(net.first.weight)
    net = fast = None
    torch._dynamo.reset()
    gc.collect()
    assert gone() is None
    assert len(live) == 0


def test_training_goes_on_with_freezing() -> None:
    net = Net()
    fast, x = _compiled(net, freezing=True), torch.randn(8, 16)
    for _ in range(2):
        _check_gradients(net, fast(x), x)
        with torch.no_grad():
            net.second.weight.data.mul_(2)


@pytest.mark.parametrize("where", ["in the graph", "in eager"])
def test_buffers_are_not_frozen(where: str) -> None:
    net = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8))
    eager = copy.deepcopy(net)
    fast = _compiled(net, freezing=True)
    with torch.no_grad():
        for _ in range(3):
            x = torch.randn(8, 16)
            if where == "in eager":  # batch norm writes its statistics, and `_version` stays as it was
                net.train()(x), eager.train()(x)
                net.eval(), eager.eval()
            torch.testing.assert_close(fast(x), eager(x))
    for a, b in zip(net.buffers(), eager.buffers(), strict=True):
        torch.testing.assert_close(a, b)


def test_inference_tensors_have_no_version_and_are_not_frozen() -> None:
    with torch.inference_mode():
        net = Net().eval()
        fast, x = _compiled(net, freezing=True), torch.randn(8, 16)
        fast(x)
        net.second.bias.add_(1)
        torch.testing.assert_close(fast(x), net(x))


@pytest.mark.parametrize("backend", ["partitioned", "cpu"])
def test_freezing_changes_nothing_where_memory_is_shared(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Frozen, "__call__", lambda *_: pytest.fail("frozen on the CPU"))
    net = Net().eval()
    fast = flambeau.compile(net, backend=backend, options=STRICT | {"freezing": True})
    x = torch.randn(8, 16)
    with torch.no_grad():
        fast(x)
        net.second.bias.data.add_(1)
        torch.testing.assert_close(fast(x), net(x))


def test_freezing_is_true_or_false(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="option freezing: True or False is expected"):
        flambeau.compile(Net(), options={"freezing": "yes"})
    monkeypatch.setenv("FLAMBEAU_FREEZING", "yes")
    with pytest.raises(ValueError, match="option FLAMBEAU_FREEZING: True or False is expected"):
        flambeau.compile(Net())
    monkeypatch.setenv("FLAMBEAU_FREEZING", "1")
    assert flambeau.frontend.options.read_options().freezing
