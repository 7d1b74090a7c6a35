# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""export(): a module or exported program -> a package that runs where there is neither PyTorch nor Flambeau.

Everything is compiled or nothing: a package has no host to leave an op to.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import sympy
import torch
import torch.utils._pytree as pytree
from torch.export import Dim, ExportedProgram
from torch.export.dynamic_shapes import _combine_args, _tree_map_with_path
from torch.utils._sympy.functions import CleanDiv, FloorDiv, Max, Min, Mod, PythonMod

from flambeau.dialects import create_context
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import host
from flambeau.dialects.errors import file_location
from flambeau.frontend.calling.execution import bytecode, functions_by_name
from flambeau.frontend.calling.signature import Signature, read_signature
from flambeau.frontend.capture import sizes as symbolic
from flambeau.frontend.capture.exported_program import CapturedProgram, capture_exported_program
from flambeau.frontend.capture.records import UnsupportedGraphError
from flambeau.frontend.capture.special_sizes import input_fakes, retraces_alike, shapes_hold
from flambeau.frontend.capture.torch_calls import PlainRecurrence
from flambeau.frontend.compile import CompilationError
from flambeau.frontend.importing.importer import import_graph
from flambeau.pipelines.driver import run_pipeline
from flambeau.pipelines.errors import PassError
from flambeau.pipelines.partitioning.work import estimate_work
from flambeau.pipelines.stages import stage_passes
from flambeau.runtime.backends import Backend, lookup_backend
from flambeau.runtime.devices.environment import package_version
from flambeau.runtime.errors import CompileError

# What a call takes beside the program's own inputs if the program draws random numbers.
_SEED = "seed"

_CHECK = "self_check_"


def export(
    program: torch.nn.Module | ExportedProgram,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    path: str | Path,
    backend: str | Backend = "cpu",
    target: str | None = None,
    dynamic_shapes: Any = None,
    iree_flags: Sequence[str] = (),
) -> Path:
    """Compile a program ahead of time and write it with its weights as a package, a folder; returns its path.

    `args`, `kwargs`, `dynamic_shapes`: as for torch.export, which traces a module; an ExportedProgram has them already.
    `target`: what to compile for; None is this machine's device (see `flambeau.runtime.devices.targets`).
    `iree_flags`: more flags for IREE's compiler. Nothing is differentiated, and a module is exported in the mode
    that it is in: call `.eval()` first. Buffers that the program writes are state of the loaded package. An existing
    package at `path` is replaced.

    CompilationError, naming op, user line and reason, for what cannot be compiled. ValueError for an unknown backend or
    target, FileExistsError if something else is at `path`.
    """
    from flambeau.runtime.devices.targets import find_target
    from flambeau.runtime.iree.compiler import compile_module
    from flambeau.runtime.iree.session import choose_driver, estimate_seconds
    from flambeau.runtime.package import refuse_other, write_package

    record = lookup_backend(backend) if isinstance(backend, str) else backend
    chosen = find_target(record, target)
    if record.pipeline != "lower-to-torch":
        raise ValueError(
            f"backend {record.name!r} goes by {record.pipeline!r}; export goes by 'lower-to-torch' only"
        )
    refuse_other(Path(path))
    exported = _exported(program, args, kwargs, dynamic_shapes)
    try:
        captured = capture_exported_program(exported)
        if isinstance(program, torch.nn.Module):
            captured = _with_special_sizes(captured, exported, program, args, kwargs or {})
        module = import_graph(captured.graph, create_context())
        _refuse_host_ops(module)
        run_pipeline(module, ",".join(stage_passes(stage) for stage in ("functional", "forward")))
        forward = functions_by_name(module)["forward"]
        facts, work = read_signature(forward), estimate_work(forward)
        run_pipeline(module, stage_passes("deployment"))
        self_check = record.device != "local"
        if self_check:
            _add_self_check(module)
        artefact = compile_module(bytecode(module), record, extra_flags=(*chosen.flags, *iree_flags))
    except (UnsupportedGraphError, PassError, CompileError) as error:
        raise CompilationError(f"cannot export for backend {record.name!r}: {error}") from error
    driver = record.device
    if driver == "local":
        driver = choose_driver(estimate_seconds(work.flops, work.bytes))
    signature = {
        "function": "forward",
        **_described(captured, facts, _names_of_sizes(exported, args, kwargs or {}, dynamic_shapes)),
        "backend": record.name,
        "driver": driver,
        "target": {"name": chosen.name, "device": chosen.device, "cpu_features": chosen.cpu_features},
        "self_check": self_check,
        "versions": {name: package_version(name) for name in ("flambeau", "iree-base-compiler", "torch")},
    }
    weights = {name: _bytes(value) for name, value in captured.state.items()}
    write_package(Path(path), code=artefact.vmfb, weights=weights, signature=signature)
    return Path(path)


