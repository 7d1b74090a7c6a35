# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The importer: a captured ATen graph -> one `func.func @graph` in our dialects (the `imported` stage).

Casts and broadcasts become ops, storages that the graph writes become references, everything else values. Facts that
the runtime wrapper needs are attributes of arguments and results; docs/ir.md lists them. Each op carries the user's
file and line.
"""

import operator
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch import fx
from torch._dispatch.python import enable_python_dispatcher
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor

from flambeau.dialects import build as b
from flambeau.dialects import functions as fn
from flambeau.dialects.aten.importer import Size, same_static_sizes
from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import RefType
from flambeau.dialects.facts import ArgumentFacts, Role
from flambeau.dialects.opdef import OPS, VerificationError
from flambeau.dialects.types import DYNAMIC, compatible, element_type, shape_of, tensor_type
from flambeau.frontend.capture import sizes as symbolic
from flambeau.frontend.capture.loop_operators import LOOPS
from flambeau.frontend.capture.records import (
    NODE_RECORD,
    CapturedGraph,
    InputRecord,
    NodeRecord,
    TensorRecord,
    UnsupportedGraphError,
    user_location,
    user_module,
    written_arguments,
)
from flambeau.frontend.capture.shared_memory import are_separate, written_together
from flambeau.frontend.forced_ops import NOT_FORCED, ForcedOps
from flambeau.frontend.importing.checkpointed_regions import CheckpointedRegions
from flambeau.frontend.importing.cond import import_cond
from flambeau.frontend.importing.context import ImportContext
from flambeau.frontend.importing.fallback import import_host_call
from flambeau.frontend.importing.host_loops import import_loop
from flambeau.frontend.importing.outputs import import_outputs
from flambeau.frontend.importing.rules import RULES, functional_form
from flambeau.frontend.importing.symbols import Symbols
from flambeau.frontend.importing.user_function import import_user_function
from flambeau.pipelines.driver import run_pipeline
from flambeau.pipelines.passes.force_eager import ForceEager


@dataclass(frozen=True)
class Reference:
    """A tensor of the graph whose storage is written somewhere: read it with `Importer.value`.

    `detached`: reached through `detach` or `.data`, so autograd does not see writes through it.
    """

    ref: ir.Value
    detached: bool


def import_graph(captured: CapturedGraph, context: ir.Context, forced: ForcedOps = NOT_FORCED) -> ir.Module:
    """Import a captured graph into a new module of `context`, as `@graph`. `forced` ops become calls on the host.

    Raises UnsupportedGraphError, naming op, user line and reason, for what has no op here.
    """
    with context, ir.Location.unknown():
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            Importer(captured, forced.overloads).run()
    if forced.dialect:
        run_pipeline(module, [ForceEager(ops=";".join(forced.dialect))])
    if not module.operation.verify():
        raise AssertionError("the imported module does not verify")
    return module


_OVERWRITES = (
    torch.ops.aten.copy_.default,
    *(torch.ops.aten.fill_.Scalar, torch.ops.aten.fill_.Tensor, torch.ops.aten.zero_.default),
)
"""Writes that use nothing of what was there. Random numbers do neither."""

_SIZE_CHECKS = (
    torch.ops.aten._assert_scalar.default,
    torch.ops.aten.sym_constrain_range.default,
    torch.ops.aten.sym_constrain_range_for_size.default,
)


class Importer(ImportContext):
    """One import under way: arguments are nodes, SymInts, and Python values."""

    rules = RULES

    def __init__(self, captured: CapturedGraph, forced: Collection[OpOverload] = ()):
        self.captured = captured
        self._forced = forced
        self.node: fx.Node
        self.results: list[Any] = []
        self._entities: dict[fx.Node, Any] = {}
        self._roots: dict[int, tuple[Any, TensorRecord]] = {}
        self._written = {
            storage
            for node in captured.graph_module.graph.nodes
            if isinstance(record := node.meta.get(NODE_RECORD), NodeRecord)
            for storage in record.written
        }
        nodes = captured.graph_module.graph.nodes
        grad_somewhere = captured.grad_enabled or any(
            isinstance(record := n.meta.get(NODE_RECORD), NodeRecord) and record.grad_enabled for n in nodes
        )
        self.needs_autograd = grad_somewhere and any(
            i.tensor is not None and i.tensor.requires_grad for i in captured.inputs
        )
        self._regions = CheckpointedRegions(nodes if self.needs_autograd else ())

    # --- The function ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Build `@graph` at the current insertion point."""
        inputs = self.captured.inputs
        self._refuse_overlapping_writes()
        types = [self._input_type(i) for i in inputs]
        self.module_body = ir.InsertionPoint.current.block
        function = fn.create_function("graph", types, [ir.Location.name(i.name) for i in inputs])
        block = fn.entry_block(function)
        placeholders = [n for n in self.captured.graph_module.graph.nodes if n.op == "placeholder"]
        for node, argument in zip(placeholders, block.arguments, strict=True):
            self._entities[node] = (
                Reference(argument, detached=False) if isinstance(argument.type, RefType) else argument
            )
        with ir.InsertionPoint(block):
            self.symbols = Symbols([i.value for i in inputs], list(block.arguments))
            values, results = import_outputs(self, self.import_body(self.captured.graph_module))
            ir.Operation.create("func.return", operands=values)
        fn.set_signature(function, [self._input_facts(i) for i in inputs], results)

    def import_body(self, graph_module: fx.GraphModule) -> fx.Node:
        """Import the nodes of a graph whose placeholders have entities; its output node."""
        for node in graph_module.graph.nodes:
            if node.op == "call_function":
                with self._at(node):
                    self._entities[node] = self._import_node(node)
            elif node.op == "get_attr":
                self._entities[node] = self._constant(node)
        self.node = node  # which reads what is returned
        return self.node

    def _refuse_overlapping_writes(self) -> None:
        inputs = self.captured.inputs
        for positions in written_together(self.captured):
            if not are_separate(self.captured, positions):
                first, second = (inputs[p].source for p in positions[:2])
                reason = f"{first} and {second} share memory that the graph writes"
                raise UnsupportedGraphError("overlapping inputs", None, reason)

    def _input_type(self, record: InputRecord) -> ir.Type:
        if record.tensor is None:
            return ir.IndexType.get()
        type_ = self.tensor_type(record.tensor.shape, record.tensor.dtype)
        return RefType.of(type_) if record.tensor.storage in self._written else type_

    def _input_facts(self, record: InputRecord) -> ArgumentFacts:
        if record.tensor is None:
            dims = symbolic.extents([record.value])
            return ArgumentFacts(role=Role.SYMBOL, name=record.source, dims=dims)
        return ArgumentFacts(
            role=Role(record.kind),
            name=record.source,
            dims=symbolic.extents(record.tensor.shape) if record.dynamic_dims else None,
            requires_grad=self.needs_autograd and record.tensor.requires_grad,
            uncounted=record.written and record.uncounted,
            gets_history=record.gets_history,
        )

    @contextmanager
    def _at(self, node: fx.Node) -> Iterator[None]:
        """Ops made here carry the node's user line, under the name of its module if any; errors name the line."""
        self.node = node
        where = user_location(node)
        location = ir.Location.file(where[0], where[1], 0) if where else ir.Location.unknown()
        module = user_module(node)
        if module:
            location = ir.Location.name(module, location)
        try:
            with location:
                yield
        except (VerificationError, TypeError, ValueError, NotImplementedError) as error:
            raise UnsupportedGraphError(str(node.target), where, str(error)) from error

    # --- Values ------------------------------------------------------------------------------------------------------

    def tensor_type(self, shape: Sequence[int | torch.SymInt], dtype: torch.dtype) -> ir.RankedTensorType:
        """The MLIR type of a fake tensor's shape and dtype."""
        name = str(dtype).removeprefix("torch.")
        return tensor_type(
            [s if (s := symbolic.static(d)) is not None else DYNAMIC for d in shape], element_type(name)
        )

    def result_type(self, index: int = 0) -> ir.RankedTensorType:
        """The type of result `index` of the call being imported."""
        return self.tensor_type(self.results[index].shape, self.results[index].dtype)

    def result_sizes(self, index: int = 0) -> list[Size]:
        """The sizes of result `index` of the call being imported: ints and index values."""
        return self.sizes(self.results[index].shape)

    def size(self, value: int | torch.SymInt | fx.Node) -> Size:
        """An int or index value of a Python number, SymInt, or node that computes one."""
        if isinstance(value, fx.Node):
            value = value.meta["val"]
        return self.symbols.value(value)  # type: ignore[arg-type]

    def entity(self, node: fx.Node) -> Any:
        """What a node stands for: a value, a Reference, or a list of these."""
        return self._entities[node]

    @contextmanager
    def inner_function(
        self,
        name: str,
        placeholders: Sequence[fx.Node],
        written: Iterable[int],
        *,
        differentiated: bool,
    ) -> Iterator[Any]:
        """Import into a new private function: `placeholders` are its arguments, `written` the storages written there.

        `differentiated`: a pass may derive its derivative. The function comes out without a return and without its
        final type.
        """
        outside = self.symbols, self.needs_autograd, self.node, self.target, self.results
        fakes = [p.meta["val"] for p in placeholders]
        types = [
            self.tensor_type(f.shape, f.dtype) if isinstance(f, torch.Tensor) else ir.IndexType.get()
            for f in fakes
        ]
        with ir.InsertionPoint(self.module_body):
            function = fn.create_function(
                fn.fresh_name(self.module_body, name),
                types,
                [ir.Location.unknown()] * len(types),
                visibility="private",
            )
        block = fn.entry_block(function)
        for placeholder, argument in zip(placeholders, block.arguments, strict=True):
            self._entities[placeholder] = argument
        self._written.update(written)
        self.needs_autograd = self.needs_autograd and differentiated
        with ir.InsertionPoint(block):
            self.symbols = Symbols(fakes, list(block.arguments))
            yield function
        self.symbols, self.needs_autograd, self.node, self.target, self.results = outside

    def value(self, argument: Any) -> ir.Value:
        """The tensor value of a node, read now if its storage is written, as the region of the current node sees it."""
        entity = self._entities[argument] if isinstance(argument, fx.Node) else argument
        if isinstance(entity, Reference):
            loaded = b.ref_load(entity.ref)
            tensor = argument.meta[NODE_RECORD].results[0] if isinstance(argument, fx.Node) else None
            if tensor is not None:
                loaded = _refined(loaded, self.tensor_type(tensor.shape, tensor.dtype))
            if entity.detached and self.needs_autograd:
                loaded = b.autograd_detach(loaded)
            return self._regions.read(loaded, self.node)
        if not isinstance(entity, ir.Value):
            raise TypeError(f"{argument} is no tensor")
        if isinstance(argument, fx.Node):
            return self._regions.enter(entity, argument, self.node)
        return entity

    def _constant(self, node: fx.Node) -> Any:
        target = operator.attrgetter(str(node.target))(node.graph.owning_module)
        if not isinstance(target, torch.Tensor):
            return target  # an inner graph
        return self.constant(target)

    def constant(self, tensor: torch.Tensor) -> ir.Value:
        """A constant op of a real tensor."""
        tensor = tensor.detach().cpu().contiguous()
        type_ = self.tensor_type(tensor.shape, tensor.dtype)
        return b.constant(dense(tensor, type_))

    # --- Nodes -------------------------------------------------------------------------------------------------------

    def _import_node(self, node: fx.Node) -> Any:
        if node.target is operator.getitem:
            source, index = node.args
            return self._entities[source][index]  # type: ignore[index]
        result = node.meta.get("val")
        if isinstance(result, torch.SymInt | int) and not isinstance(result, bool):
            if node.target is torch.ops.aten._local_scalar_dense.default and symbolic.static(result) is None:
                self._calling(node.target, result)
                import_host_call(self, node.target, bind(node), "a number made of a tensor", [False])
            return None  # sizes are made from their symbols where they are used
        if isinstance(result, torch.SymFloat):
            # TorchDynamo passes Python floats as tensors of one element, and reads them with item().
            return (
                self.value(node.args[0])
                if node.target is torch.ops.aten._local_scalar_dense.default
                else None
            )
        if node.target is torch.ops.aten._assert_async.msg:
            return None  # a check of values, as of one_hot's classes: compiled code takes the nearest valid position
        if node.target is torch.ops.higher_order.autograd_function_apply:
            self._calling(node.target, result)
            return self._import_user_function(node)
        if node.target is torch.ops.higher_order.cond or node.target in LOOPS:
            made: NodeRecord = node.meta[NODE_RECORD]
            self._calling(node.target, result)
            values = import_loop(self, node) if node.target in LOOPS else import_cond(self, node)
            return [self._entity(made, v, t) for v, t in zip(values, made.results, strict=True)]
        if isinstance(result, torch.SymBool) or node.target in _SIZE_CHECKS:
            return None  # checks of sizes that depend on data: the op that made them has decided
        if not isinstance(node.target, OpOverload):
            raise UnsupportedGraphError(str(node.target), user_location(node), "it has no op in the dialect")
        record: NodeRecord = node.meta[NODE_RECORD]
        if record.saved:
            return self._entities[node.args[0]]  # type: ignore[index]
        arguments = bind(node)
        if arguments.get("sparse") is True and any(t is not None and t.requires_grad for t in record.results):
            raise UnsupportedGraphError(str(node.target), user_location(node), "its gradient is sparse")
        written = written_arguments(node.target)
        if torch.Tag.inplace_view in node.target.tags:
            return self._import_reference_view(node, record, arguments, self._view_of_same(node, record))
        if written:
            return self._import_write(node, record, arguments, written)
        if self._is_view_of_written(node, record):
            return self._import_reference_view(node, record, arguments, node.target)
        self._calling(node.target, node.meta.get("val"))
        differentiable = [t is not None and t.requires_grad for t in record.results]
        values = self._call_or_host(node.target, arguments, differentiable)
        return self._finish(record, values) if self.results else None

    def _call_or_host(
        self, overload: OpOverload, arguments: dict[str, Any], differentiable: Sequence[bool]
    ) -> list[ir.Value]:
        """A call of a functional overload by ops of the dialect, or where these do not cover it, on the host."""
        if overload in self._forced or self.node.target in self._forced:
            reason = "force_eager names it"
            return import_host_call(self, overload, arguments, reason, differentiable, chosen=True)
        try:
            return self.call(str(overload), arguments)
        except (VerificationError, TypeError, ValueError, NotImplementedError) as error:
            return import_host_call(self, overload, arguments, str(error), differentiable)

    def _import_user_function(self, node: fx.Node) -> list[Any]:
        record: NodeRecord = node.meta[NODE_RECORD]
        given = {
            t.storage for a in node.all_input_nodes for t in a.meta[NODE_RECORD].results if t is not None
        }
        if any(t is not None and t.storage in given & self._written for t in record.results):
            raise TypeError("it returns memory of an argument, which the graph writes")
        values = import_user_function(self, node)
        return [
            value if tensor is None else self._entity(record, value, tensor)
            for value, tensor in zip(values, record.results, strict=True)
        ]

    def _calling(self, target: Any, result: Any) -> None:
        """Note the overload that is about to be imported and its fake result, for rules to look at."""
        self.target = target
        self.results = (
            list(result) if isinstance(result, list | tuple) else [] if result is None else [result]
        )

    def _finish(self, record: NodeRecord, values: list[ir.Value]) -> Any:
        """The entities of a call's results."""
        entities = [
            self._entity(record, value, tensor) for value, tensor in zip(values, record.results, strict=True)
        ]
        return entities if isinstance(self.node.meta["val"], list | tuple) else entities[0]

    def _entity(self, record: NodeRecord, value: ir.Value, tensor: TensorRecord | None) -> Any:
        """What a new result stands for: checked against the trace, without history if made under no_grad, in a
        reference if its storage is written."""
        if tensor is None:
            return value
        expected = self.tensor_type(tensor.shape, tensor.dtype)
        if not compatible(value.type, expected):
            raise TypeError(f"imported as {value.type}, but the trace says {expected}")
        value = _refined(value, expected)
        if self._loses_history(record, tensor):
            value = b.autograd_detach(value)
        value = self._regions.keep(value, self.node)
        entity = Reference(b.ref_new(value), detached=False) if tensor.storage in self._written else value
        self._roots.setdefault(tensor.storage, (entity, tensor))
        return entity

    def _loses_history(self, record: NodeRecord, tensor: TensorRecord) -> bool:
        """Whether the op ran under no_grad on something that could carry a gradient."""
        if record.grad_enabled or not self.needs_autograd or not tensor.dtype.is_floating_point:
            return False
        return not (
            isinstance(self.node.target, OpOverload) and self.node.target is torch.ops.aten.detach.default
        )

    def _is_view_of_written(self, node: fx.Node, record: NodeRecord) -> bool:
        base = next((a for a in node.all_input_nodes if isinstance(self._entities.get(a), Reference)), None)
        if base is None:
            return False
        storages = {t.storage for t in record.results if t is not None}
        return base.meta[NODE_RECORD].results[0].storage in storages

    def _view_of_same(self, node: fx.Node, record: NodeRecord) -> OpOverload:
        """For an op that changes sizes and strides in place, the one that makes a view with these: `t_` -> `t`."""
        target: Any = node.target
        storages = {t.storage for t in record.results if t is not None}
        for given in self.captured.inputs:
            if given.tensor is not None and given.tensor.storage in storages:
                raise TypeError(f"it changes sizes, strides or history of {given.source} in place")
        packet = getattr(torch.ops.aten, target._schema.name.removeprefix("aten::").removesuffix("_"), None)
        overload = getattr(packet, target._overloadname, None)
        if not isinstance(overload, OpOverload) or target is torch.ops.aten.detach_.default:
            raise TypeError("it changes sizes, strides or history in place")
        return overload

    def _import_reference_view(
        self, node: fx.Node, record: NodeRecord, arguments: dict[str, Any], target: Any
    ) -> Any:
        """A view of a written storage, made by `target`: import it as a view of the loaded value, then turn that chain
        into ref_views."""
        base = self._entities[node.args[0]]  # type: ignore[index]
        if not isinstance(base, Reference):
            raise TypeError("a view of a written storage whose first argument is not the viewed tensor")
        detached = base.detached or (
            target is torch.ops.aten.detach.default and not self._is_new(node.args[0])
        )
        loaded = b.ref_load(base.ref)
        self._calling(target, node.meta.get("val"))
        values = self.call(str(target), {**arguments, next(iter(arguments)): loaded})
        entities = []
        for value, tensor in zip(values, record.results, strict=True):
            assert tensor is not None
            entities.append(
                Reference(
                    self._reference_chain(value, loaded, base.ref),
                    detached or self._loses_history(record, tensor),
                )
            )
        _erase_unused(loaded, values)
        returned = node.meta["val"]
        return entities if isinstance(returned, list | tuple) else entities[0]

    def _is_new(self, node: Any) -> bool:
        """Whether a tensor has no history, nor any other use that could give it one: PyTorch detaches what it makes."""
        (record,) = node.meta[NODE_RECORD].results
        root = self._roots.get(record.storage, (None,))[0]
        made_here = node.op == "call_function" and root is self._entities[node]
        return made_here and len(node.users) == 1 and not record.requires_grad

    def _reference_chain(self, value: ir.Value, loaded: ir.Value, ref: ir.Value) -> ir.Value:
        if value == loaded:
            return ref
        op = value.owner
        if op.name == "autograd.detach":
            return self._reference_chain(op.operands[0], loaded, ref)
        cls = OPS.get(op.name)
        if cls is None or not cls.view:
            raise TypeError(f"{op.name} makes a view of written memory, but is no view op")
        parent = self._reference_chain(op.operands[0], loaded, ref)
        attributes = ir.DictAttr.get({name: op.attributes[name] for name in op.attributes})
        return b.ref_view(parent, list(op.operands)[1:], op.name, attributes)

    def _import_write(
        self, node: fx.Node, record: NodeRecord, arguments: dict[str, Any], written: Sequence[str]
    ) -> Any:
        """An op that writes arguments: its functional form, then a store per written argument."""
        target: Any = node.target
        if any(isinstance(arguments[name], list | tuple) for name in written):
            raise TypeError("it writes a list of tensors")
        form = functional_form(target)
        if form is None:
            return self._import_write_on_host(node, record, arguments, written)
        places = {name: arguments[name] for name in written if arguments[name] is not None}
        functional_arguments = {name: arguments[name] for name in form.arguments}
        self._calling(form.overload, self._fake_result(form.overload, functional_arguments))
        differentiable = [any(t is not None and t.requires_grad for t in record.results)] * len(self.results)
        returned_sets = [r.alias_info.before_set for r in target._schema.returns if r.alias_info is not None]
        for argument in target._schema.arguments:
            if argument.name in form.updates and argument.alias_info.before_set not in returned_sets:
                differentiable[form.updates[argument.name]] = False  # running statistics, not results
        values = self._call_or_host(form.overload, functional_arguments, differentiable)
        stored: dict[str, ir.Value] = {}
        for name, index in form.updates.items():
            if name in places:
                stored[name] = values[index]
        for name, written_node in places.items():
            self._store(name, written_node, stored[name], record)
        own = [v for i, v in enumerate(values) if i not in set(form.updates.values())]
        return self._results_of_write(target, record, arguments, own)

    def _import_write_on_host(
        self, node: fx.Node, record: NodeRecord, arguments: dict[str, Any], written: Sequence[str]
    ) -> Any:
        """An op that writes arguments and has no functional form: PyTorch runs it, on copies, which are then stored."""
        target: Any = node.target
        reason = "it writes its arguments and has no functional form"
        places = {name: arguments[name] for name in written if arguments[name] is not None}
        touched = [*record.results, *(t for p in places.values() for t in p.meta[NODE_RECORD].results)]
        if self.needs_autograd and any(t is not None and t.requires_grad for t in touched):
            raise TypeError(f"{reason}; what it writes has a gradient")
        self._calling(target, node.meta.get("val"))
        values = import_host_call(
            self, target, arguments, reason, [False] * len(self.results), list(places.values())
        )
        returned, new = values[: len(self.results)], values[len(self.results) :]
        for (name, place), value in zip(places.items(), new, strict=True):
            self._store(name, place, value, record)
        writes = [r.alias_info is not None and r.alias_info.is_write for r in target._schema.returns]
        own = [v for v, w in zip(returned, writes, strict=True) if not w]
        return self._results_of_write(target, record, arguments, own)

    def _results_of_write(
        self, target: Any, record: NodeRecord, arguments: dict[str, Any], own: Sequence[ir.Value]
    ) -> Any:
        """What a writing op returns: the arguments that its schema says, and values of its `own`."""
        results: list[Any] = []
        fresh = iter(own)
        schema = target._schema
        if not schema.returns:
            return None
        for returned, tensor in zip(schema.returns, record.results, strict=True):
            alias = returned.alias_info
            if alias is not None and alias.is_write:
                name = next(
                    a.name
                    for a in schema.arguments
                    if a.alias_info is not None and a.alias_info.before_set == alias.before_set
                )
                results.append(self._entities[arguments[name]])
            else:
                results.append(self._entity(record, next(fresh), tensor))
        return results if len(schema.returns) != 1 else results[0]

    def _store(self, name: str, written: fx.Node, value: ir.Value, record: NodeRecord) -> None:
        """Store the new value of the written argument `name`."""
        place = self._entities[written]
        if not isinstance(place, Reference):
            raise TypeError(f"argument {name!r} is written, but its storage is not known to be")
        gets_history = any(t is not None and t.requires_grad for t in record.results)
        if place.detached and record.grad_enabled and gets_history:
            raise TypeError(
                "a detached tensor takes over a history, apart from the one of the tensor it shares memory with"
            )
        current = place.ref.type.tensor
        new = b.cast(value, current.element_type)
        if shape_of(new) != shape_of(current):
            new = b.expand(new, self.sizes(written.meta["val"].shape))
        hidden = self.needs_autograd and (place.detached or not record.grad_enabled)
        whole = getattr(place.ref.owner, "name", "") != "flambeau.ref_view"
        target: Any = self.node.target
        overwrites = target in _OVERWRITES or torch.Tag.nondeterministic_seeded in getattr(target, "tags", ())
        if self.needs_autograd and gets_history and not hidden and whole and overwrites:
            # What is overwritten keeps its place in the history: its gradient is zeros, which is not none.
            old = b.ref_load(place.ref)
            new = b.where(b.full_like(old, True, ir.IntegerType.get_signless(1)), new, old)
        b.ref_store(place.ref, new, hidden)

    # --- What rules ask for ------------------------------------------------------------------------------------------

    def is_tensor(self, argument: Any) -> bool:
        return isinstance(self._example(argument), torch.Tensor | ir.Value)

    def dtype(self, argument: Any) -> ir.Type:
        return element_type(str(argument).removeprefix("torch."))

    def known(self, argument: Any) -> Any:
        number = self._example(argument)
        if isinstance(number, torch.SymFloat):
            return float(number)  # an attribute must be known: this makes TorchDynamo guard on the value
        return symbolic.static(number) if isinstance(number, torch.SymInt | torch.SymBool) else number

    def fixed(self, argument: Any) -> Any:
        """A Python number for a node that computes a float; TorchDynamo then guards on it."""
        number = argument.meta.get("val") if isinstance(argument, fx.Node) else argument
        return float(number) if isinstance(number, torch.SymFloat) else argument

    def broadcast_sizes(self, arguments: Sequence[Any]) -> list[Size]:
        shapes = [self._example(a).shape for a in arguments]
        return self.sizes(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]

    def _fake_result(self, overload: Any, arguments: dict[str, Any]) -> Any:
        """What the functional form of a write returns: its dtype and shape may differ from the written tensor's."""
        fakes = fx.node.map_arg(arguments, lambda n: n.meta["val"])
        positional = [fakes[a.name] for a in overload._schema.arguments if not a.kwarg_only]
        keyword = {a.name: fakes[a.name] for a in overload._schema.arguments if a.kwarg_only}
        mode = next(
            n.meta["val"].fake_mode
            for n in self.node.all_input_nodes
            if isinstance(n.meta.get("val"), FakeTensor)
        )
        with mode, enable_python_dispatcher(), torch.no_grad():
            return overload(*positional, **keyword)

    def compute_element(self, cls: Any, operands: Mapping[str, Any]) -> ir.Type:
        kinds = [self._example(v) for name, v in operands.items() if name not in cls.conditions]
        if any(isinstance(k, ir.Value) for k in kinds):
            raise TypeError("an elementwise rule needs nodes or numbers")
        return self.dtype(_result_dtype(cls, kinds, self.results[0].dtype))

    def _example(self, value: Any) -> Any:
        return value.meta["val"] if isinstance(value, fx.Node) else value

    def is_scalar(self, argument: Any) -> bool:
        example = self._example(argument)
        return not isinstance(example, torch.Tensor) or example.dim() == 0

    def elementwise_operand(self, argument: Any, element: ir.Type | None, sizes: Sequence[Size]) -> ir.Value:
        value = given = argument
        if isinstance(value, fx.Node) and isinstance(value.meta.get("val"), torch.SymInt | int):
            value = value.meta["val"]
        if (
            isinstance(value, fx.Node)
            and isinstance(value.meta["val"], torch.SymFloat)
            and self._entities[value] is None
        ):
            value = float(value.meta["val"])
        if isinstance(value, complex | torch.SymFloat | torch.SymBool):
            raise TypeError(f"scalar {value!r} is not supported")
        if isinstance(value, bool | int | float | torch.SymInt):
            assert element is not None
            value = (
                b.tensor_from_index(self.size(value), element)
                if isinstance(value, torch.SymInt)
                else b.scalar(value, element)
            )
        else:
            value = self.value(value)
        if element is not None:
            value = b.cast(value, element)
        shape = (
            self._example(given).shape
            if isinstance(given, fx.Node) and isinstance(self._example(given), torch.Tensor)
            else None
        )
        equal = same_static_sizes(value, sizes) or (
            shape is not None and _same_expressions(shape, self.results[0].shape)
        )
        if equal:
            return value
        return b.expand(value, list(sizes))

    # --- Outputs -----------------------------------------------------------------------------------------------------

    def root(self, storage: int) -> tuple[Any, TensorRecord]:
        """The entity that made a storage, to be read with `value`, and its record."""
        return self._roots[storage]


