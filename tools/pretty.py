# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A module -> short text to read: one line per op with its type and the user's source line. Nothing reads it back.

Constants that are one number, and arithmetic on sizes, stand where they are used; sizes have the names of the
arguments' symbols. Other dialects' ops keep their full names.
"""

import linecache
import re
from collections.abc import Hashable, Iterable, Sequence
from pathlib import PurePath
from typing import Any

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import choice, host
from flambeau.dialects.dialect import RefType
from flambeau.dialects.equal_sizes import SizeOrigins
from flambeau.dialects.errors import file_location
from flambeau.dialects.facts import ArgumentFacts, ResultFacts
from flambeau.dialects.opdef import OPS
from flambeau.dialects.types import DYNAMIC, is_tensor, shape_of

_OP_WIDTH, _TYPE_WIDTH = 56, 24
_TORCH_TENSOR = re.compile(r"!torch\.v?tensor<\[([^\]]*)\],(.+)>")
_SIZE_OPERATORS = {
    "arith.addi": "{} + {}",
    "arith.subi": "{} - {}",
    "arith.muli": "{}*{}",
    "arith.floordivsi": "{}//{}",
    "arith.ceildivsi": "-(-{}//{})",
    "arith.remsi": "{} % {}",
    "arith.maxsi": "max({}, {})",
    "arith.minsi": "min({}, {})",
}


def pretty(module: ir.Module) -> str:
    """All functions of a module, with an empty line between them; other top-level ops as MLIR prints them."""
    own_file = _file(module.operation.location)
    parts = []
    for op in module.body.operations:
        if op.operation.name != "func.func" or len(op.regions[0].blocks) > 1:
            parts.append(str(op).rstrip())
        elif len(op.regions[0].blocks):
            parts.append(_Printer(own_file).function(op))
        else:
            parts.append(_declaration(op))
    return "\n\n".join(parts) + "\n"


def _declaration(function: Any) -> str:
    """A function without a body, and what it stands for."""
    inputs, results = (", ".join(map(_type_text, t)) for t in (function.type.inputs, function.type.results))
    if choice.is_choice(function):
        on_true, on_false = choice.branch_names(function)
        meaning = f"calls {on_true} if its first argument is true, else {on_false}"
    elif host.is_host_function(function):
        called = host.target(function)
        derivative = host.VJP_OF_RESULTS in function.operation.attributes
        meaning = f"{'the derivative of ' if derivative else ''}{called} on the host"
    else:
        meaning = "is elsewhere"
    return f"private def {function.name.value}({inputs}) -> ({results}): {meaning}"


def _file(location: ir.Location) -> str | None:
    place = file_location(location)
    return place[0] if place else None


class _Printer:
    """One function. Lines that the IR's own text has in `own_file` are no source lines."""

    def __init__(self, own_file: str | None):
        self._own_file = own_file
        self._names: dict[ir.Value, str] = {}
        self._taken: set[str] = set()
        self._origins = SizeOrigins()
        self._last_source = ""
        self._lines: list[tuple[str, str, str]] = []

    def function(self, function: Any) -> str:
        """The lines of a `func.func` with one block."""
        block = fn.entry_block(function)
        of_arguments, of_results = fn.argument_facts(function), fn.result_facts(function)
        for argument, facts in zip(block.arguments, of_arguments, strict=True):
            self._name(argument, self._argument_name(argument, facts))
            for dim, size in enumerate(facts.dims or ()):
                if isinstance(size, str) and is_tensor(argument.type):
                    self._origins.describe(argument, dim, size)
        arguments = [
            f"{self._names[a]}: {self._type(a)}{_facts(_ARGUMENT_FACTS, facts)}"
            for a, facts in zip(block.arguments, of_arguments, strict=True)
        ]
        returned = [
            f"{self._type(v)}{_facts(_RESULT_FACTS, facts)}"
            for v, facts in zip(fn.terminator(block).operands, of_results, strict=True)
        ]
        private = "private " if fn.is_private(function) else ""
        self._block(block, "  ")
        head = f"{private}def {function.name.value}({_listed(arguments)}) -> ({_listed(returned)}):"
        return "\n".join([head, *_columns(self._lines)])

    def _argument_name(self, argument: ir.Value, facts: ArgumentFacts) -> str:
        location = argument.location
        if isinstance(location, ir.NameLoc) and location.name_str.isidentifier():
            return str(location.name_str)
        return facts.role or "arg"

    def _name(self, value: ir.Value, wanted: str) -> str:
        name, count = wanted, 1
        while name in self._taken:
            name, count = f"{wanted}_{count}", count + 1
        self._taken.add(name)
        self._names[value] = name
        return name

    def _block(self, block: ir.Block, indent: str) -> None:
        for op in fn.operations(block):
            if op.name in OPS or len(op.regions) or not self._is_inline(op):
                self._op(op, indent)

    def _op(self, op: ir.Operation, indent: str) -> None:
        if self._is_inline(op):
            return
        call = self._call(op)
        targets = [self._name(r, _short_name(op.name)) for r in op.results]
        text = f"{indent}{', '.join(targets)} = {call}" if targets else f"{indent}{call}"
        types = ", ".join(self._type(r) for r in op.results)
        source = self._source(op.location)
        self._lines.append((text, types, f"# {source}" if source else ""))
        for number, region in enumerate(op.regions):
            for block in region.blocks:
                names = [self._name(a, "arg") for a in block.arguments]
                self._lines.append((f"{indent}  region {number}({', '.join(names)}):", "", ""))
                self._block(block, f"{indent}    ")

    # --- One op ------------------------------------------------------------------------------------------------------

    def _call(self, op: ir.Operation) -> str:
        if op.name in ("func.return", "return"):
            return f"return {', '.join(map(self._operand, op.operands))}".rstrip()
        if op.name == "func.call":
            return f"call @{fn.callee_name(op)}({', '.join(map(self._operand, op.operands))})"
        arguments = self._fields(op) if op.name in OPS else self._generic(op)
        return f"{op.name.removeprefix('flambeau.')}({', '.join(arguments)})"

    def _fields(self, op: ir.Operation) -> Iterable[str]:
        """The fields of an op of ours: operands, then attributes by name."""
        for item in OPS[op.name].fields:
            value = getattr(op.opview, item.name)
            if value is None:
                continue
            if item.is_operand:
                yield f"[{', '.join(map(self._operand, value))}]" if item.variadic else self._operand(value)
            elif item.is_size:
                sizes = value if isinstance(value, list | tuple) else [value]
                text = ", ".join(map(self._operand, sizes))
                yield f"{item.name}=[{text}]" if isinstance(value, list | tuple) else f"{item.name}={text}"
            else:
                yield f"{item.name}={_attribute(value)}"

    def _generic(self, op: ir.Operation) -> Iterable[str]:
        yield from map(self._operand, op.operands)
        for named in op.attributes:
            yield f"{named}={_attribute(op.attributes[named])}"

    def _operand(self, value: Any) -> str:
        """A value as it is written where it is used."""
        if isinstance(value, int):
            return str(value)
        if value in self._names:
            return self._names[value]
        op = value.owner.operation if not isinstance(value.owner, ir.Block) else None
        if op is None:
            return str(value)
        if isinstance(value.type, ir.IndexType):
            return self._size(self._origins.size(value)) or self._index(op)
        return self._literal(op) or str(value)

    def _is_inline(self, op: ir.Operation) -> bool:
        """Whether an op is written where its result is used."""
        if len(op.results) != 1 or len(op.regions):
            return False
        if isinstance(op.results[0].type, ir.IndexType):
            return op.name in ("flambeau.dim", "arith.constant") or op.name in _SIZE_OPERATORS
        return self._literal(op) is not None

    def _literal(self, op: ir.Operation) -> str | None:
        """The number that a constant or its expansion is filled with; a Python value of the torch dialect."""
        if op.name == "flambeau.expand" and not isinstance(op.operands[0].owner, ir.Block):
            return self._literal(op.operands[0].owner.operation)
        if op.name == "torch.constant.none":
            return "none"
        if op.name.startswith("torch.constant."):
            return _attribute(op.attributes["value"])
        if op.name == "torch.prim.ListConstruct":
            return f"[{', '.join(map(self._operand, op.operands))}]"
        if op.name not in ("flambeau.constant", "arith.constant"):
            return None
        value = op.attributes["value"]
        if isinstance(value, ir.DenseElementsAttr) and value.is_splat:
            return _attribute(value.get_splat_value())
        return _attribute(value) if isinstance(value, ir.IntegerAttr | ir.FloatAttr) else None

    def _index(self, op: ir.Operation) -> str:
        if op.name == "flambeau.dim":
            return f"{self._operand(op.operands[0])}.size({op.opview.index})"
        if op.name in _SIZE_OPERATORS:
            parts = [self._operand(o) for o in op.operands]
            return _SIZE_OPERATORS[op.name].format(*(f"({p})" if " " in p else p for p in parts))
        return str(op.results[0])

    # --- Types, sizes, sources ---------------------------------------------------------------------------------------

    def _type(self, value: ir.Value) -> str:
        if not is_tensor(value.type):
            return _type_text(value.type)
        dims = range(value.type.rank)
        return _tensor_text(value.type, [self._size(self._origins.dim(value, d)) or DYNAMIC for d in dims])

    def _size(self, origin: Hashable) -> str | None:
        """A size by the symbols that it is made of, if it is made of symbols."""
        if isinstance(origin, int | str):
            return str(origin)
        if isinstance(origin, tuple) and origin[0] in _SIZE_OPERATORS:
            parts = [self._size(o) for o in origin[1:]]
            if None not in parts:
                return _SIZE_OPERATORS[str(origin[0])].format(
                    *(f"({p})" if " " in str(p) else p for p in parts)
                )
        return None

    def _source(self, location: ir.Location) -> str:
        """`backward of model.py:12  y = f(x)`; the text of the line only where it is another than before."""
        place = file_location(location)
        if place is None or place[0] == self._own_file:
            return ""
        file, line, _ = place
        prefix = "backward of " if "backward" in _names_of(location) else ""
        where = f"{prefix}{PurePath(file).name}:{line}"
        text = linecache.getline(file, line).strip()
        new, self._last_source = f"{file}:{line}" != self._last_source, f"{file}:{line}"
        return f"{where}  {text}" if text and new else where


