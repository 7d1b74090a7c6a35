# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""C68 to C79: subclasses, effects, control flow, exports, what the IR says of its origin, sweeps."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention.flex_attention import flex_attention
from torch.testing._internal.two_tensor import TwoTensor

import flambeau
from flambeau.dialects import create_context
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.errors import file_location, made_by_autodiff
from flambeau.frontend.calling.signature import read_signature
from flambeau.frontend.capture.dynamo import capture
from flambeau.frontend.capture.exported_program import capture_exported_program
from flambeau.frontend.capture.records import UnsupportedGraphError
from flambeau.frontend.importing.importer import import_graph
from flambeau.pipelines.driver import run_pipeline
from flambeau.pipelines.stages import stage_passes
from flambeau.runtime import artefact_cache, interpreter
from flambeau.runtime.devices import environment
from tests.contract.conftest import State
from tests.contract.rungs import counted, differentiated, gradients, parsed, stages, strict
from tests.oracle import assert_like_eager, close, leaf, numbers, plain, weights_like
from tests.sweeps.cells import FAILURES, Cell, Outcome
from tests.sweeps.databases import entries
from tests.sweeps.judge import run_cell
from tests.sweeps.table import read_table


def test_c68_tensor_subclasses(rung: str, state: State) -> None:
    x = TwoTensor(numbers(3), numbers(3) + 1)
    compiled = flambeau.compile(lambda x: x * 2 + 1, backend=rung)
    with state.eager("TwoTensor"):
        found = compiled(x)
    assert isinstance(found, TwoTensor)
    close(found.a, numbers(3) * 2 + 1, "first")
    close(found.b, (numbers(3) + 1) * 2 + 1, "second")


class _Tagged(torch.Tensor):
    """A subclass without tensors inside."""


def _two(*, grad: bool = False) -> torch.Tensor:
    return TwoTensor(numbers(3), numbers(3) + 1).requires_grad_(grad)


def _jagged() -> torch.Tensor:
    return torch.nested.nested_tensor([numbers(2, 3), numbers(4, 3)], layout=torch.jagged)


@pytest.mark.parametrize(
    ("function", "make", "reason"),
    [
        (lambda x: (x * 2).sin(), lambda: [_two(grad=True)], "TwoTensor"),
        (lambda x: x * 2, lambda: [nn.Parameter(_two())], "TwoTensor"),
        (lambda x, y: x * y, lambda: [_two(), leaf(3)], "TwoTensor"),
        (lambda x: TwoTensor(x, x + 1) * 2, lambda: [leaf(3)], "TwoTensor"),
        (lambda x: x.add_(1), lambda: [_two()], "TwoTensor"),
        (lambda x: (x * 2).sin(), lambda: [numbers(3).as_subclass(_Tagged).requires_grad_()], "_Tagged"),
        (lambda x: x.sin() * 2, lambda: [_jagged()], "NestedTensor"),
        (lambda x: x.to_mkldnn().to_dense() + 1, lambda: [numbers(3)], "torch._mkldnn"),
        (lambda x: x * 2, lambda: [torch.ones(3, device="meta")], "the device meta"),
    ],
    ids=["gradient", "parameter", "mixed", "made", "written", "plain", "nested", "mkldnn", "meta"],
)
def test_c68_what_is_no_plain_tensor(function: Any, make: Any, reason: str, state: State) -> None:
    """The graph that meets it runs in eager: values, types, gradients and writes are eager's."""
    runs = []
    for compile_it in (False, True):
        arguments = make()
        if compile_it:
            with state.eager(reason):
                found = flambeau.compile(function, backend="partitioned")(*arguments)
        else:
            found = function(*arguments)
        if found.requires_grad:
            found.sum().backward()
        runs.append([found, *arguments, *(a.grad for a in arguments)])
    for one, other in zip(*runs, strict=True):
        assert type(one) is type(other)
        for have, want in zip(_plain_parts(one), _plain_parts(other), strict=True):
            assert have.device == want.device
            close(have, want, "output, argument or gradient", ulps=0)


