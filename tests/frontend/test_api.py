# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""compile(), torch.compile by name, options, fallbacks, errors, dumps, threads, backends of one's own."""

import gc
import json
import os
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.exc import BackendCompilerFailed

import flambeau
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.pipelines.registry import PASSES
from flambeau.pipelines.stages import stage_passes
from flambeau.runtime import backends, devices
from flambeau.runtime.errors import BackendNotAvailableError, CompileError, UnknownBackendError
from flambeau.runtime.iree import compiler
from flambeau.tools.opt import main as flambeau_opt
from tests.oracle import close

STRICT = {"fallback": "error"}


def double(x: torch.Tensor) -> torch.Tensor:
    return x * 2


# --- Ways to call ----------------------------------------------------------------------------------------------------


def test_as_function_and_as_decorator() -> None:
    @flambeau.compile
    def plain(x: torch.Tensor) -> torch.Tensor:
        """Docs."""
        return x + 1

    @flambeau.compile(backend="partitioned", options=STRICT)
    def with_arguments(x: torch.Tensor) -> torch.Tensor:
        return x + 2

    x = torch.zeros(3)
    assert plain(x).tolist() == [1, 1, 1] and plain.__doc__ == "Docs."
    assert with_arguments(x).tolist() == [2, 2, 2] and with_arguments.__name__ == "with_arguments"
    assert flambeau.compile(double, backend="imported")(x + 1).tolist() == [2, 2, 2]


def test_module_stays_a_module() -> None:
    module = nn.Linear(3, 2)
    compiled = flambeau.compile(module, backend="partitioned", options=STRICT)
    assert isinstance(compiled, nn.Module)
    assert [p is q for p, q in zip(compiled.parameters(), module.parameters(), strict=True)] == [True, True]
    x = torch.ones(1, 3)
    close(compiled(x), module(x), "output")
    with torch.no_grad():
        module.weight.zero_()
    close(compiled(x), module.bias.detach()[None], "after a change of the weights")
    other = nn.Linear(3, 2)
    other.load_state_dict({k.removeprefix("_orig_mod."): v for k, v in compiled.state_dict().items()})
    close(other(x), compiled(x), "from the state dict")
    compiled.eval()
    assert not module.training


_FRESH_PROCESS = """
    import json, sys, warnings
    import torch
    warnings.simplefilter("error")
    names = torch._dynamo.list_backends()
    assert not any(name.startswith("flambeau") for name in sys.modules), "nothing of ours is imported"
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    x = torch.randn(5, 2)
    model(x).sum().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    worst = []
    for arguments in ({"backend": "flambeau"}, {"backend": "flambeau", "mode": "max-autotune"},
                      {"backend": "flambeau_partitioned", "options": {"fallback": "error"}}):
        torch._dynamo.reset()
        model.zero_grad()
        compiled = torch.compile(model, **arguments)
        compiled(x).sum().backward()
        worst.append(max((p.grad - e).abs().max().item() for p, e in zip(model.parameters(), expected)))
    import flambeau
    print(json.dumps([names, worst, flambeau.counters["graphs.eager"]]))
"""


def test_torch_compile_by_name_in_a_fresh_process() -> None:
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_FRESH_PROCESS)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    names, worst, in_eager = json.loads(process.stdout.splitlines()[-1])
    ours = {"flambeau", "flambeau_cpu", "flambeau_cuda", "flambeau_vulkan"}
    assert ours | {"flambeau_imported", "flambeau_functional", "flambeau_partitioned"} <= set(names)
    assert max(worst) < 1e-6 and in_eager == 0


# --- Bad input -------------------------------------------------------------------------------------------------------


def test_unknown_names_list_the_valid_ones() -> None:
    with pytest.raises(UnknownBackendError, match=r"did you mean 'cpu'.*cuda.*vulkan"):
        flambeau.compile(double, backend="cpuu")
    with pytest.raises(ValueError, match=r"(?s)fall_back.*fallback.*partitioner"):
        flambeau.compile(double, options={"fall_back": "error"})
    with pytest.raises(ValueError, match=r"(?s)fallback.*eager.*error"):
        flambeau.compile(double, options={"fallback": "ignore"})
    with pytest.raises(ValueError, match=r"(?s)reduce-overhead.*default.*max-autotune"):
        flambeau.compile(double, mode="reduce-overhead")
    with pytest.raises(ValueError, match="sequence of strings"):
        flambeau.compile(double, options={"iree_flags": "--flag"})


def test_options_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLAMBEAU_DUMP", str(tmp_path))
    flambeau.compile(double, backend="functional")(torch.ones(3))
    assert list(tmp_path.rglob("00_imported.mlir"))
    monkeypatch.setenv("FLAMBEAU_FALLBACK", "never")
    with pytest.raises(ValueError, match="FLAMBEAU_FALLBACK"):
        flambeau.compile(double)


