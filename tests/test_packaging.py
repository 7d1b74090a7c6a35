# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is installed: the names in the wheel, the entry points, the lazy face, and what is not loaded."""

import importlib.metadata
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

import flambeau

ROOT = Path(__file__).parent.parent
FOLDERS = ("dialects", "frontend", "pipelines", "runtime", "tools")
MODULE = "func.func @f(%a: tensor<2xf32>) -> tensor<2xf32> { return %a : tensor<2xf32> }"


def python(code: str, cwd: Path, stdin: str = "") -> str:
    """Run `code` in a fresh interpreter in the folder `cwd`; its output."""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, input=stdin, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.checkout
@pytest.mark.parametrize("folder", FOLDERS)
def test_links_and_packages(folder: str) -> None:
    assert os.readlink(ROOT / "flambeau" / folder) == f"../{folder}"
    for file in (ROOT / folder).rglob("*.py"):
        assert (file.parent / "__init__.py").exists(), f"{file.parent} would be missing from the wheel"


def test_no_stray_top_level_names(tmp_path: Path) -> None:
    code = f"import importlib.util as u; print([n for n in {FOLDERS} if u.find_spec(n)])"
    assert python(code, tmp_path) == "[]\n"


def test_import_and_opt_load_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, flambeau\n"
        "from flambeau.tools.opt import main\n"
        "assert main(['--cse', '--verify-roundtrip']) == 0\n"
        "assert main(['--list-passes']) == 0\n"
        "print(sorted({'torch', 'iree', 'flambeau.frontend', 'flambeau.runtime'} & set(sys.modules)))"
    )
    assert python(code, tmp_path, MODULE).endswith("\n[]\n")


def test_help_is_fast(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from flambeau.tools.opt import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print('torch_mlir' in sys.modules)"
    )
    assert python(code, tmp_path).endswith("False\n")
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(
            [Path(sys.executable).parent / "flambeau-opt", "--help"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5


@pytest.mark.parametrize("name", flambeau.__all__)
def test_public_names_load(name: str) -> None:
    assert getattr(flambeau, name) is not None
    assert name in dir(flambeau)


def test_unknown_public_name() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'complie'; it has: .*compile"):
        flambeau.complie  # noqa: B018


def test_entry_points() -> None:
    points = {
        p.name: p
        for p in importlib.metadata.entry_points(group="torch_dynamo_backends")
        if "flambeau" in p.name
    }
    stages = ("cpu", "cuda", "vulkan", "imported", "functional", "partitioned")
    assert set(points) == {"flambeau", *(f"flambeau_{stage}" for stage in stages)}
    for point in points.values():
        assert callable(point.load())


@pytest.mark.slow
@pytest.mark.checkout
def test_wheel_contents(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "flambeau",
        wheel.name.rsplit("-py3", 1)[0] + ".dist-info",
    }
    expected = {
        f"flambeau/{file.relative_to(ROOT)}" for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")
    }
    expected |= {"flambeau/__init__.py", "flambeau/py.typed"}
    assert {name for name in names if name.startswith("flambeau/")} == expected
    assert any(name.endswith("licenses/LICENSE") for name in names)
