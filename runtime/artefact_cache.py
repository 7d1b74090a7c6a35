# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled artefacts on disk, found again by what they were made from.

In: the ingredients of a compilation ("parts", texts by name). Out: the files that were stored for exactly these parts,
or None. What goes wrong on disk is a miss and one warning, never an error. Loads no torch, no MLIR, no IREE; no pickle.
"""

import contextlib
import hashlib
import json
import os
import re
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import platformdirs

__all__ = [
    "DEFAULT_MAX_BYTES",
    "ArtefactCache",
    "CacheWarning",
    "Difference",
    "Entry",
    "Miss",
    "cache_folder",
    "cache_max_bytes",
    "digest",
    "open_cache",
    "read_size",
]

DEFAULT_MAX_BYTES = 4 << 30

# First line of every entry; a change of the format is a change of the number.
_MAGIC = b"flambeau-artefact 1\n"
_SUFFIX = ".artefact"
_TEMPORARY = ".tmp-"
_MISSES = "misses.jsonl"

_MAX_HEADER_BYTES = 16 << 20
_MAX_MISSES_BYTES = 1 << 20
_KEPT_MISSES = 20
# A writer that is slower than this is taken for dead, and what it left is removed.
_STALE_SECONDS = 3600.0


class CacheWarning(UserWarning):
    """The cache cannot do its work: results are right, but compiling takes longer than it could."""


@dataclass(frozen=True)
class Entry:
    """One stored artefact.

    key: 64 hexadecimal digits, made from the parts. label: what it was compiled from, for people. parts: the
    ingredients. files: sizes in bytes by name. stored, used: seconds since the epoch. size: bytes on disk.
    """

    key: str
    label: str
    parts: Mapping[str, str]
    files: Mapping[str, int]
    stored: float
    used: float
    size: int


@dataclass(frozen=True)
class Miss:
    """One lookup that found nothing, or one that was not made because the artefact must not be kept (key empty).

    Its label and parts, when it was, and the reason: "absent", "damaged: ...", "not kept: ...".
    """

    key: str
    label: str
    parts: Mapping[str, str]
    time: float
    reason: str


@dataclass(frozen=True)
class Difference:
    """The entry nearest to a miss, and the parts that differ: by name (what was asked for, what the entry has).

    A part that one side lacks is None there.
    """

    entry: Entry
    parts: Mapping[str, tuple[str | None, str | None]]


class _Unusable(Exception):
    """A file that is no entry of ours, or a damaged one; the text says why."""


class ArtefactCache:
    """The artefacts in one folder. Safe to use from many threads and processes at once.

    An entry is one file, written under another name and then renamed, so that nobody sees half of one. It holds
    checksums of all it consists of. Every use renews its time stamp; when the folder grows beyond `max_bytes`, what was
    not used for longest goes first. With `max_bytes` 0 nothing is read or written.
    """

    def __init__(self, folder: Path | str, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.folder = Path(folder)
        self.max_bytes = max_bytes
        self._warned: set[str] = set()
        self._lock = threading.Lock()

    def lookup(self, parts: Mapping[str, str], label: str = "") -> dict[str, bytes] | None:
        """The files stored for exactly these parts, by name; None if there are none, or none that are whole.

        A miss is recorded with its `label`, for `flambeau-info cache why`; without a label it is not.
        """
        if not self.max_bytes:
            return None
        key = key_of(parts)
        path = self._path(key)
        try:
            with path.open("rb") as file:
                header = _read_header(file)
                if header["parts"] != dict(parts):
                    raise _Unusable("it holds an artefact of something else")
                files = _read_files(file, header)
        except FileNotFoundError:
            self.record(Miss(key, label, dict(parts), time.time(), "absent"))
            return None
        except _Unusable as error:
            self.discard(parts, str(error))
            self.record(Miss(key, label, dict(parts), time.time(), f"damaged: {error}"))
            return None
        except OSError as error:
            self._warn("disk", f"artefacts cannot be read: {error}")
            return None
        with contextlib.suppress(OSError):  # a folder that is only to be read has no order of use
            os.utime(path)
        return files

    def store(self, parts: Mapping[str, str], files: Mapping[str, bytes], label: str = "") -> bool:
        """Keep files for these parts, in place of what was kept for them before; whether it could be done."""
        content = _encode(parts, files, label)
        if sum(map(len, content)) > self.max_bytes:
            return False
        try:
            self._write(self._path(key_of(parts)), content)
        except OSError as error:
            self._warn("disk", f"artefacts cannot be kept: {error}")
            return False
        self._evict()
        return True

    def discard(self, parts: Mapping[str, str], why: str) -> None:
        """Remove what is stored for these parts, because it cannot be used."""
        path = self._path(key_of(parts))
        with contextlib.suppress(OSError):
            path.unlink()
        gone = "it stays there, since it cannot be removed" if path.exists() else "it is removed"
        self._warn("damaged", f"the artefact {path.name} cannot be used: {why}; {gone}")

    def entries(self) -> list[Entry]:
        """What is stored, last used first. Files that are no entries, or damaged ones, are left out."""
        found = []
        for path, status in self._scan(_SUFFIX):
            try:
                with path.open("rb") as file:
                    header = _read_header(file)
            except (OSError, _Unusable):
                continue
            sizes = {name: size for name, size, _ in header["files"]}
            found.append(
                Entry(
                    path.stem,
                    header["label"],
                    header["parts"],
                    sizes,
                    header["stored"],
                    status.st_mtime,
                    status.st_size,
                )
            )
        return sorted(found, key=lambda entry: entry.used, reverse=True)

    def total_bytes(self) -> int:
        """Bytes of all entries, whole or not."""
        return sum(status.st_size for _, status in self._scan(_SUFFIX))

    def record(self, miss: Miss) -> None:
        """Append to the list of misses, if it has a label; that it cannot be done is no matter."""
        if not miss.label:
            return
        path = self.folder / _MISSES
        line = json.dumps(miss.__dict__).encode() + b"\n"
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if path.exists() and path.stat().st_size > _MAX_MISSES_BYTES:
                self._write(path, path.read_bytes().splitlines(keepends=True)[-_KEPT_MISSES:])
            with path.open("ab", buffering=0) as file:
                file.write(line)

    def misses(self) -> list[Miss]:
        """The recorded misses, last one first."""
        found = []
        with contextlib.suppress(OSError):
            for line in (self.folder / _MISSES).read_bytes().splitlines():
                # A line is damaged where two processes wrote at once on a disk that does not keep them apart.
                with contextlib.suppress(ValueError, TypeError):
                    found.append(Miss(**json.loads(line)))
        return found[::-1]

    def explain(self, miss: Miss) -> Difference | None:
        """The entry that was there at the time of the miss and has most parts in common; None if there was none."""
        candidates = [e for e in self.entries() if e.key != miss.key and e.stored <= miss.time]
        if not candidates:
            return None
        nearest = max(candidates, key=lambda e: (len(e.parts.items() & miss.parts.items()), e.stored, e.key))
        names = sorted(nearest.parts.keys() | miss.parts.keys())
        pairs = {name: (miss.parts.get(name), nearest.parts.get(name)) for name in names}
        return Difference(nearest, {name: pair for name, pair in pairs.items() if pair[0] != pair[1]})

    def clear(self) -> int:
        """Remove all entries and recorded misses; the number of entries. OSError if one cannot be removed."""
        removed = 0
        for path, _ in self._scan(_SUFFIX):
            path.unlink(missing_ok=True)
            removed += 1
        for path, _ in self._scan(_TEMPORARY):
            path.unlink(missing_ok=True)
        (self.folder / _MISSES).unlink(missing_ok=True)
        return removed

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _write(self, path: Path, content: list[bytes]) -> None:
        """All of the file or nothing of it; OSError."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=self.folder)
        try:
            with open(handle, "wb") as file:
                file.writelines(content)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _scan(self, ending: str) -> Iterator[tuple[Path, os.stat_result]]:
        """The files of one kind with their status; those that vanish meanwhile are left out."""
        try:
            names = os.listdir(self.folder)
        except OSError:
            return
        for name in names:
            if name.endswith(ending) or (ending == _TEMPORARY and name.startswith(ending)):
                with contextlib.suppress(OSError):
                    yield self.folder / name, (self.folder / name).stat()

    def _evict(self) -> None:
        """Remove what was not used for longest until the rest fits, and what killed writers left behind."""
        now = time.time()
        for path, status in self._scan(_TEMPORARY):
            if now - status.st_mtime > _STALE_SECONDS:
                with contextlib.suppress(OSError):
                    path.unlink()
        found = sorted(self._scan(_SUFFIX), key=lambda item: item[1].st_mtime)
        total = sum(status.st_size for _, status in found)
        for path, status in found:
            if total <= self.max_bytes:
                return
            with contextlib.suppress(OSError):
                path.unlink()
            total -= status.st_size

    def _warn(self, kind: str, what: str) -> None:
        """Warn once of each kind of trouble."""
        with self._lock:
            if kind in self._warned:
                return
            self._warned.add(kind)
        warnings.warn(
            f"cache folder {str(self.folder)!r}: {what}. Results are not affected, but graphs are compiled again. "
            "FLAMBEAU_CACHE_DIR or the option cache_dir names another folder, FLAMBEAU_CACHE_SIZE=0 "
            "works without one.",
            CacheWarning,
            stacklevel=3,
        )


