# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The driver: order, stages, verification, and what is known about a pass that fails."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flambeau.dialects import create_context
from flambeau.dialects.bindings import ir
from flambeau.dialects.errors import UnsupportedOpError, source_line
from flambeau.dialects.walk import operations
from flambeau.pipelines.driver import Printing, run_pipeline, split_reproducer
from flambeau.pipelines.errors import PassError
from flambeau.pipelines.registry import PASSES, PipelineError, register_pass

TEXT = """
func.func @f(%a: f32) -> (f32, f32) {
  %0 = arith.mulf %a, %a : f32 loc("model.py":12:4)
  %1 = arith.mulf %a, %a : f32 loc("model.py":13:4)
  return %0, %1 : f32, f32
}
"""


def parse(text: str = TEXT) -> ir.Module:
    with create_context():
        return ir.Module.parse(text)


def count(module: ir.Module, name: str) -> int:
    return sum(op.name == name for op in operations(module))


@dataclass(frozen=True)
class Calls:
    """A pass that calls a function."""

    function: Callable[[ir.Module], object]
    name = "calls"

    def run(self, module: ir.Module) -> None:
        """Call it."""
        self.function(module)


def test_passes_run_in_order_and_stages_are_reported() -> None:
    stages: list[tuple[int, str, int]] = []
    seen: list[int] = []
    run_pipeline(
        parse(),
        [
            Calls(lambda m: seen.append(count(m, "arith.mulf"))),
            "func.func(cse,canonicalize)",
            *[Calls(seen.append)],
        ],
        on_stage=lambda i, name, m: stages.append((i, name, count(m, "arith.mulf"))),
    )
    assert seen[0] == 2
    assert stages == [(1, "calls", 2), (2, "cse", 1), (3, "canonicalize", 1), (4, "calls", 1)]


def test_text_pipeline() -> None:
    module = parse()
    run_pipeline(module, "builtin.module(func.func(cse))")
    assert count(module, "arith.mulf") == 1


def invalidate(module: ir.Module) -> None:
    for op in operations(module):
        if op.name == "arith.mulf":
            op.results[0].set_type(ir.F64Type.get())


def test_invalid_ir_is_found_after_the_pass_that_left_it() -> None:
    with pytest.raises(PassError) as caught:
        run_pipeline(parse(), ["cse", Calls(invalidate), "canonicalize"])
    assert caught.value.pass_name == "calls"
    assert caught.value.source == "model.py:12"
    assert "arith.mulf" in (caught.value.op or "")
    assert "same type" in caught.value.reason


def test_verification_can_be_switched_off() -> None:
    run_pipeline(parse(), [Calls(invalidate)], verify_each=False)


def refuse(module: ir.Module) -> None:
    for op in operations(module):
        if op.name == "arith.mulf":
            raise UnsupportedOpError(op, "no products")


def bug(module: ir.Module) -> None:
    for op in operations(module):
        if op.name == "arith.mulf":
            op.no_such_attribute()


def erase_and_fail(module: ir.Module) -> None:
    (unused,) = (op for op in operations(module) if op.name == "arith.addf")
    op = unused
    op.erase()
    raise ValueError("after the op is gone")


