# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Change of spatial sizes: adaptive pooling and upsampling, all made of simpler ops.

x is (N, C, S...) or, for adaptive pooling, also (C, S...). Each dim is resampled by itself.
"""

import struct
from array import array
from collections.abc import Callable, Sequence
from typing import NamedTuple

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import FlambeauOp
from flambeau.dialects.opdef import (
    CHEAP,
    COSTLY,
    Bool,
    Float,
    Ints,
    Lowering,
    Result,
    Sizes,
    Tensor,
    VerificationError,
)
from flambeau.dialects.types import DYNAMIC, is_float, shape_of, tensor_type, with_element


def _require_float(x: ir.RankedTensorType) -> None:
    if not is_float(x):
        raise VerificationError(f"a float tensor is needed, found {x}")


# --- Adaptive pooling ------------------------------------------------------------------------------------------------


def _spatial_sizes(x: Sequence[int], rank: int) -> list[int]:
    if len(x) - rank not in (1, 2):
        raise VerificationError(f"input of rank {len(x)}; {rank + 1} or {rank + 2} is needed")
    return list(x[-rank:])


def _adaptive_average(rank: int):
    def infer(op):
        _require_float(op.x)
        _spatial_sizes(shape_of(op.x), rank)
        if len(op.output_size) != rank or min(op.output_size) < 1:
            raise VerificationError(
                f"output_size is {op.output_size}; {rank} numbers of at least 1 are needed"
            )
        return tensor_type([*shape_of(op.x)[:-rank], *op.output_size], op.x.element_type)

    return infer


class AdaptiveAvgPool2dOp(FlambeauOp, name="adaptive_avg_pool2d"):
    """The mean of windows that divide the input into `output_size` parts.

    Window i reaches from i S / T, rounded down, to (i + 1) S / T, rounded up.

    Gradient: of its decomposition.
    """

    x: Tensor
    output_size: Ints
    out: Result
    aten = "_adaptive_avg_pool2d"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _adaptive_average(2)

    def decompose(op):
        return _adaptive_mean(op.x, op.output_size)


class AdaptiveAvgPool3dOp(FlambeauOp, name="adaptive_avg_pool3d"):
    """As adaptive_avg_pool2d, over three dims.

    Gradient: of its decomposition.
    """

    x: Tensor
    output_size: Ints
    out: Result
    aten = "_adaptive_avg_pool3d"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP
    infer = _adaptive_average(3)

    def decompose(op):
        return _adaptive_mean(op.x, op.output_size)


class AdaptiveMaxPool2dOp(FlambeauOp, name="adaptive_max_pool2d"):
    """The maximum, and its position, of windows that divide the input evenly into `output_size` parts.

    Gradient: of its decomposition, max_pool2d_with_indices.
    """

    x: Tensor
    output_size: Ints
    out: Result
    indices: Result
    aten = "adaptive_max_pool2d"
    lowering = Lowering.DECOMPOSE
    recompute = COSTLY

    def infer(op):
        _require_float(op.x)
        spatial = _spatial_sizes(shape_of(op.x), 2)
        if DYNAMIC in spatial:
            raise VerificationError(f"adaptive maxima need static spatial sizes, found {shape_of(op.x)}")
        if len(op.output_size) != 2 or any(
            p < 1 or s % p for s, p in zip(spatial, op.output_size, strict=True)
        ):
            raise VerificationError(
                f"output_size {op.output_size} does not divide the spatial sizes {spatial}"
            )
        values = tensor_type([*shape_of(op.x)[:-2], *op.output_size], op.x.element_type)
        return [values, with_element(values, ir.IntegerType.get_signless(64))]

    def decompose(op):
        kernel = [s // p for s, p in zip(shape_of(op.x)[-2:], op.output_size, strict=True)]
        return b.max_pool2d_with_indices(op.x, kernel, kernel, [0], [1], False)


def _adaptive_mean(x: ir.Value, output_size: Sequence[int]) -> ir.Value:
    rank = len(output_size)
    spatial = b.sizes(x)[-rank:]
    if all(
        isinstance(size, int) and size % parts == 0 for size, parts in zip(spatial, output_size, strict=True)
    ):
        kernel = [size // parts for size, parts in zip(spatial, output_size, strict=True)]
        pool = b.avg_pool2d if rank == 2 else b.avg_pool3d
        return pool(x, kernel, kernel, [0], False, True, None)
    out = b.wide(x)
    for dim, parts in enumerate(output_size, len(shape_of(x)) - rank):
        out = b.mean(out, [dim], True) if parts == 1 else _window_means(out, dim, parts)
    return b.cast_like(out, x)


def _window_means(x: ir.Value, dim: int, parts: int) -> ir.Value:
    """The means of `parts` windows along `dim`.

    All elements are visited for each window, and those outside count as 0. (A product with a matrix of weights would
    spread infinities and NaN to other windows.)
    """
    sizes = b.sizes(x)
    inside = _windows(sizes[dim], parts)
    counts = b.sum(b.cast_like(inside, x), [0])
    beside = [1] * (len(sizes) - dim - 1)
    each = [*sizes[: dim + 1], parts, *sizes[dim + 1 :]]
    inside = b.expand(b.view(inside, [sizes[dim], parts, *beside]), each)
    total = b.sum(b.where(inside, b.expand(b.unsqueeze(x, dim + 1), each), 0), [dim])
    return b.div(total, b.expand_to(b.view(counts, [parts, *beside]), total))


def _windows(size: int | ir.Value, parts: int) -> ir.Value:
    """(size, parts), bool: whether element s lies in window i, that is i S < (s + 1) T and s T < (i + 1) S."""
    i64 = ir.IntegerType.get_signless(64)
    shape = [size, parts]
    place = b.expand(b.unsqueeze(b.iota(size, i64), 1), shape)
    part, length = b.expand(b.iota(parts, i64), shape), b.expand(b.tensor_from_index(size, i64), shape)
    starts = b.lt(b.mul(part, length), b.mul(b.add(place, 1), parts))
    return b.logical_and(starts, b.lt(b.mul(place, parts), b.mul(b.add(part, 1), length)))


# --- Upsampling ------------------------------------------------------------------------------------------------------


def _upsampled(op) -> ir.RankedTensorType:
    _require_float(op.x)
    if len(shape_of(op.x)) != 4 or len(op.output_size) != 2:
        raise VerificationError(f"(N, C, H, W) and two sizes are needed, found {op.x} and {op.output_size}")
    return tensor_type([*shape_of(op.x)[:2], *op.output_size], op.x.element_type)


class UpsampleNearest2dOp(FlambeauOp, name="upsample_nearest2d"):
    """Element i along a dim is that at min(floor(i / scale), S - 1) of the input, computed in float32.

    `scales_h` and `scales_w` may be absent: then the scale is T / S. With dynamic sizes it is absent or a power of two.
    Gradient: of its decomposition.
    """

    x: Tensor
    output_size: Sizes
    scales_h: Float | None
    scales_w: Float | None
    out: Result
    aten = "upsample_nearest2d"
    lowering = Lowering.DECOMPOSE
    recompute = CHEAP

    def infer(op):
        out = _upsampled(op)
        for i, scale in enumerate((op.scales_h, op.scales_w)):
            dynamic = DYNAMIC in (shape_of(op.x)[2 + i], op.output_size[i])
            if dynamic and scale is not None and scale not in _POWERS_OF_TWO:
                raise VerificationError(f"dynamic sizes need a scale of 1, 2, 4, ... or none, found {scale}")
        return out

    def decompose(op):
        out = op.x
        for dim, scale in ((2, op.scales_h), (3, op.scales_w)):
            size, target = b.size(op.x, dim), op.output_size[dim - 2]
            if not (isinstance(size, int) and isinstance(target, int)):
                if scale is None:
                    out = b.index_select(out, dim, _nearest_sources(size, target))
                else:
                    out = _repeated(out, dim, int(scale), target)
                continue
            sources = [_nearest_source(i, size, target, scale) for i in range(target)]
            factor = target // size
            if target == factor * size and sources == [i // factor for i in range(target)]:
                out = _repeated(out, dim, factor, target)
            else:
                out = b.index_select(out, dim, _positions(sources))
        return out


_POWERS_OF_TWO = tuple(2.0**i for i in range(16))


def _float32(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


def _nearest_source(i: int, size: int, target: int, scale: float | None) -> int:
    # Eager's arithmetic, with its two exceptions.
    if target == size:
        return i
    if target == 2 * size:
        return i // 2
    step = _float32(1.0 / scale) if scale else _float32(_float32(size) / _float32(target))
    return min(int(_float32(i * step)), size - 1)


def _nearest_sources(size: int | ir.Value, target: int | ir.Value) -> ir.Value:
    """The same for all i, without a scale: (target,), i64."""
    f32, i64 = ir.F32Type.get(), ir.IntegerType.get_signless(64)
    step = b.div(b.tensor_from_index(size, f32), b.tensor_from_index(target, f32))
    sources = b.cast(b.mul(b.iota(target, f32), b.expand(step, [target])), i64)
    return b.minimum(sources, b.expand(b.sub(b.tensor_from_index(size, i64), 1), [target]))


def _repeated(x: ir.Value, dim: int, factor: int, target: int | ir.Value) -> ir.Value:
    """Each element `factor` times in a row along `dim`."""
    sizes = b.sizes(x)
    if factor == 1:
        return x
    wide = b.expand(b.unsqueeze(x, dim + 1), [*sizes[: dim + 1], factor, *sizes[dim + 1 :]])
    return b.view(wide, [*sizes[:dim], target, *sizes[dim + 1 :]])


class UpsampleBilinear2dOp(FlambeauOp, name="upsample_bilinear2d"):
    """Linear interpolation along both dims between the two elements next to the source position.

    That is i (S - 1) / (T - 1) if `align_corners`, else (i + 1/2) / scale - 1/2, at least 0; without a scale, T / S.

    Gradient: each element of g times the weights of the elements that it was made of, added to them.
    """

    x: Tensor
    output_size: Sizes
    align_corners: Bool
    scales_h: Float | None
    scales_w: Float | None
    out: Result
    aten = "upsample_bilinear2d"
    lowering = Lowering.DECOMPOSE
    recompute = COSTLY

    def infer(op):
        return _upsampled(op)

    def decompose(op):
        out = b.wide(op.x)
        for dim, neighbours in _neighbours(op):
            low, high = (b.index_select(out, dim, v) for v in (neighbours.low, neighbours.high))
            fraction = _along(neighbours.fraction, dim, low)
            out = b.add(b.mul(low, b.sub(1, fraction)), b.mul(high, fraction))
        return b.cast_like(out, op.x)

    def vjp(op, g):
        grad = b.wide(g)
        for dim, neighbours in reversed(_neighbours(op)):
            size = b.size(op.x, dim)
            if neighbours.table is None:
                grad = _spread_to_neighbours(grad, dim, size, neighbours)
            else:
                grad = _gathered(grad, dim, _readers(neighbours.table, size))
        return {"x": b.cast_like(grad, op.x)}


class _Neighbours(NamedTuple):
    """For each position along a dim of the result: its neighbours in the source, and how far it is from the lower.

    low, high: (T,), i64; fraction: (T,), of the element type that is computed in. table: the same as Python numbers
    if sizes are static.
    """

    low: ir.Value
    high: ir.Value
    fraction: ir.Value
    table: list[tuple[int, int, float]] | None


def _neighbours(op) -> list[tuple[int, _Neighbours]]:
    """Each spatial dim with its neighbours."""
    element = b.wide(op.x).type.element_type
    found = []
    for dim, target, scale in zip((2, 3), op.output_size, (op.scales_h, op.scales_w), strict=True):
        size = b.size(op.x, dim)
        if isinstance(size, int) and isinstance(target, int):
            table = _known_neighbours(size, target, op.align_corners, scale, double=str(element) == "f64")
            low, high, fraction = zip(*table, strict=True)
            found.append(
                (dim, _Neighbours(_positions(low), _positions(high), _numbers(fraction, element), table))
            )
        else:
            found.append((dim, _computed_neighbours(size, target, op.align_corners, scale, element)))
    return found


def _known_neighbours(
    size: int, target: int, align_corners: bool, scale: float | None, *, double: bool
) -> list[tuple[int, int, float]]:
    """(lower, upper, fraction) for each position, in eager's arithmetic: float32, or float64 if `double`."""
    rounded: Callable[[float], float] = float if double else _float32
    if align_corners:
        step = rounded((size - 1) / (target - 1)) if target > 1 else 0.0
    else:
        step = rounded(1.0 / scale) if scale else rounded(size / target)
    found = []
    for i in range(target):
        source = rounded(step * i) if align_corners else max(rounded(rounded(step * (i + 0.5)) - 0.5), 0.0)
        low = min(int(source), size - 1)
        found.append((low, min(low + 1, size - 1), min(max(source - low, 0.0), 1.0)))
    return found


