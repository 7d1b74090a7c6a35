# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ops that cannot be compiled run on the host, between compiled segments: values, gradients, effects, counts."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch._dynamo.exc import BackendCompilerFailed

import flambeau
from flambeau.dialects.bindings import ir
from flambeau.frontend.refused_lines import refused_line
from flambeau.pipelines.lower_to_torch import torch_builder
from flambeau.pipelines.lower_to_torch.torch_builder import REFUSALS, RULES
from flambeau.runtime.errors import CompileError

RUNGS = ("imported", "functional", "partitioned", "cpu")


def outcome(f: Callable[..., Any], *inputs: torch.Tensor) -> list[torch.Tensor]:
    """Outputs, then the gradients of the inputs that require one."""
    given = [x.detach().clone().requires_grad_(x.requires_grad) for x in inputs]
    outputs = f(*given)
    outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
    wanted = [x for x in given if x.requires_grad]
    if wanted:
        total = sum((o * o).sum() for o in outputs if o.requires_grad)
        assert isinstance(total, torch.Tensor)
        return [*outputs, *torch.autograd.grad(total, wanted)]
    return [*outputs, *given]  # what was written


def assert_like_eager(f: Callable[..., Any], *inputs: torch.Tensor, rung: str, **options: Any) -> None:
    before = flambeau.counters["graphs.eager"], flambeau.counters["ops.fallback"]
    torch.manual_seed(0)
    expected = outcome(f, *inputs)
    torch.manual_seed(0)
    found = outcome(flambeau.compile(f, backend=rung, fullgraph=True, options=options), *inputs)
    assert flambeau.counters["graphs.eager"] == before[0], "the graph ran in eager as a whole"
    assert flambeau.counters["ops.fallback"] > before[1], "nothing ran on the host"
    for position, (e, g) in enumerate(zip(expected, found, strict=True)):
        assert e.stride() == g.stride(), position
        assert g.dtype == e.dtype and g.shape == e.shape, position
        assert (g - e).abs().max() <= 1e-5 * e.abs().max(), f"{position}: {g} instead of {e}"


