# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The importer: a captured ATen graph -> one `func.func @graph` in our dialects (the `imported` stage).

Casts and broadcasts become ops, storages that the graph writes become references, everything else values. Facts that
the runtime wrapper needs are attributes of arguments and results; docs/ir.md lists them. Each op carries the user's
file and line.
"""

import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy
import torch
from torch import fx
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import RefType
from flambeau.dialects.opdef import (
    BY_ATEN,
    OPS,
    AtenCall,
    DType,
    Field,
    Index,
    Ints,
    Literal,
    Tensor,
    VerificationError,
)
from flambeau.dialects.types import (
    DYNAMIC,
    compatible,
    element_type,
    is_bool,
    is_low_precision,
    shape_of,
    tensor_type,
)
from flambeau.frontend import symbols
from flambeau.frontend.import_rules import RULES, functional_form
from flambeau.frontend.output_facts import import_outputs
from flambeau.frontend.signature import (
    NODE_RECORD,
    CapturedGraph,
    InputRecord,
    NodeRecord,
    TensorRecord,
    UnsupportedGraphError,
    user_location,
    written_arguments,
)
from flambeau.frontend.user_function import import_user_function
from flambeau.pipelines import functions as fn

Size: TypeAlias = int | ir.Value


@dataclass(frozen=True)
class Reference:
    """A tensor of the graph whose storage is written somewhere: read it with `Importer.value`.

    `detached`: reached through `detach` or `.data`, so autograd does not see writes through it.
    """

    ref: ir.Value
    detached: bool


def import_graph(captured: CapturedGraph, context: ir.Context) -> ir.Module:
    """Import a captured graph into a new module of `context`, as `@graph`.

    Raises UnsupportedGraphError, naming op, user line and reason, for what has no op here.
    """
    with context, ir.Location.unknown():
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            Importer(captured).run()
    if not module.operation.verify():
        raise AssertionError("the imported module does not verify")
    return module


class Importer:
    """One import under way.

    Rules in import_rules.py receive it: `value`, `sizes`, `result_type` and `call` are for them.
    """

    def __init__(self, captured: CapturedGraph):
        self.captured = captured
        self.node: fx.Node
        self._entities: dict[fx.Node, Any] = {}
        self._roots: dict[int, tuple[Any, TensorRecord]] = {}
        self._storages: dict[ir.Value, int] = {}
        self.copies: set[int] = set()
        """Storages that eager fills by copying another one, which are the same value here."""
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

    # --- The function ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Build `@graph` at the current insertion point."""
        inputs = self.captured.inputs
        self._refuse_overlapping_writes()
        types = [self._input_type(i) for i in inputs]
        self._module_body = ir.InsertionPoint.current.block
        function = fn.create_function("graph", types, [ir.Location.name(i.name) for i in inputs])
        block = fn.entry_block(function)
        placeholders = [n for n in self.captured.graph_module.graph.nodes if n.op == "placeholder"]
        for node, record, argument in zip(placeholders, inputs, block.arguments, strict=True):
            self._entities[node] = (
                Reference(argument, detached=False) if isinstance(argument.type, RefType) else argument
            )
            if record.tensor is not None:
                self._storages[argument] = record.tensor.storage
        with ir.InsertionPoint(block):
            self.symbols = symbols.Symbols([i.value for i in inputs], list(block.arguments))
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
        output: fx.Node = node
        return output

    def _refuse_overlapping_writes(self) -> None:
        seen: dict[int, InputRecord] = {}
        for record in self.captured.inputs:
            if record.tensor is None:
                continue
            other = seen.setdefault(record.tensor.storage, record)
            if other is not record and record.tensor.storage in self._written:
                raise UnsupportedGraphError(
                    "overlapping inputs",
                    None,
                    f"{other.source} and {record.source} share memory that the graph writes",
                )

    def _input_type(self, record: InputRecord) -> ir.Type:
        if record.tensor is None:
            return ir.IndexType.get()
        type_ = self.tensor_type(record.tensor.shape, record.tensor.dtype)
        return RefType.of(type_) if record.tensor.storage in self._written else type_

    def _input_facts(self, record: InputRecord) -> fn.Attributes:
        role = "symbol" if record.kind == "symint" else record.kind
        facts: fn.Attributes = {
            "flambeau.role": ir.StringAttr.get(role),
            "flambeau.name": ir.StringAttr.get(record.source),
        }
        if record.tensor is None:
            facts["flambeau.dims"] = symbols.expression_array([record.value])
            return facts
        if record.dynamic_dims:
            facts["flambeau.dims"] = symbols.expression_array(record.tensor.shape)
        if self.needs_autograd and record.tensor.requires_grad:
            facts["autograd.requires_grad"] = ir.UnitAttr.get()
        return facts

    @contextmanager
    def _at(self, node: fx.Node) -> Iterator[None]:
        """Ops made here carry the node's user line; errors name it."""
        self.node = node
        where = user_location(node)
        location = ir.Location.file(where[0], where[1], 0) if where else ir.Location.unknown()
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
            [s if (s := symbols.static(d)) is not None else DYNAMIC for d in shape], element_type(name)
        )

    def result_type(self) -> ir.RankedTensorType:
        """The type of the (first) result of the call being imported."""
        return self.tensor_type(self.results[0].shape, self.results[0].dtype)

    def result_sizes(self, index: int = 0) -> list[Size]:
        """The sizes of result `index` of the call being imported: ints and index values."""
        return self.sizes(self.results[index].shape)

    def size(self, value: int | torch.SymInt | fx.Node) -> Size:
        """An int or index value of a Python number, SymInt, or node that computes one."""
        if isinstance(value, fx.Node):
            value = value.meta["val"]
        return self.symbols.value(value)  # type: ignore[arg-type]

    def sizes(self, values: Sequence[int | torch.SymInt | fx.Node]) -> list[Size]:
        return [self.size(v) for v in values]

    def entity(self, node: fx.Node) -> Any:
        """What a node stands for: a value, a Reference, or a list of these."""
        return self._entities[node]

    @contextmanager
    def inner_function(
        self, name: str, placeholders: Sequence[fx.Node], written: Iterable[int]
    ) -> Iterator[Any]:
        """Import into a new private function: `placeholders` are its arguments, `written` the storages written there.

        Nothing in it is differentiated. The function comes out without a return and without its final type.
        """
        outside = self.symbols, self.needs_autograd
        fakes = [p.meta["val"] for p in placeholders]
        types = [
            self.tensor_type(f.shape, f.dtype) if isinstance(f, torch.Tensor) else ir.IndexType.get()
            for f in fakes
        ]
        with ir.InsertionPoint(self._module_body):
            function = fn.create_function(
                name, types, [ir.Location.unknown()] * len(types), visibility="private"
            )
        block = fn.entry_block(function)
        for placeholder, argument in zip(placeholders, block.arguments, strict=True):
            self._entities[placeholder] = argument
        self._written.update(written)
        self.needs_autograd = False
        with ir.InsertionPoint(block):
            self.symbols = symbols.Symbols(fakes, list(block.arguments))
            yield function
        self.symbols, self.needs_autograd = outside

    def value(self, argument: Any) -> ir.Value:
        """The tensor value of a node, read now if its storage is written."""
        entity = self._entities[argument] if isinstance(argument, fx.Node) else argument
        if isinstance(entity, Reference):
            loaded = b.ref_load(entity.ref)
            if isinstance(argument, fx.Node):
                self._storages[loaded] = argument.meta[NODE_RECORD].results[0].storage
            return b.autograd_detach(loaded) if entity.detached and self.needs_autograd else loaded
        if not isinstance(entity, ir.Value):
            raise TypeError(f"{argument} is no tensor")
        return entity

    def _constant(self, node: fx.Node) -> Any:
        target: Any = node.graph.owning_module
        for part in str(node.target).split("."):
            target = getattr(target, part)
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
            return self._import_user_function(node)
        if not isinstance(node.target, OpOverload):
            raise UnsupportedGraphError(str(node.target), user_location(node), "it has no op in the dialect")
        record: NodeRecord = node.meta[NODE_RECORD]
        arguments = bind(node)
        written = written_arguments(node.target)
        if written:
            return self._import_write(node, record, arguments, written)
        if self._is_view_of_written(node, record):
            return self._import_reference_view(node, record, arguments)
        self._calling(node.target, node.meta["val"])
        return self._finish(record, self.call(str(node.target), arguments))

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
        self.results: list[Any] = list(result) if isinstance(result, list | tuple) else [result]

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
        if self._storages.setdefault(value, tensor.storage) != tensor.storage:
            self.copies.add(tensor.storage)
        if self._loses_history(record, tensor):
            value = b.autograd_detach(value)
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

    def _import_reference_view(self, node: fx.Node, record: NodeRecord, arguments: dict[str, Any]) -> Any:
        """A view of a written storage: import it as a view of the loaded value, then turn that chain into ref_views."""
        base = self._entities[node.args[0]]  # type: ignore[index]
        if not isinstance(base, Reference):
            raise TypeError("a view of a written storage whose first argument is not the viewed tensor")
        detached = base.detached or (
            node.target is torch.ops.aten.detach.default and not self._is_new(node.args[0])
        )
        loaded = b.ref_load(base.ref)
        self._calling(node.target, node.meta["val"])
        values = self.call(str(node.target), {**arguments, next(iter(arguments)): loaded})
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
        form = functional_form(target)
        if form is None:
            raise TypeError("it writes its arguments and has no functional form")
        places = {name: arguments[name] for name in written if arguments[name] is not None}
        functional_arguments = {name: arguments[name] for name in form.arguments}
        self._calling(form.overload, self._fake_result(form.overload, functional_arguments))
        values = self.call(form.name, functional_arguments)
        stored: dict[str, ir.Value] = {}
        for name, index in form.updates.items():
            if name in places:
                stored[name] = values[index]
        for name, written_node in places.items():
            place = self._entities[written_node]
            if not isinstance(place, Reference):
                raise TypeError(f"argument {name!r} is written, but its storage is not known to be")
            gets_history = any(t is not None and t.requires_grad for t in record.results)
            if place.detached and record.grad_enabled and gets_history:
                raise TypeError(
                    "a detached tensor takes over a history, apart from the one of the tensor it shares memory with"
                )
            current = place.ref.type.tensor
            new = b.cast(stored[name], current.element_type)
            if shape_of(new) != shape_of(current):
                new = b.expand(new, self.sizes(written_node.meta["val"].shape))
            hidden = self.needs_autograd and (place.detached or not record.grad_enabled)
            b.ref_store(place.ref, new, hidden)
        results: list[Any] = []
        own = iter([v for i, v in enumerate(values) if i not in set(form.updates.values())])
        schema = target._schema
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
                results.append(self._entity(record, next(own), tensor))
        return results if len(schema.returns) != 1 else results[0]

    # --- Calls of ATen overloads -------------------------------------------------------------------------------------

    def call(self, name: str, arguments: dict[str, Any]) -> list[ir.Value]:
        """Import a call of the functional overload `name` (`aten.add.Tensor`).

        Arguments by schema name, nodes or values.
        """
        rule = RULES.get(name)
        if rule is not None:
            values = rule(self, **arguments)
            return values if isinstance(values, list) else [values]
        for cls, pattern in BY_ATEN.get(name.removesuffix(".default"), ()):
            bound = self._match(cls, pattern, list(arguments.values()))
            if bound is not None:
                values = self._build(cls, bound)
                return values if isinstance(values, list) else [values]
        raise TypeError("it has no op in the dialect (docs/ops.md lists the ops)")

    def _match(self, cls: Any, pattern: AtenCall, values: list[Any]) -> dict[str, Any] | None:
        """The op's fields from a call's values, or None if a fixed argument differs."""
        bound: dict[str, Any] = {}
        assert pattern.arguments is not None
        for position, expected in enumerate(pattern.arguments):
            found = values[position] if position < len(values) else None
            if isinstance(expected, str):
                bound[expected] = found
            elif _known_number(found) != (expected.value if isinstance(expected, Literal) else expected):
                return None
        # What the pattern leaves out must not matter: only absent arguments may be left out.
        return bound if all(v is None for v in values[len(pattern.arguments) :]) else None

    def _build(self, cls: Any, bound: dict[str, Any]) -> Any:
        if cls.elementwise:
            return self._build_elementwise(cls, bound)
        arguments = {f.name: self._argument(f, bound[f.name]) for f in cls.fields if f.name in bound}
        return b.of_class(cls)(**self._with_positive_dims(cls, arguments))

    def _with_positive_dims(self, cls: Any, arguments: dict[str, Any]) -> dict[str, Any]:
        """Dims that count from the end, as ATen takes them, counted from the start."""
        tensors = [
            arguments[f.name]
            for f in cls.fields
            if f.kind is Tensor and not f.variadic and f.name in arguments
        ]
        rank = max(len(shape_of(tensors[0])), 1) if tensors else 1
        for name in ("dim", "dims", "dim0", "dim1", "dim2"):
            given = arguments.get(name)
            if isinstance(given, int):
                arguments[name] = given % rank if -rank <= given < 0 else given
            elif isinstance(given, list | tuple):
                arguments[name] = [d % rank if -rank <= d < 0 else d for d in given]
        return arguments

    def _argument(self, item: Field, value: Any) -> Any:
        if item.kind is Ints and (isinstance(value, int) or (value is None and not item.optional)):
            return [] if value is None else [value]
        if value is None:
            return None
        if item.kind is Tensor and item.variadic:
            return [self.value(v) for v in value]
        if item.kind is Tensor:
            if isinstance(value, bool | int | float):
                return b.scalar(value, self.result_type().element_type)
            return self.value(value)
        if item.kind is Index:
            return b.as_index(self.size(value))
        if item.is_size:
            return self.sizes(value) if isinstance(value, list | tuple) else self.size(value)
        if item.kind is DType:
            return element_type(str(value).removeprefix("torch."))
        if isinstance(value, fx.Node | torch.SymInt | torch.SymFloat | torch.SymBool):
            number = value.meta["val"] if isinstance(value, fx.Node) else value
            if isinstance(number, torch.SymFloat):
                return float(number)  # an attribute must be known: this makes TorchDynamo guard on the value
            static = symbols.static(number)
            if static is None:
                raise TypeError(f"argument {item.name!r} depends on a dynamic size")
            return static
        if isinstance(value, list | tuple):
            return [
                self._argument(Field(item.name, item.kind), v) if isinstance(v, fx.Node) else v for v in value
            ]
        return value

    def _build_elementwise(self, cls: Any, bound: dict[str, Any]) -> Any:
        """Cast operands to the type that eager computes in, and expand them to the result's shape."""
        operands = {
            f.name: bound[f.name] for f in cls.fields if f.is_operand and bound.get(f.name) is not None
        }
        rest = {
            f.name: self._argument(f, bound[f.name])
            for f in cls.fields
            if not f.is_operand and f.name in bound
        }
        result = self.results[0]
        compute = self._compute_element(cls, operands, result)
        sizes = self.sizes(result.shape)
        wide = (
            is_low_precision(compute)
            and cls.OPERATION_NAME in _WIDE_WITH_SCALARS
            and any(self._is_scalar(v) for v in operands.values())
        )
        if wide:
            compute, narrow = ir.F32Type.get(), compute
        values = {
            name: self._operand(v, compute, sizes, keep=name in cls.conditions)
            for name, v in operands.items()
        }
        out = b.of_class(cls)(**values, **rest)
        return b.cast(out, narrow) if wide else out

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
        with mode, torch.no_grad():
            return overload(*positional, **keyword)

    def _compute_element(self, cls: Any, operands: dict[str, Any], result: torch.Tensor) -> ir.Type:
        kinds = [self._example(v) for name, v in operands.items() if name not in cls.conditions]
        name = str(_result_dtype(cls, kinds, result.dtype)).removeprefix("torch.")
        return element_type(name)

    def _example(self, value: Any) -> Any:
        if isinstance(value, fx.Node):
            return value.meta["val"]
        if isinstance(value, ir.Value):
            raise TypeError("an elementwise rule needs nodes or numbers")
        return value

    def _is_scalar(self, value: Any) -> bool:
        example = self._example(value)
        return not isinstance(example, torch.Tensor) or example.dim() == 0

    def _operand(self, value: Any, element: ir.Type, sizes: Sequence[Size], *, keep: bool) -> ir.Value:
        given = value
        if isinstance(value, fx.Node) and isinstance(value.meta.get("val"), torch.SymInt | int):
            value = value.meta["val"]
        if (
            isinstance(value, fx.Node)
            and isinstance(value.meta["val"], torch.SymFloat)
            and self._entities[value] is None
        ):
            value = float(value.meta["val"])
        if isinstance(value, torch.SymInt):
            value = b.tensor_from_index(self.size(value), element)
        elif isinstance(value, bool | int | float):
            value = b.scalar(value, element)
        elif isinstance(value, complex | torch.SymFloat | torch.SymBool):
            raise TypeError(f"scalar {value!r} is not supported")
        else:
            value = self.value(value)
        value = value if keep else b.cast(value, element)
        shape = (
            self._example(given).shape
            if isinstance(given, fx.Node) and isinstance(self._example(given), torch.Tensor)
            else None
        )
        equal = _same_sizes(value, sizes) or (
            shape is not None and _same_expressions(shape, self.results[0].shape)
        )
        return value if equal else b.expand(value, list(sizes))

    # --- Outputs -----------------------------------------------------------------------------------------------------

    def root(self, storage: int) -> tuple[Any, TensorRecord]:
        """The entity that made a storage, to be read with `value`, and its record."""
        return self._roots[storage]


