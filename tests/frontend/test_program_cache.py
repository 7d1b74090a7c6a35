# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The cache seen through flambeau.compile: what was compiled once is not compiled again, in this process or another;
no fault of the disk changes a result; what decides a program decides where it is kept.
"""

import errno
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import fx

import flambeau
from flambeau.dialects import create_context
from flambeau.frontend.capture.dynamo import capture_dynamo_graph
from flambeau.frontend.importing.importer import import_graph
from flambeau.frontend.options import read_options
from flambeau.frontend.program_cache import place_in_cache
from flambeau.pipelines import registry
from flambeau.pipelines.lower_to_torch import torch_builder
from flambeau.runtime import artefact_cache
from flambeau.runtime.artefact_cache import ArtefactCache, CacheWarning
from flambeau.runtime.backends import Backend, lookup_backend
from flambeau.runtime.devices import environment
from flambeau.runtime.iree import compiler, self_check

STRICT = {"fallback": "error"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an empty cache that is in use."""
    monkeypatch.delenv("FLAMBEAU_CACHE_SIZE", raising=False)
    monkeypatch.setenv("FLAMBEAU_CACHE_DIR", str(tmp_path / "cache"))
    # The sources may be worked on while their tests run.
    monkeypatch.setattr(environment, "source_digest", lambda: "sources")
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def _fresh_counters() -> Iterator[None]:
    flambeau.counters.clear()
    artefact_cache._open.cache_clear()
    yield
    artefact_cache._open.cache_clear()


