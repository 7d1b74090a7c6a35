# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What users say about the partition: memory budgets, checkpointed regions, partitioners of their own."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

import flambeau
from flambeau.dialects import build as b
from flambeau.dialects import create_context
from flambeau.dialects.bindings import func, ir
from flambeau.pipelines.partitioning.joint import Joint
from flambeau.pipelines.partitioning.memory_budget import knapsack
from flambeau.pipelines.partitioning.partition import Partition
from flambeau.pipelines.partitioning.partitioners import PARTITIONERS
from flambeau.pipelines.passes.autodiff import Autodiff
from tests.oracle import leaf

STRICT = {"fallback": "error"}


def explained(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What `explain` says of the only graph."""
    (graph,) = flambeau.explain(function, dry_run=True, options=options)(*arguments).graphs
    assert not graph.failure
    return graph


def gradients(function: Callable[..., Any], *arguments: torch.Tensor) -> list[torch.Tensor]:
    """Of the sum of the result, with respect to all arguments that require one."""
    leaves = [a for a in arguments if a.requires_grad]
    return list(torch.autograd.grad(function(*arguments).sum(), leaves))


def compiled(function: Callable[..., Any], **options: Any) -> Any:
    return flambeau.compile(function, backend="partitioned", fullgraph=True, options=STRICT | options)


# --- Memory budgets --------------------------------------------------------------------------------------------------


def _layers(x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    for weight in weights:
        x = F.softmax(torch.tanh(x @ weight), -1)
    return x


def test_a_smaller_budget_saves_no_more_bytes() -> None:
    arguments = [leaf(8, 16), *(leaf(16, 16) for _ in range(4))]
    budgets = (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)
    graphs = [explained(_layers, *arguments, activation_memory_budget=b) for b in budgets]
    saved = [sum(v.bytes for v in graph.saved if v.kind != "argument") for graph in graphs]
    assert saved == sorted(saved, reverse=True) and len(set(saved)) > 3 and saved[-1] == 0
    assert all(bytes_ <= budget * saved[0] for bytes_, budget in zip(saved, budgets, strict=True))
    expected = gradients(compiled(_layers), *arguments)
    for budget in budgets[1:]:
        for found, want in zip(
            gradients(compiled(_layers, activation_memory_budget=budget), *arguments), expected, strict=True
        ):
            assert torch.equal(found, want), "computing again gives the same numbers"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation_memory_budget": 1.5}, "activation-memory-budget is 1.5, but must be from 0 to 1"),
        ({"activation_memory_budget": "half"}, "a number is expected, not 'half'"),
        (
            {"activation_memory_budget": 0.5, "partitioner": "save-all"},
            "'save-all' takes no activation-memory",
        ),
        ({"activation_memory_budget": 0.5, "partitioner": "cse,partition"}, "pipeline text has its own"),
        ({"partitioner": "cse,patition"}, "unknown pass 'patition'; did you mean 'partition'"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        flambeau.compile(_layers, options=options)


def test_the_knapsack_is_full_of_the_best() -> None:
    assert knapsack([0.5, 0.5, 0.6, 0.1], [3.0, 2.0, 6.0, 1.0]) == [2, 3]
    assert knapsack([1.5, 1.0], [9.0, 1.0]) == [1]
    assert knapsack([], []) == []


# --- Checkpointed regions --------------------------------------------------------------------------------------------


def _block(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return torch.sin(torch.tanh(x @ w) @ w)


def _two_blocks(block: Callable[..., Any], x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return block(block(x, w), w)


def _save_products(_context: Any, op: Any, *_args: Any, **_kwargs: Any) -> CheckpointPolicy:
    saved = op == torch.ops.aten.mm.default
    return CheckpointPolicy.MUST_SAVE if saved else CheckpointPolicy.PREFER_RECOMPUTE


_checkpointed = partial(partial, checkpoint, use_reentrant=False)
_WAYS: dict[str, Any] = {
    "checkpointed": _checkpointed(_block),
    "selective": _checkpointed(
        _block, context_fn=partial(create_selective_checkpoint_contexts, _save_products)
    ),
}


@pytest.mark.parametrize("partitioner", ["min-cut", "save-all"])
@pytest.mark.parametrize(("way", "products", "between"), [("checkpointed", 4, 1), ("selective", 0, 5)])
def test_a_checkpointed_region_is_computed_again(
    way: str, products: int, between: int, partitioner: str
) -> None:
    """All of it but what a policy saves; what leaves a region is saved, as in eager."""
    x, w = leaf(8, 8), leaf(8, 8)
    function = partial(_two_blocks, _WAYS[way])
    graph = explained(function, x, w, partitioner=partitioner)
    again = [r for r in graph.recomputed for _ in range(r.count)]
    assert [r.name for r in again].count("flambeau.mm") == products
    assert [r.name for r in again].count("flambeau.tanh") == 2
    assert [v.kind for v in graph.saved].count("computed") == between
    plain = explained(partial(_two_blocks, _block), x, w, partitioner=partitioner)
    assert graph.saved_bytes < plain.saved_bytes or way == "selective"
    expected = gradients(partial(_two_blocks, _block), x, w)
    for found, want in zip(
        gradients(compiled(function, partitioner=partitioner), x, w), expected, strict=True
    ):
        torch.testing.assert_close(found, want)


@pytest.mark.parametrize("backend", ["partitioned", "cpu"])
def test_a_region_draws_the_same_numbers_again(backend: str) -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return checkpoint(lambda x: F.dropout(x.exp(), 0.5).sin(), x, use_reentrant=False)

    x = leaf(1000)
    graph = explained(function, x)
    assert "flambeau.random_bits" in {r.name for r in graph.recomputed} and graph.saved_bytes == 0
    fast = flambeau.compile(function, backend=backend, fullgraph=True, options=STRICT)
    for _ in range(2):
        output = fast(x)
        (found,) = torch.autograd.grad(output.sum(), x)
        kept = output != 0
        assert 400 < kept.sum() < 600
        expected = torch.where(kept, 2 * x.exp() * torch.cos(2 * x.exp()), 0.0)
        torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-4)


def test_a_region_that_writes() -> None:
    """What a region reads of written memory, and what it leaves behind there, is outside of it."""
    norm = torch.nn.BatchNorm1d(4)
    plain = torch.nn.BatchNorm1d(4)

    def function(norm: Any, x: torch.Tensor) -> torch.Tensor:
        inside = checkpoint(lambda x: norm(x.exp()).tanh(), x, use_reentrant=False)
        return inside * norm.running_mean

    x = leaf(8, 4)
    fast = compiled(lambda x: function(norm, x))
    for _ in range(2):
        found, want = fast(x), plain(x.exp()).tanh() * plain.running_mean
        torch.testing.assert_close(found, want)
        torch.testing.assert_close(
            torch.autograd.grad(found.sum(), x), torch.autograd.grad(want.sum(), x), rtol=1e-4, atol=1e-5
        )
    torch.testing.assert_close(norm.running_mean, plain.running_mean)


# --- Partitioners of one's own ---------------------------------------------------------------------------------------


def test_a_function_as_partitioner(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PARTITIONERS.keys() - {"min-cut", "save-all"}:  # left as it is found
        monkeypatch.delitem(PARTITIONERS, name)
    calls: list[int] = []

    def save_arguments(joint: Joint) -> list[ir.Value]:
        calls.append(len(joint.tangents))
        return [a for a in joint.block.arguments if a not in joint.needs_tangent]

    x, w = leaf(4, 4), leaf(4, 4)
    assert explained(_block, x, w, partitioner=save_arguments).saved_bytes == 0
    assert calls == [1]
    found = gradients(compiled(_block, partitioner=save_arguments), x, w)
    for one, other in zip(found, gradients(_block, x, w), strict=True):
        torch.testing.assert_close(one, other)
    for name in PARTITIONERS.keys() - {"min-cut", "save-all"}:
        monkeypatch.delitem(PARTITIONERS, name)


def test_a_pipeline_as_partitioner(tmp_path: Path) -> None:
    x, w = leaf(4, 4), leaf(4, 4)
    text = "builtin.module(canonicalize,partition{activation-memory-budget=0})"
    assert explained(_block, x, w, partitioner=text).saved_bytes == 0
    with pytest.raises(Exception, match="the pipeline 'cse,canonicalize' leaves no @forward and @backward"):
        compiled(_block, partitioner="cse,canonicalize")(x, w)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (lambda joint: [], "saves too little: the backward also needs the argument"),
        (lambda joint: list(joint.block.arguments), "saves what only the backward can compute"),
    ],
)
def test_an_impossible_choice_is_refused(choice: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARTITIONERS, "impossible", choice)
    with create_context(), ir.Location.unknown():
        type_ = ir.Type.parse("tensor<4xf32>")
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            function = func.FuncOp("graph", ([type_], [type_]))
            block = function.add_entry_block()
        with ir.InsertionPoint(block):
            func.ReturnOp([b.sin(block.arguments[0])])
        Autodiff().run(module)
        with pytest.raises(ValueError, match=message):
            Partition("impossible").run(module)


# --- Values that are saved in another form ---------------------------------------------------------------------------


def _saved_types(function: Callable[..., Any], *arguments: Any, **options: Any) -> list[tuple[Any, ...]]:
    """Shape and dtype of each computed value that is saved."""
    graph = explained(function, *arguments, **options)
    return [(v.shape, v.dtype) for v in graph.saved if v.kind == "computed"]


_POSITIONS: dict[str, tuple[Callable[..., Any], Any]] = {
    "max pooling": (lambda x: F.max_pool2d(x.exp(), 3, 2, 1), ((2, 3, 6, 20), "int8")),
    "sort": (lambda x: x.exp().sort(-1).values, ((2, 3, 12, 40), "int8")),
    "max": (lambda x: x.exp().flatten(1).max(-1).values, ((2,), "int16")),
    "gather": (lambda x: x.exp().gather(3, x.argsort(3)), ((2, 3, 12, 40), "int8")),
}


@pytest.mark.parametrize("name", _POSITIONS)
@pytest.mark.parametrize("backend", ["partitioned", "cpu"])
def test_positions_are_saved_in_few_bytes(name: str, backend: str) -> None:
    function, expected = _POSITIONS[name]
    x = leaf(2, 3, 12, 40)
    assert expected in _saved_types(function, x)
    fast = flambeau.compile(function, backend=backend, fullgraph=True, options=STRICT)
    torch.testing.assert_close(gradients(fast, x), gradients(function, x))


def test_positions_without_a_bound_stay_as_they_are() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return x.exp().sort(0).values

    x = leaf(7)
    torch._dynamo.mark_dynamic(x, 0)
    fast = compiled(function)
    for size in (7, 300, 40000):
        x = leaf(size)
        torch._dynamo.mark_dynamic(x, 0)
        assert torch.equal(gradients(fast, x)[0], gradients(function, x)[0])


def test_a_gradient_of_max_pooling_is_differentiated_again() -> None:
    def penalty(pool: Callable[..., Any], x: torch.Tensor) -> torch.Tensor:
        (g,) = torch.autograd.grad(pool(x).sum(), x, create_graph=True)
        return g.square()

    def pool(x: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(x.sin(), 3, 2, 1, dilation=1).square()

    x = leaf(1, 2, 9, 8)
    expected = gradients(partial(penalty, pool), x)
    torch.testing.assert_close(gradients(partial(penalty, compiled(pool)), x), expected)


def _normalized(norm: torch.nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    return F.max_pool2d(F.relu(norm(x.exp())), 2).square()


@pytest.mark.parametrize("backend", ["partitioned", "cpu"])
@pytest.mark.parametrize("region", [False, True])
def test_batch_norm_is_computed_again_from_its_statistics(backend: str, region: bool) -> None:
    """Its result is not saved; gradients are eager's, and running statistics move once, in a region too."""

    def function(norm: torch.nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
        return _checkpointed(_normalized)(norm, x) if region else _normalized(norm, x)

    x, norm, other = leaf(4, 3, 16, 16), torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    assert ((4, 3, 16, 16), "float32") not in _saved_types(partial(function, norm), x)
    fast = flambeau.compile(partial(function, norm), backend=backend, fullgraph=True, options=STRICT)
    for _ in range(2):
        leaves = [x, *norm.parameters()]
        found = torch.autograd.grad(fast(x).sum(), leaves)
        expected = torch.autograd.grad(_normalized(other, x).sum(), [x, *other.parameters()])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(norm.running_var, other.running_var)
