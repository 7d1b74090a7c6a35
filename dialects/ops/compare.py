# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Comparisons, tests of single elements, logical and bitwise operations, and choices between elements."""

import math

from flambeau.dialects import build as b
from flambeau.dialects.dialect import ElementwiseOp
from flambeau.dialects.infer import equal_types, merge_shapes
from flambeau.dialects.opdef import Lowering, NotDifferentiable, Result, Tensor, VerificationError, aten
from flambeau.dialects.types import (
    compatible,
    is_bool,
    is_float,
    is_integer,
    shape_of,
    tensor_type,
    with_element,
)

_TRUTH_VALUES = NotDifferentiable("truth values carry no gradient")
_INTEGERS = NotDifferentiable("integers carry no gradient")


def _integral(*names: str):
    """Operands of equal integer or bool types; the result too."""

    def infer(op):
        type_ = equal_types(*names)(op)
        if not is_integer(type_):
            raise VerificationError(f"is for integer and bool tensors, found {type_}")
        return type_

    return infer


# --- Comparisons -----------------------------------------------------------------------------------------------------


class EqOp(ElementwiseOp, name="eq"):
    """x == y, as bool."""

    x: Tensor
    y: Tensor
    out: Result
    aten = ("eq.Tensor", "eq.Scalar")
    infer = equal_types("x", "y", element="i1")
    vjp = _TRUTH_VALUES


class NeOp(ElementwiseOp, name="ne"):
    """x != y, as bool; true where one is NaN."""

    x: Tensor
    y: Tensor
    out: Result
    aten = ("ne.Tensor", "ne.Scalar")
    infer = equal_types("x", "y", element="i1")
    vjp = _TRUTH_VALUES


class LtOp(ElementwiseOp, name="lt"):
    """x < y, as bool."""

    x: Tensor
    y: Tensor
    out: Result
    aten = ("lt.Tensor", "lt.Scalar")
    infer = equal_types("x", "y", element="i1")
    vjp = _TRUTH_VALUES


class LeOp(ElementwiseOp, name="le"):
    """x <= y, as bool."""

    x: Tensor
    y: Tensor
    out: Result
    aten = ("le.Tensor", "le.Scalar")
    infer = equal_types("x", "y", element="i1")
    vjp = _TRUTH_VALUES


class GtOp(ElementwiseOp, name="gt"):
    """x > y, as bool."""

    x: Tensor
    y: Tensor
    out: Result
    aten = ("gt.Tensor", "gt.Scalar")
    infer = equal_types("x", "y", element="i1")
    vjp = _TRUTH_VALUES


class GeOp(ElementwiseOp, name="ge"):
    """x >= y, as bool."""

    x: Tensor
    y: Tensor
    out: Result
    aten = ("ge.Tensor", "ge.Scalar")
    infer = equal_types("x", "y", element="i1")
    vjp = _TRUTH_VALUES


class IsnanOp(ElementwiseOp, name="isnan"):
    """Whether x is NaN."""

    x: Tensor
    out: Result
    aten = "isnan"
    infer = equal_types("x", element="i1")
    vjp = _TRUTH_VALUES


class IsinfOp(ElementwiseOp, name="isinf"):
    """Whether x is +inf or -inf."""

    x: Tensor
    out: Result
    aten = "isinf"
    infer = equal_types("x", element="i1")
    vjp = _TRUTH_VALUES


class IsfiniteOp(ElementwiseOp, name="isfinite"):
    """Whether x is neither infinite nor NaN."""

    x: Tensor
    out: Result
    aten = "isfinite"
    lowering = Lowering.DECOMPOSE
    infer = equal_types("x", element="i1")
    vjp = _TRUTH_VALUES

    def decompose(op):
        return b.lt(b.abs(op.x), math.inf) if is_float(op.x.type) else b.eq(op.x, op.x)


class SignbitOp(ElementwiseOp, name="signbit"):
    """Whether the sign of x is minus, -0.0 and negative NaNs included."""

    x: Tensor
    out: Result
    aten = "signbit"
    lowering = Lowering.DECOMPOSE
    infer = equal_types("x", element="i1")
    vjp = _TRUTH_VALUES

    def decompose(op):
        # For floats not x < 0, because of -0.0 and NaN.
        return b.lt(b.copysign(1, op.x) if is_float(op.x.type) else op.x, 0)


# --- Logical and bitwise operations ----------------------------------------------------------------------------------


class LogicalAndOp(ElementwiseOp, name="logical_and"):
    """Whether x and y are both not 0."""

    x: Tensor
    y: Tensor
    out: Result
    aten = "logical_and"
    infer = equal_types("x", "y", element="i1")
    vjp = _TRUTH_VALUES


