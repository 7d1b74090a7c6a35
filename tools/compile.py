# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`flambeau-compile`: an `.mlir` file in our dialects or the torch dialect in, an artefact of IREE's (.vmfb) out."""

import argparse
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flambeau.pipelines.stages import PIPELINES, STAGES, named_pipeline, stage_passes
from flambeau.runtime.backends import Backend, list_backends, lookup_backend
from flambeau.tools.module_io import accept_ops_of_iree

if TYPE_CHECKING:
    from flambeau.dialects.bindings import ir
    from flambeau.runtime.iree.compiler import Artefact

__all__ = ["ToolError", "compile_file", "main", "read_module", "reported", "run_passes"]

_BYTECODE_MAGIC = b"ML\xefR"
_OURS = re.compile(r"\b(?:flambeau|autograd)\.\w")


class ToolError(Exception):
    """The tool cannot do what it is asked for; the message says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; returns the exit code."""
    args = _parser().parse_args(argv)
    with reported("flambeau-compile") as failures:
        backend = find_backend(args.backend)
        artefact = compile_file(
            args.input,
            backend,
            pipeline=_pipeline(args),
            target=args.target,
            iree_flags=shlex.split(args.iree_flags),
        )
        output = Path(args.output or Path(args.input).with_suffix(".vmfb").name)
        try:
            output.write_bytes(artefact.vmfb)
        except OSError as error:
            raise ToolError(f"cannot write {str(output)!r}: {error.strerror}") from None
        names = ", ".join(f"@{name}" for name in artefact.functions)
        print(f"{output}: {names} for {backend.name} ({artefact.rung}, {len(artefact.vmfb)} bytes)")
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flambeau-compile",
        description="Compile an MLIR module for a device. Ops of Flambeau are lowered first, by passes of your choice.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("input", help="module as text or bytecode")
    add("-o", dest="output", metavar="FILE", help="the artefact (default: the input's name with .vmfb, here)")
    add("--backend", default="cpu", help=f"for what: {', '.join(list_backends())} (default: cpu)")
    add(
        "--target",
        metavar="NAME",
        help="the device, if it is not this machine's own: x86-64-v3, sm_80, subgroup-32, ...",
    )
    passes = parser.add_mutually_exclusive_group()
    passes.add_argument("--pass-pipeline", metavar="TEXT", help="passes in place of the usual ones")
    passes.add_argument("--pipeline", metavar="NAME", help=f"a named pipeline: {', '.join(PIPELINES)}")
    add("--iree-flags", metavar="'FLAGS'", default="", help="more flags for IREE's compiler; they win")
    return parser


def _pipeline(args: argparse.Namespace) -> str | None:
    if args.pipeline is None:
        return args.pass_pipeline  # type: ignore[no-any-return]
    try:
        return named_pipeline(args.pipeline)
    except KeyError as error:
        raise ToolError(error.args[0]) from None


def find_backend(name: str) -> Backend:
    """The backend of that name, which must be one that IREE compiles for."""
    backend = lookup_backend(name)
    if not backend.target:
        compiled = [n for n in list_backends() if lookup_backend(n).target]
        raise ToolError(f"backend {name!r} does not compile with IREE; those that do: {', '.join(compiled)}")
    return backend


def compile_file(
    path: str,
    backend: Backend,
    *,
    pipeline: str | None = None,
    target: str | None = None,
    iree_flags: Sequence[str] = (),
) -> "Artefact":
    """Compile the module in a file; the artefact says what is in it. `pipeline` None: the usual passes."""
    from flambeau.runtime.devices.targets import find_target
    from flambeau.runtime.iree.compiler import compile_module
    from flambeau.runtime.iree.reflection import describe

    chosen = find_target(backend, target)
    with read_module(path) as module:
        run_passes(module, usual_passes(module) if pipeline is None else pipeline)
        _refuse_ours(module)
        describe(module, backend, chosen)
        return compile_module(
            str(module.operation.get_asm(enable_debug_info=True)),
            backend,
            extra_flags=(*chosen.flags, *iree_flags),
        )


def usual_passes(module: "ir.Module") -> str:
    """What leads from any stage to the torch dialect; nothing for a module without ops, types or facts of ours."""
    with module.context:
        text = module.operation.get_asm(large_elements_limit=8)
    if not _OURS.search(text):
        return ""
    forward = (item for item in STAGES["forward"] if item != "partition")  # functions keep their names
    return ",".join((stage_passes("functional"), *forward, stage_passes("lower-to-torch")))


def _refuse_ours(module: "ir.Module") -> None:
    """ToolError if an op of ours is left, for IREE knows none."""
    from flambeau.dialects.bindings import ir

    found: list[ir.Operation] = []

    def visit(op: "ir.Operation") -> "ir.WalkResult":
        if _OURS.match(op.name):
            found.append(op)
            return ir.WalkResult.INTERRUPT
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    if found:
        found[0].location.emit_error(f"'{found[0].name}' is left by the passes, and IREE does not know it")
        raise ToolError("the passes must lead to the torch dialect, to linalg or to another that IREE knows")


@contextmanager
def read_module(path: str) -> "Iterator[ir.Module]":
    """The module in a file. What MLIR has to say while it is read and worked on is printed, with the source line."""
    from flambeau.dialects import create_context
    from flambeau.dialects.bindings import ir
    from flambeau.tools.diagnostics import PrintDiagnostics, Source

    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ToolError(f"cannot open input file {path!r}: {error.strerror}") from None
    is_bytecode = data.startswith(_BYTECODE_MAGIC)
    try:
        source = Source(path, "" if is_bytecode else data.decode())
    except UnicodeDecodeError as error:
        raise ToolError(f"{path}: neither MLIR bytecode nor UTF-8 text (byte {error.start})") from None
    context = create_context()
    context.emit_error_diagnostics = True  # to the handler, not into the exception
    accept_ops_of_iree(context, data)
    handler = context.attach_diagnostic_handler(PrintDiagnostics(source))
    try:
        with context:
            yield ir.Module.parseFile(path)
    except ir.MLIRError:
        raise ToolError(f"{path} is not a valid module") from None
    finally:
        handler.detach()


def run_passes(module: "ir.Module", pipeline: str) -> None:
    """Run pipeline text over a module; a pass that fails is reported at the op's line."""
    from flambeau.dialects.bindings import ir
    from flambeau.pipelines.driver import run_pipeline
    from flambeau.pipelines.errors import PassError

    try:
        run_pipeline(module, pipeline)
    except PassError as error:
        if not isinstance(error.__cause__, ir.MLIRError) and error.location:
            error.location.emit_error(f"pass '{error.pass_name}': {error.reason}")
        raise ToolError(str(error)) from error


@contextmanager
def reported(tool: str) -> Iterator[list[str]]:
    """Print what a tool refuses as `tool: error: ...`; the list that comes back holds it afterwards."""
    from flambeau.pipelines.registry import PipelineError
    from flambeau.runtime import errors

    failures: list[str] = []
    try:
        yield failures
    except (
        ToolError,
        PipelineError,
        ValueError,
        errors.UnknownBackendError,
        errors.CompileError,
        errors.BackendNotAvailableError,
        errors.LoadError,
        errors.ExecutionError,
    ) as error:
        failures.append(str(error))
        print(f"{tool}: error: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
