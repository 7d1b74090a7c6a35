# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Capture: what comes out of a Dynamo graph and of a plain function, and that nothing happens to the caller."""

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils.checkpoint import checkpoint

from flambeau.frontend.capture.dynamo import capture, capture_dynamo_graph
from flambeau.frontend.capture.records import (
    NODE_RECORD,
    CapturedGraph,
    NodeRecord,
    UnsupportedGraphError,
    inner_graphs,
    user_location,
    written_arguments,
    written_nodes,
)

aten = torch.ops.aten
SDPA = aten.scaled_dot_product_attention.default
USER_FUNCTION = torch.ops.higher_order.autograd_function_apply


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> Any:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def through_dynamo(function: Callable[..., Any], *args: Any, **options: Any) -> CapturedGraph:
    """Capture by way of torch.compile; the compiled function then runs the Dynamo graph as it is."""
    found: list[CapturedGraph] = []

    def backend(gm: fx.GraphModule, example_inputs: list[Any]) -> Callable[..., Any]:
        found.append(capture_dynamo_graph(gm, example_inputs))
        return gm.forward

    torch.compile(function, backend=backend, fullgraph=True, **options)(*args)
    assert len(found) == 1
    return found[0]


def calls(captured: CapturedGraph | fx.GraphModule) -> list[fx.Node]:
    module = captured if isinstance(captured, fx.GraphModule) else captured.graph_module
    return [node for node in module.graph.nodes if node.op == "call_function"]


def targets(captured: CapturedGraph | fx.GraphModule) -> list[Any]:
    return [node.target for node in calls(captured)]


def the(captured: CapturedGraph | fx.GraphModule, target: Any) -> fx.Node:
    """The one node that calls `target`."""
    (node,) = [node for node in calls(captured) if node.target == target]
    return node


def record(node: fx.Node) -> NodeRecord:
    found = node.meta[NODE_RECORD]
    assert isinstance(found, NodeRecord)
    return found


