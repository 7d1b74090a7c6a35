# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Functions that run on the host, by PyTorch: how ops outside the dialect, and their derivatives, stand in the IR.

A private `func.func` without a body is one call of PyTorch. Its attributes say which:

    flambeau.target = "ns.op.overload"     the op that it calls
    flambeau.arguments = [...]             the op's arguments, in the order of its schema: "%2" is operand 2, "%2.item"
                                           its only element as a number; anything else is a constant
    flambeau.bodies = [@f, ...]            functions that it calls: for a loop what it repeats, for an op of the dialect
                                           (`flambeau.target = "flambeau.gelu"`) a function of this one op
    flambeau.written = array<i64: ...>     operands that the op writes: their new values are appended to the results
    autograd.differentiable = array<..>    the results through which eager's gradients flow
    autograd.active = array<..>            the operands to be differentiated: the call also returns a tape, which
                                           PyTorch's own autograd recorded (the last result, of type !flambeau.tape)
    autograd.vjp_of_results = array<..>    this function is a derivative: (tape, gradients of these results) -> the
                                           gradients of the active operands
    flambeau.once                          it must not run again for its gradient to be differentiated: it draws random
                                           numbers, writes, or is not PyTorch's own
    flambeau.reason = "..."                why this runs on the host
    flambeau.chosen                        it could be compiled, but somebody wants it there

An op inside a host function says `flambeau.reason`, and `flambeau.chosen`, itself.
A function with a body and the unit attribute `flambeau.host` is run by the interpreter; its calls may be of compiled
functions. `flambeau.effects` on a call says that it must run even if nobody uses its results.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import TapeType
from flambeau.dialects.opdef import OPS

HOST = "flambeau.host"
TARGET = "flambeau.target"
ARGUMENTS = "flambeau.arguments"
BODIES = "flambeau.bodies"
WRITTEN = "flambeau.written"
REASON = "flambeau.reason"
ONCE = "flambeau.once"
CHOSEN = "flambeau.chosen"
EFFECTS = "flambeau.effects"
DIFFERENTIABLE = "autograd.differentiable"
ACTIVE = "autograd.active"
VJP_OF_RESULTS = "autograd.vjp_of_results"


def is_host_function(function: Any) -> bool:
    """Whether a `func.func` runs on the host."""
    attributes = function.operation.attributes
    return any(name in attributes for name in (HOST, TARGET, VJP_OF_RESULTS))


def callee(op: ir.Operation) -> Any | None:
    """The host function that an op calls, None for any other op."""
    if op.name != "func.call":
        return None
    name = ir.FlatSymbolRefAttr(op.attributes["callee"]).value
    function = _symbols(op).get(name)
    return function if function is not None and is_host_function(function) else None


def _symbols(op: ir.Operation) -> dict[str, Any]:
    return {f.name.value: f for f in fn.functions(_module_of(op), declarations=True)}


def _module_of(op: ir.Operation) -> Any:
    while op.name != "builtin.module":
        op = op.parent.operation
    return op.opview


def reason(function: Any) -> str:
    """Why a function runs on the host; empty if it does not say."""
    attributes = function.operation.attributes
    return str(ir.StringAttr(attributes[REASON]).value) if REASON in attributes else ""


def bodies(function: Any) -> list[str]:
    """The names of the functions that a call on the host calls itself."""
    attributes = function.operation.attributes
    if BODIES not in attributes:
        return []
    return [ir.FlatSymbolRefAttr(name).value for name in ir.ArrayAttr(attributes[BODIES])]


def all_bodies(module: ir.Module) -> set[str]:
    """The names of the functions that calls on the host call themselves."""
    return {name for function in fn.functions(module, declarations=True) for name in bodies(function)}


def indices(function: Any, name: str) -> list[int]:
    """An attribute that lists operands or results; empty if it is missing."""
    attributes = function.operation.attributes
    return list(ir.DenseI64ArrayAttr(attributes[name])) if name in attributes else []


def declare(
    body: ir.Block,
    name: str,
    inputs: Sequence[ir.Type],
    results: Sequence[ir.Type],
    attributes: fn.Attributes,
) -> str:
    """A host function without a body, at the start of a module's body; the name that it got."""
    unique = fn.fresh_name(body, name)
    with ir.InsertionPoint.at_block_begin(body), ir.Location.unknown():
        ir.Operation.create(
            "func.func",
            attributes={
                "sym_name": ir.StringAttr.get(unique),
                "sym_visibility": ir.StringAttr.get("private"),
                "function_type": ir.TypeAttr.get(ir.FunctionType.get(list(inputs), list(results))),
                **attributes,
            },
            regions=1,
        )
    return unique


def call(name: str, results: Sequence[ir.Type], operands: Sequence[ir.Value]) -> ir.Operation:
    """A `func.call` at the insertion point."""
    return ir.Operation.create(
        "func.call",
        results=list(results),
        operands=list(operands),
        attributes={"callee": ir.FlatSymbolRefAttr.get(name)},
    )


# --- Derivatives -----------------------------------------------------------------------------------------------------


