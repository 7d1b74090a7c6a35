# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Grad modes, `requires_grad`, hidden writes and a user's own derivatives are in the captured graph."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from flambeau.frontend.capture.dynamo import capture
from flambeau.frontend.capture.records import (
    UnsupportedGraphError,
    inner_graphs,
    user_location,
    written_nodes,
)
from tests.frontend.capture.captured import USER_FUNCTION, aten, calls, record, targets, the, through_dynamo
from tests.programs import Half


def test_grad_mode_is_recorded_per_node() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(x)
        with torch.no_grad():
            s = h.sum()
            with torch.enable_grad():
                c = h.cos()
        return h * s + c

    for captured in (
        through_dynamo(function, torch.ones(3, requires_grad=True)),
        capture(function, [torch.ones(3, requires_grad=True)]),
    ):
        modes = {str(node.target): record(node).grad_enabled for node in calls(captured)}
        assert modes == {
            "aten.tanh.default": True,
            "aten.sum.default": False,
            "aten.cos.default": True,
            "aten.mul.Tensor": True,
            "aten.add.Tensor": True,
        }
        flags = {str(n.target): r.requires_grad for n in calls(captured) for r in record(n).results if r}
        assert flags.pop("aten.sum.default") is False
        assert all(flags.values())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_caller_without_grad(mode: Callable[[], Any]) -> None:
    model = nn.Linear(3, 2)
    with mode():
        both = through_dynamo(model, torch.ones(4, 3)), capture(model, [torch.ones(4, 3)])
    for captured in both:
        assert not captured.grad_enabled
        assert not any(o.tensor.requires_grad for o in captured.outputs if o.tensor)
        assert targets(captured) == [aten.t.default, aten.addmm.default]  # opened in inference mode too
        assert [r.shape for n in calls(captured) for r in record(n).results if r] == [(3, 2), (4, 2)]


def test_write_hidden_in_a_torch_function() -> None:
    """F.embedding renormalises its weight in place, through a detached alias."""
    model = nn.Embedding(5, 3, max_norm=1.0)
    captured = through_dynamo(model, torch.tensor([1, 2]))
    renorm = the(captured, aten.embedding_renorm_.default)
    (weight,) = [i for i in captured.inputs if i.kind == "parameter"]
    assert weight.written
    assert weight.tensor is not None
    assert record(renorm).written == (weight.tensor.storage,)
    assert [r.requires_grad for r in record(renorm).results if r] == [False]
    assert [r.requires_grad for r in record(the(captured, aten.embedding.default)).results if r] == [True]


def test_custom_op_with_python_autograd_keeps_the_callers_grad_mode() -> None:
    """Such an op runs inside an autograd.Function, which turns grad mode off around it."""

    @torch.library.custom_op("flambeau_tests::triple", mutates_args=())
    def triple(x: torch.Tensor) -> torch.Tensor:
        return x * 3

    triple.register_fake(lambda x: torch.empty_like(x))
    triple.register_autograd(lambda ctx, grad: grad * 3)

    def function(x: torch.Tensor) -> torch.Tensor:
        y = triple(x)
        with torch.no_grad():
            return y + triple(x)

    captured = through_dynamo(function, torch.ones(2, requires_grad=True))
    nodes = [n for n in calls(captured) if n.target == torch.ops.flambeau_tests.triple.default]
    assert [record(n).grad_enabled for n in nodes] == [True, False]
    assert [r.requires_grad for n in nodes for r in record(n).results if r] == [True, False]


def test_data_is_a_detached_alias() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        x.data.add_(1)
        return x * 2

    captured = through_dynamo(function, torch.ones(2, requires_grad=True))
    assert targets(captured) == [aten.detach.default, aten.add_.Tensor, aten.mul.Tensor]
    alias, write, product = calls(captured)
    (x,) = captured.inputs
    assert x.tensor is not None
    assert [r.storage for r in record(alias).results if r] == [x.tensor.storage]
    assert record(write).written == (x.tensor.storage,)
    assert [r.requires_grad for r in record(write).results if r] == [False]
    assert [r.requires_grad for r in record(product).results if r] == [True]


def test_user_function_keeps_its_backward() -> None:
    x, w = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([3.0, 4.0], requires_grad=True)
    captured = through_dynamo(lambda x, w: Half.apply(x, w).sin(), x, w)
    node = the(captured, USER_FUNCTION)
    forward, backward = inner_graphs(node)
    assert targets(forward) == [aten.mul.Tensor]
    assert targets(backward) == [aten.mul.Tensor] * 4
    assert node.kwargs["non_differentiable_idx"] == []
    assert node.kwargs["saved_for_backward_idx"] == [0, 1]
    assert [r.requires_grad for r in record(node).results if r] == [True]
    # The captured graph is a program: run with torch's autograd it uses the user's backward.
    by_name = {"x": x, "w": w}
    (out,) = captured.graph_module(*(by_name[i.name] for i in captured.inputs))
    out.sum().backward()
    assert x.grad is not None
    assert w.grad is not None
    torch.testing.assert_close(x.grad, 0.5 * w.detach() * torch.cos(x * w).detach())
    torch.testing.assert_close(w.grad, 0.5 * x.detach() * torch.cos(x * w).detach())


def test_user_function_inner_graphs_share_storage_numbers_and_locations() -> None:
    class Count(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, calls: torch.Tensor) -> torch.Tensor:
            calls.add_(1)
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> Any:
            return grad * 2, None

    def function(x: torch.Tensor, counter: torch.Tensor) -> torch.Tensor:
        Count.apply(x, counter)
        counter.mul_(2)
        return x + 1

    captured = through_dynamo(function, torch.ones(2, requires_grad=True), torch.zeros(()))
    node = the(captured, USER_FUNCTION)  # it writes: it stays although its result is not used
    assert [r.version for r in record(the(captured, aten.mul_.Tensor)).results if r] == [2]
    (c,) = [i for i in captured.inputs if i.written]
    assert c.tensor is not None
    assert c.tensor.dtype == torch.float32 and c.tensor.shape == ()
    assert record(node).written == (c.tensor.storage,)
    assert [n.name for n in written_nodes(node)] == [c.name]
    for module in inner_graphs(node):
        assert all((user_location(n) or ("", 0))[0] == __file__ for n in calls(module))


def test_user_function_without_dynamo_is_refused() -> None:
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(UnsupportedGraphError, match="Half"):
        capture(lambda x: Half.apply(x, x * 2), [x])
    with torch.no_grad():  # nothing is lost here
        assert aten.mul.Tensor in targets(capture(lambda x: Half.apply(x, x * 2), [x]))
