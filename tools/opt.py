# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`flambeau-opt`: runs passes over an `.mlir` file, with mlir-opt's flags. Module text or bytecode in, the same out.

MLIR is loaded only once there is something to do, so that `--help` is fast.
"""

import argparse
import difflib
import os
import re
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flambeau.pipelines.stages import PIPELINES, named_pipeline
from flambeau.tools.module_io import accept_ops_of_iree

if TYPE_CHECKING:
    from flambeau.dialects.bindings import ir
    from flambeau.pipelines.driver import Printing
    from flambeau.pipelines.errors import PassError
    from flambeau.pipelines.registry import Pass

_BYTECODE_MAGIC = b"ML\xefR"
_SPLIT_MARKER = "// -----"


class UsageError(Exception):
    """The command line asks for something that cannot be done; the message says what."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; returns the exit code."""
    try:
        return _run(sys.argv[1:] if argv is None else list(argv))
    except UsageError as error:
        print(f"flambeau-opt: error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, `head` for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(argv: list[str]) -> int:
    parser = _parser()
    arguments, shorthands = _split_shorthands(argv, parser)
    args = parser.parse_args(arguments)

    from flambeau.pipelines.registry import PipelineError, load_passes

    load_passes()
    for plugin in args.load_pass_plugin:
        _load_plugin(plugin)
    if args.list_passes:
        print(_passes_text())
        return 0
    if args.show_dialects:
        print(_dialects_text())
        return 0
    data = _read(args.input)
    try:
        pipeline, data, verify_each = _choose_pipeline(args, shorthands, data)
        return _process(args, pipeline, data, verify_each)
    except PipelineError as error:
        raise UsageError(str(error)) from None


# --- Command line -------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flambeau-opt",
        description="Run passes over an MLIR module, with mlir-opt's flags (one dash or two).",
        epilog="A pass has a flag of its own: --cse, --partition=partitioner=min-cut (see --list-passes); such flags "
        "run in the order in which they are written. Named pipelines: "
        + "; ".join(f"{name}: {pipeline.help}" for name, pipeline in PIPELINES.items())
        + ".",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("input", nargs="?", default="-", help="module as text or bytecode; - (the default) is standard input")
    add("-o", dest="output", metavar="FILE", default="-", help="where the result goes; - is standard output")
    add("--pass-pipeline", metavar="TEXT", help="for example 'builtin.module(functionalize,func.func(cse))'")
    add("--pipeline", metavar="NAME", help=f"a named pipeline: {', '.join(PIPELINES)}")
    add("--run-reproducer", action="store_true", help="run the pipeline that is written in the input file")
    add(
        "--load-pass-plugin",
        metavar="FILE",
        action="append",
        default=[],
        help="a Python file that registers passes",
    )
    add("--list-passes", action="store_true", help="print all passes with their options, and exit")
    add(
        "--show-dialects", action="store_true", help="print the dialects that may occur in a module, and exit"
    )
    add("--allow-unregistered-dialect", action="store_true", help="accept ops of unknown dialects")

    group = parser.add_argument_group("checks")
    group.add_argument(
        "--verify-each",
        type=_boolean,
        metavar="true|false",
        help="verify the IR after each pass (default: true)",
    )
    group.add_argument(
        "--split-input-file", action="store_true", help=f"process the parts between '{_SPLIT_MARKER}' lines"
    )
    group.add_argument(
        "--verify-diagnostics", action="store_true", help="compare messages with expected-error comments"
    )
    group.add_argument(
        "--verify-roundtrip", action="store_true", help="check that text and bytecode read back equal"
    )
    group.add_argument(
        "--mlir-pass-pipeline-crash-reproducer",
        metavar="FILE",
        help="when a pass fails, write the module before it, for --run-reproducer",
    )

    group = parser.add_argument_group("output")
    group.add_argument("--emit-bytecode", action="store_true", help="write bytecode instead of text")
    group.add_argument(
        "--pretty",
        action="store_true",
        help="write a short form to read, with the source line beside each op; nothing reads it back",
    )
    group.add_argument("--mlir-print-debuginfo", action="store_true", help="print locations")
    group.add_argument(
        "--mlir-print-local-scope", action="store_true", help="print locations and attributes without aliases"
    )
    group.add_argument("--mlir-print-op-generic", action="store_true", help="print all ops in generic form")
    group.add_argument(
        "--mlir-elide-elementsattrs-if-larger", metavar="N", type=int, help="print long constants as '...'"
    )

    group = parser.add_argument_group("what the pass manager prints (standard error)")
    for when in ("before", "after"):
        group.add_argument(
            f"--mlir-print-ir-{when}",
            metavar="PASS[,PASS]",
            action="append",
            default=[],
            help=f"print the IR {when} these passes",
        )
        group.add_argument(
            f"--mlir-print-ir-{when}-all", action="store_true", help=f"print the IR {when} each pass"
        )
    group.add_argument(
        "--mlir-print-ir-after-change", action="store_true", help="after each pass, if it changed the IR"
    )
    group.add_argument(
        "--mlir-print-ir-after-failure", action="store_true", help="print the IR after a pass that fails"
    )
    group.add_argument(
        "--mlir-print-ir-module-scope", action="store_true", help="print the module, not one function"
    )
    group.add_argument("--mlir-timing", action="store_true", help="print how long each pass takes")
    return parser


def _boolean(text: str) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"expected true or false, not {text!r}") from None


