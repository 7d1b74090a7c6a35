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

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.derivative import Derivative, Differentiation, Gradients, carries_gradient
from flambeau.dialects.dialect import TapeType
from flambeau.dialects.errors import MissingVjpError, UnsupportedOpError
from flambeau.dialects.facts import Attributes
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
    function = fn.called_function(op)
    return function if function is not None and is_host_function(function) else None


def reason(function: Any) -> str:
    """Why a function runs on the host; empty if it does not say."""
    attributes = function.operation.attributes
    return str(ir.StringAttr(attributes[REASON]).value) if REASON in attributes else ""


def argument_template(function: Any) -> ir.ArrayAttr:
    """How the arguments of PyTorch's op are made of the operands; see `flambeau.arguments`."""
    return ir.ArrayAttr(function.operation.attributes[ARGUMENTS])


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
    attributes: Attributes,
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


# --- Derivatives -----------------------------------------------------------------------------------------------------


class HostDerivative(Derivative):
    """The derivative of a call on the host: PyTorch's own, by the tape that the call returns for it."""

    def results(self, op: ir.Operation) -> list[ir.Value]:
        """All those of a derivative, which is linear in its operands but the tape."""
        function = callee(op)
        assert function is not None
        if is_derivative(function):
            return [r for r in op.results if carries_gradient(r)]
        floats = [op.results[i] for i in indices(function, DIFFERENTIABLE)]
        return [r for r in op.results if r in floats or is_tape(r)]

    def prepared(self, op: ir.Operation, active: Collection[ir.Value]) -> ir.Operation:
        """A call that returns no tape yet is replaced by one that does."""
        function = callee(op)
        assert function is not None
        if not self.results(op):
            return op
        operands = [i for i, o in enumerate(op.operands) if o in active]
        if not _has_tape(op):
            return _with_tape(op, function, operands)
        if not set(operands) <= set(indices(function, ACTIVE)):
            raise UnsupportedOpError(
                op, "it is to be differentiated by an operand that its tape does not hold"
            )
        return op

    def vjp(
        self, op: ir.Operation, incoming: Sequence[ir.Value | None], engine: Differentiation
    ) -> Gradients:
        """A call of the derivative by the tape."""
        if not _has_tape(op):
            raise MissingVjpError(op, "its call returns no tape to differentiate it by")
        function = callee(op)
        assert function is not None
        present = [i for i, g in enumerate(incoming) if g is not None]
        active = _taped_operands(op)
        operands = [list(op.results)[-1], *(incoming[i] for i in present)]
        attributes: Attributes = {VJP_OF_RESULTS: ir.DenseI64ArrayAttr.get(present)}
        for name in (TARGET, REASON, CHOSEN):
            if name in function.operation.attributes:
                attributes[name] = function.operation.attributes[name]
        base = function.name.value.replace("_taped", "_vjp")
        types = [a.type for a in active]
        name = declare(fn.module_of(op).body, base, [o.type for o in operands], types, attributes)
        yield from zip(active, fn.call(name, types, operands).results, strict=True)

    def why_once(self, op: ir.Operation) -> str | None:
        """One with a body is run by the interpreter, where random ops draw anew."""
        function = callee(op)
        assert function is not None
        if EFFECTS not in op.attributes and not any(n in function.operation.attributes for n in (ONCE, HOST)):
            return None
        reason = "to differentiate its gradient it would have to run again, which may give something else"
        return f"{name_of(function)} runs on the host: {reason}"


def is_derivative(function: Any) -> bool:
    """Whether a host function is the derivative of another, by its tape."""
    return VJP_OF_RESULTS in function.operation.attributes


def _with_tape(op: ir.Operation, function: Any, active: Sequence[int]) -> ir.Operation:
    """Replace a call of a host function by one that also returns a tape, to differentiate by the `active` operands."""
    type_ = function.type
    results = [*type_.results, TapeType.get()]
    attributes = {k: function.operation.attributes[k] for k in function.operation.attributes}
    for dropped in ("sym_name", "sym_visibility", "function_type", "res_attrs"):
        attributes.pop(dropped, None)
    attributes[ACTIVE] = ir.DenseI64ArrayAttr.get(list(active))
    name = declare(fn.module_of(op).body, f"{function.name.value}_taped", type_.inputs, results, attributes)
    with ir.InsertionPoint(op), op.location:
        taped = fn.call(name, results, list(op.operands))
    if EFFECTS in op.attributes:
        taped.attributes[EFFECTS] = op.attributes[EFFECTS]
    fn.replace_op(op, list(taped.results)[:-1])
    return taped


def is_tape(value: ir.Value) -> bool:
    """Whether a value is what PyTorch's autograd recorded of a call."""
    return isinstance(value.type, TapeType)


def _has_tape(op: ir.Operation) -> bool:
    return any(map(is_tape, op.results))


def _taped_operands(op: ir.Operation) -> list[ir.Value]:
    """The values by which the tape of a call is differentiated.

    In place of a tape among them, as the call of a derivative has it, come those that this one leads back to.
    """
    values: list[ir.Value] = []
    for operand in (op.operands[i] for i in indices(callee(op), ACTIVE)):
        values += _taped_operands(operand.owner) if is_tape(operand) else [operand]
    return values


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
    declared = {name: f for name, f in fn.symbol_table(module).items() if is_host_function(f)}
    for function in fn.functions(module):
        for op in fn.operations(fn.entry_block(function)):
            if REASON in op.attributes:
                text = str(ir.StringAttr(op.attributes[REASON]).value)
                yield HostOp(op.name, text, op.location, CHOSEN in op.attributes)
                continue
            called = declared.get(fn.callee_name(op) or "")
            if called is not None and TARGET in called.operation.attributes and not _is_op_of_dialect(called):
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
