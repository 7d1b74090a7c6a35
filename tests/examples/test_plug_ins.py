# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The small examples run, and print what they are there to show. The pages in docs/ name them."""

import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from flambeau.pipelines.registry import PASSES
from flambeau.runtime import backends

ROOT = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.checkout


@pytest.fixture(autouse=True)
def registries_restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What an example registers is gone after it."""
    monkeypatch.setattr(backends, "_REGISTRY", dict(backends._REGISTRY))
    torch._dynamo.reset()
    torch.manual_seed(0)
    yield
    for name in [name for name, cls in PASSES.items() if not cls.__module__.startswith("flambeau.")]:
        del PASSES[name]


def load(name: str) -> dict[str, Any]:
    """The names that an example defines."""
    return runpy.run_path(str(ROOT / "examples" / f"{name}.py"))


def printed(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What an example prints as a program."""
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    return capsys.readouterr().out


def test_toy_backend(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed("toy_backend", capsys).splitlines()
    assert "2 flambeau.addmm" in lines[0] and lines[1].startswith("@backward: 3 flambeau.mm")
    assert float(lines[2].removeprefix("loss ")) < 0.5


def test_debugging_backend(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed("debugging_backend", capsys)
    stages = re.findall(r"^--- ([\w-]+): ", text, re.MULTILINE)
    assert stages[0] == "imported" and {"functionalize", "autodiff", "partition"} <= set(stages)
    functionalized = text.partition("--- functionalize")[2].partition("\n--- ")[0]
    assert re.search(r'^- +"flambeau.ref_store"', functionalized, re.MULTILINE)
    assert re.search(r"^\+ .*flambeau.updates = 0", functionalized, re.MULTILINE)
    # d sin(x * x) / dx = 2 x cos(x * x)
    assert text.splitlines()[-1] == "calls 1, gradient tensor([0.9689, 1.0806])"


def test_speedy_backend(capsys: pytest.CaptureFixture[str]) -> None:
    load("speedy_backend")["main"](size=64, calls=2)
    assert re.fullmatch(
        r"cpu +\d+\.\d\d ms\ncpu-packed +\d+\.\d\d ms\neager +\d+\.\d\d ms\n", capsys.readouterr().out
    )


def test_composed_backend(capsys: pytest.CaptureFixture[str]) -> None:
    one, two, refused, three = printed("composed_backend", capsys).splitlines()
    assert (one, two, three) == ("1 ops: eager", "2 ops: native", "3 ops: eager")
    assert refused.startswith("3 ops, not native: ") and "linalg_pinv" in refused


def test_custom_pass(capsys: pytest.CaptureFixture[str]) -> None:
    before, after, gradient = printed("custom_pass", capsys).splitlines()
    powers = [int(re.findall(r"(\d+) powers", line)[0]) for line in (before, after)]
    assert "square-by-multiplication" in after and powers[1] == powers[0] - 1
    assert gradient == "gradient tensor([2., 4., 6.])"


def test_custom_op(capsys: pytest.CaptureFixture[str]) -> None:
    compiled, *host = printed("custom_op", capsys).splitlines()
    assert int(re.findall(r"compiled: (\d+) ops", compiled)[0]) > 5
    assert [line.split(",")[0] for line in host] == ["on the host: flambeau_examples.clipped_sinc.default"]


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_examples_are_short_and_named_in_the_docs(path: Path) -> None:
    if path.stem in ("digits", "training", "stages", "curves"):
        pytest.skip("the demo")
    assert len(path.read_text().splitlines()) < 60
    pages = [page.read_text() for page in (ROOT / "docs").glob("*.md")]
    assert any(f"examples/{path.name}" in page for page in pages)
