# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What calls into torch become: attention, autocast, dropout, batch norm, recurrent layers, higher-order ops."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from flambeau.frontend.capture.dynamo import capture
from flambeau.frontend.capture.records import inner_graphs, user_location
from tests.frontend.capture.captured import (
    SDPA,
    USER_FUNCTION,
    aten,
    calls,
    causal_attention,
    record,
    targets,
    the,
    through_dynamo,
)
from tests.programs import Half


@pytest.mark.parametrize("requires_grad", [True, False])
def test_attention_is_one_op(requires_grad: bool) -> None:
    q = torch.randn(2, 4, 5, 8, requires_grad=requires_grad)
    k, v = torch.randn(2, 4, 5, 8), torch.randn(2, 4, 5, 8)
    for captured in (through_dynamo(causal_attention, q, k, v), capture(causal_attention, [q, k, v])):
        assert targets(captured) == [SDPA]
        node = the(captured, SDPA)
        assert node.args[3:] == (None, 0.0, True)
        assert node.kwargs == {"scale": None, "enable_gqa": False}
        eager = causal_attention(q, k, v)
        (output,) = captured.outputs
        assert output.tensor is not None
        assert output.tensor.shape == eager.shape
        assert output.tensor.stride == eager.stride()
        assert output.tensor.requires_grad == requires_grad
        assert record(node).grad_enabled


def test_attention_inside_multi_head_attention() -> None:
    model = nn.MultiheadAttention(8, 2, batch_first=True)
    captured = through_dynamo(lambda x: model(x, x, x, need_weights=False)[0], torch.randn(2, 5, 8))
    assert targets(captured).count(SDPA) == 1
    assert not [t for t in targets(captured) if "flash" in str(t) or "softmax" in str(t)]
    assert all((user_location(n) or ("", 0))[0] == __file__ for n in calls(captured))


