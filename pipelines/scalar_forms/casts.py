# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Casts between all element types, with the results that eager has on a CPU."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.types import is_unsigned
from flambeau.pipelines.scalar_forms.table import form
from flambeau.pipelines.scalar_forms.value import Value, integer_type, select


@form("to_dtype")
def to_dtype(x: Value, dtype: ir.Type) -> Value:
    if is_unsigned(dtype):
        return cast(x, integer_type(dtype.width), signed=False)
    return cast(x, dtype)


def truth(x: Value) -> Value:
    """Whether x is not 0; true for NaN."""
    return x if x.is_bool else x.differs(0)


def cast(x: Value, element: ir.Type, *, signed: bool = True) -> Value:
    """x with another (signless) element type; `signed` says how the result is read."""
    if x.element == element:
        return Value(x.value, signed=signed)
    if not isinstance(element, ir.IntegerType):
        return _float_to_float(x, element) if x.is_float else _integer_to_float(x, element)
    if element.width == 1:
        return truth(x)
    result = _float_to_integer(x, element, signed) if x.is_float else _integer_to_integer(x, element)
    return Value(result.value, signed=signed)


def widened(x: Value) -> Value:
    """16-bit floats as f32, in which eager computes with them; others as they are."""
    return cast(x, ir.F32Type.get()) if x.is_half else x


def _float_to_float(x: Value, element: ir.Type) -> Value:
    f32 = ir.F32Type.get()
    if x.is_half and element != f32:
        return cast(cast(x, f32), element)
    if x.is_float64 and element != f32:
        return cast(cast(x, f32), element)  # eager rounds twice on the way to 16 bits, too
    type_ = x.type_of(element)
    return Value(arith.extf(type_, x.value) if element.width > x.bits else arith.truncf(type_, x.value))


def _integer_to_float(x: Value, element: ir.Type) -> Value:
    if element.width == 16:
        return cast(cast(x, ir.F32Type.get()), element)
    convert = arith.sitofp if x.signed else arith.uitofp
    return Value(convert(x.type_of(element), x.value))


def _float_to_integer(x: Value, element: ir.IntegerType, signed: bool) -> Value:
    """Cut towards zero. NaN and what is out of range give the smallest i32 or i64, as x86 does, cut to fewer bits."""
    x = widened(x)
    bits = element.width if element.width >= 32 else 32 if signed else 64
    bound = 2.0 ** (bits - 1)
    inside = (x >= -bound) & (x < bound)
    whole = Value(arith.fptosi(x.type_of(integer_type(bits)), select(inside, x, -bound).value))
    return cast(whole, element)


def _integer_to_integer(x: Value, element: ir.IntegerType) -> Value:
    type_ = x.type_of(element)
    if element.width < x.bits:
        return Value(arith.trunci(type_, x.value))
    return Value((arith.extsi if x.signed else arith.extui)(type_, x.value))


def rounded_once(form: Callable[..., Value]) -> Callable[..., Value]:
    """The form, with 16-bit floats computed in f32 and rounded at the end, as in eager."""

    @wraps(form)
    def compute(*fields: Any) -> Value:
        like = next(f for f in fields if isinstance(f, Value))
        if not like.is_half:
            return form(*fields)
        return cast(form(*(widened(f) if isinstance(f, Value) else f for f in fields)), like.element)

    return compute
