# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is known of nodes, inputs and outputs: constants, storage, versions, places, sizes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from flambeau.frontend.capture.dynamo import capture, capture_dynamo_graph
from flambeau.frontend.capture.records import CapturedGraph, user_location, written_arguments, written_nodes
from tests.frontend.capture.captured import aten, calls, record, targets, the, through_dynamo


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