class LogicalOrOp(ElementwiseOp, name="logical_or"):
    """Whether x or y is not 0."""

    x: Tensor
    y: Tensor
    out: Result
    aten = "logical_or"
    infer = equal_types("x", "y", element="i1")
    vjp = _TRUTH_VALUES


class LogicalXorOp(ElementwiseOp, name="logical_xor"):
    """Whether exactly one of x and y is not 0."""

    x: Tensor
    y: Tensor
    out: Result
    aten = "logical_xor"
    infer = equal_types("x", "y", element="i1")
    vjp = _TRUTH_VALUES


class LogicalNotOp(ElementwiseOp, name="logical_not"):
    """Whether x is 0."""

    x: Tensor
    out: Result
    aten = "logical_not"
    infer = equal_types("x", element="i1")
    vjp = _TRUTH_VALUES


class BitwiseAndOp(ElementwiseOp, name="bitwise_and"):
    """The bits that x and y share."""

    x: Tensor
    y: Tensor
    out: Result
    aten = ("bitwise_and.Tensor", "bitwise_and.Scalar", "bitwise_and.Scalar_Tensor")
    infer = _integral("x", "y")
    vjp = _INTEGERS


class BitwiseOrOp(ElementwiseOp, name="bitwise_or"):
    """The bits of x and y together."""

    x: Tensor
    y: Tensor
    out: Result
    aten = ("bitwise_or.Tensor", "bitwise_or.Scalar", "bitwise_or.Scalar_Tensor")
    infer = _integral("x", "y")
    vjp = _INTEGERS


class BitwiseXorOp(ElementwiseOp, name="bitwise_xor"):
    """The bits in which x and y differ."""

    x: Tensor
    y: Tensor
    out: Result
    aten = ("bitwise_xor.Tensor", "bitwise_xor.Scalar", "bitwise_xor.Scalar_Tensor")
    infer = _integral("x", "y")
    vjp = _INTEGERS


class BitwiseNotOp(ElementwiseOp, name="bitwise_not"):
    """All bits of x flipped; for bool "not"."""

    x: Tensor
    out: Result
    aten = "bitwise_not"
    infer = _integral("x")
    vjp = _INTEGERS


class BitwiseLeftShiftOp(ElementwiseOp, name="bitwise_left_shift"):
    """x shifted left by y bits; 0 if y is negative or not less than the number of bits."""

    x: Tensor
    y: Tensor
    out: Result
    aten = (
        "bitwise_left_shift.Tensor",
        "bitwise_left_shift.Tensor_Scalar",
        "bitwise_left_shift.Scalar_Tensor",
        "__lshift__.Tensor",
        "__lshift__.Scalar",
    )
    infer = _integral("x", "y")
    vjp = _INTEGERS


class BitwiseRightShiftOp(ElementwiseOp, name="bitwise_right_shift"):
    """x shifted right by y bits, keeping the sign; only the sign is left if y is out of range."""

    x: Tensor
    y: Tensor
    out: Result
    aten = (
        "bitwise_right_shift.Tensor",
        "bitwise_right_shift.Tensor_Scalar",
        "bitwise_right_shift.Scalar_Tensor",
        "__rshift__.Tensor",
        "__rshift__.Scalar",
    )
    infer = _integral("x", "y")
    vjp = _INTEGERS


# --- Choices ---------------------------------------------------------------------------------------------------------


class WhereOp(ElementwiseOp, name="where"):
    """x where `condition` is true, y elsewhere.

    Gradient: g where the condition is true, else 0; the rest of g.
    """

    condition: Tensor
    x: Tensor
    y: Tensor
    out: Result
    aten = (
        "where.self",
        "where.ScalarSelf",
        "where.ScalarOther",
        "where.Scalar",
        aten("masked_fill.Tensor", "y", "condition", "x"),
        aten("masked_fill.Scalar", "y", "condition", "x"),
    )
    conditions = ("condition",)

    def infer(op):
        type_ = equal_types("x", "y")(op)
        if not is_bool(op.condition):
            raise VerificationError(f"operand 'condition' must be bool, found {op.condition}")
        if not compatible(with_element(op.condition, type_.element_type), type_):
            raise VerificationError(
                f"operands 'condition' and 'x' differ in shape: {op.condition} and {type_} "
                "(broadcast with flambeau.expand)"
            )
        return tensor_type(merge_shapes(shape_of(op.condition), shape_of(type_)), type_.element_type)

    def vjp(op, g):
        return {"x": b.where(op.condition, g, 0), "y": b.where(op.condition, 0, g)}


class HeavisideOp(ElementwiseOp, name="heaviside"):
    """0 where x < 0, 1 where x > 0, `values` where x is 0."""

    x: Tensor
    values: Tensor
    out: Result
    aten = "heaviside"
    vjp = NotDifferentiable("PyTorch defines no derivative of heaviside")