def _result_dtype(cls: Any, examples: Sequence[Any], result: torch.dtype) -> torch.dtype:
    """The dtype that an elementwise op computes in: its result's, or for predicates that of its operands together."""
    if result != torch.bool or len(examples) == 0:
        return result
    dtype: torch.dtype = torch.result_type(examples[0], examples[-1])
    for other in examples[1:-1]:
        dtype = torch.promote_types(dtype, torch.result_type(other, other))
    return dtype


def _refined(value: ir.Value, expected: ir.RankedTensorType) -> ir.Value:
    """A tensor with the static sizes expected of it: of what is expanded a 1 must be seen (`x[n : n + 1]`)."""
    sizes = zip(shape_of(value), shape_of(expected), strict=True)
    if all(size == known or known == DYNAMIC for size, known in sizes):
        return value
    return b.view(value, [b.size(value, d) if k == DYNAMIC else k for d, k in enumerate(shape_of(expected))])


def _same_expressions(a: Sequence[int | torch.SymInt], c: Sequence[int | torch.SymInt]) -> bool:
    """Whether two shapes are equal for all values of their symbols."""
    return len(a) == len(c) and all(
        symbolic.expression(x) == symbolic.expression(y) for x, y in zip(a, c, strict=True)
    )


def _erase_unused(loaded: ir.Value, values: Sequence[ir.Value]) -> None:
    """Erase the scratch chain between a load and the values made from it."""
    for value in values:
        while value != loaded and not list(value.uses):
            op = value.owner
            value = op.operands[0]
            if any(list(r.uses) for r in op.results):
                break
            op.erase()
    if not list(loaded.uses):
        loaded.owner.erase()


