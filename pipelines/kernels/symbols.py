# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The sizes of a kernel's values as polynomials of what its operands say.

A `?` is a symbol. Two symbols are one where an elementwise op says so: its operands have equal sizes.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from flambeau.dialects.bindings import ir
from flambeau.dialects.equal_sizes import SizeOrigins
from flambeau.dialects.opdef import OPS
from flambeau.dialects.types import is_tensor
from flambeau.pipelines.kernels.index_maps import NotCovered
from flambeau.pipelines.kernels.polynomial import Polynomial

_ARITHMETIC = {"arith.addi": "+", "arith.subi": "-", "arith.muli": "*"}


class Symbols:
    """The sizes of all tensors in a kernel's block."""

    def __init__(self, block: ir.Block) -> None:
        self._origins = SizeOrigins()
        self._equal: dict[Hashable, Hashable] = {}
        self._numbers: dict[Hashable, int] = {}
        self._block = block
        for op in (o.operation for o in block.operations):
            if op.name in OPS and OPS[op.name].elementwise:
                self._unify([v for v in (*op.operands, *op.results) if is_tensor(v.type)])
            elif op.name in _SIZES:
                _SIZES[op.name](self, op.opview)

    def shape(self, tensor: ir.Value) -> list[Polynomial]:
        """The sizes of a tensor."""
        return [self._polynomial(self._origins.dim(tensor, d)) for d in range(tensor.type.rank)]

    def size(self, value: int | ir.Value) -> Polynomial:
        """An int or index value."""
        return self._polynomial(self._origins.size(value))

    def source(self, number: int) -> Hashable:
        """What says a symbol's value: (argument, dim), or an argument of type index."""
        return next(origin for origin, n in self._numbers.items() if n == number)

    def _unify(self, tensors: list[ir.Value], without: int | None = None) -> None:
        """All tensors have equal sizes, except for dim `without`."""
        for dim in range(tensors[0].type.rank):
            if dim != without:
                first, *others = (self._find(self._origins.dim(t, dim)) for t in tensors)
                for other in others:
                    first = self._join(first, self._find(other))

    def describe(self, tensor: ir.Value, sizes: list[Hashable]) -> None:
        """Say what the sizes of a tensor are, where its type does not."""
        for dim, size in enumerate(sizes):
            self._origins.describe(tensor, dim, size)

    def join_along(self, op: Any) -> None:
        """The sizes of joined tensors: their sum in one dim, and equal in all others."""
        sizes = self.origins(op.x)
        sizes[op.dim] = ("arith.addi", sizes[op.dim], self._origins.dim(op.y, op.dim))
        self.describe(op.out, sizes)
        self._unify([op.x, op.y], op.dim)

    def given(self, op: Any) -> None:
        """The sizes of a result that are given as operands."""
        self.describe(op.out, [self._origins.size(s) for s in op.shape])

    def expanded(self, op: Any) -> None:
        """Given sizes, which are those of the operand where that has not size 1."""
        self.given(op)
        added = op.out.type.rank - op.x.type.rank
        for dim, size in enumerate(self.origins(op.x)):
            if size != 1:
                out = self._find(self._origins.dim(op.out, added + dim))
                self._join(self._find(size), out)

    def sliced(self, op: Any) -> None:
        sizes = self.origins(op.x)
        if op.step == 1:
            sizes[op.dim] = ("arith.subi", self._origins.size(op.end), self._origins.size(op.start))
            self.describe(op.out, sizes)

    def as_operand(self, op: Any) -> None:
        self.describe(op.out, self.origins(op.x))

    def without(self, op: Any, dims: Sequence[int]) -> None:
        self.describe(op.out, [s for d, s in enumerate(self.origins(op.x)) if d not in dims])

    def origins(self, tensor: ir.Value) -> list[Hashable]:
        return [self._origins.dim(tensor, d) for d in range(tensor.type.rank)]

    def _join(self, a: Hashable, b: Hashable) -> Hashable:
        if a == b:
            return a
        if isinstance(b, int) or (not self._is_argument(a) and self._is_argument(b)):
            a, b = b, a
        if isinstance(b, int):
            raise NotCovered(f"sizes {a} and {b} are said to be equal")
        if not self._mentions(a, b):
            self._equal[b] = a
        return a

    def _mentions(self, origin: Hashable, other: Hashable) -> bool:
        """Whether a size is computed from another one, which then cannot be put in terms of it."""
        origin = self._find(origin)
        if origin == other:
            return True
        parts = origin[1:] if isinstance(origin, tuple) and isinstance(origin[0], str) else ()
        return any(self._mentions(part, other) for part in parts)

    def _find(self, origin: Hashable) -> Hashable:
        while origin in self._equal:
            origin = self._equal[origin]
        return origin

    def _is_argument(self, origin: Hashable) -> bool:
        value = origin[0] if isinstance(origin, tuple) and len(origin) == 2 else origin
        return isinstance(value, ir.Value) and isinstance(value.owner, ir.Block)

    def _polynomial(self, origin: Hashable) -> Polynomial:
        origin = self._find(origin)
        if isinstance(origin, int):
            return Polynomial.of(origin)
        if isinstance(origin, tuple) and origin[0] in _ARITHMETIC:
            x, y = (self._polynomial(o) for o in origin[1:])
            return {"+": x.__add__, "-": x.__sub__, "*": x.__mul__}[_ARITHMETIC[origin[0]]](y)
        if not self._is_argument(origin):
            raise NotCovered(f"a size is not known from the operands: {origin}")
        return Polynomial.symbol(self._numbers.setdefault(origin, len(self._numbers)))


# What inference with made-up sizes cannot find out: it refuses most of them.
_SIZES: dict[str, Callable[[Symbols, Any], None]] = {
    "flambeau.cat": Symbols.join_along,
    "flambeau.expand": Symbols.expanded,
    "flambeau.view": Symbols.given,
    "flambeau.slice": Symbols.sliced,
    "flambeau.slice_scatter": Symbols.as_operand,
    "flambeau.select_scatter": Symbols.as_operand,
    "flambeau.select": lambda symbols, op: symbols.without(op, [op.dim]),
    "flambeau.squeeze": lambda symbols, op: symbols.without(op, op.dims),
}
