# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Capture of a `torch.export.ExportedProgram`: out comes a `CapturedGraph`, the weights, and what callers have to know.

The program is run as inference: whatever grad mode it asks for, nothing is differentiated.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import sympy
import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.export import ExportedProgram
from torch.export.graph_signature import (
    ConstantArgument,
    InputKind,
    InputSpec,
    OutputKind,
    TensorArgument,
)
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from flambeau.frontend.capture import sizes as symbolic
from flambeau.frontend.capture.dynamo import capture_graph_module
from flambeau.frontend.capture.fake_inputs import new_fake_mode
from flambeau.frontend.capture.records import CapturedGraph, UnsupportedGraphError
from flambeau.frontend.capture.records import InputKind as GraphInputKind
from flambeau.frontend.capture.special_sizes import shapes_hold

# Checks of what the trace knows already: that a cast is given the dtype that it was given while exporting.
_CHECKS = (torch.ops.aten._assert_tensor_metadata.default,)

_STATE_KINDS: Mapping[InputKind, GraphInputKind] = {
    InputKind.PARAMETER: "parameter",
    InputKind.BUFFER: "buffer",
    InputKind.CONSTANT_TENSOR: "buffer",
}


@dataclass(frozen=True)
class Range:
    """The sizes that a symbol may take; `maximum` None: any."""

    minimum: int
    maximum: int | None


@dataclass(frozen=True)
class CapturedProgram:
    """An exported program, captured.

    graph: its inputs are the parameters, buffers and constants, then the tensors that the caller gives. Two that are
    one tensor have one `source`.
    state: the parameters, buffers and constants by `source`.
    ranges: the symbols among the caller's sizes.
    conditions: what must hold for them besides, as relations of sympy's.
    """

    graph: CapturedGraph
    state: dict[str, torch.Tensor]
    ranges: dict[sympy.Symbol, Range]
    conditions: tuple[sympy.Basic, ...]


def capture_exported_program(program: ExportedProgram) -> CapturedProgram:
    """Capture an exported program. UnsupportedGraphError, with op, user line and reason, for what cannot be shipped."""
    graph_module = _copy_of_graph(program)
    specs = [
        spec for spec in program.graph_signature.input_specs if not isinstance(spec.arg, ConstantArgument)
    ]
    placeholders = [node for node in graph_module.graph.nodes if node.op == "placeholder"]
    fakes = [_example(node, spec) for node, spec in zip(placeholders, specs, strict=True)]
    state: dict[str, torch.Tensor] = {}
    sources = []
    for spec in specs:
        source = str(spec.arg.name)
        if spec.kind in _STATE_KINDS:
            source = _add_to_state(state, str(spec.target), _state_tensor(program, spec))
        sources.append(source)
    kinds = [_STATE_KINDS.get(spec.kind, "input") for spec in specs]
    shape_env = _shape_env(fakes)
    fake_mode = new_fake_mode(shape_env)
    with torch.no_grad(), _without_libraries(), _keeping_guards(shape_env):
        own = [_fake(fake_mode, f, kind) for f, kind in zip(fakes, kinds, strict=True)]
        graph = capture_graph_module(graph_module, fake_mode, own, sources, kinds)
    for record in graph.inputs:
        if record.written and record.kind == "input":
            reason = "the program writes it; return the new value instead"
            raise UnsupportedGraphError(f"input {record.source}", None, reason)
    _refuse_shared_state(graph, state)
    graph = replace(graph, out_spec=program.call_spec.out_spec)
    ranges = _ranges(program, shape_env, graph.graph_module, fakes)
    return CapturedProgram(graph, state, ranges, _conditions(shape_env, _symbols(fakes)))


@contextmanager
def _without_libraries() -> Iterator[None]:
    """Without oneDNN and NNPACK, which take some batch sizes only: asked for them, convolutions fix the size."""
    enabled = torch._C._get_mkldnn_enabled()
    with torch.backends.nnpack.flags(enabled=False):
        torch._C._set_mkldnn_enabled(False)
        try:
            yield
        finally:
            torch._C._set_mkldnn_enabled(enabled)


def _copy_of_graph(program: ExportedProgram) -> fx.GraphModule:
    """The program's graph with tensor inputs only, buffer updates as writes, and outputs that are the caller's."""
    graph = copy.deepcopy(program.graph)
    specs = program.graph_signature.input_specs
    nodes = [node for node in graph.nodes if node.op == "placeholder"]
    buffers = {}
    for node, spec in zip(nodes, specs, strict=True):
        if spec.kind not in (*_STATE_KINDS, InputKind.USER_INPUT):
            raise UnsupportedGraphError(f"input {spec.arg.name}", None, f"it is a {spec.kind.name}")
        buffers[spec.target] = node
        if isinstance(spec.arg, ConstantArgument):
            graph.erase_node(node)  # the program was made for this value
        elif not isinstance(spec.arg, TensorArgument):
            reason = f"it is a number ({type(spec.arg).__name__}), which a package cannot take; pass a tensor"
            raise UnsupportedGraphError(f"input {spec.arg.name}", None, reason)
    output = graph.output_node()
    kept = []
    for spec, value in zip(program.graph_signature.output_specs, output.args[0], strict=True):
        if spec.kind is OutputKind.USER_OUTPUT:
            kept.append(value)
        elif spec.kind is OutputKind.BUFFER_MUTATION:
            with graph.inserting_before(output):
                write = graph.call_function(torch.ops.aten.copy_.default, (buffers[spec.target], value))
            write.stack_trace = value.stack_trace
        else:
            reason = f"it is a {spec.kind.name}, not an output of the program"
            raise UnsupportedGraphError(f"output {spec.target or spec.arg.name}", None, reason)
    output.args = (tuple(kept),)
    for node in list(graph.nodes):
        if node.target in _CHECKS:
            graph.erase_node(node)
    return fx.GraphModule(program.graph_module, graph)