def lower(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class Half(torch.autograd.Function):
    """Multiplies; its backward gives half of the true gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        x, w = ctx.saved_tensors
        return grad * w * 0.5, grad * x * 0.5


# --- the caller notices nothing -------------------------------------------------------------------------------------


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


# --- grad mode, requires_grad ---------------------------------------------------------------------------------------


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


# --- custom autograd.Function ---------------------------------------------------------------------------------------


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


# --- attention ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("requires_grad", [True, False])
def test_attention_is_one_op(requires_grad: bool) -> None:
    q = torch.randn(2, 4, 5, 8, requires_grad=requires_grad)
    k, v = torch.randn(2, 4, 5, 8), torch.randn(2, 4, 5, 8)
    for captured in (through_dynamo(lower, q, k, v), capture(lower, [q, k, v])):
        assert targets(captured) == [SDPA]
        node = the(captured, SDPA)
        assert node.args[3:] == (None, 0.0, True)
        assert node.kwargs == {"scale": None, "enable_gqa": False}
        eager = lower(q, k, v)
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
            return lower(q, q, q) @ q

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
    captured = through_dynamo(lambda q: torch.vmap(lower)(q, q, q), q)
    assert SDPA not in targets(captured)
    assert not [t for t in targets(captured) if "flash" in str(t)]
    torch.testing.assert_close(captured.graph_module(q)[0], torch.vmap(lower)(q, q, q))


# --- autocast, constants, views -------------------------------------------------------------------------------------


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


def test_constants() -> None:
    captured = through_dynamo(lambda x: x * torch.tensor([1.0, 2.0]), torch.ones(2))
    lifted = the(captured, aten.lift_fresh_copy.default)
    (constant,) = lifted.args
    assert isinstance(constant, fx.Node) and constant.op == "get_attr"
    assert getattr(captured.graph_module, str(constant.target)).tolist() == [1.0, 2.0]
    assert captured.graph_module(torch.ones(2))[0].tolist() == [1.0, 2.0]


def test_views_share_storage_and_writes_bump_the_version() -> None:
    def function(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = x * 2
        row = y.view(6)[1:4]
        row.mul_(3)
        return y, row, x.t(), y.sum()

    captured = through_dynamo(function, torch.ones(2, 3))
    product, view, part, write = calls(captured)[:4]
    y, flat, row = (record(n).results[0] for n in (product, view, part))
    assert y is not None and flat is not None and row is not None
    assert y.storage == flat.storage == row.storage
    assert record(write).written == (y.storage,)
    assert (y.version, [r.version for r in record(write).results if r]) == (0, [1])
    assert (row.view_base, row.shape, row.stride, row.storage_offset) == (product.name, (3,), (1,), 1)
    assert [(o.shares_input, o.shares_output) for o in captured.outputs] == [
        ((), ()),
        ((), (0,)),
        ((0,), ()),
        ((), ()),
    ]
    assert not captured.inputs[0].written
    assert [n.name for n in written_nodes(write)] == [part.name]


def test_inputs_that_share_memory() -> None:
    base = torch.zeros(4, 4)
    captured = capture(lambda a, b: a.add_(b), [base[0], base[:, 1]])
    a, b = captured.inputs
    assert a.tensor is not None and b.tensor is not None
    assert a.tensor.storage == b.tensor.storage
    assert (b.tensor.stride, b.tensor.storage_offset) == ((4,), 1)
    assert a.written and b.written
    assert captured.outputs[0].is_input == 0


def test_dead_writes_stay_and_dead_values_go() -> None:
    def function(x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        x.exp().view(-1).cos()
        torch.sin(x, out=out)
        torch._foreach_add_([out], 1)
        return x + 1

    captured = capture(function, [torch.ones(2), torch.ones(2)])
    assert targets(captured) == [aten.sin.out, aten.add_.Tensor, aten.add.Tensor]
    assert [i.written for i in captured.inputs] == [False, True]


def test_written_arguments_come_from_the_schema() -> None:
    assert written_arguments(aten.add_.Tensor) == ("self",)
    assert written_arguments(aten.sin.out) == ("out",)
    assert written_arguments(aten._native_batch_norm_legit.default) == ("running_mean", "running_var")
    assert written_arguments(aten.add.Tensor) == written_arguments(torch.sin) == ()


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


# --- places, sizes --------------------------------------------------------------------------------------------------


def test_every_node_knows_the_users_line() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.layers(x) * torch.tensor(2.0)
            return y.view(y.shape[0], -1).sum()

    first = Model.forward.__code__.co_firstlineno
    x = torch.randn(4, 3)
    torch._dynamo.mark_dynamic(x, 0)
    for captured in (through_dynamo(Model(), x), capture(Model(), [x], dynamic_dims={0: [0]})):
        places = {str(n.target): user_location(n) for n in calls(captured)}
        assert {place[0] for place in places.values() if place} == {__file__}
        assert None not in places.values()
        assert places["aten.addmm.default"] == (__file__, first + 1)
        assert places["aten.sum.default"] == (__file__, first + 2)


def test_dynamic_sizes_are_dynamos_own_symbols() -> None:
    x, y = torch.randn(4, 3), torch.randn(4)
    for tensor in (x, y):
        torch._dynamo.mark_dynamic(tensor, 0)
    found: list[tuple[CapturedGraph, int, int]] = []

    def backend(gm: fx.GraphModule, example_inputs: list[Any]) -> Callable[..., Any]:
        shape_env = torch._guards.TracingContext.get().fake_mode.shape_env  # type: ignore[union-attr]
        assert shape_env is not None
        before = len(shape_env.guards)
        captured = capture_dynamo_graph(gm, example_inputs)
        found.append((captured, before, len(shape_env.guards)))
        return gm.forward

    compiled = torch.compile(lambda x, y: x.sum(1) + y, backend=backend, fullgraph=True)
    for batch in (4, 5, 6):
        compiled(torch.randn(batch, 3) if batch > 4 else x, torch.randn(batch) if batch > 4 else y)
    ((captured, before, after),) = found
    assert before == after  # x and y have the same batch: Dynamo knew, capture had nothing to find out
    sizes = {str(i.tensor.shape[0]) if i.tensor else str(i.value) for i in captured.inputs}
    assert len(sizes) == 1
    assert [i.dynamic_dims for i in captured.inputs if i.tensor] == [(0,), (0,)]
    assert captured.graph_module(7, torch.ones(7, 3), torch.ones(7))[0].tolist() == [4.0] * 7


def test_direct_capture_of_nested_arguments() -> None:
    def function(batch: dict[str, torch.Tensor], scale: float, *, shift: torch.Tensor) -> dict[str, Any]:
        return {"y": batch["x"] * scale + shift, "n": batch["x"].shape[0], "none": None}

    x, shift = torch.ones(4, 2), torch.ones(2)
    captured = capture(function, [{"x": x}, 3.0], {"shift": shift}, dynamic_dims={0: [-2]})
    assert [i.source for i in captured.inputs] == ["args[0]['x']", "kwargs['shift']"]
    assert [i.dynamic_dims for i in captured.inputs] == [(0,), ()]
    assert captured.out_spec is not None
    flat = captured.graph_module(torch.ones(5, 2), shift)
    result = torch.utils._pytree.tree_unflatten(flat, captured.out_spec)
    assert (result["y"].tolist(), result["n"], result["none"]) == ([[4.0, 4.0]] * 5, 5, None)
    assert {o.kind for o in captured.outputs} == {"tensor", "symint", "constant"}


# --- other hooks ----------------------------------------------------------------------------------------------------


def test_checkpointed_region_is_tagged() -> None:
    def region(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        y = Half.apply(x.sin(), w)
        return lower(y, y, y)

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


# --- the models of the demo and the README --------------------------------------------------------------------------


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(2),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.25), nn.Linear(16, 5))

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.head(self.features(x))
        return F.cross_entropy(logits, target), logits


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(11, 8), nn.Embedding(6, 8)
        self.norm, self.qkv = nn.LayerNorm(8), nn.Linear(8, 24)
        self.head = nn.Linear(8, 11, bias=False)

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
        q, k, v = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in self.qkv(self.norm(h)).split(8, dim=2))
        h = h + F.gelu(lower(q, k, v).transpose(1, 2).flatten(2), approximate="tanh")
        logits = self.head(h)
        return F.cross_entropy(logits.view(-1, 11), target.view(-1)), logits


def encoder() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], list[torch.Tensor]]]] = {
    "convolutional": (Convolutional, lambda n: [torch.randn(n, 1, 8, 8), torch.randint(5, (n,))]),
    "decoder": (Decoder, lambda n: [torch.randint(11, (n, 6)), torch.randint(11, (n, 6))]),
    "encoder": (encoder, lambda n: [torch.randn(n, 5, 8)]),
}


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("mode", ["train", "eval", "eval_no_grad"])
@pytest.mark.parametrize("name", MODELS)
def test_captured_models_compute_what_eager_computes(name: str, mode: str, dynamic: bool) -> None:
    """The captured graph, run as it is: bit for bit in the forward; with eager's strides, flags, writes, gradients."""
    make, make_args = MODELS[name]
    torch.manual_seed(0)
    model = make().train(mode == "train")
    twin = copy.deepcopy(model)
    found: list[CapturedGraph] = []

    def backend(gm: fx.GraphModule, example_inputs: list[Any]) -> Callable[..., Any]:
        found.append(capture_dynamo_graph(gm, example_inputs))
        return found[0].graph_module

    compiled = torch.compile(twin, backend=backend, fullgraph=True)
    with torch.set_grad_enabled(mode != "eval_no_grad"):
        for size in (4, 6, 3) if dynamic else (4,):
            args = make_args(size)
            if dynamic:
                for arg in args:
                    torch._dynamo.mark_dynamic(arg, 0)
            torch.manual_seed(size)
            results = compiled(*args)
            torch.manual_seed(size)
            expected = model(*args)
            results, expected = (r if isinstance(r, tuple) else (r,) for r in (results, expected))
            for result, want, output in zip(results, expected, found[0].outputs, strict=True):
                assert torch.equal(result, want)
                assert output.tensor is not None
                assert output.tensor.requires_grad == want.requires_grad == result.requires_grad
                assert [int(s) for s in output.tensor.stride[1:]] == list(want.stride()[1:])
            for value, want in zip(twin.state_dict().values(), model.state_dict().values(), strict=True):
                assert torch.equal(value, want)
    assert len(found) == 1
    if mode == "eval_no_grad":
        assert (name == "encoder") == (aten._transformer_encoder_layer_fwd.default in targets(found[0]))
        return
    for outputs in (results, expected):
        outputs[0].sum().backward()
    for parameter, want in zip(twin.parameters(), model.parameters(), strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, want.grad)


# --- refusals -------------------------------------------------------------------------------------------------------


def _resize(x: torch.Tensor) -> torch.Tensor:
    y = x * 2
    y.resize_(2)
    return y


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        (lambda x: x + 1, [TwoTensor(torch.ones(2), torch.ones(2))], "TwoTensor"),
        (lambda x: x + 1, [torch.ones(2).to_sparse()], "layout"),
        (lambda x: x + 1, [torch.ones(2, dtype=torch.complex64)], "complex"),
        (lambda x: torch.fft.fft(x).abs(), [torch.ones(2)], "complex"),
        (_resize, [torch.ones(4)], "resize_.*storage"),
        (lambda x: (x * 2).set_(x + 1), [torch.ones(4)], "set_.*storage"),
        (lambda x: (x * 2).as_strided((2, 2), (1, 1)).mul_(3), [torch.ones(4)], "more than one element"),
        (lambda x: (x * 2).unfold(0, 2, 1).mul_(3), [torch.ones(4)], "more than one element"),
        (lambda x: x if x.sum() > 0 else -x, [torch.ones(4)], "DataDependent"),
        (lambda x: x + 1, [torch._subclasses.FakeTensorMode().from_tensor(torch.ones(2))], "someone else"),
    ],
)
def test_refusals_name_op_and_line(function: Callable[..., Any], args: list[Any], message: str) -> None:
    with pytest.raises(UnsupportedGraphError, match=message) as caught:
        capture(function, args)
    if caught.value.location is not None:
        assert caught.value.location[0] == __file__
        assert str(caught.value).startswith(f"{__file__}:{caught.value.location[1]}: ")


