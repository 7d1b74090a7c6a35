# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`flambeau-info`: what is installed, which devices there are and whether they compute right, what the cache holds.

The first thing that a bug report needs. It works where half of Flambeau's packages are missing: it loads none of them,
and asks the devices in processes of their own, so that a driver that crashes or hangs is a line of the report.
"""

import argparse
import dataclasses
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from typing import Any

from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flambeau.runtime.artefact_cache import ArtefactCache, Entry, Miss, open_cache
from flambeau.runtime.backends import Backend, list_backends, lookup_backend
from flambeau.runtime.devices import available_devices, cuda, find_device, target_flags, vulkan, why_absent
from flambeau.runtime.devices.environment import CPU_FEATURES, cpu_features, cpu_name, package_version
from flambeau.runtime.errors import BackendNotAvailableError

_REPORT_WIDTH = 120  # characters, where the text goes to a file
_CHECK_SECONDS = 120.0
_CHECK = """
import sys
from flambeau.runtime.backends import lookup_backend
from flambeau.runtime.devices import find_device
from flambeau.runtime.iree.self_check import check_device
backend = lookup_backend(sys.argv[1])
check_device(backend, find_device(backend))
"""


@dataclass(frozen=True)
class Package:
    """A package that Flambeau needs. `problem` is empty, or says what to do."""

    name: str
    version: str | None
    wanted: str
    problem: str


@dataclass(frozen=True)
class BackendReport:
    """A backend and the device it runs on here.

    device: its name, None if there is none; then `problem` says why and what to install. others: further devices that
    it could run on. features: of a GPU. target: what its code is compiled for. self_check: "passed", "not run", or what
    went wrong.
    """

    name: str
    device: str | None
    others: list[str]
    software: bool
    features: dict[str, Any]
    target: str
    self_check: str
    problem: str


@dataclass(frozen=True)
class CacheReport:
    """The cache on disk. `problem` says why nothing can be kept there, if so."""

    folder: str
    entries: int
    bytes: int
    max_bytes: int
    problem: str


@dataclass(frozen=True)
class Report:
    """All that `flambeau-info` says."""

    flambeau: str
    python: str
    system: str
    cpu: str
    cpu_features: list[str]
    cores: int
    packages: list[Package]
    backends: list[BackendReport]
    cache: CacheReport
    environment: dict[str, str]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; the exit code is 1 if Flambeau cannot work here, or the command cannot be done."""
    args = _parser().parse_args(argv)
    try:
        return _run(args, Console(highlight=False, width=None if sys.stdout.isatty() else _REPORT_WIDTH))
    except BrokenPipeError:  # the reader, `head` for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(args: argparse.Namespace, console: Console) -> int:
    if args.command == "cache":
        return _cache_command(args, console)
    report = collect(check=not args.no_check)
    if args.json:
        print(json.dumps(dataclasses.asdict(report), indent=2))
    else:
        _print_report(report, console)
    return 0 if works(report) else 1


def collect(check: bool = True) -> Report:
    """Look around; `check` computes a few numbers on each device, which takes some seconds each."""
    packages = _packages()
    can_check = check and not any(package.problem for package in packages)
    return Report(
        flambeau=package_version("flambeau") or "not installed, run from its sources",
        python=f"{platform.python_version()} ({sys.executable})",
        system=f"{platform.platform()} {platform.machine()}",
        cpu=cpu_name(),
        cpu_features=[name for name in CPU_FEATURES if name in cpu_features()],
        cores=os.cpu_count() or 1,
        packages=packages,
        backends=[
            _backend(record, can_check)
            for name in list_backends()
            if (record := lookup_backend(name)).compile_fn is None
        ],
        cache=_cache(open_cache()),
        environment={name: os.environ[name] for name in sorted(os.environ) if name.startswith("FLAMBEAU_")},
    )


def works(report: Report) -> bool:
    """Whether the packages are there, and the CPU computes right numbers."""
    cpu = next(backend for backend in report.backends if backend.name == "cpu")
    return not any(p.problem for p in report.packages) and cpu.self_check in ("passed", "not run")


