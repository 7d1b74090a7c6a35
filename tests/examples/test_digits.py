# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The demo runs, without a terminal and without a C++ compiler, and its network learns."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

pytestmark = [pytest.mark.checkout, pytest.mark.slow]


def test_demo(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs the extra [demo]")
    pytest.importorskip("matplotlib", reason="needs the extra [demo]")
    result = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "digits.py"), "--epochs", "3"],
        cwd=tmp_path,
        env=os.environ | {"CXX": "no-such-compiler"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "\x1b[" not in result.stdout, "escape sequences in a pipe"
    assert "inductor  left out: needs a C++ compiler" in result.stdout
    assert "flambeau.gradient_of = 2" in result.stdout
    accuracy = re.fullmatch(r"test accuracy: (\d+\.\d) %", result.stdout.splitlines()[-1])
    assert accuracy and float(accuracy[1]) > 90
    (command,) = re.findall(r"^  flambeau-opt (.*)$", result.stdout, re.MULTILINE)
    lowered = subprocess.run(
        [sys.executable, "-m", "flambeau.tools.opt", *command.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert lowered.stdout.strip() in result.stdout
    assert (tmp_path / "build" / "demo" / "curves.png").stat().st_size > 10_000
