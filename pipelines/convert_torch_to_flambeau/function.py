# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One function in the torch dialect -> the same function in our dialect, in its place."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flambeau.dialects import build as b
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import RefType
from flambeau.dialects.equal_sizes import SizeOrigins
from flambeau.dialects.errors import UnsupportedOpError
from flambeau.dialects.opdef import VerificationError
from flambeau.dialects.types import DYNAMIC, compatible, is_tensor, shape_of
from flambeau.pipelines.convert_torch_to_flambeau import python_ops
from flambeau.pipelines.convert_torch_to_flambeau.call_importer import TorchImporter, overload_name
from flambeau.pipelines.convert_torch_to_flambeau.torch_types import (
    builtin_tensor,
    dense_literal,
    is_place,
    is_torch_tensor,
)

# Ops that say something about sizes of arguments; see `_named_sizes`.
_DESCRIBED = ("torch.symbolic_int", "torch.bind_symbolic_shape")

# What a function may say that means nothing here.
_DROPPED = ("torch.assume_strict_symbolic_shapes", "arg_attrs", "res_attrs", "function_type", "sym_name")


def convert_function(function: Any) -> None:
    """Replace a function that has a torch dialect type or op; others stay as they are.

    Raises UnsupportedOpError for what has no form in our dialect.
    """
    old = function.operation
    block = fn.entry_block(function)
    if not any(op.name.startswith("torch.") for op in fn.operations(block)) and not any(
        is_torch_tensor(t) for t in function.type.inputs
    ):
        return
    facts = fn.argument_facts(function)
    with old.context:
        named = _named_sizes(block)
    for index, argument in enumerate(block.arguments):
        dims = named.get(argument, [])
        if facts[index].dims is None and any(isinstance(s, str) for s in dims):
            facts[index] = replace(facts[index], dims=tuple(dims))
    with ir.InsertionPoint(old), old.location:
        try:
            types = [_argument_type(a.type) for a in block.arguments]
        except TypeError as error:
            raise UnsupportedOpError(old, str(error)) from error
        new = fn.create_function(function.name.value, types, [a.location for a in block.arguments])
        for name in old.attributes:
            if name not in _DROPPED:
                new.operation.attributes[name] = old.attributes[name]
        body = fn.entry_block(new)
    strict = "torch.assume_strict_symbolic_shapes" in old.attributes
    conversion = _Conversion(named, strict=strict)
    for before, after in zip(block.arguments, body.arguments, strict=True):
        conversion.define(before, after)
    with ir.InsertionPoint(body):
        for op in fn.operations(block):
            with op.location:
                conversion.convert(op)
    fn.set_signature(new, facts, fn.result_facts(function))
    old.erase()


def _argument_type(type_: ir.Type) -> ir.Type:
    if str(type_) == "!torch.int":
        return ir.IndexType.get()
    if is_torch_tensor(type_):
        tensor = builtin_tensor(type_)
        return RefType.of(tensor) if is_place(type_) else tensor
    if is_tensor(type_) or isinstance(type_, ir.IndexType):
        return type_
    raise TypeError(
        f"an argument of type {type_}; there are: tensors of known rank and element type, !torch.int"
    )


def _named_sizes(block: ir.Block) -> dict[ir.Value, list[int | str]]:
    """The sizes of the tensors that `torch.bind_symbolic_shape` describes: numbers, and expressions as text."""
    named: dict[ir.Value, list[int | str]] = {}
    for op in fn.operations(block):
        if op.name == "torch.bind_symbolic_shape":
            tensor, *symbols = op.operands
            names = [ir.StringAttr(s.owner.attributes["symbol_name"]).value for s in symbols]
            shape = ir.AffineMapAttr(op.attributes["shape_expressions"]).value
            named[tensor] = [_size_text(e, names) for e in shape.results]
    return named


def _size_text(expression: ir.AffineExpr, names: list[str]) -> int | str:
    if isinstance(expression, ir.AffineConstantExpr):
        return int(expression.value)
    return re.sub(r"\bs(\d+)\b", lambda match: names[int(match.group(1))], str(expression))