def test_refusal_through_dynamo_names_the_line() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        return torch.view_as_complex(y).abs()

    with pytest.raises(torch._dynamo.exc.BackendCompilerFailed) as caught:
        through_dynamo(function, torch.ones(2, 2))
    error = caught.value.inner_exception
    assert isinstance(error, UnsupportedGraphError)
    assert error.location == (__file__, function.__code__.co_firstlineno + 2)


def test_one_tensor_twice_is_refused() -> None:
    x = torch.ones(2)
    with pytest.raises(UnsupportedGraphError, match="twice"):
        capture(lambda a, b: a + b, [x, x])


def test_a_module_that_replaces_a_buffer_is_refused() -> None:
    class Replaces(nn.Module):
        steps: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("steps", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.steps = self.steps + 1
            return x * self.steps

    model = Replaces()
    with pytest.raises(UnsupportedGraphError, match=r"self\.steps"):
        capture(model, [torch.ones(2)])
    assert model.steps.item() == 0


def test_data_pointer_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Cannot access data pointer"):
        capture(lambda x: x + x.data_ptr(), [torch.ones(2)])


def test_grad_mode_inside_a_body_without_records_is_refused() -> None:
    from torch._higher_order_ops import while_loop_stack_output

    def quiet(x: torch.Tensor) -> tuple[torch.Tensor]:
        with torch.no_grad():
            return (x.sin(),)

    def function(x: torch.Tensor) -> Any:
        return while_loop_stack_output(lambda x: x.sum() > 0, quiet, (x,), ())

    with pytest.raises(torch._dynamo.exc.BackendCompilerFailed, match="grad mode"):
        through_dynamo(function, torch.ones(2, requires_grad=True))


def test_outside_a_backend() -> None:
    with pytest.raises(RuntimeError, match=r"torch\.compile backend"):
        capture_dynamo_graph(fx.symbolic_trace(lambda x: x + 1), [torch.ones(2)])


def test_an_op_out_of_sight_is_refused() -> None:
    """Below autograd torch opens composite ops by itself: their parts would have no records."""

    def function(x: torch.Tensor) -> torch.Tensor:
        with torch._C._AutoDispatchBelowAutograd():
            return F.linear(x, x)

    with pytest.raises(UnsupportedGraphError, match="out of sight"):
        capture(function, [torch.ones(2, 2)])
