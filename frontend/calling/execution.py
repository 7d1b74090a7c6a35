# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From a module and a backend to callables: interpreted for the debug stages, compiled by IREE for devices.

What comes back obeys the signature: eager's strides, and memory of its own.
"""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import host
from flambeau.dialects.dialect import RefType
from flambeau.frontend.calling.autograd import CompileGradients, Differentiable, Execute
from flambeau.frontend.calling.signature import Result, Signature, Sizes, read_signature
from flambeau.frontend.capture.records import UnsupportedGraphError
from flambeau.runtime import interpreter
from flambeau.runtime.artefact_cache import ArtefactCache
from flambeau.runtime.backends import Backend
from flambeau.runtime.devices.keep_awake import KeepAwake
from flambeau.runtime.iree.compiler import Artefact
from flambeau.runtime.resident import ResidentTensor

Call = Execute


def functions_by_name(module: ir.Module) -> dict[str, Any]:
    """The public `func.func`s of a module by name."""
    return {f.name.value: f for f in fn.public_functions(module)}


def signatures(module: ir.Module) -> dict[str, Signature]:
    """The facts of the public functions by name."""
    return {name: read_signature(function) for name, function in functions_by_name(module).items()}


def interpret(module: ir.Module, name: str) -> tuple[Execute, Signature]:
    """`@name` through the reference interpreter, and its signature. PyTorch's autograd sees through it.

    Where references are still there, the new values of written arguments are appended to the results, as
    `functionalize` does it.
    """
    function = functions_by_name(module)[name]
    updates = _updates_of_references(function)
    facts = read_signature(function)
    facts = replace(facts, results=facts.results + tuple(updates.values()))
    references = [i for i, t in enumerate(function.type.inputs) if isinstance(t, RefType)]
    written = [r.updates for r in facts.results if r.updates is not None]
    interpreted = interpreter.Module(module)

    def execute(arguments: Sequence[Any]) -> list[Any]:
        values = list(arguments)
        for index in written:
            # The caller's tensor is written after the call; what autograd saves meanwhile must not change with it.
            values[index] = arguments[index].clone()
        for index in references:
            values[index] = interpreter.Place(values[index])
        results = interpreted.call(name, *values)
        return _finished([*results, *(values[index].load() for index in updates)], facts, arguments)

    return execute, facts


def _updates_of_references(function: Any) -> dict[int, Result]:
    """For each argument that a store reaches, the facts of its new value."""
    block = fn.entry_block(function)
    roots: dict[ir.Value, int] = {a: i for i, a in enumerate(block.arguments) if isinstance(a.type, RefType)}
    visible: dict[int, bool] = {}
    for op in fn.operations(block):
        if op.name == "flambeau.ref_view" and op.operands[0] in roots:
            roots[op.results[0]] = roots[op.operands[0]]
        elif op.name == "flambeau.ref_store" and op.operands[0] in roots:
            index = roots[op.operands[0]]
            visible[index] = visible.get(index, False) or not op.opview.hidden
    arguments = read_signature(function).arguments
    return {
        index: Result(dtype=arguments[index].dtype, updates=index, hidden=not seen)
        for index, seen in sorted(visible.items())
    }


def _finished(results: list[Any], facts: Signature, arguments: Sequence[Any]) -> list[Any]:
    """Results with eager's strides, none of them a view or sharing memory with an argument or another result."""
    sizes = Sizes(facts.arguments, arguments)
    given = (a.host_part if isinstance(a, ResidentTensor) else a for a in arguments)
    taken = {a.untyped_storage().data_ptr() for a in given if isinstance(a, torch.Tensor)}
    # PyTorch's autograd sees through the interpreter, and may keep a result that eager does not.
    keeps = torch.is_grad_enabled() and any(a.requires_grad for a in facts.arguments)
    finished: list[Any] = []
    for fact, value in zip(facts.results, results, strict=True):
        if isinstance(value, ResidentTensor):
            # What is only saved stays on the device, and there alone even if a call on the host has read it.
            stays = value.device_part if fact.saved else None
            value = stays or value.tensor
        if isinstance(value, torch.Tensor):
            value = with_strides(value, None if fact.strides is None else sizes.extents(fact.strides))
            shared = value.untyped_storage().data_ptr() in taken
            if shared or (keeps and fact.may_be_written) or (value._is_view() and value.requires_grad):
                value = value.clone()
            elif value._is_view():  # of something that the interpreter made: to autograd a tensor of its own
                value = value.detach()
            taken.add(value.untyped_storage().data_ptr())
        finished.append(value)
    return finished


def with_strides(value: torch.Tensor, strides: Sequence[int] | None) -> torch.Tensor:
    """The tensor with the given strides (None: contiguous, as a new tensor has them), copied if it has others."""
    if strides is None:
        if value.is_contiguous() and 0 not in value.stride():
            return value
        strides = [math.prod(max(size, 1) for size in value.shape[dim + 1 :]) for dim in range(value.dim())]
    if list(value.stride()) == list(strides):
        return value
    return torch.empty_strided(value.shape, list(strides), dtype=value.dtype, device=value.device).copy_(
        value
    )


def bytecode(module: ir.Module) -> bytes:
    """A module as MLIR bytecode, with its locations."""
    buffer = io.BytesIO()
    module.operation.write_bytecode(buffer)
    return buffer.getvalue()


