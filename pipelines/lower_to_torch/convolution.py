# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of convolutions to linalg, channels last: the form that IREE compiles well.

Every case is one of three loop nests. A plain convolution pads, then contracts windows with the weight. The gradient
by the input (and a transposed convolution) is a plain convolution of the gradient, spread out by the stride, with the
flipped weight. The gradient by the weight copies all windows side by side and is then one matrix product.
16-bit floats accumulate in f32.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from flambeau.dialects import bindings
from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.types import DYNAMIC, is_low_precision, shape_of, tensor_type
from flambeau.pipelines.lower_to_torch import builtin
from flambeau.pipelines.lower_to_torch import torch_builder as t


@t.lowers("flambeau.convolution")
def _convolution(o: t.Lowered) -> ir.Value:
    windows, weight = _Windows.of(o, shape_of(o.op.weight)), builtin.to_builtin(o.weight, o.op.weight.type)
    bias = None if o.bias is None else builtin.to_builtin(o.bias, o.op.bias.type)
    if not o.transposed:
        x = _builtin(o, "x", windows.channels)
        positions = [windows.positions(i, s) for i, s in enumerate(builtin.sizes_of(x)[2:])]
        return _finish(_forward(x, weight, positions, windows, bias), o)
    x = _builtin(o, "x", windows.features)
    sizes = [windows.transposed_size(i, s) for i, s in enumerate(builtin.sizes_of(x)[2:])]
    return _finish(_input_grad(x, weight, sizes, windows, bias), o)


@t.lowers("flambeau.convolution_input_grad")
def _convolution_input_grad(o: t.Lowered) -> ir.Value:
    windows, weight = _Windows.of(o, shape_of(o.op.weight)), builtin.to_builtin(o.weight, o.op.weight.type)
    sizes = [s if isinstance(s, int) else builtin.to_index(s) for s in o.input_shape[2:]]
    if o.transposed:
        # With an output padding, g may have room for more windows than there were positions.
        return _finish(_forward(_builtin(o, "g", windows.channels), weight, sizes, windows, None), o)
    return _finish(_input_grad(_builtin(o, "g", windows.features), weight, sizes, windows, None), o)


@t.lowers("flambeau.convolution_weight_grad")
def _convolution_weight_grad(o: t.Lowered) -> ir.Value:
    windows = _Windows.of(o, o.weight_shape)
    names = ("x", "g") if o.transposed else ("g", "x")
    g, x = _builtin(o, names[0], windows.features), _builtin(o, names[1], windows.channels)
    return _finish(_weight_grad(g, x, windows), o)


