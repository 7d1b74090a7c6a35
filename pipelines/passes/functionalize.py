# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass functionalize: references, views, writes and random state -> values.

One walk in program order keeps the current value of every place. Written arguments become extra results; random ops get
an explicit seed argument and their own offset. A function that is called gets both from its caller.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flambeau.dialects import build as b
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import called_functions, choice, custom, host, names_called_by
from flambeau.dialects.dialect import RefType
from flambeau.dialects.errors import UnsupportedOpError
from flambeau.dialects.facts import ArgumentFacts, ResultFacts, Role
from flambeau.dialects.opdef import OPS
from flambeau.pipelines.registry import register_pass


@register_pass
@dataclass(frozen=True)
class Functionalize:
    """Turn references, views and writes into values, and random ops into pure ones.

    An argument of reference type becomes a tensor; if it is written, its new value is an extra result marked
    `flambeau.updates = <argument>` (and `autograd.hidden` if autograd does not see the writes). In functions that run
    on the host, random ops stay as they are: PyTorch draws.
    """

    name = "functionalize"

    def run(self, module: ir.Module) -> None:
        functions = fn.symbol_table(module)
        drawn: dict[str, int] = {}
        for function in _callees_first(functions):
            if choice.is_choice(function):
                drawn[function.name.value] = _pass_random_state(function, functions, drawn)
            elif len(function.regions[0].blocks):
                drawn[function.name.value] = functionalize(function, drawn)


def _callees_first(functions: Mapping[str, Any]) -> Iterator[Any]:
    """All functions of a module, each after those that it calls or chooses between."""
    seen: set[str] = set()

    def visit(name: str) -> Iterator[Any]:
        if name in seen or name not in functions:
            return
        seen.add(name)
        function = functions[name]
        for other in called_functions(function):
            yield from visit(other)
        yield function

    for name in functions:
        yield from visit(name)


@dataclass
class _Root:
    """A storage: an argument of reference type, or a `ref_new`."""

    value: ir.Value
    written: bool = False
    visible: bool = False  # some write is seen by autograd


@dataclass
class _View:
    """A view of another place."""

    parent: "_Root | _View"
    op: Any  # the ref_view
    cls: Any = field(init=False)
    repeats: bool = field(init=False)  # it may hold an element of its parent more than once

    def __post_init__(self) -> None:
        self.cls = OPS[self.op.view_op]
        self.repeats = self.cls.may_repeat is not None and self.cls.may_repeat(_ViewArguments(self))


class _ViewArguments:
    """What a view op's `scatter` rule reads: the op's attributes and dynamic sizes, without the op itself."""

    def __init__(self, view: _View):
        dynamic = iter(list(view.op.dynamic))
        for item in view.cls.fields:
            if not item.is_operand:
                attribute = view.op.arguments[item.name]
                setattr(self, item.name, item.read(attribute, dynamic))


def functionalize(function: Any, drawn: Mapping[str, int]) -> int:
    """Rewrite one `func.func`; see the module docstring. How many offsets it draws with.

    `drawn`: the same of the functions that it calls.
    """
    block = fn.entry_block(function)
    arguments, results = fn.argument_facts(function), fn.result_facts(function)
    places: dict[ir.Value, _Root | _View] = {}
    roots: dict[int, _Root] = {}
    for index, argument in enumerate(block.arguments):
        if isinstance(argument.type, RefType):
            argument.set_type(argument.type.tensor)
            roots[index] = _Root(argument)
            places[argument] = roots[index]
    on_host = host.is_host_function(function)
    random = None if on_host else _RandomState(block, arguments, called=fn.is_private(function))
    doomed = _walk(block, places, random, drawn)
    outputs = list(fn.terminator(block).operands)
    for index, root in roots.items():
        if root.written:
            outputs.append(root.value)
            results.append(ResultFacts(updates=index, hidden=not root.visible))
    fn.set_return(function, outputs)
    for op in reversed(doomed):
        op.erase()
    fn.set_signature(function, arguments, results)
    return random.drawn if random is not None else 0


_SEED, _OFFSET = "tensor<2xi32>", "tensor<i32>"


class _RandomState:
    """The seed argument, added at first use, and the offset of the next random op.

    A function that is `called` has a second argument: the offset of its first one.
    """

    def __init__(self, block: ir.Block, arguments: list[ArgumentFacts], *, called: bool):
        self._block = block
        self._arguments = arguments
        self._called = called
        self._seed: ir.Value | None = None
        self._first: ir.Value | None = None
        self.drawn = 0
        """How many offsets are taken."""

    def take(self, count: int) -> tuple[ir.Value, ir.Value]:
        """The seed, and the first of `count` offsets."""
        if self._seed is None:
            self._seed = self._block.add_argument(ir.Type.parse(_SEED), ir.Location.unknown())
            self._arguments.append(ArgumentFacts(role=None if self._called else Role.SEED))
            if self._called:
                self._first = self._block.add_argument(ir.Type.parse(_OFFSET), ir.Location.unknown())
                self._arguments.append(ArgumentFacts())
        offset = b.scalar(self.drawn, ir.IntegerType.get_signless(32))
        self.drawn += count
        return self._seed, offset if self._first is None else b.add(self._first, offset)


