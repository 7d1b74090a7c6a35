# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls in the IR: of PyTorch on the host, with a derivative of their own, between two functions.

Each kind has a file that says how it is written and read. Here is what several kinds have in common.
"""

from typing import Any

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import choice, custom, host
from flambeau.dialects.derivative import Derivative, RuleDerivative
from flambeau.dialects.opdef import OPS


def derivative_of(op: ir.Operation) -> Derivative:
    """What differentiation may ask of an op."""
    if op.name in OPS:
        return RuleDerivative()
    if custom.backward_name(op) is not None:
        return custom.CustomDerivative()
    if host.callee(op) is not None:
        return host.HostDerivative()
    if choice.branches(op) is not None:
        return choice.ChoiceDerivative()
    return Derivative()


def names_called_by(op: ir.Operation) -> list[str]:
    """The functions that an op calls, the backward of a call with one included."""
    return [name for name in (fn.callee_name(op), custom.backward_name(op)) if name is not None]


def called_functions(function: Any) -> list[str]:
    """The functions that a function may call: those that its ops call, or those that it chooses between."""
    if choice.is_choice(function):
        return choice.branch_names(function)
    blocks = function.regions[0].blocks
    return [name for op in (fn.operations(blocks[0]) if len(blocks) else ()) for name in names_called_by(op)]


def keep_on_host(function: Any) -> None:
    """Mark a function, and whatever is called in it, as run by the interpreter."""
    attributes = function.operation.attributes
    if host.HOST in attributes:
        return
    if len(function.regions[0].blocks):
        attributes[host.HOST] = ir.UnitAttr.get(function.operation.context)
    symbols = fn.symbol_table(fn.module_of(function.operation))
    for name in called_functions(function):
        keep_on_host(symbols[name])