def test_missing_device_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with fallback="eager": nothing is wrong with the graph."""

    def no_device(*_: Any, **__: Any) -> Any:
        raise BackendNotAvailableError("no CUDA device; there are: local")

    monkeypatch.setattr("flambeau.runtime.iree.session.find_device", no_device, raising=False)
    monkeypatch.setattr(devices, "find_device", no_device)
    with pytest.raises(BackendCompilerFailed, match="no CUDA device; there are: local"):
        flambeau.compile(double, backend="cpu")(torch.ones(3))


# --- What cannot be compiled -----------------------------------------------------------------------------------------


def unsupported(x: torch.Tensor) -> torch.Tensor:
    return torch.linalg.eigvalsh(x @ x.t()) + 1  # no op of ours


def refused(x: torch.Tensor) -> torch.Tensor:
    return torch.fft.fft(x @ x.t()).abs()  # complex numbers


def test_fallback_to_eager_is_right_counted_and_warned_about_once() -> None:
    x = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
    before = flambeau.counters["graphs.eager"]
    compiled = flambeau.compile(refused, backend="partitioned")
    with pytest.warns(flambeau.FlambeauWarning, match=r"(?s)test_api\.py:\d+.*_fft_r2c") as caught:
        found = compiled(x)
    assert len([w for w in caught if w.category is flambeau.FlambeauWarning]) == 1
    close(found, refused(x), "output")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        close(compiled(x + 1), refused(x + 1), "second call")
    assert flambeau.counters["graphs.eager"] == before + 1


def test_a_graph_that_iree_refuses_runs_in_eager_and_leaves_its_ir() -> None:
    x = torch.ones(3)
    compiled = flambeau.compile(double, options={"iree_flags": ["--no-such-flag"]})
    with pytest.warns(flambeau.FlambeauWarning, match="the graph as imported is in") as caught:
        close(compiled(x), double(x), "output")
    path = Path(str(caught[0].message).rpartition(" is in ")[2])
    assert "func.func @graph" in path.read_text()


def test_a_graph_whose_import_goes_wrong_runs_in_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    def go_wrong(*_: object) -> None:
        raise AssertionError("nobody foresaw this")

    monkeypatch.setattr("flambeau.frontend.compile.import_graph", go_wrong)
    x = torch.ones(3)
    with pytest.warns(flambeau.FlambeauWarning, match="runs in eager.*nobody foresaw this"):
        close(flambeau.compile(double)(x), double(x), "output")


def test_fallback_error_names_op_and_line() -> None:
    line = unsupported.__code__.co_firstlineno + 1
    with pytest.raises(BackendCompilerFailed, match=rf"(?s)test_api\.py:{line}.*linalg_eigh") as caught:
        flambeau.compile(unsupported, backend="partitioned", options=STRICT)(torch.eye(2))
    assert isinstance(caught.value.inner_exception, flambeau.CompilationError)


def test_a_failed_compilation_leaves_nothing_behind() -> None:
    x = torch.ones(3)
    with pytest.raises(BackendCompilerFailed, match="--no-such-flag") as caught:
        flambeau.compile(double, options={**STRICT, "iree_flags": ["--no-such-flag"]})(x)
    assert "flambeau_cpu" in str(caught.value)
    assert gc.isenabled()
    close(flambeau.compile(double, options=STRICT)(x), double(x), "afterwards")


def _cause(error: BaseException) -> CompileError:
    """The compiler's error in a chain of causes."""
    seen: BaseException | None = getattr(error, "inner_exception", error)
    while not isinstance(seen, CompileError):
        assert seen is not None
        seen = seen.__cause__
    return seen


def squared(x: torch.Tensor) -> torch.Tensor:
    return x @ x


@dataclass(frozen=True)
class MisspellMm:
    """Replace each matrix product by an op that nobody knows."""

    name = "misspell-mm"

    def run(self, module: ir.Module) -> None:
        for function in fn.functions(module):
            for op in fn.operations(fn.entry_block(function)):
                if op.name == "torch.aten.mm":
                    with ir.InsertionPoint(op), op.location:
                        unknown = ir.Operation.create(
                            "torch.operator",
                            results=[r.type for r in op.results],
                            operands=list(op.operands),
                            attributes={"name": ir.StringAttr.get("torch.aten.mmm")},
                        )
                    op.results[0].replace_all_uses_with(unknown.results[0])
                    op.erase()


def test_a_compiler_error_names_op_line_and_reproducer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PASSES, "misspell-mm", MisspellMm)
    options = {**STRICT, "pipeline": f"{stage_passes('lower-to-torch')},misspell-mm"}
    line = squared.__code__.co_firstlineno + 1
    with pytest.raises(BackendCompilerFailed, match=rf"(?s)torch\.aten\.mmm.*test_api\.py:{line}") as caught:
        flambeau.compile(squared, options=options)(torch.ones(3, 3))
    error = _cause(caught.value)
    assert error.reproducer is not None and error.reproducer.exists()
    assert str(error.reproducer) in str(caught.value)


