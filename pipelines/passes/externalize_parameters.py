# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass externalize-parameters: parameters and buffers of a lowered function -> values from a parameter archive.

What is left as arguments are the inputs, as results the outputs: a function that can be shipped with its weights.
"""

import re
from dataclasses import dataclass
from typing import Any

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.facts import Role
from flambeau.dialects.types import DYNAMIC, tensor_type
from flambeau.pipelines.registry import register_pass

_VTENSOR = re.compile(r"!torch\.vtensor<\[([^\]]*)\],(\w+)>")


@register_pass
@dataclass(frozen=True)
class ExternalizeParameters:
    """Read parameters and buffers from the archive `scope`, each under its `flambeau.name`.

    Runs after `lower-to-torch{keep-facts=true}`. A buffer that the function updates is state: it starts with the
    archive's value, and each call leaves the new one for the next. Results that only serve a runtime wrapper go.
    """

    name = "externalize-parameters"

    scope: str = "model"

    def run(self, module: ir.Module) -> None:
        # The ops and the attribute of IREE's that stand for parameters are unknown to this build of MLIR.
        module.context.allow_unregistered_dialects = True
        known: dict[str, ir.Operation] = {}
        for function in fn.public_functions(module):
            _externalize(module, function, self.scope, known)


def _externalize(module: ir.Module, function: Any, scope: str, known: dict[str, ir.Operation]) -> None:
    """Rewrite one function; `known` are the module's globals so far, by name."""
    block = fn.entry_block(function)
    arguments = list(block.arguments)
    facts, results = fn.argument_facts(function), fn.result_facts(function)
    external = {i: f.name or "" for i, f in enumerate(facts) if f.role in (Role.PARAMETER, Role.BUFFER)}
    updated = {f.updates for f in results}
    for index, name in external.items():
        with arguments[index].location:
            global_ = _global(module, scope, name, arguments[index].type, known)
            if index in updated:
                global_.attributes["is_mutable"] = ir.UnitAttr.get()
            with ir.InsertionPoint.at_block_begin(block):
                arguments[index].replace_all_uses_with(_load(global_, arguments[index].type))
    # Read anew: an update may return another argument as it is, which is a load by now.
    returned = list(fn.terminator(block).operands)
    kept = []
    with ir.InsertionPoint(fn.terminator(block)), ir.Location.unknown():
        for fact, value in zip(results, returned, strict=True):
            if fact.updates in external:
                _store(known[external[fact.updates]], value)
            elif not fact.base:
                kept.append(value)
    fn.set_return(function, kept)
    for index in reversed(external):
        block.erase_argument(index)
    fn.set_signature(function)
    for name in ("arg_attrs", "res_attrs"):  # IREE does not know what stands there
        del function.operation.attributes[name]


def _global(
    module: ir.Module, scope: str, name: str, type_: ir.Type, known: dict[str, ir.Operation]
) -> ir.Operation:
    """The global that holds a parameter: one for each name, whoever reads it."""
    stored = ir.TypeAttr.get(_builtin_type(type_))
    if name in known:
        if known[name].attributes["type"] != stored:
            raise ValueError(f"parameter {name!r} is {known[name].attributes['type']} and {stored}")
        return known[name]
    text = f"#stream.parameter.named<{_quoted(scope)}::{_quoted(name)}> : {stored.value}"
    with ir.InsertionPoint.at_block_begin(module.body):
        known[name] = ir.Operation.create(
            "util.global",
            attributes={
                "sym_name": ir.StringAttr.get(f"{scope}.{name}"),
                "sym_visibility": ir.StringAttr.get("private"),
                "type": stored,
                "initial_value": ir.Attribute.parse(text),
            },
        )
    return known[name]


def _load(global_: ir.Operation, type_: ir.Type) -> ir.Value:
    symbol = ir.FlatSymbolRefAttr.get(ir.StringAttr(global_.attributes["sym_name"]).value)
    stored = ir.TypeAttr(global_.attributes["type"]).value
    value = ir.Operation.create("util.global.load", results=[stored], attributes={"global": symbol}).results[
        0
    ]
    return ir.Operation.create("torch_c.from_builtin_tensor", results=[type_], operands=[value]).results[0]


def _store(global_: ir.Operation, value: ir.Value) -> None:
    symbol = ir.FlatSymbolRefAttr.get(ir.StringAttr(global_.attributes["sym_name"]).value)
    stored = ir.TypeAttr(global_.attributes["type"]).value
    value = ir.Operation.create("torch_c.to_builtin_tensor", results=[stored], operands=[value]).results[0]
    ir.Operation.create("util.global.store", operands=[value], attributes={"global": symbol})


def _builtin_type(type_: ir.Type) -> ir.RankedTensorType:
    """`!torch.vtensor<[?,3],si64>` -> `tensor<?x3xi64>`; integers have no sign there."""
    match = _VTENSOR.fullmatch(str(type_))
    if match is None:
        raise TypeError(f"a parameter of type {type_}; lower-to-torch must have run")
    sizes = [DYNAMIC if s == "?" else int(s) for s in match[1].split(",") if s]
    return tensor_type(sizes, ir.Type.parse(match[2].removeprefix("s").removeprefix("u")))


def _quoted(text: str) -> str:
    """A string literal of MLIR."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