def _plain_parts(value: torch.Tensor | None) -> list[torch.Tensor]:
    """The tensors that a tensor, possibly of a subclass, consists of."""
    if value is None or value.is_meta:
        return []
    if not hasattr(value, "__tensor_flatten__"):
        return [value.detach().as_subclass(torch.Tensor)]
    names, _ = value.__tensor_flatten__()
    return [part for name in names for part in _plain_parts(getattr(value, name))]


_LOG: list[str] = []


@torch.library.custom_op("flambeau_contract::log", mutates_args=())
def _log(x: torch.Tensor, text: str) -> torch.Tensor:
    _LOG.append(text)
    return x.clone()


@_log.register_fake
def _(x: torch.Tensor, text: str) -> torch.Tensor:
    return torch.empty_like(x)


_log.register_autograd(lambda ctx, g: (_log(g, "backward"), None))


def test_c69_effects(rung: str) -> None:
    """A custom op runs once, in order, on the host, whatever the partitioner computes again."""

    def function(x: torch.Tensor) -> torch.Tensor:
        y = _log(x.sin(), "first")
        return _log(y.cos(), "second").sum()

    logs = []
    for compile_it in (False, True):
        _LOG.clear()
        x = leaf(3)
        with counted("graphs.eager") as in_eager:
            compiled = flambeau.compile(function, backend=rung) if compile_it else function
            compiled(x).backward()
            assert in_eager() == 0
        logs.append(list(_LOG))
    assert logs[0] == logs[1] == ["first", "second", "backward", "backward"]


