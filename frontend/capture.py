# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Capture: a TorchDynamo graph, or a function and example arguments -> an ATen graph on fake tensors, before autograd.

Comes out: a `CapturedGraph` (signature.py). Nothing runs on real data: the caller's tensors, grad mode, autocast and
random state stay as they are. What cannot be captured without guessing raises `UnsupportedGraphError`.
"""

# The graph is run once, on fake tensors under make_fx, with the caller's own grad mode and autocast: casts, views,
# writes and requires_grad flags come out as in eager. `_GraphInterpreter` walks a Dynamo graph, `Recorder` writes a
# `NodeRecord` on each ATen node, `_KeepWhole` keeps attention as one op, `_Trace` holds them together.

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from types import FunctionType
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import fx
from torch._C._dynamo.guards import compute_overlapping_tensors
from torch._dispatch.python import enable_python_dispatcher
from torch._dynamo.exc import UserError
from torch._guards import StorageOverlap, TracingContext
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)
from torch.autograd.function import BackwardCFunction
from torch.fx import traceback as fx_traceback
from torch.fx.experimental.proxy_tensor import PythonKeyTracer, get_proxy_mode, make_fx
from torch.fx.experimental.symbolic_shapes import (
    GuardOnDataDependentSymNode,
    ShapeEnv,
)
from torch.nn.utils import stateless
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes

from flambeau.frontend.fake_inputs import (
    argument_name,
    dynamo_source,
    fake_of_dynamo_input,
    fake_of_tensor,
    identifier,
    input_kind,
    new_fake_mode,
    readable_source,
)
from flambeau.frontend.force_eager import NOT_FORCED, ForcedOps, kept_whole
from flambeau.frontend.foreach import foreach, is_foreach
from flambeau.frontend.isolation import as_current_fake_mode, isolated, thread_state_restored
from flambeau.frontend.loops import LOOPS
from flambeau.frontend.recorder import Recorder, TraceState
from flambeau.frontend.shared_memory import SharedMemory, written_together
from flambeau.frontend.signature import (
    NODE_RECORD,
    CapturedGraph,
    InputKind,
    InputRecord,
    Location,
    NodeRecord,
    OutputRecord,
    TensorRecord,
    UnsupportedGraphError,
    inner_graphs,
    user_location,
    written_nodes,
)

_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
_ATTENTION_CALLS = (torch.nn.functional.scaled_dot_product_attention, _ATTENTION, _ATTENTION.overloadpacket)
_TAKE_DATA = torch.Tensor.data.__get__  # type: ignore[attr-defined]
_DROPOUT_CALLS = (torch.dropout, torch.ops.aten.dropout.default, torch.ops.aten.dropout)
_RECURRENT_CALLS = (
    *(torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu),
    *(torch.ops.aten.lstm.input, torch.ops.aten.gru.input),
    *(torch.ops.aten.rnn_tanh.input, torch.ops.aten.rnn_relu.input),
)
_BATCH_NORM_CALLS = (torch.batch_norm, torch.native_batch_norm)
_UPSAMPLE_CALLS = {
    torch._C._nn.upsample_nearest2d: torch.ops.aten.upsample_nearest2d.vec,
    torch._C._nn.upsample_bilinear2d: torch.ops.aten.upsample_bilinear2d.vec,
}
_USER_FUNCTION = torch.ops.higher_order.autograd_function_apply
_COND = torch.ops.higher_order.cond
_CHECKPOINT = torch.ops.higher_order.tag_activation_checkpoint
_WRAP = torch.ops.higher_order.wrap
_TRACING_LIMITS = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    GuardOnDataDependentSymNode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
    UserError,
)


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
        trace = _Trace(fake_mode, forced)
        trace.state.stack_trace = ""  # Python's stack is Dynamo's here; the user's lines are in the nodes

        members: dict[int, int] = {}

        def run(*args: Any) -> Any:
            given = args if shared is None else shared.split(args)
            returned = _GraphInterpreter(gm, trace).run(*given)
            members.update(_arguments_among(returned, given) if shared is not None else {})
            return returned

        captured = trace.capture(run, fakes, names, kinds)
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
        captured = _Trace(fake_mode).capture(run, fakes, names, kinds)
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
        trace = _Trace(fake_mode)
        trace.state.stack_trace = ""  # the user's lines are in the nodes
        return trace.capture(lambda *args: _GraphInterpreter(gm, trace).run(*args), fakes, sources, kinds)


@dataclass
class _TracedGraph:
    """One run under a tracer: the module, its inputs before the run, and its outputs after it."""

    module: fx.GraphModule
    inputs: list[TensorRecord | None]
    returned: Any
    outputs: list[TensorRecord | None]
    grad_enabled_after: bool

    @property
    def values(self) -> list[Any]:
        """The flat fake outputs."""
        return pytree.tree_leaves(self.returned)


class _Trace:
    """One capture under way: its fake mode, what its graphs share, and the recorders of the graphs being traced."""

    def __init__(self, fake_mode: FakeTensorMode, forced: ForcedOps = NOT_FORCED) -> None:
        self.fake_mode = fake_mode
        self._forced = forced
        self.state = TraceState()
        self._recorders: list[Recorder] = []

    @property
    def recorder(self) -> Recorder:
        """Of the graph being traced just now, the innermost one."""
        return self._recorders[-1]

    def capture(
        self,
        run: Callable[..., Sequence[Any]],
        fakes: Sequence[Any],
        sources: Sequence[str],
        kinds: Sequence[InputKind],
    ) -> CapturedGraph:
        """Trace `run` on the fakes. `sources` (for people) and `kinds` have one entry per fake."""
        grad_enabled = torch.is_grad_enabled()
        traced = self.trace_graph(run, fakes, [identifier(source) for source in sources])
        nodes = traced.module.graph.nodes
        written = {number for node in nodes for number in _node_record(node).written}
        placeholders = [node for node in nodes if node.op == "placeholder"]
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
            )
            for node, source, kind, record, fake in zip(
                placeholders, sources, kinds, traced.inputs, fakes, strict=True
            )
        )
        _refuse_lost_backwards([*traced.values, *fakes])
        return CapturedGraph(
            graph_module=traced.module,
            inputs=inputs,
            outputs=_output_records(traced, fakes, self._saved_storages([*traced.values, *fakes])),
            shape_env=self.fake_mode.shape_env,
            grad_enabled=grad_enabled,
            grad_enabled_after=traced.grad_enabled_after,
        )

    def trace_graph(
        self, run: Callable[..., Any], fakes: Sequence[Any], names: Sequence[str]
    ) -> _TracedGraph:
        """Run `run(*fakes)` under a tracer of its own: the whole graph, or the body of a user's function."""
        inputs: list[TensorRecord | None] = []
        outputs: list[TensorRecord | None] = []
        returned: Any = None
        grad_enabled_after = True

        def traced(*args: Any) -> Any:
            nonlocal returned, grad_enabled_after
            mode = get_proxy_mode()
            assert mode is not None and isinstance(mode.tracer, PythonKeyTracer)
            recorder = Recorder(self.state, mode.tracer)
            for node, name, value in zip(list(mode.tracer.graph.nodes), names, args, strict=True):
                node._rename(name)
                node.target = node.name
                inputs.append(recorder.adopt(node, value))
                node.meta[NODE_RECORD] = NodeRecord(torch.is_grad_enabled(), (inputs[-1],))
            self._recorders.append(recorder)
            try:
                with recorder, _KeepWhole(self):
                    returned = run(*args)
                    recorder.settle()
            finally:
                self._recorders.pop()
            outputs.extend(recorder.describe(value) for value in pytree.tree_leaves(returned))
            grad_enabled_after = torch.is_grad_enabled()
            return returned

        try:
            with (
                thread_state_restored(),
                self.fake_mode,
                enable_python_dispatcher(),
                kept_whole(self._forced.overloads, self.forced_call),
                fx_traceback.preserve_node_meta(),
            ):
                module = make_fx(traced)(*fakes)
        except _TRACING_LIMITS as error:
            raise UnsupportedGraphError(type(error).__name__, self.state.location, str(error)) from error
        self._clean(module)
        return _TracedGraph(module, inputs, returned, outputs, grad_enabled_after)

    def _saved_storages(self, values: Sequence[Any]) -> set[int]:
        """The storages that eager's autograd keeps for the backward of some values."""
        saved = (tensor for grad_fn in _history(values) for tensor in _saved_tensors(grad_fn))
        return {self.state.storage_number(tensor) for tensor in saved}

    def _clean(self, module: fx.GraphModule) -> None:
        """Drop what autograd's bookkeeping left behind (dead copies), never a write; refuse strangers' values."""
        graph = module.graph
        graph.eliminate_dead_code(is_impure_node=_has_effects)
        for node in reversed(graph.nodes):
            if NODE_RECORD not in node.meta:
                if node.op == "call_function" and _holds_tensor(node.meta.get("val")):
                    reason = "it ran out of sight of the trace"
                    raise UnsupportedGraphError(str(node.target), user_location(node), reason)
                node.meta[NODE_RECORD] = NodeRecord(torch.is_grad_enabled(), ())
            if node.op == "call_function" and not node.stack_trace:  # size arithmetic; its user's line
                node.stack_trace = next((user.stack_trace for user in node.users if user.stack_trace), None)
            if node.op == "get_attr" and isinstance(getattr(module, node.target), FakeTensor):
                reason = "a fake tensor made outside the graph is used"
                raise UnsupportedGraphError(node.name, self.state.location, reason)
        used = {node.target for node in graph.nodes if node.op == "get_attr"}
        for name, _ in list(
            module.named_children()
        ):  # fx's own way to do this loses the inner graphs' inner graphs
            if name not in used:
                delattr(module, name)
        graph.lint()
        module.recompile()

    def attention(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """scaled_dot_product_attention as one node, instead of the kernel that this device would pick."""
        call = _AttentionArguments.of(*args, **kwargs)
        if get_proxy_mode() is None:
            return call.run()
        if torch._C._functorch.peek_interpreter_stack() is not None:  # in vmap, torch.func.grad
            return call.run_opened()
        with self.only_fake():
            example = call.run()  # eager decides on the shape, the strides and, under autocast, the dtype
        if example.dtype != call.tensors[0].dtype:
            with torch.autocast(example.device.type, enabled=False):
                call = replace(call, tensors=tuple(_cast(tensor, example.dtype) for tensor in call.tensors))
        grad_enabled = torch.is_grad_enabled()

        def emit(*tensors: torch.Tensor | None) -> Any:
            with self.only_fake():
                result = torch.empty_strided(
                    example.shape, example.stride(), dtype=example.dtype, device=example.device
                )
            node_args = (*tensors, call.dropout_p, call.is_causal)
            node_kwargs = {"scale": call.scale, "enable_gqa": call.enable_gqa}
            return self.recorder.emit(_ATTENTION, node_args, node_kwargs, result, grad_enabled)

        return _Whole.apply(emit, "scaled_dot_product_attention", *call.tensors)  # type: ignore[no-untyped-call]

    def upsample(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Upsampling as one node, instead of the index arithmetic that PyTorch's decomposition makes of it."""
        if get_proxy_mode() is None or torch._C._functorch.peek_interpreter_stack() is not None:
            return function(*args, **kwargs)
        x, *rest = args
        with self.only_fake(), torch.no_grad():
            result = function(*args, **kwargs)
        grad_enabled = torch.is_grad_enabled()

        def emit(x: torch.Tensor) -> Any:
            return self.recorder.emit(
                _UPSAMPLE_CALLS[function], (x, *rest), dict(kwargs), result, grad_enabled
            )

        return _Whole.apply(emit, "upsampling", x)  # type: ignore[no-untyped-call]

    def forced_call(
        self, overload: OpOverload, opened: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Any:
        """A composite op as one node, which PyTorch will run; `opened` takes it apart."""
        if get_proxy_mode() is None:
            return opened(*args, **kwargs)
        if torch._C._functorch.peek_interpreter_stack() is not None:  # in vmap, torch.func.grad
            reason = "force_eager names it, but it runs inside of a transformation of torch.func"
            raise UnsupportedGraphError(str(overload), self.state.location, reason)
        leaves, spec = pytree.tree_flatten((tuple(args), kwargs))
        positions = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
        with self.only_fake(), torch.no_grad():
            example = opened(*args, **kwargs)
        results = example if isinstance(example, list | tuple) else (example,)
        given = {leaves[i].untyped_storage()._cdata for i in positions}
        if any(r.untyped_storage()._cdata in given for r in results if isinstance(r, torch.Tensor)):
            return opened(*args, **kwargs)  # it returns what it got: dropout in evaluation
        grad_enabled = torch.is_grad_enabled()

        def emit(*tensors: torch.Tensor) -> Any:
            for position, tensor in zip(positions, tensors, strict=True):
                leaves[position] = tensor
            node_args, node_kwargs = pytree.tree_unflatten(leaves, spec)
            result = tuple(results) if isinstance(example, list | tuple) else example
            return self.recorder.emit(overload, node_args, node_kwargs, result, grad_enabled)

        return _Whole.apply(emit, str(overload), *(leaves[i] for i in positions))  # type: ignore[no-untyped-call]

    def user_function(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """A custom autograd.Function as one node that holds its forward and its backward as ATen graphs."""
        forward, backward, *operands = args
        with self.only_fake():
            forward_graph = self._inner_graph(forward, operands)
            outputs, saved = forward_graph.returned
            outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
            tangents = [torch.empty_like(o) if isinstance(o, torch.Tensor) else o for o in outputs]
            backward_graph = self._inner_graph(backward, [*tangents, *saved])
            # This run gives the results their autograd state. Its backward would bypass the trace, so it refuses.
            results = _USER_FUNCTION(
                forward, _refusing_graph("a custom autograd.Function"), *operands, **kwargs
            )
        tracer = self.recorder.tracer
        for stem, module in (("forward", forward_graph.module), ("backward", backward_graph.module)):
            tracer.root.register_module(tracer.get_fresh_qualname(f"autograd_function_{stem}_"), module)
        written = {n for node in forward_graph.module.graph.nodes for n in _node_record(node).written}
        return self.recorder.emit(
            _USER_FUNCTION,
            (forward_graph.module, backward_graph.module, *operands),
            kwargs,
            results,
            torch.is_grad_enabled(),
            tuple(sorted(written)),
        )

    def cond(
        self,
        predicate: Any,
        on_true: fx.GraphModule,
        on_false: fx.GraphModule,
        operands: Sequence[Any],
    ) -> Any:
        """torch.cond as one node that holds its branches as ATen graphs."""
        if isinstance(predicate, bool):
            return _GraphInterpreter(on_true if predicate else on_false, self).run(*operands)
        if not isinstance(predicate, torch.Tensor):
            raise UnsupportedGraphError(str(_COND), self.state.location, "it chooses by a size")
        with self.only_fake():
            graphs = [
                self._inner_graph(branch, operands, differentiated=True) for branch in (on_true, on_false)
            ]
        examples = _common_outputs(graphs, self.state.location)
        tracer = self.recorder.tracer
        for stem, graph in zip(("true", "false"), graphs, strict=True):
            tracer.root.register_module(tracer.get_fresh_qualname(f"cond_{stem}_"), graph.module)

        def results(*_: Any) -> tuple[torch.Tensor, ...]:
            return tuple(
                torch.empty_strided(e.shape, e.stride(), dtype=e.dtype, device=e.device) for e in examples
            )

        with self.only_fake():
            found = _Whole.apply(results, "torch.cond", *operands)  # type: ignore[no-untyped-call]
        arguments = (predicate, graphs[0].module, graphs[1].module, tuple(operands))
        return self.recorder.emit(_COND, arguments, {}, found, torch.is_grad_enabled())

    def loop(self, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A loop operator as one node that holds its bodies as ATen graphs."""
        loop = LOOPS[target]
        bodies, groups = args[: loop.bodies], [tuple(group) for group in args[loop.bodies :]]
        if any(kwargs.values()):
            raise UnsupportedGraphError(str(target), self.state.location, "it writes what it takes")
        if any(not isinstance(v, torch.Tensor | torch.SymInt | int) for group in groups for v in group):
            raise UnsupportedGraphError(
                str(target), self.state.location, "it takes more than tensors and ints"
            )
        grad_enabled = torch.is_grad_enabled()
        tensors = [v for group in groups for v in group if isinstance(v, torch.Tensor)]
        # What is carried may get its history on the way.
        history = grad_enabled and any(t.requires_grad for t in tensors)
        with self.only_fake():
            inputs = [
                v.detach().requires_grad_(history and v.is_floating_point())
                if isinstance(v, torch.Tensor)
                else v
                for v in loop.inputs(*groups)
            ]
            graphs = [self._inner_graph(body, inputs, differentiated=True) for body in bodies]
        outputs = graphs[-1].values
        reason = _why_not_looped(inputs[: len(groups[0])] if loop.carries else [], outputs)
        if reason:
            raise UnsupportedGraphError(str(target), self.state.location, reason)
        tracer = self.recorder.tracer
        for graph in graphs:
            tracer.root.register_module(tracer.get_fresh_qualname(f"{target}_body_"), graph.module)

        def results(*_: Any) -> tuple[Any, ...]:
            return tuple(loop.results(*groups, outputs))

        with self.only_fake():
            found = _Whole.apply(results, str(target), *tensors)  # type: ignore[no-untyped-call]
        arguments = (*(graph.module for graph in graphs), *groups)
        return self.recorder.emit(target, arguments, {}, found, grad_enabled)

    def checkpoint(self, body: fx.GraphModule, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """A checkpointed region, opened: its nodes carry `recompute` and `ac_graph_id` in their meta."""
        graph = fx.Graph()
        inputs = [graph.placeholder(f"arg{i}") for i in range(len(args))]
        interpret = graph.call_function(
            lambda *values: _GraphInterpreter(body, self).run(*values), tuple(inputs)
        )
        graph.output(interpret)
        wrapper = fx.GraphModule(torch.nn.Module(), graph)
        wrapper.meta.update(body.meta)
        first = self.recorder.last_node
        result = _CHECKPOINT(wrapper, *args, **kwargs)
        if "_checkpoint_context_fn" not in body.meta:
            _tag_untagged(list(self.recorder.nodes_after(first)))
        return result

    def _inner_graph(
        self, module: fx.GraphModule, operands: Sequence[Any], *, differentiated: bool = False
    ) -> _TracedGraph:
        """The graph of a body, through which autograd sees if it is `differentiated`."""
        # `.data` shares the storage, so its number, but not the version counter: an inner write is counted once.
        copies = [value.data if isinstance(value, torch.Tensor) else value for value in operands]
        for copy, value in zip(copies, operands, strict=True):
            if differentiated and isinstance(value, torch.Tensor) and value.requires_grad:
                copy.requires_grad_()
        names = [node.name for node in module.graph.nodes if node.op == "placeholder"]
        return self.trace_graph(lambda *args: _GraphInterpreter(module, self).run(*args), copies, names)

    @contextmanager
    def only_fake(self) -> Iterator[None]:
        """Run on fake tensors without recording."""
        with _disable_current_modes(), self.fake_mode:
            yield


class _GraphInterpreter(fx.Interpreter):
    """Runs a Dynamo graph node by node under the trace."""

    def __init__(self, module: fx.GraphModule, trace: _Trace) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self._trace = trace

    def run_node(self, n: fx.Node) -> Any:
        """Run one node, with its place in the user's program known to errors and records."""
        if n.stack_trace:
            self._trace.state.stack_trace = n.stack_trace
        self._trace.state.call_grad_enabled = torch.is_grad_enabled()
        return super().run_node(n)

    def get_attr(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An inner graph; a tensor would be a constant of unknown standing."""
        value = super().get_attr(target, args, kwargs)
        if isinstance(value, torch.Tensor):
            raise UnsupportedGraphError(
                str(target), self._trace.state.location, "the graph itself holds a tensor"
            )
        return value

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the target; the higher-order operators named here are kept or opened by the trace."""
        if target is _USER_FUNCTION:
            return self._trace.user_function(args, kwargs)
        if target is _COND:
            return self._trace.cond(*args, **kwargs)
        if target in LOOPS:
            return self._trace.loop(target, args, kwargs)
        if target is _CHECKPOINT:
            return self._trace.checkpoint(args[0], args[1:], kwargs)
        if target is _WRAP and isinstance(args[0], fx.GraphModule):
            return _GraphInterpreter(args[0], self._trace).run(*args[1:])
        if target is torch._C._autograd._get_data_attr:  # type: ignore[attr-defined]
            return self._trace.recorder.take_data(*args)
        for body in pytree.tree_leaves((args, kwargs)):
            if isinstance(body, fx.GraphModule):
                _refuse_unseen_autograd(body, str(target), self._trace.state.location)
        return super().call_function(target, args, kwargs)


class _KeepWhole(TorchFunctionMode):
    """Sees every call into torch: keeps attention as one op, and RNNs as plain ops instead of one mkldnn op."""

    def __init__(self, trace: _Trace) -> None:
        super().__init__()
        self._trace = trace

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        # Inside the call, PyTorch may hold the lock of a view whose history it renews, which describing it needs too.
        self._trace.recorder.settle()
        self._trace.state.call_grad_enabled = torch.is_grad_enabled()
        # torch.autocast(cache_enabled=True) turns the cache on, which would hand out casts that another trace made.
        torch.set_autocast_cache_enabled(False)
        if func == _TAKE_DATA:
            return self._trace.recorder.take_data(*args)
        if func in _ATTENTION_CALLS:
            return self._trace.attention(args, kwargs)
        if func in _DROPOUT_CALLS:
            return _dropout(func, *args, **kwargs)
        if is_foreach(func):
            return foreach(func, args, kwargs)
        if func in _UPSAMPLE_CALLS:
            return self._trace.upsample(func, args, kwargs)
        if func in _RECURRENT_CALLS:
            return _in_plain_ops(func, *args, **kwargs)
        if func in _BATCH_NORM_CALLS:
            # Eager's kernels write the running statistics without counting it; the ops of the trace count.
            tensors = tuple(value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor))
            with torch.autograd._unsafe_preserve_version_counter(tensors):  # type: ignore[attr-defined]
                return func(*args, **kwargs)
        if isinstance(func, FunctionType) and func.__globals__ is torch.nn.functional.__dict__:
            with self:  # a handler runs with its mode off; the calls inside this function have to be seen too
                return _without_override_check(func)(*args, **kwargs)
        return func(*args, **kwargs)


class PlainRecurrence(TorchFunctionMode):
    """Lets PyTorch trace its recurrent layers as plain ops, not as one op of oneDNN's."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (
            _in_plain_ops(func, *args, **(kwargs or {}))
            if func in _RECURRENT_CALLS
            else func(*args, **(kwargs or {}))
        )


def _in_plain_ops(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a recurrent layer without oneDNN. For the rest of a graph it stays on: it decides other things too."""
    with torch.backends.mkldnn.flags(enabled=False):
        return function(*args, **kwargs)


def _without_override_check(function: FunctionType) -> FunctionType:
    """A copy of a torch.nn.functional function that does not hand itself to the active function mode."""
    checks = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    names = {**function.__globals__, **dict.fromkeys(checks, lambda *_: False)}
    copy = FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


@dataclass(frozen=True)
class _AttentionArguments:
    """The arguments of one call of scaled_dot_product_attention; `tensors` are query, key, value and mask."""

    tensors: tuple[Any, ...]
    dropout_p: float
    is_causal: bool
    scale: float | None
    enable_gqa: bool

    @staticmethod
    def of(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> "_AttentionArguments":
        return _AttentionArguments((query, key, value, attn_mask), dropout_p, is_causal, scale, enable_gqa)

    def run(self) -> torch.Tensor:
        result = _ATTENTION(
            *self.tensors, self.dropout_p, self.is_causal, scale=self.scale, enable_gqa=self.enable_gqa
        )
        assert isinstance(result, torch.Tensor)
        return result

    def run_opened(self) -> Any:
        """By the mathematical formula, in plain ops."""
        formula = torch.ops.aten._scaled_dot_product_attention_math.default
        return formula(
            *self.tensors, self.dropout_p, self.is_causal, scale=self.scale, enable_gqa=self.enable_gqa
        )[0]


class _Whole(torch.autograd.Function):
    """Gives one node kept whole eager's requires_grad. Its gradient is a matter of a pass over the IR."""

    @staticmethod
    def forward(ctx: Any, emit: Callable[..., Any], what: str, *tensors: torch.Tensor | None) -> Any:
        ctx.what = what
        ctx.save_for_backward(*(t for t in tensors if isinstance(t, torch.Tensor)))  # as eager does
        return emit(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _refuse_inner_gradient(ctx.what)


def _cast(tensor: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """Autocast's rule: floating tensors except float64 are cast."""
    if tensor is None or not tensor.is_floating_point() or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(dtype)


def _dropout(function: Callable[..., Any], input: torch.Tensor, p: float, train: bool) -> Any:
    """Where dropout does nothing eager returns its argument; the decomposition used in tracing would return a copy."""
    return function(input, p, train) if train and p != 0 and input.numel() != 0 else input


def _common_outputs(graphs: Sequence[_TracedGraph], location: Location | None) -> list[torch.Tensor]:
    """The outputs of the first of two branches; refused unless the other's have equal sizes, strides and dtypes."""
    facts = [
        [
            (str(v.dtype), v.device, [str(s) for s in v.shape], [str(s) for s in v.stride()])
            if isinstance(v, torch.Tensor)
            else None
            for v in graph.values
        ]
        for graph in graphs
    ]
    if facts[0] != facts[1] or None in facts[0]:
        raise UnsupportedGraphError(
            str(_COND), location, "its branches return something else than tensors of equal sizes and strides"
        )
    return graphs[0].values


def _why_not_looped(carried: Sequence[Any], outputs: Sequence[Any]) -> str:
    """What is wrong with what a body returns: the next `carried` values, then tensors. Empty if nothing is."""
    if len(outputs) < len(carried) or not all(map(_equal_types, carried, outputs)):
        return "its body returns other sizes or dtypes than it takes"
    if not all(isinstance(v, torch.Tensor) for v in outputs[len(carried) :]):
        return "its body returns something else than tensors"
    return ""


def _equal_types(value: Any, other: Any) -> bool:
    """Whether two fakes are numbers, or tensors of one dtype and of sizes that are equal in this call: a guard."""
    if not isinstance(value, torch.Tensor) or not isinstance(other, torch.Tensor):
        return isinstance(value, torch.Tensor) == isinstance(other, torch.Tensor)
    if value.dtype != other.dtype or value.dim() != other.dim():
        return False
    return all(str(a) == str(b) or a == b for a, b in zip(value.shape, other.shape, strict=True))


def _refuse_inner_gradient(what: str) -> Any:
    raise UnsupportedGraphError(what, None, "its gradient is taken inside the graph")


def _refusing_graph(what: str) -> fx.GraphModule:
    """A graph that raises when run."""
    graph = fx.Graph()
    graph.output(graph.call_function(_refuse_inner_gradient, (what,)))
    return fx.GraphModule(torch.nn.Module(), graph)


def _refuse_unseen_autograd(body: fx.GraphModule, op: str, location: Location | None) -> None:
    """In the body of a control-flow operator neither a user's backward nor a change of grad mode would be seen."""
    for module in body.modules():
        for node in module.graph.nodes if isinstance(module, fx.GraphModule) else ():
            if node.target is _USER_FUNCTION:
                raise UnsupportedGraphError(
                    op, location, "a custom autograd.Function in the body of an operator"
                )
            if node.target is torch._C._set_grad_enabled:
                raise UnsupportedGraphError(op, location, "grad mode changes in the body of an operator")


def _refuse_lost_backwards(values: Sequence[Any]) -> None:
    """Refuse results whose history holds a user's autograd.Function: its forward was traced, its backward was not."""
    for grad_fn in _history(values):
        if isinstance(grad_fn, BackwardCFunction):
            owner = type(grad_fn)._forward_cls  # type: ignore[attr-defined]
            if owner is not _Whole and owner.__module__.partition(".")[0] != "torch":
                reason = "the backward of a custom autograd.Function is seen only through torch.compile"
                raise UnsupportedGraphError(owner.__qualname__, None, reason)


def _history(values: Sequence[Any]) -> Iterator[Any]:
    """The nodes of autograd's graph that values come from, each once."""
    waiting = [value.grad_fn for value in values if isinstance(value, torch.Tensor)]
    seen: set[Any] = set()
    while waiting:
        grad_fn = waiting.pop()
        if grad_fn is None or grad_fn in seen:
            continue
        seen.add(grad_fn)
        yield grad_fn
        waiting.extend(next_fn for next_fn, _ in grad_fn.next_functions)


def _saved_tensors(grad_fn: Any) -> Iterator[torch.Tensor]:
    """What a node of autograd's graph keeps for its backward, except for what has been written since."""
    for name in _saved_names(type(grad_fn)):  # type: ignore[arg-type]
        try:
            saved = getattr(grad_fn, name)
        except RuntimeError:  # written since, or given up by a backward in the graph
            continue
        yield from (v for v in pytree.tree_leaves(saved) if isinstance(v, torch.Tensor))


@cache
def _saved_names(node: type) -> tuple[str, ...]:
    """The attributes of a kind of node that hold saved values."""
    if issubclass(node, BackwardCFunction):
        return ("saved_tensors",)
    return tuple(name for name in dir(node) if name.startswith("_saved_"))


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


def _tag_untagged(nodes: Sequence[fx.Node]) -> None:
    """Give the nodes of a checkpointed region that were written by hand the tags of the others."""
    tags = next((n.meta for n in nodes if "ac_graph_id" in n.meta), {})
    for node in nodes:
        if node.op == "call_function":
            for key in ("recompute", "ac_graph_id"):
                if key in tags:
                    node.meta.setdefault(key, tags[key])


def _holds_tensor(value: Any) -> bool:
    return any(isinstance(leaf, torch.Tensor) for leaf in pytree.tree_leaves(value))


def _has_effects(node: fx.Node) -> bool:
    """Whether a node has to stay although nobody uses its result: it writes, draws random numbers, asserts."""
    inner = (n for module in inner_graphs(node) for n in module.graph.nodes if n.op == "call_function")
    return node.is_impure() or bool(written_nodes(node)) or any(_has_effects(n) for n in inner)


def _node_record(node: fx.Node) -> NodeRecord:
    record = node.meta[NODE_RECORD]
    assert isinstance(record, NodeRecord)
    return record


def _output_records(
    traced: _TracedGraph, fakes: Sequence[Any], saved: Container[int]
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
                viewed_again=tensor.is_view and not tensor.is_leaf and _is_view_without_history(value),
            )
        )
    return tuple(records)


def _is_view_without_history(view: torch.Tensor) -> bool:
    """Whether a view's history ends in nothing, unlike its base's: it is a view of a view made under no_grad."""
    base = view._base
    assert base is not None
    return _leads_nowhere(view.grad_fn) and (base.is_leaf or not _leads_nowhere(base.grad_fn))


def _leads_nowhere(grad_fn: Any) -> bool:
    """Whether a history ends in nothing."""
    while grad_fn is not None and len(grad_fn.next_functions) == 1:
        grad_fn = grad_fn.next_functions[0][0]
    return grad_fn is None


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