@dataclass(frozen=True)
class Shorthand:
    """A pass given as a flag: `--name` or `--name="option=value ..."`."""

    name: str
    options: str

    @property
    def text(self) -> str:
        return f"{self.name}{{{self.options}}}" if self.options else self.name


def _split_shorthands(argv: list[str], parser: argparse.ArgumentParser) -> tuple[list[str], list[Shorthand]]:
    """Tell flags of the tool from passes given as flags; what starts with one dash gets two."""
    flags = set(parser._option_string_actions)
    arguments, shorthands = [], []
    for token in argv:
        name, equals, value = token.partition("=")
        long_name = f"--{name.lstrip('-')}"
        if not token.startswith("-") or token == "-" or (name in flags and name != long_name):
            arguments.append(token)
        elif long_name == "--verify-each" and not equals:
            arguments.append(
                "--verify-each=true"
            )  # so that argparse does not take the next argument for its value
        elif long_name in flags:
            arguments.append(long_name + equals + value)
        else:
            shorthands.append(Shorthand(name.lstrip("-"), value))
    return arguments, shorthands


def _choose_pipeline(
    args: argparse.Namespace, shorthands: list[Shorthand], data: bytes
) -> tuple[str, bytes, bool]:
    """The pipeline text, the module to run it on, and whether to verify after each pass."""
    from flambeau.pipelines.driver import split_reproducer

    ways = [
        way
        for way, used in (
            ("--pass-pipeline", args.pass_pipeline is not None),
            ("--pipeline", args.pipeline),
            ("--run-reproducer", args.run_reproducer),
            *((f"--{shorthand.name}", True) for shorthand in shorthands[:1]),
        )
        if used
    ]
    if len(ways) > 1:
        raise UsageError(f"{' and '.join(ways)} cannot be combined: each says what to run")
    verify_each = args.verify_each is not False
    if args.run_reproducer:
        text, pipeline, recorded = split_reproducer(_decode(data, args.input))
        return pipeline, text.encode(), verify_each if args.verify_each is not None else recorded
    if args.pipeline:
        try:
            return named_pipeline(args.pipeline), data, verify_each
        except KeyError as error:
            raise UsageError(error.args[0]) from None
    for shorthand in shorthands:
        _check_shorthand(shorthand)
    return args.pass_pipeline or ",".join(shorthand.text for shorthand in shorthands), data, verify_each


def _check_shorthand(shorthand: Shorthand) -> None:
    """Refuse a misspelt flag: it looks like a pass, but may have been meant as a flag of the tool."""
    from flambeau.pipelines.registry import PipelineError, parse_pipeline

    try:
        parse_pipeline(shorthand.text)
    except PipelineError as error:
        flags = [flag for flag in _parser()._option_string_actions if flag.startswith("--")]
        close = difflib.get_close_matches(f"--{shorthand.name}", flags, n=1, cutoff=0.75)
        if close:
            raise UsageError(f"unknown option '--{shorthand.name}'; did you mean {close[0]!r}?") from None
        raise UsageError(f"--{shorthand.name}: {error}") from None


