# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The import direction between the folders: read from the sources and compared with a table."""

import ast
from collections.abc import Iterator
from pathlib import Path

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


def imported(source: str) -> Iterator[str]:
    """Dotted names that a source file imports, inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def violations(path: str, source: str) -> list[str]:
    """The imports of the file `path` (relative to the root) that the tables do not allow."""
    folder = path.split("/")[0]
    found = []
    for name in imported(source):
        first, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if name.startswith("."):
            found.append(f"{name}: write the full name, flambeau.{folder}...")
        elif first in FOLDERS:
            found.append(f"{name}: write flambeau.{name}")
        elif first == "flambeau" and target in FOLDERS and target not in FOLDERS[folder] | {folder}:
            found.append(f"{name}: {folder} may import {sorted(FOLDERS[folder]) or 'no other folder'}")
        elif first in BIG_PACKAGES - PACKAGES[folder]:
            found.append(
                f"{name}: {folder} may import {sorted(PACKAGES[folder]) or 'none'} of {sorted(BIG_PACKAGES)}"
            )
        elif first == "torch_mlir" and path != "dialects/bindings.py":
            found.append(f"{name}: only dialects/bindings.py imports torch_mlir")
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_go_one_way(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    wrong = {
        str(file.relative_to(ROOT)): found
        for file in files
        if (found := violations(str(file.relative_to(ROOT)), file.read_text()))
    }
    assert not wrong


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
        ("frontend/a.py", "from flambeau.tools import opt"),
        ("frontend/a.py", "import iree.runtime"),
        ("tools/a.py", "from pipelines import registry"),
        ("tools/a.py", "from .opt import main"),
    ],
)
def test_violations_are_seen(path: str, source: str) -> None:
    assert len(violations(path, source)) == 1


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