def open_cache(folder: Path | None = None) -> ArtefactCache:
    """The cache in a folder (None: `cache_folder()`), of the size that the environment says; one object for each."""
    return _open((cache_folder() if folder is None else folder).absolute(), cache_max_bytes())


_open = cache(ArtefactCache)


def cache_folder() -> Path:
    """`FLAMBEAU_CACHE_DIR`, or the folder that this system has for caches (`~/.cache/flambeau` on Linux)."""
    given = os.environ.get("FLAMBEAU_CACHE_DIR")
    return Path(given) if given else platformdirs.user_cache_path("flambeau", appauthor=False)


def cache_max_bytes() -> int:
    """`FLAMBEAU_CACHE_SIZE`, or 4 GiB. ValueError says how sizes are written."""
    given = os.environ.get("FLAMBEAU_CACHE_SIZE")
    return read_size(given) if given else DEFAULT_MAX_BYTES


_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def read_size(text: str) -> int:
    """Bytes from text such as `500M`, `4GiB` or `0`: a number and a power of 1024. ValueError otherwise."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text, re.IGNORECASE)
    if not match:
        raise ValueError(
            f"FLAMBEAU_CACHE_SIZE: {text!r} is no size; write a number of bytes, or one with a unit "
            "(500M, 4GiB), or 0 for no cache"
        )
    return int(float(match[1]) * _UNITS[match[2].lower()])


def digest(content: str | bytes) -> str:
    """The SHA-256 of text or bytes, in hexadecimal: what stands for a long part."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def key_of(parts: Mapping[str, str]) -> str:
    """The name under which the artefact of these parts is kept, whatever their order."""
    return digest(json.dumps(dict(parts), sort_keys=True))


