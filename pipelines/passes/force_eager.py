# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass force-eager: named ops, or those of named source lines -> calls on the host, by PyTorch.

It goes before what takes ops apart: PyTorch runs the op as it is, and differentiates it.
"""

from dataclasses import dataclass
from typing import Any

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import host
from flambeau.dialects.errors import source_line
from flambeau.dialects.facts import Attributes
from flambeau.dialects.opdef import OPS, NotDifferentiable
from flambeau.dialects.types import is_float, is_tensor
from flambeau.pipelines.registry import register_pass


@register_pass
@dataclass(frozen=True)
class ForceEager:
    """Leave ops to PyTorch: each becomes a call on the host of a function that holds this op alone.

    `ops`: names (`flambeau.gelu`). `lines`: places in the user's program (`model.py:12`), whose ops a compiler refuses.
    Both are separated by `;`. Run it first, on what was imported. Views and constants stay: they compute nothing.
    """

    name = "force-eager"

    ops: str = ""
    lines: str = ""

    def run(self, module: ir.Module) -> None:
        ops, lines = (frozenset(filter(None, text.split(";"))) for text in (self.ops, self.lines))
        for function in fn.functions(module):
            if host.is_host_function(function):
                continue
            for op in fn.operations(fn.entry_block(function)):
                if op.name in ops:
                    _call_on_host(op, module, "force_eager names it", chosen=True)
                elif can_be_forced(op.name) and source_line(op.location) in lines:
                    _call_on_host(op, module, "the compiler refuses this line", chosen=False)


def can_be_forced(name: str) -> bool:
    """Whether the name is that of an op that computes something."""
    cls: Any = OPS.get(name)
    return (
        cls is not None
        and name.startswith("flambeau.")
        and not name.startswith("flambeau.ref_")
        and not cls.view
        and name not in ("flambeau.constant", "flambeau.dim", "flambeau.size_to_tensor")
    )


def _call_on_host(op: ir.Operation, module: ir.Module, reason: str, *, chosen: bool) -> None:
    """Replace an op by a call on the host of a function that holds it."""
    cls: Any = OPS[op.name]
    name = op.name.removeprefix("flambeau.")
    facts: Attributes = {host.REASON: ir.StringAttr.get(reason)}
    if chosen:
        facts[host.CHOSEN] = ir.UnitAttr.get()
    body = _function_of(op, fn.fresh_name(module.body, f"{name}_body"), facts)
    attributes: Attributes = {
        **facts,
        host.TARGET: ir.StringAttr.get(op.name),
        host.BODIES: ir.ArrayAttr.get([ir.FlatSymbolRefAttr.get(body)]),
    }
    if not isinstance(cls.vjp, NotDifferentiable):
        constant = {getattr(op.opview, result) for result in cls.nondifferentiable}
        floats = [
            i
            for i, r in enumerate(op.results)
            if is_tensor(r.type) and is_float(r.type) and r not in constant
        ]
        attributes[host.DIFFERENTIABLE] = ir.DenseI64ArrayAttr.get(floats)
    if hasattr(cls, "functional"):
        attributes[host.ONCE] = ir.UnitAttr.get()  # it draws random numbers
    results = [r.type for r in op.results]
    declared = host.declare(module.body, f"host_{name}", [o.type for o in op.operands], results, attributes)
    with ir.InsertionPoint(op), op.location:
        call = fn.call(declared, results, list(op.operands))
    fn.replace_op(op, call.results)


def _function_of(op: ir.Operation, name: str, facts: Attributes) -> str:
    """A function of the host that computes what an op does, by the op; its name."""
    types = [o.type for o in op.operands]
    with ir.InsertionPoint(fn.module_of(op).body), op.location:
        function = fn.create_function(name, types, [op.location] * len(types), visibility="private")
        block = fn.entry_block(function)
        with ir.InsertionPoint(block):
            copy = op.clone()
            for index, argument in enumerate(block.arguments):
                copy.operands[index] = argument
            for key, value in facts.items():
                copy.attributes[key] = value
            ir.Operation.create("func.return", operands=list(copy.results))
    fn.set_signature(function)
    function.operation.attributes[host.HOST] = ir.UnitAttr.get()
    return name