def between(x: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    h = torch.tanh(x @ w)
    y = torch.special.i0(h)
    z = (y * h).sum(1).exp()
    return torch.special.i0e(z[:4, None] * torch.eye(4) + y[:4, :4]), z


@pytest.mark.parametrize("rung", RUNGS)
def test_gradients_pass_through_ops_on_the_host(rung: str) -> None:
    torch.manual_seed(0)
    x, w = torch.randn(6, 8, requires_grad=True), torch.randn(8, 5, requires_grad=True)
    assert_like_eager(between, x, w, rung=rung)


@pytest.mark.parametrize("partitioner", ["min-cut", "save-all"])
def test_both_partitioners_carry_tapes(partitioner: str) -> None:
    torch.manual_seed(0)
    x, w = torch.randn(6, 8, requires_grad=True), torch.randn(8, 5, requires_grad=True)
    assert_like_eager(between, x, w, rung="partitioned", partitioner=partitioner)


def test_a_backward_may_run_twice() -> None:
    x = torch.rand(4, requires_grad=True)
    y = flambeau.compile(lambda x: torch.special.i0(x.exp()).sum(), backend="cpu")(x)
    first = torch.autograd.grad(y, x, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(y, x)[0])


@torch.library.custom_op("flambeau_tests::cube", mutates_args=())
def cube(x: torch.Tensor, scale: float) -> torch.Tensor:
    return scale * x**3


cube.register_fake(lambda x, scale: torch.empty_like(x))


def _save(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.save_for_backward(inputs[0])
    ctx.scale = inputs[1]


def _cube_backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor, None]:
    (x,) = ctx.saved_tensors
    return 7 * ctx.scale * x**2 * g, None  # not the true factor, 3: so it is seen that this ran


cube.register_autograd(_cube_backward, setup_context=_save)


@pytest.mark.parametrize("rung", RUNGS)
def test_a_custom_op_has_its_own_derivative(rung: str) -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        return torch.sin(cube(torch.cos(x) * 2, 0.5) + x).mul(2).exp()

    assert_like_eager(f, torch.randn(5, requires_grad=True), rung=rung)


@torch.library.custom_op("flambeau_tests::bump", mutates_args=("x",))
def bump(x: torch.Tensor, by: float) -> None:
    x += by


@pytest.mark.parametrize("rung", RUNGS)
def test_a_custom_op_that_writes_its_argument(rung: str) -> None:
    def f(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = y * 2
        bump(h, 3.0)
        bump(x, 1.0)
        return h * x

    assert_like_eager(f, torch.rand(4), torch.rand(4), rung=rung)


@torch.library.custom_op("flambeau_tests::strides_of", mutates_args=())
def strides_of(x: torch.Tensor) -> torch.Tensor:
    return x.sum() + torch.tensor(x.stride()).sum()


@strides_of.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return x.new_empty(())


@pytest.mark.parametrize("rung", RUNGS)
def test_a_custom_op_gets_eagers_strides(rung: str) -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        y = x.exp()
        return strides_of(y.t()) + strides_of(y.expand(2, 3, 4)) + strides_of(y[:1].t().expand(4, 5))

    assert_like_eager(f, torch.rand(3, 4), rung=rung)


@pytest.mark.parametrize("rung", RUNGS)
def test_sizes_that_depend_on_data(rung: str) -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        positions = torch.nonzero(x > 0)
        return (positions * 3 + 1).to(torch.float32).exp().neg()

    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        assert_like_eager(f, torch.tensor([0.5, -1.0, 2.0, 0.25]), rung=rung)


# --- Ops that somebody wants there -----------------------------------------------------------------------------------


def block(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    h = F.layer_norm(F.gelu(F.linear(x, w)), (5,))
    return (F.dropout(h.softmax(-1), 0.5, False) - 0.2).relu_() * F.silu(h)


@pytest.mark.parametrize(
    ("names", "rung", "run"),
    [
        (["aten.linear", "aten.gelu.default"], "imported", ["aten.linear.default", "aten.gelu.default"]),
        (["aten.linear", "flambeau.gelu"], "partitioned", ["aten.linear.default", "flambeau.gelu"]),
        (["aten.layer_norm", "aten.relu"], "partitioned", ["aten.layer_norm.default", "aten.relu.default"]),
        (["flambeau.softmax", "aten.silu"], "cpu", ["aten.silu.default", "flambeau.softmax"]),
    ],
)
def test_named_ops_run_on_the_host_and_are_no_error(names: list[str], rung: str, run: list[str]) -> None:
    """Composite ones too, which PyTorch or Flambeau would take apart."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    x, w = torch.randn(6, 8, requires_grad=True), torch.randn(5, 8, requires_grad=True)
    options = {"force_eager": names, "fallback": "error"}
    assert_like_eager(block, x, w, rung=rung, **options)
    explained = flambeau.explain(block, backend=rung, dry_run=True, options={"force_eager": names})(x, w)
    host = [op for op in explained.graphs[0].host if op.reason == "force_eager names it"]
    assert sorted({op.name for op in host}) == sorted(run)
    assert all(op.chosen for op in host)


def test_dropout_on_the_host_is_eagers_own() -> None:
    """PyTorch draws, and the gradient has what it drew."""
    torch._dynamo.reset()

    def f(x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x.exp(), 0.5, True) * 2

    options = {"force_eager": ["aten.dropout"]}
    assert_like_eager(f, torch.rand(64, requires_grad=True), rung="imported", **options)
    compiled = flambeau.compile(f, backend="partitioned", options={**options, "fallback": "error"})
    x = torch.zeros(64, requires_grad=True)
    torch.manual_seed(1)
    y = compiled(x)
    torch.manual_seed(1)
    assert torch.equal(y, f(x))
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], y)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("exp", "did you mean 'aten.exp'.*'flambeau.exp'"),
        ("aten.gelo", "did you mean 'aten.gelu'"),
        ("aten.gelu.defalt", "did you mean 'aten.gelu.default'"),
        ("flambeau.gelo", "did you mean 'flambeau.gelu'"),
        ("no_such_library.op", "unknown op 'no_such_library.op'; valid are"),
        ("aten.view", "makes a view"),
        ("aten.batch_norm", "writes running statistics"),
        ("flambeau.constant", "computes nothing"),
    ],
)
def test_names_of_no_ops_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"force_eager: .*{message}"):
        flambeau.compile(block, options={"force_eager": [name]})


# --- Ops that the compiler refuses -----------------------------------------------------------------------------------


def waves(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    h = torch.tanh(x @ w)
    y = torch.sin(h)
    z = torch.asin(h / 2)
    return ((y * z).exp() + x).sum(0) * 2


def test_a_line_that_the_compiler_names_runs_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lowering whose op IREE does not know."""

    def nonsense(sin: Any) -> ir.Value:
        name = {"name": ir.StringAttr.get("torch.aten.nonsense")}
        return ir.Operation.create(
            "torch.operator", results=list(sin.result_types), operands=[sin.x], attributes=name, regions=0
        ).results[0]

    monkeypatch.setitem(RULES, "flambeau.sin", nonsense)
    torch._dynamo.reset()
    torch.manual_seed(0)
    x, w = (torch.randn(3, 3, requires_grad=True) for _ in range(2))
    before = flambeau.counters["lines.refused"], flambeau.counters["compile.failed"]
    line = f"{__file__}:{waves.__code__.co_firstlineno + 2}"
    with pytest.warns(flambeau.FlambeauWarning, match=rf"{line} .*IREE refuses torch\.aten\.nonsense"):
        assert_like_eager(waves, x, w, rung="cpu")
    assert flambeau.counters["lines.refused"] == before[0] + 1
    assert flambeau.counters["compile.failed"] == before[1] + 1


def _lower_by_name(monkeypatch: pytest.MonkeyPatch, op: str) -> None:
    """Let an op of any dtype become the one of the torch dialect."""
    monkeypatch.delitem(REFUSALS, f"flambeau.{op}", raising=False)
    monkeypatch.setitem(
        RULES, f"flambeau.{op}", lambda o: torch_builder.call(f"aten.{op}", [o.x], *o.result_types)
    )


@pytest.mark.slow
def test_lines_that_the_compiler_refuses_are_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """IREE brings no sine and arcsine of float64, as its linker finds out, which knows no lines."""
    for op in ("sin", "cos", "asin"):
        _lower_by_name(monkeypatch, op)
    torch._dynamo.reset()
    torch.manual_seed(0)
    x, w = (torch.randn(3, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    before = flambeau.counters["lines.refused"]
    with pytest.warns(flambeau.FlambeauWarning, match="IREE refuses.*undefined symbol") as warned:
        assert_like_eager(waves, x, w, rung="cpu")
    messages = [str(w.message) for w in warned if "PyTorch runs the ops of" in str(w.message)]
    for line, message in zip((2, 3), messages, strict=True):
        assert f"{__file__}:{waves.__code__.co_firstlineno + line} " in message
    assert flambeau.counters["lines.refused"] == before + 2


@pytest.mark.parametrize("bad", range(5))
def test_the_search_finds_the_first_bad_line(bad: int) -> None:
    lines = [f"f.py:{n}" for n in range(5)]
    bad_lines = {lines[bad], lines[4]}
    trials = []

    def compiles(on_host: Sequence[str]) -> bool:
        trials.append(on_host)
        return bad_lines <= set(on_host)

    crash = CompileError("it crashed", diagnostics="somewhere")
    assert refused_line(crash, lines, compiles) == lines[bad]
    assert len(trials) <= 4
    assert refused_line(crash, lines, lambda _: False) is None
    for error in (
        CompileError("not installed"),
        CompileError("it did not end within 9 s", diagnostics="..."),
    ):
        assert refused_line(error, lines, compiles) is None
    assert refused_line(CompileError("no such op", location="f.py:3:7"), lines, compiles) == "f.py:3"


def test_strict_compilation_leaves_no_line_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    _lower_by_name(monkeypatch, "sin")
    torch._dynamo.reset()
    before = flambeau.counters["lines.refused"]
    compiled = flambeau.compile(torch.sin, options={"fallback": "error"})
    with pytest.raises(BackendCompilerFailed, match="undefined symbol: sin"):
        compiled(torch.ones(3, dtype=torch.float64))
    assert flambeau.counters["lines.refused"] == before


def test_strict_compilation_names_op_and_line() -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        return torch.special.i0(x) + 1

    line = f.__code__.co_firstlineno + 1
    with pytest.raises(
        BackendCompilerFailed, match=rf"(?s)test_host_segments\.py:{line}.*aten\.i0.*on the host"
    ):
        flambeau.compile(f, options={"fallback": "error"})(torch.ones(2))
