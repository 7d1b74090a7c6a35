# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`flambeau-opt` beyond what lit shows: exit codes, pipes, and the rules of `expected-*` comments."""

import subprocess
import sys
from pathlib import Path

import pytest

from flambeau.tools.diagnostics import expectations
from flambeau.tools.opt import main

OPT = Path(sys.executable).parent / "flambeau-opt"


@pytest.mark.parametrize(
    ("text", "flags", "code"),
    [
        ("func.func @f() { return }", ["--cse"], 0),
        ("func.func @f() { return", [], 1),
        ("func.func @f() { return }", ["--no-such-pass"], 1),
        ("func.func @f() { return }", ["--pipeline=nothing"], 1),
        ("", [], 0),
    ],
)
def test_exit_code(tmp_path: Path, text: str, flags: list[str], code: int) -> None:
    file = tmp_path / "in.mlir"
    file.write_text(text)
    assert main([str(file), "-o", str(tmp_path / "out.mlir"), *flags]) == code
    assert (tmp_path / "out.mlir").exists() == (code == 0)


def test_reader_that_stops_early(tmp_path: Path) -> None:
    body = "\n".join(f"func.func @f{i}() {{ return }}" for i in range(3000))
    (tmp_path / "in.mlir").write_text(body)
    command = f"{OPT} {tmp_path / 'in.mlir'} | head -n 1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert result.stdout == "module {\n"
    assert "Traceback" not in result.stderr


def test_expected_comments_follow_the_rules_of_mlir() -> None:
    text = "\n".join(
        (
            "a // expected-error {{same line}}",
            "// expected-warning @below {{next}}",
            "// expected-note @below {{next too}}",
            "b",
            "c",
            "// expected-remark @above {{previous}}",
            "// expected-error @above {{previous too}}",
            "// expected-error @+2 {{two on}}",
            "// expected-error @-4 {{four back}}",
            "// expected-error @unknown {{nowhere}}",
            "// expected-error-re {{a {{[0-9]+}} (b)}}",
        )
    )
    found = [(e.kind, e.line) for e in expectations(text)]
    assert found == [
        ("error", 1),
        ("warning", 4),
        ("note", 4),
        ("remark", 5),
        ("error", 5),
        ("error", 10),
        ("error", 5),
        ("error", None),
        ("error", 11),
    ]
    pattern = expectations(text)[-1].pattern
    assert pattern.search("say a 12 (b)")
    assert not pattern.search("say a x (b)")