def bind(node: fx.Node) -> dict[str, Any]:
    """The arguments of an ATen call by schema name, defaults filled in."""
    schema = node.target._schema  # type: ignore[union-attr]
    bound: dict[str, Any] = {}
    for position, formal in enumerate(schema.arguments):
        if position < len(node.args) and not formal.kwarg_only:
            bound[formal.name] = node.args[position]
        elif formal.name in node.kwargs:
            bound[formal.name] = node.kwargs[formal.name]
        else:
            bound[formal.name] = formal.default_value if formal.has_default_value() else None
    return bound


def dense(tensor: torch.Tensor, type_: ir.RankedTensorType) -> ir.Attribute:
    """A dense elements attribute of a contiguous CPU tensor."""
    element = type_.element_type
    if tensor.numel() and bool((tensor == tensor.flatten()[0]).all()):
        return ir.DenseElementsAttr.get_splat(type_, b.element_attribute(tensor.flatten()[0].item(), element))
    if tensor.dtype in (torch.bfloat16, torch.float16):
        raw = tensor.view(torch.int16).numpy()
    elif tensor.dtype == torch.bool:
        raw = tensor.view(
            torch.uint8
        ).numpy()  # a byte each: the bindings take packed bits for one splat value
    else:
        raw = tensor.numpy()
    return ir.DenseElementsAttr.get(numpy.ascontiguousarray(raw), type=element, shape=list(tensor.shape))
