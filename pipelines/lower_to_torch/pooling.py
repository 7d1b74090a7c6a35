# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of pooling to linalg.

Forward: one strided slice of the padded input per window element, joined by one pointwise loop, which vectorizes where
a reduction over windows does not. Gradients never scatter: windows that do not overlap are spread out by broadcasting,
and otherwise each input element looks up the few windows that may contain it.
"""

from collections.abc import Callable, Sequence
from itertools import product
from math import inf
from typing import TypeAlias

from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.ops.pooling import Windows, windows_of
from flambeau.dialects.types import DYNAMIC, is_low_precision, shape_of, tensor_type
from flambeau.pipelines.lower_to_torch import builtin
from flambeau.pipelines.lower_to_torch import torch_builder as t

Size: TypeAlias = int | ir.Value  # an int, or a value of type `index`


@t.lowers("flambeau.max_pool2d_with_indices", "flambeau.max_pool3d_with_indices")
def _max_pool(o: t.Lowered) -> list[ir.Value]:
    rank = 2 if o.op.operation.name == "flambeau.max_pool2d_with_indices" else 3
    windows = windows_of(rank, o.kernel_size, o.stride, o.padding, o.dilation, o.ceil_mode)
    x = builtin.to_builtin(o.x, o.op.x.type)
    element, i64 = x.type.element_type, ir.IntegerType.get_signless(64)
    sizes = builtin.sizes_of(x)
    outer, spatial = sizes[:-rank], sizes[-rank:]
    shape = [*outer, *(_positions(windows, i, s) for i, s in enumerate(spatial))]
    taps, slices = _window_slices(x, windows, shape, -inf)

    def body(*values: ir.Value) -> list[ir.Value]:
        starts = [_window_start(windows, len(outer), i) for i in range(rank)]
        # Eager starts from the first element that lies inside: the result if all are -inf.
        largest, where = (
            arith.constant(element, -inf),
            _as_i64(_flat_index([_first_inside(windows, i, s) for i, s in enumerate(starts)], spatial)),
        )
        base = _as_i64(_flat_index(starts, spatial))
        for tap, value in zip(taps, values, strict=False):
            offset = _as_i64(
                _flat_index([_index(windows.dilation[i] * k) for i, k in enumerate(tap)], spatial)
            )
            better = arith.ori(
                arith.cmpf(arith.CmpFPredicate.OGT, value, largest),
                arith.cmpf(arith.CmpFPredicate.UNO, value, value),
            )
            largest = arith.select(better, value, largest)
            where = arith.select(better, arith.addi(base, offset), where)
        return [largest, where]

    outs = [builtin.empty(shape, element), builtin.empty(shape, i64)]
    each = ir.AffineMap.get_identity(len(shape))
    results = builtin.generic(slices, outs, [each] * (len(slices) + 2), ["parallel"] * len(shape), body)
    types = [r.type for r in o.op.operation.results]
    return [
        builtin.from_builtin(builtin.cast(value, type_), result)
        for value, type_, result in zip(results, types, o.result_types, strict=True)
    ]


@t.lowers("flambeau.max_pool_offsets")
def _max_pool_offsets(o: t.Lowered) -> ir.Value:
    def number(
        index: ir.Value, starts: Sequence[ir.Value], windows: Windows, spatial: Sequence[Size]
    ) -> ir.Value:
        distances = [arith.subi(p, s) for p, s in zip(_position(index, spatial), starts, strict=True)]
        tap = [arith.divsi(d, _index(step)) for d, step in zip(distances, windows.dilation, strict=True)]
        return _flat_index(tap, windows.kernel)

    return _renumbered(o, "indices", number)


@t.lowers("flambeau.max_pool_indices")
def _max_pool_indices(o: t.Lowered) -> ir.Value:
    def number(
        offset: ir.Value, starts: Sequence[ir.Value], windows: Windows, spatial: Sequence[Size]
    ) -> ir.Value:
        distances = [
            arith.muli(k, _index(step))
            for k, step in zip(_position(offset, windows.kernel), windows.dilation, strict=True)
        ]
        return _flat_index([arith.addi(s, d) for s, d in zip(starts, distances, strict=True)], spatial)

    return _renumbered(o, "offsets", number)


def _renumbered(
    o: t.Lowered,
    operand: str,
    number: Callable[[ir.Value, Sequence[ir.Value], Windows, Sequence[Size]], ir.Value],
) -> ir.Value:
    """For each window `number(element of the operand, the window's start, windows, spatial sizes)`, on indices."""
    windows = windows_of(len(o.kernel_size), o.kernel_size, o.stride, o.padding, o.dilation)
    given, (result,) = builtin.operand(o, operand), o.op.operation.results
    rank, element = given.type.rank, result.type.element_type
    spatial = [_size(s) for s in o.input_shape[-windows.rank :]]

    def body(value: ir.Value, _: ir.Value) -> list[ir.Value]:
        starts = [_window_start(windows, rank - windows.rank, i) for i in range(windows.rank)]
        value = arith.index_cast(ir.IndexType.get(), value)
        return [arith.index_cast(element, number(value, starts, windows, spatial))]

    outs = [builtin.empty(builtin.sizes_of(given), element)]
    maps = [ir.AffineMap.get_identity(rank)] * 2
    return builtin.result(o, builtin.generic([given], outs, maps, ["parallel"] * rank, body)[0])


@t.lowers("flambeau.max_pool_grad")
def _max_pool_grad(o: t.Lowered) -> ir.Value:
    rank = len(o.kernel_size)
    windows = windows_of(rank, o.kernel_size, o.stride, o.padding, o.dilation)
    g, offsets = builtin.to_builtin(o.g, o.op.g.type), builtin.to_builtin(o.offsets, o.op.offsets.type)
    spatial = [_size(s) for s in o.input_shape[-rank:]]

    def contribution(values: Sequence[ir.Value], tap: Sequence[ir.Value]) -> ir.Value:
        gradient, offset = values
        named = arith.index_cast(ir.IndexType.get(), offset)
        here = arith.cmpi(arith.CmpIPredicate.eq, named, _flat_index(tap, windows.kernel))
        return arith.select(here, gradient, arith.constant(gradient.type, 0.0))

    return _finish(_gather_from_windows([g, offsets], windows, spatial, contribution), o)


@t.lowers("flambeau.avg_pool2d", "flambeau.avg_pool3d")
def _avg_pool(o: t.Lowered) -> ir.Value:
    rank = 2 if o.op.operation.name == "flambeau.avg_pool2d" else 3
    windows = windows_of(rank, o.kernel_size, o.stride, o.padding, (1,), o.ceil_mode)
    x = builtin.to_builtin(o.x, o.op.x.type)
    element = x.type.element_type
    sizes = builtin.sizes_of(x)
    outer, spatial = sizes[:-rank], sizes[-rank:]
    shape = [*outer, *(_positions(windows, i, s) for i, s in enumerate(spatial))]
    _, slices = _window_slices(x, windows, shape, 0.0)

    def body(*values: ir.Value) -> list[ir.Value]:
        total = _wide(values[0])
        for value in values[1:-1]:
            total = arith.addf(total, _wide(value))
        places = [builtin.loop_index(len(outer) + i) for i in range(rank)]
        return [_narrow(arith.divf(total, _divisor(o, windows, places, spatial, total.type)), element)]

    each = ir.AffineMap.get_identity(len(shape))
    (out,) = builtin.generic(
        slices, [builtin.empty(shape, element)], [each] * (len(slices) + 1), ["parallel"] * len(shape), body
    )
    return _finish(out, o)


@t.lowers("flambeau.avg_pool_grad")
def _avg_pool_grad(o: t.Lowered) -> ir.Value:
    rank = len(o.kernel_size)
    windows = windows_of(rank, o.kernel_size, o.stride, o.padding, (1,), o.ceil_mode)
    g = builtin.to_builtin(o.g, o.op.g.type)
    element = g.type.element_type
    outer = g.type.rank - rank
    spatial = [_size(s) for s in o.input_shape[-rank:]]

    # Divide first, so that looking up a window is enough.
    def divide(value: ir.Value, _: ir.Value) -> list[ir.Value]:
        places = [builtin.loop_index(outer + i) for i in range(rank)]
        value = _wide(value)
        return [arith.divf(value, _divisor(o, windows, places, spatial, value.type))]

    each = ir.AffineMap.get_identity(g.type.rank)
    wide = ir.F32Type.get() if is_low_precision(element) else element
    (shares,) = builtin.generic(
        [g], [builtin.empty(builtin.sizes_of(g), wide)], [each, each], ["parallel"] * g.type.rank, divide
    )
    total = _gather_from_windows([shares], windows, spatial, lambda values, _: values[0])
    if wide != element:
        (total,) = builtin.generic(
            [total],
            [builtin.empty(builtin.sizes_of(total), element)],
            [each, each],
            ["parallel"] * g.type.rank,
            lambda value, _: [_narrow(value, element)],
        )
    return _finish(total, o)


# --- Windows ---------------------------------------------------------------------------------------------------------


def _positions(windows: Windows, i: int, size: Size) -> Size:
    """The number of windows along spatial dim i; the dialect's rule, also for dynamic sizes."""
    stride = windows.stride[i]
    room = 2 * windows.padding[i] - windows.reach(i) - 1 + (stride - 1 if windows.ceil_mode else 0)
    if isinstance(size, int):
        count = (size + room) // stride + 1
        return count - 1 if windows.ceil_mode and (count - 1) * stride >= size + windows.padding[i] else count
    last = arith.floordivsi(_plus(size, room), _index(stride))
    if windows.ceil_mode:
        beyond = arith.cmpi(
            arith.CmpIPredicate.sge, arith.muli(last, _index(stride)), _plus(size, windows.padding[i])
        )
        return arith.select(beyond, last, _plus(last, 1))
    return _plus(last, 1)