def _exported(
    program: torch.nn.Module | ExportedProgram,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    dynamic_shapes: Any,
) -> ExportedProgram:
    if isinstance(program, ExportedProgram):
        if args or kwargs or dynamic_shapes:
            raise TypeError(
                "an ExportedProgram has its arguments and dynamic shapes already: give the path only"
            )
        return program
    if not isinstance(program, torch.nn.Module):
        raise TypeError(f"export takes an nn.Module or an ExportedProgram, not {type(program).__name__}")
    with torch.no_grad(), PlainRecurrence():
        return torch.export.export(
            program, tuple(args), dict(kwargs or {}), dynamic_shapes=dynamic_shapes, strict=False
        )


def _with_special_sizes(
    captured: CapturedProgram,
    exported: ExportedProgram,
    module: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> CapturedProgram:
    """The program with the sizes that tracing treats as special, where the module does not.

    Tracing takes each size for greater than 1. And where PyTorch asked whether a size is some number, it notes that it
    is not, although the answer may have changed nothing.
    """
    examples = [r.value for r in captured.graph.inputs if isinstance(r.value, torch.Tensor)]

    def holds(sizes: Mapping[sympy.Symbol, int]) -> bool:
        return shapes_hold(captured.graph.graph_module, examples, sizes) and retraces_alike(
            exported, module, args, kwargs, sizes
        )

    def is_like_others(condition: sympy.Basic) -> bool:
        if not isinstance(condition, sympy.Ne) or not condition.lhs.is_Symbol or not condition.rhs.is_Integer:
            return False
        return holds({condition.lhs: int(condition.rhs)})

    candidates = [symbol for symbol, range_ in captured.ranges.items() if range_.minimum <= 2]
    ones = [symbol for symbol in candidates if holds({symbol: 1})]
    if len(ones) > 1 and not holds(dict.fromkeys(ones, 1)):
        ones = []
    ranges = {
        s: replace(r, minimum=1 if s in ones else max(r.minimum, 2)) for s, r in captured.ranges.items()
    }
    conditions = tuple(c for c in captured.conditions if not is_like_others(c))
    return replace(captured, ranges=ranges, conditions=conditions)


def _refuse_host_ops(module: ir.Module) -> None:
    """UnsupportedGraphError for the first op that only runs in a process with PyTorch."""
    with module.context:
        for function in fn.functions(module):
            for op in fn.operations(fn.entry_block(function)):
                called = host.callee(op)
                if called is not None:
                    place = file_location(op.location)
                    target = ir.StringAttr(called.operation.attributes[host.TARGET]).value
                    reason = f"{host.reason(called)}; a package has no PyTorch to leave it to"
                    raise UnsupportedGraphError(target, place[:2] if place else None, reason)


def _add_self_check(module: ir.Module) -> None:
    """Add functions by which a loader tells that the device is the one that was compiled for."""
    from flambeau.runtime.iree.self_check import MODULE

    with module.context:
        checks = ir.Module.parse(MODULE)
        for function in fn.functions(checks):
            copy = function.operation.clone(ip=ir.InsertionPoint(module.body))
            copy.attributes["sym_name"] = ir.StringAttr.get(f"{_CHECK}{function.name.value}")


def _bytes(value: torch.Tensor) -> Any:
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


# --- The signature ---------------------------------------------------------------------------------------------------


def _names_of_sizes(
    exported: ExportedProgram, args: Sequence[Any], kwargs: Mapping[str, Any], dynamic_shapes: Any
) -> dict[sympy.Symbol, sympy.Symbol]:
    """For each symbol the one that the user named with `torch.export.Dim`, where there is a name."""
    names: dict[sympy.Symbol, sympy.Symbol] = {}
    if not isinstance(dynamic_shapes, dict | list | tuple):
        return names
    leaves = pytree.tree_leaves((tuple(args), dict(kwargs)))
    fakes = dict(zip(map(id, leaves), input_fakes(exported, len(leaves)), strict=True))

    def note(_: Any, value: Any, shape: Any = None) -> None:
        if isinstance(value, torch.Tensor) and shape:
            for position, dim in shape.items() if isinstance(shape, dict) else enumerate(shape):
                size = symbolic.expression(fakes[id(value)].shape[position])
                if isinstance(dim, Dim) and isinstance(size, sympy.Symbol):
                    names.setdefault(size, sympy.Symbol(dim.__name__, integer=True))

    combined: Any = _combine_args(exported.module(), tuple(args), dict(kwargs))
    if not isinstance(dynamic_shapes, dict):
        combined = type(dynamic_shapes)(combined.values())
    _tree_map_with_path(note, combined, dynamic_shapes)
    return names


def _described(
    captured: CapturedProgram, facts: Signature, names: Mapping[sympy.Symbol, sympy.Symbol]
) -> dict[str, Any]:
    """Inputs, outputs, state and sizes, as signature.json has them; `names`: what symbols are called there."""
    graph = captured.graph

    def expressions(sizes: Sequence[int | torch.SymInt]) -> list[sympy.Expr]:
        return [symbolic.expression(size).subs(names) for size in sizes]

    def shape(sizes: Sequence[int | torch.SymInt]) -> list[int | str]:
        return [int(e) if e.is_Integer else str(e) for e in expressions(sizes)]

    inputs = [
        {"name": record.source, "dtype": _name(record.tensor.dtype), "shape": shape(record.tensor.shape)}
        for record in graph.inputs
        if record.kind == "input" and record.tensor is not None
    ]
    if any(argument.role == "seed" for argument in facts.arguments):
        inputs.append({"name": _SEED, "dtype": "int32", "shape": [2]})
    outputs = [
        {"dtype": _name(record.tensor.dtype), "shape": shape(record.tensor.shape)}
        if record.tensor is not None
        else {"dtype": "int", "shape": []}
        for record in graph.outputs
        if record.kind != "constant"
    ]
    # A size that follows from others is a symbol of its own, and a condition says what it is.
    derived = {
        e: None
        for record in graph.inputs
        if record.tensor is not None
        for e in expressions(record.tensor.shape)
        if not e.is_Integer and not e.is_Symbol
    }
    positions = itertools.count()
    leaves = [
        {"constant": _constant(record.value)} if record.kind == "constant" else next(positions)
        for record in graph.outputs
    ]
    assert graph.out_spec is not None
    return {
        "inputs": inputs,
        "outputs": outputs,
        "structure": _structure(graph.out_spec, iter(leaves)),
        "symbols": {str(names.get(s, s)): [r.minimum, r.maximum] for s, r in captured.ranges.items()}
        | {str(e): [0, None] for e in derived},
        "conditions": [_formula(condition.subs(names)) for condition in captured.conditions]
        + [["==", str(e), _formula(e)] for e in derived],
        "state": [record.source for record in graph.inputs if record.written],
    }


def _structure(spec: pytree.TreeSpec, leaves: Iterator[Any]) -> Any:
    """Containers as JSON: a leaf is the position of an output, a container {kind: parts}, kind tuple, list or dict."""
    if spec.is_leaf():
        return next(leaves)
    parts = [_structure(child, leaves) for child in spec.children()]
    keys = spec.context
    named = (
        isinstance(keys, list | tuple) and len(keys) == len(parts) and all(isinstance(k, str) for k in keys)
    )
    if named:  # dicts, and what libraries register with the names of its fields
        return {"dict": dict(zip(keys, parts, strict=True))}
    return {"list" if spec.type is list else "tuple": parts}


_OPERATORS: dict[Any, str] = {
    sympy.Add: "+",
    sympy.Mul: "*",
    FloorDiv: "//",
    CleanDiv: "//",
    Mod: "%",
    PythonMod: "%",
    sympy.Mod: "%",
    Max: "max",
    Min: "min",
    sympy.Eq: "==",
    sympy.Ne: "!=",
    sympy.Lt: "<",
    sympy.Le: "<=",
    sympy.Gt: ">",
    sympy.Ge: ">=",
    sympy.And: "and",
    sympy.Or: "or",
    sympy.Not: "not",
}


def _formula(expression: sympy.Basic) -> Any:
    """An expression of symbols as JSON: a number, a symbol, or [operator, operands...]."""
    if isinstance(expression, sympy.Integer):
        return int(expression)
    if isinstance(expression, sympy.Symbol):
        return str(expression)
    operator = _OPERATORS.get(expression.func)
    if operator is None:
        raise UnsupportedGraphError(
            "dynamic sizes", None, f"{expression} must hold, which no loader can check"
        )
    return [operator, *map(_formula, expression.args)]


def _constant(value: Any) -> Any:
    """An output that is the same in every call."""
    if value is not None and not isinstance(value, bool | int | float | str):
        raise UnsupportedGraphError("output", None, f"{value!r} cannot be written to a file")
    return value


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
