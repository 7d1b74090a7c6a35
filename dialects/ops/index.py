# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reading and writing at computed positions: gather, scatter, advanced indexing, embedding, sort, top-k, search.

Index tensors are i64 (or i32 where ATen takes it). Only `index` and `index_put` take negative indices. Eager raises for
an index out of range; compiled code reads or writes the nearest valid position instead, never foreign memory.
Among several writes without accumulation to one position, which one stays is unspecified, as in ATen.
"""

from math import inf

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import FlambeauOp
from flambeau.dialects.infer import check_dim, merge_shapes, positions_along_dim
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
    Sequence,
    Size,
    Tensor,
    VerificationError,
    aten,
)
from flambeau.dialects.types import (
    DYNAMIC,
    compatible,
    is_bool,
    is_float,
    shape_of,
    tensor_type,
    with_element,
)

_POSITIONS = NotDifferentiable("positions carry no gradient")


def _i64():
    return ir.IntegerType.get_signless(64)


def _check_index(name, type_):
    if str(type_.element_type) not in ("i64", "i32"):
        raise VerificationError(f"operand '{name}' must hold i64 or i32 positions, found {type_}")


def _expect(name, type_, shape, element):
    expected = tensor_type(shape, element)
    if not compatible(type_, expected):
        raise VerificationError(f"operand '{name}' is {type_}, expected {expected}")


def _scaled(positions, size):
    """Positions times a size (an int or index value)."""
    if isinstance(size, int):
        return b.mul(positions, size) if size != 1 else positions
    return b.mul(positions, b.expand_to(b.tensor_from_index(size, _i64()), positions))


def _flat(x):
    """`x` as one dim."""
    return b.view(x, [b.multiply_sizes(b.sizes(x))])


def _i64_index(index):
    return b.cast(index, _i64())


# --- One index per dim -----------------------------------------------------------------------------------------------


def _infer_index_select(op):
    shape = shape_of(op.x)
    check_dim("dim", op.dim, len(shape))
    _check_index("index", op.index)
    if not shape or op.index.rank != 1:
        raise VerificationError(f"needs x with dims and an index of rank 1, not {op.x} and {op.index}")
    shape[op.dim] = shape_of(op.index)[0]
    return tensor_type(shape, op.x.element_type)


class IndexSelectOp(FlambeauOp, name="index_select"):
    """The slices of `x` along `dim` at the positions `index`, of rank 1.

    Gradient: g added into zeros at those positions.
    """

    x: Tensor
    dim: Int
    index: Tensor
    out: Result
    aten = "index_select"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _infer_index_select

    def vjp(op, g):
        return {"x": b.index_add(b.zeros_like(op.x), op.dim, op.index, g)}

    def decompose(op):
        return b.index(op.x, [_i64_index(op.index)], [op.dim])


def _infer_index_write(op):
    expected = _infer_index_select(op)
    _expect("source", op.source, shape_of(expected), op.x.element_type)
    return op.x


class IndexAddOp(FlambeauOp, name="index_add"):
    """`x` plus the slices of `source` along `dim`, each at its position in `index`; repeated positions accumulate.

    Gradient: g; the slices of g at those positions.
    """

    x: Tensor
    dim: Int
    index: Tensor
    source: Tensor
    out: Result
    aten = aten("index_add", "x", "dim", "index", "source", 1)
    lowering = Lowering.RULE
    recompute = COSTLY
    infer = _infer_index_write

    def check(op):
        if is_bool(op.x):
            raise VerificationError("cannot add bools")

    def vjp(op, g):
        return {"x": g, "source": b.index_select(g, op.dim, op.index)}


class IndexCopyOp(FlambeauOp, name="index_copy"):
    """`x` with the slices along `dim` at the positions `index` replaced by those of `source`.

    Gradient: x: g with zeros there; source: the slices of g.
    """

    x: Tensor
    dim: Int
    index: Tensor
    source: Tensor
    out: Result
    aten = "index_copy"
    lowering = Lowering.RULE
    recompute = COSTLY
    infer = _infer_index_write

    def vjp(op, g):
        return {
            "x": b.index_copy(g, op.dim, op.index, b.zeros_like(op.source)),
            "source": b.index_select(g, op.dim, op.index),
        }


class IndexFillOp(FlambeauOp, name="index_fill"):
    """`x` with one number in the slices along `dim` at the positions `index`."""

    x: Tensor
    dim: Int
    index: Tensor
    value: Number
    out: Result
    aten = aten("index_fill.int_Scalar", "x", "dim", "index", "value")
    lowering = Lowering.DECOMPOSE
    recompute = COSTLY

    def infer(op):
        _infer_index_select(op)
        return op.x

    def decompose(op):
        sizes = b.sizes(op.x)
        sizes[op.dim] = b.size(op.index, 0)
        return b.index_copy(op.x, op.dim, op.index, b.full(sizes, op.value, op.x.type.element_type))


# --- Advanced indexing -----------------------------------------------------------------------------------------------


def _indexed_shape(op):
    """The shape of x[indices], where indices[i] stands at dim `dims[i]`."""
    shape = shape_of(op.x)
    if not op.indices or len(op.indices) != len(op.dims) or list(op.dims) != sorted(set(op.dims)):
        raise VerificationError("needs one index tensor per entry of 'dims', which must ascend")
    for dim in op.dims:
        check_dim("dims", dim, len(shape))
    for index in op.indices:
        _check_index("indices", index)
        if not compatible(index, op.indices[0]):
            raise VerificationError(f"index tensors differ: {op.indices[0]} and {index}; use flambeau.expand")
    common = merge_shapes(*(shape_of(i) for i in op.indices))
    rest = [s for i, s in enumerate(shape) if i not in op.dims]
    at = index_position(op.dims)
    return [*rest[:at], *common, *rest[at:]]


def index_position(dims: list[int]) -> int:
    """Which dim of the result the dims of the indices start at: ATen keeps their place if `dims` are neighbours."""
    return dims[0] if dims[-1] - dims[0] == len(dims) - 1 else 0


class IndexOp(FlambeauOp, name="index"):
    """x[..., i, j, ...] with index tensors of one shape at the dims `dims`; their dims replace the indexed ones.

    If `dims` are not neighbours, the dims of the indices come first. Negative indices count from the end.

    Gradient: g added into zeros at those positions.
    """

    x: Tensor
    indices: Sequence[Tensor]
    dims: Ints
    out: Result
    lowering = Lowering.RULE
    recompute = CHEAP

    def infer(op):
        return tensor_type(_indexed_shape(op), op.x.element_type)

    def vjp(op, g):
        return {"x": b.index_put(b.zeros_like(op.x), op.indices, g, op.dims, True)}


class IndexPutOp(FlambeauOp, name="index_put"):
    """`x` with `values` written (or added, if `accumulate`) at x[indices]; see flambeau.index.

    Gradient: x: g, with zeros where it was overwritten; values: g[indices].
    """

    x: Tensor
    indices: Sequence[Tensor]
    values: Tensor
    dims: Ints
    accumulate: Bool = False
    out: Result
    lowering = Lowering.DECOMPOSE
    recompute = COSTLY

    def infer(op):
        _expect("values", op.values, _indexed_shape(op), op.x.element_type)
        if op.accumulate and is_bool(op.x):
            raise VerificationError("cannot accumulate bools")
        return op.x

    def vjp(op, g):
        kept = g if op.accumulate else b.index_put(g, op.indices, b.zeros_like(op.values), op.dims, False)
        return {"x": kept, "values": b.index(g, op.indices, op.dims)}

    def decompose(op):
        # The indexed dims in front and made one, the index tensors made one position in it.
        dims = list(op.dims)
        rest = [d for d in range(len(shape_of(op.x))) if d not in dims]
        order = [*dims, *rest]
        front = _permuted(op.x, order)
        sizes = b.sizes(front)
        count = len(dims)
        rows = b.view(front, [b.multiply_sizes(sizes[:count]), *sizes[count:]])
        positions = None
        for index, size in zip(op.indices, sizes, strict=False):
            index = _wrapped(_i64_index(index), size)
            positions = index if positions is None else b.add(_scaled(positions, size), index)
        common = len(shape_of(positions))
        at = index_position(dims)
        moved = [*range(at, at + common), *range(at), *range(at + common, common + len(rest))]
        values = _permuted(op.values, moved)
        source = b.view(values, [b.multiply_sizes(b.sizes(positions)), *sizes[count:]])
        write = b.index_add if op.accumulate else b.index_copy
        written = write(rows, 0, _flat(positions), source)
        return _permuted(b.view(written, sizes), [order.index(d) for d in range(len(order))])


def _permuted(x, order):
    return x if order == sorted(order) else b.permute(x, order)


def _wrapped(index, size):
    """Negative positions counted from the end of a dim."""
    shifted = b.add(index, b.expand_to(b.tensor_from_index(size, _i64()), index))
    return b.where(b.lt(index, 0), shifted, index)


class TakeOp(FlambeauOp, name="take"):
    """The elements of `x`, counted in row-major order, at the positions `index`."""

    x: Tensor
    index: Tensor
    out: Result
    aten = "take"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP

    def infer(op):
        _check_index("index", op.index)
        return with_element(op.index, op.x.element_type)

    def decompose(op):
        return b.index(_flat(op.x), [_i64_index(op.index)], [0])


# --- One index per element -------------------------------------------------------------------------------------------


def _check_along(op):
    """`index` has the rank of `x`, and outside `dim` at most its sizes. Rank 0 goes with rank 1, as in ATen."""
    shape, index = shape_of(op.x), shape_of(op.index)
    check_dim("dim", op.dim, len(shape))
    _check_index("index", op.index)
    if max(len(shape), 1) != max(len(index), 1):
        raise VerificationError(f"index {op.index} and {op.x} differ in rank")
    for d, (size, count) in enumerate(zip(shape, index, strict=False)):
        if d != op.dim and DYNAMIC not in (size, count) and count > size:
            raise VerificationError(f"index {op.index} is larger than {op.x} in dim {d}")


class GatherOp(FlambeauOp, name="gather"):
    """out[.., i, ..] = x[.., index[.., i, ..], ..] along `dim`; `index` may be smaller than `x` in other dims.

    Gradient: g added into zeros at those positions.
    """

    x: Tensor
    dim: Int
    index: Tensor
    out: Result
    aten = (aten("gather", "x", "dim", "index", False), aten("gather", "x", "dim", "index", True))
    lowering = Lowering.RULE
    recompute = CHEAP

    def infer(op):
        _check_along(op)
        return with_element(op.index, op.x.element_type)

    def vjp(op, g):
        return {"x": b.scatter_add(b.zeros_like(op.x), op.dim, op.index, g)}


def _scatter_positions(x, dim, index):
    """For each element of `index`, its row-major position in `x`."""
    positions, stride = None, 1
    sizes = b.sizes(x)
    for d in reversed(range(len(sizes))):
        along = _i64_index(index) if d == dim else _coordinate(index, d)
        along = _scaled(along, stride)
        positions = along if positions is None else b.add(positions, along)
        stride = b.multiply_sizes([sizes[d], stride])
    return positions


def _coordinate(x, dim):
    """The position along `dim` of each element of `x`."""
    sizes = b.sizes(x)
    along = b.iota(sizes[dim], _i64())
    for _ in range(len(sizes) - 1 - dim):
        along = b.unsqueeze(along, len(shape_of(along)))
    return b.expand(along, sizes)


def _scatter_flat(op, src, write):
    """Decompose a scatter: write elements at positions of the flattened tensor."""
    sizes = b.sizes(op.x)
    if not sizes:
        positions = _i64_index(op.index)
    else:
        positions = _scatter_positions(op.x, op.dim, op.index)
    written = write(_flat(op.x), 0, _flat(positions), _flat(src))
    return b.view(written, sizes)


class ScatterOp(FlambeauOp, name="scatter"):
    """`x` with x[.., index[.., i, ..], ..] = src[.., i, ..] along `dim`; `src` has the shape of `index`.

    Gradient: x: g with zeros at those positions; src: g gathered from them.
    """

    x: Tensor
    dim: Int
    index: Tensor
    src: Tensor
    out: Result
    aten = aten("scatter.src", "x", "dim", "index", "src")
    lowering = Lowering.DECOMPOSE
    recompute = COSTLY

    def infer(op):
        _check_along(op)
        _expect("src", op.src, shape_of(op.index), op.x.element_type)
        return op.x

    def vjp(op, g):
        return {
            "x": b.scatter_value(g, op.dim, op.index, 0.0),
            "src": b.gather(g, op.dim, op.index),
        }

    def decompose(op):
        return _scatter_flat(op, op.src, b.index_copy)


class ScatterValueOp(FlambeauOp, name="scatter_value"):
    """`x` with one number at x[.., index[.., i, ..], ..] along `dim`.

    Gradient: g with zeros at those positions.
    """

    x: Tensor
    dim: Int
    index: Tensor
    value: Number
    out: Result
    aten = aten("scatter.value", "x", "dim", "index", "value")
    lowering = Lowering.DECOMPOSE
    recompute = COSTLY

    def infer(op):
        _check_along(op)
        return op.x

    def vjp(op, g):
        return {"x": b.scatter_value(g, op.dim, op.index, 0.0)}

    def decompose(op):
        return _scatter_flat(op, b.full_like(op.index, op.value, op.x.type.element_type), b.index_copy)


class ScatterAddOp(FlambeauOp, name="scatter_add"):
    """`x` with src[.., i, ..] added at x[.., index[.., i, ..], ..] along `dim`; `src` has the shape of `index`.

    Gradient: x: g; src: g gathered from those positions.
    """

    x: Tensor
    dim: Int
    index: Tensor
    src: Tensor
    out: Result
    aten = "scatter_add"
    lowering = Lowering.DECOMPOSE
    recompute = COSTLY

    def infer(op):
        _check_along(op)
        _expect("src", op.src, shape_of(op.index), op.x.element_type)
        if is_bool(op.x):
            raise VerificationError("cannot add bools")
        return op.x

    def vjp(op, g):
        return {"x": g, "src": b.gather(g, op.dim, op.index)}

    def decompose(op):
        return _scatter_flat(op, op.src, b.index_add)


# --- Embedding -------------------------------------------------------------------------------------------------------


class EmbeddingOp(FlambeauOp, name="embedding"):
    """Rows of `weight` at the positions `indices`.

    Row `padding_idx` gets no gradient (-1: all do); `scale_grad_by_freq` divides a row's gradient by how often it
    occurs.

    Gradient: the rows of g added into zeros at those positions.
    """

    weight: Tensor
    indices: Tensor
    padding_idx: Int = -1
    scale_grad_by_freq: Bool = False
    out: Result
    aten = (
        aten("embedding", "weight", "indices", "padding_idx", "scale_grad_by_freq", False),
        aten("embedding", "weight", "indices", "padding_idx", "scale_grad_by_freq", True),
    )
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP

    def infer(op):
        _check_index("indices", op.indices)
        if op.weight.rank != 2:
            raise VerificationError(f"'weight' must be a matrix, found {op.weight}")
        return tensor_type([*shape_of(op.indices), shape_of(op.weight)[1]], op.weight.element_type)

    def vjp(op, g):
        rows = b.size(op.weight, 0)
        return {
            "weight": b.embedding_dense_backward(g, op.indices, rows, op.padding_idx, op.scale_grad_by_freq)
        }

    def decompose(op):
        return b.index(op.weight, [_i64_index(op.indices)], [0])


class EmbeddingDenseBackwardOp(FlambeauOp, name="embedding_dense_backward"):
    """The gradient of an embedding's weight, of `num_weights` rows: rows of `grad` added at the positions `indices`.

    Gradient: the rows of g at those positions, zero at `padding_idx`, divided as the forward divides.
    """

    grad: Tensor
    indices: Tensor
    num_weights: Size
    padding_idx: Int
    scale_grad_by_freq: Bool
    out: Result
    aten = "embedding_dense_backward"
    lowering = Lowering.DECOMPOSE
    recompute = COSTLY

    def infer(op):
        _check_index("indices", op.indices)
        *outer, columns = shape_of(op.grad)
        if not compatible(op.indices, tensor_type(outer, op.indices.element_type)):
            raise VerificationError(f"'grad' is {op.grad}, which does not fit indices {op.indices}")
        return tensor_type([op.num_weights, columns], op.grad.element_type)

    def vjp(op, g):
        rows = b.index(g, [_i64_index(op.indices)], [0])
        return {"grad": _weighted_rows(op, rows)}

    def decompose(op):
        columns = b.size(op.grad, len(shape_of(op.grad)) - 1)
        zeros = b.full([op.num_weights, columns], 0, op.grad.type.element_type)
        positions = _flat(_i64_index(op.indices))
        rows = b.view(_weighted_rows(op, op.grad), [b.size(positions, 0), columns])
        return b.index_add(zeros, 0, positions, rows)


def _weighted_rows(op, rows):
    """`rows` (one per index) divided by the index's frequency where asked for, and zero at `padding_idx`."""
    element = rows.type.element_type
    indices = _i64_index(op.indices)
    if op.scale_grad_by_freq:
        positions = _flat(indices)
        ones = b.full(b.sizes(positions), 1, _i64())
        counts = b.index_add(b.full([op.num_weights], 0, _i64()), 0, positions, ones)
        count = b.cast(b.index(counts, [indices], [0]), element)
        rows = b.div(rows, _along_columns(count, rows))
    if op.padding_idx >= 0:
        padded = _along_columns(b.eq(indices, op.padding_idx), rows)
        rows = b.where(padded, b.full_like(rows, 0), rows)
    return rows


