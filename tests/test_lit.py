# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A test of the lit tests: a pass that does nothing turns its own lit test red."""

import subprocess
import sys
from pathlib import Path

import pytest

from flambeau.pipelines.registry import load_passes

LIT_TESTS = Path(__file__).parent.parent / "lit_tests"
pytestmark = [pytest.mark.slow, pytest.mark.checkout]


def lit(test: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).parent / "lit", "-v", *flags, test]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", sorted(load_passes()))
def test_a_pass_that_does_nothing_is_noticed(name: str, tmp_path: Path) -> None:
    test = LIT_TESTS / "pipelines" / f"{name}.mlir"
    intact = lit(test)
    assert intact.returncode == 0, intact.stdout
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        "from flambeau.pipelines.registry import load_passes\n"
        f"load_passes()[{name!r}].run = lambda self, module: None\n"
    )
    broken = lit(test, f"--param=plugin={plugin}")
    assert broken.returncode == 1
    assert f"FAIL: Flambeau :: pipelines/{name}.mlir" in broken.stdout
