# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reductions and scans. `dims` lists the reduced dims; an empty list means all of them, as in ATen.

Low-precision sums are accumulated in f32 and rounded once, as PyTorch does.
"""

import math

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import FlambeauOp
from flambeau.dialects.infer import normalize_dim, reduced_shape, reduction
from flambeau.dialects.opdef import (
    CHEAP,
    COSTLY,
    Bool,
    Int,
    Ints,
    Literal,
    Lowering,
    NotDifferentiable,
    Number,
    Result,
    Tensor,
    VerificationError,
    aten,
)
from flambeau.dialects.types import is_float, is_integer, is_low_precision, shape_of, tensor_type

_TRUTH_VALUES = NotDifferentiable("truth values carry no gradient")
_INDICES = NotDifferentiable("indices carry no gradient")


def _type(text: str) -> ir.Type:
    return ir.Type.parse(text)


def _accumulating(op):
    """Sums and products of integers and bools are i64."""
    element = _type("i64") if is_integer(op.x) else op.x.element_type
    return tensor_type(reduced_shape(op.x, op.dims, op.keepdim), element)


def _floating(op):
    if is_integer(op.x):
        raise VerificationError(f"is for floating-point tensors, found {op.x} (cast with flambeau.to_dtype)")
    return reduction()(op)


def _all_dims(x, dims):
    """The reduced dims, none of them negative."""
    rank = len(shape_of(x))
    return sorted(normalize_dim(d, rank) for d in dims) if dims and rank else list(range(rank))


def restore(value, x, dims, keepdim):
    """A reduction's result or gradient, broadcast back to the shape of `x`."""
    if not keepdim:
        for dim in _all_dims(x, dims):
            value = b.unsqueeze(value, dim)
    return b.expand_to(value, x)


def _restore_dim(value, x, dim, keepdim):
    """The same for a reduction over one dim, or over all if None."""
    return restore(value, x, [] if dim is None else [dim], keepdim)


def count(x, dims, element):
    """How many elements are reduced to one, as a rank-0 tensor."""
    sizes = [b.size(x, d) for d in _all_dims(x, dims)]
    return b.tensor_from_index(b.multiply_sizes(sizes), element)


# --- Sums and products -----------------------------------------------------------------------------------------------


class SumOp(FlambeauOp, name="sum"):
    """The sum over `dims`; i64 for integers and bool.

    Gradient: g, broadcast.
    """

    x: Tensor
    dims: Ints = ()
    keepdim: Bool = False
    out: Result
    aten = (aten("sum.dim_IntList", "x", "dims", "keepdim", None), aten("sum", "x", None))
    lowering = Lowering.RULE
    recompute = CHEAP
    infer = _accumulating

    def vjp(op, g):
        return {"x": restore(g, op.x, op.dims, op.keepdim)}


class MeanOp(FlambeauOp, name="mean"):
    """The mean over `dims`.

    Gradient: g / n, broadcast; n is the number of elements that become one.
    """

    x: Tensor
    dims: Ints = ()
    keepdim: Bool = False
    out: Result
    aten = (aten("mean.dim", "x", "dims", "keepdim", None), aten("mean", "x", None))
    lowering = Lowering.RULE
    recompute = CHEAP
    infer = _floating

    def vjp(op, g):
        n = count(op.x, op.dims, g.type.element_type)
        return {"x": restore(b.div(g, b.expand_to(n, g)), op.x, op.dims, op.keepdim)}


class ProdOp(FlambeauOp, name="prod"):
    """The product over `dim`, or over all if None; i64 for integers and bool.

    Gradient: g times the product of the other elements, which is right where elements are 0.
    """

    x: Tensor
    dim: Int | None = None
    keepdim: Bool = False
    out: Result
    aten = (aten("prod.dim_int", "x", "dim", "keepdim", None), aten("prod", "x", None))
    lowering = Lowering.RULE
    recompute = CHEAP

    def infer(op):
        element = _type("i64") if is_integer(op.x) else op.x.element_type
        return tensor_type(reduced_shape(op.x, None if op.dim is None else [op.dim], op.keepdim), element)

    def vjp(op, g):
        # The product of the others is made of the elements before and after: no division by an element that is 0.
        x = op.x
        if not shape_of(x):
            return {"x": g}
        dim, flat = op.dim, x
        if dim is None:
            dim, flat = 0, b.view(x, [b.multiply_sizes(b.sizes(x))])
        others = _product_of_others(flat, normalize_dim(dim, len(shape_of(flat))))
        others = others if op.dim is not None else b.view(others, b.sizes(x))
        return {"x": b.mul(_restore_dim(g, x, op.dim, op.keepdim), others)}


def _product_of_others(x, dim):
    """For each element, the product of all other elements along `dim`."""
    end = b.size(x, dim)
    one = b.full([1 if i == dim else s for i, s in enumerate(b.sizes(x))], 1, x.type.element_type)

    def before(y):
        shifted = b.cat([one, y], dim)
        return b.cumprod(b.slice(shifted, dim, 0, end, 1), dim)

    return b.mul(before(x), b.flip(before(b.flip(x, [dim])), [dim]))


class CumsumOp(FlambeauOp, name="cumsum"):
    """Running sums along `dim`; i64 for integers and bool.

    Gradient: running sums of g from the end.
    """

    x: Tensor
    dim: Int
    out: Result
    aten = aten("cumsum", "x", "dim", None)
    lowering = Lowering.RULE
    recompute = COSTLY

    def infer(op):
        normalize_dim(op.dim, len(shape_of(op.x)))
        return tensor_type(shape_of(op.x), _type("i64") if is_integer(op.x) else op.x.element_type)

    def vjp(op, g):
        if not shape_of(op.x):
            return {"x": g}
        return {"x": b.flip(b.cumsum(b.flip(g, [op.dim]), op.dim), [op.dim])}


class CumprodOp(FlambeauOp, name="cumprod"):
    """Running products along `dim`; i64 for integers and bool.

    Gradient: for each i, the sum over k >= i of g[k] times the product of the elements up to k other than i.
    """

    x: Tensor
    dim: Int
    out: Result
    aten = aten("cumprod", "x", "dim", None)
    lowering = Lowering.RULE
    recompute = COSTLY

    def infer(op):
        normalize_dim(op.dim, len(shape_of(op.x)))
        return tensor_type(shape_of(op.x), _type("i64") if is_integer(op.x) else op.x.element_type)