def _along_columns(x, rows):
    return b.expand(b.unsqueeze(x, len(shape_of(x))), b.sizes(rows))


class EmbeddingBagOp(FlambeauOp, name="embedding_bag"):
    """Rows of `weight` at the positions `indices`, summed (`mode` 0), averaged (1) or maximised (2) per bag.

    A row of `indices` is a bag; or `indices` has rank 1, and `offsets` says where in it each bag begins (with
    `include_last_offset`, also where the last one ends). Rows at `padding_idx` do not count (-1: all do). Sums take
    each row `per_sample_weights` times. An empty bag is zero.
    Gradient: of its decomposition.
    """

    weight: Tensor
    indices: Tensor
    offsets: Tensor | None
    per_sample_weights: Tensor | None
    mode: Int
    include_last_offset: Bool
    padding_idx: Int
    out: Result
    lowering = Lowering.DECOMPOSE
    recompute = COSTLY

    def infer(op):
        _check_index("indices", op.indices)
        if op.weight.rank != 2 or not is_float(op.weight):
            raise VerificationError(f"'weight' must be a matrix of floats, found {op.weight}")
        if op.mode not in (0, 1, 2):
            raise VerificationError(f"mode is {op.mode}; 0 (sum), 1 (mean) or 2 (max) is needed")
        if op.indices.rank != (2 if op.offsets is None else 1):
            raise VerificationError(
                f"'indices' is {op.indices}; it has rank 2, or rank 1 together with offsets"
            )
        if op.per_sample_weights is not None:
            if op.mode != 0:
                raise VerificationError("per_sample_weights are for sums (mode 0)")
            _expect("per_sample_weights", op.per_sample_weights, shape_of(op.indices), op.weight.element_type)
        bags = shape_of(op.indices)[0]
        if op.offsets is not None:
            _check_index("offsets", op.offsets)
            if op.offsets.rank != 1 or op.mode == 2:
                raise VerificationError("offsets have rank 1, and are for sums and means (modes 0 and 1)")
            bags = shape_of(op.offsets)[0]
            bags -= 1 if op.include_last_offset and bags != DYNAMIC else 0
        return tensor_type([bags, shape_of(op.weight)[1]], op.weight.element_type)

    def decompose(op):
        rows = b.wide(b.embedding(op.weight, op.indices, op.padding_idx, False))
        element = rows.type.element_type
        if op.per_sample_weights is not None:
            rows = b.mul(rows, _along_columns(b.wide(op.per_sample_weights), rows))
        counted = b.ne(op.indices, op.padding_idx) if op.padding_idx >= 0 else None
        if counted is not None:
            mask = _along_columns(counted, rows)
            rows = b.where(mask, rows, b.full_like(rows, -inf if op.mode == 2 else 0))
        if op.mode == 2:
            out, _ = b.max_dim(rows, 1, False)
            if counted is not None:
                out = b.where(b.any(mask, [1], False), out, b.zeros_like(out))
            return b.cast_like(out, op.weight)
        add_up = _sum_of_rows if op.offsets is None else _sum_per_bag
        out = add_up(op, rows)
        if op.mode == 1:
            ones = b.full_like(op.indices, 1, element) if counted is None else b.cast(counted, element)
            count = add_up(op, b.unsqueeze(ones, len(shape_of(ones))))
            out = b.div(out, b.expand_to(b.maximum(count, 1), out))
        return b.cast_like(out, op.weight)