def _computed_neighbours(
    size: int | ir.Value, target: int | ir.Value, align_corners: bool, scale: float | None, element: ir.Type
) -> _Neighbours:
    i64 = ir.IntegerType.get_signless(64)
    old, new = (b.tensor_from_index(s, element) for s in (size, target))
    position = b.iota(target, element)
    if align_corners:
        step = b.div(b.sub(old, 1), b.maximum(b.sub(new, 1), 1))
        source = b.mul(b.expand(step, [target]), position)
    else:
        step = b.scalar(1.0 / scale, element) if scale else b.div(old, new)
        source = b.sub(b.mul(b.expand(step, [target]), b.add(position, 0.5)), 0.5)
        source = b.maximum(source, 0)
    last = b.expand(b.sub(old, 1), [target])
    low = b.minimum(b.floor(source), last)
    high = b.minimum(b.add(low, 1), last)
    fraction = b.clamp(b.sub(source, low), 0.0, 1.0)
    return _Neighbours(b.cast(low, i64), b.cast(high, i64), fraction, None)


def _spread_to_neighbours(g: ir.Value, dim: int, size: int | ir.Value, neighbours: _Neighbours) -> ir.Value:
    """The gradient along one dim: g added into zeros of `size`, where sizes are dynamic."""
    sizes = b.sizes(g)
    fraction = _along(neighbours.fraction, dim, g)
    sizes[dim] = size
    grad = b.full(sizes, 0, g.type.element_type)
    grad = b.index_add(grad, dim, neighbours.low, b.mul(g, b.sub(1, fraction)))
    return b.index_add(grad, dim, neighbours.high, b.mul(g, fraction))