def take_host_part(module: ir.Module) -> Any:
    """The host's part of a split module: its host functions, and declarations of the functions that are compiled.

    `module` keeps the compiled functions alone.
    """
    host_module = module.operation.clone()
    for function in fn.functions(host_module):
        if not host.is_host_function(function):
            operation = function.operation
            attributes = {name: operation.attributes[name] for name in operation.attributes}
            attributes["sym_visibility"] = ir.StringAttr.get("private", host_module.context)
            with ir.InsertionPoint(operation), operation.location:
                ir.Operation.create("func.func", attributes=attributes, regions=1)
            operation.erase()
    for function in fn.functions(module, declarations=True):
        if host.is_host_function(function):
            function.operation.erase()
    return host_module


def link(
    host_module: Any, compiled: Mapping[str, Execute], facts: Mapping[str, Signature]
) -> dict[str, Execute]:
    """The functions that `facts` names, from the host's part of a module and the compiled functions."""
    callables: dict[str, Callable[..., list[Any]]] = {
        name: lambda *arguments, execute=execute: execute(arguments) for name, execute in compiled.items()
    }
    interpreted = interpreter.Module(host_module, callables)

    def on_host(name: str, signature: Signature) -> Execute:
        def execute(arguments: Sequence[Any]) -> list[Any]:
            with torch.no_grad():
                return _finished(interpreted.call(name, *arguments), signature, arguments)

        return execute

    return {name: compiled[name] if name in compiled else on_host(name, f) for name, f in facts.items()}


def load_compiled(
    artefact: Artefact,
    backend: Backend,
    facts: Mapping[str, Signature],
    estimated_seconds: float,
    cache: ArtefactCache,
    keep_awake: KeepAwake,
) -> dict[str, Execute]:
    """Load an artefact; those of its functions that `facts` describes as callables, by name.

    LoadError if IREE refuses it.

    On a device with memory of its own, results that only compiled functions need are ResidentTensors: what is saved for
    the backward, and all results of segments.

    `estimated_seconds` of one call on one core decide whether the CPU's workers are worth waking, and `keep_awake` how
    these are called.
    """
    from flambeau.runtime.iree.executable import ResultSpec
    from flambeau.runtime.iree.session import load

    executable = load(
        artefact, backend, estimated_seconds=estimated_seconds, cache=cache, keep_awake=keep_awake
    )

    def function(name: str, signature: Signature) -> Execute:
        is_segment = name not in ("forward", "backward")
        specs = [ResultSpec(r.dtype, stays=is_segment or r.saved) for r in signature.results]
        call = executable.function(name, specs)
        strided = any(r.strides is not None for r in signature.results)

        def execute(arguments: Sequence[Any]) -> list[Any]:
            results: list[Any] = call(arguments)
            if strided:
                sizes = Sizes(signature.arguments, arguments)
                for index, fact in enumerate(signature.results):
                    if fact.strides is not None:
                        results[index] = with_strides(results[index], sizes.extents(fact.strides))
            return results

        return execute

    return {name: function(name, signature) for name, signature in facts.items()}


def differentiable(
    functions: dict[str, Execute],
    facts: dict[str, Signature],
    compile_gradients: CompileGradients,
    resident: bool = False,
) -> Call:
    """`@forward` with `@backward` behind torch.autograd, or `@forward` alone where there is no backward.

    `resident`: they are loaded on a device with memory of its own, see `load_compiled`.
    """
    if "backward" not in functions:
        return functions["forward"]
    return Differentiable(
        functions["forward"],
        functions["backward"],
        facts["forward"],
        facts["backward"],
        compile_gradients,
        resident,
    )


def functions_of_backend(returned: Any, facts: dict[str, Signature]) -> dict[str, Execute]:
    """What a backend function returned, as the functions of the module by name.

    It is a callable where there is only one function, else a mapping from names to callables; each takes the arguments
    one by one and returns a sequence of results.
    """
    given = returned if isinstance(returned, Mapping) else {next(iter(facts)): returned}
    if given.keys() != facts.keys() or not all(map(callable, given.values())):
        raise TypeError(
            f"a backend must return callables for the functions {', '.join(facts)} by name, "
            f"but returned {returned!r}"
        )

    def function(call: Callable[..., Sequence[Any]], signature: Signature) -> Execute:
        return lambda arguments: _finished(list(call(*arguments)), signature, arguments)

    return {name: function(given[name], signature) for name, signature in facts.items()}


def refuse_lost_gradients(facts: dict[str, Signature]) -> None:
    """UnsupportedGraphError if eager gives an output or a written argument a history that `@backward` does not know."""
    forward = facts["forward"]
    backward = facts["backward"].arguments if "backward" in facts else ()
    known = {a.of_result for a in backward if a.role == "tangent"}
    for index, fact in enumerate(forward.results):
        given = fact.view_of_argument is not None or fact.is_argument is not None or fact.updates is not None
        owner = index if fact.view_of_result is None else fact.view_of_result
        if fact.requires_grad and not given and not fact.hidden and owner not in known:
            reason = f"output {fact.output} requires a gradient in eager, but depends on nothing that could receive it"
            raise UnsupportedGraphError("output", None, reason)
        if fact.updates is not None and index not in known and forward.arguments[fact.updates].gets_history:
            name = forward.arguments[fact.updates].name
            reason = f"{name} requires a gradient in eager, but depends on nothing that could receive it"
            raise UnsupportedGraphError("output", None, reason)