def _sum_of_rows(op, rows):
    return b.sum(rows, [1], False)


def _sum_per_bag(op, rows):
    offsets, places = _i64_index(op.offsets), b.iota(b.size(op.indices, 0), _i64())
    bags = b.size(offsets, 0)
    if op.include_last_offset:
        bags = b.add_sizes(bags, -1)
        offsets = b.slice(offsets, 0, 0, bags, 1)
    bag = b.sub(b.bucketize(places, offsets, True), 1)
    zeros = b.full([bags, b.size(rows, 1)], 0, rows.type.element_type)
    return b.index_add(zeros, 0, bag, rows)


# --- Order -----------------------------------------------------------------------------------------------------------


class SortOp(FlambeauOp, name="sort"):
    """Values along `dim` in order, and where they came from. Equal values keep their order; NaN counts as largest.

    Gradient: g scattered back.
    """

    x: Tensor
    dim: Int
    descending: Bool = False
    values: Result
    indices: Result
    aten = (aten("sort", "x", "dim", "descending"),)
    lowering = Lowering.RULE
    recompute = COSTLY
    bounds = positions_along_dim("indices")

    def infer(op):
        check_dim("dim", op.dim, op.x.rank)
        return [op.x, with_element(op.x, _i64())]

    def vjp(op, g_values, g_indices):
        return {"x": b.scatter(b.zeros_like(op.x), op.dim, op.indices, g_values)}