def _readers(table: Sequence[tuple[int, int, float]], size: int) -> list[list[tuple[int, float]]]:
    """For each of `size` source elements: the positions that it is a neighbour of, and its weight there."""
    readers: list[list[tuple[int, float]]] = [[] for _ in range(size)]
    for position, (low, high, fraction) in enumerate(table):
        readers[low].append((position, 1.0 - fraction))
        readers[high].append((position, fraction))
    return readers


def _gathered(x: ir.Value, dim: int, taps: Sequence[Sequence[tuple[int, float]]]) -> ir.Value:
    """Element i along `dim` is the sum of x at the positions in `taps[i]`, each times its weight."""
    total = None
    for k in range(max(map(len, taps))):
        chosen = [of[k] if k < len(of) else None for of in taps]
        places = _positions([0 if tap is None else tap[0] for tap in chosen])
        weights = _numbers([0.0 if tap is None else tap[1] for tap in chosen], x.type.element_type)
        read = b.index_select(x, dim, places)
        part = b.mul(read, _along(weights, dim, read))
        if None in chosen:
            present = b.gt(_positions([len(of) for of in taps]), k)
            part = b.where(_along(present, dim, part), part, 0)
        total = part if total is None else b.add(total, part)
    return total


def _along(vector: ir.Value, dim: int, like: ir.Value) -> ir.Value:
    """A vector as the values along `dim` of a tensor of the shape of `like`."""
    shape = [b.size(vector, 0) if d == dim else 1 for d in range(len(shape_of(like)))]
    return b.expand_to(b.view(vector, shape), like)


def _positions(values: Sequence[int]) -> ir.Value:
    i64 = ir.IntegerType.get_signless(64)
    return b.constant(ir.DenseElementsAttr.get(memoryview(array("q", values)), shape=[len(values)], type=i64))


def _numbers(values: Sequence[float], element: ir.Type) -> ir.Value:
    numbers = array("d" if str(element) == "f64" else "f", values)
    return b.constant(ir.DenseElementsAttr.get(memoryview(numbers), shape=[len(values)], type=element))
