# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reductions and scans. `dims` lists the reduced dims; an empty list means all of them, as in ATen.

Low-precision sums are accumulated in f32 and rounded once, as PyTorch does.
"""

import math

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import FlambeauOp
from flambeau.dialects.infer import normalize_dim, positions_along_dim, reduced_shape, reduction
from flambeau.dialects.opdef import (
    CHEAP,
    COSTLY,
    Bool,
    Int,
    Ints,
    Lowering,
    NotDifferentiable,
    Number,
    Result,
    Tensor,
    VerificationError,
    aten,
)
from flambeau.dialects.types import (
    is_float,
    is_integer,
    is_low_precision,
    is_unsigned,
    shape_of,
    tensor_type,
)

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


class NansumOp(FlambeauOp, name="nansum"):
    """The sum over `dims` of what is not NaN."""

    x: Tensor
    dims: Ints = ()
    keepdim: Bool = False
    out: Result
    aten = aten("nansum", "x", "dims", "keepdim", None)
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _accumulating

    def decompose(op):
        x = b.where(b.isnan(op.x), 0, op.x) if is_float(op.x.type) else op.x
        return b.sum(x, op.dims, op.keepdim)


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
        x, dim = op.x, op.dim
        if not shape_of(x):
            return {"x": g}
        if dim is None:
            x, dim = b.view(x, [b.multiply_sizes(b.sizes(x))]), 0
        dim = normalize_dim(dim, len(shape_of(x)))
        # The square is the price of being right at 0, where out / x is not; the second derivative included.
        square, row, column = _square(x, dim)
        last = len(shape_of(x)) - 1
        others = b.transpose(b.prod(b.where(b.eq(row, column), 1, square), last + 1), dim, last)
        others = b.view(others, b.sizes(op.x)) if op.dim is None else others
        return {"x": b.mul(_restore_dim(g, op.x, op.dim, op.keepdim), others)}


def _square(x, dim):
    """`x` with `dim` moved to the end and repeated: [.., i, k] is x[.., k]; and the tensors of all i and all k."""
    last = len(shape_of(x)) - 1
    rows = b.unsqueeze(b.transpose(x, dim, last), last)
    sizes = b.sizes(rows)
    square = b.expand(rows, [*sizes[:-2], sizes[-1], sizes[-1]])
    return square, positions(square, last), positions(square, last + 1)


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
        dim = normalize_dim(op.dim, len(shape_of(op.x)))
        return {"x": b.flip(b.cumsum(b.flip(g, [dim]), dim), [dim])}


class CumprodOp(FlambeauOp, name="cumprod"):
    """Running products along `dim`; i64 for integers and bool.

    Gradient: for each i, the sum over k >= i of g[k] times the product of the elements up to k other than i.
    """

    x: Tensor
    dim: Int
    out: Result
    aten = aten("cumprod", "x", "dim", None)
    lowering = Lowering.DECOMPOSE
    recompute = COSTLY

    def infer(op):
        normalize_dim(op.dim, len(shape_of(op.x)))
        return tensor_type(shape_of(op.x), _type("i64") if is_integer(op.x) else op.x.element_type)

    def vjp(op, g):
        if not shape_of(op.x):
            return {"x": g}
        last = len(shape_of(op.x)) - 1
        dim = normalize_dim(op.dim, last + 1)
        # [.., i, k] becomes the product up to k with element i left out.
        square, row, column = _square(op.x, dim)
        others = b.cumprod(b.where(b.eq(row, column), 1, square), last + 1)
        g = b.expand_to(b.unsqueeze(b.transpose(g, dim, last), last), square)
        weighted = b.mul(g, b.where(b.ge(column, row), others, 0))
        return {"x": b.transpose(b.sum(weighted, [last + 1]), dim, last)}

    def decompose(op):
        element = op.out.type.element_type
        if not shape_of(op.x):
            return b.cast(op.x, element)
        last = len(shape_of(op.x)) - 1
        dim = normalize_dim(op.dim, last + 1)
        square, row, column = _square(b.cast(op.x, element), dim)
        return b.transpose(b.prod(b.where(b.le(column, row), square, 1), last + 1), dim, last)


def positions(x, dim):
    """The index along `dim` of each element of `x`, as i64."""
    size = b.size(x, dim)
    line = b.iota(size, _type("i64"))
    rank = len(shape_of(x))
    if rank > 1:
        line = b.view(line, [size if i == dim else 1 for i in range(rank)])
    return b.expand_to(line, x)


class CountNonzeroOp(FlambeauOp, name="count_nonzero"):
    """How many elements are not 0, over `dims`."""

    x: Tensor
    dims: Ints = ()
    out: Result
    aten = ("count_nonzero.dim_IntList", aten("count_nonzero", "x", None))
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    vjp = NotDifferentiable("counts carry no gradient")

    def infer(op):
        return tensor_type(reduced_shape(op.x, op.dims, False), _type("i64"))

    def decompose(op):
        return b.sum(b.ne(op.x, 0), op.dims)


# --- Statistics ------------------------------------------------------------------------------------------------------


def _degrees_of_freedom(x, dims, correction, element):
    """max(n - correction, 0) as a rank-0 tensor; None is a correction of 1."""
    n = count(x, dims, element)
    return b.maximum(b.sub(n, 1 if correction is None else correction), 0)


def _variance_gradient(op, g):
    g = restore(g, op.x, op.dims, op.keepdim)
    freedom = _degrees_of_freedom(op.x, op.dims, op.correction, g.type.element_type)
    centered = b.sub(op.x, b.expand_to(b.mean(op.x, op.dims, True), op.x))
    return b.mul(b.mul(g, b.expand_to(b.div(2, freedom), g)), centered)


class VarOp(FlambeauOp, name="var"):
    """The variance over `dims`: squared distances from the mean, summed, divided by n - correction (1 if None).

    Gradient: g * 2 / (n - correction) * (x - mean).
    """

    x: Tensor
    dims: Ints = ()
    correction: Number | None = None
    keepdim: Bool = False
    out: Result
    aten = "var.correction"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _floating

    def vjp(op, g):
        return {"x": _variance_gradient(op, g)}

    def decompose(op):
        element = op.x.type.element_type
        x = b.cast(op.x, _type("f32")) if is_low_precision(op.x.type) else op.x
        centered = b.sub(x, b.expand_to(b.mean(x, op.dims, True), x))
        squares = b.mul(centered, centered)
        if op.correction == 0:
            return b.cast(b.mean(squares, op.dims, op.keepdim), element)
        total = b.sum(squares, op.dims, op.keepdim)
        freedom = _degrees_of_freedom(x, op.dims, op.correction, x.type.element_type)
        return b.cast(b.div(total, b.expand_to(freedom, total)), element)


class StdOp(FlambeauOp, name="std"):
    """The standard deviation over `dims`: the square root of `var`.

    Gradient: g / (2 * out) times that of the variance, 0 where out is 0.
    """

    x: Tensor
    dims: Ints = ()
    correction: Number | None = None
    keepdim: Bool = False
    out: Result
    aten = "std.correction"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _floating

    def vjp(op, g):
        of_variance = b.where(b.eq(op.out, 0), 0, b.div(g, b.mul(op.out, 2)))
        return {"x": _variance_gradient(op, of_variance)}

    def decompose(op):
        element = op.x.type.element_type
        x = b.cast(op.x, _type("f32")) if is_low_precision(op.x.type) else op.x
        return b.cast(b.sqrt(b.var(x, op.dims, op.correction, op.keepdim)), element)


class VarMeanOp(FlambeauOp, name="var_mean"):
    """`var` and `mean` over `dims`."""

    x: Tensor
    dims: Ints = ()
    correction: Number | None = None
    keepdim: Bool = False
    variance: Result
    mean: Result
    aten = "var_mean.correction"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP

    def infer(op):
        return [_floating(op)] * 2

    def decompose(op):
        return [b.var(op.x, op.dims, op.correction, op.keepdim), b.mean(op.x, op.dims, op.keepdim)]


class StdMeanOp(FlambeauOp, name="std_mean"):
    """`std` and `mean` over `dims`."""

    x: Tensor
    dims: Ints = ()
    correction: Number | None = None
    keepdim: Bool = False
    deviation: Result
    mean: Result
    aten = "std_mean.correction"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP

    def infer(op):
        return [_floating(op)] * 2

    def decompose(op):
        return [b.std(op.x, op.dims, op.correction, op.keepdim), b.mean(op.x, op.dims, op.keepdim)]


class LogsumexpOp(FlambeauOp, name="logsumexp"):
    """log(sum(exp(x))) over `dims` (none: all), without overflow.

    Gradient: g * exp(x - out).
    """

    x: Tensor
    dims: Ints
    keepdim: Bool = False
    out: Result
    aten = "logsumexp"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _floating

    def vjp(op, g):
        distance = b.sub(op.x, restore(op.out, op.x, op.dims, op.keepdim))
        return {"x": b.mul(restore(g, op.x, op.dims, op.keepdim), b.exp(distance))}

    def decompose(op):
        largest = b.amax(op.x, op.dims, True)
        largest = b.where(b.isfinite(largest), largest, 0)
        total = b.sum(b.exp(b.sub(op.x, b.expand_to(largest, op.x))), op.dims, op.keepdim)
        if not op.keepdim:
            largest = b.view(largest, b.sizes(total)) if shape_of(op.x) else largest
        return b.add(b.log(total), largest)


class VectorNormOp(FlambeauOp, name="vector_norm"):
    """The norm of order `ord` over `dims`: sum(|x|^ord)^(1/ord), for inf the largest |x|, for 0 how many are not 0.

    Gradient: g * sign(x) * (|x| / out)^(ord - 1), 0 where out is 0; for inf shared by the largest ones.
    """

    x: Tensor
    ord: Number
    dims: Ints = ()
    keepdim: Bool = False
    out: Result
    aten = (
        aten("linalg_vector_norm", "x", "ord", "dims", "keepdim", None),
        aten("norm.ScalarOpt_dim", "x", "ord", "dims", "keepdim"),
        aten("norm.Scalar", "x", "ord"),
    )
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _floating

    def vjp(op, g):
        x, p = op.x, op.ord
        g = restore(g, x, op.dims, op.keepdim)
        if p == 0:
            return {"x": b.zeros_like(x)}
        if p == 1:
            return {"x": b.mul(g, b.sign(x))}
        norm = restore(op.out, x, op.dims, op.keepdim)
        if math.isinf(p):
            attained = b.eq(b.abs(x), norm)
            ties = b.cast(b.sum(attained, op.dims, True), x.type.element_type)
            shared = b.where(attained, b.div(g, b.expand_to(ties, x)), 0)
            return {"x": b.mul(shared, b.sign(x))}
        if p == 2:
            return {"x": b.mul(g, b.where(b.eq(norm, 0), 0, b.div(x, norm)))}
        if p < 1:
            powers = b.where(b.eq(x, 0), 0, b.mul(b.sign(x), b.pow_scalar(b.abs(x), p - 1)))
            return {"x": b.mul(b.mul(powers, g), b.pow_scalar(norm, 1 - p))}
        powers = b.mul(b.sign(x), b.pow_scalar(b.abs(x), p - 1))
        scale = b.where(b.eq(norm, 0), 0, b.div(g, b.pow_scalar(norm, p - 1)))
        return {"x": b.mul(powers, scale)}

    def decompose(op):
        element = op.x.type.element_type
        x, p = op.x, op.ord
        if is_low_precision(x.type):
            x = b.cast(x, _type("f32"))
        if p == 0:
            found = b.cast(b.sum(b.ne(x, 0), op.dims, op.keepdim), x.type.element_type)
        elif math.isinf(p):
            found = (b.amax if p > 0 else b.amin)(b.abs(x), op.dims, op.keepdim)
        elif p == 1:
            found = b.sum(b.abs(x), op.dims, op.keepdim)
        elif p == 2:
            found = b.sqrt(b.sum(b.mul(x, x), op.dims, op.keepdim))
        else:
            total = b.sum(b.pow_scalar(b.abs(x), p), op.dims, op.keepdim)
            found = b.pow_scalar(total, 1 / p)
        return b.cast(found, element)


# --- Extremes --------------------------------------------------------------------------------------------------------


def _shared_by_ties(op, g, keepdim):
    """The gradient of an extreme, in equal parts to all elements that attain it."""
    attained = b.eq(op.x, restore(op.out, op.x, op.dims, keepdim))
    ties = b.expand_to(b.cast(b.sum(attained, op.dims, True), g.type.element_type), op.x)
    return b.div(b.where(attained, restore(g, op.x, op.dims, keepdim), 0), ties)


class AmaxOp(FlambeauOp, name="amax"):
    """The largest element over `dims`; NaN if one is.

    Gradient: g in equal parts to the elements that attain it.
    """

    x: Tensor
    dims: Ints = ()
    keepdim: Bool = False
    out: Result
    aten = "amax"
    lowering = Lowering.RULE
    recompute = CHEAP
    infer = reduction()

    def vjp(op, g):
        return {"x": _shared_by_ties(op, g, op.keepdim)}


class AminOp(FlambeauOp, name="amin"):
    """The smallest element over `dims`; NaN if one is.

    Gradient: g in equal parts to the elements that attain it.
    """

    x: Tensor
    dims: Ints = ()
    keepdim: Bool = False
    out: Result
    aten = "amin"
    lowering = Lowering.RULE
    recompute = CHEAP
    infer = reduction()

    def vjp(op, g):
        return {"x": _shared_by_ties(op, g, op.keepdim)}


class AminmaxOp(FlambeauOp, name="aminmax"):
    """`amin` and `amax` over `dim`, or over all dims if None."""

    x: Tensor
    dim: Int | None = None
    keepdim: Bool = False
    min: Result
    max: Result
    aten = "aminmax"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP

    def infer(op):
        dims = None if op.dim is None else [op.dim]
        return [tensor_type(reduced_shape(op.x, dims, op.keepdim), op.x.element_type)] * 2

    def decompose(op):
        dims = [] if op.dim is None else [op.dim]
        return [b.amin(op.x, dims, op.keepdim), b.amax(op.x, dims, op.keepdim)]


def _shared_by_ties_or_nans(op, g):
    """As `_shared_by_ties`, over all dims; if the extreme is NaN the NaNs attain it."""
    out = b.expand_to(restore(op.out, op.x, [], False), op.x)
    attained = b.logical_or(b.eq(op.x, out), b.logical_and(b.isnan(op.x), b.isnan(out)))
    ties = b.cast(b.sum(attained), g.type.element_type)
    return b.where(attained, restore(b.div(g, ties), op.x, [], False), 0)


class MaxOp(FlambeauOp, name="max"):
    """The largest of all elements; NaN if one is.

    Gradient: g in equal parts to the elements that attain it.
    """

    x: Tensor
    out: Result
    aten = "max"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP

    def infer(op):
        return tensor_type([], op.x.element_type)

    def vjp(op, g):
        return {"x": _shared_by_ties_or_nans(op, g)}

    def decompose(op):
        return b.amax(op.x)


class MinOp(FlambeauOp, name="min"):
    """The smallest of all elements; NaN if one is.

    Gradient: g in equal parts to the elements that attain it.
    """

    x: Tensor
    out: Result
    aten = "min"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP

    def infer(op):
        return tensor_type([], op.x.element_type)

    def vjp(op, g):
        return {"x": _shared_by_ties_or_nans(op, g)}

    def decompose(op):
        return b.amin(op.x)


def _first_position(x, extreme, dim, keepdim):
    """The first position along `dim` at which `x` attains the extreme (with its dim kept); NaN attains NaN."""
    extreme = b.expand_to(extreme, x)
    attained = b.eq(x, extreme)
    if is_float(x.type):
        attained = b.logical_or(attained, b.isnan(x))
    never = b.tensor_from_index(b.size(x, dim), _type("i64"))
    return b.amin(b.where(attained, positions(x, dim), b.expand_to(never, x)), [dim], keepdim)


def _value_and_position(op, extreme):
    """Value and first position of the extreme along op.dim."""
    if not shape_of(op.x):
        return [op.x, b.scalar(0, _type("i64"))]
    dim = normalize_dim(op.dim, len(shape_of(op.x)))
    value = extreme(op.x, [dim], True)
    position = _first_position(op.x, value, dim, op.keepdim)
    return [value if op.keepdim else b.squeeze(value, [dim]), position]


def _position(op, extreme):
    """First position of the extreme along op.dim, or in the flattened tensor."""
    if not shape_of(op.x):
        return b.scalar(0, _type("i64"))
    x, dim = op.x, op.dim
    if dim is None:
        x, dim = b.view(x, [b.multiply_sizes(b.sizes(x))]), 0
    dim = normalize_dim(dim, len(shape_of(x)))
    found = _first_position(x, extreme(x, [dim], True), dim, op.dim is not None and op.keepdim)
    if op.dim is None and op.keepdim:
        return b.view(found, [1] * len(shape_of(op.x)))
    return found


def _at_position(op, g):
    """g at the position that was chosen along op.dim, 0 elsewhere."""
    if not shape_of(op.x):
        return g
    position = positions(op.x, normalize_dim(op.dim, len(shape_of(op.x))))
    chosen = b.eq(position, _restore_dim(op.indices, op.x, op.dim, op.keepdim))
    return b.where(chosen, _restore_dim(g, op.x, op.dim, op.keepdim), 0)


def _values_and_indices(op):
    shape = reduced_shape(op.x, [op.dim], op.keepdim)
    return [tensor_type(shape, op.x.element_type), tensor_type(shape, _type("i64"))]


def _index_of_extreme(op):
    return tensor_type(reduced_shape(op.x, None if op.dim is None else [op.dim], op.keepdim), _type("i64"))


class MaxDimOp(FlambeauOp, name="max_dim"):
    """The largest element along `dim` and its first position; a NaN is the largest.

    Gradient: g to the element at that position.
    """

    x: Tensor
    dim: Int
    keepdim: Bool = False
    values: Result
    indices: Result
    aten = "max.dim"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _values_and_indices
    bounds = positions_along_dim("indices")

    def vjp(op, g, _):
        return {"x": _at_position(op, g)}

    def decompose(op):
        return _value_and_position(op, b.amax)


class MinDimOp(FlambeauOp, name="min_dim"):
    """The smallest element along `dim` and its first position; a NaN is the smallest.

    Gradient: g to the element at that position.
    """

    x: Tensor
    dim: Int
    keepdim: Bool = False
    values: Result
    indices: Result
    aten = "min.dim"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _values_and_indices
    bounds = positions_along_dim("indices")

    def vjp(op, g, _):
        return {"x": _at_position(op, g)}

    def decompose(op):
        return _value_and_position(op, b.amin)


class ArgmaxOp(FlambeauOp, name="argmax"):
    """The first position of the largest element along `dim`, or in the flattened tensor if None."""

    x: Tensor
    dim: Int | None = None
    keepdim: Bool = False
    out: Result
    aten = "argmax"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _index_of_extreme
    vjp = _INDICES
    bounds = positions_along_dim("out")

    def decompose(op):
        return _position(op, b.amax)


class ArgminOp(FlambeauOp, name="argmin"):
    """The first position of the smallest element along `dim`, or in the flattened tensor if None."""

    x: Tensor
    dim: Int | None = None
    keepdim: Bool = False
    out: Result
    aten = "argmin"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _index_of_extreme
    vjp = _INDICES
    bounds = positions_along_dim("out")

    def decompose(op):
        return _position(op, b.amin)


# --- Truth -----------------------------------------------------------------------------------------------------------


def _truth(op):
    """bool, but uint8 for uint8, as in ATen. Here no dims are None, and an empty list reduces nothing."""
    element = op.x.element_type if is_unsigned(op.x) else _type("i1")
    shape = shape_of(op.x) if op.dims == [] else reduced_shape(op.x, op.dims, op.keepdim)
    return tensor_type(shape, element)


class AnyOp(FlambeauOp, name="any"):
    """Whether any element over `dims` is not 0; false for none. All dims if None, no dim if empty."""

    x: Tensor
    dims: Ints | None = None
    keepdim: Bool = False
    out: Result
    aten = ("any.dims", "any.dim", aten("any", "x"))
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _truth
    vjp = _TRUTH_VALUES

    def decompose(op):
        found = b.ne(op.x, 0)
        if op.dims != []:
            found = b.ne(b.sum(found, op.dims or [], op.keepdim), 0)
        return b.cast(found, op.out.type.element_type)


class AllOp(FlambeauOp, name="all"):
    """Whether all elements over `dims` are not 0; true for none. All dims if None, no dim if empty."""

    x: Tensor
    dims: Ints | None = None
    keepdim: Bool = False
    out: Result
    aten = ("all.dims", "all.dim", aten("all", "x"))
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _truth
    vjp = _TRUTH_VALUES

    def decompose(op):
        found = b.ne(op.x, 0)
        if op.dims != []:
            found = b.eq(b.sum(b.eq(op.x, 0), op.dims or [], op.keepdim), 0)
        return b.cast(found, op.out.type.element_type)