class TopkOp(FlambeauOp, name="topk"):
    """The `k` largest (or smallest) values along `dim`, in order, and where they came from.

    Gradient: g scattered back.
    """

    x: Tensor
    k: Size
    dim: Int
    largest: Bool = True
    sorted: Bool = True
    values: Result
    indices: Result
    aten = "topk"
    lowering = Lowering.DECOMPOSE
    recompute = COSTLY
    bounds = positions_along_dim("indices")

    def infer(op):
        shape = shape_of(op.x)
        check_dim("dim", op.dim, len(shape))
        if shape:
            if DYNAMIC not in (op.k, shape[op.dim]) and op.k > shape[op.dim]:
                raise VerificationError(f"'k' is {op.k}, more than dim {op.dim} of {op.x} has")
            shape[op.dim] = op.k
        return [tensor_type(shape, op.x.element_type), tensor_type(shape, _i64())]

    def vjp(op, g_values, g_indices):
        return {"x": b.scatter(b.zeros_like(op.x), op.dim, op.indices, g_values)}

    def decompose(op):
        values, indices = b.sort(op.x, op.dim, op.largest)
        if not shape_of(op.x):
            return [values, indices]
        return [b.slice(v, op.dim, 0, op.k, 1) for v in (values, indices)]


class BucketizeOp(FlambeauOp, name="bucketize"):
    """For each element of `x`, how many of the ascending `boundaries` (rank 1) lie below it; `right`: or equal it.

    NaN lies above all.
    """

    x: Tensor
    boundaries: Tensor
    right: Bool = False
    out: Result
    aten = aten("bucketize.Tensor", "x", "boundaries", False, "right")
    lowering = Lowering.DECOMPOSE
    recompute = COSTLY
    vjp = _POSITIONS

    def bounds(op):
        count = shape_of(op.boundaries)[0]
        return {"out": DYNAMIC if count == DYNAMIC else count + 1}

    def infer(op):
        if op.boundaries.rank != 1 or op.boundaries.element_type != op.x.element_type:
            raise VerificationError(
                f"'boundaries' is {op.boundaries}, not of rank 1 and the element type of {op.x}"
            )
        return with_element(op.x, _i64())

    def decompose(op):
        rank = len(shape_of(op.x))
        sizes = [*b.sizes(op.x), b.size(op.boundaries, 0)]
        x = b.expand(b.unsqueeze(op.x, rank), sizes)
        boundaries = b.expand(op.boundaries, sizes)
        above = b.gt(boundaries, x) if op.right else b.ge(boundaries, x)
        return b.sum(b.cast(b.logical_not(above), _i64()), [rank], False)