def _load_plugin(path: str) -> None:
    """Import a Python file for the passes that it registers."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None or not Path(path).is_file():
        raise UsageError(f"cannot load pass plugin {path!r}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for the types of fields
    spec.loader.exec_module(module)


# --- Lists --------------------------------------------------------------------------------------------------------


def _passes_text() -> str:
    from flambeau.pipelines.registry import UPSTREAM_PASSES, load_passes, options

    lines = ["Passes of Flambeau (flag, or name in --pass-pipeline; options as name{option=value ...}):"]
    for name, cls in sorted(load_passes().items()):
        lines.append(f"  --{name}")
        lines += [f"      {line.strip()}".rstrip() for line in (cls.__doc__ or "").strip().splitlines()]
        lines += [f"      {o.name}=<{o.spelling}>  (default: {o.default_text})" for o in options(cls)]
    lines.append("Passes of MLIR (these and others):")
    lines += [f"  --{name}\n      {text}" for name, text in UPSTREAM_PASSES.items()]
    lines.append("Named pipelines (--pipeline=NAME):")
    lines += [
        f"  {name}\n      {pipeline.help}\n      {pipeline.text}" for name, pipeline in PIPELINES.items()
    ]
    return "\n".join(lines)


def _dialects_text() -> str:
    from flambeau.dialects.opdef import OPS

    lines = [f"Available Dialects: {','.join(_available_dialects())}"]
    for dialect in sorted({name.partition(".")[0] for name in OPS}):
        ops = sorted(name for name in OPS if name.startswith(f"{dialect}."))
        lines += [f"{dialect}: {len(ops)} ops", *(f"  {name}" for name in ops)]
    return "\n".join(lines)


def _available_dialects() -> list[str]:
    """The bindings cannot list dialects, but MLIR's message about an unknown one does."""
    from flambeau.dialects import create_context
    from flambeau.dialects.bindings import ir

    with create_context():
        try:
            ir.Module.parse("unknown.op")
        except ir.MLIRError as error:
            note = error.error_diagnostics[0].notes[0].message
            return re.findall(r"\w+", note.partition("Available dialects:")[2].partition(" (* ")[0])
    raise AssertionError("MLIR accepted an op of an unknown dialect")


# --- Work ---------------------------------------------------------------------------------------------------------


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot open input file {path!r}: {error.strerror}") from None


