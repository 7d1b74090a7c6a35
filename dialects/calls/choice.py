# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls that choose: how `torch.cond` stands in the IR, and what its derivative is.

A private `func.func` without a body whose attribute `flambeau.branches = [@f, @g]` names two private functions calls @f
if its first operand, a `tensor<i1>`, is true and else @g, with the other operands. IRDL cannot say an op with regions,
or with operands of different types; `func.call` is one.
"""

from collections.abc import Sequence
from typing import Any

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls.host import EFFECTS, declare
from flambeau.dialects.derivative import Derivative, Differentiation, Gradients
from flambeau.dialects.errors import UnsupportedOpError
from flambeau.dialects.facts import Attributes
from flambeau.dialects.types import compatible, is_float

BRANCHES = "flambeau.branches"


def is_choice(function: Any) -> bool:
    """Whether a function chooses between two others."""
    return BRANCHES in function.operation.attributes


def branches(op: ir.Operation) -> tuple[Any, Any] | None:
    """The functions that a call chooses between, the one for true first; None for any other op.

    UnsupportedOpError if these do not fit the call.
    """
    choice = fn.called_function(op)
    if choice is None or not is_choice(choice):
        return None
    names = branch_names(choice)
    symbols = fn.symbol_table(fn.module_of(op))
    if len(names) != 2 or any(name not in symbols for name in names):
        raise UnsupportedOpError(op, f"{BRANCHES} must name two functions of the module, it is {names}")
    on_true, on_false = (symbols[name] for name in names)
    for function in (on_true, on_false):
        _check_types(op, function)
    return on_true, on_false


def _check_types(op: ir.Operation, function: Any) -> None:
    inputs, results = list(function.type.inputs), list(function.type.results)
    given, wanted = [o.type for o in op.operands][1:], [r.type for r in op.results]
    if inputs != given or len(results) != len(wanted) or not all(map(compatible, results, wanted)):
        raise UnsupportedOpError(op, f"the branch @{function.name.value} is a function {function.type}")


def branch_names(choice: Any) -> list[str]:
    """The names of the functions that a function chooses between."""
    return [ir.FlatSymbolRefAttr(name).value for name in ir.ArrayAttr(choice.operation.attributes[BRANCHES])]


def all_branches(module: ir.Module) -> set[str]:
    """The names of the functions of a module that are chosen by some call."""
    found = fn.functions(module, declarations=True)
    return {name for function in found if is_choice(function) for name in branch_names(function)}


def choose(
    name: str,
    predicate: ir.Value,
    chosen: Sequence[str],
    operands: Sequence[ir.Value],
    results: Sequence[ir.Type],
    body: ir.Block,
) -> ir.Operation:
    """Call one of the two functions `chosen`, at the insertion point; `body` is the module's, where it is declared."""
    attributes: Attributes = {BRANCHES: ir.ArrayAttr.get([ir.FlatSymbolRefAttr.get(n) for n in chosen])}
    given = [predicate, *operands]
    unique = declare(body, name, [v.type for v in given], results, attributes)
    made = fn.call(unique, results, given)
    if _has_effects(made):
        made.attributes[EFFECTS] = ir.UnitAttr.get()
    return made


class ChoiceDerivative(Derivative):
    """The derivative of a choice: the same choice between the derivatives of its branches.

    Each of these computes its forward again, so nothing has to be saved but the operands.
    """

    def results(self, op: ir.Operation) -> list[ir.Value]:
        """All float ones, whatever the branches make of them."""
        return [r for r in op.results if is_float(r.type)]

    def vjp(
        self, op: ir.Operation, incoming: Sequence[ir.Value | None], engine: Differentiation
    ) -> Gradients:
        predicate, *operands = op.operands
        active = [i for i, o in enumerate(operands) if engine.wants(o)]
        present = [i for i, g in enumerate(incoming) if g is not None]
        if not active:
            return
        names = []
        for function in branches(op) or ():
            copy = _copy(function, f"{function.name.value}_vjp")
            engine.differentiate_branch(copy, active, present)
            names.append(copy.name.value)
        gradients = choose(
            "cond_vjp",
            predicate,
            names,
            [*operands, *(g for g in incoming if g is not None)],
            [operands[i].type for i in active],
            fn.module_of(op).body,
        )
        yield from zip((operands[i] for i in active), gradients.results, strict=True)

    def inside(self, op: ir.Operation) -> list[ir.Operation]:
        return [o for branch in branches(op) or () for o in fn.operations(fn.entry_block(branch))]


def erase_choices(module: ir.Module) -> None:
    """Remove the functions that choose, and those that they choose between, once no call is left."""
    doomed = all_branches(module)
    for function in fn.functions(module, declarations=True):
        if is_choice(function) or function.name.value in doomed:
            function.operation.erase()


def _has_effects(op: ir.Operation) -> bool:
    """Whether something in a branch must run even if nobody uses its results."""
    return any(EFFECTS in o.attributes for o in ChoiceDerivative().inside(op))


def _copy(function: Any, name: str) -> Any:
    """The function under another name, without the calls that it makes for their effects alone."""
    unique = fn.fresh_name(fn.module_of(function.operation).body, name)
    with ir.InsertionPoint(function.operation):
        copy = function.operation.clone().opview
    copy.operation.attributes["sym_name"] = ir.StringAttr.get(unique)
    for op in fn.operations(fn.entry_block(copy)):
        if EFFECTS in op.attributes:
            del op.attributes[EFFECTS]
            if not len(op.results):
                op.erase()
    return copy