def _packages() -> list[Package]:
    """The packages of Flambeau's own requirements, or the compilers if it is not installed as a package."""
    try:
        wanted = [Requirement(text) for text in requires("flambeau") or ()]
    except PackageNotFoundError:
        wanted = [
            Requirement(name) for name in ("torch", "torch-mlir", "iree-base-compiler", "iree-base-runtime")
        ]
    packages = []
    for requirement in wanted:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = package_version(requirement.name)
        fits = version is not None and requirement.specifier.contains(version, prereleases=True)
        problem = "" if fits else f"pip install '{requirement.name}{requirement.specifier}'"
        packages.append(Package(requirement.name, version, str(requirement.specifier), problem))
    return packages


def _backend(backend: Backend, check: bool) -> BackendReport:
    try:
        device = find_device(backend)
    except BackendNotAvailableError:
        problem = why_absent(backend.device)
        return BackendReport(backend.name, None, [], False, {}, _target(backend), "not run", problem)
    others = [
        other.name for other in available_devices() if other.driver == backend.device and other != device
    ]
    return BackendReport(
        backend.name,
        cpu_name() if backend.device == "local" else device.name,
        others,
        device.software,
        _features(backend.device),
        _target(backend),
        _self_check(backend.name) if check else "not run",
        "",
    )


def _target(backend: Backend) -> str:
    """What the compiler is told to compile for."""
    return " ".join((*target_flags(backend), *backend.flags))


def _features(driver: str) -> dict[str, Any]:
    """What the first GPU says of itself."""
    if driver == "vulkan":
        return dataclasses.asdict(vulkan.query_devices()[0])
    return dataclasses.asdict(cuda.query_devices()[0]) if driver == "cuda" else {}