@pytest.mark.parametrize("timing", [False, True])
@pytest.mark.parametrize(
    ("function", "reason", "cause", "source"),
    [
        (refuse, "no products", UnsupportedOpError, "model.py:12"),
        (
            bug,
            "AttributeError: 'Operation' object has no attribute 'no_such_attribute'",
            AttributeError,
            "model.py:12",
        ),
        (lambda m: 1 // 0, "ZeroDivisionError: integer division or modulo by zero", ZeroDivisionError, ""),
    ],
)
def test_failing_pass(timing: bool, function: Any, reason: str, cause: type, source: str) -> None:
    with pytest.raises(PassError) as caught:
        run_pipeline(parse(), ["cse", Calls(function)], timing=timing)
    error = caught.value
    assert (error.pass_name, error.reason, error.source) == ("calls", reason, source)
    assert type(error.__cause__) is cause
    assert error.op == ("%0 = arith.mulf %arg0, %arg0 : f32" if source else None)
    assert f"pass 'calls' failed: {reason}" in str(error)
    assert not source or f"from: {source}" in str(error)


def test_an_erased_op_is_not_looked_at() -> None:
    text = "func.func @f(%a: f32) { %0 = arith.addf %a, %a : f32 return }"
    with pytest.raises(PassError, match="ValueError: after the op is gone") as caught:
        run_pipeline(parse(text), [Calls(erase_and_fail)])
    assert caught.value.op is None


def test_reproducer_holds_the_module_before_the_failing_pass(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Fails:
        """Erase the function, then fail."""

        name = "fails-in-a-test"
        why: str = "no reason"

        def run(self, module: ir.Module) -> None:
            operations(module)[1].erase()
            raise RuntimeError(self.why)

    path = tmp_path / "deep" / "fails.mlir"
    register_pass(Fails)
    try:
        with pytest.raises(PassError) as caught:
            run_pipeline(parse(), ["cse", Fails(why='a "quoted" one'), "canonicalize"], reproducer=path)
        text, pipeline, verify_each = split_reproducer(path.read_text())
        module = parse(text)
        assert count(module, "arith.mulf") == 1
        assert [source_line(op.location) for op in operations(module) if op.name == "arith.mulf"] == [
            "model.py:12"
        ]
        assert verify_each
        with pytest.raises(PassError, match='RuntimeError: a "quoted" one'):
            run_pipeline(module, pipeline)
    finally:
        del PASSES["fails-in-a-test"]
    assert caught.value.reproducer == path
    assert f"reproduce: flambeau-opt {path} --run-reproducer" in str(caught.value)


def test_success_leaves_no_reproducer(tmp_path: Path) -> None:
    run_pipeline(parse(), "cse", reproducer=tmp_path / "x.mlir")
    assert not list(tmp_path.iterdir())


def test_not_a_reproducer() -> None:
    with pytest.raises(PipelineError, match="no pipeline to run"):
        split_reproducer(TEXT)


def test_printing_by_name(capfd: pytest.CaptureFixture[str]) -> None:
    run_pipeline(
        parse(), "func.func(cse,canonicalize)", printing=Printing(before=["canonicalize"], after=["cse"])
    )
    headers = [line for line in capfd.readouterr().err.splitlines() if "IR Dump" in line]
    assert ["After CSE" in headers[0], "Before Canonicalizer" in headers[1], len(headers)] == [True, True, 2]


def test_printing_at_an_unknown_pass() -> None:
    with pytest.raises(PipelineError, match="unknown pass to print at 'csee'; did you mean 'cse'"):
        run_pipeline(parse(), "cse", printing=Printing(after=["csee"]))


def test_timing_excludes_stages() -> None:
    with pytest.raises(PipelineError, match="timing cannot be combined"):
        run_pipeline(parse(), "cse", timing=True, on_stage=lambda *_: None)


def test_keyboard_interrupt_passes_through() -> None:
    def interrupt(_: ir.Module) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_pipeline(parse(), [Calls(interrupt)])


def test_eight_threads() -> None:
    def one(_: int) -> int:
        module = parse()
        run_pipeline(module, "func.func(cse),canonicalize")
        return count(module, "arith.mulf")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(40))) == [1] * 40


@pytest.mark.parametrize(
    ("location", "line"),
    [
        ('"a.py":3:4', "a.py:3"),
        ('"name"("a.py":3:4)', "a.py:3"),
        ('fused["name", "a.py":3:4, "b.py":1:1]', "a.py:3"),
        ('callsite("name" at "b.py":5:1)', "b.py:5"),
        ('callsite("a.py":3:4 at "b.py":5:1)', "a.py:3"),
        ("unknown", ""),
    ],
)
def test_source_line(location: str, line: str) -> None:
    module = parse(f"module {{}} loc({location})")
    assert source_line(module.operation.location) == line
