# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass functionalize: references, views, writes and random state -> values.

One walk in program order keeps the current value of every place. Written arguments become extra results; random ops get
an explicit seed argument and their own offset.
"""

from dataclasses import dataclass, field
from typing import Any

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import RefType
from flambeau.dialects.opdef import OPS
from flambeau.pipelines import functions as fn
from flambeau.pipelines.errors import UnsupportedOpError
from flambeau.pipelines.registry import register_pass


@register_pass
@dataclass(frozen=True)
class Functionalize:
    """Turn references, views and writes into values, and random ops into pure ones.

    An argument of reference type becomes a tensor; if it is written, its new value is an extra result marked
    `flambeau.updates = <argument>` (and `autograd.hidden` if autograd does not see the writes).
    """

    name = "functionalize"

    def run(self, module: ir.Module) -> None:
        for function in fn.functions(module):
            functionalize(function)


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

    def __post_init__(self) -> None:
        self.cls = OPS[self.op.view_op]


class _ViewArguments:
    """What a view op's `scatter` rule reads: the op's attributes and dynamic sizes, without the op itself."""

    def __init__(self, view: _View):
        dynamic = iter(list(view.op.dynamic))
        for item in view.cls.fields:
            if not item.is_operand:
                attribute = view.op.arguments[item.name]
                setattr(self, item.name, item.read(attribute, dynamic))


def functionalize(function: Any) -> None:
    """Rewrite one `func.func`; see the module docstring."""
    block = fn.entry_block(function)
    arguments, results = fn.argument_attributes(function), fn.result_attributes(function)
    places: dict[ir.Value, _Root | _View] = {}
    roots: dict[int, _Root] = {}
    for index, argument in enumerate(block.arguments):
        if isinstance(argument.type, RefType):
            argument.set_type(argument.type.tensor)
            roots[index] = _Root(argument)
            places[argument] = roots[index]
    random = None if fn.is_private(function) else _RandomState(block, arguments)
    doomed = _walk(block, places, random)
    outputs = list(fn.terminator(block).operands)
    for index, root in roots.items():
        if root.written:
            outputs.append(root.value)
            facts: fn.Attributes = {"flambeau.updates": fn.integer(index)}
            if not root.visible:
                facts["autograd.hidden"] = ir.UnitAttr.get()
            results.append(facts)
    fn.set_return(function, outputs)
    for op in reversed(doomed):
        op.erase()
    fn.set_signature(function, arguments, results)


class _RandomState:
    """The seed argument, added at first use, and the number of the next random op."""

    def __init__(self, block: ir.Block, arguments: list[fn.Attributes]):
        self._block = block
        self._arguments = arguments
        self._seed: ir.Value | None = None
        self._drawn = 0

    def next(self) -> tuple[ir.Value, ir.Value]:
        """Seed and offset of the next random op."""
        if self._seed is None:
            self._seed = self._block.add_argument(ir.Type.parse("tensor<2xi32>"), ir.Location.unknown())
            self._arguments.append({"flambeau.role": ir.StringAttr.get("seed")})
        offset = b.scalar(self._drawn, ir.IntegerType.get_signless(32))
        self._drawn += 1
        return self._seed, offset


def _walk(
    block: ir.Block, places: dict[ir.Value, "_Root | _View"], random: _RandomState | None
) -> list[ir.Operation]:
    """Rewrite the ops of a block; those to be erased once the terminator has been."""
    doomed: list[ir.Operation] = []
    for op in fn.operations(block)[:-1]:
        stateful = getattr(OPS.get(op.name), "functional", None)
        if op.name not in _REFERENCE_OPS and stateful is None:
            continue
        doomed.append(op)
        with ir.InsertionPoint(op), op.location:
            if stateful is None:
                _remove_reference_op(op, places)
                continue
            if random is None:
                raise UnsupportedOpError(
                    op, "a random op in a function that is called has no seed to draw from"
                )
            values = stateful(op.opview, *random.next())
            for old, new in zip(
                op.results, values if isinstance(values, list | tuple) else [values], strict=True
            ):
                old.replace_all_uses_with(new)
    return doomed


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


def _load(place: _Root | _View) -> ir.Value:
    if isinstance(place, _Root):
        return place.value
    op = place.op
    return ir.Operation.create(
        op.view_op,
        results=[op.out.type.tensor],
        operands=[_load(place.parent), *op.dynamic],
        attributes={named.name: named.attr for named in op.arguments},
    ).results[0]


def _store(place: _Root | _View, value: ir.Value, *, hidden: bool) -> None:
    while isinstance(place, _View):
        value = place.cls.scatter(_ViewArguments(place), _load(place.parent), value)
        place = place.parent
    place.written = True
    place.visible = place.visible or not hidden
    place.value = b.autograd_with_value(place.value, value) if hidden else value