def runs_once(function: Any) -> bool:
    """Whether a host function must not run a second time to differentiate its gradient.

    One with a body is run by the interpreter, where random ops draw anew.
    """
    return any(name in function.operation.attributes for name in (ONCE, HOST))


def differentiable_results(op: ir.Operation, function: Any) -> list[ir.Value]:
    """The results of a call through which gradients flow: all those of a derivative, which is linear in its operands
    but the tape.
    """
    if VJP_OF_RESULTS in function.operation.attributes:
        return [r for r in op.results if not is_tape(r)]
    return [op.results[i] for i in indices(function, DIFFERENTIABLE)]


def with_tape(op: ir.Operation, function: Any, active: Sequence[int]) -> ir.Operation:
    """Replace a call of a host function by one that also returns a tape, to differentiate by the `active` operands."""
    type_ = function.type
    results = [*type_.results, TapeType.get()]
    attributes = {k: function.operation.attributes[k] for k in function.operation.attributes}
    for dropped in ("sym_name", "sym_visibility", "function_type", "res_attrs"):
        attributes.pop(dropped, None)
    attributes[ACTIVE] = ir.DenseI64ArrayAttr.get(list(active))
    name = declare(_module_of(op).body, f"{function.name.value}_taped", type_.inputs, results, attributes)
    with ir.InsertionPoint(op), op.location:
        taped = call(name, results, list(op.operands))
    if EFFECTS in op.attributes:
        taped.attributes[EFFECTS] = op.attributes[EFFECTS]
    for old, new in zip(op.results, taped.results, strict=False):
        old.replace_all_uses_with(new)
    op.erase()
    return taped


def is_tape(value: ir.Value) -> bool:
    """Whether a value is what PyTorch's autograd recorded of a call."""
    return isinstance(value.type, TapeType)


def has_tape(op: ir.Operation) -> bool:
    """Whether a call returns a tape."""
    return op.name == "func.call" and any(map(is_tape, op.results))


def taped_operands(op: ir.Operation) -> list[ir.Value]:
    """The values by which the tape of a call is differentiated.

    In place of a tape among them, as the call of a derivative has it, stand those that this one leads back to.
    """
    values: list[ir.Value] = []
    for operand in (op.operands[i] for i in indices(callee(op), ACTIVE)):
        values += taped_operands(operand.owner) if is_tape(operand) else [operand]
    return values


def call_vjp(op: ir.Operation, incoming: Sequence[ir.Value | None]) -> Iterator[tuple[ir.Value, ir.Value]]:
    """Call the derivative of a taped call at the insertion point; yields what it was taped for, with the gradients."""
    function = callee(op)
    assert function is not None
    present = [i for i, g in enumerate(incoming) if g is not None]
    active = taped_operands(op)
    operands = [list(op.results)[-1], *(incoming[i] for i in present)]
    attributes: fn.Attributes = {VJP_OF_RESULTS: ir.DenseI64ArrayAttr.get(present)}
    for name in (TARGET, REASON, CHOSEN):
        if name in function.operation.attributes:
            attributes[name] = function.operation.attributes[name]
    base = function.name.value.replace("_taped", "_vjp")
    name = declare(
        _module_of(op).body, base, [o.type for o in operands], [a.type for a in active], attributes
    )
    yield from zip(active, call(name, [a.type for a in active], operands).results, strict=True)


# --- Reports ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HostOp:
    """An op that runs on the host. `chosen`: it could be compiled, but is not worth it, or not wanted to be."""

    name: str
    reason: str
    location: ir.Location
    chosen: bool = False


def ops_on_host(module: Any) -> Iterator[HostOp]:
    """The ops of a module that run on the host: calls of PyTorch, and what `split` left there."""
    declared = {f.name.value: f for f in fn.functions(module, declarations=True) if is_host_function(f)}
    for function in fn.functions(module):
        for op in fn.operations(fn.entry_block(function)):
            if REASON in op.attributes:
                text = str(ir.StringAttr(op.attributes[REASON]).value)
                yield HostOp(op.name, text, op.location, CHOSEN in op.attributes)
            elif op.name == "func.call":
                called = declared.get(ir.FlatSymbolRefAttr(op.attributes["callee"]).value)
                if (
                    called is not None
                    and TARGET in called.operation.attributes
                    and not _is_op_of_dialect(called)
                ):
                    chosen = CHOSEN in called.operation.attributes
                    yield HostOp(target(called), reason(called), op.location, chosen)


def _is_op_of_dialect(function: Any) -> bool:
    """Whether a host function is an op of the dialect, which stands in the function that it calls."""
    return bool(bodies(function)) and target(function) in OPS


def name_of(function: Any) -> str:
    """What a host function is called in messages: the PyTorch op, or its own name."""
    return target(function) if TARGET in function.operation.attributes else str(function.name.value)


def target(function: Any) -> str:
    """The PyTorch op that a host function without a body calls, or whose derivative it is."""
    return str(ir.StringAttr(function.operation.attributes[TARGET]).value)
