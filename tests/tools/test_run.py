# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`flambeau-compile` and `flambeau-run` beyond what lit shows: values on the command line, packages, refusals."""

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy
import pytest
import torch

import flambeau
from flambeau.tools import compile as compile_tool
from flambeau.tools import run as run_tool
from flambeau.tools.arrays import check_argument, difference, parse_input

# Sizes, references and all dtypes that are special on the way.
MODULE = """
func.func @f(%a: tensor<?xui8>, %b: tensor<2xi1>, %c: tensor<2xbf16>, %n: index)
    -> (tensor<?xui8>, tensor<2xi1>, tensor<2xbf16>, index) {
  %0 = "flambeau.add"(%a, %a) : (tensor<?xui8>, tensor<?xui8>) -> tensor<?xui8>
  %1 = "flambeau.logical_not"(%b) : (tensor<2xi1>) -> tensor<2xi1>
  %2 = "flambeau.add"(%c, %c) : (tensor<2xbf16>, tensor<2xbf16>) -> tensor<2xbf16>
  return %0, %1, %2, %n : tensor<?xui8>, tensor<2xi1>, tensor<2xbf16>, index
}
"""
INPUTS = ["--input=3xui8=200,1,2", "--input=2xi1=0,1", "--input=2xbf16=1.5", "--input=7"]
EXPECTED = ["--expect=3xui8=144,2,4", "--expect=2xi1=1,0", "--expect=2xbf16=3", "--expect=7"]

WRITES = """
func.func @f(%x: !flambeau.ref<tensor<2xf32>>) -> tensor<2xf32> {
  %0 = "flambeau.ref_load"(%x) : (!flambeau.ref<tensor<2xf32>>) -> tensor<2xf32>
  %1 = "flambeau.exp"(%0) : (tensor<2xf32>) -> tensor<2xf32>
  "flambeau.ref_store"(%x, %1) {hidden = false} : (!flambeau.ref<tensor<2xf32>>, tensor<2xf32>) -> ()
  return %0 : tensor<2xf32>
}
"""


def run(program: Path, *arguments: str) -> int:
    return run_tool.main([str(program), *arguments])


def compiled(text: str, folder: Path, *arguments: str) -> Path:
    (folder / "f.mlir").write_text(text)
    assert compile_tool.main([str(folder / "f.mlir"), "-o", str(folder / "f.vmfb"), *arguments]) == 0
    return folder / "f.vmfb"


def test_dtypes_and_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artefact = compiled(MODULE, tmp_path)
    assert run(artefact, *INPUTS, *EXPECTED) == 0
    assert run(tmp_path / "f.mlir", "--stage=functional", *INPUTS, *EXPECTED) == 0
    assert run(artefact, *INPUTS, *EXPECTED[:3], "--expect=8") == 1
    assert "result 3: differs in 1 of 1 elements" in capsys.readouterr().out


@pytest.mark.parametrize("stage", ["imported", "functional"])
def test_written_arguments_are_results(stage: str, tmp_path: Path) -> None:
    (tmp_path / "f.mlir").write_text(WRITES)
    expected = ["--expect=2xf32=0", "--expect=2xf32=1"]
    assert run(tmp_path / "f.mlir", f"--stage={stage}", "--input=2xf32=0", *expected) == 0


def test_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = flambeau.export(torch.nn.Tanh(), (torch.ones(3),), path=tmp_path / "package")
    assert run(path, "--input=3xf32=0", "--expect=3xf32=0") == 0
    numpy.save(tmp_path / "x.npy", numpy.ones(3, "f4"))
    assert run(path, f"--input={tmp_path / 'x.npy'}", "--device=local-sync") == 0
    assert "result 0: float32 [3]\n[0.7615942 0.7615942 0.7615942]" in capsys.readouterr().out
    for arguments, message in (
        (["--input=3xf64=0"], "input 'input' is float32, got float64"),
        (["--stage=functional"], "--stage is for MLIR files"),
        (["--function=g"], "no function 'g'; there are: forward"),
        ([], "the inputs are: input"),
    ):
        assert run(path, *arguments) == 1
        assert message in capsys.readouterr().err
    (path / "signature.json").write_text(json.dumps({"format": 0}))
    assert run(path, "--input=3xf32=0") == 1
    assert "is not a package of format" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (INPUTS[:3], "@f takes 4 arguments (tensor<?xui8>, tensor<2xi1>, tensor<2xbf16>, index), got 3"),
        (["--input=3xf32=0", *INPUTS[1:]], "argument 0 of @f is uint8 [?], got float32 [3]"),
        (["--input=3xui8=300", *INPUTS[1:]], "'300' is not a uint8 number"),
        (["--input=3xui8=1,2", *INPUTS[1:]], "has 2 values, where 1 or 3 are expected"),
        (["--input=nothing.npy"], "nothing.npy"),
        (["--input=3xq32=0"], "types: f16, bf16"),
        ([*INPUTS, *["--expect=7"] * 5], "more files for results are named than there are results (4)"),
        (["--function=g"], "no function 'g'; there are: f"),
    ],
)
def test_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.mlir").write_text(MODULE)
    assert run(tmp_path / "f.mlir", "--stage=functional", *arguments) == 1
    assert message in capsys.readouterr().err