def _short_name(op_name: str) -> str:
    """What a result is called: `mul` for `flambeau.mul` and for `torch.aten.mul.Tensor`."""
    parts = op_name.split(".")
    return parts[2] if parts[:2] == ["torch", "aten"] and len(parts) > 2 else parts[-1]


def _columns(lines: Sequence[tuple[str, str, str]]) -> list[str]:
    """Texts in columns, as wide as they need, up to a limit."""
    widths = [
        min(max((len(line[column]) for line in lines if any(line[1:])), default=0), limit)
        for column, limit in ((0, _OP_WIDTH), (1, _TYPE_WIDTH))
    ]
    return [f"{a:<{widths[0]}}  {t:<{widths[1]}}  {c}".rstrip() for a, t, c in lines]


def _names_of(location: ir.Location) -> list[str]:
    return [location.name_str, *_names_of(location.child_loc)] if isinstance(location, ir.NameLoc) else []


def _type_text(type_: ir.Type) -> str:
    """A type as far as it says itself."""
    if isinstance(type_, RefType):
        return f"ref {_type_text(type_.tensor)}"
    if is_tensor(type_):
        return _tensor_text(type_, shape_of(type_))
    match = _TORCH_TENSOR.fullmatch(str(type_))
    return f"{match.group(2)}[{match.group(1)}]" if match else str(type_)


