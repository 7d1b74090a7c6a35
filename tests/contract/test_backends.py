# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""C01 to C13: Flambeau as a backend of torch.compile."""

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.backends import registry
from torch._dynamo.backends.debugging import ExplainWithBackend
from torch._dynamo.exc import BackendCompilerFailed

import flambeau
from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import OPS
from flambeau.dialects.walk import operations
from flambeau.frontend import dynamo_backends
from flambeau.frontend.compile import compile_graph
from flambeau.frontend.options import read_options
from flambeau.runtime import backends, interpreter
from flambeau.runtime.errors import BackendNotAvailableError
from flambeau.tools.opt import main as flambeau_opt
from flambeau.tools.run import main as flambeau_run
from tests.contract.rungs import STRICT, counted, interpreted, signatures, stages, strict
from tests.oracle import assert_like_eager, close, leaf, numbers, plain


def double(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@pytest.fixture
def own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is registered, with PyTorch and with us, is forgotten afterwards."""
    torch._dynamo.list_backends()
    monkeypatch.setattr(backends, "_REGISTRY", dict(backends._REGISTRY))
    monkeypatch.setattr(registry, "_BACKENDS", dict(registry._BACKENDS))
    monkeypatch.setattr(registry, "_COMPILER_FNS", dict(registry._COMPILER_FNS))


def test_c01_backend_contract(rung: str) -> None:
    """Flat tensors in, a list or tuple with eager's sizes, strides and dtypes out."""
    backend = getattr(dynamo_backends, f"flambeau_{rung}")
    arguments: list[tuple[Any, ...]] = []

    def watched(gm: Any, example_inputs: Any) -> Callable[..., Any]:
        call = backend(gm, example_inputs, options=STRICT)

        def run(*flat: Any) -> Any:
            arguments.append(flat)
            results = call(*flat)
            assert isinstance(results, list | tuple)
            return results

        return run

    def function(a: torch.Tensor, pair: tuple[torch.Tensor, torch.Tensor], n: int) -> Any:
        b, c = pair
        return [(a + b.t()) * n, c.exp(), (c * 2).to(torch.int32), (a * n).t()]

    def make() -> Any:
        a, b, c = leaf(2, 3), leaf(3, 2), numbers(4, dtype=torch.float64)
        return [a, b, c], [a, (b, c), 4]

    assert_like_eager(function, make, compiled=torch.compile(function, backend=watched, fullgraph=True))
    assert all(isinstance(a, torch.Tensor) for flat in arguments for a in flat)


@pytest.mark.usefixtures("own_registries")
def test_c02_register_a_backend() -> None:
    """With PyTorch by name or as a decorator, and with us; each runs once per graph."""
    ran: list[str] = []

    @torch._dynamo.register_backend(name="x")
    def through_us(gm: Any, example_inputs: Any) -> Any:
        ran.append("x")
        return compile_graph(gm, example_inputs, flambeau.lookup_backend("partitioned"), read_options(STRICT))

    @flambeau.register_backend
    def own(module: Any, signature: Any) -> Any:
        ran.append("own")
        return interpreter.Module(module).function("forward")

    for compiled in (torch.compile(double, backend="x"), flambeau.compile(double, backend="own")):
        close(compiled(torch.ones(3)), torch.full((3,), 2.0), "output")
    assert ran == ["x", "own"]
    with pytest.raises(ValueError, match="already registered"):
        flambeau.register_backend(name="own")(lambda module, signature: print)


def test_c03_listings_hide_debug_backends() -> None:
    production, debug = {"cpu", "cuda", "vulkan"}, {"imported", "functional", "partitioned"}
    assert production <= set(flambeau.list_backends()) and not debug & set(flambeau.list_backends())
    assert production | debug <= set(flambeau.list_backends(exclude_tags=[]))
    assert {f"flambeau_{name}" for name in production} <= set(torch._dynamo.list_backends())


_FRESH_PROCESS = """
    import json, sys
    import torch
    names = torch._dynamo.list_backends()
    assert not any(name.startswith("flambeau") for name in sys.modules), "nothing of ours is imported"
    x, w = torch.linspace(-1, 1, 12).view(3, 4), torch.linspace(1, 2, 4).requires_grad_()
    def f(x, w):
        return (torch.tanh(x) * w).sum(1)
    found = {}
    for name in ("flambeau", "flambeau_cpu", "flambeau_partitioned"):
        torch._dynamo.reset()
        value = torch.compile(f, backend=name, options={"fallback": "error"})(x, w)
        found[name] = [value.tolist(), torch.autograd.grad(value.square().sum(), w)[0].tolist()]
    import flambeau
    print(json.dumps({"names": names, "found": found, "counters": flambeau.counters}))
"""


@pytest.fixture(scope="module")
def fresh_processes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What two processes report that import nothing of ours, and share a cache that is empty at first."""
    variables = {
        "FLAMBEAU_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        "FLAMBEAU_CACHE_SIZE": "1000000000",
    }
    reports = []
    for _ in range(2):
        process = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(_FRESH_PROCESS)],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        reports.append(json.loads(process.stdout.splitlines()[-1]))
    return reports


@pytest.mark.slow
def test_c04_entry_points(fresh_processes: Any) -> None:
    x, w = torch.linspace(-1, 1, 12).view(3, 4), torch.linspace(1, 2, 4).requires_grad_()
    value = (torch.tanh(x) * w).sum(1)
    (gradient,) = torch.autograd.grad(value.square().sum(), w)
    for report in fresh_processes:
        assert {"flambeau", "flambeau_cpu", "flambeau_cuda", "flambeau_vulkan"} <= set(report["names"])
        for name, (found, of_w) in report["found"].items():
            close(torch.tensor(found), value.detach(), name)
            close(torch.tensor(of_w), gradient, name)


@pytest.mark.slow
def test_c75_another_process_compiles_from_the_cache(fresh_processes: Any) -> None:
    """`flambeau` and `flambeau_cpu` compile the same program: once in all."""
    counts = [[r["counters"].get(f"cache.{what}", 0) for what in ("miss", "hit")] for r in fresh_processes]
    assert counts == [[1, 1], [0, 2]]


@interpreted
def test_c05_backends_compose(rung: str) -> None:
    used = []

    def first_that_works(gm: Any, inputs: Any) -> Any:
        for name in ("no_such_backend", f"flambeau_{rung}"):
            try:
                compiled = torch._dynamo.lookup_backend(name)(gm, inputs)
            except torch._dynamo.exc.InvalidBackend:
                continue
            if compiled is not None:
                used.append(name)
                return compiled
        return gm.forward

    close(torch.compile(double, backend=first_that_works)(torch.ones(3)), torch.full((3,), 2.0), "output")
    assert used == [f"flambeau_{rung}"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n in ("imported", "partitioned") else pytest.mark.slow)
        for n in ("imported", "functional", "partitioned", "cpu", "cuda", "vulkan")
    ],
)
def test_c06_a_small_model_on_every_backend(name: str) -> None:
    model = nn.Sequential(nn.Linear(10, 100), nn.ReLU(), nn.Linear(100, 10), nn.Sigmoid()).eval()
    x = torch.randn(2, 10)
    try:
        found = strict(model, name)(x)
    except BackendCompilerFailed as error:
        if not isinstance(error.inner_exception, BackendNotAvailableError):
            raise
        pytest.skip(str(error.inner_exception))
    torch.testing.assert_close(found, model(x), rtol=0, atol=1e-5)


@interpreted
def test_c07_options_reach_the_backend(rung: str, tmp_path: Path) -> None:
    name = f"flambeau_{rung}"
    with counted("graphs") as graphs:
        for partitioner in ("min-cut", "save-all", "min-cut"):
            compiled = torch.compile(double, backend=name, options={**STRICT, "partitioner": partitioner})
            close(compiled(torch.ones(3)), torch.full((3,), 2.0), "output")
        assert graphs() >= 2
    flambeau.compile(double, backend=rung, options={"dump": tmp_path})(torch.ones(3))
    assert "imported" in stages(tmp_path)
    with pytest.raises(ValueError, match=r"(?s)opt_level.*partitioner"):
        flambeau.compile(double, backend=rung, options={"opt_level": 0})
    with pytest.raises(BackendCompilerFailed, match=r"(?s)opt_level.*partitioner"):
        torch.compile(double, backend=name, options={"opt_level": 0})(torch.ones(4))


@pytest.mark.slow
def test_c08_a_failure_of_the_backend() -> None:
    x = torch.ones(3)
    with pytest.raises(BackendCompilerFailed, match="flambeau_cpu") as caught:
        strict(double, "cpu", options={"iree_flags": ["--no-such-flag"]})(x)
    assert isinstance(caught.value.inner_exception, flambeau.CompilationError)
    close(strict(double, "cpu")(x), double(x), "afterwards")


def test_c08_a_failure_in_a_backend_of_ones_own() -> None:
    def failing(module: Any, signature: Any) -> Any:
        raise NotImplementedError("not today")

    with pytest.raises(BackendCompilerFailed, match=r"(?s)aot.*not today") as caught:
        strict(double, flambeau.aot(failing))(torch.ones(3))
    assert isinstance(caught.value.inner_exception, flambeau.CompilationError)
    close(strict(double, "partitioned")(torch.ones(3)), torch.full((3,), 2.0), "afterwards")


def test_c09_compilers_below_autograd() -> None:
    """Each gets one module with one function of functional ops; the backward's defaults to the forward's."""
    seen: list[tuple[str, list[str]]] = []

    def compiler(label: str) -> Any:
        def compile_function(module: ir.Module, signature: Any) -> Any:
            (function,) = module.body.operations
            names = {op.name for op in operations(module)}
            own = {n for n in names if not n.startswith(("func.", "arith.")) and n != "builtin.module"}
            assert own <= OPS.keys() and not any(".ref_" in n for n in own)
            seen.append((label, function.name.value))
            call = interpreter.Module(module).function(function.name.value)
            boxed: Any = lambda arguments: call(*arguments)  # noqa: E731
            boxed._boxed_call = True
            return boxed

        return compile_function

    def function(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        h = x @ w
        h[0].mul_(2)
        return torch.tanh(h)

    make = plain(lambda: numbers(4, 3), lambda: leaf(3, 2))
    for backend in (flambeau.aot(compiler("fw"), compiler("bw")), flambeau.aot(compiler("both"))):
        assert_like_eager(function, make, compiled=strict(function, backend))
    assert set(seen) == {("fw", "forward"), ("bw", "backward"), ("both", "forward"), ("both", "backward")}


@interpreted
def test_c10_explain(rung: str) -> None:
    """Eight graphs of one op each, with seven breaks between them."""

    def around(op: Any, inner: Any) -> Any:
        def function(x: torch.Tensor) -> torch.Tensor:
            x = inner(op(x))
            torch._dynamo.graph_break()
            return op(x)

        return function

    def innermost(x: torch.Tensor) -> torch.Tensor:
        x = torch.sin(x)
        torch._dynamo.graph_break()
        return torch.sin(x)

    function = around(torch.sigmoid, around(torch.tanh, around(torch.cos, innermost)))
    explained = ExplainWithBackend(f"flambeau_{rung}")
    x = numbers(3)
    close(torch.compile(function, backend=explained)(x), function(x), "output")
    output = explained.output()
    assert (output.graph_count, output.graph_break_count, output.op_count) == (8, 7, 8)


def test_c11_the_ir_can_be_seen(rung: str, tmp_path: Path) -> None:
    """A numbered folder per graph, a file per stage; each file is taken by the opt tool."""
    compiled = strict(lambda x, w: (x @ w).tanh(), rung, options={"dump": tmp_path})
    compiled(numbers(2, 3), leaf(3, 2))
    with torch.no_grad():
        compiled(numbers(2, 3), leaf(3, 2))
    training, inference = stages(tmp_path, 0), stages(tmp_path, 1)
    assert "imported" in training and "imported" in inference
    if rung != "functional":
        assert set(signatures(training["partition"])) == {"forward", "backward"}
        assert set(signatures(inference["partition"])) == {"forward"}
    for file in (*training.values(), *inference.values()):
        assert flambeau_opt([str(file), "-o", os.devnull]) == 0, file


def test_c12_freezing(rung: str) -> None:
    """Results are equal, and a parameter that is written afterwards is noticed: nothing is folded in for good."""
    model = nn.Linear(3, 2)
    x = torch.ones(1, 3)
    with torch.no_grad():
        compiled = strict(model, rung, options={"freezing": True})
        for _ in range(2):
            close(compiled(x), model(x), "output")
        model.weight.zero_()
        close(compiled(x), model.bias[None], "after a change")


def test_c13_a_failure_leaves_what_reproduces_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The graph as imported, which `flambeau-run` runs."""

    def failing(module: Any, signature: Any) -> Any:
        raise NotImplementedError("not today")

    compiled = flambeau.compile(lambda x, y: x * y + 1, backend=flambeau.aot(failing))
    with pytest.warns(flambeau.FlambeauWarning, match="the graph as imported is in") as caught:
        compiled(torch.ones(3), torch.ones(3))
    path = str(caught[0].message).rpartition(" is in ")[2]
    given = ["--input", "3xf32=1,2,3", "--input", "3xf32=4"]
    assert flambeau_run([path, "--stage", "functional", *given, "--expect", "3xf32=5,9,13"]) == 0
    assert "as expected" in capsys.readouterr().out
    assert re.search(r"graph_\d+\.mlir$", path)
