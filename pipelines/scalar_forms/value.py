# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Scalars and vectors with Python's operators, so that the form of an op reads like its formula.

An operator builds an `arith` or `math` op at the current insertion point; Python numbers become constants of the other
operand's type. Booleans are i1, integers have no sign in their type: `signed` says how to read them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from flambeau.dialects.bindings import arith, ir

Number = int | float


class Value:
    """A scalar, or a vector of any shape, of float, integer or bool elements."""

    __slots__ = ("signed", "value")

    def __init__(self, value: ir.Value, *, signed: bool = True):
        self.value = value
        self.signed = signed and not _is_bool(element_of(value.type))

    # --- What it is

    @property
    def element(self) -> ir.Type:
        """The element type; of a scalar, its type."""
        return element_of(self.value.type)

    @property
    def is_float(self) -> bool:
        return not isinstance(self.element, ir.IntegerType)

    @property
    def is_bool(self) -> bool:
        return _is_bool(self.element)

    @property
    def is_float64(self) -> bool:
        return isinstance(self.element, ir.F64Type)

    @property
    def is_half(self) -> bool:
        """Whether it is a 16-bit float."""
        return isinstance(self.element, ir.F16Type | ir.BF16Type)

    @property
    def bits(self) -> int:
        """The width of an element."""
        width: int = self.element.width
        return width

    def type_of(self, element: ir.Type) -> ir.Type:
        """The type of a value of the same shape with other elements."""
        type_ = self.value.type
        return ir.VectorType.get(type_.shape, element) if isinstance(type_, ir.VectorType) else element

    def constant(self, number: Number) -> "Value":
        """A constant of the same type."""
        return constant(self.value.type, number, signed=self.signed)

    def like(self, other: "Value | Number") -> "Value":
        """`other` as a value: a number becomes a constant of this type."""
        return other if isinstance(other, Value) else self.constant(other)

    # --- Arithmetic

    def __add__(self, other: "Value | Number") -> "Value":
        return self._binary("add", other)

    def __radd__(self, other: Number) -> "Value":
        return self.constant(other) + self

    def __sub__(self, other: "Value | Number") -> "Value":
        return self._binary("sub", other)

    def __rsub__(self, other: Number) -> "Value":
        return self.constant(other) - self

    def __mul__(self, other: "Value | Number") -> "Value":
        return self._binary("mul", other)

    def __rmul__(self, other: Number) -> "Value":
        return self.constant(other) * self

    def __truediv__(self, other: "Value | Number") -> "Value":
        """The quotient of floats; of integers it is cut towards zero, and undefined for a divisor 0."""
        return self._binary("div", other, by_sign=True)

    def __rtruediv__(self, other: Number) -> "Value":
        return self.constant(other) / self

    def __mod__(self, other: "Value | Number") -> "Value":
        """The rest of the quotient cut towards zero, exact; of integers undefined for a divisor 0."""
        return self._binary("rem", other, by_sign=True)

    def __neg__(self) -> "Value":
        return self._with(arith.negf(self.value)) if self.is_float else 0 - self

    # --- Bits

    def __and__(self, other: "Value | Number") -> "Value":
        return self._with(arith.andi(self.value, self.like(other).value))

    def __or__(self, other: "Value | Number") -> "Value":
        return self._with(arith.ori(self.value, self.like(other).value))

    def __xor__(self, other: "Value | Number") -> "Value":
        return self._with(arith.xori(self.value, self.like(other).value))

    def __invert__(self) -> "Value":
        return self ^ -1

    def __lshift__(self, other: "Value | Number") -> "Value":
        """Undefined for a count that is not less than the number of bits."""
        return self._with(arith.shli(self.value, self.like(other).value))

    def __rshift__(self, other: "Value | Number") -> "Value":
        """Keeps the sign of signed numbers; undefined for a count that is not less than the number of bits."""
        shift = arith.shrsi if self.signed else arith.shrui
        return self._with(shift(self.value, self.like(other).value))

    def as_unsigned(self) -> "Value":
        """The same bits, read as a number that is not negative."""
        return Value(self.value, signed=False)

    def as_signed(self) -> "Value":
        """The same bits, read as a signed number."""
        return Value(self.value)

    def bitcast(self, element: ir.Type) -> "Value":
        """The same bits as another type of the same width."""
        return Value(arith.bitcast(self.type_of(element), self.value))

    # --- Comparisons: values of i1, false where an operand is NaN

    def __lt__(self, other: "Value | Number") -> "Value":
        return self._compare("lt", other)

    def __le__(self, other: "Value | Number") -> "Value":
        return self._compare("le", other)

    def __gt__(self, other: "Value | Number") -> "Value":
        return self._compare("gt", other)

    def __ge__(self, other: "Value | Number") -> "Value":
        return self._compare("ge", other)

    def equals(self, other: "Value | Number") -> "Value":
        return self._compare("eq", other)

    def differs(self, other: "Value | Number") -> "Value":
        """Not `equals`: true where an operand is NaN."""
        predicate = arith.CmpFPredicate.UNE if self.is_float else arith.CmpIPredicate.ne
        return self._compare_by(predicate, other)

    def is_nan(self) -> "Value":
        return self._compare_by(arith.CmpFPredicate.UNO, self)

    def _compare(self, relation: str, other: "Value | Number") -> "Value":
        if self.is_float:
            return self._compare_by(getattr(arith.CmpFPredicate, f"O{relation.upper()}"), other)
        sign = "" if relation == "eq" else "s" if self.signed else "u"
        return self._compare_by(getattr(arith.CmpIPredicate, sign + relation), other)

    def _compare_by(self, predicate: Any, other: "Value | Number") -> "Value":
        compare = arith.cmpf if self.is_float else arith.cmpi
        return Value(compare(predicate, self.value, self.like(other).value))

    # --- How ops are built

    def _with(self, value: ir.Value) -> "Value":
        return Value(value, signed=self.signed)

    def _binary(self, name: str, other: "Value | Number", *, by_sign: bool = False) -> "Value":
        suffix = "f" if self.is_float else "i" if not by_sign else "si" if self.signed else "ui"
        return self._with(getattr(arith, name + suffix)(self.value, self.like(other).value))