def _pass_random_state(call: Any, functions: Mapping[str, Any], drawn: Mapping[str, int]) -> int:
    """Let a choice pass seed and offset to its branches, if one of them draws; how many offsets that takes."""
    names = [name for name in choice.branch_names(call) if name in functions]
    count = max((drawn[name] for name in names), default=0)
    if not count:
        return 0
    types = [ir.Type.parse(_SEED), ir.Type.parse(_OFFSET)]
    for branch in (functions[name] for name in names):
        if len(branch.type.inputs) == len(call.type.inputs) - 1:  # it draws nothing itself
            arguments, results = fn.argument_facts(branch), fn.result_facts(branch)
            for type_ in types:
                fn.entry_block(branch).add_argument(type_, ir.Location.unknown())
                arguments.append(ArgumentFacts())
            fn.set_signature(branch, arguments, results)
    type_ = ir.FunctionType.get([*call.type.inputs, *types], call.type.results)
    call.operation.attributes["function_type"] = ir.TypeAttr.get(type_)
    return count


def _walk(
    block: ir.Block,
    places: dict[ir.Value, "_Root | _View"],
    random: _RandomState | None,
    drawn: Mapping[str, int],
) -> list[ir.Operation]:
    """Rewrite the ops of a block; those to be erased once the terminator has been."""
    doomed: list[ir.Operation] = []
    for op in fn.operations(block)[:-1]:
        stateful = getattr(OPS.get(op.name), "functional", None)
        with ir.InsertionPoint(op), op.location:
            if op.name in _REFERENCE_OPS:
                _remove_reference_op(op, places)
            elif random is None:
                continue
            elif stateful is not None:
                values = stateful(op.opview, *random.take(1))
                _replace(op, values if isinstance(values, list | tuple) else [values])
            elif any(drawn.get(name) for name in names_called_by(op)):
                _replace(op, _call_with_random_state(op, random, drawn).results)
            else:
                continue
        doomed.append(op)
    return doomed


def _replace(op: ir.Operation, values: Sequence[ir.Value]) -> None:
    for old, new in zip(op.results, values, strict=True):
        old.replace_all_uses_with(new)


def _call_with_random_state(op: ir.Operation, random: _RandomState, drawn: Mapping[str, int]) -> ir.Operation:
    """The same call with seed and offset as further operands."""
    if drawn.get(custom.backward_name(op) or ""):
        raise UnsupportedOpError(op, "the backward of a user's function draws random numbers")
    return ir.Operation.create(
        "func.call",
        results=[r.type for r in op.results],
        operands=[*op.operands, *random.take(drawn[str(fn.callee_name(op))])],
        attributes={name: op.attributes[name] for name in op.attributes},
    )


_REFERENCE_OPS = {"flambeau.ref_new", "flambeau.ref_view", "flambeau.ref_load", "flambeau.ref_store"}


def _remove_reference_op(op: ir.Operation, places: dict[ir.Value, _Root | _View]) -> None:
    view = op.opview
    if op.name == "flambeau.ref_new":
        places[op.results[0]] = _Root(view.value)
        return
    place = places.get(view.ref)
    if place is None:
        raise UnsupportedOpError(
            op, "its reference comes from no argument, ref_new or ref_view of this function"
        )
    if op.name == "flambeau.ref_view":
        places[op.results[0]] = _View(place, view)
    elif op.name == "flambeau.ref_load":
        op.results[0].replace_all_uses_with(_load(place))
    else:
        _store(place, view.value, hidden=view.hidden)


def _root(place: _Root | _View) -> _Root:
    while isinstance(place, _View):
        place = place.parent
    return place


def _load(place: _Root | _View) -> ir.Value:
    return _part(place, _root(place).value)


def _part(place: _Root | _View, whole: ir.Value) -> ir.Value:
    """What lies at a place in a tensor of the shape of its storage."""
    if isinstance(place, _Root):
        return whole
    op = place.op
    type_ = ir.RankedTensorType.get(op.out.type.tensor.shape, whole.type.element_type)
    return ir.Operation.create(
        op.view_op,
        results=[type_],
        operands=[_part(place.parent, whole), *op.dynamic],
        attributes={named.name: named.attr for named in op.arguments},
    ).results[0]


def _store(place: _Root | _View, value: ir.Value, *, hidden: bool) -> None:
    root = _root(place)
    value = _written_by_position(place, value) if _is_part_of_repeats(place) else _written(place, value)
    root.written = True
    root.visible = root.visible or not hidden
    root.value = b.autograd_with_value(root.value, value) if hidden else value


def _written(place: _Root | _View, value: ir.Value) -> ir.Value:
    """The storage's new value after a write to a place, view by view."""
    while isinstance(place, _View):
        value = place.cls.scatter(_ViewArguments(place), _load(place.parent), value)
        place = place.parent
    return value


def _is_part_of_repeats(place: _Root | _View) -> bool:
    """Whether a view of a place repeats elements, of which a place holds some: `x.expand(2, 3)[1]`."""
    while isinstance(place, _View):
        place = place.parent
        if isinstance(place, _View) and place.repeats:
            return True
    return False


def _written_by_position(place: _Root | _View, value: ir.Value) -> ir.Value:
    """The same by the position in the storage that each element of the place has.

    The place itself holds no element twice: eager forbids to write such a one.
    """
    whole = _root(place).value
    sizes = b.sizes(whole)
    count = b.multiply_sizes(sizes)
    positions = b.view(b.iota(count, ir.IntegerType.get_signless(64)), sizes)
    written = b.index_put(b.view(whole, [count]), [_part(place, positions)], value, [0], False)
    return b.view(written, sizes)
