# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Capture: a TorchDynamo graph, or a function and example arguments -> an ATen graph on fake tensors, before autograd.

Comes out: a `CapturedGraph` (records.py). Nothing runs on real data: the caller's tensors, grad mode, autocast and
random state stay as they are. What cannot be captured without guessing raises `UnsupportedGraphError`.
"""

# The graph is run once, on fake tensors under make_fx, with the caller's own grad mode and autocast: casts, views,
# writes and requires_grad flags come out as in eager. trace.py walks a Dynamo graph, recorder.py writes a `NodeRecord`
# on each ATen node, torch_calls.py keeps attention and the like as one op.

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import fx
from torch._C._dynamo.guards import compute_overlapping_tensors
from torch._guards import StorageOverlap, TracingContext
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.nn.utils import stateless

from flambeau.frontend.capture.autograd_history import (
    is_view_without_history,
    refuse_lost_backwards,
    saved_tensors,
)
from flambeau.frontend.capture.fake_inputs import (
    argument_name,
    dynamo_source,
    fake_of_dynamo_input,
    fake_of_tensor,
    identifier,
    input_kind,
    new_fake_mode,
    readable_source,
)
from flambeau.frontend.capture.isolation import as_current_fake_mode, isolated
from flambeau.frontend.capture.records import (
    CapturedGraph,
    InputKind,
    InputRecord,
    OutputRecord,
    TensorRecord,
    UnsupportedGraphError,
)
from flambeau.frontend.capture.shared_memory import SharedMemory, written_together
from flambeau.frontend.capture.trace import GraphInterpreter, Trace, TracedGraph
from flambeau.frontend.forced_ops import NOT_FORCED, ForcedOps


def capture_dynamo_graph(
    gm: fx.GraphModule,
    example_inputs: Sequence[Any],
    forced: ForcedOps = NOT_FORCED,
    shared: SharedMemory | None = None,
) -> CapturedGraph:
    """Capture the graph that TorchDynamo hands to a backend; call it from inside the backend.

    `example_inputs` are the caller's real tensors (and SymInts): only their metadata is read. `forced` ops are kept
    whole. `shared`: inputs that are merged, so that the captured graph takes their bases.
    """
    context = TracingContext.try_get()
    if context is None or context.fake_mode is None:
        raise RuntimeError(
            "capture_dynamo_graph works inside a torch.compile backend; elsewhere call capture()"
        )
    # A mode of our own over Dynamo's symbols. Fakes are memoised per mode: in Dynamo's, the ones that this trace
    # writes to would reach whoever traces next in the same backend call (a fallback backend, a second compile).
    fake_mode = new_fake_mode(context.fake_mode.shape_env)
    sources = [dynamo_source(node) for node in gm.graph.nodes if node.op == "placeholder"]
    names = [readable_source(source) for source in sources]
    values = example_inputs
    if shared is not None:
        values = shared.merged(example_inputs) or ()
        sources, names = shared.merged_facts(sources), shared.merged_facts(names)
    kinds = [input_kind(value, source) for value, source in zip(values, sources, strict=True)]
    with isolated(), as_current_fake_mode(context, fake_mode):
        fakes = [
            fake_of_dynamo_input(fake_mode, context, value, name)
            for value, name in zip(values, names, strict=True)
        ]
        trace = Trace(fake_mode, forced)
        trace.state.stack_trace = ""  # Python's stack is Dynamo's here; the user's lines are in the nodes

        members: dict[int, int] = {}

        def run(*args: Any) -> Any:
            given = args if shared is None else shared.split(args)
            returned = GraphInterpreter(gm, trace).run(*given)
            members.update(_arguments_among(returned, given) if shared is not None else {})
            return returned

        captured = _captured(trace, run, fakes, names, kinds)
    outputs = enumerate(_without_repetitions(captured))
    captured = replace(captured, outputs=tuple(replace(o, is_member=members.get(i)) for i, o in outputs))
    if shared is None:
        _guard_overlaps(context, gm, captured, example_inputs)
    return captured


def _guard_overlaps(
    context: TracingContext, gm: fx.GraphModule, captured: CapturedGraph, example_inputs: Sequence[Any]
) -> None:
    """Let TorchDynamo compile again when other inputs overlap than do now, among those that share written memory.

    Its check takes all of them to be in one storage. What it does not notice, the runtime wrapper does.
    """
    graph_args = [node.meta.get("grapharg") for node in gm.graph.nodes if node.op == "placeholder"]
    for positions in written_together(captured):
        if any(graph_args[p] is None for p in positions):
            continue
        met = compute_overlapping_tensors([example_inputs[p] for p in positions], symbolic=False)
        sources = [graph_args[p].source for p in positions]
        apart = [source for i, source in enumerate(sources) if i not in met]
        guard = StorageOverlap([source for i, source in enumerate(sources) if i in met], apart)
        context.guards_context.aotautograd_guards.append(guard)


def capture(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_dims: Mapping[int, Sequence[int]] | None = None,
) -> CapturedGraph:
    """Capture `function(*args, **kwargs)` without TorchDynamo: strict, no branches on data, no tensor passed twice.

    The inputs of the graph are the parameters and buffers of the function if it is an nn.Module, then the tensors
    among the arguments in pytree order. `dynamic_dims`: index among these argument tensors -> the dimensions that stay
    symbolic. A custom autograd.Function that takes part in differentiation is refused: only Dynamo shows its backward.
    """
    module = function if isinstance(function, torch.nn.Module) else None
    parameters = dict(module.named_parameters()) if module is not None else {}
    buffers = dict(module.named_buffers()) if module is not None else {}
    state: dict[str, torch.Tensor] = {**parameters, **buffers}
    path_leaves, in_spec = pytree.tree_flatten_with_path((tuple(args), dict(kwargs or {})))
    leaves = [leaf for _, leaf in path_leaves]
    positions = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    values = [*state.values(), *(leaves[i] for i in positions)]
    names = [f"L['self'].{name}" for name in state] + [argument_name(path_leaves[i][0]) for i in positions]
    kinds: list[InputKind] = ["parameter"] * len(parameters)
    kinds += ["buffer"] * len(buffers)
    kinds += ["input"] * len(positions)
    if len({id(value) for value in values}) < len(values):
        raise UnsupportedGraphError(
            "input", None, "one tensor is passed twice; pass it once or use flambeau.compile"
        )
    out_spec: pytree.TreeSpec | None = None

    def run(*flat: Any) -> list[Any]:
        nonlocal out_spec
        for position, value in zip(positions, flat[len(state) :], strict=True):
            leaves[position] = value
        call_args, call_kwargs = pytree.tree_unflatten(leaves, in_spec)
        if module is None:
            result = function(*call_args, **call_kwargs)
        else:
            result = _call_with_state(module, dict(zip(state, flat, strict=False)), call_args, call_kwargs)
        outputs, out_spec = pytree.tree_flatten(result)
        return outputs

    fake_mode = new_fake_mode(ShapeEnv())
    with isolated():
        fakes = [
            fake_of_tensor(fake_mode, value, name, (dynamic_dims or {}).get(index - len(state), ()))
            for index, (value, name) in enumerate(zip(values, names, strict=True))
        ]
        captured = _captured(Trace(fake_mode), run, fakes, names, kinds)
    return replace(captured, out_spec=out_spec)


def capture_graph_module(
    gm: fx.GraphModule,
    fake_mode: FakeTensorMode,
    fakes: Sequence[torch.Tensor],
    sources: Sequence[str],
    kinds: Sequence[InputKind],
) -> CapturedGraph:
    """Capture a graph whose inputs are these fakes of `fake_mode`; it returns a flat sequence.

    `sources` (for people) and `kinds` have one entry per placeholder. Sizes that a choice of the trace hangs on become
    guards in the mode's shape environment, which the caller has to look at.
    """
    with isolated():
        trace = Trace(fake_mode)
        trace.state.stack_trace = ""  # the user's lines are in the nodes
        return _captured(trace, lambda *args: GraphInterpreter(gm, trace).run(*args), fakes, sources, kinds)


def _captured(
    trace: Trace,
    run: Callable[..., Sequence[Any]],
    fakes: Sequence[Any],
    sources: Sequence[str],
    kinds: Sequence[InputKind],
) -> CapturedGraph:
    """Trace `run` on the fakes. `sources` (for people) and `kinds` have one entry per fake."""
    grad_enabled = torch.is_grad_enabled()
    traced = trace.trace_graph(run, fakes, [identifier(source) for source in sources])
    written = traced.written
    placeholders = [node for node in traced.module.graph.nodes if node.op == "placeholder"]
    inputs = tuple(
        InputRecord(
            name=node.name,
            source=source,
            kind=kind,
            value=node.meta["val"],
            tensor=record,
            dynamic_dims=_dynamic_dims(record),
            written=record is not None and record.storage in written,
            uncounted=record is not None and fake._version == record.version,
            gets_history=record is not None and fake.requires_grad and not record.requires_grad,
        )
        for node, source, kind, record, fake in zip(
            placeholders, sources, kinds, traced.inputs, fakes, strict=True
        )
    )
    values = [*traced.values, *fakes]
    refuse_lost_backwards(values)
    saved = {trace.state.storage_number(tensor) for tensor in saved_tensors(values)}
    return CapturedGraph(
        graph_module=traced.module,
        inputs=inputs,
        outputs=_output_records(traced, fakes, saved),
        shape_env=trace.state.fake_mode.shape_env,
        grad_enabled=grad_enabled,
        grad_enabled_after=traced.grad_enabled_after,
    )


def _call_with_state(
    module: torch.nn.Module, state: dict[str, torch.Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """Call a module with other parameters and buffers; refuse one that puts a new tensor in place of one of them."""
    given = dict(state)
    with stateless._reparametrize_module(module, state, tie_weights=True):
        result = module(*args, **kwargs)
    for name, value in state.items():
        if value is not given[name]:
            raise UnsupportedGraphError(
                f"self.{name}", None, "the module assigns to it; only in-place writes are seen"
            )
    return result


def _output_records(
    traced: TracedGraph, fakes: Sequence[Any], saved: Container[int]
) -> tuple[OutputRecord, ...]:
    """`saved`: the storages that autograd keeps."""
    records = []
    for index, (value, tensor) in enumerate(zip(traced.values, traced.outputs, strict=True)):
        if tensor is None:
            symbolic = isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool))
            records.append(OutputRecord(kind="symint" if symbolic else "constant", value=value))
            continue
        records.append(
            OutputRecord(
                kind="tensor",
                tensor=tensor,
                is_input=next((k for k, fake in enumerate(fakes) if fake is value), None),
                shares_input=_same_storage(traced.inputs, tensor),
                shares_output=_same_storage(traced.outputs[:index], tensor),
                saved=tensor.storage in saved,
                viewed_again=tensor.is_view and not tensor.is_leaf and is_view_without_history(value),
            )
        )
    return tuple(records)


def _without_repetitions(captured: CapturedGraph) -> tuple[OutputRecord, ...]:
    """The outputs, with one that is an earlier one under another name (`y.to(y.dtype)`, `y.flatten()`) marked so."""
    (output,) = captured.graph_module.graph.find_nodes(op="output")
    first: dict[Any, int] = {}  # by the node: there is one for each tensor object
    records: list[OutputRecord] = []
    for index, (node, record) in enumerate(zip(output.args[0], captured.outputs, strict=True)):
        earlier = first.setdefault(node, index) if record.kind == "tensor" else index
        records.append(record if earlier == index else OutputRecord(kind="repeated", value=earlier))
    return tuple(records)


def _arguments_among(returned: Any, arguments: Sequence[Any]) -> dict[int, int]:
    """Which flat outputs are arguments, and which ones."""
    position = {id(a): i for i, a in enumerate(arguments) if isinstance(a, torch.Tensor)}
    return {i: position[id(o)] for i, o in enumerate(pytree.tree_leaves(returned)) if id(o) in position}


def _same_storage(records: Sequence[TensorRecord | None], tensor: TensorRecord) -> tuple[int, ...]:
    return tuple(
        k for k, other in enumerate(records) if other is not None and other.storage == tensor.storage
    )


def _dynamic_dims(record: TensorRecord | None) -> tuple[int, ...]:
    sizes = record.shape if record is not None else ()
    return tuple(
        dim
        for dim, size in enumerate(sizes)
        if isinstance(size, torch.SymInt) and size.node.maybe_as_int() is None
    )