def element_of(type_: ir.Type) -> ir.Type:
    """The element type of a vector type; any other type is its own."""
    return type_.element_type if isinstance(type_, ir.VectorType) else type_


def _is_bool(element: ir.Type) -> bool:
    return isinstance(element, ir.IntegerType) and element.width == 1


def integer_type(bits: int) -> ir.IntegerType:
    return ir.IntegerType.get_signless(bits)


def constant(type_: ir.Type, number: Number, *, signed: bool = True) -> Value:
    """A constant of a scalar or vector type; integers wrap around."""
    element = element_of(type_)
    if isinstance(element, ir.IntegerType):
        attribute: ir.Attribute = ir.IntegerAttr.get(element, _wrapped(int(number), element.width))
    else:
        attribute = ir.FloatAttr.get(element, float(number))
    if isinstance(type_, ir.VectorType):
        attribute = ir.DenseElementsAttr.get_splat(type_, attribute)
    return Value(arith.constant(type_, attribute), signed=signed)


def _wrapped(number: int, bits: int) -> int:
    """The signed number with the same lowest bits."""
    half = 1 << (bits - 1)
    return number if bits == 1 else (number + half) % (2 * half) - half


def select(condition: Value, then: Value | Number, otherwise: Value | Number) -> Value:
    """`then` where the condition holds, else `otherwise`; at most one of them is a number."""
    like = then if isinstance(then, Value) else otherwise
    assert isinstance(like, Value)
    chosen = arith.select(condition.value, like.like(then).value, like.like(otherwise).value)
    return Value(chosen, signed=like.signed)


def math_op(name: str, *operands: Value) -> Value:
    """An op of the math dialect on operands of one type."""
    first = operands[0]
    values = [v.value for v in operands]
    result = ir.Operation.create(f"math.{name}", results=[first.value.type], operands=values).results[0]
    return Value(result, signed=first.signed)


def fma(x: Value, y: Value | Number, z: Value | Number) -> Value:
    """x * y + z, rounded once."""
    return math_op("fma", x, x.like(y), x.like(z))


def maximum(x: Value, y: Value | Number) -> Value:
    """The larger one; NaN if one is."""
    name = "maximumf" if x.is_float else "maxsi" if x.signed else "maxui"
    return Value(getattr(arith, name)(x.value, x.like(y).value), signed=x.signed)


def minimum(x: Value, y: Value | Number) -> Value:
    """The smaller one; NaN if one is."""
    name = "minimumf" if x.is_float else "minsi" if x.signed else "minui"
    return Value(getattr(arith, name)(x.value, x.like(y).value), signed=x.signed)


def absolute(x: Value) -> Value:
    """|x|; the smallest integer stays as it is."""
    return math_op("absf", x) if x.is_float else math_op("absi", x) if x.signed else x


def copysign(x: Value, sign: Value) -> Value:
    """|x| with the sign of `sign`."""
    return math_op("copysign", x, sign)


def polynomial(x: Value, coefficients: Sequence[float]) -> Value:
    """Horner's scheme; the highest power's coefficient first."""
    value = x.constant(coefficients[0])
    for coefficient in coefficients[1:]:
        value = fma(value, x, coefficient)
    return value


def repeat_while(
    condition: Callable[..., Value], step: Callable[..., Sequence[Value]], start: Sequence[Value]
) -> list[Value]:
    """The values after as many steps as the condition holds; of vectors, for one element.

    A step must leave the elements alone for which it does not hold.
    """
    types = [v.value.type for v in start]

    def values(block: ir.Block) -> list[Value]:
        return [Value(a, signed=v.signed) for a, v in zip(block.arguments, start, strict=True)]

    loop = ir.Operation.create("scf.while", results=types, operands=[v.value for v in start], regions=2)
    before, after = (
        r.blocks.append(*types, arg_locs=[ir.Location.current] * len(types)) for r in loop.regions
    )
    with ir.InsertionPoint(before):
        goes_on = _any(condition(*values(before)).value)
        ir.Operation.create("scf.condition", operands=[goes_on, *before.arguments])
    with ir.InsertionPoint(after):
        ir.Operation.create("scf.yield", operands=[v.value for v in step(*values(after))])
    return [Value(r, signed=v.signed) for r, v in zip(loop.results, start, strict=True)]


def _any(x: ir.Value) -> ir.Value:
    """Whether one of the elements is true; of a scalar, itself."""
    type_ = x.type
    if not isinstance(type_, ir.VectorType):
        return x
    flat = ir.VectorType.get([math.prod(type_.shape)], type_.element_type)
    if flat != type_:
        x = ir.Operation.create("vector.shape_cast", results=[flat], operands=[x]).results[0]
    kind = {"kind": ir.Attribute.parse("#vector.kind<or>")}
    return ir.Operation.create(
        "vector.reduction", results=[flat.element_type], operands=[x], attributes=kind
    ).results[0]
