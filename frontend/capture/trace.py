# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The trace of one graph: a function or a Dynamo graph on fake tensors -> ATen nodes with a `NodeRecord` on each.

Bodies of higher-order operators (a user's autograd.Function, torch.cond, loops) are traced in the same way, into graphs
of their own; checkpointed regions are opened.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import fx
from torch._dispatch.python import enable_python_dispatcher
from torch._dynamo.exc import UserError
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)
from torch.fx import traceback as fx_traceback
from torch.fx.experimental.proxy_tensor import PythonKeyTracer, get_proxy_mode, make_fx
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from flambeau.frontend.capture.isolation import thread_state_restored
from flambeau.frontend.capture.loop_operators import LOOPS
from flambeau.frontend.capture.recorder import Recorder, TraceState
from flambeau.frontend.capture.records import (
    NODE_RECORD,
    Location,
    NodeRecord,
    TensorRecord,
    UnsupportedGraphError,
    inner_graphs,
    user_location,
    written_nodes,
)
from flambeau.frontend.capture.torch_calls import TorchCalls, WholeNode, forced_call, refuse_inner_gradient
from flambeau.frontend.forced_ops import NOT_FORCED, ForcedOps, kept_whole

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


@dataclass
class TracedGraph:
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

    @property
    def written(self) -> set[int]:
        """The storages that its nodes write."""
        records: list[NodeRecord] = [node.meta[NODE_RECORD] for node in self.module.graph.nodes]
        return {number for record in records for number in record.written}