def test_artefacts_of_others_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was compiled for another device would compute wrong numbers; without types nobody can call it."""
    (tmp_path / "no.vmfb").write_bytes(b"nothing")
    assert run(tmp_path / "no.vmfb") == 1
    assert "not an artefact of IREE's" in capsys.readouterr().err
    cuda = compiled(MODULE.replace("bf16", "f32"), tmp_path, "--backend=cuda", "--target=sm_75")
    assert run(cuda) == 1
    assert "cuda" in capsys.readouterr().err


def test_compile_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f.mlir").write_text(MODULE)
    for arguments, message in (
        (["--target=sm_80"], "backend 'cpu' has no target 'sm_80'; valid: host, x86-64"),
        (["--backend=functional"], "backend 'functional' does not compile with IREE; those that do: cpu"),
        (["--backend=gpu"], "unknown backend 'gpu'"),
        (["--pipeline=nothing"], "unknown pipeline 'nothing'"),
        (["--pass-pipeline=nothing"], "nothing"),
        (["--iree-flags=--no-such-flag"], "Unknown command line argument '--no-such-flag'"),
    ):
        assert compile_tool.main([str(tmp_path / "f.mlir"), "-o", str(tmp_path / "f.vmfb"), *arguments]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "f.vmfb").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2x3xf32=1 2 3 4 5 6", numpy.array([[1, 2, 3], [4, 5, 6]], "f4")),
        ("2x2xi64=[1,2],[3,4]", numpy.array([[1, 2], [3, 4]])),
        ("3xi1=true", numpy.ones(3, bool)),
        ("f64=2.5", numpy.array(2.5)),
        ("2xbf16=1", numpy.ones(2, ml_dtypes.bfloat16)),
        ("0x3xf16", numpy.zeros((0, 3), "f2")),
        ("-4", -4),
    ],
)
def test_values(text: str, expected: Any) -> None:
    value = parse_input(text)
    assert type(value) is type(expected)
    assert numpy.asarray(value).dtype == numpy.asarray(expected).dtype
    assert numpy.array_equal(value, expected)


def test_differences() -> None:
    one = numpy.ones(3, "f4")
    assert difference(one, one * (1 + 5e-6), 1e-5) == ""
    assert "differs by 2.0" in difference(one, one * (1 + 2e-5), 1e-5)
    assert "expected float64" in difference(one, one.astype("f8"), 1)
    assert "expected float32 [1, 3]" in difference(one, one[None], 1)
    nan = numpy.array([1, numpy.nan, numpy.inf], "f4")
    assert difference(nan, nan.copy(), 0) == ""
    assert "infinite or NaN" in difference(one, nan, 1)
    assert "infinite or NaN" in difference(nan, -nan, 1)


@pytest.mark.parametrize("type_", ["tensor<2x?xi64>", "!torch.vtensor<[2,?],si64>"])
def test_types_are_checked(type_: str) -> None:
    check_argument("x", type_, numpy.zeros((2, 5), "i8"))
    for wrong in (numpy.zeros((2, 5), "i4"), numpy.zeros((3, 5), "i8"), numpy.zeros(2, "i8"), 3):
        with pytest.raises(ValueError, match=r"x is int64 \[2, \?\], got"):
            check_argument("x", type_, wrong)


def test_integers_are_checked() -> None:
    check_argument("n", "index", 3)
    with pytest.raises(ValueError, match="n is an integer, got an array"):
        check_argument("n", "index", numpy.zeros(3))
    with pytest.raises(ValueError, match=r"n is !torch\.str, which the command line cannot give"):
        check_argument("n", "!torch.str", 3)