def _self_check(backend: str) -> str:
    """Compile and run the self-check in a process of its own: "passed", or what went wrong."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CHECK, backend],
            capture_output=True,
            text=True,
            timeout=_CHECK_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"failed: no answer within {_CHECK_SECONDS:g} s"
    if done.returncode == 0:
        return "passed"
    if done.returncode < 0:
        return f"failed: the process crashed ({signal.Signals(-done.returncode).name})"
    lines = done.stderr.strip().splitlines()
    return f"failed: {lines[-1] if lines else f'exit code {done.returncode}'}"


def _cache(cache: ArtefactCache) -> CacheReport:
    folder = cache.folder
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    problem = ""
    if not cache.max_bytes:
        problem = "FLAMBEAU_CACHE_SIZE is 0: nothing is kept"
    elif not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        problem = f"{folder} is no folder that can be written to: nothing is kept"
    return CacheReport(str(cache.folder), len(cache.entries()), cache.total_bytes(), cache.max_bytes, problem)


# --- Text ------------------------------------------------------------------------------------------------------------


def _print_report(report: Report, console: Console) -> None:
    table = _table(None, None)
    table.add_row("flambeau", report.flambeau)
    table.add_row("Python", report.python)
    table.add_row("system", report.system)
    table.add_row("CPU", f"{report.cpu}, {report.cores} cores, {' '.join(report.cpu_features)}")
    for name, value in report.environment.items():
        table.add_row(name, value)
    console.print(table)
    console.print()

    table = _table("package", "installed", "wanted", "to do")
    for package in report.packages:
        table.add_row(
            package.name, package.version or _bad("missing"), package.wanted or "any", _bad(package.problem)
        )
    console.print(table)
    console.print()

    table = _table("backend", "device", "self-check", "to do")
    for backend in report.backends:
        name = f"{backend.device}{' (software)' if backend.software else ''}" if backend.device else "none"
        check = backend.self_check if backend.device else ""
        table.add_row(
            backend.name, name, check if check in ("passed", "not run", "") else _bad(check), backend.problem
        )
    console.print(table)
    console.print()
    for backend in report.backends:
        if backend.features:
            features = ", ".join(f"{name} {value}" for name, value in backend.features.items())
            console.print(f"{backend.name} features: {features}")
        if backend.others:
            console.print(f"{backend.name} other devices: {', '.join(backend.others)}")
        console.print(f"{backend.name} target{'' if backend.device else ' (portable)'}: {backend.target}\n")

    cache = report.cache
    console.print(
        f"cache: {cache.folder}: {cache.entries} artefacts, {_size(cache.bytes)} of {_size(cache.max_bytes)}"
    )
    if cache.problem:
        console.print(_bad(cache.problem))


def _cache_command(args: argparse.Namespace, console: Console) -> int:
    cache = open_cache()
    if args.action == "clear":
        try:
            console.print(f"{cache.clear()} artefacts removed from {cache.folder}")
        except OSError as error:
            print(f"flambeau-info: error: {error}", file=sys.stderr)
            return 1
    elif args.action == "why":
        return _why(cache, args.key, args.json, console)
    elif args.json:
        print(json.dumps([dataclasses.asdict(entry) for entry in cache.entries()], indent=2))
    else:
        _list(cache, console)
    return 0


def _list(cache: ArtefactCache, console: Console) -> None:
    entries = cache.entries()
    table = _table("key", "size", "last used", "of")
    for entry in entries:
        table.add_row(entry.key[:12], _size(entry.size), _age(entry.used), entry.label)
    if entries:
        console.print(table)
    console.print(
        f"{cache.folder}: {len(entries)} artefacts, {_size(cache.total_bytes())} of {_size(cache.max_bytes)}"
    )


def _why(cache: ArtefactCache, key: str, as_json: bool, console: Console) -> int:
    """Explain the last miss, or the last one whose key begins so."""
    misses = cache.misses()
    found = [miss for miss in misses if key == "last" or miss.key.startswith(key)]
    if not found:
        which = f" with a key that begins with {key!r}" if misses else ""
        print(f"flambeau-info: no miss is recorded{which} in {cache.folder}", file=sys.stderr)
        return 0 if key == "last" else 1
    miss = found[0]
    difference = cache.explain(miss)
    if as_json:
        record = {
            "miss": dataclasses.asdict(miss),
            "nearest": dataclasses.asdict(difference.entry) if difference else None,
            "differs": difference.parts if difference else None,
        }
        print(json.dumps(record, indent=2))
        return 0
    of_key = f", key {miss.key[:12]}" if miss.key else ""
    console.print(f"{miss.label}, {_age(miss.time)}{of_key}: {_reason(miss, misses)}")
    if miss.reason != "absent":
        return 0
    if difference is None:
        console.print("There was no other artefact to compare with: the cache was empty.")
        return 0
    console.print(f"The nearest artefact that was there: {_described(difference.entry)}. It differs in:")
    table = _table("part", "asked for", "there")
    for name, (asked, there) in difference.parts.items():
        table.add_row(name, *_shown_apart(asked or "", there or ""))
    console.print(table)
    return 0


def _reason(miss: Miss, misses: list[Miss]) -> str:
    if miss.reason != "absent":
        return f"{miss.reason}."
    before = [other for other in misses if other.key == miss.key and other.time < miss.time]
    if not before:
        return "no artefact, and none was looked for before."
    return f"no artefact. The same was looked for {_age(before[0].time)}: it was not kept then, or is removed since."


def _described(entry: Entry) -> str:
    return f"{entry.label or 'no label'}, key {entry.key[:12]}, stored {_age(entry.stored)}"


def _shown_apart(a: str, b: str, width: int = 60) -> tuple[str, str]:
    """Two texts, cut to where they differ if they are long."""
    if max(len(a), len(b)) <= width:
        return a, b
    equal = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    start = max(equal - width // 4, 0)

    def cut(text: str) -> str:
        return (
            f"{'…' if start else ''}{text[start : start + width]}{'…' if len(text) > start + width else ''}"
        )

    return cut(a), cut(b)


def _table(*headers: str | None) -> Table:
    table = Table(box=None, show_header=headers[0] is not None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header or "", overflow="fold")
    return table


def _bad(text: str) -> Text:
    return Text(text, style="red")


def _size(size: int) -> str:
    """Bytes for people: `3.4 MiB`."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} GiB"


def _age(moment: float) -> str:
    """How long ago a time is, in its largest unit."""
    seconds = max(time.time() - moment, 0)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now" if seconds < 5 else f"{int(seconds)} seconds ago"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flambeau-info", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    parser.add_argument("--no-check", action="store_true", help="compute nothing on the devices")
    commands = parser.add_subparsers(dest="command", metavar="cache")
    cache = commands.add_parser("cache", help="list, explain or clear the artefacts on disk")
    cache.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="the same as JSON")
    cache.add_argument(
        "action",
        nargs="?",
        choices=("list", "why", "clear"),
        default="list",
        help="list: what is kept; why: the reason for a miss; clear: remove all",
    )
    cache.add_argument("key", nargs="?", default="last", help="of why: the first digits of a key, or `last`")
    return parser


if __name__ == "__main__":
    sys.exit(main())