def _encode(parts: Mapping[str, str], files: Mapping[str, bytes], label: str) -> list[bytes]:
    """An entry: the magic line, the header's checksum and the header (JSON) on one line, and the files one by one."""
    header = json.dumps(
        {
            "label": label,
            "parts": dict(parts),
            "stored": time.time(),
            "files": [(name, len(content), digest(content)) for name, content in files.items()],
        }
    ).encode()
    return [_MAGIC, digest(header).encode(), b" ", header, b"\n", *files.values()]


def _read_header(file: BinaryIO) -> dict[str, Any]:
    """The header of an entry, checked against its checksum and the size of the file."""
    if file.readline(len(_MAGIC)) != _MAGIC:
        raise _Unusable("it is of another kind or version")
    line = file.readline(_MAX_HEADER_BYTES)
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if checksum != digest(text).encode():
        raise _Unusable("its header is damaged")
    header: dict[str, Any] = json.loads(text)
    if os.fstat(file.fileno()).st_size != file.tell() + sum(size for _, size, _ in header["files"]):
        raise _Unusable("it is not complete")
    return header


def _read_files(file: BinaryIO, header: Mapping[str, Any]) -> dict[str, bytes]:
    """The files that stand after the header, each checked."""
    files = {}
    for name, size, checksum in header["files"]:
        content = file.read(size)
        if digest(content) != checksum:
            raise _Unusable(f"its part {name!r} is damaged")
        files[name] = content
    return files