def _tensor_text(type_: Any, sizes: Sequence[int | str]) -> str:
    return f"{type_.element_type}[{','.join('?' if s == DYNAMIC else str(s) for s in sizes)}]"


def _attribute(value: Any) -> str:
    """A Python value or MLIR attribute, short."""
    if isinstance(value, ir.BoolAttr | bool):
        return str(bool(value.value if isinstance(value, ir.BoolAttr) else value)).lower()
    if isinstance(value, ir.FloatAttr | float):
        return f"{value.value if isinstance(value, ir.FloatAttr) else value:.6g}"
    if isinstance(value, ir.IntegerAttr):
        return str(value.value)
    if isinstance(value, ir.StringAttr):
        return repr(value.value)
    if isinstance(value, ir.DenseElementsAttr):
        text = str(value)
        return text if len(text) <= 40 else f"dense<...> : {value.type}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_attribute, value))}]"
    return repr(value) if isinstance(value, str) else str(value)


def _listed(parts: Sequence[str]) -> str:
    """Separated by commas: on one line if short, else one line each."""
    line = ", ".join(parts)
    return line if len(line) <= 80 else "\n    " + ",\n    ".join(parts) + ",\n"


# Facts about arguments and results as words; `{}` is the fact.
_ARGUMENT_FACTS = {
    "role": "{}",
    "requires_grad": "grad",
    "of_argument": "of argument {}",
    "of_result": "of result {}",
}
_RESULT_FACTS = {
    "updates": "updates argument {}",
    "saved": "saved",
    "gradient_of": "gradient of argument {}",
    "is_argument": "is argument {}",
    "view_of_argument": "view of argument {}",
    "view_of_result": "view of result {}",
    "base": "base",
}


def _facts(words: dict[str, str], facts: ArgumentFacts | ResultFacts) -> str:
    stated = {name: getattr(facts, name) for name in words}
    return "".join(
        f" {words[name].format(value)}"
        for name, value in stated.items()
        if value is not None and value is not False
    )