def _window_slices(
    x: ir.Value, windows: Windows, shape: Sequence[Size], padding: float
) -> tuple[list[tuple[int, ...]], list[ir.Value]]:
    """The places in a window, and for each the elements of x there, one per window (shape `shape`)."""
    rank = windows.rank
    outer = len(shape) - rank
    low = [0] * outer + windows.padding
    high = [0] * outer + [
        p + (s - 1 if windows.ceil_mode else 0) for p, s in zip(windows.padding, windows.stride, strict=True)
    ]
    padded = builtin.pad(x, low, high, padding) if any([*low, *high]) else x
    type_ = tensor_type([s if isinstance(s, int) else DYNAMIC for s in shape], x.type.element_type)
    taps = list(product(*(range(k) for k in windows.kernel)))
    strides = [1] * outer + windows.stride
    offsets = [[0] * outer + [windows.dilation[i] * k for i, k in enumerate(tap)] for tap in taps]
    return taps, [builtin.extract_slice(padded, offset, shape, strides, type_) for offset in offsets]


def _window_start(windows: Windows, outer: int, i: int) -> ir.Value:
    """In a loop over windows: where the window starts along spatial dim i, negative in the padding."""
    return _plus(arith.muli(builtin.loop_index(outer + i), _index(windows.stride[i])), -windows.padding[i])


