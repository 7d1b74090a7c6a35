# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Views, the scatters that write through them, and joins.

What has a static answer is normalized by whoever builds these ops: dims are in [0, rank), sizes are explicit (-1 is a
dynamic size, never "infer" or "keep"), slices satisfy 0 <= start <= end <= size, indices are in [0, size). `?` is never
a size that broadcasts: only a dim of static size 1 does.
"""

from math import prod

from flambeau.dialects import build as b
from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.dialect import FlambeauOp
from flambeau.dialects.infer import check_dim, merge_shapes, overlaps_itself
from flambeau.dialects.opdef import (
    CHEAP,
    COSTLY,
    Int,
    Ints,
    Lowering,
    Result,
    Size,
    Sizes,
    Tensor,
    VerificationError,
    aten,
)
from flambeau.dialects.types import DYNAMIC, compatible, shape_of, tensor_type


def _expect_part(name, type_, shape, element):
    """Check the part that a scatter writes: the type of what the view op would return."""
    expected = tensor_type(shape, element)
    if not compatible(type_, expected):
        raise VerificationError(f"operand '{name}' is {type_}, but the positions written are {expected}")


# --- Broadcast and reshape -------------------------------------------------------------------------------------------


class ExpandOp(FlambeauOp, name="expand"):
    """`x` broadcast to `shape`: leading dims are added, dims of static size 1 are repeated, all others are kept.

    Gradient: g summed over the dims that were added or repeated.
    """

    x: Tensor
    shape: Sizes
    out: Result
    aten = aten("expand", "x", "shape", False)
    lowering = Lowering.RULE
    recompute = CHEAP
    view = True

    def infer(op):
        shape = shape_of(op.x)
        added = len(op.shape) - len(shape)
        if added < 0:
            raise VerificationError(f"cannot expand {op.x} to fewer dims, shape {list(op.shape)}")
        result = list(op.shape[:added])
        for have, want in zip(shape, op.shape[added:], strict=True):
            if have not in (1, DYNAMIC, want) and want != DYNAMIC:
                raise VerificationError(
                    f"cannot expand {op.x} to {list(op.shape)}: size {have} is neither 1 nor {want}"
                )
            result.append(want if have == 1 or have == DYNAMIC else have)
        return tensor_type(result, op.x.element_type)

    def vjp(op, g):
        added, repeated = _broadcast_dims(op.x, op.out)
        if not added and not repeated:
            return {"x": g}
        g = b.sum(g, [*added, *repeated], bool(repeated))
        return {"x": b.squeeze(g, added) if added and repeated else g}

    def may_repeat(op):
        return True

    def scatter(op, base, part):
        # Eager allows writes only where nothing is repeated; then the first of each added or repeated dim is the part.
        added, repeated = _broadcast_dims(base, part)
        for dim in (*added, *repeated):
            part = b.slice(part, dim, 0, 1, 1)
        return b.squeeze(part, added) if added else part


def _broadcast_dims(x, out):
    """The dims of `out` that `expand` added, and those that it repeated."""
    shape, target = shape_of(x), shape_of(out)
    added = len(target) - len(shape)
    repeated = [added + i for i, s in enumerate(shape) if s == 1 and target[added + i] != 1]
    return list(range(added)), repeated


class ViewOp(FlambeauOp, name="view"):
    """The elements of `x`, in row-major order, in another shape.

    Gradient: g in the shape of x.
    """

    x: Tensor
    shape: Sizes
    out: Result
    aten = ("view", "_unsafe_view", "reshape")
    lowering = Lowering.RULE
    recompute = CHEAP
    view = True

    def infer(op):
        shape = shape_of(op.x)
        if DYNAMIC not in shape and DYNAMIC not in op.shape and prod(shape) != prod(op.shape):
            raise VerificationError(
                f"{op.x} has {prod(shape)} elements, shape {list(op.shape)} has {prod(op.shape)}"
            )
        return tensor_type(op.shape, op.x.element_type)

    def vjp(op, g):
        return {"x": b.view(g, b.sizes(op.x))}

    def scatter(op, base, part):
        return b.view(part, b.sizes(base))


class UnsqueezeOp(FlambeauOp, name="unsqueeze"):
    """A dim of size 1 inserted at `dim` of the result.

    Gradient: g without that dim.
    """

    x: Tensor
    dim: Int
    out: Result
    aten = "unsqueeze"
    lowering = Lowering.RULE
    recompute = CHEAP
    view = True

    def infer(op):
        shape = shape_of(op.x)
        check_dim("dim", op.dim, len(shape) + 1)
        return tensor_type([*shape[: op.dim], 1, *shape[op.dim :]], op.x.element_type)

    def vjp(op, g):
        return {"x": b.squeeze(g, [op.dim])}

    def scatter(op, base, part):
        return b.squeeze(part, [op.dim])


class SqueezeOp(FlambeauOp, name="squeeze"):
    """`x` without `dims`, all of which have size 1 (ATen keeps others: they are not named here).

    Gradient: g with dims of size 1 in those places.
    """

    x: Tensor
    dims: Ints
    out: Result
    aten = aten("squeeze.dims", "x", "dims")
    lowering = Lowering.RULE
    recompute = CHEAP
    view = True

    def infer(op):
        shape = shape_of(op.x)
        for dim in op.dims:
            if shape[check_dim("dims", dim, len(shape))] not in (1, DYNAMIC):
                raise VerificationError(f"dim {dim} of {op.x} is not of size 1")
        return tensor_type([s for i, s in enumerate(shape) if i not in op.dims], op.x.element_type)

    def vjp(op, g):
        return {"x": _unsqueeze_all(g, op.dims)}

    def scatter(op, base, part):
        return _unsqueeze_all(part, op.dims)


def _unsqueeze_all(x, dims):
    for dim in sorted(dims):
        x = b.unsqueeze(x, dim)
    return x


# --- Order of dims ---------------------------------------------------------------------------------------------------


class PermuteOp(FlambeauOp, name="permute"):
    """Dim i of the result is dim `dims[i]` of `x`.

    Gradient: g permuted back.
    """

    x: Tensor
    dims: Ints
    out: Result
    aten = "permute"
    recompute = CHEAP
    view = True

    def infer(op):
        shape = shape_of(op.x)
        if sorted(op.dims) != list(range(len(shape))):
            raise VerificationError(f"'dims' is {list(op.dims)}, not a permutation of the dims of {op.x}")
        return tensor_type([shape[d] for d in op.dims], op.x.element_type)

    def vjp(op, g):
        return {"x": b.permute(g, _inverse(op.dims))}

    def scatter(op, base, part):
        return b.permute(part, _inverse(op.dims))


def _inverse(permutation):
    return [permutation.index(i) for i in range(len(permutation))]


class TransposeOp(FlambeauOp, name="transpose"):
    """Two dims swapped.

    Gradient: g with the same dims swapped.
    """

    x: Tensor
    dim0: Int
    dim1: Int
    out: Result
    aten = aten("transpose.int", "x", "dim0", "dim1")
    recompute = CHEAP
    view = True

    def infer(op):
        shape = shape_of(op.x)
        i, j = (check_dim(name, d, len(shape)) for name, d in (("dim0", op.dim0), ("dim1", op.dim1)))
        if shape:
            shape[i], shape[j] = shape[j], shape[i]
        return tensor_type(shape, op.x.element_type)

    def vjp(op, g):
        return {"x": transposed(g, op.dim0, op.dim1)}

    def scatter(op, base, part):
        return b.transpose(part, op.dim0, op.dim1)


def transpose_source(x, dim0, dim1):
    """The value of which `x` is the transpose in these dims, if an op says so; else None."""
    if not isinstance(x, ir.OpResult):
        return None
    op = x.owner.opview
    if op.operation.name == "flambeau.t" and {dim0, dim1} == {0, 1}:
        return op.x
    if op.operation.name == "flambeau.transpose" and {op.dim0, op.dim1} == {dim0, dim1}:
        return op.x
    return None


def transposed(x, dim0, dim1):
    """The transpose of `x`; a transpose is undone rather than doubled."""
    source = transpose_source(x, dim0, dim1)
    return b.transpose(x, dim0, dim1) if source is None else source


class TOp(FlambeauOp, name="t"):
    """The transpose of a matrix; vectors and rank 0 are kept.

    Gradient: the transpose of g.
    """

    x: Tensor
    out: Result
    aten = "t"
    recompute = CHEAP
    view = True

    def infer(op):
        shape = shape_of(op.x)
        if len(shape) > 2:
            raise VerificationError(f"needs a tensor of at most 2 dims, not {op.x}; use flambeau.transpose")
        return tensor_type(shape[::-1], op.x.element_type)

    def vjp(op, g):
        return {"x": transposed(g, 0, 1) if op.x.type.rank == 2 else g}

    def scatter(op, base, part):
        return b.t(part)


# --- Parts -----------------------------------------------------------------------------------------------------------


def _sliced_shape(op):
    """The shape of x[start:end:step] along `dim`."""
    shape = shape_of(op.x)
    size = shape[check_dim("dim", op.dim, len(shape))] if shape else None
    if size is None:
        raise VerificationError("cannot slice a tensor of rank 0")
    if op.step < 1:
        raise VerificationError(f"'step' is {op.step}, not positive")
    known = [n for n in (op.start, op.end, size) if n != DYNAMIC]
    if known != sorted(known) or min(known, default=0) < 0:
        raise VerificationError(f"start {op.start}, end {op.end} is not a slice of dim {op.dim} of {op.x}")
    unknown = DYNAMIC in (op.start, op.end)
    shape[op.dim] = DYNAMIC if unknown else -(-(op.end - op.start) // op.step)
    return shape


class SliceOp(FlambeauOp, name="slice"):
    """x[start:end:step] along `dim`, with 0 <= start <= end <= size.

    Gradient: g written into zeros.
    """

    x: Tensor
    dim: Int
    start: Size
    end: Size
    step: Int = 1
    out: Result
    aten = aten("slice.Tensor", "x", "dim", "start", "end", "step")
    lowering = Lowering.RULE
    recompute = CHEAP
    view = True

    def infer(op):
        return tensor_type(_sliced_shape(op), op.x.element_type)

    def vjp(op, g):
        return {"x": b.slice_scatter(b.zeros_like(op.x), g, op.dim, op.start, op.end, op.step)}

    def scatter(op, base, part):
        return b.slice_scatter(base, part, op.dim, op.start, op.end, op.step)


class SliceScatterOp(FlambeauOp, name="slice_scatter"):
    """`x` with `src` written to x[start:end:step] along `dim`.

    Gradient: x: g with zeros in the slice; src: the slice of g.
    """

    x: Tensor
    src: Tensor
    dim: Int
    start: Size
    end: Size
    step: Int = 1
    out: Result
    aten = aten("slice_scatter", "x", "src", "dim", "start", "end", "step")
    lowering = Lowering.RULE
    recompute = CHEAP

    def infer(op):
        _expect_part("src", op.src, _sliced_shape(op), op.x.element_type)
        return op.x

    def vjp(op, g):
        place = (op.dim, op.start, op.end, op.step)
        return {"x": b.slice_scatter(g, b.zeros_like(op.src), *place), "src": b.slice(g, *place)}


def _selected_shape(op):
    """The shape of x[..., index, ...]."""
    shape = shape_of(op.x)
    if not shape:
        raise VerificationError("cannot select from a tensor of rank 0")
    size = shape.pop(check_dim("dim", op.dim, len(shape)))
    if op.index != DYNAMIC and not 0 <= op.index < (size if size != DYNAMIC else op.index + 1):
        raise VerificationError(f"index {op.index} is out of range for dim {op.dim} of {op.x}")
    return shape


class SelectOp(FlambeauOp, name="select"):
    """x[index] along `dim`, which disappears; 0 <= index < size.

    Gradient: g written into zeros.
    """

    x: Tensor
    dim: Int
    index: Size
    out: Result
    aten = aten("select.int", "x", "dim", "index")
    lowering = Lowering.RULE
    recompute = CHEAP
    view = True

    def infer(op):
        return tensor_type(_selected_shape(op), op.x.element_type)

    def vjp(op, g):
        return {"x": b.select_scatter(b.zeros_like(op.x), g, op.dim, op.index)}

    def scatter(op, base, part):
        return b.select_scatter(base, part, op.dim, op.index)


class SelectScatterOp(FlambeauOp, name="select_scatter"):
    """`x` with `src` written to x[index] along `dim`.

    Gradient: x: g with zeros there; src: that part of g.
    """

    x: Tensor
    src: Tensor
    dim: Int
    index: Size
    out: Result
    aten = aten("select_scatter", "x", "src", "dim", "index")
    lowering = Lowering.RULE
    recompute = CHEAP

    def infer(op):
        _expect_part("src", op.src, _selected_shape(op), op.x.element_type)
        return op.x

    def vjp(op, g):
        return {
            "x": b.select_scatter(g, b.zeros_like(op.src), op.dim, op.index),
            "src": b.select(g, op.dim, op.index),
        }


# --- Joining ---------------------------------------------------------------------------------------------------------


class CatOp(FlambeauOp, name="cat"):
    """`x` and `y` joined along `dim`; they agree in all other dims and in element type.

    `build.cat` joins any number, as a chain that lowering makes one op again. (Variadic operands of a dialect defined
    from Python must all have one type.)

    Gradient: the part of g that came from each.
    """

    x: Tensor
    y: Tensor
    dim: Int
    out: Result
    lowering = Lowering.RULE
    recompute = CHEAP

    def infer(op):
        x, y = shape_of(op.x), shape_of(op.y)
        if not x:
            raise VerificationError("cannot join tensors of rank 0")
        check_dim("dim", op.dim, len(x))
        length = [s.pop(op.dim) for s in (x, y) if len(s) > op.dim]
        if not compatible(tensor_type(x, op.x.element_type), tensor_type(y, op.y.element_type)):
            raise VerificationError(f"cannot join {op.x} and {op.y} along dim {op.dim}")
        shape = merge_shapes(x, y)
        shape.insert(op.dim, DYNAMIC if DYNAMIC in length else sum(length))
        return tensor_type(shape, op.x.element_type)

    def vjp(op, g):
        middle = b.size(op.x, op.dim)
        end = b.add_sizes(middle, b.size(op.y, op.dim))
        return {"x": b.slice(g, op.dim, 0, middle, 1), "y": b.slice(g, op.dim, middle, end, 1)}


# --- Diagonals and strides -------------------------------------------------------------------------------------------


def _diagonal_shape(op):
    """The other dims of x, then the length of the diagonal."""
    shape = shape_of(op.x)
    i, j = (check_dim(name, d, len(shape)) for name, d in (("dim1", op.dim1), ("dim2", op.dim2)))
    if i == j:
        raise VerificationError(f"a diagonal needs two different dims, not {i} twice")
    rest = [s for d, s in enumerate(shape) if d not in (i, j)]
    if DYNAMIC in (shape[i], shape[j]):
        return [*rest, DYNAMIC]
    rows, columns = shape[i] + min(op.offset, 0), shape[j] - max(op.offset, 0)
    return [*rest, max(0, min(rows, columns))]


class DiagonalOp(FlambeauOp, name="diagonal"):
    """The elements of `x` where position in `dim2` is position in `dim1` plus `offset`, as a last dim.

    Gradient: g written into zeros.
    """

    x: Tensor
    offset: Int = 0
    dim1: Int = 0
    dim2: Int = 1
    out: Result
    aten = "diagonal"
    lowering = Lowering.RULE
    recompute = CHEAP
    view = True

    def infer(op):
        return tensor_type(_diagonal_shape(op), op.x.element_type)

    def vjp(op, g):
        return {"x": b.diagonal_scatter(b.zeros_like(op.x), g, op.offset, op.dim1, op.dim2)}

    def scatter(op, base, part):
        return b.diagonal_scatter(base, part, op.offset, op.dim1, op.dim2)


class DiagonalScatterOp(FlambeauOp, name="diagonal_scatter"):
    """`x` with `src` written to the diagonal; see flambeau.diagonal.

    Gradient: x: g with zeros there; src: the diagonal of g.
    """

    x: Tensor
    src: Tensor
    offset: Int = 0
    dim1: Int = 0
    dim2: Int = 1
    out: Result
    aten = "diagonal_scatter"
    lowering = Lowering.RULE
    recompute = CHEAP

    def infer(op):
        _expect_part("src", op.src, _diagonal_shape(op), op.x.element_type)
        return op.x

    def vjp(op, g):
        place = (op.offset, op.dim1, op.dim2)
        return {"x": b.diagonal_scatter(g, b.zeros_like(op.src), *place), "src": b.diagonal(g, *place)}


class DiagEmbedOp(FlambeauOp, name="diag_embed"):
    """Zeros with the last dim of `x` on the diagonal between the dims `dim1` and `dim2` of the result."""

    x: Tensor
    offset: Int
    dim1: Int
    dim2: Int
    out: Result
    aten = "diag_embed"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP

    def infer(op):
        shape = shape_of(op.x)
        for name, dim in (("dim1", op.dim1), ("dim2", op.dim2)):
            check_dim(name, dim, len(shape) + 1)
        if not shape or op.dim1 == op.dim2:
            raise VerificationError(
                f"needs a tensor with dims, and two different dims of the result, not {op.x}"
            )
        side = DYNAMIC if shape[-1] == DYNAMIC else shape[-1] + abs(op.offset)
        return tensor_type(_embedded(op, shape, side), op.x.element_type)

    def decompose(op):
        sizes = b.sizes(op.x)
        side = b.add_sizes(sizes[-1], abs(op.offset))
        zeros = b.full(_embedded(op, sizes, side), 0, op.x.type.element_type)
        return b.diagonal_scatter(zeros, op.x, op.offset, op.dim1, op.dim2)


def _embedded(op, sizes, side):
    """The sizes of the result of diag_embed: those of x, but `side` twice instead of the last."""
    rest = iter(sizes[:-1])
    return [side if d in (op.dim1, op.dim2) else next(rest) for d in range(len(sizes) + 1)]


def _strided_positions(op):
    """The row-major position in x of each element of an `as_strided` view, with the shape of the view."""
    i64 = ir.IntegerType.get_signless(64)
    positions = b.full(op.size, op.storage_offset, i64)
    for dim, (size, stride) in enumerate(zip(op.size, op.stride, strict=True)):
        along = b.mul(b.iota(size, i64), stride)
        for _ in range(len(op.size) - 1 - dim):
            along = b.unsqueeze(along, len(shape_of(along)))
        positions = b.add(positions, b.expand(along, op.size))
    return positions


def _check_strided(op):
    if len(op.size) != len(op.stride):
        raise VerificationError(f"'size' {list(op.size)} and 'stride' {list(op.stride)} differ in length")
    if min(*op.size, *op.stride, op.storage_offset, 0) < 0:
        raise VerificationError("'size', 'stride' and 'storage_offset' must not be negative")
    shape = shape_of(op.x)
    if DYNAMIC in shape:
        raise VerificationError(f"needs a tensor of static shape, not {op.x}: strides count its elements")
    last = op.storage_offset + sum((n - 1) * s for n, s in zip(op.size, op.stride, strict=True))
    if prod(op.size) and last >= prod(shape):
        raise VerificationError(f"the view reaches element {last}, but {op.x} has {prod(shape)}")


class AsStridedOp(FlambeauOp, name="as_strided"):
    """out[i, j, ...] = element number `storage_offset + i * stride[0] + j * stride[1] + ...` of `x` in row-major order.

    `x` stands for the whole storage, whatever strides eager has for it; all of it is static.
    """

    x: Tensor
    size: Ints
    stride: Ints
    storage_offset: Int = 0
    out: Result
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    view = True

    def infer(op):
        _check_strided(op)
        return tensor_type(op.size, op.x.element_type)

    def decompose(op):
        elements = b.view(op.x, [prod(shape_of(op.x))])
        return b.index(elements, [_strided_positions(op)], [0])

    def may_repeat(op):
        return overlaps_itself(op.size, op.stride)

    def scatter(op, base, part):
        return b.as_strided_scatter(base, part, op.size, op.stride, op.storage_offset)


class AsStridedScatterOp(FlambeauOp, name="as_strided_scatter"):
    """`x` with `src` written to the elements of an `as_strided` view, which must not overlap itself."""

    x: Tensor
    src: Tensor
    size: Ints
    stride: Ints
    storage_offset: Int = 0
    out: Result
    lowering = Lowering.DECOMPOSE
    recompute = COSTLY

    def infer(op):
        _check_strided(op)
        _expect_part("src", op.src, op.size, op.x.element_type)
        return op.x

    def decompose(op):
        shape = shape_of(op.x)
        elements = b.view(op.x, [prod(shape)])
        written = b.index_put(elements, [_strided_positions(op)], op.src, [0], False)
        return b.view(written, shape)


class UnfoldOp(FlambeauOp, name="unfold"):
    """Windows of `size` elements along `dim`, `step` apart; their elements are a new last dim."""

    x: Tensor
    dim: Int
    size: Int
    step: Int
    out: Result
    aten = "unfold"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    view = True

    def infer(op):
        shape = shape_of(op.x)
        if not shape:
            raise VerificationError("cannot unfold a tensor of rank 0")
        length = shape[check_dim("dim", op.dim, len(shape))]
        if op.size < 0 or op.step < 1 or (length != DYNAMIC and op.size > length):
            raise VerificationError(
                f"windows of {op.size}, {op.step} apart, do not fit dim {op.dim} of {op.x}"
            )
        shape[op.dim] = DYNAMIC if length == DYNAMIC else (length - op.size) // op.step + 1
        return tensor_type([*shape, op.size], op.x.element_type)

    def decompose(op):
        return _windows(op, op.x)

    def may_repeat(op):
        return op.size > op.step

    def scatter(op, base, part):
        # The windows in place, then joined; what lies between and after them is kept.
        rank = len(shape_of(base))
        positions = _window_positions(op, b.size(part, op.dim))
        moved = b.permute(part, [*range(op.dim + 1), rank, *range(op.dim + 1, rank)])
        sizes = b.sizes(base)
        sizes[op.dim] = b.size(positions, 0)
        return b.index_copy(base, op.dim, positions, b.view(moved, sizes))


def _window_positions(op, count):
    """The positions along `dim` that `count` windows hold, one window after the other, as one dim."""
    i64 = ir.IntegerType.get_signless(64)
    starts = b.expand(b.unsqueeze(b.mul(b.iota(count, i64), op.step), 1), [count, op.size])
    inner = b.expand(b.iota(op.size, i64), [count, op.size])
    return b.view(b.add(starts, inner), [b.multiply_sizes([count, op.size])])


def _window_count(length, size, step):
    if isinstance(length, int):
        return (length - size) // step + 1
    return b.add_sizes(arith.floordivsi(b.add_sizes(length, -size), b.as_index(step)), 1)


def _windows(op, x):
    rank = len(shape_of(x))
    sizes = b.sizes(x)
    count = _window_count(sizes[op.dim], op.size, op.step)
    picked = b.index(x, [_window_positions(op, count)], [op.dim])
    split = b.view(picked, [*sizes[: op.dim], count, op.size, *sizes[op.dim + 1 :]])
    return b.permute(split, [d for d in range(rank + 1) if d != op.dim + 1] + [op.dim + 1])
