# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reading and rewriting `func.func`: arguments and results together with their attributes.

Roles and facts are attributes: `flambeau.role`, `autograd.requires_grad`, `flambeau.updates` and so on; see
docs/ir.md for the list.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flambeau.dialects.bindings import ir

Attributes = dict[str, ir.Attribute]


def functions(module: ir.Module, *, declarations: bool = False) -> list[Any]:
    """All `func.func` of a module that have a body, in order; with `declarations` also those without."""
    found = [op for op in module.body.operations if op.operation.name == "func.func"]
    return [f for f in found if declarations or len(f.regions[0].blocks)]


def is_private(function: Any) -> bool:
    """Whether a function is only called by others of its module."""
    attributes = function.operation.attributes
    return "sym_visibility" in attributes and ir.StringAttr(attributes["sym_visibility"]).value == "private"


def entry_block(function: Any) -> ir.Block:
    """The only block of a function; passes work on functions without control flow between blocks."""
    blocks = list(function.regions[0].blocks)
    if len(blocks) != 1:
        raise ValueError(f"@{function.name.value} has {len(blocks)} blocks, where one is expected")
    return blocks[0]


def operations(block: ir.Block) -> list[ir.Operation]:
    """The operations of a block as a list that survives rewriting."""
    return [op.operation for op in block.operations]


def terminator(block: ir.Block) -> ir.Operation:
    """The last operation of a block."""
    return block.operations[len(block.operations) - 1].operation


def _dictionaries(attribute: Any, count: int) -> list[Attributes]:
    if attribute is None:
        return [{} for _ in range(count)]
    return [{named.name: named.attr for named in ir.DictAttr(d)} for d in ir.ArrayAttr(attribute)]


def argument_attributes(function: Any) -> list[Attributes]:
    """One dictionary per argument."""
    attributes = function.operation.attributes
    found = attributes["arg_attrs"] if "arg_attrs" in attributes else None
    return _dictionaries(found, len(function.type.inputs))


def result_attributes(function: Any) -> list[Attributes]:
    """One dictionary per result."""
    attributes = function.operation.attributes
    found = attributes["res_attrs"] if "res_attrs" in attributes else None
    return _dictionaries(found, len(function.type.results))


def _array(attributes: Iterable[Mapping[str, ir.Attribute]]) -> ir.ArrayAttr:
    return ir.ArrayAttr.get([ir.DictAttr.get(dict(a)) for a in attributes])


def set_signature(
    function: Any,
    arguments: Sequence[Mapping[str, ir.Attribute]],
    results: Sequence[Mapping[str, ir.Attribute]],
) -> None:
    """Make type and attributes of a function agree with its block's arguments and its return's operands."""
    block = entry_block(function)
    inputs = [a.type for a in block.arguments]
    outputs = [v.type for v in terminator(block).operands]
    assert len(inputs) == len(arguments) and len(outputs) == len(results)
    attributes = function.operation.attributes
    attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(inputs, outputs))
    attributes["arg_attrs"] = _array(arguments)
    attributes["res_attrs"] = _array(results)


def set_return(function: Any, values: Sequence[ir.Value]) -> None:
    """Replace the operands of the function's return."""
    old = terminator(entry_block(function))
    with ir.InsertionPoint(old), old.location:
        ir.Operation.create("func.return", operands=list(values))
    old.erase()


def fresh_name(body: ir.Block, wanted: str) -> str:
    """`wanted`, or `wanted_1`, ...: a name that no function of a module's body has."""
    taken = {op.name.value for op in body.operations if op.operation.name == "func.func"}
    name, number = wanted, 0
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name


def create_function(
    name: str, inputs: Sequence[ir.Type], locations: Sequence[ir.Location], *, visibility: str | None = None
) -> Any:
    """A `func.func` with an entry block and no return yet, at the current insertion point; see `set_signature`."""
    attributes: Attributes = {
        "sym_name": ir.StringAttr.get(name),
        "function_type": ir.TypeAttr.get(ir.FunctionType.get(list(inputs), [])),
    }
    if visibility:
        attributes["sym_visibility"] = ir.StringAttr.get(visibility)
    op = ir.Operation.create("func.func", attributes=attributes, regions=1)
    op.regions[0].blocks.append(*inputs, arg_locs=list(locations))
    return op.opview


def integer(value: int) -> ir.Attribute:
    """An i64 attribute, as facts in argument and result attributes are written."""
    return ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)
