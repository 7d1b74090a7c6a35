# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How the house is built: who may import whom, read from the sources and compared with tables.

Every import counts: under TYPE_CHECKING and inside functions too, and those by `import_module`, whose names begin with
a literal for that.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.checkout

# Which folders, and which of the big packages, each folder may import.
FOLDERS = {
    "dialects": set(),
    "pipelines": {"dialects"},
    "runtime": {"dialects"},
    "frontend": {"dialects", "pipelines", "runtime"},
    "tools": {"dialects", "pipelines", "runtime", "frontend"},
}
PACKAGES = {
    "dialects": {"torch_mlir"},
    "pipelines": set(),
    "runtime": {"torch", "iree"},
    "frontend": {"torch"},
    "tools": {"torch"},
}
BIG_PACKAGES = {"torch", "torch_mlir", "iree"}

# The rooms of each folder from the ground up. A room is a folder, or a file that lies in none; it may import what is on
# the lines above its own. "." is the folder's own __init__.py.
ROOMS = {
    "dialects": """
        bindings rules
        facts types errors walk
        functions opdef
        infer build equal_sizes
        dialect
        ops derivative
        aten calls .
    """,
    "pipelines": """
        errors stages analysis scalar_forms
        kernels .
        registry
        driver lower_to_torch partitioning
        convert_torch_to_flambeau passes
    """,
    "runtime": """
        errors counters resident artefact_cache package .
        backends interpreter
        devices
        iree
    """,
    "frontend": """
        forced_ops refused_lines .
        options capture
        journal program_cache importing
        calling
        compile
        explaining export aot dynamo_backends
    """,
    "tools": """
        arrays diagnostics module_io pretty list_ops info .
        tensors compile opt
        run
    """,
}

# Files that load others by name, which register themselves with what they import from here.
LOADERS = {"pipelines/registry.py"}

# How many lines the rooms that grow may have. What does not fit belongs elsewhere, or replaces something.
MOST_LINES = {
    "pipelines/passes/autodiff.py": 200,
    "pipelines/passes": 2_300,
    "frontend/capture": 2_800,
    "frontend/importing": 2_000,
    "frontend/calling": 1_700,
    "runtime/iree": 1_500,
}


# --- Reading imports -------------------------------------------------------------------------------------------------