def _first_inside(windows: Windows, i: int, start: ir.Value) -> ir.Value:
    """The first place of a window that does not lie before the input."""
    if windows.padding[i] == 0:
        return start
    step = windows.dilation[i]
    missing = arith.maxsi(arith.subi(_index(0), start), _index(0))
    steps = missing if step == 1 else arith.floordivsi(_plus(missing, step - 1), _index(step))
    return arith.addi(start, arith.muli(steps, _index(step)))


def _gather_from_windows(
    sources: Sequence[ir.Value],
    windows: Windows,
    spatial: Sequence[Size],
    contribution: Callable[[Sequence[ir.Value], Sequence[ir.Value]], ir.Value],
) -> ir.Value:
    """For each input element the sum of `contribution(values, tap)` over the windows that hold it.

    `values` are those of `sources` (one element per window), `tap` is the input element's place in the window.
    """
    rank, element = windows.rank, sources[0].type.element_type
    outer = sources[0].type.rank - rank
    sizes = [*builtin.sizes_of(sources[0])[:outer], *spatial]
    if _tiles(windows, shape_of(sources[0])[outer:], spatial):
        return _spread_over_tiles(sources, windows, spatial, contribution)
    counts = builtin.sizes_of(sources[0])[outer:]

    def body(_: ir.Value) -> list[ir.Value]:
        lead = [builtin.loop_index(i) for i in range(outer)]
        position = [builtin.loop_index(outer + i) for i in range(rank)]
        zero = arith.constant(element, 0.0)
        total = zero
        # The last window that starts at or before an element, and those before it that reach so far.
        reached = [_plus(p, windows.padding[i]) for i, p in enumerate(position)]
        last = [arith.floordivsi(r, _index(windows.stride[i])) for i, r in enumerate(reached)]
        into_last = [
            arith.subi(r, arith.muli(n, _index(windows.stride[i])))
            for i, (r, n) in enumerate(zip(reached, last, strict=True))
        ]
        for steps in product(*(range(windows.reach(i) // windows.stride[i] + 1) for i in range(rank))):
            inside: ir.Value | None = None
            places, tap = [], []
            for i, step in enumerate(steps):
                place = _plus(last[i], -step)
                bound = counts[i] if isinstance(counts[i], ir.Value) else _index(counts[i])
                distance, dilation = _plus(into_last[i], step * windows.stride[i]), windows.dilation[i]
                conditions = [
                    arith.cmpi(arith.CmpIPredicate.sge, place, _index(0)),
                    arith.cmpi(arith.CmpIPredicate.slt, place, bound),
                    arith.cmpi(arith.CmpIPredicate.sle, distance, _index(windows.reach(i))),
                ]
                if dilation > 1:
                    skipped = arith.remsi(distance, _index(dilation))
                    conditions.append(arith.cmpi(arith.CmpIPredicate.eq, skipped, _index(0)))
                    distance = arith.divsi(distance, _index(dilation))
                tap.append(distance)
                for condition in conditions:
                    inside = condition if inside is None else arith.andi(inside, condition)
                places.append(arith.maxsi(arith.minsi(place, _plus(bound, -1)), _index(0)))
            values = [
                ir.Operation.create(
                    "tensor.extract", results=[s.type.element_type], operands=[s, *lead, *places]
                ).results[0]
                for s in sources
            ]
            total = arith.addf(total, arith.select(inside, contribution(values, tap), zero))
        return [total]

    rank_all = outer + rank
    return builtin.generic(
        [],
        [builtin.empty(sizes, element)],
        [ir.AffineMap.get_identity(rank_all)],
        ["parallel"] * rank_all,
        body,
    )[0]


def _tiles(windows: Windows, counts: Sequence[int], spatial: Sequence[Size]) -> bool:
    """Whether the windows lie side by side from the first element on, all inside; an edge may be left over."""
    side_by_side = (
        windows.kernel == windows.stride and not any(windows.padding) and set(windows.dilation) == {1}
    )
    return side_by_side and all(
        isinstance(size, int) and count != DYNAMIC and count * kernel <= size
        for size, count, kernel in zip(spatial, counts, windows.kernel, strict=True)
    )


def _spread_over_tiles(
    sources: Sequence[ir.Value],
    windows: Windows,
    spatial: Sequence[Size],
    contribution: Callable[[Sequence[ir.Value], Sequence[ir.Value]], ir.Value],
) -> ir.Value:
    rank, element = windows.rank, sources[0].type.element_type
    outer = sources[0].type.rank - rank
    sizes = builtin.sizes_of(sources[0])
    # (outer..., T, K, T, K): dims of windows and dims inside them alternate.
    split = [*sizes[:outer], *(s for i in range(rank) for s in (sizes[outer + i], windows.kernel[i]))]
    total = len(split)
    d = [ir.AffineDimExpr.get(i) for i in range(total)]
    source = ir.AffineMap.get(total, 0, [*d[:outer], *d[outer::2]])

    def body(*values: ir.Value) -> list[ir.Value]:
        return [contribution(values[:-1], [builtin.loop_index(outer + 2 * i + 1) for i in range(rank)])]

    maps = [*[source] * len(sources), ir.AffineMap.get_identity(total)]
    (tiles,) = builtin.generic(sources, [builtin.empty(split, element)], maps, ["parallel"] * total, body)
    covered = [s * k for s, k in zip(shape_of(sources[0])[outer:], windows.kernel, strict=True)]
    merged = tensor_type([*shape_of(sources[0])[:outer], *covered], element)
    groups = [*([i] for i in range(outer)), *([outer + 2 * i, outer + 2 * i + 1] for i in range(rank))]
    out = builtin.collapse_shape(tiles, groups, merged)
    rest = [size - c for size, c in zip(spatial, covered, strict=True)]
    if any(rest):
        out = builtin.pad(out, [0] * len(merged.shape), [0] * outer + rest, 0.0)
    return out


def _divisor(
    o: t.Lowered, windows: Windows, places: Sequence[ir.Value], spatial: Sequence[Size], type_: ir.Type
) -> ir.Value:
    """In a loop over windows: what the window's sum is divided by, as a float."""
    if o.divisor_override is not None:
        return arith.constant(type_, float(o.divisor_override))
    count: ir.Value | None = None
    whole = not any(windows.padding) and not windows.ceil_mode
    if whole or (o.count_include_pad and not windows.ceil_mode):
        elements = 1
        for size in windows.kernel:
            elements *= size
        return arith.constant(type_, float(elements))
    for i, place in enumerate(places):
        start = _plus(arith.muli(place, _index(windows.stride[i])), -windows.padding[i])
        size = spatial[i] if isinstance(spatial[i], ir.Value) else _index(spatial[i])
        first, past = start, _plus(start, windows.kernel[i])
        past = arith.minsi(past, _plus(size, windows.padding[i]))
        if not o.count_include_pad:
            first, past = arith.maxsi(first, _index(0)), arith.minsi(past, size)
        length = arith.subi(past, first)
        count = length if count is None else arith.muli(count, length)
    return arith.sitofp(type_, _as_i64(count))


# --- Small pieces ----------------------------------------------------------------------------------------------------


def _finish(value: ir.Value, o: t.Lowered) -> ir.Value:
    return builtin.from_builtin(builtin.cast(value, o.op.out.type), o.result_types[0])


def _size(size: Size) -> Size:
    return size if isinstance(size, int) else builtin.to_index(size)


def _index(value: int) -> ir.Value:
    return arith.constant(ir.IndexType.get(), value)


def _plus(value: ir.Value, more: int) -> ir.Value:
    return arith.addi(value, _index(more)) if more else value


def _as_i64(value: ir.Value) -> ir.Value:
    return arith.index_cast(ir.IntegerType.get_signless(64), value)


def _flat_index(position: Sequence[ir.Value], spatial: Sequence[Size]) -> ir.Value:
    """The row-major number of a place in the input's plane, or in a window."""
    flat = position[0]
    for place, size in zip(position[1:], spatial[1:], strict=True):
        flat = arith.addi(arith.muli(flat, size if isinstance(size, ir.Value) else _index(size)), place)
    return flat


def _position(flat: ir.Value, spatial: Sequence[Size]) -> list[ir.Value]:
    """The place that has a row-major number."""
    position: list[ir.Value] = []
    for size in reversed(spatial[1:]):
        length = size if isinstance(size, ir.Value) else _index(size)
        position.append(arith.remsi(flat, length))
        flat = arith.divsi(flat, length)
    return [flat, *reversed(position)]


def _wide(value: ir.Value) -> ir.Value:
    return arith.extf(ir.F32Type.get(), value) if is_low_precision(value.type) else value


def _narrow(value: ir.Value, element: ir.Type) -> ir.Value:
    return value if value.type == element else arith.truncf(element, value)
