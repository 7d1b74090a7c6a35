# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs a pipeline over a module on MLIR's PassManager, whose verifier, IR printing and timing are used as they are.

A failure becomes a `PassError` that names the pass, the op and the user's line, with a module and a command that
reproduce it.
"""

import io
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flambeau.dialects.bindings import ir, passmanager
from flambeau.dialects.errors import UnsupportedOpError
from flambeau.dialects.walk import operations
from flambeau.pipelines.errors import PassError
from flambeau.pipelines.registry import (
    Pass,
    PipelineError,
    parse_pipeline,
    pass_text,
    single_passes,
    unknown_choice,
)

__all__ = ["Printing", "run_pipeline", "split_reproducer", "write_reproducer"]


@dataclass(frozen=True)
class Printing:
    """What the pass manager prints to stderr, as mlir-opt's `--mlir-print-ir-*` flags say it."""

    before: Collection[str] = ()
    after: Collection[str] = ()
    before_all: bool = False
    after_all: bool = False
    after_change: bool = False
    after_failure: bool = False
    module_scope: bool = False
    debug_info: bool = False

    @property
    def wanted(self) -> bool:
        """Whether anything is to be printed."""
        named = bool(self.before or self.after)
        return named or self.before_all or self.after_all or self.after_change or self.after_failure


@dataclass(frozen=True)
class _Stage:
    name: str
    item: Pass | str  # ours, or one pass of MLIR's as text

    @property
    def text(self) -> str:
        return self.item if isinstance(self.item, str) else pass_text(self.item)


def run_pipeline(
    module: ir.Module,
    pipeline: str | Sequence[Pass | str],
    *,
    verify_each: bool = True,
    printing: Printing | None = None,
    timing: bool = False,
    reproducer: Path | None = None,
    on_stage: Callable[[int, str, ir.Module], None] | None = None,
) -> None:
    """Run `pipeline` (text, or passes) over `module` in place.

    `on_stage(i, name, module)` is called after the i-th pass, from 1. On failure PassError is raised, and the module as
    it was before the failing pass is written to the file `reproducer`, with that pass; `module` is then half-way.
    `timing` prints one report, for which all passes share a pass manager: it excludes `on_stage` and printing by name.
    """
    stages = list(_stages(parse_pipeline(pipeline) if isinstance(pipeline, str) else pipeline))
    printing = printing or Printing()
    for name in (*printing.before, *printing.after):
        if name not in {stage.name for stage in stages}:
            raise PipelineError(unknown_choice("pass to print at", name, [stage.name for stage in stages]))
    if timing and (on_stage or printing.before or printing.after):
        raise PipelineError(
            "timing cannot be combined with on_stage or with printing before or after a named pass"
        )
    if printing.wanted:
        # MLIR asks for one thread where it prints at module scope; otherwise it keeps the functions in order.
        module.context.enable_multithreading(False)
    # One manager per pass, so that a failure, which MLIR does not attribute, has a name.
    for index, group in enumerate([stages] if timing else [[stage] for stage in stages], start=1):
        before = _bytecode(module) if reproducer else None
        try:
            _run_group(module, group, verify_each, printing, timing)
        except (_RaisedInPass, ir.MLIRError) as error:
            if reproducer and before:
                with module.context:
                    original = ir.Module.parse(before)
                text = ",".join(stage.text for stage in group)
                write_reproducer(reproducer, original, text, verify_each=verify_each)
            if isinstance(error, _RaisedInPass):
                raise _python_failure(error.pass_name, error.error, module, reproducer) from error.error
            raise _mlir_failure(",".join(stage.name for stage in group), error, reproducer) from error
        if on_stage:
            on_stage(index, group[0].name, module)


def _stages(passes: Sequence[Pass | str]) -> Iterator[_Stage]:
    for item in passes:
        if isinstance(item, str):
            yield from (_Stage(name, text) for name, text in single_passes(item))
        else:
            yield _Stage(item.name, item)


def _run_group(
    module: ir.Module, group: Sequence[_Stage], verify_each: bool, printing: Printing, timing: bool
) -> None:
    with module.context, ir.Location.unknown():
        manager = passmanager.PassManager("builtin.module")
        manager.enable_verifier(verify_each)
        before = printing.before_all or any(stage.name in printing.before for stage in group)
        after = printing.after_all or any(stage.name in printing.after for stage in group)
        if before or after or printing.after_change or printing.after_failure:
            manager.enable_ir_printing(
                print_before_all=before,
                # MLIR's "after change" and "after failure" restrict what is printed after a pass.
                print_after_all=after or printing.after_change or printing.after_failure,
                print_after_change=printing.after_change,
                print_after_failure=printing.after_failure and not after and not printing.after_change,
                print_module_scope=printing.module_scope,
                enable_debug_info=printing.debug_info,
            )
        if timing:
            manager.enable_timing()
        for stage in group:
            if isinstance(stage.item, str):
                manager.add(stage.item)
            else:
                name = type(stage.item).__name__
                manager.add(_callback(stage.item, module), name=name, argument=stage.name)
        manager.run(module.operation)