def test_a_crash_of_the_compiler_is_an_exception(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    crashing = tmp_path / "iree-compile"
    crashing.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crashing.chmod(0o755)
    monkeypatch.setattr(compiler, "_compiler", lambda: str(crashing))
    x = torch.ones(3)
    with pytest.raises(BackendCompilerFailed, match="SIGSEGV") as caught:
        flambeau.compile(double, options=STRICT)(x)
    error = _cause(caught.value)
    assert error.reproducer is not None and error.reproducer.exists()
    torch._dynamo.reset()
    with pytest.warns(flambeau.FlambeauWarning, match="SIGSEGV"):
        close(flambeau.compile(double)(x), double(x), "in eager")


# --- Dumps -----------------------------------------------------------------------------------------------------------


def test_dump_writes_every_stage_for_the_opt_tool(tmp_path: Path) -> None:
    def function(x: torch.Tensor, w: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        steps.add_(1)
        h = torch.tanh(x @ w)
        with torch.no_grad():
            s = h.sum()
        return h * s

    compiled = flambeau.compile(function, options={**STRICT, "dump": str(tmp_path)}, dynamic=True)
    compiled(torch.ones(5, 8), torch.ones(8, 3, requires_grad=True), torch.zeros((), dtype=torch.int64))
    (folder,) = tmp_path.iterdir()
    files = sorted(folder.iterdir())
    names = [f.stem.partition("_")[2] for f in files]
    assert [int(f.stem.partition("_")[0]) for f in files] == list(range(len(files)))
    assert names[:2] == ["imported", "functionalize"]
    order = [names.index(n) for n in ("imported", "functionalize", "autodiff", "partition", "lower-to-torch")]
    assert order == sorted(order)
    texts = [f.read_text() for f in files]
    assert "flambeau.ref<" in texts[0] and "flambeau.ref<" not in texts[1]
    assert all("test_api.py" in text for text in texts), "every stage keeps the user's lines"
    for file in files:
        assert flambeau_opt([str(file), "-o", os.devnull]) == 0, file


# --- Threads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["partitioned", "cpu"])
def test_eight_threads_compile_and_call(backend: str) -> None:
    barrier = threading.Barrier(8)
    shared = flambeau.compile(lambda x, w: (x @ w).tanh(), backend=backend, options=STRICT)
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            own = flambeau.compile(lambda x: (x * number).sin() + number, backend=backend, options=STRICT)
            generator = torch.Generator().manual_seed(number)
            barrier.wait(60)
            for _ in range(5):
                x = torch.randn(6, 4, generator=generator)
                w = torch.randn(4, 3, generator=generator, requires_grad=True)
                close(own(x), (x * number).sin() + number, "own function", ulps=64)
                found = shared(x, w)
                close(found, (x @ w).tanh(), "shared function", ulps=64)
                (gradient,) = torch.autograd.grad(found.sum(), w)
                close(gradient, torch.autograd.grad((x @ w).tanh().sum(), w)[0], "gradient", ulps=64)
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert not any(thread.is_alive() for thread in threads)
    assert not failures, failures[0]


# --- Backends of one's own -------------------------------------------------------------------------------------------


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_REGISTRY", dict(backends._REGISTRY))


@pytest.mark.usefixtures("own_registry")
def test_register_a_backend_function() -> None:
    from flambeau.frontend.calling.execution import interpret

    seen: list[str] = []

    @flambeau.register_backend(name="mine", tags=("debug",))
    def through_the_interpreter(module: Any, signature: Any) -> Any:
        seen.append(",".join(signature))

        def function(name: str) -> Callable[..., Any]:
            execute, _ = interpret(module, name)
            return lambda *arguments: execute(arguments)

        return {name: function(name) for name in signature}

    @flambeau.register_backend
    def forward_only(module: Any, signature: Any) -> Any:
        execute, _ = interpret(module, "forward")
        return lambda *arguments: execute(arguments)

    assert "mine" not in flambeau.list_backends() and "mine" in flambeau.list_backends(exclude_tags=[])
    assert "forward_only" in flambeau.list_backends()
    x = torch.ones(3, requires_grad=True)
    flambeau.compile(double, backend="mine", options=STRICT)(x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [2, 2, 2] and seen == ["forward,backward"]

    compiled = flambeau.compile(double, backend="forward_only", options=STRICT)
    assert compiled(torch.ones(3)).tolist() == [2, 2, 2]
    with pytest.raises(BackendCompilerFailed, match="forward, backward"):
        compiled(x)


@pytest.mark.usefixtures("own_registry")
def test_a_backend_function_may_not_return_its_arguments_memory() -> None:
    @flambeau.register_backend(name="lazy")
    def lazy(module: Any, signature: Any) -> Any:
        return lambda x: [x]

    x = torch.ones(3)
    found = flambeau.compile(lambda x: x.clone(), backend="lazy", options=STRICT)(x)
    found.add_(1)
    assert x.tolist() == [1, 1, 1]
