# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ops that place the elements of a tensor elsewhere and are no views: flip, roll, repeat, pad, triangles, shuffles.

Dims are in [0, rank), as in shape.py.
"""

from math import prod

from flambeau.dialects import build as b
from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.dialect import FlambeauOp
from flambeau.dialects.infer import check_dim
from flambeau.dialects.opdef import (
    CHEAP,
    Int,
    Ints,
    Lowering,
    Number,
    Result,
    Size,
    Sizes,
    Tensor,
    VerificationError,
    aten,
)
from flambeau.dialects.types import DYNAMIC, shape_of, tensor_type

# --- Reversed, repeated, shifted, padded -----------------------------------------------------------------------------


class FlipOp(FlambeauOp, name="flip"):
    """`x` with the order along `dims` reversed.

    Gradient: g flipped.
    """

    x: Tensor
    dims: Ints
    out: Result
    aten = "flip"
    lowering = Lowering.RULE
    recompute = CHEAP

    def infer(op):
        for dim in op.dims:
            check_dim("dims", dim, op.x.rank)
        return op.x

    def vjp(op, g):
        return {"x": b.flip(g, op.dims)}


class RollOp(FlambeauOp, name="roll"):
    """`x` with elements moved by `shifts` along `dims`, around the end; without `dims`, in row-major order."""

    x: Tensor
    shifts: Ints
    dims: Ints
    out: Result
    aten = "roll"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP

    def infer(op):
        if len(op.shifts) != (len(op.dims) or 1):
            raise VerificationError(f"{len(op.shifts)} shifts for {len(op.dims)} dims")
        for dim in op.dims:
            check_dim("dims", dim, op.x.rank)
        return op.x

    def decompose(op):
        if not op.dims:
            sizes = b.sizes(op.x)
            return b.view(_rolled(b.view(op.x, [b.multiply_sizes(sizes)]), op.shifts[0], 0), sizes)
        x = op.x
        for shift, dim in zip(op.shifts, op.dims, strict=True):
            x = _rolled(x, shift, dim)
        return x


def _rolled(x, shift, dim):
    """`x` rolled by `shift` along one dim: the end moves to the front."""
    if not shape_of(x):
        return x
    size = b.size(x, dim)
    if isinstance(size, int):
        start = -shift % size if size else 0
    else:
        some = b.max_sizes(size, 1)
        forward = arith.remsi(b.as_index(abs(shift)), some)
        start = forward if shift < 0 else arith.remsi(arith.subi(some, forward), some)
        start = b.min_sizes(start, size)
    if isinstance(start, int) and start == 0:
        return x
    return b.cat([b.slice(x, dim, start, size, 1), b.slice(x, dim, 0, start, 1)], dim)


class RepeatOp(FlambeauOp, name="repeat"):
    """`x` tiled: repeats[i] times along dim i, after leading dims are added as needed."""

    x: Tensor
    repeats: Sizes
    out: Result
    aten = "repeat"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP

    def infer(op):
        shape = shape_of(op.x)
        added = len(op.repeats) - len(shape)
        if added < 0:
            raise VerificationError(f"{len(op.repeats)} repeats for {op.x}")
        pairs = zip(op.repeats, [1] * added + shape, strict=True)
        return tensor_type([DYNAMIC if DYNAMIC in pair else prod(pair) for pair in pairs], op.x.element_type)

    def decompose(op):
        sizes = b.sizes(op.x)
        sizes = [1] * (len(op.repeats) - len(sizes)) + sizes
        apart = b.view(op.x, [s for size in sizes for s in (1, size)])
        tiled = b.expand(apart, [s for pair in zip(op.repeats, sizes, strict=True) for s in pair])
        return b.view(tiled, [b.multiply_sizes(pair) for pair in zip(op.repeats, sizes, strict=True)])


class RepeatInterleaveOp(FlambeauOp, name="repeat_interleave"):
    """Each element of `x` along `dim` repeated `repeats` times in place."""

    x: Tensor
    repeats: Size
    dim: Int
    out: Result
    aten = aten("repeat_interleave.self_int", "x", "repeats", "dim", None)
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP

    def infer(op):
        shape = shape_of(op.x)
        size = shape[check_dim("dim", op.dim, len(shape))] if shape else 1
        shape[op.dim : op.dim + 1] = [DYNAMIC if DYNAMIC in (size, op.repeats) else size * op.repeats]
        return tensor_type(shape, op.x.element_type)

    def decompose(op):
        x = op.x if shape_of(op.x) else b.unsqueeze(op.x, 0)
        sizes = b.sizes(x)
        inner = [*sizes[: op.dim + 1], op.repeats, *sizes[op.dim + 1 :]]
        repeated = b.expand(b.unsqueeze(x, op.dim + 1), inner)
        sizes[op.dim] = b.multiply_sizes([sizes[op.dim], op.repeats])
        return b.view(repeated, sizes)


def _padded_shape(type_, pad):
    """The shape after padding; `pad` holds (before, after) for the last dim first."""
    shape = shape_of(type_)
    if len(pad) % 2 or len(pad) > 2 * len(shape):
        raise VerificationError(f"'pad' {list(pad)} does not fit {type_}")
    for dim, (before, after) in _padding(shape, pad).items():
        if shape[dim] != DYNAMIC:
            shape[dim] += before + after
            if shape[dim] < 0:
                raise VerificationError(f"'pad' {list(pad)} crops more than dim {dim} of {type_} has")
    return shape


def _padding(shape, pad):
    """Dim -> (before, after)."""
    return {len(shape) - 1 - i // 2: (pad[i], pad[i + 1]) for i in range(0, len(pad), 2)}


class ConstantPadOp(FlambeauOp, name="constant_pad_nd"):
    """`x` with `value` around it: `pad` holds (before, after) for the last dim, then the one before, and so on.

    Negative numbers crop.

    Gradient: g cropped.
    """

    x: Tensor
    pad: Ints
    value: Number = 0
    out: Result
    aten = "constant_pad_nd"
    lowering = Lowering.RULE
    recompute = CHEAP

    def infer(op):
        return tensor_type(_padded_shape(op.x, op.pad), op.x.element_type)

    def vjp(op, g):
        return {"x": b.constant_pad_nd(g, [-p for p in op.pad], 0)}


def _infer_edge_pad(op):
    if min(op.padding, default=0) < 0:
        raise VerificationError(f"'padding' {list(op.padding)} must not be negative")
    return tensor_type(_padded_shape(op.x, op.padding), op.x.element_type)


def _infer_reflection(op):
    shape = shape_of(op.x)
    type_ = _infer_edge_pad(op)
    for dim, pads in _padding(shape, op.padding).items():
        if shape[dim] != DYNAMIC and max(pads) >= shape[dim]:
            raise VerificationError(f"'padding' {list(op.padding)} is not smaller than dim {dim} of {op.x}")
    return type_


def _reflected(op):
    """Pad by the elements next to each edge, mirrored at the edge element."""
    x = op.x
    for dim, (before, after) in _padding(shape_of(x), op.padding).items():
        size = b.size(x, dim)
        last = b.add_sizes(size, -1)
        parts = [x]
        if before:
            parts.insert(0, b.flip(b.slice(x, dim, 1, 1 + before, 1), [dim]))
        if after:
            parts.append(b.flip(b.slice(x, dim, b.add_sizes(last, -after), last, 1), [dim]))
        x = b.cat(parts, dim)
    return x


def _replicated(op):
    """Pad by the edge elements."""
    x = op.x
    for dim, (before, after) in _padding(shape_of(x), op.padding).items():
        sizes = b.sizes(x)
        last = b.add_sizes(sizes[dim], -1)
        parts = [x]
        if before:
            edge = b.slice(x, dim, 0, 1, 1)
            parts.insert(0, b.expand(edge, [*sizes[:dim], before, *sizes[dim + 1 :]]))
        if after:
            edge = b.slice(x, dim, last, b.add_sizes(last, 1), 1)
            edge = b.view(edge, [*sizes[:dim], 1, *sizes[dim + 1 :]])
            parts.append(b.expand(edge, [*sizes[:dim], after, *sizes[dim + 1 :]]))
        x = b.cat(parts, dim)
    return x


class ReflectionPad1dOp(FlambeauOp, name="reflection_pad1d"):
    """`x` with its last dim continued by reflection at the edge elements."""

    x: Tensor
    padding: Ints
    out: Result
    aten = "reflection_pad1d"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _infer_reflection
    decompose = _reflected


class ReflectionPad2dOp(FlambeauOp, name="reflection_pad2d"):
    """`x` with its last two dims continued by reflection at the edge elements."""

    x: Tensor
    padding: Ints
    out: Result
    aten = "reflection_pad2d"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _infer_reflection
    decompose = _reflected


class ReflectionPad3dOp(FlambeauOp, name="reflection_pad3d"):
    """`x` with its last three dims continued by reflection at the edge elements."""

    x: Tensor
    padding: Ints
    out: Result
    aten = "reflection_pad3d"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _infer_reflection
    decompose = _reflected


class ReplicationPad1dOp(FlambeauOp, name="replication_pad1d"):
    """`x` with its last dim continued by the edge elements."""

    x: Tensor
    padding: Ints
    out: Result
    aten = "replication_pad1d"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _infer_edge_pad
    decompose = _replicated


class ReplicationPad2dOp(FlambeauOp, name="replication_pad2d"):
    """`x` with its last two dims continued by the edge elements."""

    x: Tensor
    padding: Ints
    out: Result
    aten = "replication_pad2d"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _infer_edge_pad
    decompose = _replicated


class ReplicationPad3dOp(FlambeauOp, name="replication_pad3d"):
    """`x` with its last three dims continued by the edge elements."""

    x: Tensor
    padding: Ints
    out: Result
    aten = "replication_pad3d"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _infer_edge_pad
    decompose = _replicated


# --- Triangles -------------------------------------------------------------------------------------------------------


def _infer_triangle(op):
    if op.x.rank < 2:
        raise VerificationError(f"needs a tensor of at least 2 dims, not {op.x}")
    return op.x


def _triangle(x, keep):
    """`x` where keep(column - row), zeros elsewhere."""
    i64 = ir.IntegerType.get_signless(64)
    rows, columns = b.sizes(x)[-2:]
    column = b.expand(b.iota(columns, i64), [rows, columns])
    row = b.expand(b.unsqueeze(b.iota(rows, i64), 1), [rows, columns])
    return b.where(b.expand(keep(b.sub(column, row)), b.sizes(x)), x, b.zeros_like(x))


class TrilOp(FlambeauOp, name="tril"):
    """`x` with zeros above diagonal number `diagonal` of its last two dims.

    Gradient: the same of g.
    """

    x: Tensor
    diagonal: Int = 0
    out: Result
    aten = "tril"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _infer_triangle

    def vjp(op, g):
        return {"x": b.tril(g, op.diagonal)}

    def decompose(op):
        return _triangle(op.x, lambda distance: b.le(distance, op.diagonal))


class TriuOp(FlambeauOp, name="triu"):
    """`x` with zeros below diagonal number `diagonal` of its last two dims.

    Gradient: the same of g.
    """

    x: Tensor
    diagonal: Int = 0
    out: Result
    aten = "triu"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _infer_triangle

    def vjp(op, g):
        return {"x": b.triu(g, op.diagonal)}

    def decompose(op):
        return _triangle(op.x, lambda distance: b.ge(distance, op.diagonal))


# --- Pixels and channels ---------------------------------------------------------------------------------------------


def _divided(size, divisor):
    """size / divisor in a type."""
    if size != DYNAMIC and size % divisor:
        raise VerificationError(f"a dim of size {size} is not divisible by {divisor}")
    return DYNAMIC if size == DYNAMIC else size // divisor


def _times(size, factor):
    """size * factor in a type."""
    return DYNAMIC if size == DYNAMIC else size * factor


class PixelShuffleOp(FlambeauOp, name="pixel_shuffle"):
    """[.., c * r * r, h, w] -> [.., c, h * r, w * r], with r the `upscale_factor`."""

    x: Tensor
    upscale_factor: Int
    out: Result
    aten = "pixel_shuffle"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP

    def infer(op):
        r = op.upscale_factor
        if op.x.rank < 3 or r < 1:
            raise VerificationError(f"needs at least 3 dims and a positive factor, not {op.x} and {r}")
        *outer, channels, height, width = shape_of(op.x)
        shape = [*outer, _divided(channels, r * r), _times(height, r), _times(width, r)]
        return tensor_type(shape, op.x.element_type)

    def decompose(op):
        r = op.upscale_factor
        *outer, channels, height, width = b.sizes(op.x)
        n, c = len(outer), b.divide_size(channels, r * r)
        apart = b.view(op.x, [*outer, c, r, r, height, width])
        moved = b.permute(apart, [*range(n + 1), n + 3, n + 1, n + 4, n + 2])
        return b.view(moved, [*outer, c, b.multiply_sizes([height, r]), b.multiply_sizes([width, r])])


class PixelUnshuffleOp(FlambeauOp, name="pixel_unshuffle"):
    """[.., c, h * r, w * r] -> [.., c * r * r, h, w], with r the `downscale_factor`."""

    x: Tensor
    downscale_factor: Int
    out: Result
    aten = "pixel_unshuffle"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP

    def infer(op):
        r = op.downscale_factor
        if op.x.rank < 3 or r < 1:
            raise VerificationError(f"needs at least 3 dims and a positive factor, not {op.x} and {r}")
        *outer, channels, height, width = shape_of(op.x)
        shape = [*outer, _times(channels, r * r), _divided(height, r), _divided(width, r)]
        return tensor_type(shape, op.x.element_type)

    def decompose(op):
        r = op.downscale_factor
        *outer, channels, height, width = b.sizes(op.x)
        n, h, w = len(outer), b.divide_size(height, r), b.divide_size(width, r)
        apart = b.view(op.x, [*outer, channels, h, r, w, r])
        moved = b.permute(apart, [*range(n + 1), n + 2, n + 4, n + 1, n + 3])
        return b.view(moved, [*outer, b.multiply_sizes([channels, r * r]), h, w])


class ChannelShuffleOp(FlambeauOp, name="channel_shuffle"):
    """The channels (dim 1), seen as `groups` x rest, transposed."""

    x: Tensor
    groups: Int
    out: Result
    aten = "channel_shuffle"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP

    def infer(op):
        shape = shape_of(op.x)
        if len(shape) < 3 or op.groups < 1:
            raise VerificationError(f"needs at least 3 dims and positive groups, not {op.x} and {op.groups}")
        _divided(shape[1], op.groups)
        return op.x

    def decompose(op):
        batch, channels, *rest = sizes = b.sizes(op.x)
        apart = b.view(op.x, [batch, op.groups, b.divide_size(channels, op.groups), *rest])
        return b.view(b.transpose(apart, 1, 2), sizes)
