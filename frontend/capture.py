# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Capture: a TorchDynamo graph, or a function and example arguments -> an ATen graph on fake tensors, before autograd.

Comes out: a `CapturedGraph` (signature.py). Nothing runs on real data: the caller's tensors, grad mode, autocast and random state
stay as they are. What cannot be captured without guessing raises `UnsupportedGraphError`.

The graph is run once, on fake tensors under make_fx, with the caller's own grad mode and autocast: casts, views, writes and
requires_grad flags come out as in eager. `_GraphInterpreter` walks a Dynamo graph, `_Recorder` (the outermost dispatch mode) writes
a `NodeRecord` on each ATen node, `_KeepWhole` (a function mode) keeps attention as one op.
"""

import linecache
import operator
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FunctionType
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import fx
from torch._dispatch.python import enable_python_dispatcher
from torch._dynamo.convert_frame import compile_lock
from torch._dynamo.exc import UserError
from torch._guards import TracingContext
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
from torch.fx.experimental.proxy_tensor import PythonKeyTracer, get_proxy_mode, make_fx, track_tensor_tree
from torch.fx.experimental.symbolic_shapes import (
    DimDynamic,
    GuardOnDataDependentSymNode,
    ShapeEnv,
    StatelessSymbolicContext,
)
from torch.nn.utils import stateless
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _disable_current_modes,
    autograd_would_have_decomposed,
)

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
    is_torch_file,
    location_in_trace,
    written_nodes,
    written_values,
)

_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
_ATTENTION_CALLS = (torch.nn.functional.scaled_dot_product_attention, _ATTENTION, _ATTENTION.overloadpacket)
_DROPOUT_CALLS = (torch.dropout, torch.ops.aten.dropout.default, torch.ops.aten.dropout)
_RECURRENT_CALLS = (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)
_STORAGE_SURGERY = ("aten::set_", "aten::resize_", "aten::resize_as_", "aten::_resize_output_")
_BUILTIN_NAMESPACES = ("aten", "prim", "prims")
_SIZE_QUERIES = (
    torch.ops.aten.size.default,
    torch.ops.aten.stride.default,
    torch.ops.aten.storage_offset.default,
)
_LIFT_BECOMES = (torch.ops.aten.lift_fresh.default, torch.ops.aten.lift_fresh_copy.default)  # make_fx copies constants
_TRACING_LIMITS = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    GuardOnDataDependentSymNode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
    UserError,
)
_PLAIN_TENSOR_TYPES = (torch.Tensor, torch.nn.Parameter, FakeTensor)


def capture_dynamo_graph(gm: fx.GraphModule, example_inputs: Sequence[Any]) -> CapturedGraph:
    """Capture the graph that TorchDynamo hands to a backend; call it from inside the backend.

    `example_inputs` are the caller's real tensors (and SymInts): only their metadata is read.
    """
    context = TracingContext.get()
    if context.fake_mode is None:
        raise ValueError("capture_dynamo_graph has to be called from inside a torch.compile backend")
    # A mode of our own over Dynamo's symbols. Fakes are memoised per mode: in Dynamo's, the ones that this trace
    # writes to would reach whoever traces next in the same backend call (a fallback backend, a second compile).
    fake_mode = FakeTensorMode(shape_env=context.fake_mode.shape_env)
    placeholders = [node for node in gm.graph.nodes if node.op == "placeholder"]
    sources = [_dynamo_source(node) for node in placeholders]
    kinds = [_input_kind(value, source) for value, source in zip(example_inputs, sources, strict=True)]
    names = [_readable_source(source) for source in sources]
    with _isolated(), _as_current_fake_mode(context, fake_mode):
        fakes = [
            _refake(fake_mode, context, value, name) for value, name in zip(example_inputs, names, strict=True)
        ]
        trace = _Trace(fake_mode)
        trace.stack_trace = ""  # the Python stack is Dynamo's; the user's lines are in the nodes
        return trace.capture(lambda *args: _GraphInterpreter(gm, trace).run(*args), fakes, names, kinds)


def capture(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_dims: Mapping[int, Sequence[int]] | None = None,
) -> CapturedGraph:
    """Capture `function(*args, **kwargs)` without TorchDynamo: strict, no branches on data, no tensor passed twice.

    The inputs of the graph are the parameters and buffers of the function if it is an nn.Module, then the tensors among the
    arguments in pytree order. `dynamic_dims`: index among these argument tensors -> the dimensions that stay symbolic.
    A custom autograd.Function that takes part in differentiation is refused: only Dynamo shows its backward.
    """
    module = function if isinstance(function, torch.nn.Module) else None
    parameters = dict(module.named_parameters()) if module is not None else {}
    buffers = dict(module.named_buffers()) if module is not None else {}
    state: dict[str, torch.Tensor] = {**parameters, **buffers}
    path_leaves, in_spec = pytree.tree_flatten_with_path((tuple(args), dict(kwargs or {})))
    leaves = [leaf for _, leaf in path_leaves]
    positions = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    values = [*state.values(), *(leaves[i] for i in positions)]
    names = [f"L['self'].{name}" for name in state] + [_argument_name(path_leaves[i][0]) for i in positions]
    kinds: list[InputKind] = ["parameter"] * len(parameters)
    kinds += ["buffer"] * len(buffers)
    kinds += ["input"] * len(positions)
    if len({id(value) for value in values}) < len(values):
        raise UnsupportedGraphError("input", None, "the same tensor is passed twice; pass it once or go through compile()")
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

    fake_mode = FakeTensorMode(shape_env=ShapeEnv())
    with _isolated():
        fakes = [
            _fake_of(fake_mode, value, name, (dynamic_dims or {}).get(index - len(state), ()))
            for index, (value, name) in enumerate(zip(values, names, strict=True))
        ]
        captured = _Trace(fake_mode).capture(run, fakes, names, kinds)
    return replace(captured, out_spec=out_spec)


class _Trace:
    """One capture under way: its fake mode, the numbering of its storages, and the graph being traced just now."""

    def __init__(self, fake_mode: FakeTensorMode) -> None:
        self.fake_mode = fake_mode
        self.stack_trace: str | None = None  # of the Dynamo node being run
        self.call_grad_enabled = torch.is_grad_enabled()  # when the user's last call into torch began
        self._recorders: list[_Recorder] = []  # the graph being traced is the last; the others enclose it
        self._storages: dict[int, tuple[int, torch.UntypedStorage]] = {}

    @property
    def recorder(self) -> "_Recorder":
        return self._recorders[-1]

    @property
    def location(self) -> Location | None:
        """The user's line that is being traced."""
        return location_in_trace(self.current_stack_trace())

    def current_stack_trace(self) -> str:
        return self.stack_trace if self.stack_trace is not None else _python_stack_trace()

    def storage_number(self, tensor: torch.Tensor) -> int:
        """A number that two tensors share exactly when they share storage. Keeps the storage alive, so that its key stays unique."""
        storage = tensor.untyped_storage()
        return self._storages.setdefault(storage._cdata, (len(self._storages), storage))[0]

    def capture(
        self,
        run: Callable[..., Sequence[Any]],
        fakes: Sequence[Any],
        sources: Sequence[str],
        kinds: Sequence[InputKind],
    ) -> CapturedGraph:
        """Trace `run` on the fakes. `sources` (for people) and `kinds` have one entry per fake."""
        grad_enabled = torch.is_grad_enabled()
        traced = self.trace_graph(run, fakes, [_identifier(source) for source in sources])
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
            )
            for node, source, kind, record in zip(placeholders, sources, kinds, traced.inputs, strict=True)
        )
        _refuse_lost_backwards([*traced.values, *fakes])
        return CapturedGraph(
            graph_module=traced.module,
            inputs=inputs,
            outputs=_output_records(traced.values, traced.outputs, fakes, inputs),
            shape_env=self.fake_mode.shape_env,
            grad_enabled=grad_enabled,
            grad_enabled_after=traced.grad_enabled_after,
            inference_mode=torch.is_inference_mode_enabled(),
        )

    def trace_graph(self, run: Callable[..., Any], fakes: Sequence[Any], names: Sequence[str]) -> "_TracedGraph":
        """Run `run(*fakes)` under a tracer of its own; used for the graph and for each inner graph."""
        result = _TracedGraph()

        def traced(*args: Any) -> Any:
            mode = get_proxy_mode()
            assert mode is not None and isinstance(mode.tracer, PythonKeyTracer)
            recorder = _Recorder(self, mode.tracer)
            for node, name, value in zip(list(mode.tracer.graph.nodes), names, args, strict=True):
                node._rename(name)
                node.target = node.name
                record = recorder.adopt(node, value)
                node.meta[NODE_RECORD] = NodeRecord(torch.is_grad_enabled(), (record,))
                result.inputs.append(record)
            self._recorders.append(recorder)
            try:
                with recorder, _KeepWhole(self):
                    outputs = run(*args)
                    recorder.settle()
                result.values = pytree.tree_leaves(outputs)
                result.structure = outputs
                result.outputs = [recorder.describe(value) for value in result.values]
                result.grad_enabled_after = torch.is_grad_enabled()
            finally:
                self._recorders.pop()
            return outputs

        try:
            with (
                _thread_state_restored(),
                self.fake_mode,
                enable_python_dispatcher(),
                fx_traceback.preserve_node_meta(),
            ):
                result.module = make_fx(traced)(*fakes)
        except _TRACING_LIMITS as error:
            raise UnsupportedGraphError(type(error).__name__, self.location, str(error)) from error
        self._clean(result.module)
        return result

    def _clean(self, module: fx.GraphModule) -> None:
        """Drop what autograd's own bookkeeping left behind (dead copies), never a write; refuse values from outside the trace."""
        graph = module.graph
        graph.eliminate_dead_code(is_impure_node=_has_effects)
        for node in graph.nodes:
            node.meta.setdefault(NODE_RECORD, NodeRecord(torch.is_grad_enabled(), ()))
            if node.op == "get_attr" and isinstance(getattr(module, node.target), FakeTensor):
                raise UnsupportedGraphError(node.name, self.location, "it uses a fake tensor made outside the graph")
        module.delete_all_unused_submodules()
        graph.lint()
        module.recompile()

    def attention(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """scaled_dot_product_attention as one node, instead of the kernel that this device would pick."""
        call = _attention_arguments(*args, **kwargs)
        if get_proxy_mode() is None:
            return _ATTENTION(*call[:6], scale=call[6], enable_gqa=call[7])
        if torch._C._functorch.peek_interpreter_stack() is not None:  # inside vmap or torch.func.grad: open it
            if call[7]:
                raise UnsupportedGraphError("scaled_dot_product_attention", self.location, "enable_gqa under torch.func")
            return torch.ops.aten._scaled_dot_product_attention_math.default(*call[:6], scale=call[6])[0]
        # Eager decides on the result's shape, strides and (autocast) dtype.
        with self.only_fake():
            example = _ATTENTION(*call[:6], scale=call[6], enable_gqa=call[7])
        tensors = list(call[:4])
        if example.dtype != tensors[0].dtype:
            with torch.autocast(example.device.type, enabled=False):
                tensors = [_cast(tensor, example.dtype) for tensor in tensors]
        emit = _AttentionCall(self, tuple(call[4:]), example, torch.is_grad_enabled())
        return _WholeAttention.apply(emit, *tensors)

    def user_function(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """A custom autograd.Function as one node that holds its forward and its backward as ATen graphs."""
        forward, backward, *operands = args
        with self.only_fake():
            forward_graph = self._inner_graph(forward, operands)
            outputs, saved = forward_graph.structure
            flat_outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
            tangents = [torch.empty_like(o) if isinstance(o, torch.Tensor) else o for o in flat_outputs]
            with torch.no_grad():
                backward_graph = self._inner_graph(backward, [*tangents, *saved])
            # The run that gives the results their autograd state. Its backward would bypass the trace, so it refuses.
            results = torch.ops.higher_order.autograd_function_apply(
                forward, _refusing_graph("a custom autograd.Function"), *operands, **kwargs
            )
        tracer = self.recorder.tracer
        for stem, module in (("forward", forward_graph.module), ("backward", backward_graph.module)):
            tracer.root.register_module(tracer.get_fresh_qualname(f"autograd_function_{stem}_"), module)
        written = {n for node in forward_graph.module.graph.nodes for n in _node_record(node).written}
        return self.recorder.emit(
            torch.ops.higher_order.autograd_function_apply,
            (forward_graph.module, backward_graph.module, *operands),
            kwargs,
            results,
            torch.is_grad_enabled(),
            tuple(sorted(written)),
        )

    def checkpoint(self, body: fx.GraphModule, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """A checkpointed region, opened; its nodes carry `recompute` and `ac_graph_id` in their meta."""
        graph = fx.Graph()
        inputs = [graph.placeholder(f"arg{i}") for i in range(len(args))]
        graph.output(graph.call_function(lambda *values: _GraphInterpreter(body, self).run(*values), tuple(inputs)))
        wrapper = fx.GraphModule(torch.nn.Module(), graph)
        wrapper.meta.update(body.meta)
        first = self.recorder.last_node
        result = torch.ops.higher_order.tag_activation_checkpoint(wrapper, *args, **kwargs)
        if "_checkpoint_context_fn" not in body.meta:
            _tag_untagged(list(self.recorder.nodes_after(first)))
        return result

    def _inner_graph(self, module: fx.GraphModule, operands: Sequence[Any]) -> "_TracedGraph":
        # `.data` shares the storage (so its number) but not the version counter: a write in the inner graph is counted once.
        copies = [value.data if isinstance(value, torch.Tensor) else value for value in operands]
        names = [node.name for node in module.graph.nodes if node.op == "placeholder"]
        return self.trace_graph(lambda *args: _GraphInterpreter(module, self).run(*args), copies, names)

    @contextmanager
    def only_fake(self) -> Iterator[None]:
        """Run on fake tensors without recording."""
        with _disable_current_modes(), self.fake_mode:
            yield


class _TracedGraph:
    """What one run under the tracer left: the module, and what its inputs (before) and outputs (after) were."""

    def __init__(self) -> None:
        self.module: fx.GraphModule
        self.inputs: list[TensorRecord | None] = []
        self.values: list[Any] = []  # flat outputs
        self.structure: Any = None  # the outputs as returned
        self.outputs: list[TensorRecord | None] = []
        self.grad_enabled_after = True


class _Recorder(TorchDispatchMode):
    """The outermost dispatch mode of a trace: writes a `NodeRecord` on every node.

    A result's autograd state exists only after the op's autograd kernel has returned, that is after this mode has: records wait
    in `_pending` and are settled when the next op arrives. (The exception is `detach`, which autograd kernels call themselves.)
    """

    supports_higher_order_operators = True

    def __init__(self, trace: _Trace, tracer: PythonKeyTracer) -> None:
        super().__init__()
        self.tracer = tracer
        self._trace = trace
        self._pending: list[tuple[fx.Node, Any, bool, tuple[int, ...]]] = []
        self._owners: dict[int, tuple[str, torch.Tensor]] = {}  # id of a live tensor -> the node that made it

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.prim.device.default:
            return func(*args, **kwargs)
        if func is not torch.ops.aten.detach.default:
            self.settle()
        if isinstance(func, OpOverload):
            if func._schema.name in _STORAGE_SURGERY:
                raise UnsupportedGraphError(str(func), self._trace.location, "it changes the storage behind a tensor")
            if func not in _SIZE_QUERIES and autograd_would_have_decomposed(func, pytree.tree_leaves((args, kwargs))):
                with self:
                    opened = func.decompose(*args, **kwargs)
                if opened is not NotImplemented:
                    return opened
        # An operator whose autograd is written in Python arrives from inside an autograd.Function, which turns grad mode off.
        builtin = isinstance(func, OpOverload) and func.namespace in _BUILTIN_NAMESPACES
        grad_enabled = torch.is_grad_enabled() if builtin else self._trace.call_grad_enabled
        previous = self.last_node
        result = func(*args, **kwargs)
        written = tuple(
            sorted({self._trace.storage_number(t) for t in written_values(func, args, kwargs) if isinstance(t, FakeTensor)})
        )
        self._note(previous, func, result, grad_enabled, written)
        return result

    @property
    def last_node(self) -> fx.Node:
        return self.tracer.graph._root.prev

    def nodes_after(self, node: fx.Node) -> Iterator[fx.Node]:
        while (node := node.next) is not self.tracer.graph._root:
            yield node

    def emit(
        self,
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        grad_enabled: bool,
        written: tuple[int, ...] = (),
    ) -> Any:
        """Write a node by hand for a call whose fake result is known."""
        self.settle()
        previous = self.last_node
        proxy_args, proxy_kwargs = pytree.tree_map(self.tracer.unwrap_proxy, (args, kwargs))
        name = self.tracer.graph._target_to_str(target.name().rpartition("::")[2])
        proxy = self.tracer.create_proxy("call_function", target, proxy_args, proxy_kwargs, name=name)
        track_tensor_tree(result, proxy, constant=None, tracer=self.tracer)
        self._note(previous, target, result, grad_enabled, written)
        return result

    def settle(self) -> None:
        """Write the records that waited for their op to finish."""
        for node, value, grad_enabled, written in self._pending:
            results = tuple(self.adopt(node, leaf) for leaf in pytree.tree_leaves(value))
            node.meta[NODE_RECORD] = NodeRecord(grad_enabled, results, written)
        self._pending.clear()

    def adopt(self, node: fx.Node, value: Any) -> TensorRecord | None:
        """Describe a value and remember which node made it, the first one where several return it."""
        if isinstance(value, torch.Tensor):
            self._owners.setdefault(id(value), (node.name, value))
        return self.describe(value)

    def describe(self, value: Any) -> TensorRecord | None:
        """The present state of a tensor; None for anything else."""
        if not isinstance(value, FakeTensor):
            return None
        base = value._base if value._is_view() else None
        owner = self._owners.get(id(base))
        return TensorRecord(
            shape=tuple(value.shape),
            stride=tuple(value.stride()),
            storage_offset=value.storage_offset(),
            dtype=value.dtype,
            device=value.fake_device,
            storage=self._trace.storage_number(value),
            version=0 if value.is_inference() else value._version,
            requires_grad=value.requires_grad,
            is_leaf=value.is_leaf,
            is_view=base is not None,
            view_base=owner[0] if owner is not None else None,
        )

    def _note(
        self, previous: fx.Node, target: Any, result: Any, grad_enabled: bool, written: tuple[int, ...]
    ) -> None:
        """Queue the records of the nodes made since `previous`: the call itself, and the items of its result."""
        for leaf in pytree.tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                _refuse_tensor(leaf, str(target), self._trace.location)
        values: dict[fx.Node, Any] = {}
        for node in self.nodes_after(previous):
            if node.op == "call_function" and not node.stack_trace:
                node.stack_trace = self._trace.current_stack_trace()
            if node.target is target or (target, node.target) == _LIFT_BECOMES:
                values[node] = result
                self._pending.append((node, result, grad_enabled, written))
            elif node.target is operator.getitem and node.args[0] in values:
                values[node] = values[node.args[0]][node.args[1]]
                self._pending.append((node, values[node], grad_enabled, ()))


class _GraphInterpreter(fx.Interpreter):
    """Runs a Dynamo graph node by node; the higher-order operators that it opens or keeps itself are listed in `call_function`."""

    def __init__(self, module: fx.GraphModule, trace: _Trace) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.extra_traceback = False
        self._trace = trace

    def run_node(self, n: fx.Node) -> Any:
        if n.stack_trace:
            self._trace.stack_trace = n.stack_trace
        self._trace.call_grad_enabled = torch.is_grad_enabled()
        return super().run_node(n)

    def get_attr(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        value = super().get_attr(target, args, kwargs)
        if isinstance(value, torch.Tensor):
            raise UnsupportedGraphError(str(target), self._trace.location, "a tensor is held by the graph itself")
        return value

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target is torch.ops.higher_order.autograd_function_apply:
            return self._trace.user_function(args, kwargs)
        if target is torch.ops.higher_order.tag_activation_checkpoint:
            return self._trace.checkpoint(args[0], args[1:], kwargs)
        if target is torch.ops.higher_order.wrap and isinstance(args[0], fx.GraphModule):
            return _GraphInterpreter(args[0], self._trace).run(*args[1:])
        for body in pytree.tree_leaves((args, kwargs)):
            if isinstance(body, fx.GraphModule):
                _refuse_unseen_autograd(body, str(target), self._trace.location)
        return super().call_function(target, args, kwargs)


class _KeepWhole(TorchFunctionMode):
    """Keeps attention as one op, also where nn.MultiheadAttention calls it, and RNNs as plain ops instead of one mkldnn op."""

    def __init__(self, trace: _Trace) -> None:
        super().__init__()
        self._trace = trace

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self._trace.call_grad_enabled = torch.is_grad_enabled()
        torch.set_autocast_cache_enabled(False)  # entering autocast turns it on; it would hand out casts of another trace
        if func in _ATTENTION_CALLS:
            return self._trace.attention(args, kwargs)
        if func in _DROPOUT_CALLS:
            return _dropout(func, *args, **kwargs)
        if func in _RECURRENT_CALLS:
            with torch.backends.mkldnn.flags(enabled=False):
                return func(*args, **kwargs)
        if isinstance(func, FunctionType) and func.__globals__ is torch.nn.functional.__dict__:
            with self:  # a handler runs with its mode off; the calls inside this function have to be seen too
                return _without_override_check(func)(*args, **kwargs)
        return func(*args, **kwargs)


def _without_override_check(function: FunctionType) -> FunctionType:
    """A copy of a torch.nn.functional function that does not hand itself to the active function mode."""
    checks = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    names = {**function.__globals__, **dict.fromkeys(checks, lambda *_: False)}
    copy = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


class _AttentionCall:
    """What `_WholeAttention` needs besides the tensors: how to write the node, and what eager's result looks like."""

    def __init__(self, trace: _Trace, options: tuple[Any, ...], example: torch.Tensor, grad_enabled: bool) -> None:
        self.trace = trace
        self.options = options  # dropout_p, is_causal, scale, enable_gqa
        self.example = example
        self.grad_enabled = grad_enabled

    def __call__(self, *tensors: torch.Tensor | None) -> torch.Tensor:
        with self.trace.only_fake():
            result = torch.empty_strided(
                self.example.shape, self.example.stride(), dtype=self.example.dtype, device=self.example.device
            )
        dropout_p, is_causal, scale, enable_gqa = self.options
        return self.trace.recorder.emit(  # type: ignore[no-any-return]
            _ATTENTION,
            (*tensors, dropout_p, is_causal),
            {"scale": scale, "enable_gqa": enable_gqa},
            result,
            self.grad_enabled,
        )


class _WholeAttention(torch.autograd.Function):
    """Gives the one attention node eager's requires_grad. It is never differentiated here: that is a pass over the IR."""

    @staticmethod
    def forward(ctx: Any, emit: _AttentionCall, *tensors: torch.Tensor | None) -> torch.Tensor:  # type: ignore[override]
        return emit(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _refuse_inner_gradient("scaled_dot_product_attention")


def _attention_arguments(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[Any, ...]:
    """The arguments of a call of scaled_dot_product_attention, in the order of its schema."""
    return query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa


def _dropout(function: Callable[..., torch.Tensor], input: torch.Tensor, p: float, train: bool) -> torch.Tensor:
    """Where dropout does nothing eager returns its argument; the decomposition that tracing would use returns a copy."""
    return function(input, p, train) if train and p != 0 else input


def _cast(tensor: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """Autocast's rule: floating tensors except float64 are cast."""
    if tensor is None or not tensor.is_floating_point() or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(dtype)


def _refuse_inner_gradient(what: str) -> Any:
    raise UnsupportedGraphError(what, None, "its gradient is taken inside the graph")


def _refusing_graph(what: str) -> fx.GraphModule:
    """A graph that raises when run."""
    graph = fx.Graph()
    graph.output(graph.call_function(_refuse_inner_gradient, (what,)))
    return fx.GraphModule(torch.nn.Module(), graph)


def _refuse_unseen_autograd(body: fx.GraphModule, op: str, location: Location | None) -> None:
    """Inside the body of a control-flow operator neither a user's backward nor a change of grad mode would be seen."""
    for module in body.modules():
        for node in module.graph.nodes if isinstance(module, fx.GraphModule) else ():
            if node.target is torch.ops.higher_order.autograd_function_apply:
                raise UnsupportedGraphError(op, location, "a custom autograd.Function inside a control-flow body")
            if node.target is torch._C._set_grad_enabled:
                raise UnsupportedGraphError(op, location, "a change of grad mode inside a control-flow body")


def _refuse_lost_backwards(values: Sequence[Any]) -> None:
    """Refuse results whose history holds a user's autograd.Function: its forward was traced, its backward was not."""
    waiting = [value.grad_fn for value in values if isinstance(value, torch.Tensor)]
    seen: set[Any] = set()
    while waiting:
        grad_fn = waiting.pop()
        if grad_fn is None or grad_fn in seen:
            continue
        seen.add(grad_fn)
        if isinstance(grad_fn, BackwardCFunction):
            owner = type(grad_fn)._forward_cls
            if owner is not _WholeAttention and owner.__module__.partition(".")[0] != "torch":
                raise UnsupportedGraphError(
                    owner.__qualname__, None, "the backward of a custom autograd.Function is seen only through torch.compile"
                )
        waiting.extend(next_fn for next_fn, _ in grad_fn.next_functions)


def _refuse_tensor(tensor: torch.Tensor, op: str, location: Location | None) -> None:
    """Refuse tensors that the IR has no type for."""
    reason = None
    if type(tensor) not in _PLAIN_TENSOR_TYPES:
        reason = f"the tensor subclass {type(tensor).__name__} would have to be flattened"
    elif tensor.layout is not torch.strided:
        reason = f"a tensor has the layout {tensor.layout}"
    elif tensor.is_quantized:
        reason = "a tensor is quantized"
    elif tensor.is_complex() or tensor.is_neg():
        reason = "complex numbers are not supported"
    if reason is not None:
        raise UnsupportedGraphError(op, location, reason)


def _refake(fake_mode: FakeTensorMode, context: TracingContext, value: Any, name: str) -> Any:
    """The fake of one of Dynamo's example inputs, with the symbols that Dynamo gave its sizes. Symbolic numbers stay."""
    if not isinstance(value, torch.Tensor):
        return value
    if isinstance(value, FakeTensor):
        raise UnsupportedGraphError(name, None, "it is a fake tensor made by someone else")
    _refuse_tensor(value, name, None)
    symbolic_context = context.tensor_to_context.get(value)
    if symbolic_context is None:
        return fake_mode.from_tensor(value, static_shapes=True)
    # Without the source torch would invent new symbols, which none of Dynamo's guards and relations cover.
    return fake_mode.from_tensor(value, source=symbolic_context.tensor_source, symbolic_context=symbolic_context)


def _fake_of(fake_mode: FakeTensorMode, value: torch.Tensor, name: str, dynamic_dims: Sequence[int]) -> torch.Tensor:
    """A fake of a real tensor; only the named dimensions get symbols."""
    if isinstance(value, FakeTensor):
        raise UnsupportedGraphError(name, None, "it is a fake tensor made by someone else")
    _refuse_tensor(value, name, None)
    if not dynamic_dims:
        return fake_mode.from_tensor(value, static_shapes=True)
    dynamic = {dim % value.dim() for dim in dynamic_dims}
    sizes = [DimDynamic.DYNAMIC if dim in dynamic else DimDynamic.STATIC for dim in range(value.dim())]
    return fake_mode.from_tensor(value, symbolic_context=StatelessSymbolicContext(dynamic_sizes=sizes))


def _call_with_state(
    module: torch.nn.Module, state: dict[str, torch.Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """Call a module with other parameters and buffers; refuse one that puts a new tensor in place of one of them."""
    given = dict(state)
    with stateless._reparametrize_module(module, state, tie_weights=True):
        result = module(*args, **kwargs)
    for name, value in state.items():
        if value is not given[name]:
            raise UnsupportedGraphError(f"self.{name}", None, "the module assigns to it; only in-place writes are seen")
    return result


def _tag_untagged(nodes: Sequence[fx.Node]) -> None:
    """Give the nodes of a checkpointed region that were written by hand the tags of the others."""
    tagged = next((node for node in nodes if "ac_graph_id" in node.meta), None)
    for node in nodes if tagged is not None else ():
        if node.op == "call_function":
            node.meta.setdefault("recompute", tagged.meta["recompute"])
            node.meta.setdefault("ac_graph_id", tagged.meta["ac_graph_id"])


def _has_effects(node: fx.Node) -> bool:
    """Whether a node has to stay although nobody uses its result: it writes, draws random numbers, asserts."""
    inner = (n for module in inner_graphs(node) for n in module.graph.nodes if n.op == "call_function")
    return node.is_impure() or bool(written_nodes(node)) or any(_has_effects(n) for n in inner)


def _node_record(node: fx.Node) -> NodeRecord:
    record = node.meta[NODE_RECORD]
    assert isinstance(record, NodeRecord)
    return record


def _output_records(
    values: Sequence[Any],
    tensors: Sequence[TensorRecord | None],
    fakes: Sequence[Any],
    inputs: Sequence[InputRecord],
) -> tuple[OutputRecord, ...]:
    records = []
    for index, (value, tensor) in enumerate(zip(values, tensors, strict=True)):
        if tensor is None:
            symbolic = isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool))
            records.append(OutputRecord(kind="symint" if symbolic else "constant", value=value))
            continue
        shares = tensor.storage
        records.append(
            OutputRecord(
                kind="tensor",
                tensor=tensor,
                is_input=next((k for k, fake in enumerate(fakes) if fake is value), None),
                shares_input=tuple(k for k, i in enumerate(inputs) if i.tensor and i.tensor.storage == shares),
                shares_output=tuple(k for k, t in enumerate(tensors[:index]) if t and t.storage == shares),
            )
        )
    return tuple(records)


def _dynamic_dims(record: TensorRecord | None) -> tuple[int, ...]:
    sizes = record.shape if record is not None else ()
    return tuple(
        dim for dim, size in enumerate(sizes) if isinstance(size, torch.SymInt) and size.node.maybe_as_int() is None
    )


def _dynamo_source(placeholder: fx.Node) -> str:
    """Dynamo's expression for where a graph input comes from."""
    graph_arg = placeholder.meta.get("grapharg")
    return str(graph_arg.source.name) if graph_arg is not None else placeholder.name


def _readable_source(source: str) -> str:
    """L['self']._modules['fc']._parameters['weight'] -> L['self'].fc.weight"""
    return re.sub(r"\._(?:modules|parameters|buffers)\['([^']+)'\]", r".\1", source)


def _input_kind(value: Any, source: str) -> InputKind:
    if not isinstance(value, torch.Tensor):
        return "symint"
    if isinstance(value, torch.nn.Parameter):
        return "parameter"
    return "buffer" if "._buffers[" in source else "input"


def _argument_name(path: pytree.KeyPath) -> str:
    """Path of a leaf in (args, kwargs) -> args[0]['x'] or kwargs['mask']."""
    root = ("args", "kwargs")[path[0].idx] if isinstance(path[0], pytree.SequenceKey) else "args"
    return root + pytree.keystr(path[1:])


def _identifier(source: str) -> str:
    """A placeholder name that still says where the input comes from."""
    words = re.sub(r"\W+", "_", re.sub(r"^[LG]\[", "", source)).strip("_")
    return words if words and not words[0].isdigit() else f"arg_{words}"


def _python_stack_trace() -> str:
    """The user's frame that is running, in the form of a printed stack trace."""
    frame = sys._getframe(1)
    while frame is not None and (is_torch_file(frame.f_code.co_filename) or frame.f_code.co_filename == __file__):
        frame = frame.f_back  # type: ignore[assignment]
    if frame is None:
        return ""
    code = frame.f_code
    line = linecache.getline(code.co_filename, frame.f_lineno).strip()
    return f'  File "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}\n    {line}\n'


@contextmanager
def _isolated() -> Iterator[None]:
    """One capture at a time (make_fx keeps global state), and none that leaves a trace in the thread or the random generators.

    Dynamo's own lock: a backend is called with it held, so a second lock could be taken in the other order.
    """
    with compile_lock, _thread_state_restored():
        before = _random_states()
        yield
        after = _random_states()
        if any(not torch.equal(old, new) for old, new in zip(before, after, strict=True)):
            torch.set_rng_state(before[0])
            if len(before) > 1:
                torch.cuda.set_rng_state_all(before[1:])
            raise UnsupportedGraphError("random generator", None, "the graph sets or uses a generator's state by itself")


def _random_states() -> list[torch.Tensor]:
    with _disable_current_modes():
        on_cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return [torch.get_rng_state(), *on_cuda]


@contextmanager
def _thread_state_restored() -> Iterator[None]:
    """Restore grad mode and autocast, which the graph's own toggles really change."""
    grad_enabled = torch.is_grad_enabled()
    devices = [d for d in ("cpu", "cuda") if d == "cpu" or torch.cuda.is_available()]
    autocast = [(d, torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in devices]
    cache_enabled = torch.is_autocast_cache_enabled()
    nesting = torch.autocast_increment_nesting()
    try:
        yield
    finally:
        while torch.autocast_decrement_nesting() >= nesting:
            pass
        torch.set_autocast_cache_enabled(cache_enabled)
        for device, enabled, dtype in autocast:
            torch.set_autocast_enabled(device, enabled)
            torch.set_autocast_dtype(device, dtype)
        torch.set_grad_enabled(grad_enabled)


@contextmanager
def _as_current_fake_mode(context: TracingContext, fake_mode: FakeTensorMode) -> Iterator[None]:
    """Make `fake_mode` the one that torch finds in the tracing context: it refuses to mix two."""
    previous = context.fake_mode
    context.fake_mode = fake_mode
    try:
        yield
    finally:
        context.fake_mode = previous