def test_c70_cond(rung: str) -> None:
    def function(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        def positive(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            y = x * w
            y[0] = 1.0  # a write to a temporary
            return y.sin()

        def negative(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            return torch.cond(x.min() < -1, lambda x, w: x - w, lambda x, w: (x + w).exp(), (x, w))

        return torch.cond(x.sum() > 4, positive, negative, (x, w)) * 2

    compiled = strict(function, rung)
    with counted("graphs") as graphs:
        for offset in (3.0, 0.0, -4.0):
            make = plain(lambda d=offset: (numbers(4) + d).requires_grad_(), lambda: leaf(4))
            assert_like_eager(function, make, compiled=compiled, afterwards=("nothing",))
        assert graphs() == 1


def test_c70_loops(rung: str) -> None:
    """`while_loop` runs on the host, its body op by op."""

    def function(x: torch.Tensor) -> Any:
        return torch._higher_order_ops.while_loop(lambda x: x.sum() < 100, lambda x: (x * 2,), (x,))[0] + 1

    compiled = flambeau.compile(function, backend=rung, fullgraph=True)
    with counted("graphs.eager") as in_eager:
        assert_like_eager(function, plain(lambda: torch.ones(3)), compiled=compiled)
        assert in_eager() == 0


def test_c71_flex_attention(rung: str, state: State) -> None:
    q, k, v = (numbers(1, 2, 16, 8) * factor for factor in (1, 2, 3))
    compiled = flambeau.compile(lambda q, k, v: flex_attention(q, k, v), backend=rung)
    with state.eager("flex_attention"):
        found = compiled(q, k, v)
    close(found, F.scaled_dot_product_attention(q, k, v), "output", ulps=256)


def test_c71_flex_attention_with_a_bias(state: State) -> None:
    """A modification of the scores, as a function of the positions."""
    q = numbers(1, 2, 16, 8)

    def function(q: torch.Tensor) -> torch.Tensor:
        return flex_attention(q, q, q, score_mod=lambda score, b, h, i, j: score + (i - j))

    with state.eager("flex_attention"):
        found = flambeau.compile(function, backend="partitioned")(q)
    positions = torch.arange(16.0)
    bias = positions[:, None] - positions
    close(found, F.scaled_dot_product_attention(q, q, q, attn_mask=bias), "output", ulps=256)


class _Exported(nn.Module):
    """A buffer that is written, a view, a random-free network with a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> Any:
        self.calls.add_(1)
        h = self.norm(self.conv(x))
        with torch.no_grad():
            s = h.sum()
        return torch.relu(h).view(-1)[::2] * s, self.calls * 2


@pytest.mark.parametrize("decomposed", [False, True], ids=["training", "functional"])
def test_c72_export_of_the_forward(decomposed: bool) -> None:
    """Of both grades: results are new values of buffers, which say so, and the outputs."""
    torch.manual_seed(0)
    module, x = _Exported(), numbers(2, 2, 4, 4)
    program = torch.export.export(module, (x,))
    if decomposed:
        program = program.run_decompositions()
    captured = capture_exported_program(program)
    imported = import_graph(captured.graph, create_context())
    run_pipeline(imported, stage_passes("functional"))
    (graph,) = fn.functions(imported)
    facts = read_signature(graph)
    updated = {facts.arguments[r.updates].name for r in facts.results if r.updates is not None}
    assert updated == {"calls", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert sorted(r.output for r in facts.results if r.output is not None) == [0, 1]
    values = [captured.state.get(i.source, x) for i in captured.graph.inputs]
    results = interpreter.Module(imported).function("graph")(*(v.clone() for v in values))
    expected = module(x)
    for fact, value in zip(facts.results, results, strict=True):
        if fact.output is not None:
            close(value, expected[fact.output].detach(), f"output {fact.output}")
        else:
            assert fact.updates is not None
            name = facts.arguments[fact.updates].name
            close(value, module.get_buffer(name), name)


def test_c73_the_joint_graph() -> None:
    """The pass autodiff makes of a forward function one of (primals, tangents) -> (outputs, gradients)."""
    text = """func.func @f(%x: tensor<2x3xf32>, %w: tensor<3x2xf32>) -> tensor<2x2xf32> {
      %0 = "flambeau.mm"(%x, %w) : (tensor<2x3xf32>, tensor<3x2xf32>) -> tensor<2x2xf32>
      %1 = "flambeau.tanh"(%0) : (tensor<2x2xf32>) -> tensor<2x2xf32>
      return %1 : tensor<2x2xf32>
    }"""
    with create_context(), ir.Location.unknown():
        module = ir.Module.parse(text)
    run_pipeline(module, "functionalize,decompose,autodiff,cse")
    (function,) = fn.functions(module)
    facts = read_signature(function)
    assert [a.role for a in facts.arguments] == ["input", "input", "tangent"]
    assert [r.gradient_of for r in facts.results] == [None, 0, 1]
    x, w = leaf(2, 3), leaf(3, 2)
    y = torch.tanh(x @ w)
    g = weights_like(y)
    expected = [y.detach(), *torch.autograd.grad(y, [x, w], g)]
    found = interpreter.Module(module).function("f")(x.detach(), w.detach(), g)
    for one, other in zip(found, expected, strict=True):
        close(one, other, "output or gradient")


class _ReplacesBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("b", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.b = x + 1
        return x * 2


class Double(torch.autograd.Function):
    """Twice its argument."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return g * 2


_SHARED = torch.ones(4)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (lambda x, y: x + y, [_SHARED, _SHARED], "one tensor is passed twice"),
        (lambda x, y: x.add_(1) + y, [_SHARED[:3], _SHARED[1:]], "share memory that the graph writes"),
        (_ReplacesBuffer(), [torch.ones(3)], "the module assigns to it"),
        (Double.apply, [leaf(3)], "seen only through torch.compile"),
        (lambda x: x.t_(), [torch.ones(2, 3)], "changes sizes, strides or history"),
        (lambda x: x + 1 if x.sum() > 0 else x, [torch.ones(3)], "data"),
    ],
    ids=["twice", "overlap", "buffer", "function", "metadata", "branch"],
)
def test_c74_what_cannot_be_expressed_is_refused(function: Any, arguments: Any, message: str) -> None:
    with pytest.raises(UnsupportedGraphError, match=message):
        import_graph(capture(function, arguments), create_context())


@pytest.mark.slow
def test_c75_what_comes_from_the_cache_behaves_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes, views, a custom function, random numbers."""

    def function(x: torch.Tensor, w: torch.Tensor) -> Any:
        y = x * w.sum()
        x.add_(1)
        return x[1:].t(), Double.apply(y), F.dropout(y, 0.5)

    monkeypatch.setenv("FLAMBEAU_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("FLAMBEAU_CACHE_SIZE", raising=False)
    # The sources may be worked on while their tests run.
    monkeypatch.setattr(environment, "source_digest", lambda: "sources")
    artefact_cache._open.cache_clear()
    runs = []
    with counted("cache.hit") as hits:
        for _ in range(2):
            torch._dynamo.reset()
            torch.manual_seed(3)
            x, w = numbers(3, 4), leaf(2)
            view, doubled, dropped = strict(function, "cpu")(x, w)
            assert view.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
            runs.append([x, view, doubled, dropped, *gradients(doubled + dropped, w)])
        assert hits() == 1
    artefact_cache._open.cache_clear()
    assert all(torch.equal(a, b) and a.stride() == b.stride() for a, b in zip(*runs, strict=True))


def _with_write(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    h = x @ w
    x.mul_(3)
    with torch.no_grad():
        s = h.sum()
    return torch.tanh(h) * s


def _places(path: Path) -> dict[str, list[tuple[Any, tuple[str, int] | None]]]:
    """The ops of each function in a module file, with file and line."""
    module = parsed(path)
    places = {}
    for function in fn.functions(module):
        ops = fn.operations(fn.entry_block(function))[:-1]
        lines = [place and place[:2] for place in (file_location(op.location) for op in ops)]
        own = [made_by_autodiff(op.location) for op in ops]
        places[function.name.value] = list(zip(own, lines, strict=True))
    return places


@differentiated
def test_c76_backward_ops_know_the_op_they_come_from(rung: str, tmp_path: Path) -> None:
    strict(_with_write, rung, options={"dump": tmp_path})(numbers(2, 3), leaf(3, 2))
    backward = _places(stages(tmp_path)["partition"])["backward"]
    first = _with_write.__code__.co_firstlineno
    lines = {line for _, line in backward}
    assert {(__file__, first + 1), (__file__, first + 5)} <= lines  # besides those of what is computed again
    assert all(file == __file__ and first < line <= first + 5 for file, line in lines)
    assert any(own for own, _ in backward)


def test_c77_every_op_knows_the_users_line(rung: str, tmp_path: Path) -> None:
    """In forward and backward, the copy-back included, after each pass."""
    strict(_with_write, rung, options={"dump": tmp_path})(numbers(2, 3), leaf(3, 2))
    for name, path in stages(tmp_path).items():
        for function, places in _places(path).items():
            assert places and all(line and line[0] == __file__ for _, line in places), f"{name}: {function}"


_RECORD = read_table()


def _is_recorded(database: str, dtype: torch.dtype) -> bool:
    """Whether each entry of a database has its outcome in the table that is checked in, none of them a failure."""
    rows = {key[1]: row for key, row in _RECORD.items() if key[0] == database and key[2] == "float32"}
    missing = set(entries(database, dtype)) - rows.keys()
    return not missing and not any(FAILURES & set(row.values()) for row in rows.values())


def _natively(database: str, entry: str, rung: str) -> None:
    """Judge the first sample of an entry."""
    for shapes in ("static", "dynamic"):
        result = run_cell(Cell(database, entry, "float32", 0, shapes, rung))
        assert (result.forward, result.backward) == (Outcome.NATIVE, Outcome.NATIVE), result.reason


@pytest.mark.slow
@differentiated
def test_c78_operators_of_pytorchs_database(rung: str) -> None:
    """The outcome of each is in docs/coverage.md; one is judged here."""
    assert _is_recorded("op_db", torch.float32)
    _natively("op_db", "nn.functional.gelu", rung)


@pytest.mark.slow
@differentiated
def test_c79_modules_of_pytorchs_database(rung: str) -> None:
    """The same for modules, in train and in eval."""
    assert _is_recorded("module_db", torch.float32)
    _natively("module_db", "GroupNorm.train", rung)
