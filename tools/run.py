# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`flambeau-run`: runs a package, an artefact (.vmfb) or an `.mlir` file; prints, saves or checks the results."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flambeau.pipelines.stages import stage_passes
from flambeau.runtime.backends import list_backends, lookup_backend
from flambeau.tools import arrays
from flambeau.tools.compile import ToolError, compile_file, find_backend, read_module, reported, run_passes

if TYPE_CHECKING:
    from flambeau.runtime.iree.compiler import Artefact

# The debug stages that a file can be brought to and interpreted at, with the passes that lead there.
STAGES = {"imported": "", "functional": stage_passes("functional")}

# Takes the values of the inputs, gives the results: arrays, and integers for sizes.
Function = Callable[[Sequence[Any]], list[Any]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; returns the exit code, 1 if a result differs from what was expected."""
    args = _parser().parse_args(argv)
    differences = []
    with reported("flambeau-run") as failures:
        inputs = [arrays.parse_input(text) for text in args.input]
        results = _function(args)(inputs)
        if max(len(args.output), len(args.expect)) > len(results):
            raise ToolError(f"more files for results are named than there are results ({len(results)})")
        arrays.save(args.output, results)
        for index, value in enumerate(results):
            if index < len(args.expect):
                problem = arrays.difference(value, arrays.parse_input(args.expect[index]), args.tolerance)
                print(f"result {index}: {problem or 'as expected'}")
                differences += [problem] if problem else []
            elif index >= len(args.output):
                print(arrays.format_value(index, value))
    return 1 if failures or differences else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flambeau-run",
        description="Run a function of a package, of an artefact (.vmfb) or of an MLIR file.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("program", help="a package's folder, a .vmfb file, or a module as text or bytecode")
    add("--function", metavar="NAME", help="the function (default: the only public one)")
    add(
        "--input",
        metavar="VALUE",
        action="append",
        default=[],
        help="once per argument: x.npy, 2x3xf32=0, 3xi64=1,2,3, or an integer for a size",
    )
    add("--backend", metavar="NAME", help=f"for an MLIR file: {', '.join(list_backends())} (default: cpu)")
    add(
        "--stage",
        choices=STAGES,
        help="for an MLIR file: interpret it at this stage, op by op in eager PyTorch, instead of compiling it",
    )
    add(
        "--iree-flags", metavar="'FLAGS'", default="", help="for an MLIR file: more flags for IREE's compiler"
    )
    add("--device", metavar="NAME", help="for a package: IREE's name of another device, as local-sync")
    add(
        "--output",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="once per result: a .npy file",
    )
    add(
        "--expect",
        metavar="VALUE",
        action="append",
        default=[],
        help="once per result, as for --input: compare",
    )
    add(
        "--tolerance",
        metavar="X",
        type=float,
        default=1e-5,
        help="what --expect allows floats to be off, relative to the largest (default: 1e-5)",
    )
    return parser


def _function(args: argparse.Namespace) -> Function:
    """What is to be run."""
    path = Path(args.program)
    kind = "package" if path.is_dir() else "artefact" if path.suffix == ".vmfb" else "MLIR file"
    belongs = {"backend": "MLIR file", "stage": "MLIR file", "iree_flags": "MLIR file", "device": "package"}
    for option, owner in belongs.items():
        if getattr(args, option) and owner != kind:
            raise ToolError(
                f"--{option.replace('_', '-')} is for {owner}s; {args.program} is taken for an {kind}"
            )
    if not path.exists():
        raise ToolError(f"there is no {args.program}")
    if kind == "package":
        return _of_package(path, args.function, args.device)
    if kind == "artefact":
        return _of_artefact(path, args.function)
    if args.stage:
        return _interpreted(args.program, STAGES[args.stage], args.function)
    artefact = compile_file(
        args.program, find_backend(args.backend or "cpu"), iree_flags=shlex.split(args.iree_flags)
    )
    return _compiled(artefact, args.backend or "cpu", args.function)


def _of_package(path: Path, name: str | None, device: str | None) -> Function:
    from flambeau.runtime.package import read_signature
    from flambeau.runtime.package.standalone import Model

    signature = read_signature(path)
    _choose(name, [signature["function"]])
    try:
        model = Model(path, device)
    except RuntimeError as error:
        raise ToolError(str(error)) from error

    def run(inputs: Sequence[Any]) -> list[Any]:
        try:
            return model.flat(*inputs)
        except TypeError as error:
            raise ToolError(str(error)) from error

    return run


def _of_artefact(path: Path, name: str | None) -> Function:
    from flambeau.runtime.devices.environment import cpu_features
    from flambeau.runtime.iree.compiler import Artefact, Attempt
    from flambeau.runtime.iree.reflection import read_description

    vmfb = path.read_bytes()
    description = read_description(vmfb)
    missing = set(description.cpu_features) - set(cpu_features())
    if missing:
        raise ToolError(
            f"{path} was compiled for a CPU with {', '.join(sorted(missing))}, which this one lacks"
        )
    artefact = Artefact(vmfb, description.functions, description.device, (), (Attempt("loaded", 0.0),))
    return _compiled(artefact, description.backend, name)


def _compiled(artefact: "Artefact", backend: str, name: str | None) -> Function:
    """A function of an artefact on this machine's device."""
    from flambeau.runtime.iree.executable import ResultSpec
    from flambeau.runtime.iree.session import load
    from flambeau.tools.tensors import from_torch, to_torch, torch_dtype

    chosen = _choose(name, list(artefact.functions))
    signature = artefact.functions[chosen]
    executable = load(artefact, lookup_backend(backend))
    call = executable.function(chosen, [ResultSpec(torch_dtype(text)) for text in signature.results])

    def run(inputs: Sequence[Any]) -> list[Any]:
        _check(chosen, signature.arguments, inputs)
        return [from_torch(value) for value in call([to_torch(value) for value in inputs])]

    return run


def _interpreted(path: str, passes: str, name: str | None) -> Function:
    """A function of an MLIR file through the reference interpreter; new values of written arguments come last."""
    from flambeau.dialects import functions as fn
    from flambeau.dialects.dialect import RefType
    from flambeau.frontend.calling.execution import functions_by_name, interpret
    from flambeau.tools.tensors import from_torch, to_torch

    with read_module(path) as module:
        run_passes(module, passes)
        functions = functions_by_name(module)
        chosen = _choose(name, [n for n, function in functions.items() if not fn.is_private(function)])
        execute, _ = interpret(module, chosen)
        given = functions[chosen].type.inputs
        types = [str(t.tensor if isinstance(t, RefType) else t) for t in given]

        def run(inputs: Sequence[Any]) -> list[Any]:
            _check(chosen, types, inputs)
            return [from_torch(value) for value in execute([to_torch(value) for value in inputs])]

        return run


def _choose(name: str | None, names: Sequence[str]) -> str:
    """The function that is asked for, or the only one there is."""
    if name is None and len(names) == 1:
        return names[0]
    if name in names:
        return str(name)
    asked = f"no function {name!r}" if name else "which function? say it with --function"
    raise ToolError(f"{asked}; there are: {', '.join(names) or 'none'}")


def _check(name: str, types: Sequence[str], inputs: Sequence[Any]) -> None:
    if len(inputs) != len(types):
        raise ToolError(f"@{name} takes {len(types)} arguments ({', '.join(types)}), got {len(inputs)}")
    for position, (type_, value) in enumerate(zip(types, inputs, strict=True)):
        arrays.check_argument(f"argument {position} of @{name}", type_, value)


if __name__ == "__main__":
    sys.exit(main())