# Binary ops that eager computes in f32 when a f16 or bf16 tensor meets a number, rounding once at the end. (For add and
# sub it rounds the number first.)
_WIDE_WITH_SCALARS = {"flambeau.mul", "flambeau.div"}


def _result_dtype(cls: Any, examples: Sequence[Any], result: torch.dtype) -> torch.dtype:
    """The dtype that an elementwise op computes in: its result's, or for predicates that of its operands together."""
    if result != torch.bool or len(examples) == 0:
        return result
    dtype: torch.dtype = torch.result_type(examples[0], examples[-1])
    for other in examples[1:-1]:
        dtype = torch.promote_types(dtype, torch.result_type(other, other))
    return dtype


def _known_number(value: Any) -> Any:
    """A Python number for a node that computes a float; TorchDynamo then guards on it."""
    number = value.meta.get("val") if isinstance(value, fx.Node) else value
    return float(number) if isinstance(number, torch.SymFloat) else value


def _same_expressions(a: Sequence[int | torch.SymInt], c: Sequence[int | torch.SymInt]) -> bool:
    """Whether two shapes are equal for all values of their symbols."""
    return len(a) == len(c) and all(
        symbols.expression(x) == symbols.expression(y) for x, y in zip(a, c, strict=True)
    )


def _same_sizes(value: ir.Value, sizes: Sequence[Size]) -> bool:
    return DYNAMIC not in shape_of(value) and shape_of(value) == [
        s if isinstance(s, int) else DYNAMIC for s in sizes
    ]


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
    if is_bool(element):
        bits = numpy.packbits(tensor.numpy().reshape(-1), bitorder="little")
        return ir.DenseElementsAttr.get(bits, type=element, shape=list(tensor.shape))
    raw = (
        tensor.view(torch.int16).numpy()
        if tensor.dtype in (torch.bfloat16, torch.float16)
        else tensor.numpy()
    )
    return ir.DenseElementsAttr.get(numpy.ascontiguousarray(raw), type=element, shape=list(tensor.shape))