def f(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return (torch.tanh(x) * w).sum(1)


def step(function: Callable[..., torch.Tensor] = f, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Compile from scratch, call, and differentiate: the value and the gradient of `w`, which are eager's."""
    torch._dynamo.reset()
    x = torch.linspace(-1, 1, 12).view(3, 4)
    w, w_eager = (torch.linspace(1, 2, 4).requires_grad_() for _ in range(2))
    value = flambeau.compile(function, options={**STRICT, **options})(x, w)
    value.square().sum().backward()
    expected = function(x, w_eager)
    expected.square().sum().backward()
    assert w.grad is not None and w_eager.grad is not None
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(w.grad, w_eager.grad)
    return value.detach(), w.grad


def hits_and_misses() -> tuple[int, int]:
    return flambeau.counters["cache.hit"], flambeau.counters["cache.miss"]


def entry(folder: Path) -> Path:
    """The file of the only entry."""
    (path,) = folder.glob("*.artefact")
    return path


def test_second_compilation_runs_neither_passes_nor_compiler(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = step()
    native = flambeau.counters["ops.native"]
    assert hits_and_misses() == (0, 1) and native > 0
    monkeypatch.setattr("flambeau.frontend.compile.run_pipeline", pytest.fail)
    monkeypatch.setattr(compiler, "_run", pytest.fail)
    second = step()
    assert hits_and_misses() == (1, 1)
    assert flambeau.counters["ops.native"] == 2 * native
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_entry_says_what_it_is_of(folder: Path) -> None:
    step()
    (kept,) = ArtefactCache(folder).entries()
    assert Path(kept.label.rpartition(":")[0]).name == "test_program_cache.py"
    assert kept.parts["arguments"].startswith("tensor<3x4xf32>, tensor<4xf32>")
    assert set(kept.files) == {"host.mlirbc", "artefact.vmfb", "facts.json"}


@torch.library.custom_op("flambeau_test_cache::halve", mutates_args=())
def halve(x: torch.Tensor) -> torch.Tensor:
    return x / 2


@halve.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


halve.register_autograd(lambda ctx, g: g / 2)


def test_what_runs_on_the_host_comes_from_the_cache_too(folder: Path) -> None:
    def g(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return (torch.exp(halve(torch.tanh(x) * w + 1)) * 2 - w).sum(1)

    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", flambeau.FlambeauWarning)
            step(g, fallback="eager")
    assert hits_and_misses() == (1, 1)
    assert flambeau.counters["graphs.eager"] == 0
    assert flambeau.counters["ops.fallback"] > 0


def test_writes_views_and_random_numbers_come_from_the_cache_too(folder: Path) -> None:
    def g(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x.add_(1)
        return x[1:].t(), torch.nn.functional.dropout(x, 0.5)

    results = []
    for _ in range(2):
        torch._dynamo.reset()
        torch.manual_seed(3)
        x = torch.ones(3, 4)
        view, dropped = flambeau.compile(g, options=STRICT)(x)
        assert torch.equal(x, torch.full((3, 4), 2.0))
        assert view.stride() == (1, 4) and view.untyped_storage()._cdata == x.untyped_storage()._cdata
        results.append(dropped)
    assert hits_and_misses() == (1, 1)
    assert torch.equal(*results)


def test_dynamic_sizes_come_from_the_cache_too(folder: Path) -> None:
    for _ in range(2):
        torch._dynamo.reset()
        compiled = flambeau.compile(f, dynamic=True, options=STRICT)
        for n in (3, 5):
            x, w = torch.randn(n, 4), torch.randn(4)
            torch.testing.assert_close(compiled(x, w), f(x, w))
    assert hits_and_misses() == (1, 1)


def test_self_check_is_compiled_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vulkan = lookup_backend("vulkan")
    first = self_check._artefact(vulkan, ArtefactCache(folder))
    monkeypatch.setattr(self_check, "compile_module", pytest.fail)
    assert self_check._artefact(vulkan, ArtefactCache(folder)) == first
    (kept,) = ArtefactCache(folder).entries()
    assert kept.label == "self-check of vulkan"
    assert ArtefactCache(folder).misses() == []  # nobody asks why


# --- Faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-5000] + bytes(5000),
    ],
)
def test_damage_is_compiled_again(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    step()
    path = entry(folder)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(CacheWarning, match="it is removed") as caught:
        step()
    assert sum(issubclass(w.category, CacheWarning) for w in caught) == 1
    step()
    assert hits_and_misses() == (1, 2)


def test_artefact_that_does_not_load_is_compiled_again(folder: Path) -> None:
    step()
    (kept,) = ArtefactCache(folder).entries()
    files = ArtefactCache(folder).lookup(kept.parts)
    assert files is not None
    ArtefactCache(folder).store(kept.parts, {**files, "artefact.vmfb": bytes(1000)})
    with pytest.warns(CacheWarning, match="it is removed"):
        step()
    step()
    assert hits_and_misses() == (2, 1)


def test_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(artefact_cache.os, "replace", full)
    with pytest.warns(CacheWarning, match="No space left"):
        step()
    with warnings.catch_warnings():
        warnings.simplefilter("error", CacheWarning)  # said once
        step()
    assert hits_and_misses() == (0, 2)
    assert list(folder.glob("*")) == [folder / "misses.jsonl"]


def test_folder_that_is_none(folder: Path) -> None:
    folder.write_text("a file")
    with pytest.warns(CacheWarning) as caught:
        step()
    assert sum(issubclass(w.category, CacheWarning) for w in caught) == 1
    assert folder.read_text() == "a file"


def test_read_only_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step()
    real = artefact_cache.tempfile.mkstemp

    def read_only(*args: Any, **options: Any) -> Any:
        if Path(options.get("dir") or "/") == folder:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(*args, **options)

    monkeypatch.setattr(artefact_cache.tempfile, "mkstemp", read_only)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CacheWarning)
        step()
    assert hits_and_misses() == (1, 1)  # it can be read
    with pytest.warns(CacheWarning, match="Read-only file system"):
        step(lambda x, w: f(x, w) + 1)


def test_folder_that_vanishes(folder: Path) -> None:
    step()
    shutil.rmtree(folder)
    step()
    step()
    assert hits_and_misses() == (1, 2)


SCRIPT = """
import os, sys, warnings
import torch, flambeau
from flambeau.runtime.devices import environment
environment.source_digest = lambda: "sources"  # they may be worked on meanwhile
{before}
warnings.simplefilter("error")

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(4, 8), torch.nn.Linear(8, 2)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        self.calls += 1
        return self.second(torch.nn.functional.dropout(self.first(x).relu(), 0.25)) + torch.tensor([0.5, 1.5])

torch.manual_seed(0)
net = Net()
value = flambeau.compile(net, options={{"fallback": "error"}}, dynamic={dynamic})(torch.ones(3, 4))
value.sum().backward()
print(flambeau.counters["cache.hit"], flambeau.counters["cache.miss"], value.tolist(), net.first.weight.grad.tolist())
"""


def process(seed: int = 0, before: str = "", dynamic: bool | None = None) -> subprocess.Popen[str]:
    """A process of its own that compiles and prints hits, misses, value and gradient."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(before=before, dynamic=dynamic)],
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        stdout=subprocess.PIPE,
        text=True,
    )


def printed(running: subprocess.Popen[str]) -> tuple[str, str]:
    """`hits misses` and the rest of what a process printed."""
    output, _ = running.communicate(timeout=300)
    assert running.returncode == 0
    hits, misses, rest = output.split(maxsplit=2)
    return f"{hits} {misses}", rest


def test_processes_at_once(folder: Path) -> None:
    """Two that know nothing of each other, and a third that starts from what they left, its sets in another order."""
    first, second = [printed(running) for running in [process(1), process(2)]]
    assert len(list(folder.glob("*.artefact"))) == 1
    assert printed(process(3)) == ("1 0", first[1])
    assert second[1] == first[1]


@pytest.mark.slow
def test_dynamic_sizes_in_another_process(folder: Path) -> None:
    counts, first = printed(process(1, dynamic=True))
    assert counts == "0 1"
    assert printed(process(2, dynamic=True)) == ("1 0", first)


@pytest.mark.slow
def test_killed_process(folder: Path) -> None:
    kill = "os.replace = lambda *_: os.kill(os.getpid(), 9)"
    running = process(before=kill)
    running.communicate(timeout=300)
    assert running.returncode == -signal.SIGKILL
    assert list(folder.glob("*.artefact")) == []
    assert printed(process())[0] == "0 1"
    assert printed(process())[0] == "1 0"


# --- What decides ----------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """One program and how it is compiled."""

    function: Callable[..., Any] = f
    shape: Sequence[int] = (3, 4)
    dtype: torch.dtype = torch.float32
    requires_grad: bool = True
    dynamic: bool = False
    backend: str | Backend = "cpu"
    options: Mapping[str, Any] = ()  # type: ignore[assignment]  # an empty one

    def parts(self) -> Mapping[str, str] | None:
        """The ingredients under which its program is kept; None if it is not."""
        found: list[Any] = []
        backend = lookup_backend(self.backend) if isinstance(self.backend, str) else self.backend

        def look(gm: fx.GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
            module = import_graph(capture_dynamo_graph(gm, example_inputs), create_context())
            found.append(place_in_cache(module, backend, read_options(dict(self.options))))
            return gm.forward

        torch._dynamo.reset()
        x = torch.zeros(*self.shape, dtype=self.dtype)
        w = torch.zeros(self.shape[-1], dtype=self.dtype, requires_grad=self.requires_grad)
        torch.compile(self.function, backend=look, dynamic=self.dynamic)(x, w)
        (place,) = found
        return None if place is None else place._parts


def other_constant(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return (torch.tanh(x) * w).sum(1) + torch.tensor([1.0] * 200 + [2.0]).sum()


def another_constant(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return (torch.tanh(x) * w).sum(1) + torch.tensor([1.0] * 200 + [3.0]).sum()


def no_grad_inside(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        h = torch.tanh(x)
    return (h * w).sum(1)


@pytest.mark.parametrize(
    ("case", "differs"),
    [
        (Case(), set()),
        (Case(other_constant), {"ir"}),
        (Case(another_constant), {"ir"}),
        (Case(shape=(5, 4)), {"ir", "arguments", "results"}),
        (Case(dtype=torch.float64), {"ir", "arguments", "results"}),
        (Case(requires_grad=False), {"ir"}),
        (Case(dynamic=True), {"ir", "arguments", "results"}),
        (Case(options={"partitioner": "save-all"}), {"options.partitioner"}),
        (Case(options={"activation_memory_budget": 0.5}), {"options.activation_memory_budget"}),
        (Case(options={"iree_flags": ["--iree-opt-level=O1"]}), {"options.iree_flags"}),
        (Case(options={"pipeline": "cse,lower-to-torch"}), {"options.pipeline", "passes"}),
        (Case(options={"fallback": "error"}), {"options.fallback"}),
        (Case(options={"dump": "ir"}), set()),
        (Case(options={"cache_dir": "elsewhere"}), set()),
        (Case(backend="vulkan"), {"target", "flags", "cpu"}),
        (Case(backend="cuda"), {"target", "flags", "cpu"}),
    ],
)
def test_what_decides_the_program(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case, differs: set[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    base, other = Case().parts(), case.parts()
    assert base is not None and other is not None
    assert {name for name in base.keys() | other.keys() if base.get(name) != other.get(name)} == differs


def test_large_constants_decide_by_all_their_elements(folder: Path) -> None:
    a, b = Case(other_constant).parts(), Case(another_constant).parts()
    assert a is not None and b is not None and a["ir"] != b["ir"]


def test_place_in_the_sources_does_not_decide(folder: Path) -> None:
    texts = ["def f(x, w): return (x * w).sum(1)", "\n\n\ndef f(x, w):\n    y = x * w\n    return y.sum(1)"]
    found = []
    for number, text in enumerate(texts):
        path = folder.parent / f"source_{number}.py"
        path.write_text(text)
        namespace: dict[str, Any] = {}
        exec(compile(text, str(path), "exec"), namespace)
        found.append(Case(namespace["f"]).parts())
    assert found[0] == found[1]


@pytest.mark.parametrize("package", ["torch", "torch-mlir", "iree-base-compiler", "flambeau"])
def test_versions_decide(folder: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    base = Case().parts()
    real = environment.package_version
    monkeypatch.setattr(
        environment, "package_version", lambda name: "0.0.1" if name == package else real(name)
    )
    other = Case().parts()
    assert base is not None and other is not None
    assert [name for name in base if base[name] != other[name]] == [package]


def test_sources_and_cpu_decide(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = Case().parts()
    monkeypatch.setattr(environment, "source_digest", lambda: "others")
    monkeypatch.setattr(environment, "cpu_features", lambda: ("sse2",))
    other = Case().parts()
    assert base is not None and other is not None
    assert sorted(name for name in base if base[name] != other[name]) == ["cpu", "flambeau"]


# --- What is not kept ------------------------------------------------------------------------------------------------


def test_sources_that_change_meanwhile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "source_digest", lambda: None)
    assert Case().parts() is None


def test_changed_sources_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = environment.source_digest.__wrapped__
    monkeypatch.setattr(environment, "_STARTED", 0.0)
    assert digest() is None
    monkeypatch.setattr(environment, "_STARTED", float("inf"))
    first = digest()
    assert first is not None and first == digest()


def test_a_wheel_has_the_digest_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders in place of the links of a checkout make no difference, and every source counts."""
    digest = environment.source_digest.__wrapped__
    monkeypatch.setattr(environment, "_STARTED", float("inf"))
    seen = {digest()}
    package = tmp_path / "flambeau"
    shutil.copytree(Path(environment.__file__).parents[2], package)
    assert not (package / "runtime").is_symlink()
    monkeypatch.setattr(environment, "__file__", str(package / "runtime/devices/environment.py"))
    assert digest() in seen
    for part in ("__init__.py", "dialects/ops/shape.py", "tools/opt.py"):
        (package / part).write_text("")
        assert digest() not in seen
        seen.add(digest())


def test_foreign_pass(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows when the code of another package has changed."""

    class Foreign:
        name = "tests-foreign-pass"

    options = {"pipeline": "tests-foreign-pass,lower-to-torch"}
    monkeypatch.setitem(registry.PASSES, "tests-foreign-pass", Foreign)
    assert Case(options=options).parts() is None
    (miss,) = ArtefactCache(folder).misses()
    assert (
        "test_program_cache.py" in miss.label
        and "pass tests-foreign-pass is not part of Flambeau" in miss.reason
    )
    assert flambeau.counters["cache.bypass"] == 1
    assert Case().parts() is not None


def test_foreign_rule(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(torch_builder.RULES, "flambeau.tests_no_such_op", lambda a: [])
    assert Case().parts() is None
    assert "the lowering of flambeau.tests_no_such_op" in ArtefactCache(folder).misses()[0].reason


def test_own_backend_function(folder: Path) -> None:
    own = Backend("own", pipeline="partitioned", compile_fn=lambda module, signature: None)
    assert Case(backend=own).parts() is None
    assert Case(backend="functional").parts() is None


def test_switched_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAMBEAU_CACHE_SIZE", "0")
    step()
    assert hits_and_misses() == (0, 0)
    assert not folder.exists()


def test_folder_as_option(folder: Path, tmp_path: Path) -> None:
    step(cache_dir=str(tmp_path / "mine"))
    step(cache_dir=tmp_path / "mine")
    assert hits_and_misses() == (1, 1)
    assert not folder.exists() and entry(tmp_path / "mine")


def test_bad_size_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAMBEAU_CACHE_SIZE", "plenty")
    with pytest.raises(ValueError, match="FLAMBEAU_CACHE_SIZE"):
        flambeau.compile(f)


def test_who_dumps_sees_every_pass(folder: Path, tmp_path: Path) -> None:
    step()
    step(dump=tmp_path / "ir")
    assert list((tmp_path / "ir").rglob("*lower-to-torch.mlir"))
    assert hits_and_misses() == (1, 1)


def test_failure_is_not_kept(folder: Path) -> None:
    with pytest.raises(Exception, match="no-such-flag"):
        step(iree_flags=["--no-such-flag"])
    assert ArtefactCache(folder).entries() == []