class _Conversion:
    """The values converted so far: tensors and indices as values, everything else as Python values."""

    def __init__(self, named: Mapping[ir.Value, Sequence[int | str]], *, strict: bool):
        self._values: dict[ir.Value, Any] = {}
        self._named = named
        self._origins = SizeOrigins()
        self._importer = TorchImporter(self._origins, strict=strict)

    def define(self, old: ir.Value, new: Any) -> None:
        """Note what a value has become, and what is said about its sizes."""
        self._values[old] = new
        if isinstance(new, ir.Value) and is_tensor(new.type):
            for dim, size in enumerate(self._named.get(old, ())):
                self._origins.describe(new, dim, size)

    def convert(self, op: ir.Operation) -> None:
        """Convert one op at the current insertion point."""
        if op.name in _DESCRIBED:
            return
        try:
            results = self._results(op)
            for old, new in zip(op.results, results, strict=True):
                self.define(old, self._checked(old, new))
        except (TypeError, ValueError, VerificationError) as error:
            raise UnsupportedOpError(op, str(error)) from error

    def _results(self, op: ir.Operation) -> list[Any]:
        operands = [self._operand(v) for v in op.operands]
        structural = _STRUCTURAL.get(op.name)
        if structural is not None:
            return structural(op, operands)
        if not op.name.startswith("torch."):
            return self._copied(op, operands)
        name = overload_name(op)
        python = python_ops.RULES.get(name)
        if python is not None:
            result = python(*operands)
            return result if len(op.results) != 1 else [result]
        found = self._importer.import_call(op, name, operands)
        listed = len(op.results) == 1 and str(op.results[0].type).startswith("!torch.list")
        return [found] if listed else found

    def _operand(self, value: ir.Value) -> Any:
        if value not in self._values:
            raise TypeError("it computes with a size symbol; torch.aten.size.int gives the size of a tensor")
        return self._values[value]

    def _copied(self, op: ir.Operation, operands: list[Any]) -> list[Any]:
        """An op that is none of the torch dialect's: kept if all its types are builtin."""
        if len(op.regions) or any(not isinstance(o, ir.Value) for o in operands):
            raise TypeError("it is neither of the torch dialect nor of ours")
        copy = op.clone()
        for index, operand in enumerate(operands):
            copy.operands[index] = operand
        return list(copy.results)

    def _checked(self, old: ir.Value, new: Any) -> Any:
        if is_torch_tensor(old.type) and not is_place(old.type):
            expected = builtin_tensor(old.type)
            if not isinstance(new, ir.Value) or not compatible(new.type, expected):
                raise TypeError(f"converted it is {getattr(new, 'type', new)}, but its type says {expected}")
        return new


# --- Ops about values, not about numbers -----------------------------------------------------------------------------


def _return(op: ir.Operation, operands: list[Any]) -> list[Any]:
    values = [b.as_index(v) if isinstance(v, int) else v for v in operands]
    for value in values:
        if not isinstance(value, ir.Value):
            raise TypeError(f"it returns {value!r}, which is no tensor or size")
    ir.Operation.create("func.return", operands=values)
    return []


def _literal(op: ir.Operation, operands: list[Any]) -> list[Any]:
    return [b.constant(dense_literal(op.attributes["value"], builtin_tensor(op.results[0].type)))]


def _constant(op: ir.Operation, operands: list[Any]) -> list[Any]:
    attribute = op.attributes["value"]
    if isinstance(op.results[0].type, ir.IndexType):
        return [int(ir.IntegerAttr(attribute).value)]
    return [b.constant(attribute)]


def _python_constant(op: ir.Operation, operands: list[Any]) -> list[Any]:
    return [op.attributes["value"].value]


def _none(op: ir.Operation, operands: list[Any]) -> list[Any]:
    return [None]


def _same(op: ir.Operation, operands: list[Any]) -> list[Any]:
    return [operands[0]]


def _read(op: ir.Operation, operands: list[Any]) -> list[Any]:
    (place,) = operands
    return [b.ref_load(place) if isinstance(place.type, RefType) else place]


def _overwrite(op: ir.Operation, operands: list[Any]) -> list[Any]:
    value, place = operands
    if not isinstance(place.type, RefType):
        raise TypeError("it overwrites a tensor that is no argument")
    if shape_of(value) != shape_of(place.type.tensor) and DYNAMIC not in shape_of(value):
        raise TypeError(f"it writes {value.type} to {place.type.tensor}")
    b.ref_store(place, value, False)
    return []


_STRUCTURAL: dict[str, Callable[[ir.Operation, list[Any]], list[Any]]] = {
    "func.return": _return,
    "arith.constant": _constant,
    "torch.vtensor.literal": _literal,
    "torch.constant.int": _python_constant,
    "torch.constant.float": _python_constant,
    "torch.constant.bool": _python_constant,
    "torch.constant.str": _python_constant,
    "torch.constant.device": _python_constant,
    "torch.constant.none": _none,
    "torch.copy.to_vtensor": _read,
    "torch.overwrite.tensor.contents": _overwrite,
    "torch.derefine": _same,
    "torch.tensor_static_info_cast": _same,
    "torch_c.from_builtin_tensor": _same,
    "torch_c.to_builtin_tensor": _same,
    "torch.prim.ListConstruct": lambda op, operands: [list(operands)],
    "torch.prim.TupleConstruct": lambda op, operands: [list(operands)],
    "torch.prim.ListUnpack": lambda op, operands: operands[0],
    "torch.prim.TupleUnpack": lambda op, operands: operands[0],
}
