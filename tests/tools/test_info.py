# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""flambeau-info: says what is there and what is missing, even where next to nothing is there; explains cache misses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flambeau.runtime.artefact_cache import ArtefactCache
from flambeau.runtime.devices import keep_awake
from flambeau.tools import info


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtefactCache:
    """The cache that the tool looks at: empty."""
    monkeypatch.setenv("FLAMBEAU_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("FLAMBEAU_CACHE_SIZE", raising=False)
    return ArtefactCache(tmp_path / "cache")


def output(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What the tool prints, blanks squeezed."""
    assert info.main(arguments) == code
    return " ".join(capsys.readouterr().out.split())


def test_report(store: ArtefactCache, capsys: pytest.CaptureFixture[str]) -> None:
    store.store({"ir": "x"}, {"a": bytes(5000)})
    text = output(capsys, "--no-check")
    for word in (
        "flambeau",
        "torch-mlir",
        "iree-base-compiler",
        "cpu",
        "vulkan",
        "cuda",
        "FLAMBEAU_CACHE_DIR",
    ):
        assert word in text
    assert str(store.folder) in text and "1 artefacts, 5." in text
    assert "missing" not in text


def test_report_as_json(store: ArtefactCache, capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads(output(capsys, "--no-check", "--json"))
    backends = {backend["name"]: backend for backend in report["backends"]}
    assert set(backends) >= {"cpu", "cuda", "vulkan"}
    assert backends["cpu"]["device"] and "llvm-cpu" in backends["cpu"]["target"]
    for backend in backends.values():
        assert backend["self_check"] == "not run"
        assert backend["device"] or "To get one" in backend["problem"]
        assert not (backend["device"] and backend["problem"])
    assert report["cache"]["folder"] == str(store.folder)


@pytest.mark.parametrize(
    ("option", "impossible", "words"),
    [
        (
            "auto",
            "",
            "kept awake during calls (a wake-up of more than 50 us is slow); one wakes up in 612 us",
        ),
        ("on", "", "kept awake during calls (keep_awake is on); one wakes up in 612 us"),
        ("off", "", "left asleep (keep_awake is off); one wakes up in 612 us"),
        ("auto", "the system refuses: no", "left asleep (the system refuses: no)"),
        ("often", "", "left asleep (there is no such value; valid: auto, on, off); one wakes up in 612 us"),
    ],
)
def test_keep_awake(
    store: ArtefactCache,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    impossible: str,
    words: str,
) -> None:
    monkeypatch.setenv("FLAMBEAU_KEEP_AWAKE", option)
    monkeypatch.setattr(keep_awake, "wake_up_seconds", lambda: 612e-6)
    monkeypatch.setattr(keep_awake, "why_impossible", lambda: impossible)
    monkeypatch.setattr(keep_awake, "_granted_cores", lambda: float("inf"))
    assert f"keep_awake {option}: idle cores are {words}" in output(capsys, "--no-check")
    report = json.loads(output(capsys, "--no-check", "--json"))["keep_awake"]
    assert report["option"] == option and report["wake_up_us"] == (None if impossible else 612)


def test_cpu_check_runs() -> None:
    assert info._self_check("cpu") == "passed"


@pytest.mark.parametrize(
    ("script", "verdict"),
    [
        ("import os; os.kill(os.getpid(), 11)", "crashed (SIGSEGV)"),
        ("import time; time.sleep(60)", "no answer within 1 s"),
        ("raise RuntimeError('row_sum is off by 3e-1')", "row_sum is off by 3e-1"),
        ("raise SystemExit(3)", "exit code 3"),
    ],
)
def test_device_that_crashes_or_hangs(monkeypatch: pytest.MonkeyPatch, script: str, verdict: str) -> None:
    monkeypatch.setattr(info, "_CHECK", script)
    monkeypatch.setattr(info, "_CHECK_SECONDS", 1.0 if "sleep" in script else 60.0)
    found = info._self_check("cpu")
    assert found.startswith("failed: ") and verdict in found


def test_works_without_its_packages(store: ArtefactCache, tmp_path: Path) -> None:
    """No torch, no torch-mlir, no IREE: the report says so, and how to get them."""
    script = """
import importlib.metadata, sys
from importlib.abc import MetaPathFinder

GONE = {"torch", "torch_mlir", "iree", "networkx"}

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in GONE:
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Blocked())
installed = importlib.metadata.version

def version(name):
    if name.startswith(("torch", "iree")):
        raise importlib.metadata.PackageNotFoundError(name)
    return installed(name)

importlib.metadata.version = version
from flambeau.tools.info import main
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "missing" in done.stdout
    assert "pip install 'iree-base-compiler" in done.stdout
    assert "passed" not in done.stdout


def test_wrong_version_is_a_problem(
    store: ArtefactCache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(info, "requires", lambda name: ["torch<2", "numpy>=1", 'pytest>=99; extra == "test"'])
    text = output(capsys, "--no-check", code=1)
    assert "pip install 'torch<2'" in text
    assert text.count("pip install") == 1


def test_cache_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("FLAMBEAU_CACHE_SIZE", raising=False)
    monkeypatch.setenv("FLAMBEAU_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert "no folder that can be written to" in output(capsys, "--no-check")
    monkeypatch.setenv("FLAMBEAU_CACHE_SIZE", "0")
    assert "nothing is kept" in output(capsys, "--no-check")


def test_cache_list_and_clear(store: ArtefactCache, capsys: pytest.CaptureFixture[str]) -> None:
    assert "0 artefacts" in output(capsys, "cache")
    store.store({"ir": "x"}, {"a": b""}, "train.py:12")
    (entry,) = store.entries()
    text = output(capsys, "cache", "list")
    assert "train.py:12" in text and entry.key[:12] in text and "1 artefacts" in text
    (listed,) = json.loads(output(capsys, "cache", "--json"))
    assert listed["key"] == entry.key and listed["parts"] == {"ir": "x"}
    assert "1 artefacts removed" in output(capsys, "cache", "clear")
    assert store.entries() == []


def test_cache_why(store: ArtefactCache, capsys: pytest.CaptureFixture[str]) -> None:
    first = {"ir": "x", "arguments": "tensor<4xf32>", "flags": "--a"}
    store.lookup(first, "train.py:12")
    assert "the cache was empty" in output(capsys, "cache", "why")
    store.store(first, {"a": b""}, "train.py:12")
    store.lookup({**first, "flags": "--b"}, "train.py:12")
    text = output(capsys, "cache", "why")
    assert "train.py:12, just now" in text
    assert "flags --b --a" in text and "arguments" not in text
    key = store.misses()[1].key
    assert "the cache was empty" in output(capsys, "cache", "why", key[:8])
    explained = json.loads(output(capsys, "cache", "why", "--json"))
    assert explained["differs"] == {"flags": ["--b", "--a"]}


def test_cache_why_of_what_was_removed(store: ArtefactCache, capsys: pytest.CaptureFixture[str]) -> None:
    store.lookup({"ir": "x"}, "a")
    store.lookup({"ir": "x"}, "a")
    assert "removed since" in output(capsys, "cache", "why")


def test_cache_why_of_damage(store: ArtefactCache, capsys: pytest.CaptureFixture[str]) -> None:
    store.store({"ir": "x"}, {"a": b""})
    next(store.folder.glob("*.artefact")).write_bytes(b"")
    with pytest.warns(UserWarning, match="removed"):
        store.lookup({"ir": "x"}, "a")
    assert "damaged: it is of another kind" in output(capsys, "cache", "why")


def test_cache_why_without_misses(store: ArtefactCache, capsys: pytest.CaptureFixture[str]) -> None:
    assert info.main(["cache", "why"]) == 0
    assert info.main(["cache", "why", "abc"]) == 1
    assert "no miss is recorded" in capsys.readouterr().err


def test_long_parts_are_cut_to_where_they_differ() -> None:
    a, b = info._shown_apart("x" * 100 + "a" + "y" * 100, "x" * 100 + "b" + "y" * 100)
    assert len(a) < 70 and "a" in a and "b" in b and a.startswith("…x") and a.endswith("y…")
    assert info._shown_apart("short", "shorter") == ("short", "shorter")