def test_attention_under_autocast() -> None:
    def function(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v, mask)

    args = [torch.randn(1, 2, 3, 8) for _ in range(3)] + [torch.randn(3, 3)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        captured = through_dynamo(function, *args)
        eager = function(*args)
    assert targets(captured) == [aten._to_copy.default] * 4 + [SDPA]
    assert [r.dtype for r in record(the(captured, SDPA)).results if r] == [eager.dtype] == [torch.bfloat16]
    torch.testing.assert_close(captured.graph_module(*args)[0], eager)


def test_autocast_casts_are_made_anew_in_each_trace() -> None:
    """Autocast's cache of casts would hand the main trace one that was made while finding out attention's result."""

    def function(q: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=True):
            return causal_attention(q, q, q) @ q

    captured = through_dynamo(function, torch.randn(1, 2, 8, 8, requires_grad=True))
    assert targets(captured).count(aten._to_copy.default) == 4


def test_torch_finds_the_trace_s_own_fake_mode() -> None:
    found: list[bool] = []

    @torch.library.custom_op("flambeau_tests::look", mutates_args=())
    def look(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @look.register_fake
    def _(x: torch.Tensor) -> torch.Tensor:
        assert isinstance(x, torch._subclasses.FakeTensor)
        found.append(torch._guards.detect_fake_mode([x]) is x.fake_mode)
        return torch.empty_like(x)

    through_dynamo(lambda x: look(x), torch.ones(2))
    assert len(found) >= 2
    assert all(found)


def test_attention_under_vmap_is_opened() -> None:
    q = torch.randn(3, 2, 4, 8)
    captured = through_dynamo(lambda q: torch.vmap(causal_attention)(q, q, q), q)
    assert SDPA not in targets(captured)
    assert not [t for t in targets(captured) if "flash" in str(t)]
    torch.testing.assert_close(captured.graph_module(q)[0], torch.vmap(causal_attention)(q, q, q))


def test_autocast_casts_are_in_the_graph() -> None:
    x, w = torch.randn(2, 3), torch.randn(3, 4, requires_grad=True)

    def inside(x: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = x @ w
        return y, x @ w

    def outside(x: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast("cpu", enabled=False):
            y = x @ w
        return x @ w, y

    first = through_dynamo(inside, x, w)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        second = through_dynamo(outside, x, w)
        assert torch.is_autocast_enabled("cpu")
    for captured in (first, second, capture(inside, [x, w])):
        assert [o.tensor.dtype for o in captured.outputs if o.tensor] == [torch.bfloat16, torch.float32]
        assert targets(captured).count(aten._to_copy.default) == 2


def test_dropout_that_does_nothing_returns_its_argument() -> None:
    captured = through_dynamo(lambda x: F.dropout(x, 0.5, training=False).add_(1), torch.ones(2))
    assert targets(captured) == [aten.add_.Tensor]
    assert captured.inputs[0].written
    assert captured.outputs[0].is_input == 0


@pytest.mark.parametrize("way", ["dynamo", "direct"])
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_batch_norm(mode: Callable[[], Any], way: str) -> None:
    model, x = nn.BatchNorm1d(3), torch.randn(4, 3)
    with mode():
        train = through_dynamo(model, x) if way == "dynamo" else capture(model, [x])
        model.eval()
        torch._dynamo.reset()
        evaluated = through_dynamo(model, x) if way == "dynamo" else capture(model, [x])
    written = {i.source.rpartition(".")[2] for i in train.inputs if i.written}
    assert written == {"running_mean", "running_var", "num_batches_tracked"}
    assert aten._native_batch_norm_legit.default in targets(train)
    assert aten._native_batch_norm_legit_no_training.default in targets(evaluated)
    assert not any(i.written for i in evaluated.inputs)
    assert {i.kind for i in train.inputs} == {"parameter", "buffer", "input"}


def test_checkpointed_region_is_tagged() -> None:
    def region(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        y = Half.apply(x.sin(), w)
        return causal_attention(y, y, y)

    def function(x: torch.Tensor, w: torch.Tensor) -> Any:
        return checkpoint(region, x, w, use_reentrant=False).cos()

    x = torch.randn(1, 2, 3, 8, requires_grad=True)
    captured = through_dynamo(function, x, torch.randn(1, 2, 3, 8))
    inside = [node for node in calls(captured) if "recompute" in node.meta]
    assert {n.target for n in inside} >= {aten.sin.default, USER_FUNCTION, SDPA}
    assert len({n.meta["ac_graph_id"] for n in inside}) == 1
    assert "recompute" not in the(captured, aten.cos.default).meta


def test_rnn_is_plain_ops() -> None:
    model = nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    enabled = torch.backends.mkldnn.enabled
    captured = capture(
        lambda x, *w: torch.lstm(x, [torch.zeros(4, 2, 4)] * 2, w, True, 2, 0.0, False, True, False),
        [torch.randn(5, 2, 3), *model._flat_weights],
    )
    assert torch.backends.mkldnn.enabled == enabled
    assert not [t for t in targets(captured) if "mkldnn" in str(t) or "lstm" in str(t)]
    assert aten.sigmoid.default in targets(captured)


def test_control_flow_keeps_its_bodies() -> None:
    from torch._higher_order_ops import scan, while_loop
    from torch._higher_order_ops.map import map as torch_map

    def function(x: torch.Tensor) -> Any:
        a = torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x,))
        b = torch_map(lambda row: row * 2, x)
        (c,) = while_loop(lambda y: y.sum() < 10, lambda y: (y + 1,), (x,))
        _, d = scan(lambda carry, row: (carry + row, carry * row), x[0].clone(), x)
        return a, b, c, d

    captured = through_dynamo(function, torch.ones(3, 2))
    kept = {str(n.target): inner_graphs(n) for n in calls(captured) if inner_graphs(n)}
    assert set(kept) == {"cond", "map_impl", "while_loop", "scan"}
    assert [targets(body) for body in kept["cond"]] == [[aten.sin.default], [aten.cos.default]]
    assert [targets(body) for body in kept["map_impl"]] == [[aten.mul.Tensor]]
    x = torch.rand(3, 2)
    torch.testing.assert_close(captured.graph_module(x), list(function(x)))


def test_cond_requires_grad() -> None:
    def function(x: torch.Tensor) -> Any:
        return torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x,))

    captured = through_dynamo(function, torch.ones(2, requires_grad=True))
    node = the(captured, torch.ops.higher_order.cond)
    assert record(node).grad_enabled
    assert [r.requires_grad for r in record(node).results if r] == [True]


def test_gradient_and_vmap_inside() -> None:
    def function(x: torch.Tensor) -> Any:
        return torch.func.grad(lambda t: (t * t).sum())(x), torch.vmap(lambda row: row.sum())(x)

    x = torch.randn(3, 2)
    for mode in (torch.enable_grad, torch.no_grad):
        with mode():
            torch._dynamo.reset()
            captured = through_dynamo(function, x)
            torch.testing.assert_close(captured.graph_module(x), list(function(x)))
