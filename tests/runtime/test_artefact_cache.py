# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The cache on disk: what is stored is found, whole or not at all, and no fault of the disk is an error."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flambeau.runtime import artefact_cache
from flambeau.runtime.artefact_cache import (
    ArtefactCache,
    CacheWarning,
    cache_folder,
    cache_max_bytes,
    key_of,
    open_cache,
    read_size,
)

PARTS = {"ir": "a" * 64, "target": "cpu"}
FILES = {"artefact.vmfb": bytes(range(256)) * 40, "facts.json": b'{"a": 1}', "empty": b""}

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def store(tmp_path: Path) -> ArtefactCache:
    return ArtefactCache(tmp_path / "cache")


def entry_file(store: ArtefactCache) -> Path:
    """The one entry."""
    (path,) = store.folder.glob("*.artefact")
    return path


def filled(folder: Path, size: int, names: str, max_bytes: int) -> ArtefactCache:
    """A cache with one entry of `size` content bytes per letter, stored in this order."""
    store = ArtefactCache(folder, max_bytes)
    for age, name in enumerate(names):
        assert store.store({"name": name}, {"x": bytes(size)})
        path = store.folder / f"{key_of({'name': name})}.artefact"
        if path.exists():
            os.utime(path, (time.time(), 1000 + age))
    return store


def test_finds_what_was_stored(store: ArtefactCache) -> None:
    assert store.lookup(PARTS, "a") is None
    assert store.store(PARTS, FILES, label="model.py:3")
    assert store.lookup(PARTS) == FILES
    assert store.lookup(dict(reversed(PARTS.items()))) == FILES
    (entry,) = store.entries()
    assert (entry.label, entry.parts, entry.key) == ("model.py:3", PARTS, key_of(PARTS))
    assert entry.files == {name: len(content) for name, content in FILES.items()}
    assert entry.size == store.total_bytes() == entry_file(store).stat().st_size


@pytest.mark.parametrize(
    "other", [{"ir": "b" * 64, "target": "cpu"}, {"ir": "a" * 64}, {**PARTS, "more": ""}]
)
def test_other_parts_are_a_miss(store: ArtefactCache, other: dict[str, str]) -> None:
    store.store(PARTS, FILES)
    assert store.lookup(other) is None
    assert store.lookup(PARTS) == FILES


def test_store_replaces(store: ArtefactCache) -> None:
    store.store(PARTS, FILES)
    store.store(PARTS, {"x": b"new"})
    assert store.lookup(PARTS) == {"x": b"new"}
    assert len(store.entries()) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:10],
        lambda content: content[:100],
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: bytes(len(content)),
        lambda content: b"PK\x03\x04" + content,
        lambda content: content.replace(b"artefact 1", b"artefact 9"),
        lambda content: content.replace(b'"cpu"', b'"gpu"'),
    ],
)
def test_damaged_entry_is_a_miss_and_goes(store: ArtefactCache, damage) -> None:  # type: ignore[no-untyped-def]
    store.store(PARTS, FILES)
    path = entry_file(store)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(CacheWarning, match=r"cannot be used: .*; it is removed"):
        assert store.lookup(PARTS, "a") is None
    assert not path.exists()
    assert store.misses()[0].reason.startswith("damaged")
    store.store(PARTS, FILES)
    assert store.lookup(PARTS) == FILES


def test_each_flipped_byte_is_seen(store: ArtefactCache) -> None:
    """Whatever byte changes, what comes back is right or nothing."""
    files = {"x": b"0123456789", "y": b"ab"}
    store.store(PARTS, files)
    path = entry_file(store)
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0x20
        path.write_bytes(changed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CacheWarning)
            assert ArtefactCache(store.folder).lookup(PARTS) is None, position


def test_entry_under_a_foreign_name_is_a_miss(store: ArtefactCache) -> None:
    store.store(PARTS, FILES)
    other = {"ir": "other"}
    entry_file(store).rename(store.folder / f"{key_of(other)}.artefact")
    with pytest.warns(CacheWarning, match="something else"):
        assert store.lookup(other) is None


def test_warns_once(store: ArtefactCache) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            store.store(PARTS, FILES)
            entry_file(store).write_bytes(b"junk")
            assert store.lookup(PARTS, "a") is None
    (message,) = [str(w.message) for w in caught]
    assert str(store.folder) in message and "FLAMBEAU_CACHE_DIR" in message


