# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Change of spatial sizes: adaptive pooling and upsampling. They are decomposed before differentiation.

x is (N, C, S...) or, for adaptive pooling, also (C, S...). What is not a whole factor is a product with a matrix of
weights along each dim: a constant, or computed where sizes are dynamic.
"""

import struct
from array import array
from collections.abc import Callable, Sequence

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
from flambeau.dialects.types import DYNAMIC, is_float, is_low_precision, shape_of, tensor_type, with_element


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
    compute = _compute_element(x)
    weights = [
        _window_weights(size, parts, compute) for size, parts in zip(spatial, output_size, strict=True)
    ]
    return _resample(x, weights)


def _window_weights(size: int | ir.Value, parts: int, element: ir.Type) -> ir.Value:
    """(size, parts): column i averages the i-th window."""
    if isinstance(size, int):
        bounds = [(i * size // parts, -(-(i + 1) * size // parts)) for i in range(parts)]
        return _matrix(
            [
                [1.0 / (end - start) if start <= s < end else 0.0 for start, end in bounds]
                for s in range(size)
            ],
            element,
        )
    i64 = ir.IntegerType.get_signless(64)
    part, length = b.iota(parts, i64), b.tensor_from_index(size, i64)
    length = b.expand(length, [parts])
    start = b.floor_divide(b.mul(part, length), parts)
    end = b.floor_divide(b.add(b.mul(b.add(part, 1), length), parts - 1), parts)
    place, start, end = (
        _along_rows(b.iota(size, i64), size, parts),
        *(b.expand(bound, [size, parts]) for bound in (start, end)),
    )
    inside = b.logical_and(b.ge(place, start), b.lt(place, end))
    return b.div(b.cast(inside, element), b.cast(b.sub(end, start), element))


def _along_rows(column: ir.Value, rows: int | ir.Value, columns: int | ir.Value) -> ir.Value:
    """A vector as each column of a matrix."""
    return b.expand(b.unsqueeze(column, 1), [rows, columns])


def _compute_element(x: ir.Value) -> ir.Type:
    """What weights and sums are computed in: f32 or wider."""
    return ir.F32Type.get() if is_low_precision(x.type) else x.type.element_type


def _resample(x: ir.Value, weights: Sequence[ir.Value]) -> ir.Value:
    """x with its last dims multiplied by the matrices `weights` (old size, new size)."""
    element = x.type.element_type
    out = b.cast(x, _compute_element(x))
    end = len(shape_of(x)) - 1
    for dim, matrix in enumerate(weights, end + 1 - len(weights)):
        last = b.transpose(out, dim, end) if dim != end else out
        *outer, size = b.sizes(last)
        rows = b.mm(b.view(last, [b.multiply_sizes(outer), size]), matrix)
        out = b.view(rows, [*outer, b.size(matrix, 1)])
        out = b.transpose(out, dim, end) if dim != end else out
    return b.cast(out, element)


def _matrix(rows: list[list[float]], element: ir.Type) -> ir.Value:
    values = array("d" if str(element) == "f64" else "f", [v for row in rows for v in row])
    return b.constant(
        ir.DenseElementsAttr.get(memoryview(values), shape=[len(rows), len(rows[0])], type=element)
    )


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


def _positions(values: Sequence[int]) -> ir.Value:
    i64 = ir.IntegerType.get_signless(64)
    return b.constant(ir.DenseElementsAttr.get(memoryview(array("q", values)), shape=[len(values)], type=i64))


class UpsampleBilinear2dOp(FlambeauOp, name="upsample_bilinear2d"):
    """Linear interpolation along both dims between the two elements next to the source position.

    That is i (S - 1) / (T - 1) if `align_corners`, else (i + 1/2) / scale - 1/2, at least 0; without a scale, T / S.
    Gradient: of its decomposition.
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
        weights = [
            _linear_weights(size, target, op.align_corners, scale, _compute_element(op.x))
            for size, target, scale in zip(
                b.sizes(op.x)[2:], op.output_size, (op.scales_h, op.scales_w), strict=True
            )
        ]
        return _resample(op.x, weights)


def _linear_weights(
    size: int | ir.Value,
    target: int | ir.Value,
    align_corners: bool,
    scale: float | None,
    element: ir.Type,
) -> ir.Value:
    """(size, target): column i holds the weights of the two elements next to its source position."""
    if not (isinstance(size, int) and isinstance(target, int)):
        return _computed_linear_weights(size, target, align_corners, scale, element)
    rounded: Callable[[float], float] = float if str(element) == "f64" else _float32
    if align_corners:
        step = rounded((size - 1) / (target - 1)) if target > 1 else 0.0
    else:
        step = rounded(1.0 / scale) if scale else rounded(size / target)
    weights = [[0.0] * target for _ in range(size)]
    for i in range(target):
        source = rounded(step * i) if align_corners else max(rounded(rounded(step * (i + 0.5)) - 0.5), 0.0)
        low = min(int(source), size - 1)
        fraction = min(max(source - low, 0.0), 1.0)
        weights[low][i] += 1.0 - fraction
        weights[min(low + 1, size - 1)][i] += fraction
    return _matrix(weights, element)


def _computed_linear_weights(
    size: int | ir.Value,
    target: int | ir.Value,
    align_corners: bool,
    scale: float | None,
    element: ir.Type,
) -> ir.Value:
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
    place = _along_rows(b.iota(size, element), size, target)
    matrix = None
    for where, weight in ((low, b.sub(b.full_like(fraction, 1), fraction)), (high, fraction)):
        where, weight = (b.expand(v, [size, target]) for v in (where, weight))
        part = b.where(b.eq(place, where), weight, b.full_like(weight, 0))
        matrix = part if matrix is None else b.add(matrix, part)
    return matrix
