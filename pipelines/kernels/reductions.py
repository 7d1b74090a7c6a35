# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How numbers are reduced to one: accumulators that begin at the neutral element, for vectors and scalars.

Sums begin at +0.0, as PyTorch's do. Sums of float16 and bfloat16 are added up in f32 and rounded once; integers and
bools are summed as i64. Extremes hand on NaN.
"""

from dataclasses import dataclass

from flambeau.dialects.bindings import ir
from flambeau.dialects.types import is_bool, is_low_precision, is_unsigned
from flambeau.pipelines.kernels.emitter import Emitter, IndexLike, signless, vector_type
from flambeau.pipelines.kernels.index_maps import NotCovered
from flambeau.pipelines.kernels.plan import Reduce


@dataclass(frozen=True)
class Accumulator:
    """One reduction's accumulator.

    kind: sum, prod, amax or amin. source: the element type of the terms. result: that of the result.
    element: in which it is accumulated.
    """

    kind: str
    source: ir.Type
    result: ir.Type
    element: ir.Type

    @property
    def _float(self) -> bool:
        return isinstance(self.element, ir.FloatType)

    @property
    def rounds(self) -> bool:
        """Whether the order of its operations matters."""
        return self._float and self.kind in ("sum", "prod")

    def start(self, e: Emitter, lanes: int) -> ir.Value:
        """The neutral element in all lanes."""
        return e.constant(ir.DenseElementsAttr.get_splat(vector_type(lanes, self.element), self._neutral()))

    def start_like(self, e: Emitter, value: ir.Value) -> ir.Value:
        """The neutral element in the type of `value`."""
        return self.start(e, value.type.shape[0])

    def _neutral(self) -> ir.Attribute:
        if self._float:
            number = {"sum": 0.0, "prod": 1.0, "amax": float("-inf"), "amin": float("inf")}[self.kind]
            return ir.FloatAttr.get(self.element, number)
        bits = ir.IntegerType(self.element).width
        least, most = (0, -1) if is_unsigned(self.source) else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        number = {"sum": 0, "prod": 1, "amax": least, "amin": most}[self.kind]
        return ir.IntegerAttr.get(self.element, number)

    def widen(self, e: Emitter, term: ir.Value) -> ir.Value:
        """A term in the element type of the accumulator."""
        if term.type.element_type == self.element:
            return term
        type_ = vector_type(term.type.shape[0], self.element)
        if self._float:
            return e.value("arith.extf", [term], type_)
        unsigned = is_bool(self.source) or is_unsigned(self.source)
        return e.value("arith.extui" if unsigned else "arith.extsi", [term], type_)

    def combine(
        self, e: Emitter, total: ir.Value, term: ir.Value, mask: tuple[ir.Value, IndexLike] | None
    ) -> ir.Value:
        """The accumulator with a term; where the mask is off it stays as it is."""
        new = self.merge(e, total, term)
        return new if mask is None else e.value("arith.select", [mask[0], new, total], total.type)

    def merge(self, e: Emitter, a: ir.Value, b: ir.Value) -> ir.Value:
        """Two accumulators as one."""
        unsigned = is_unsigned(self.source)
        names = {
            "sum": "arith.addf" if self._float else "arith.addi",
            "prod": "arith.mulf" if self._float else "arith.muli",
            "amax": "arith.maximumf" if self._float else "arith.maxui" if unsigned else "arith.maxsi",
            "amin": "arith.minimumf" if self._float else "arith.minui" if unsigned else "arith.minsi",
        }
        return e.value(names[self.kind], [a, b], a.type)

    def across(self, e: Emitter, vector: ir.Value) -> ir.Value:
        """All lanes as one number, by halves."""
        while vector.type.shape[0] > 1:
            vector = self.merge(e, *e.halves(vector))
        return e.first(vector)

    def divide(self, e: Emitter, total: ir.Value, size: IndexLike) -> ir.Value:
        """A sum divided by a number of elements."""
        if isinstance(size, int):
            return e.value("arith.divf", [total, e.number(size, total.type)], total.type)
        i64 = ir.IntegerType.get_signless(64)
        number = e.value("arith.sitofp", [e.value("arith.index_cast", [size], i64)], self.element)
        if isinstance(total.type, ir.VectorType):
            number = e.broadcast(number, total.type.shape[0])
        return e.value("arith.divf", [total, number], total.type)

    def narrow(self, e: Emitter, total: ir.Value) -> ir.Value:
        """An accumulator's value in the element type of the result."""
        wanted = signless(self.result)
        if self.element == wanted:
            return total
        vector = isinstance(total.type, ir.VectorType)
        type_ = vector_type(total.type.shape[0], wanted) if vector else wanted
        return e.value("arith.truncf", [total], type_)


def accumulator(kind: str, source: ir.Type, result: ir.Type) -> Accumulator:
    """The accumulator of a reduction of elements of type `source` to one of type `result`."""
    if kind in ("amax", "amin"):
        if is_bool(source):
            raise NotCovered(f"{kind} of bools")
        # float16 and bfloat16 as f32: IREE 3.13 fails to compile extremes of them.
        wide = ir.F32Type.get() if is_low_precision(source) else signless(source)
        return Accumulator(kind, source, result, wide)
    if is_low_precision(source) or is_low_precision(result):
        return Accumulator(kind, source, result, ir.F32Type.get())
    return Accumulator(kind, source, result, result)


def partial_type(reduction: Reduce) -> ir.Type:
    """The element type of a part of a reduction that is reduced further."""
    if reduction.kind in ("amax", "amin") and is_unsigned(reduction.type):
        return reduction.type  # whose element in an accumulator does not say that it has no sign
    return accumulator(reduction.kind, reduction.arguments[0].type, reduction.type).element
