# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Symbolic sizes: SymInts -> `index` values in the function being imported.

A symbol's value is the size of an argument's dim that is just this symbol, else an argument of type `index`.
"""

from collections.abc import Sequence
from typing import Any

import sympy
import torch
from torch.utils._sympy.functions import CleanDiv, FloorDiv, Mod, PythonMod
from torch.utils._sympy.functions import Max as TorchMax
from torch.utils._sympy.functions import Min as TorchMin

from flambeau.dialects import build as b
from flambeau.dialects.bindings import arith, ir
from flambeau.frontend.capture.sizes import expression, static


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
    CleanDiv: arith.floordivsi,
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