def _decode(data: bytes, path: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: neither MLIR bytecode nor UTF-8 text (byte {error.start})") from None


def _process(args: argparse.Namespace, pipeline: str, data: bytes, verify_each: bool) -> int:
    """Run the pipeline over each part of the input and write the results; returns the exit code."""
    from flambeau.dialects import create_context
    from flambeau.pipelines.registry import parse_pipeline
    from flambeau.tools.diagnostics import PrintDiagnostics, Source, VerifyDiagnostics

    passes = parse_pipeline(pipeline)
    name = "<stdin>" if args.input == "-" else args.input
    is_bytecode = data.startswith(_BYTECODE_MAGIC)
    if is_bytecode and (args.split_input_file or args.verify_diagnostics):
        raise UsageError("--split-input-file and --verify-diagnostics need text, the input is bytecode")
    text = "" if is_bytecode else _decode(data, name)
    parts = _split_input(text) if args.split_input_file else [text]
    context = create_context()
    context.emit_error_diagnostics = True  # to the handler, not into the exception
    context.allow_unregistered_dialects = args.allow_unregistered_dialect
    accept_ops_of_iree(context, data)
    results: list[bytes] = []
    ok = True
    for part in parts:
        source = Source(name, part)
        handler: PrintDiagnostics | VerifyDiagnostics
        handler = VerifyDiagnostics(source) if args.verify_diagnostics else PrintDiagnostics(source)
        attached = context.attach_diagnostic_handler(handler)
        result = _process_part(args, context, data if is_bytecode else part, passes, verify_each)
        attached.detach()
        if result is not None:
            results.append(result)
        ok &= handler.report() if isinstance(handler, VerifyDiagnostics) else result is not None
    separator = f"{_SPLIT_MARKER}\n".encode()
    if args.output == "-":
        sys.stdout.buffer.write(separator.join(results))
        sys.stdout.buffer.flush()
    elif ok:
        try:
            Path(args.output).write_bytes(separator.join(results))
        except OSError as error:
            raise UsageError(f"cannot write {args.output!r}: {error.strerror}") from None
    return 0 if ok else 1


def _process_part(
    args: argparse.Namespace,
    context: "ir.Context",
    asm: str | bytes,
    passes: "Sequence[Pass | str]",
    verify_each: bool,
) -> bytes | None:
    """Parse, run, print. None on failure, about which the context's diagnostic handler knows."""
    from flambeau.dialects.bindings import ir
    from flambeau.pipelines.driver import run_pipeline
    from flambeau.pipelines.errors import PassError

    reproducer = args.mlir_pass_pipeline_crash_reproducer
    # A file that is read as a whole gives its name to the locations.
    as_file = args.input != "-" and not args.split_input_file and not args.run_reproducer
    try:
        with context:
            module = ir.Module.parseFile(args.input) if as_file else ir.Module.parse(asm)
        if args.verify_roundtrip and not _roundtrips(module):
            return None
        run_pipeline(
            module,
            passes,
            verify_each=verify_each,
            printing=_printing(args),
            timing=args.mlir_timing,
            reproducer=Path(reproducer) if reproducer else None,
        )
    except ir.MLIRError:
        return None
    except PassError as error:
        _report(error, quiet=args.verify_diagnostics)
        return None
    return _asm(module, args)


def _report(error: "PassError", *, quiet: bool) -> None:
    """Hand the failure of a Python pass to the diagnostic handler, where MLIR's own already are."""
    from flambeau.dialects.bindings import ir
    from flambeau.dialects.errors import UnsupportedOpError

    cause = error.__cause__
    if not isinstance(cause, ir.MLIRError) and error.location:
        error.location.emit_error(f"pass '{error.pass_name}': {error.reason}")
    if quiet:
        return
    if not isinstance(
        cause, ir.MLIRError | UnsupportedOpError
    ):  # a bug in the pass: its author needs the way there
        traceback.print_exception(cause)
    print(f"flambeau-opt: error: {error}", file=sys.stderr)


def _printing(args: argparse.Namespace) -> "Printing":
    from flambeau.pipelines.driver import Printing

    return Printing(
        before=_names(args.mlir_print_ir_before),
        after=_names(args.mlir_print_ir_after),
        before_all=args.mlir_print_ir_before_all,
        after_all=args.mlir_print_ir_after_all,
        after_change=args.mlir_print_ir_after_change,
        after_failure=args.mlir_print_ir_after_failure,
        module_scope=args.mlir_print_ir_module_scope,
        debug_info=args.mlir_print_debuginfo,
    )


def _names(values: list[str]) -> list[str]:
    return [name.strip() for value in values for name in value.split(",")]


def _split_input(text: str) -> list[str]:
    """The parts between marker lines, each with empty lines in front, so that line numbers stay those of the file."""
    parts, lines, start = [], text.split("\n"), 0
    for number, line in enumerate([*lines, _SPLIT_MARKER]):
        if line.startswith(_SPLIT_MARKER):
            parts.append("\n" * start + "\n".join(lines[start:number]) + "\n")
            start = number + 1
    return parts


def _asm(module: "ir.Module", args: argparse.Namespace) -> bytes:
    import io

    if args.pretty:
        from flambeau.tools.pretty import pretty

        return pretty(module).encode()
    if args.emit_bytecode:
        buffer = io.BytesIO()
        module.operation.write_bytecode(buffer)
        return buffer.getvalue()
    text = module.operation.get_asm(
        enable_debug_info=args.mlir_print_debuginfo,
        use_local_scope=args.mlir_print_local_scope,
        print_generic_op_form=args.mlir_print_op_generic,
        large_elements_limit=args.mlir_elide_elementsattrs_if_larger,
    )
    return f"{text.rstrip()}\n".encode()


def _roundtrips(module: "ir.Module") -> bool:
    """Whether the module reads back equal from its text, its generic text and its bytecode; says so if not."""
    import io

    from flambeau.dialects.bindings import ir

    def generic(which: ir.Module) -> str:
        return str(which.operation.get_asm(enable_debug_info=True, print_generic_op_form=True))

    expected = generic(module)
    bytecode = io.BytesIO()
    module.operation.write_bytecode(bytecode)
    text = module.operation.get_asm(enable_debug_info=True)
    for form, asm in (("text", text), ("generic text", expected), ("bytecode", bytecode.getvalue())):
        with module.context:
            found = generic(ir.Module.parse(asm))
        if found != expected:
            lines = zip(expected.splitlines(), found.splitlines(), strict=False)
            wrote, read = next(((a, b) for a, b in lines if a != b), ("", "(lengths differ)"))
            module.operation.location.emit_error(
                f"round trip through {form} changes {wrote.strip()!r} to {read.strip()!r}"
            )
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
