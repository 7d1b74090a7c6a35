# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""options={"check": "stages"}: right programs pass, and a pass or backend that is wrong is named."""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import flambeau
from flambeau.dialects import build as b
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.frontend.compile import CompilationError, FlambeauWarning
from flambeau.pipelines import stages
from flambeau.pipelines.registry import PASSES, register_pass
from flambeau.runtime import interpreter
from flambeau.runtime.backends import Backend
from tests.oracle import close

CHECK = {"check": "stages", "fallback": "error"}


def rewrite(module: ir.Module, name: str, change: Callable[[Any], ir.Value]) -> None:
    """Replace the result of each op of that name by what `change` makes of the op."""
    for function in fn.functions(module):
        for op in fn.operations(fn.entry_block(function)):
            if op.name == name:
                with ir.InsertionPoint(op), op.location:
                    op.results[0].replace_all_uses_with(change(op))
                op.erase()


@pytest.fixture
def break_pass(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Registers a wrong pass and puts it behind another pass of a stage."""
    names: list[str] = []

    def insert(stage: str, behind: str, run: Callable[[ir.Module], None]) -> None:
        @register_pass
        @dataclass(frozen=True)
        class Broken:
            """Makes a mistake."""

            name = "broken-pass"

            def run(self, module: ir.Module) -> None:
                run(module)

        names.append(Broken.name)
        passes = list(stages.STAGES[stage])
        passes.insert(passes.index(behind) + 1, Broken.name)
        monkeypatch.setitem(stages.STAGES, stage, tuple(passes))

    yield insert
    for name in names:
        del PASSES[name]


def cosine_for_sine(module: ir.Module) -> None:
    rewrite(module, "flambeau.sin", lambda op: b.cos(op.operands[0]))


def f(x: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    h = x @ w
    y = torch.sin(h)
    return h.relu(), y


def call(compiled: Callable[..., Any], *, grad: bool) -> None:
    torch.manual_seed(0)
    compiled(torch.randn(4, 3), torch.randn(3, 2, requires_grad=grad))


# --- What is right ---------------------------------------------------------------------------------------------------


class Everything(nn.Module):
    """Updates of buffers, normalization, attention, dropout, a view of the input and a written input."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.norm, self.linear = nn.BatchNorm1d(8), nn.Linear(8, 8)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: torch.Tensor, log: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.calls.add_(1)
        log[0].add_(x.detach().mean())
        h = F.gelu(self.linear(self.norm(x)))
        h = F.dropout(h, self.p) if self.p else h
        y = F.scaled_dot_product_attention(h, h, h.exp())
        return F.log_softmax(y, -1), x[1], y.argmax(-1), self.calls * 2


@pytest.mark.parametrize("p", [0.0, 0.5])
@pytest.mark.parametrize(
    "backend", ["functional", "partitioned", pytest.param("cpu", marks=pytest.mark.slow)]
)
def test_right_programs_pass(backend: str, p: float) -> None:
    torch.manual_seed(0)
    module, eager = Everything(p), Everything(p)
    eager.load_state_dict(module.state_dict())
    compiled = flambeau.compile(module, backend=backend, options=CHECK)
    x = torch.randn(5, 8)
    for _ in range(2):
        logs = torch.zeros(2), torch.zeros(2)
        found, expected = compiled(x, logs[0]), eager(x, logs[1])
        found[0].sum().backward()
        assert torch.equal(logs[0], logs[1]) and torch.equal(found[3], expected[3])
        if not p:
            close(found[0], expected[0], "output", 64)
    assert module.calls == 2, "the check must not write"
    close(module.norm.running_mean, eager.norm.running_mean, "running mean")


def test_the_check_changes_no_random_state() -> None:
    compiled = flambeau.compile(lambda x: F.dropout(x, 0.5), backend="functional", options=CHECK)
    x = torch.ones(64)
    torch.manual_seed(3)
    first = compiled(x)
    torch.manual_seed(3)
    assert torch.equal(compiled(x), first)


def test_ops_on_the_host_and_custom_functions_pass() -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors
            return g * 3 * x

    def g(x: torch.Tensor) -> torch.Tensor:
        regular = x.exp().sin().cos() / 10 + torch.eye(4, 3)
        return Double.apply(torch.linalg.pinv(regular).exp().sin().cos())

    x = torch.randn(4, 3, requires_grad=True)
    compiled = flambeau.compile(g, options={"check": "stages"})
    with warnings.catch_warnings():
        warnings.simplefilter("error", FlambeauWarning)
        close(compiled(x), g(x), "output", 64)


def test_what_eager_cannot_differentiate_is_checked_without_its_gradients() -> None:
    def g(x: torch.Tensor) -> torch.Tensor:
        y = x.exp()
        y[0] = 0
        return y

    x = torch.randn(3, 4, requires_grad=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        g(x).sum().backward()
    close(flambeau.compile(g, backend="partitioned", options=CHECK)(x), g(x), "output")


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(4).expand(5, 4),
        torch.randn(10, 8)[::2, 1::3].detach().requires_grad_(),
        torch.randn(5, 4, dtype=torch.bfloat16, requires_grad=True),
        torch.empty(0, 4, requires_grad=True),
        torch.tensor([[-1.0, torch.nan, 0, torch.inf]]),
        torch.arange(20).view(5, 4),
    ],
    ids=["expanded", "strided", "bfloat16", "empty", "not finite", "integers"],
)
def test_unusual_inputs_pass(x: torch.Tensor) -> None:
    def g(x: torch.Tensor) -> tuple[Any, ...]:
        return torch.relu(x) * 2, x.t(), x.shape[0], None, (x.sum(0) > 1).any()

    found = flambeau.compile(g, backend="partitioned", dynamic=True, options=CHECK)(x)
    assert found[2:4] == (x.shape[0], None) and found[0].dtype == x.dtype


