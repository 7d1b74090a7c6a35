# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Constants, sizes as values, and values made from sizes."""

from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import FlambeauOp
from flambeau.dialects.opdef import (
    CHEAP,
    DType,
    Index,
    Int,
    Lowering,
    NotDifferentiable,
    Raw,
    Result,
    Size,
    Tensor,
    VerificationError,
)
from flambeau.dialects.types import shape_of, tensor_type


class ConstantOp(FlambeauOp, name="constant"):
    """A tensor known at compile time; `value` is a dense elements attribute."""

    value: Raw
    out: Result
    recompute = CHEAP
    lowering = Lowering.RULE
    vjp = NotDifferentiable("a constant depends on nothing")

    def infer(op):
        return op.value.type


class DimOp(FlambeauOp, name="dim"):
    """The size of dim `index` of `x`."""

    x: Tensor
    index: Int
    out: Result
    recompute = CHEAP
    lowering = Lowering.RULE
    vjp = NotDifferentiable("sizes carry no gradient")

    def infer(op):
        if not 0 <= op.index < len(shape_of(op.x)):
            raise VerificationError(f"index {op.index} is out of range for {op.x}")
        return ir.IndexType.get()


class SizeToTensorOp(FlambeauOp, name="size_to_tensor"):
    """A rank-0 tensor that holds a size."""

    size: Index
    dtype: DType
    out: Result
    recompute = CHEAP
    lowering = Lowering.RULE
    vjp = NotDifferentiable("sizes carry no gradient")

    def infer(op):
        return tensor_type([], op.dtype)


class IotaOp(FlambeauOp, name="iota"):
    """0, 1, ..., size - 1 along a single dim."""

    size: Size
    dtype: DType
    out: Result
    recompute = CHEAP
    lowering = Lowering.RULE
    vjp = NotDifferentiable("positions carry no gradient")

    def infer(op):
        return tensor_type([op.size], op.dtype)
