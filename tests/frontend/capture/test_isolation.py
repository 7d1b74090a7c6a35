# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Nothing happens to the caller: tensors, random state, grad mode, autocast and threads stay as they were."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx

from flambeau.frontend.capture.dynamo import capture, capture_dynamo_graph
from flambeau.frontend.capture.records import CapturedGraph, UnsupportedGraphError
from tests.frontend.capture.captured import aten, targets


def test_capture_does_not_touch_the_callers_tensors() -> None:
    x, seen = torch.zeros(3), []

    def function(x: torch.Tensor) -> torch.Tensor:
        x.add_(1)
        return x * 2

    def backend(gm: fx.GraphModule, example_inputs: list[Any]) -> Callable[..., Any]:
        capture_dynamo_graph(gm, example_inputs)
        seen.append((example_inputs[0] is x, x.tolist(), x._version))
        return gm.forward

    out = torch.compile(function, backend=backend)(x)
    assert seen == [(True, [0.0, 0.0, 0.0], 0)]
    assert x.tolist() == [1.0, 1.0, 1.0]
    assert out.tolist() == [2.0, 2.0, 2.0]
    captured = capture(function, [x])
    assert x.tolist() == [1.0, 1.0, 1.0]
    assert captured.inputs[0].written


def test_random_state_stays() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x + torch.rand(4), 0.5)

    before = torch.get_rng_state()
    captured = capture(function, [torch.ones(4)])
    assert torch.equal(before, torch.get_rng_state())
    assert aten.native_dropout.default in targets(captured)


def test_seeding_inside_is_refused_and_undone() -> None:
    def before_an_op(x: torch.Tensor) -> torch.Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            return x + torch.rand(4)

    def after_all_ops(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        torch.manual_seed(3)
        return y

    before = torch.get_rng_state()
    for function in (before_an_op, after_all_ops):
        with pytest.raises(UnsupportedGraphError, match="random generator"):
            capture(function, [torch.ones(4)])
        assert torch.equal(before, torch.get_rng_state())


def test_thread_state_is_restored_also_after_an_error() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        torch._C._set_grad_enabled(False)
        torch.set_autocast_enabled("cpu", True)
        torch.autocast_increment_nesting()
        raise KeyError("user's own")

    cache = torch.is_autocast_cache_enabled()
    with pytest.raises(KeyError, match="user's own"):
        capture(function, [torch.ones(2)])
    assert torch.is_grad_enabled()
    assert not torch.is_autocast_enabled("cpu")
    assert torch.is_autocast_cache_enabled() == cache
    assert torch.autocast_increment_nesting() == 1
    torch.autocast_decrement_nesting()


def test_grad_mode_left_behind_is_recorded_and_restored() -> None:
    def function(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = x * x
        torch._C._set_grad_enabled(False)
        return y, y * 2

    captured = capture(function, [torch.ones(2, requires_grad=True)])
    assert torch.is_grad_enabled()
    assert (captured.grad_enabled, captured.grad_enabled_after) == (True, False)
    assert [o.tensor.requires_grad for o in captured.outputs if o.tensor] == [True, False]


def test_two_captures_in_one_backend_call_are_equal() -> None:
    """A write during the first must not show in what the second, or a fallback backend, sees."""
    found: list[CapturedGraph] = []

    def backend(gm: fx.GraphModule, example_inputs: list[Any]) -> Callable[..., Any]:
        found.extend(capture_dynamo_graph(gm, example_inputs) for _ in range(2))
        fallback: Any = torch._dynamo.lookup_backend("aot_eager")
        return fallback(gm, example_inputs)  # type: ignore[no-any-return]

    def function(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        x.add_(y)
        return x * 1

    x, y = torch.ones(3), torch.full((3,), 2.0, requires_grad=True)
    out = torch.compile(function, backend=backend)(x, y)
    assert [i.tensor for i in found[0].inputs] == [i.tensor for i in found[1].inputs]
    assert not any(i.tensor.requires_grad for i in found[1].inputs if i.tensor and i.name == "x")
    out.sum().backward()
    assert y.grad is not None
    assert y.grad.tolist() == [1.0, 1.0, 1.0]


def test_threads() -> None:
    results: dict[int, list[Any]] = {}

    def work(index: int) -> None:
        def function(x: torch.Tensor) -> torch.Tensor:
            for _ in range(index + 1):
                x = torch.sin(x)
            return x.cos()

        results[index] = targets(capture(function, [torch.ones(index + 1)]))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: [aten.sin.default] * (i + 1) + [aten.cos.default] for i in range(8)}