# --- What is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "behind", "grad"),
    [
        ("functional", "functionalize", False),
        ("partitioned", "decompose", True),
        ("partitioned", "partition", True),
    ],
)
def test_a_wrong_pass_is_named(
    break_pass: Callable[..., None], tmp_path: Path, stage: str, behind: str, grad: bool
) -> None:
    break_pass(stage, behind, cosine_for_sine)
    compiled = flambeau.compile(f, backend="partitioned", options={**CHECK, "dump": tmp_path})
    with pytest.raises(CompilationError) as error:
        call(compiled, grad=grad)
    message = str(error.value)
    line = f.__code__.co_firstlineno + 2
    assert (
        f"after pass 'broken-pass', output 1 ({__file__}:{line}) differs from eager: maximum error" in message
    )
    (folder,) = re.findall(r"the IR after each pass is in (.*)", message)
    (wrong,) = Path(folder).glob("*_broken-pass.mlir")
    assert "flambeau.cos" in wrong.read_text() and tmp_path in wrong.parents


def test_a_wrong_derivative_is_named(break_pass: Callable[..., None]) -> None:
    def wrong(module: ir.Module) -> None:  # the derivative of sin without its factor
        rewrite(module, "flambeau.cos", lambda op: op.operands[0])

    break_pass("partitioned", "autodiff", wrong)
    compiled = flambeau.compile(f, backend="partitioned", options=CHECK)
    with pytest.raises(CompilationError, match=r"after pass 'broken-pass', the gradient of w"):
        call(compiled, grad=True)


def test_a_wrong_update_is_named(break_pass: Callable[..., None]) -> None:
    def g(x: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
        total.add_(x.sin())
        return x * 2

    break_pass("functional", "functionalize", cosine_for_sine)
    compiled = flambeau.compile(g, backend="functional", options=CHECK)
    with pytest.raises(CompilationError, match=r"after pass 'broken-pass', the new value of total"):
        compiled(torch.ones(3), torch.zeros(3))


def test_a_wrong_pass_behind_random_ops_is_named(break_pass: Callable[..., None]) -> None:
    break_pass("partitioned", "decompose", cosine_for_sine)
    compiled = flambeau.compile(lambda x: F.dropout(x.sin(), 0.5), backend="partitioned", options=CHECK)
    with pytest.raises(CompilationError, match="after pass 'broken-pass', output 0"):
        compiled(torch.randn(16, requires_grad=True))


def test_a_wrong_backend_is_named() -> None:
    def wrong(module: ir.Module, signatures: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
        def function(name: str) -> Callable[..., Any]:
            return lambda *given: [r * 1.001 for r in interpreter.run(module, name, given)]

        return {name: function(name) for name in signatures}

    record = Backend("wrong", "partitioned", device="custom", compile_fn=wrong)
    compiled = flambeau.compile(f, backend=record, options=CHECK)
    with pytest.raises(
        CompilationError, match=r"after compilation by backend 'wrong', output 0 .* maximum error"
    ):
        call(compiled, grad=True)


def test_without_error_the_graph_runs_in_eager(break_pass: Callable[..., None]) -> None:
    break_pass("functional", "functionalize", cosine_for_sine)
    compiled = flambeau.compile(torch.sin, backend="functional", options={"check": "stages"})
    x = torch.randn(3)
    before = flambeau.counters["graphs.eager"]
    with pytest.warns(FlambeauWarning, match="after pass 'broken-pass'.*\n.*\nthis graph runs in eager"):
        assert torch.equal(compiled(x), x.sin())
    assert torch.equal(compiled(x + 1), (x + 1).sin())
    assert flambeau.counters["graphs.eager"] == before + 1