@dataclass(frozen=True)
class _Windows:
    """A plain convolution: its weight's sizes and how windows lie. Transposed, x and g change roles."""

    weight: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    output_padding: list[int]
    groups: int

    @classmethod
    def of(cls, o: t.Lowered, weight: list[int]) -> "_Windows":
        return cls(weight, o.stride, o.padding, o.dilation, o.output_padding, o.groups)

    @property
    def kernel(self) -> list[int]:
        return self.weight[2:]

    @property
    def features(self) -> int:
        return self.weight[0]

    @property
    def channels(self) -> int:
        return self.weight[1] * self.groups

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def pointwise(self) -> bool:
        """Whether each window is one element: a matrix product, without change of layout."""
        return set(self.kernel) == {1} and not any(self.padding) and self.groups == 1

    def reach(self, i: int) -> int:
        """How far a window reaches past its first element."""
        return self.dilation[i] * (self.kernel[i] - 1)

    def phase_offsets(self, i: int) -> tuple[int, int]:
        """The least and greatest t - q for which window t reaches one of the elements from q stride to its next."""
        stride, padding = self.stride[i], self.padding[i]
        return -((self.reach(i) - padding) // stride), (stride - 1 + padding) // stride

    def phase_padding(
        self, positions: Sequence[int | ir.Value], sizes: Sequence[int | ir.Value]
    ) -> tuple[list[int], list[int]] | None:
        """Zeros before and after the gradient for `_input_grad_by_phases`; None where that does not apply.

        It is for strided windows without dilation and static spatial sizes.
        """
        if set(self.stride) == {1} or set(self.dilation) != {1} or not _all_static(positions, sizes):
            return None
        low, high = [], []
        for i, (count, size) in enumerate(zip(positions, sizes, strict=True)):
            least, greatest = self.phase_offsets(i)
            low.append(-least)
            high.append(-(-size // self.stride[i]) + greatest - count)
        return (low, high) if min([*low, *high]) >= 0 else None

    def positions(self, i: int, size: int | ir.Value) -> int | ir.Value:
        """The number of windows on a dim of `size` elements."""
        room = 2 * self.padding[i] - self.reach(i) - 1
        if isinstance(size, int):
            return (size + room) // self.stride[i] + 1
        return _add(arith.floordivsi(_add(size, room), _index(self.stride[i])), 1)

    def transposed_size(self, i: int, size: int | ir.Value) -> int | ir.Value:
        """The result's size of a transposed convolution."""
        rest = self.reach(i) + 1 + self.output_padding[i] - 2 * self.padding[i] - self.stride[i]
        if isinstance(size, int):
            return size * self.stride[i] + rest
        return _add(arith.muli(size, _index(self.stride[i])), rest)


# --- The three loop nests; tensors are channels first at their borders -----------------------------------------------


def _forward(
    x: ir.Value,
    weight: ir.Value,
    positions: Sequence[int | ir.Value],
    windows: _Windows,
    bias: ir.Value | None,
) -> ir.Value:
    """x (N, C, S...), weight (F, C / groups, K...) -> (N, F, T...)."""
    if windows.pointwise:
        return _pointwise(_every(x, windows.stride, positions), weight, windows, bias, adjoint=False)
    padded = _pad(_channels_last(x), windows.padding)
    taps = _taps(weight, windows, adjoint=False)
    return _channels_first(_contract(padded, taps, positions, windows.stride, windows.dilation, bias))


def _input_grad(
    g: ir.Value, weight: ir.Value, sizes: Sequence[int | ir.Value], windows: _Windows, bias: ir.Value | None
) -> ir.Value:
    """g (N, F, T...), weight (F, C / groups, K...) -> (N, C, S...)."""
    if windows.pointwise and bias is None:
        return _spread(_pointwise(g, weight, windows, None, adjoint=True), sizes, windows, first=2)
    padding = windows.phase_padding(builtin.sizes_of(g)[2:], sizes)
    if padding is not None:
        return _input_grad_by_phases(_pad(_channels_last(g), *padding), weight, sizes, windows, bias)
    spread = _spread(_channels_last(g), sizes, windows, first=1)
    taps = _taps(weight, windows, adjoint=True)
    return _channels_first(_contract(spread, taps, sizes, [1] * windows.rank, windows.dilation, bias))


def _input_grad_by_phases(
    padded: ir.Value, weight: ir.Value, sizes: Sequence[int], windows: _Windows, bias: ir.Value | None
) -> ir.Value:
    """As `_input_grad`, of g padded and with channels last.

    All input elements at the same place within the stride see the same part of the kernel. One plain convolution of g
    yields all these phases as channels; then they are interleaved.
    """
    rank, stride = windows.rank, windows.stride
    lengths = [-(-size // step) for size, step in zip(sizes, stride, strict=True)]
    if bias is not None:
        bias = _phase_bias(bias, windows)
    # Apart, or the transpose below is folded into the convolution.
    phases = _contract(padded, _phase_taps(weight, windows), lengths, [1] * rank, [1] * rank, bias)
    phases = builtin.apart(phases)
    # (N, Q..., G s... C/G) -> (N, G, C/G, Q, s, Q, s, ...) -> (N, C, Q s...), less what is past the input
    split = [builtin.sizes_of(phases)[0], *lengths, windows.groups, *stride, windows.weight[1]]
    last = [*range(rank + 1, 2 * rank + 3)]
    phases = builtin.expand_shape(phases, [*([i] for i in range(rank + 1)), last], split)
    interleaved = [place for i in range(rank) for place in (1 + i, rank + 2 + i)]
    phases = builtin.transpose(phases, [0, rank + 1, 2 * rank + 2, *interleaved])
    phases = _collapse(phases, [[0], [1, 2], *([3 + 2 * i, 4 + 2 * i] for i in range(rank))])
    shape = [builtin.sizes_of(phases)[0], windows.channels, *sizes]
    type_ = tensor_type([s if isinstance(s, int) else DYNAMIC for s in shape], phases.type.element_type)
    return builtin.extract_slice(phases, [0] * len(shape), shape, [1] * len(shape), type_)


def _phase_bias(bias: ir.Value, windows: _Windows) -> ir.Value:
    """The bias (G C/G) for each phase: (G s... C/G)."""
    groups, channels, rank = windows.groups, windows.weight[1], windows.rank
    bias = builtin.expand_shape(bias, [[0, 1]], [groups, channels])
    shape = [groups, *windows.stride, channels]
    ends = [ir.AffineDimExpr.get(0), ir.AffineDimExpr.get(rank + 1)]
    maps = [ir.AffineMap.get(rank + 2, 0, ends), ir.AffineMap.get_identity(rank + 2)]
    out = builtin.empty(shape, bias.type.element_type)
    (each,) = builtin.generic([bias], [out], maps, ["parallel"] * (rank + 2), lambda value, _: [value])
    return _collapse(each, [[*range(rank + 2)]])


def _phase_taps(weight: ir.Value, windows: _Windows) -> ir.Value:
    """The weight (F, C / G, K...) as (J..., G, F / G, s... C / G), J the number of offsets; zero outside the kernel."""
    rank, element = windows.rank, weight.type.element_type
    features, channels, *kernel = windows.weight
    stride, groups = windows.stride, windows.groups
    offsets = [windows.phase_offsets(i) for i in range(rank)]
    shape = [*(high - low + 1 for low, high in offsets), groups, features // groups, *stride, channels]

    def body(_: ir.Value) -> list[ir.Value]:
        loops = [builtin.loop_index(i) for i in range(len(shape))]
        feature = arith.addi(arith.muli(loops[rank], _index(features // groups)), loops[rank + 1])
        inside, place = None, []
        for i in range(rank):
            # Element q s + a and window q + offset meet at tap a + padding - offset s.
            offset = _add(loops[i], offsets[i][0])
            within = _add(loops[rank + 2 + i], windows.padding[i])
            tap = arith.subi(within, arith.muli(offset, _index(stride[i])))
            clamped = arith.maxsi(arith.minsi(tap, _index(kernel[i] - 1)), _index(0))
            here = arith.cmpi(arith.CmpIPredicate.eq, tap, clamped)
            inside = here if inside is None else arith.andi(inside, here)
            place.append(clamped)
        operands = [weight, feature, loops[-1], *place]
        value = ir.Operation.create("tensor.extract", results=[element], operands=operands).results[0]
        return [arith.select(inside, value, arith.constant(element, 0.0))]

    out = builtin.empty(shape, element)
    each = ir.AffineMap.get_identity(len(shape))
    (taps,) = builtin.generic([], [out], [each], ["parallel"] * len(shape), body)
    return builtin.apart(_collapse(taps, [*([i] for i in range(rank + 2)), [*range(rank + 2, 2 * rank + 3)]]))


def _pointwise(
    x: ir.Value, weight: ir.Value, windows: _Windows, bias: ir.Value | None, *, adjoint: bool
) -> ir.Value:
    """x (N, I, S...) times the matrix `weight` (F, C, 1...), or its transpose if `adjoint` -> (N, O, S...)."""
    rank, element = windows.rank, x.type.element_type
    weight = _collapse(weight, [[0], [*range(1, rank + 2)]])
    batch, result, summed = (ir.AffineDimExpr.get(i) for i in (0, 1, rank + 2))
    place = [ir.AffineDimExpr.get(i) for i in range(2, rank + 2)]
    maps = [
        ir.AffineMap.get(rank + 3, 0, [summed, result] if adjoint else [result, summed]),
        ir.AffineMap.get(rank + 3, 0, [batch, summed, *place]),
        ir.AffineMap.get(rank + 3, 0, [batch, result, *place]),
    ]
    samples, _, *sizes = builtin.sizes_of(x)
    features = windows.channels if adjoint else windows.features
    out = builtin.empty([samples, features, *sizes], _accumulator(element))
    out = _filled(out, 0.0) if bias is None else _broadcast(bias, out, 1)
    iterators = ["parallel"] * (rank + 2) + ["reduction"]
    return _truncate(builtin.generic([weight, x], [out], maps, iterators, _multiply_add)[0], element)


def _weight_grad(g: ir.Value, x: ir.Value, windows: _Windows) -> ir.Value:
    """g (N, F, T...), x (N, C, S...) -> (F, C / groups, K...)."""
    rank, groups, element = windows.rank, windows.groups, g.type.element_type
    features, channels, *kernel = windows.weight
    g, padded = _channels_last(g), _pad(_channels_last(x), windows.padding)
    if channels == 1 and features == groups:
        return _depthwise_weight_grad(g, padded, windows)
    g, padded = _split_channels(g, groups), _split_channels(padded, groups)
    # All windows side by side: (N, T..., G, K..., C / G).
    columns = [*builtin.sizes_of(g)[:-1], *kernel, channels]
    d = [ir.AffineDimExpr.get(i) for i in range(2 * rank + 3)]
    at = _window_places(d[1 : rank + 1], d[rank + 2 : -1], windows.stride, windows.dilation)
    source = ir.AffineMap.get(len(d), 0, [d[0], *at, d[rank + 1], d[-1]])
    out = builtin.empty(columns, element)
    each = ir.AffineMap.get_identity(len(d))
    (col,) = builtin.generic([padded], [out], [source, each], ["parallel"] * len(d), lambda value, _: [value])
    # grad[g, f, (k..., c)] = sum over (n, t...) of g[(n, t...), g, f] * col[(n, t...), g, (k..., c)]
    rows, width = [*range(rank + 1)], prod(kernel) * channels
    g = _collapse(g, [rows, [rank + 1], [rank + 2]])
    col = _collapse(col, [rows, [rank + 1], [*range(rank + 2, 2 * rank + 3)]])
    accumulate = _accumulator(element)
    group, feature, place, row = (ir.AffineDimExpr.get(i) for i in range(4))
    operands, dims = [g, col], [[row, group, feature], [row, group, place], [group, feature, place]]
    shape = [groups, features // groups, width]
    if groups == 1:
        operands = [_collapse(v, [[0, 1], [2]]) for v in operands]
        group, feature, place, row = group, *(ir.AffineDimExpr.get(i) for i in range(3))
        dims, shape = [[row, feature], [row, place], [feature, place]], shape[1:]
    iterators = ["parallel"] * len(shape) + ["reduction"]
    maps = [ir.AffineMap.get(len(iterators), 0, expressions) for expressions in dims]
    (grad,) = builtin.generic(
        operands, [_filled(builtin.empty(shape, accumulate), 0.0)], maps, iterators, _multiply_add
    )
    if groups > 1:
        grad = _collapse(grad, [[0, 1], [2]])
    if width > channels:
        # Or IREE folds the transpose below into the matrix product, which then does not vectorize.
        grad = builtin.apart(grad)
    grad = builtin.expand_shape(grad, [[0], [*range(1, rank + 2)]], [features, *kernel, channels])
    return _truncate(_channels_first(grad), element)


def _depthwise_weight_grad(g: ir.Value, padded: ir.Value, windows: _Windows) -> ir.Value:
    """g (N, T..., C), padded (N, S..., C) -> (C, 1, K...), summed over windows without copying them."""
    rank, element = windows.rank, g.type.element_type
    channels, _, *kernel = windows.weight
    d = [ir.AffineDimExpr.get(i) for i in range(2 * rank + 2)]
    tap, channel, sample, window = d[:rank], d[rank], d[rank + 1], d[rank + 2 :]
    maps = [
        ir.AffineMap.get(len(d), 0, [sample, *window, channel]),
        ir.AffineMap.get(
            len(d), 0, [sample, *_window_places(window, tap, windows.stride, windows.dilation), channel]
        ),
        ir.AffineMap.get(len(d), 0, d[: rank + 1]),
    ]
    out = _filled(builtin.empty([*kernel, channels], _accumulator(element)), 0.0)
    iterators = ["parallel"] * (rank + 1) + ["reduction"] * (rank + 1)
    (grad,) = builtin.generic([g, padded], [out], maps, iterators, _multiply_add)
    grad = builtin.transpose(builtin.apart(grad), [rank, *range(rank)])
    return _truncate(
        builtin.expand_shape(grad, [[0, 1], *([i] for i in range(2, rank + 2))], windows.weight), element
    )


def _contract(
    padded: ir.Value,
    taps: ir.Value,
    positions: Sequence[int | ir.Value],
    stride: list[int],
    dilation: list[int],
    bias: ir.Value | None,
) -> ir.Value:
    """Windows of `padded` (N, S..., G I) times `taps` (K..., G, I, O), plus bias (G O) -> (N, T..., G O)."""
    rank, element = len(stride), padded.type.element_type
    *_, groups, _, features = shape_of(taps)
    out = builtin.empty([builtin.sizes_of(padded)[0], *positions, groups * features], _accumulator(element))
    out = _filled(out, 0.0) if bias is None else _broadcast(bias, out, rank + 1)
    if groups == 1:
        taps = _collapse(taps, [*([i] for i in range(rank)), [rank, rank + 1], [rank + 2]])
        names = {1: "conv_1d_nwc_wcf", 2: "conv_2d_nhwc_hwcf", 3: "conv_3d_ndhwc_dhwcf"}
        named = getattr(bindings.linalg, names[rank])
        return _truncate(named(padded, taps, outs=[out], strides=stride, dilations=dilation), element)
    split = [*([i] for i in range(rank + 1)), [rank + 1, rank + 2]]
    d = [ir.AffineDimExpr.get(i) for i in range(2 * rank + 4)]
    group, feature, channel = d[rank + 1], d[rank + 2], d[-1]
    tap = d[rank + 3 : -1]
    maps = [
        ir.AffineMap.get(
            len(d), 0, [d[0], *_window_places(d[1 : rank + 1], tap, stride, dilation), group, channel]
        ),
        ir.AffineMap.get(len(d), 0, [*tap, group, channel, feature]),
        ir.AffineMap.get(len(d), 0, d[: rank + 3]),
    ]
    iterators = ["parallel"] * (rank + 3) + ["reduction"] * (rank + 1)
    operands = [_split_channels(padded, groups), taps]
    (result,) = builtin.generic(operands, [_split_channels(out, groups)], maps, iterators, _multiply_add)
    return _truncate(_collapse(result, split), element)


def _taps(weight: ir.Value, windows: _Windows, *, adjoint: bool) -> ir.Value:
    """The weight (F, C / G, K...) as (K..., G, I, O), with I the channels that are summed and O those that come out.

    Plain, I = C / G and O = F / G. Adjoint, the other way round, and the kernel is flipped. Computed apart: folded into
    the contraction, the transpose makes that 70 times slower.
    """
    rank, element = windows.rank, weight.type.element_type
    features, channels, *kernel = windows.weight
    each = features // windows.groups
    shape = [*kernel, windows.groups, *((each, channels) if adjoint else (channels, each))]

    def body(_: ir.Value) -> list[ir.Value]:
        place = [builtin.loop_index(i) for i in range(rank)]
        group, summed, result = (builtin.loop_index(rank + i) for i in range(3))
        feature, channel = (summed, result) if adjoint else (result, summed)
        if windows.groups > 1:
            feature = arith.addi(arith.muli(group, _index(each)), feature)
        if adjoint:
            place = [arith.subi(_index(k - 1), p) for k, p in zip(kernel, place, strict=True)]
        value = ir.Operation.create(
            "tensor.extract", results=[element], operands=[weight, feature, channel, *place]
        )
        return [value.results[0]]

    out = builtin.empty(shape, element)
    (taps,) = builtin.generic(
        [], [out], [ir.AffineMap.get_identity(len(shape))], ["parallel"] * len(shape), body
    )
    return builtin.apart(taps)


def _window_places(
    windows: Sequence[ir.AffineExpr], taps: Sequence[ir.AffineExpr], stride: list[int], dilation: list[int]
) -> list[ir.AffineExpr]:
    """Where a tap of a window lies in the padded input, per spatial dim."""
    return [
        ir.AffineExpr.get_add(ir.AffineExpr.get_mul(w, s), ir.AffineExpr.get_mul(k, d))
        for w, k, s, d in zip(windows, taps, stride, dilation, strict=True)
    ]


def _every(x: ir.Value, stride: list[int], positions: Sequence[int | ir.Value]) -> ir.Value:
    """x (N, C, S...) at every stride-th place: (N, C, T...)."""
    if set(stride) == {1}:
        return x
    sizes = [*builtin.sizes_of(x)[:2], *positions]
    shape = [s if isinstance(s, int) else DYNAMIC for s in sizes]
    type_ = tensor_type(shape, x.type.element_type)
    # Apart, because a matrix product that reads with a stride does not vectorize.
    return builtin.apart(builtin.extract_slice(x, [0] * len(sizes), sizes, [1, 1, *stride], type_))


def _spread(g: ir.Value, sizes: Sequence[int | ir.Value], windows: _Windows, *, first: int) -> ir.Value:
    """g with stride - 1 zeros between its elements and zeros around, so that T becomes S + reach.

    The spatial dims start with dim `first`. A plain convolution of this with the flipped kernel is the gradient by the
    input of `sizes`.
    """
    rank, element = windows.rank, g.type.element_type
    all_sizes = builtin.sizes_of(g)
    positions = all_sizes[first : first + rank]
    before = [windows.reach(i) - windows.padding[i] for i in range(rank)]
    targets = [_add(s, windows.reach(i)) for i, s in enumerate(sizes)]
    if set(windows.stride) == {1} and min(before) >= 0 and _all_static(targets, positions):
        after = [t_ - p - lo for t_, p, lo in zip(targets, positions, before, strict=True)]
        if min(after) >= 0:
            return _pad(g, before, after, first=first)
    zero = arith.constant(element, 0.0)

    def body(_: ir.Value) -> list[ir.Value]:
        inside: ir.Value | None = None
        where = [builtin.loop_index(i) for i in range(rank + 2)]
        for i in range(rank):
            offset = _add(where[first + i], -before[i])
            place = arith.floordivsi(offset, _index(windows.stride[i])) if windows.stride[i] > 1 else offset
            last = _add(_as_value(positions[i]), -1)
            clamped = arith.maxsi(arith.minsi(place, last), _index(0))
            # Also false where the stride skips: there the offset is not that of the clamped place.
            here = arith.cmpi(arith.CmpIPredicate.eq, arith.muli(clamped, _index(windows.stride[i])), offset)
            inside = here if inside is None else arith.andi(inside, here)
            where[first + i] = clamped
        value = ir.Operation.create("tensor.extract", results=[element], operands=[g, *where]).results[0]
        return [arith.select(inside, value, zero)]

    out = builtin.empty([*all_sizes[:first], *targets, *all_sizes[first + rank :]], element)
    each = ir.AffineMap.get_identity(rank + 2)
    return builtin.generic([], [out], [each], ["parallel"] * (rank + 2), body)[0]


# --- Small pieces ----------------------------------------------------------------------------------------------------


def _builtin(o: t.Lowered, name: str, channels: int) -> ir.Value:
    """Operand `name` as a builtin tensor, with its channels static."""
    value = builtin.to_builtin(getattr(o, name), getattr(o.op, name).type)
    batch, _, *spatial = shape_of(value)
    return builtin.cast(value, tensor_type([batch, channels, *spatial], value.type.element_type))


def _finish(value: ir.Value, o: t.Lowered) -> ir.Value:
    return builtin.from_builtin(builtin.cast(value, o.op.out.type), o.result_types[0])


def _index(value: int) -> ir.Value:
    return arith.constant(ir.IndexType.get(), value)


def _as_value(size: int | ir.Value) -> ir.Value:
    return _index(size) if isinstance(size, int) else size


def _add(size: int | ir.Value, more: int) -> int | ir.Value:
    if isinstance(size, int):
        return size + more
    return arith.addi(size, _index(more)) if more else size


def _all_static(*sizes: Sequence[int | ir.Value]) -> bool:
    return all(isinstance(s, int) for several in sizes for s in several)


def _accumulator(element: ir.Type) -> ir.Type:
    return ir.F32Type.get() if is_low_precision(element) else element


def _multiply_add(x: ir.Value, y: ir.Value, sum_: ir.Value) -> list[ir.Value]:
    if x.type != sum_.type:
        x, y = arith.extf(sum_.type, x), arith.extf(sum_.type, y)
    return [arith.addf(sum_, arith.mulf(x, y))]


def _truncate(x: ir.Value, element: ir.Type) -> ir.Value:
    if x.type.element_type == element:
        return x
    each = ir.AffineMap.get_identity(x.type.rank)
    out = builtin.empty(builtin.sizes_of(x), element)
    return builtin.generic(
        [x], [out], [each, each], ["parallel"] * x.type.rank, lambda v, _: [arith.truncf(element, v)]
    )[0]


def _filled(out: ir.Value, value: float) -> ir.Value:
    return bindings.linalg.fill(arith.constant(out.type.element_type, value), outs=[out])


def _broadcast(x: ir.Value, out: ir.Value, dim: int) -> ir.Value:
    """A vector along dim `dim` of `out`, in its element type."""
    rank, element = out.type.rank, out.type.element_type
    along = ir.AffineMap.get(rank, 0, [ir.AffineDimExpr.get(dim)])

    def body(value: ir.Value, _: ir.Value) -> list[ir.Value]:
        return [value if value.type == element else arith.extf(element, value)]

    return builtin.generic([x], [out], [along, ir.AffineMap.get_identity(rank)], ["parallel"] * rank, body)[0]


def _channels_last(x: ir.Value) -> ir.Value:
    return builtin.transpose(x, [0, *range(2, x.type.rank), 1])


def _channels_first(x: ir.Value) -> ir.Value:
    return builtin.transpose(x, [0, x.type.rank - 1, *range(1, x.type.rank - 1)])


def _pad(x: ir.Value, low: Sequence[int], high: Sequence[int] | None = None, *, first: int = 1) -> ir.Value:
    """Zeros around the spatial dims of x, which start with dim `first`."""
    high = low if high is None else high
    if not any([*low, *high]):
        return x
    before, after = [0] * x.type.rank, [0] * x.type.rank
    before[first : first + len(low)], after[first : first + len(low)] = low, high
    return builtin.pad(x, before, after, 0.0)


def _split_channels(x: ir.Value, groups: int) -> ir.Value:
    """(..., C) -> (..., groups, C / groups)."""
    *outer, channels = builtin.sizes_of(x)
    rank = x.type.rank
    assert isinstance(channels, int), "channels are static: the weight's are"
    return builtin.expand_shape(
        x, [*([i] for i in range(rank - 1)), [rank - 1, rank]], [*outer, groups, channels // groups]
    )


def _collapse(x: ir.Value, groups: Sequence[Sequence[int]]) -> ir.Value:
    """Neighbouring dims made one."""
    merged = [DYNAMIC if DYNAMIC in (sizes := [shape_of(x)[i] for i in g]) else prod(sizes) for g in groups]
    return builtin.collapse_shape(x, groups, tensor_type(merged, x.type.element_type))