def _callback(item: Pass, module: ir.Module) -> Callable[[object, object], None]:
    def run(_operation: object, _pass: object) -> None:
        try:
            item.run(module)
        except Exception as error:
            raise _RaisedInPass(item.name, error) from error

    return run


class _RaisedInPass(Exception):
    """Carries an exception of a Python pass through the pass manager, with the name of the pass."""

    def __init__(self, pass_name: str, error: Exception) -> None:
        super().__init__(pass_name)
        self.pass_name = pass_name
        self.error = error


# --- Failures -----------------------------------------------------------------------------------------------------


def _mlir_failure(name: str, error: ir.MLIRError, reproducer: Path | None) -> PassError:
    """A pass of MLIR's gave up, or the verifier refused what a pass left."""
    if not error.error_diagnostics:  # a diagnostic handler has them
        return PassError(name, "MLIR reported an error, or the IR is invalid", reproducer=reproducer)
    found = error.error_diagnostics[0]
    notes = (note.message.partition("see current operation: ")[2] for note in found.notes)
    op = next(filter(None, notes), None)
    return PassError(name, found.message, op=op, location=found.location, reproducer=reproducer)


def _python_failure(name: str, error: Exception, module: ir.Module, reproducer: Path | None) -> PassError:
    reason = error.reason if isinstance(error, UnsupportedOpError) else f"{type(error).__name__}: {error}"
    op = _failing_op(error, module)
    if op is None:
        return PassError(name, reason, reproducer=reproducer)
    text = op.get_asm(skip_regions=True, use_local_scope=True, assume_verified=True).strip()
    return PassError(name, reason, op=text, location=op.location, reproducer=reproducer)


def _failing_op(error: Exception, module: ir.Module) -> ir.Operation | None:
    """The op that `error` names as `.op`, else the one that the innermost frame of ours was working on.

    An op that is no longer in the module may be freed memory: it is not looked at.
    """
    candidates = [getattr(error, "op", None)]
    frames = []
    trace = error.__traceback__
    while trace:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    candidates += [frame.f_locals.get("op") for frame in reversed(frames)]
    present = operations(module)
    for candidate in candidates:
        if isinstance(candidate, ir.Operation | ir.OpView):
            try:
                return next(op for op in present if op == candidate)
            except (StopIteration, RuntimeError):  # RuntimeError: the bindings know that it was erased
                continue
    return None


# --- Reproducers --------------------------------------------------------------------------------------------------


_REPRODUCER = re.compile(
    r"\{-#\s*external_resources:\s*\{\s*mlir_reproducer:\s*\{(?P<fields>.*?)\}\s*\}\s*#-\}\n?", re.S
)


def write_reproducer(path: Path, module: ir.Module, pipeline: str, *, verify_each: bool) -> None:
    """Write `module` to `path` with the pipeline that fails on it, in mlir-opt's form of a reproducer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = module.operation.get_asm(enable_debug_info=True)
    escaped = pipeline.replace("\\", "\\\\").replace('"', "\\22")
    path.write_text(
        f"{body.rstrip()}\n\n"
        "{-#\n"
        "  external_resources: {\n"
        "    mlir_reproducer: {\n"
        f'      pipeline: "builtin.module({escaped})",\n'
        "      disable_threading: true,\n"
        f"      verify_each: {str(verify_each).lower()}\n"
        "    }\n"
        "  }\n"
        "#-}\n"
    )


def split_reproducer(text: str) -> tuple[str, str, bool]:
    """The module text of a reproducer, its pipeline, and whether to verify each pass; PipelineError if it is none."""
    block = _REPRODUCER.search(text)
    pipeline = block and re.search(r'pipeline:\s*"((?:[^"\\]|\\.)*)"', block["fields"])
    if not block or not pipeline:
        raise PipelineError(
            "no pipeline to run: a reproducer holds `{-# external_resources: { mlir_reproducer: ...`"
        )
    unescaped = re.sub(
        r"\\([0-9A-Fa-f]{2}|.)", lambda m: chr(int(m[1], 16)) if len(m[1]) == 2 else m[1], pipeline[1]
    )
    verify_each = not re.search(r"verify_each:\s*false", block["fields"])
    return text[: block.start()] + text[block.end() :], unescaped, verify_each


def _bytecode(module: ir.Module) -> bytes:
    buffer = io.BytesIO()
    module.operation.write_bytecode(buffer)
    return buffer.getvalue()