class Trace:
    """One capture under way: what its graphs share, and how each of them is traced."""

    def __init__(self, fake_mode: FakeTensorMode, forced: ForcedOps = NOT_FORCED) -> None:
        self.state = TraceState(fake_mode)
        self._forced = forced

    def trace_graph(self, run: Callable[..., Any], fakes: Sequence[Any], names: Sequence[str]) -> TracedGraph:
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
            self.state.recorders.append(recorder)
            try:
                with recorder, TorchCalls(self.state):
                    returned = run(*args)
                    recorder.settle()
            finally:
                self.state.recorders.pop()
            outputs.extend(recorder.describe(value) for value in pytree.tree_leaves(returned))
            grad_enabled_after = torch.is_grad_enabled()
            return returned

        try:
            with (
                thread_state_restored(),
                self.state.fake_mode,
                enable_python_dispatcher(),
                kept_whole(self._forced.overloads, partial(forced_call, self.state)),
                fx_traceback.preserve_node_meta(),
            ):
                module = make_fx(traced)(*fakes)
        except _TRACING_LIMITS as error:
            raise UnsupportedGraphError(type(error).__name__, self.state.location, str(error)) from error
        self._clean(module)
        return TracedGraph(module, inputs, returned, outputs, grad_enabled_after)

    def user_function(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """A custom autograd.Function as one node that holds its forward and its backward as ATen graphs."""
        forward, backward, *operands = args
        with self.state.only_fake():
            forward_graph = self._inner_graph(forward, operands)
            outputs, saved = forward_graph.returned
            outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
            tangents = [torch.empty_like(o) if isinstance(o, torch.Tensor) else o for o in outputs]
            backward_graph = self._inner_graph(backward, [*tangents, *saved])
            # This run gives the results their autograd state. Its backward would bypass the trace, so it refuses.
            results = _USER_FUNCTION(
                forward, _refusing_graph("a custom autograd.Function"), *operands, **kwargs
            )
        tracer = self.state.recorder.tracer
        for stem, module in (("forward", forward_graph.module), ("backward", backward_graph.module)):
            tracer.root.register_module(tracer.get_fresh_qualname(f"autograd_function_{stem}_"), module)
        return self.state.recorder.emit(
            _USER_FUNCTION,
            (forward_graph.module, backward_graph.module, *operands),
            kwargs,
            results,
            torch.is_grad_enabled(),
            tuple(sorted(forward_graph.written)),
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
            return GraphInterpreter(on_true if predicate else on_false, self).run(*operands)
        if not isinstance(predicate, torch.Tensor):
            raise UnsupportedGraphError(str(_COND), self.state.location, "it chooses by a size")
        with self.state.only_fake():
            graphs = [
                self._inner_graph(branch, operands, differentiated=True) for branch in (on_true, on_false)
            ]
        examples = _common_outputs(graphs, self.state.location)
        tracer = self.state.recorder.tracer
        for stem, graph in zip(("true", "false"), graphs, strict=True):
            tracer.root.register_module(tracer.get_fresh_qualname(f"cond_{stem}_"), graph.module)

        def results(*_: Any) -> tuple[torch.Tensor, ...]:
            return tuple(
                torch.empty_strided(e.shape, e.stride(), dtype=e.dtype, device=e.device) for e in examples
            )

        with self.state.only_fake():
            found = WholeNode.apply(results, "torch.cond", *operands)  # type: ignore[no-untyped-call]
        arguments = (predicate, graphs[0].module, graphs[1].module, tuple(operands))
        return self.state.recorder.emit(_COND, arguments, {}, found, torch.is_grad_enabled())

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
        with self.state.only_fake():
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
        tracer = self.state.recorder.tracer
        for graph in graphs:
            tracer.root.register_module(tracer.get_fresh_qualname(f"{target}_body_"), graph.module)

        def results(*_: Any) -> tuple[Any, ...]:
            return tuple(loop.results(*groups, outputs))

        with self.state.only_fake():
            found = WholeNode.apply(results, str(target), *tensors)  # type: ignore[no-untyped-call]
        arguments = (*(graph.module for graph in graphs), *groups)
        return self.state.recorder.emit(target, arguments, {}, found, grad_enabled)

    def checkpoint(self, body: fx.GraphModule, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """A checkpointed region, opened: its nodes carry `recompute` and `ac_graph_id` in their meta."""
        graph = fx.Graph()
        inputs = [graph.placeholder(f"arg{i}") for i in range(len(args))]
        interpret = graph.call_function(
            lambda *values: GraphInterpreter(body, self).run(*values), tuple(inputs)
        )
        graph.output(interpret)
        wrapper = fx.GraphModule(torch.nn.Module(), graph)
        wrapper.meta.update(body.meta)
        first = self.state.recorder.last_node
        result = _CHECKPOINT(wrapper, *args, **kwargs)
        if "_checkpoint_context_fn" not in body.meta:
            _tag_untagged(list(self.state.recorder.nodes_after(first)))
        return result

    def _inner_graph(
        self, module: fx.GraphModule, operands: Sequence[Any], *, differentiated: bool = False
    ) -> TracedGraph:
        """The graph of a body, through which autograd sees if it is `differentiated`."""
        # `.data` shares the storage, so its number, but not the version counter: an inner write is counted once.
        copies = [value.data if isinstance(value, torch.Tensor) else value for value in operands]
        for copy, value in zip(copies, operands, strict=True):
            if differentiated and isinstance(value, torch.Tensor) and value.requires_grad:
                copy.requires_grad_()
        names = [node.name for node in module.graph.nodes if node.op == "placeholder"]
        return self.trace_graph(lambda *args: GraphInterpreter(module, self).run(*args), copies, names)

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
        # fx's own way to do this loses the inner graphs' inner graphs.
        for name, _ in list(module.named_children()):
            if name not in used:
                delattr(module, name)
        graph.lint()
        module.recompile()


class GraphInterpreter(fx.Interpreter):
    """Runs a Dynamo graph node by node under the trace."""

    def __init__(self, module: fx.GraphModule, trace: Trace) -> None:
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
            return GraphInterpreter(args[0], self._trace).run(*args[1:])
        if target is torch._C._autograd._get_data_attr:  # type: ignore[attr-defined]
            return self._trace.state.recorder.take_data(*args)
        for body in pytree.tree_leaves((args, kwargs)):
            if isinstance(body, fx.GraphModule):
                _refuse_unseen_autograd(body, str(target), self._trace.state.location)
        return super().call_function(target, args, kwargs)


def _common_outputs(graphs: Sequence[TracedGraph], location: Location | None) -> list[torch.Tensor]:
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


def _refusing_graph(what: str) -> fx.GraphModule:
    """A graph that raises when run."""
    graph = fx.Graph()
    graph.output(graph.call_function(refuse_inner_gradient, (what,)))
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
