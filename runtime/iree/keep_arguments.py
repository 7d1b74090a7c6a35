# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes IREE leave a caller's tensors alone: each public function also returns its tensor arguments.

IREE owns what it imports: an op that updates an argument at its last use (index_put, scatter, slice_scatter, sort, a
linalg op with the argument as `outs`) writes into the caller's memory. An argument that is still to be returned is not
at its last use, so IREE copies it first, and only then. The additional results are the argument buffers themselves;
they cost nothing and nobody reads them.

In: a module as text or bytecode. Out: text for the compiler and the signatures of its public functions.
"""

import re
from dataclasses import dataclass

from flambeau.dialects.bindings import ir, register_torch_dialects
from flambeau.runtime.errors import CompileError

__all__ = ["FunctionSignature", "PreparedModule", "keep_arguments"]

_TENSOR = "!torch.vtensor"


@dataclass(frozen=True)
class FunctionSignature:
    """A public function: the MLIR types of its arguments and of its own results, without those added here."""

    arguments: tuple[str, ...]
    results: tuple[str, ...]

    @property
    def keeps_arguments(self) -> bool:
        """Whether IREE leaves the arguments alone.

        Not so with builtin tensor types: there IREE folds the added results away. Such arguments must be copies.
        """
        return not any(argument.startswith("tensor<") for argument in self.arguments)


@dataclass(frozen=True)
class PreparedModule:
    """A module ready for the compiler, and the signatures of its public functions by name."""

    module: ir.Module
    functions: dict[str, FunctionSignature]

    @property
    def text(self) -> str:
        """The module as text, with locations.

        Text and not bytecode, since IREE's MLIR is another version than ours: what it does not know it then names, with
        the place, where bytecode fails without one or decodes to something else.
        """
        return str(self.module.operation.get_asm(enable_debug_info=True))


def keep_arguments(asm: str | bytes) -> PreparedModule:
    """Parse a module and append to each public function its tensor arguments as results.

    CompileError if the module is malformed (with `file:line:column`), or calls one of its public functions.
    """
    context = ir.Context()
    context.enable_multithreading(False)
    context.allow_unregistered_dialects = True  # ops of dialects that only IREE has
    register_torch_dialects(context)
    with context, ir.Location.unknown():
        try:
            module = ir.Module.parse(asm)
        except ir.MLIRError as error:
            place = re.search(r'"?([^\s"]+)"?:(\d+):(\d+)', str(error))
            raise CompileError(
                f"malformed module: {error}", location=":".join(place.groups()) if place else None
            ) from error
        functions = [
            op
            for op in module.body.operations
            if op.operation.name == "func.func"
            and "sym_visibility" not in op.attributes
            and len(op.regions[0].blocks)
        ]
        names = [ir.StringAttr(function.attributes["sym_name"]).value for function in functions]
        called = sorted(_callees(module).intersection(names))
        if called:
            raise CompileError(
                f"@{called[0]} is public and called by the module itself: call a private one instead"
            )
        return PreparedModule(
            module, {name: _keep(function) for name, function in zip(names, functions, strict=True)}
        )


def _keep(function: ir.OpView) -> FunctionSignature:
    """Append the function's tensor arguments to what it returns."""
    attribute = ir.TypeAttr(function.attributes["function_type"])
    type_ = ir.FunctionType(attribute.value)
    signature = FunctionSignature(tuple(map(str, type_.inputs)), tuple(map(str, type_.results)))
    blocks = function.regions[0].blocks
    kept = [argument for argument in blocks[0].arguments if str(argument.type).startswith(_TENSOR)]
    for block in blocks:
        terminator = block.operations[len(block.operations) - 1].operation
        if terminator.name == "func.return":
            with ir.InsertionPoint(terminator):
                ir.Operation.create(
                    "func.return", operands=[*terminator.operands, *kept], loc=terminator.location
                )
            terminator.erase()
    results = [*type_.results, *(argument.type for argument in kept)]
    function.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(type_.inputs, results))
    # One attribute per result: those of the added results are empty.
    if "res_attrs" in function.attributes:
        given = ir.ArrayAttr(function.attributes["res_attrs"])
        function.attributes["res_attrs"] = ir.ArrayAttr.get([*given, *([ir.DictAttr.get({})] * len(kept))])
    return signature


def _callees(module: ir.Module) -> set[str]:
    """The symbols that calls in the module name."""
    names: set[str] = set()

    def visit(op: ir.Operation) -> ir.WalkResult:
        if op.name == "func.call":
            names.add(ir.FlatSymbolRefAttr(op.attributes["callee"]).value)
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    return names
