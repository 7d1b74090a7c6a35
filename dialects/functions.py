# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reading and rewriting `func.func`: arguments and results together with their facts; calls; copies of ops."""

from collections.abc import Iterable, Sequence
from typing import Any

from flambeau.dialects.bindings import ir
from flambeau.dialects.facts import ArgumentFacts, Attributes, ResultFacts


def functions(module: ir.Module, *, declarations: bool = False) -> list[Any]:
    """All `func.func` of a module that have a body, in order; with `declarations` also those without."""
    found = [op for op in module.body.operations if op.operation.name == "func.func"]
    return [f for f in found if declarations or len(f.regions[0].blocks)]


def public_functions(module: ir.Module) -> list[Any]:
    """The functions of a module that have a body and are called from outside."""
    return [f for f in functions(module) if not is_private(f)]


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


def _dictionaries(function: Any, name: str, count: int) -> list[Attributes]:
    attributes = function.operation.attributes
    if name not in attributes:
        return [{} for _ in range(count)]
    return [{named.name: named.attr for named in ir.DictAttr(d)} for d in ir.ArrayAttr(attributes[name])]


def argument_facts(function: Any) -> list[ArgumentFacts]:
    """One record per argument."""
    return list(map(ArgumentFacts.read, _dictionaries(function, "arg_attrs", len(function.type.inputs))))


def result_facts(function: Any) -> list[ResultFacts]:
    """One record per result."""
    return list(map(ResultFacts.read, _dictionaries(function, "res_attrs", len(function.type.results))))


def facts_attribute(facts: Iterable[ArgumentFacts | ResultFacts]) -> ir.Attribute:
    """Records as the attribute `arg_attrs` or `res_attrs` of a function."""
    return ir.ArrayAttr.get([ir.DictAttr.get(record.write()) for record in facts])


def set_signature(
    function: Any,
    arguments: Sequence[ArgumentFacts] | None = None,
    results: Sequence[ResultFacts] | None = None,
) -> None:
    """Make type and facts of a function agree with its block's arguments and its return's operands.

    None: nothing is known of the arguments, or of the results.
    """
    block = entry_block(function)
    inputs = [a.type for a in block.arguments]
    outputs = [v.type for v in terminator(block).operands]
    given = [ArgumentFacts()] * len(inputs) if arguments is None else arguments
    returned = [ResultFacts()] * len(outputs) if results is None else results
    assert len(inputs) == len(given) and len(outputs) == len(returned)
    attributes = function.operation.attributes
    attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(inputs, outputs))
    attributes["arg_attrs"] = facts_attribute(given)
    attributes["res_attrs"] = facts_attribute(returned)


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


# --- Names and calls -------------------------------------------------------------------------------------------------


def module_of(op: ir.Operation) -> Any:
    """The module that an op is in."""
    while op.name != "builtin.module":
        op = op.parent.operation
    return op.opview


def symbol_table(module: Any) -> dict[str, Any]:
    """All functions of a module by name, those without a body included."""
    return {f.name.value: f for f in functions(module, declarations=True)}


def callee_name(op: ir.Operation) -> str | None:
    """The name of the function that a `func.call` calls, None for any other op."""
    return ir.FlatSymbolRefAttr(op.attributes["callee"]).value if op.name == "func.call" else None


def called_function(op: ir.Operation) -> Any | None:
    """The function that a `func.call` calls; None for any other op, or if the module has no such function."""
    name = callee_name(op)
    return None if name is None else symbol_table(module_of(op)).get(name)


def call(name: str, results: Sequence[ir.Type], operands: Sequence[ir.Value]) -> ir.Operation:
    """A `func.call` at the insertion point."""
    return ir.Operation.create(
        "func.call",
        results=list(results),
        operands=list(operands),
        attributes={"callee": ir.FlatSymbolRefAttr.get(name)},
    )


# --- Copies and replacements -----------------------------------------------------------------------------------------


def copy_op(op: ir.Operation, values: dict[ir.Value, ir.Value]) -> ir.Operation:
    """A copy of an op at the insertion point, its operands looked up in `values`, where its results are entered.

    A result that `values` holds already stays what it is there.
    """
    with op.location:
        copy = op.clone()
    for index, operand in enumerate(op.operands):
        copy.operands[index] = values[operand]
    for old, new in zip(op.results, copy.results, strict=True):
        values.setdefault(old, new)
    return copy


def replace_op(op: ir.Operation, values: Iterable[ir.Value]) -> None:
    """Erase an op and let `values` take the place of its results, one by one."""
    for old, new in zip(op.results, values, strict=True):
        old.replace_all_uses_with(new)
    op.erase()
