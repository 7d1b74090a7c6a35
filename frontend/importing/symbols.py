# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Symbolic sizes: SymInts -> `index` values in the function being imported, and expressions in attributes.

A symbol's value is the size of an argument's dim that is just this symbol, else an argument of type `index`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import sympy
import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.utils._sympy.functions import CeilDiv, FloorDiv, Mod, PythonMod
from torch.utils._sympy.functions import Max as TorchMax
from torch.utils._sympy.functions import Min as TorchMin

from flambeau.dialects import build as b
from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.facts import Extent


def static(value: Any) -> int | None:
    """The number, if a size is one for all inputs; None if it is symbolic. TypeError for a symbolic float."""
    if isinstance(value, torch.SymFloat | torch.SymBool):
        raise TypeError(f"{value} depends on data and is no size")
    if isinstance(value, torch.SymInt):
        known = value.node.maybe_as_int()
        if known is None and not value.node.expr.is_Symbol and statically_known_true(value == 1):
            return 1  # by a guard: what broadcasts must be seen to
        return int(known) if known is not None else None
    return int(value)


def expression(value: int | torch.SymInt) -> sympy.Expr:
    """The sympy expression of a size, in the shape environment's current form."""
    if not isinstance(value, torch.SymInt):
        return sympy.Integer(int(value))
    node = value.node
    return node.shape_env.replace(node.expr) if node.shape_env is not None else node.expr


_ANY_SIZE = 7919  # of a size that depends on data: a number that no other size is


def hint(size: int | torch.SymInt) -> int:
    """A size at the traced inputs; only properties that hold for all sizes may be decided with it."""
    if not isinstance(size, torch.SymInt):
        return int(size)
    known = size.node.hint
    return _ANY_SIZE if known is None else int(known)


def extents(sizes: Iterable[Any]) -> tuple[Extent, ...]:
    """Sizes as facts have them: numbers, and text for symbols and expressions (`s0`, `2*s0 + 1`)."""
    return tuple(str(expression(s)) if (known := static(s)) is None else known for s in sizes)


class Symbols:
    """The symbols of a graph as values of the function being built; made at the current insertion point, on demand."""

    def __init__(self, values: Sequence[Any], arguments: Sequence[ir.Value]):
        """`values`: the fake tensors or SymInts that the block's `arguments` stand for."""
        self._sources: dict[sympy.Symbol, tuple[ir.Value, int | None]] = {}
        for value, argument in zip(values, arguments, strict=True):
            for dim, size in enumerate(value.shape if isinstance(value, torch.Tensor) else ()):
                self.bind(size, argument, dim)
        for value, argument in zip(values, arguments, strict=True):
            if isinstance(value, torch.SymInt):
                self.bind(value, argument)
        self._values: dict[sympy.Expr, ir.Value] = {}

    def bind(self, size: int | torch.SymInt, value: ir.Value, dim: int | None = None) -> None:
        """Say that a size that depends on data is the index `value`, or its size at `dim`; known sizes stay."""
        symbol = expression(size)
        if isinstance(symbol, sympy.Symbol):
            self._sources.setdefault(symbol, (value, dim))

    def value(self, size: int | torch.SymInt) -> int | ir.Value:
        """An int for a static size, else an index value that computes it."""
        known = static(size)
        return known if known is not None else b.as_index(self._emit(expression(size)))

    def truth(self, comparison: bool | torch.SymBool) -> ir.Value:
        """A bool tensor of rank 0 that says whether a comparison of two sizes holds."""
        i1, i64 = (ir.IntegerType.get_signless(bits) for bits in (1, 64))
        if isinstance(comparison, bool):
            return b.scalar(comparison, i1)
        expr = comparison.node.shape_env.replace(comparison.node.expr)
        if expr.func not in _COMPARE:
            raise TypeError(f"the condition {expr} is no comparison of two sizes")
        left, right = (b.tensor_from_index(self._emit(side), i64) for side in expr.args)
        found: ir.Value = getattr(b, _COMPARE[expr.func])(left, right)
        return found

    def _emit(self, expr: sympy.Expr) -> int | ir.Value:
        if isinstance(expr, sympy.Integer):
            return int(expr)
        if expr not in self._values:
            self._values[expr] = b.as_index(self._emit_new(expr))
        return self._values[expr]

    def _emit_new(self, expr: sympy.Expr) -> int | ir.Value:
        if isinstance(expr, sympy.Symbol):
            if expr not in self._sources:
                raise TypeError(f"size {expr} depends on data, or is not the size of an input")
            argument, dim = self._sources[expr]
            if dim is None:
                return argument
            # Sizes of a written argument: reading it is harmless, the size never changes.
            tensor = b.ref_load(argument) if not isinstance(argument.type, ir.RankedTensorType) else argument
            return b.dim(tensor, dim)
        if isinstance(expr, sympy.Pow) and isinstance(expr.exp, sympy.Integer) and expr.exp > 0:
            return b.multiply_sizes([self._emit(expr.base)] * int(expr.exp))
        combine = _COMBINE.get(expr.func)
        if combine is None:
            raise TypeError(f"size {expr}: {expr.func.__name__} is not supported in sizes")
        parts = [b.as_index(self._emit(a)) for a in expr.args]
        total = parts[0]
        for part in parts[1:]:
            total = combine(total, part)
        return total


_COMBINE: dict[Any, Any] = {
    sympy.Add: arith.addi,
    sympy.Mul: arith.muli,
    sympy.Max: arith.maxsi,
    sympy.Min: arith.minsi,
    TorchMax: arith.maxsi,
    TorchMin: arith.minsi,
    FloorDiv: arith.floordivsi,
    CeilDiv: arith.ceildivsi,
    Mod: arith.remsi,
    PythonMod: arith.remsi,
}

_COMPARE: dict[Any, str] = {
    sympy.StrictLessThan: "lt",
    sympy.LessThan: "le",
    sympy.StrictGreaterThan: "gt",
    sympy.GreaterThan: "ge",
    sympy.Equality: "eq",
    sympy.Unequality: "ne",
}