def _example(placeholder: fx.Node, spec: InputSpec) -> FakeTensor:
    value = placeholder.meta.get("val")
    if not isinstance(value, FakeTensor):
        raise UnsupportedGraphError(f"input {spec.arg.name}", None, f"it is {value!r}, not a tensor")
    return value


def _state_tensor(program: ExportedProgram, spec: InputSpec) -> torch.Tensor:
    """The value of a parameter, buffer or constant. Buffers that no state_dict holds are among the constants."""
    name = str(spec.target)
    value = program.state_dict[name] if name in program.state_dict else program.constants[name]
    if not isinstance(value, torch.Tensor):
        raise UnsupportedGraphError(name, None, f"it is {type(value).__name__}, not a tensor")
    return value.detach()


def _add_to_state(state: dict[str, torch.Tensor], name: str, value: torch.Tensor) -> str:
    """Note a tensor of the program; the name that it goes by, which is another one's if that is the same tensor."""
    for other, known in state.items():
        if _same_memory(known, value) and known.shape == value.shape and known.stride() == value.stride():
            return other
    state[name] = value
    return name


def _same_memory(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() and a.dtype == b.dtype and a.numel() > 0


def _refuse_shared_state(graph: CapturedGraph, state: Mapping[str, torch.Tensor]) -> None:
    """Raise if the program writes memory that two of its tensors share: each would be a copy of its own."""
    for record in graph.inputs:
        if not record.written:
            continue
        storage = state[record.source].untyped_storage().data_ptr()
        sharing = [name for name, value in state.items() if value.untyped_storage().data_ptr() == storage]
        others = [r.source for r in graph.inputs if r.source in sharing and r is not record]
        if others:
            reason = f"the program writes it, and it shares memory with {', '.join(others)}"
            raise UnsupportedGraphError(record.source, None, reason)


# --- Sizes -----------------------------------------------------------------------------------------------------------


def _shape_env(fakes: Sequence[FakeTensor]) -> ShapeEnv:
    return next((f.fake_mode.shape_env for f in fakes if f.fake_mode.shape_env is not None), ShapeEnv())


def _fake(fake_mode: FakeTensorMode, example: FakeTensor, kind: GraphInputKind) -> Any:
    """A fake of our own mode like the program's, with the program's symbols. Callers give contiguous arrays."""
    with fake_mode:
        if kind == "input":
            return torch.empty(example.shape, dtype=example.dtype, device=example.fake_device)
        return torch.empty_strided(
            example.shape, example.stride(), dtype=example.dtype, device=example.fake_device
        )


@contextmanager
def _keeping_guards(shape_env: ShapeEnv) -> Iterator[None]:
    """Let a trace add guards: an exported program's environment is frozen, so it would forget them."""
    frozen = shape_env.frozen
    shape_env.frozen = False
    try:
        yield
    finally:
        shape_env.frozen = frozen


def _symbols(fakes: Sequence[FakeTensor]) -> list[sympy.Symbol]:
    """The symbols among the sizes. UnsupportedGraphError for one that no dim is by itself: nobody could tell it."""
    sizes = [symbolic.expression(size) for fake in fakes for size in fake.shape]
    for symbol in {s for size in sizes for s in size.free_symbols}:
        if symbol not in sizes:
            reason = f"the size {symbol} occurs in expressions only; let one input have it as it is"
            raise UnsupportedGraphError("dynamic sizes", None, reason)
    return sorted((size for size in set(sizes) if isinstance(size, sympy.Symbol)), key=str)


def _conditions(shape_env: ShapeEnv, known: Sequence[sympy.Symbol]) -> tuple[sympy.Basic, ...]:
    """What the export and the trace took for granted about sizes, beyond the ranges of the symbols.

    Symbols that are no size of an input come from how an example lies in memory, which the program does not see. Sizes
    of 0 and 1 are a matter of the ranges.
    """
    found: dict[sympy.Basic, None] = {}
    small = {sympy.Ne(symbol, number) for symbol in known for number in (0, 1)}
    for guard in shape_env.guards:
        condition = shape_env.replace(guard.expr)
        # Without axioms, among which the guards themselves are.
        implied = shape_env._maybe_evaluate_static(condition, axioms=()) is sympy.true
        free = condition.free_symbols
        if free and free <= set(known) and not implied and condition not in small:
            found[condition] = None
    return tuple(found)


def _ranges(
    program: ExportedProgram, shape_env: ShapeEnv, graph: fx.GraphModule, fakes: Sequence[FakeTensor]
) -> dict[sympy.Symbol, Range]:
    """The ranges of the symbols. What torch.export traces may be wrong for 0 and 1, whatever its user declared."""
    known = _symbols(fakes)
    ranges = {}
    for symbol in known:
        traced = shape_env.var_to_range[symbol]
        declared = program.range_constraints.get(symbol, traced)
        least = max(declared.lower, traced.lower if traced.lower > 2 else 1)
        if least == 1 and not shapes_hold(graph, fakes, {symbol: 1}):
            least = 2
        most = min(declared.upper, traced.upper)
        ranges[symbol] = Range(int(least), int(most) if most.is_Integer else None)
    ones = [s for s in known if ranges[s].minimum == 1]
    if len(ones) > 1 and not shapes_hold(graph, fakes, dict.fromkeys(ones, 1)):
        ranges |= {s: replace(ranges[s], minimum=2) for s in ones}
    return ranges