def test_full_disk(store: ArtefactCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(artefact_cache.os, "replace", full)
    with pytest.warns(CacheWarning, match="No space left on device"):
        assert not store.store(PARTS, FILES)
    assert not [p for p in store.folder.iterdir() if p.name != "misses.jsonl"]  # nothing half is left
    assert not store.store(PARTS, FILES)  # and no second warning


def test_write_that_stops_midway(store: ArtefactCache) -> None:
    """The system cuts a file short, as on a full disk: a real fault, in a process of its own."""
    script = f"""
import resource, sys, warnings
from flambeau.runtime.artefact_cache import ArtefactCache
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
cache = ArtefactCache({str(store.folder)!r})
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert not cache.store({PARTS!r}, {{"x": bytes(100000)}})
assert "File too large" in str(caught[0].message), caught
assert len(caught) == 1
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert list(store.folder.iterdir()) == []


def test_killed_writer_leaves_nothing_that_is_found(store: ArtefactCache) -> None:
    script = f"""
import os, signal
from flambeau.runtime import artefact_cache
def kill(source, target):
    os.kill(os.getpid(), signal.SIGKILL)
artefact_cache.os.replace = kill
artefact_cache.ArtefactCache({str(store.folder)!r}).store({PARTS!r}, {{"x": bytes(100000)}})
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    (rest,) = store.folder.iterdir()
    assert store.lookup(PARTS, "a") is None
    assert store.entries() == []
    store.store(PARTS, FILES)
    assert rest.exists()  # its writer may be at work
    os.utime(rest, (0, 0))
    store.store(PARTS, FILES)
    assert not rest.exists()
    assert store.lookup(PARTS) == FILES


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to write everywhere."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that everybody can reach; pytest's own are for their owner only."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_read_only_folder(public_folder: Path) -> None:
    store = ArtefactCache(public_folder / "cache")
    store.store(PARTS, FILES)
    entry_file(store).chmod(0o444)
    store.folder.chmod(0o555)
    with as_nobody():
        assert store.lookup(PARTS) == FILES  # reading needs no right to write
        assert store.lookup({"ir": "other"}) is None
        with pytest.warns(CacheWarning, match="cannot be kept: .*Permission denied"):
            assert not store.store({"ir": "other"}, FILES)
        assert not store.store({"ir": "other"}, FILES)
    store.folder.chmod(0o755)


def test_damaged_entry_in_a_read_only_folder(public_folder: Path) -> None:
    store = ArtefactCache(public_folder / "cache")
    store.store(PARTS, FILES)
    entry_file(store).write_bytes(b"junk")
    entry_file(store).chmod(0o444)
    store.folder.chmod(0o555)
    with as_nobody(), pytest.warns(CacheWarning, match="it stays there"):
        assert store.lookup(PARTS, "a") is None
    store.folder.chmod(0o755)


def test_folder_without_permission(tmp_path: Path) -> None:
    store = ArtefactCache(tmp_path / "cache")
    store.store(PARTS, FILES)
    store.folder.chmod(0)
    with as_nobody(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert store.lookup(PARTS, "a") is None
        assert not store.store(PARTS, FILES)
        assert store.entries() == [] and store.misses() == [] and store.total_bytes() == 0
    store.folder.chmod(0o755)
    assert len(caught) == 1 and "Permission denied" in str(caught[0].message)


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("mine")
    store = ArtefactCache(tmp_path / "cache")
    with pytest.warns(CacheWarning):
        assert store.lookup(PARTS, "a") is None
    assert not store.store(PARTS, FILES)
    assert store.entries() == []
    assert (tmp_path / "cache").read_text() == "mine"


def test_folder_that_vanishes(store: ArtefactCache) -> None:
    store.store(PARTS, FILES)
    entry_file(store).unlink()
    (store.folder / "misses.jsonl").unlink(missing_ok=True)
    store.folder.rmdir()
    assert store.lookup(PARTS, "a") is None
    assert store.store(PARTS, FILES)
    assert store.lookup(PARTS) == FILES


def test_folder_is_for_its_owner_alone(store: ArtefactCache) -> None:
    """An artefact is machine code: who may write there may run code as us."""
    store.store(PARTS, FILES)
    assert store.folder.stat().st_mode & 0o777 == 0o700


def test_two_processes_and_many_threads_store_the_same(store: ArtefactCache) -> None:
    content = {"x": os.urandom(200_000)}
    script = f"""
import sys
from flambeau.runtime.artefact_cache import ArtefactCache
content = {{"x": sys.stdin.buffer.read()}}
for _ in range(30):
    cache = ArtefactCache({str(store.folder)!r})
    assert cache.store({PARTS!r}, content)
    assert cache.lookup({PARTS!r}) == content
"""
    processes = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", script], stdin=subprocess.PIPE)
        for _ in range(2)
    ]
    found: list[object] = []

    def work() -> None:
        for _ in range(30):
            assert store.store(PARTS, content)
            found.append(store.lookup(PARTS) == content)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for process in processes:
        process.communicate(content["x"])
    for thread in threads:
        thread.join()
    assert [process.returncode for process in processes] == [0, 0]
    assert found == [True] * 120
    assert [p.suffix for p in store.folder.iterdir()] == [".artefact"]


def test_least_recently_used_goes_first(tmp_path: Path) -> None:
    size = filled(tmp_path / "one", 1000, "a", 1 << 20).total_bytes()
    store = filled(tmp_path / "cache", 1000, "abc", 3 * size + 100)
    assert store.lookup({"name": "a"}) is not None  # now "b" is the oldest
    assert store.store({"name": "d"}, {"x": bytes(1000)})
    assert {e.parts["name"] for e in store.entries()} == {"a", "c", "d"}
    assert store.entries()[-1].parts["name"] == "c"
    assert store.total_bytes() <= store.max_bytes


def test_what_is_larger_than_the_cache_is_not_kept(tmp_path: Path) -> None:
    store = filled(tmp_path, 1000, "a", 2000)
    assert not store.store({"name": "b"}, {"x": bytes(3000)})
    assert [e.parts["name"] for e in store.entries()] == ["a"]


def test_size_zero_is_no_cache(tmp_path: Path) -> None:
    store = ArtefactCache(tmp_path / "cache", 0)
    assert not store.store(PARTS, FILES)
    assert store.lookup(PARTS, "a") is None
    assert not store.folder.exists()


def test_a_miss_is_explained_by_the_nearest_entry(store: ArtefactCache) -> None:
    store.store({"ir": "x", "target": "a", "flags": "1"}, FILES, "far")
    store.store({"ir": "y", "target": "b", "flags": "2"}, FILES, "near")
    asked = {"ir": "y", "target": "a2", "flags": "2", "new": "3"}
    assert store.lookup(asked, "mine") is None
    store.store(asked, FILES, "itself")
    store.store({**asked, "new": "4"}, FILES, "later")
    (miss,) = store.misses()
    assert (miss.label, miss.parts, miss.reason) == ("mine", asked, "absent")
    difference = store.explain(miss)
    assert difference is not None
    assert difference.entry.label == "near"
    assert difference.parts == {"target": ("a2", "b"), "new": ("3", None)}


def test_first_miss_has_nothing_to_compare_with(store: ArtefactCache) -> None:
    store.lookup(PARTS, "a")
    assert store.explain(store.misses()[0]) is None


def test_misses_are_bounded_and_damage_in_them_is_skipped(
    store: ArtefactCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artefact_cache, "_MAX_MISSES_BYTES", 10_000)
    for number in range(200):
        store.lookup({"number": str(number), "text": "t" * 100}, "a")
    file = store.folder / "misses.jsonl"
    assert file.stat().st_size < 12_000
    assert [m.parts["number"] for m in store.misses()[:3]] == ["199", "198", "197"]
    file.write_bytes(b'{"half\n\xff\xfe\n[1]\n{"a": 1}\n' + file.read_bytes())
    assert store.misses()[0].parts["number"] == "199"


def test_clear(store: ArtefactCache) -> None:
    store.lookup(PARTS, "a")
    store.store(PARTS, FILES)
    (store.folder / "mine.txt").write_text("stays")
    assert store.clear() == 1
    assert [p.name for p in store.folder.iterdir()] == ["mine.txt"]
    assert ArtefactCache(store.folder / "absent").clear() == 0


def test_entries_are_readable_text_first(store: ArtefactCache) -> None:
    """`head -2` of an entry shows what it is."""
    store.store(PARTS, FILES, "model.py:3")
    magic, header, *_ = entry_file(store).read_bytes().split(b"\n")
    assert magic == b"flambeau-artefact 1"
    assert json.loads(header.partition(b" ")[2])["parts"] == PARTS


def test_folder_and_size_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FLAMBEAU_CACHE_DIR", raising=False)
    monkeypatch.delenv("FLAMBEAU_CACHE_SIZE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert cache_folder() == tmp_path / "flambeau"
    assert cache_max_bytes() == 4 << 30
    monkeypatch.setenv("FLAMBEAU_CACHE_DIR", str(tmp_path / "mine"))
    monkeypatch.setenv("FLAMBEAU_CACHE_SIZE", "2M")
    assert (open_cache().folder, open_cache().max_bytes) == (tmp_path / "mine", 2 << 20)
    assert open_cache(tmp_path / "given").folder == tmp_path / "given"
    assert open_cache() is open_cache()


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("123", 123), ("500M", 500 << 20), ("4GiB", 4 << 30), ("1.5 kb", 1536)]
)
def test_sizes(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1", "4 apples", "G"])
def test_bad_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="500M, 4GiB"):
        read_size(text)


def test_loads_no_compiler() -> None:
    script = """
import sys
import flambeau.runtime.artefact_cache
assert not {"torch", "torch_mlir", "iree", "numpy"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