def imported(source: str) -> Iterator[str]:
    """Dotted names that a source file imports.

    `flambeau.pipelines.*` is a name made of this prefix and a value, `*` one of which nothing can be read.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from _by_name(node.args[0])


def _by_name(argument: ast.expr) -> Iterator[str]:
    if isinstance(argument, ast.Constant):
        yield str(argument.value)
    elif isinstance(argument, ast.JoinedStr) and isinstance(argument.values[0], ast.Constant):
        yield f"{argument.values[0].value}*"
    else:
        yield "*"


def module_name(path: str) -> str:
    """`flambeau.runtime.iree.session` of `runtime/iree/session.py`."""
    return "flambeau." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def import_graph(sources: Mapping[str, str]) -> "networkx.DiGraph[str]":
    """Files by path -> an edge from each file to those that it imports."""
    paths = {module_name(path): path for path in sources}
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    graph.add_nodes_from(sources)
    for path, source in sources.items():
        for name in imported(source):
            if name.endswith("*"):
                found = [] if path in LOADERS else [m for m in paths if m.startswith(name[:-1])]
            else:
                found = [m for m in (name, name.rpartition(".")[0]) if m in paths][:1]
            graph.add_edges_from((path, paths[m]) for m in found if paths[m] != path)
    return graph


def room_of(path: str) -> tuple[str, str]:
    """Folder and room of a file: `runtime/iree/session.py` is in the room `iree` of `runtime`."""
    folder, _, rest = path.partition("/")
    room = rest.partition("/")[0].removesuffix(".py")
    return folder, "." if room == "__init__" else room


def steps(folder: str) -> dict[str, int]:
    """Room -> the number of its line."""
    lines = [line.split() for line in ROOMS[folder].strip().splitlines()]
    return {room: number for number, line in enumerate(lines) for room in line}


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    found = {
        str(file.relative_to(ROOT)): file.read_text()
        for folder in FOLDERS
        for file in sorted((ROOT / folder).rglob("*.py"))
    }
    assert len(found) > 150
    return found


# --- Folders ---------------------------------------------------------------------------------------------------------


def violations(path: str, source: str) -> list[str]:
    """The imports of the file `path` (relative to the root) that the tables of folders do not allow."""
    folder = path.split("/")[0]
    found = []
    for name in imported(source):
        first, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if name == "*":
            found.append("import_module: write a name that begins with a literal")
        elif name.startswith("."):
            found.append(f"{name}: write the full name, flambeau.{folder}...")
        elif first in FOLDERS:
            found.append(f"{name}: write flambeau.{name}")
        elif first == "flambeau" and target not in FOLDERS:
            found.append(f"{name}: the face imports all others")
        elif first == "flambeau" and target not in FOLDERS[folder] | {folder}:
            found.append(f"{name}: {folder} may import {sorted(FOLDERS[folder]) or 'no other folder'}")
        elif first in BIG_PACKAGES - PACKAGES[folder]:
            found.append(
                f"{name}: {folder} may import {sorted(PACKAGES[folder]) or 'none'} of {sorted(BIG_PACKAGES)}"
            )
        elif first == "torch_mlir" and path != "dialects/bindings.py":
            found.append(f"{name}: only dialects/bindings.py imports torch_mlir")
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_go_one_way(folder: str, sources: dict[str, str]) -> None:
    files = {path: source for path, source in sources.items() if path.startswith(f"{folder}/")}
    assert files
    assert {path: found for path, source in files.items() if (found := violations(path, source))} == {}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("dialects/opdef.py", "from flambeau.pipelines import registry"),
        ("dialects/opdef.py", "import torch_mlir.ir"),
        ("dialects/ops/a.py", "def f():\n    import torch"),
        ("pipelines/a.py", "from flambeau.runtime.backends import Backend"),
        ("pipelines/a.py", "import flambeau.frontend.compile"),
        ("pipelines/a.py", "from flambeau import runtime"),
        ("runtime/a.py", "from flambeau.pipelines.driver import run_pipeline"),
        ("runtime/a.py", "import flambeau"),
        ("frontend/a.py", "from flambeau import compile"),
        ("runtime/a.py", "import_module(name)"),
        ("runtime/a.py", "import_module(f'{__name__}.{name}')"),
        ("runtime/a.py", "import_module('flambeau.runtime.' + name)"),
        ("runtime/a.py", "import_module(f'flambeau.pipelines.{name}')"),
        ("frontend/a.py", "from flambeau.tools import opt"),
        ("frontend/a.py", "import iree.runtime"),
        ("tools/a.py", "from pipelines import registry"),
        ("tools/a.py", "from .opt import main"),
    ],
)
def test_violations_are_seen(path: str, source: str) -> None:
    assert len(violations(path, source)) == 1


# --- Rooms -----------------------------------------------------------------------------------------------------------


def upward(graph: "networkx.DiGraph[str]") -> list[str]:
    """The imports of a room that is not on a line above."""
    found = []
    for importer, target in graph.edges:
        (folder, room), (other, its) = room_of(importer), room_of(target)
        if folder == other and room != its and steps(folder)[its] >= steps(folder)[room]:
            found.append(f"{importer} imports {target}")
    return sorted(found)


def circles(graph: "networkx.DiGraph[str]") -> list[list[str]]:
    """Files that import each other, each by way of the others."""
    return [sorted(files) for files in networkx.strongly_connected_components(graph) if len(files) > 1]


def test_every_room_has_its_place(sources: dict[str, str]) -> None:
    rooms = {room_of(path) for path in sources}
    assert rooms == {(folder, room) for folder in ROOMS for room in steps(folder)}


def test_rooms_import_what_is_below_them(sources: dict[str, str]) -> None:
    assert upward(import_graph(sources)) == []


def test_no_file_imports_itself_by_way_of_others(sources: dict[str, str]) -> None:
    assert circles(import_graph(sources)) == []


_IMPORTS = {
    "plain": "from flambeau.runtime.iree import session",
    "of a name": "from flambeau.runtime.iree.session import load",
    "for types": "if TYPE_CHECKING:\n    from flambeau.runtime.iree.session import Session",
    "in a function": "def f():\n    from flambeau.runtime.iree import session",
    "by name": "import_module('flambeau.runtime.iree.session')",
    "by a made name": "import_module(f'flambeau.runtime.iree.{name}')",
}


@pytest.mark.parametrize("source", _IMPORTS.values(), ids=_IMPORTS)
def test_every_sort_of_import_is_seen(source: str) -> None:
    above = {"runtime/iree/session.py": "", "runtime/devices/cpu.py": source}
    assert upward(import_graph(above)) == ["runtime/devices/cpu.py imports runtime/iree/session.py"]
    beside = {
        "runtime/iree/session.py": "import flambeau.runtime.iree.buffers",
        "runtime/iree/buffers.py": source,
    }
    assert circles(import_graph(beside)) == [["runtime/iree/buffers.py", "runtime/iree/session.py"]]


@pytest.mark.parametrize("place", MOST_LINES)
def test_rooms_stay_small(place: str, sources: dict[str, str]) -> None:
    lines = sum(s.count("\n") for path, s in sources.items() if path == place or path.startswith(f"{place}/"))
    assert lines <= MOST_LINES[place], (
        f"{place} has {lines} lines: take something out, or raise its budget with a reason"
    )


def test_face_is_lazy() -> None:
    """At run time, flambeau/__init__.py imports nothing of ours before a name is asked for."""
    tree = ast.parse((ROOT / "flambeau/__init__.py").read_text())
    names = [
        name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imported(ast.unparse(node))
    ]
    assert sorted(names) == ["importlib.import_module", "typing.TYPE_CHECKING"]
