# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of convolutions to linalg, in the forms that IREE compiles well.

Every case is one of three loop nests. A plain convolution pads, then contracts windows with the weight. The gradient
by the input (and a transposed convolution) is a plain convolution of the gradient, spread out by the stride, with the
flipped weight. The gradient by the weight copies all windows side by side and is then one matrix product.

Windows are contracted in place, channels last, where IREE has good code for it: two spatial dims without groups, and
depthwise. Else they are copied side by side, channels first, and multiplied as a matrix: that is 10 times faster.
16-bit floats accumulate in f32.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
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

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved by itself."""
        return self.weight[1] == 1 and self.groups > 1

    @property
    def by_columns(self) -> bool:
        """Whether windows are to be copied side by side, whatever their stride."""
        return not self.depthwise and (self.groups > 1 or self.rank != 2)

    @property
    def overlapping(self) -> bool:
        """Whether windows share elements."""
        return any(self.reach(i) >= stride for i, stride in enumerate(self.stride))

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
    if windows.by_columns or not windows.overlapping:
        split = [windows.groups, windows.features // windows.groups, *windows.weight[1:]]
        taps = builtin.expand_shape(weight, [[0, 1], *([i] for i in range(2, len(split)))], split)
        padded = _padded(x, positions, windows, first=2)
        return _contract_columns(padded, taps, positions, windows.stride, windows.dilation, bias)
    padded = _padded(_channels_last(x), positions, windows, first=1)
    taps = _taps(weight, windows, adjoint=False)
    result = _contract(padded, taps, positions, windows.stride, windows.dilation, bias, windows.features)
    return _channels_first(result)


def _input_grad(
    g: ir.Value, weight: ir.Value, sizes: Sequence[int | ir.Value], windows: _Windows, bias: ir.Value | None
) -> ir.Value:
    """g (N, F, T...), weight (F, C / groups, K...) -> (N, C, S...)."""
    if windows.pointwise and bias is None:
        return _spread(_pointwise(g, weight, windows, None, adjoint=True), sizes, windows, first=2)
    padding = windows.phase_padding(builtin.sizes_of(g)[2:], sizes)
    if padding is not None:
        return _input_grad_by_phases(g, padding, weight, sizes, windows, bias)
    taps, ones = _taps(weight, windows, adjoint=True), [1] * windows.rank
    if windows.by_columns:
        spread = _spread(g, sizes, windows, first=2)
        return _contract_columns(spread, _rows(taps), sizes, ones, windows.dilation, bias)
    spread = _spread(_channels_last(g), sizes, windows, first=1)
    result = _contract(spread, taps, sizes, ones, windows.dilation, bias, windows.channels)
    return _channels_first(result)


def _input_grad_by_phases(
    g: ir.Value,
    padding: tuple[list[int], list[int]],
    weight: ir.Value,
    sizes: Sequence[int],
    windows: _Windows,
    bias: ir.Value | None,
) -> ir.Value:
    """As `_input_grad`; `padding` is what `phase_padding` says.

    All input elements at the same place within the stride see the same part of the kernel. One plain convolution of g
    yields all these phases as channels; then they are interleaved.
    """
    rank, stride = windows.rank, windows.stride
    lengths = [-(-size // step) for size, step in zip(sizes, stride, strict=True)]
    if bias is not None:
        bias = _phase_bias(bias, windows)
    taps, ones = _phase_taps(weight, windows), [1] * rank
    if windows.by_columns:
        padded = _pad(g, *padding, first=2)
        phases = _channels_last(_contract_columns(padded, _rows(taps), lengths, ones, ones, bias))
    else:
        padded, channels = _pad(_channels_last(g), *padding), prod(stride) * windows.channels
        phases = _contract(padded, taps, lengths, ones, ones, bias, channels)
    # Apart, or the transpose below is folded into the convolution.
    phases = builtin.apart(phases)
    # (N, Q..., G s... C/G) -> (N, G, C/G, Q, s, Q, s, ...) -> (N, C, Q s...), less what is past the input
    split = [builtin.sizes_of(phases)[0], *lengths, windows.groups, *stride, windows.weight[1]]
    last = [*range(rank + 1, 2 * rank + 3)]
    phases = builtin.expand_shape(phases, [*([i] for i in range(rank + 1)), last], split)
    interleaved = [place for i in range(rank) for place in (1 + i, rank + 2 + i)]
    phases = builtin.transpose(phases, [0, rank + 1, 2 * rank + 2, *interleaved])
    phases = _collapse(phases, [[0], [1, 2], *([3 + 2 * i, 4 + 2 * i] for i in range(rank))])
    shape = [builtin.sizes_of(phases)[0], windows.channels, *sizes]
    type_ = _type_of(shape, phases.type.element_type)
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
    """The weight (F, C / G, K...) as (J..., G, F / G, s... C / G), J the number of offsets; zero outside the kernel.

    The last dim has some to spare at its end, see `_spare_features`.
    """
    rank, element = windows.rank, weight.type.element_type
    features, channels, *kernel = windows.weight
    stride, groups = windows.stride, windows.groups
    offsets = [windows.phase_offsets(i) for i in range(rank)]
    results = prod(stride) * channels
    columns = results + _spare_features(results, windows, element)
    shape = [*(high - low + 1 for low, high in offsets), groups, features // groups, columns]

    def body(_: ir.Value) -> list[ir.Value]:
        loops = [builtin.loop_index(i) for i in range(len(shape))]
        *phase, channel = _digits(_at_most(loops[-1], results - 1, columns), [*stride, channels])
        feature = arith.addi(arith.muli(loops[rank], _index(features // groups)), loops[rank + 1])
        inside, place = None, []
        for i in range(rank):
            # Element q s + a and window q + offset meet at tap a + padding - offset s.
            offset = _add(loops[i], offsets[i][0])
            within = _add(phase[i], windows.padding[i])
            tap = arith.subi(within, arith.muli(offset, _index(stride[i])))
            clamped = arith.maxsi(arith.minsi(tap, _index(kernel[i] - 1)), _index(0))
            here = arith.cmpi(arith.CmpIPredicate.eq, tap, clamped)
            inside = here if inside is None else arith.andi(inside, here)
            place.append(clamped)
        operands = [weight, feature, channel, *place]
        value = ir.Operation.create("tensor.extract", results=[element], operands=operands).results[0]
        return [arith.select(inside, value, arith.constant(element, 0.0))]

    out = builtin.empty(shape, element)
    each = ir.AffineMap.get_identity(len(shape))
    (taps,) = builtin.generic([], [out], [each], ["parallel"] * len(shape), body)
    return builtin.apart(taps)


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
    out = _filled(out, 0.0) if bias is None else _broadcast(bias, out, (1,))
    iterators = ["parallel"] * (rank + 2) + ["reduction"]
    return _truncate(builtin.generic([weight, x], [out], maps, iterators, _multiply_add)[0], element)


def _weight_grad(g: ir.Value, x: ir.Value, windows: _Windows) -> ir.Value:
    """g (N, F, T...), x (N, C, S...) -> (F, C / groups, K...)."""
    positions = builtin.sizes_of(g)[2:]
    if windows.depthwise and windows.features == windows.groups:
        return _depthwise_weight_grad(g, x, windows)
    many = any(not isinstance(p, int) for p in positions) or prod(shape_of(g)[2:]) >= windows.features
    if windows.groups > 1 or windows.rank == 3 or many:
        return _weight_grad_by_samples(g, x, windows)
    rank, element = windows.rank, g.type.element_type
    features, channels, *kernel = windows.weight
    padded = _padded(_channels_last(x), positions, windows, first=1)
    # All windows side by side: (N, T..., K..., C).
    d = [ir.AffineDimExpr.get(i) for i in range(2 * rank + 2)]
    places = _window_places(d[1 : rank + 1], d[rank + 1 : -1], windows.stride, windows.dilation)
    maps = [ir.AffineMap.get(len(d), 0, [d[0], *places, d[-1]]), ir.AffineMap.get_identity(len(d))]
    out = builtin.empty([builtin.sizes_of(g)[0], *positions, *kernel, channels], element)
    (columns,) = builtin.generic([padded], [out], maps, ["parallel"] * len(d), lambda value, _: [value])
    # grad[f, (k..., c)] = sum over (n, t...) of g[(n, t...), f] * columns[(n, t...), (k..., c)]
    rows, width = [*range(rank + 1)], prod(kernel) * channels
    g = _collapse(_channels_last(g), [rows, [rank + 1]])
    columns = _collapse(columns, [rows, [*range(rank + 1, 2 * rank + 2)]])
    feature, place, row = (ir.AffineDimExpr.get(i) for i in range(3))
    maps = [ir.AffineMap.get(3, 0, dims) for dims in ([row, feature], [row, place], [feature, place])]
    out = _filled(builtin.empty([features, width], _accumulator(element)), 0.0)
    iterators = ["parallel", "parallel", "reduction"]
    (grad,) = builtin.generic([g, columns], [out], maps, iterators, _multiply_add)
    if width > channels:
        # Or IREE folds the transpose below into the matrix product, which then does not vectorize.
        grad = builtin.apart(grad)
    grad = builtin.expand_shape(grad, [[0], [*range(1, rank + 2)]], [features, *kernel, channels])
    return _truncate(_channels_first(grad), element)


def _weight_grad_by_samples(g: ir.Value, x: ir.Value, windows: _Windows) -> ir.Value:
    """As `_weight_grad`, by a matrix product for each sample and group; these are then added up.

    Rounding errors grow with the length of a sum: two short ones after the other are more accurate than one over all.
    They take no more memory than the windows side by side, if there are at least as many positions as features.
    """
    rank, groups, element = windows.rank, windows.groups, g.type.element_type
    features, positions = windows.features // groups, builtin.sizes_of(g)[2:]
    padded = _padded(x, positions, windows, first=2)
    shape = [groups, *windows.weight[1:]]
    columns = _columns(padded, shape, positions, windows.stride, windows.dilation)
    g = builtin.expand_shape(
        g,
        [[0], [1, 2], *([3 + i] for i in range(rank))],
        [builtin.sizes_of(g)[0], groups, features, *positions],
    )
    g = _collapse(g, [[0], [1], [2], [*range(3, rank + 3)]])
    samples, _, width, _ = builtin.sizes_of(columns)
    sample, group, feature, place, position = (ir.AffineDimExpr.get(i) for i in range(5))
    dims = [
        [sample, group, feature, position],
        [sample, group, place, position],
        [sample, group, feature, place],
    ]
    out = _filled(builtin.empty([samples, groups, features, width], _accumulator(element)), 0.0)
    maps = [ir.AffineMap.get(5, 0, expressions) for expressions in dims]
    (grads,) = builtin.generic([g, columns], [out], maps, ["parallel"] * 4 + ["reduction"], _multiply_add)
    d = [ir.AffineDimExpr.get(i) for i in range(4)]
    maps = [ir.AffineMap.get(4, 0, [d[3], *d[:3]]), ir.AffineMap.get(4, 0, d[:3])]
    out = _filled(builtin.empty([groups, features, width], _accumulator(element)), 0.0)
    iterators = ["parallel"] * 3 + ["reduction"]
    (grad,) = builtin.generic([grads], [out], maps, iterators, lambda x, sum_: [arith.addf(sum_, x)])
    grad = builtin.expand_shape(_collapse(grad, [[0, 1], [2]]), [[0], [*range(1, rank + 2)]], windows.weight)
    return _truncate(grad, element)


# A loop nest over more taps would have more buffers than IREE can bind.
_TAPS_AT_ONCE = 9


def _depthwise_weight_grad(g: ir.Value, x: ir.Value, windows: _Windows) -> ir.Value:
    """g (N, C, T...), x (N, C, S...) -> (C, 1, K...), summed over windows without copying them.

    Each tap is a result of its own, and multiplies g with a strided slice of x: what computes places from loops over
    both windows and taps is slower, and does not compile for NVIDIA GPUs.
    """
    rank, element = windows.rank, g.type.element_type
    channels, _, *kernel = windows.weight
    positions = builtin.sizes_of(g)[2:]
    padded = _padded(_channels_last(x), positions, windows, first=1)
    g = _channels_last(g)
    sizes, steps = builtin.sizes_of(g), [1, *windows.stride, 1]
    taps = list(product(*(range(k) for k in kernel)))
    offsets = [[0, *(d * k for d, k in zip(windows.dilation, tap, strict=True)), 0] for tap in taps]
    slices = [builtin.extract_slice(padded, at, sizes, steps, _type_of(sizes, element)) for at in offsets]
    sums = []
    for first in range(0, len(taps), _TAPS_AT_ONCE):
        sums += _sums_of_products(g, slices[first : first + _TAPS_AT_ONCE])
    each = builtin.empty([len(taps), sizes[0], channels], _accumulator(element))
    for index, value in enumerate(sums):
        value = builtin.expand_shape(value, [[0, 1], [2]], [1, sizes[0], channels])
        each = builtin.insert_slice(value, each, [index, 0, 0], [1, sizes[0], channels], [1, 1, 1])
    channel, tap, sample = (ir.AffineDimExpr.get(i) for i in range(3))
    maps = [ir.AffineMap.get(3, 0, [tap, sample, channel]), ir.AffineMap.get(3, 0, [channel, tap])]
    out = _filled(builtin.empty([channels, len(taps)], _accumulator(element)), 0.0)
    iterators = ["parallel", "parallel", "reduction"]
    (grad,) = builtin.generic([each], [out], maps, iterators, lambda x, sum_: [arith.addf(sum_, x)])
    return _truncate(builtin.expand_shape(grad, [[0], [*range(1, rank + 2)]], windows.weight), element)


def _sums_of_products(g: ir.Value, others: Sequence[ir.Value]) -> list[ir.Value]:
    """For each of `others`, its product with g (N, T..., C), summed over T: (N, C)."""
    rank = g.type.rank
    sample, channel, *places = (ir.AffineDimExpr.get(i) for i in range(rank))
    every = ir.AffineMap.get(rank, 0, [sample, *places, channel])
    sums = ir.AffineMap.get(rank, 0, [sample, channel])
    shape = [builtin.sizes_of(g)[0], builtin.sizes_of(g)[-1]]
    outs = [_filled(builtin.empty(shape, _accumulator(g.type.element_type)), 0.0) for _ in others]

    def body(gradient: ir.Value, *values: ir.Value) -> list[ir.Value]:
        pairs = zip(values[: len(others)], values[len(others) :], strict=True)
        return [_multiply_add(gradient, value, sum_)[0] for value, sum_ in pairs]

    maps = [every] * (1 + len(others)) + [sums] * len(others)
    iterators = ["parallel"] * 2 + ["reduction"] * (rank - 2)
    return builtin.generic([g, *others], outs, maps, iterators, body)


def _contract(
    padded: ir.Value,
    taps: ir.Value,
    positions: Sequence[int | ir.Value],
    stride: list[int],
    dilation: list[int],
    bias: ir.Value | None,
    features: int,
) -> ir.Value:
    """Windows of `padded` (N, S..., G I) times `taps` (K..., G, I, O), plus bias -> (N, T..., features).

    There are `features` = G O results; without groups, O may be more, and the rest is computed for nothing.
    """
    rank, element = len(stride), padded.type.element_type
    *_, groups, _, columns = shape_of(taps)
    sizes = [builtin.sizes_of(padded)[0], *positions, groups * columns]
    out = builtin.empty(sizes, _accumulator(element))
    spare = groups * columns - features
    if bias is not None and spare:
        bias = builtin.pad(bias, [0], [spare], 0.0)
    out = _filled(out, 0.0) if bias is None else _broadcast(bias, out, (rank + 1,))
    if groups == 1:
        taps = _collapse(taps, [*([i] for i in range(rank)), [rank, rank + 1], [rank + 2]])
        names = {1: "conv_1d_nwc_wcf", 2: "conv_2d_nhwc_hwcf", 3: "conv_3d_ndhwc_dhwcf"}
        named = getattr(bindings.linalg, names[rank])
        result = named(padded, taps, outs=[out], strides=stride, dilations=dilation)
        if spare:
            sizes[-1] = features
            type_ = _type_of(sizes, result.type.element_type)
            result = builtin.extract_slice(result, [0] * len(sizes), sizes, [1] * len(sizes), type_)
        return _truncate(result, element)
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


def _contract_columns(
    padded: ir.Value,
    taps: ir.Value,
    positions: Sequence[int | ir.Value],
    stride: list[int],
    dilation: list[int],
    bias: ir.Value | None,
) -> ir.Value:
    """Windows of `padded` (N, G I, S...) times `taps` (G, O, I, K...), plus bias (G O) -> (N, G O, T...).

    All windows are copied side by side, then multiplied as one matrix per sample and group.
    """
    rank, element = len(stride), padded.type.element_type
    groups, features, channels, *kernel = shape_of(taps)
    columns = _columns(padded, [groups, channels, *kernel], positions, stride, dilation)
    samples = builtin.sizes_of(columns)[0]
    # (N, G, I K..., T...) times (G, O, I K...) -> (N, G, O, T...), with all positions as one dim
    taps = _collapse(taps, [[0], [1], [*range(2, rank + 3)]])
    sample, group, feature, position, summed = (ir.AffineDimExpr.get(i) for i in range(5))
    dims = [[group, feature, summed], [sample, group, summed, position], [sample, group, feature, position]]
    out = builtin.empty([samples, groups, features, builtin.sizes_of(columns)[-1]], _accumulator(element))
    if bias is None:
        out = _filled(out, 0.0)
    else:
        bias = builtin.expand_shape(bias, [[0, 1]], [groups, features])
        out = _broadcast(bias, out, (1, 2))
    maps = [ir.AffineMap.get(5, 0, expressions) for expressions in dims]
    iterators = ["parallel"] * 4 + ["reduction"]
    (result,) = builtin.generic([taps, columns], [out], maps, iterators, _multiply_add)
    result = _truncate(_collapse(result, [[0], [1, 2], [3]]), element)
    return builtin.expand_shape(
        result, [[0], [1], [*range(2, rank + 2)]], [samples, groups * features, *positions]
    )


def _columns(
    padded: ir.Value,
    shape: Sequence[int],
    positions: Sequence[int | ir.Value],
    stride: list[int],
    dilation: list[int],
) -> ir.Value:
    """All windows of `padded` (N, G I, S...) side by side, (N, G, I K..., T...); `shape` is (G, I, K...)."""
    rank, element = len(stride), padded.type.element_type
    groups, channels, *kernel = shape
    samples, _, *spatial = builtin.sizes_of(padded)
    x = builtin.expand_shape(
        padded, [[0], [1, 2], *([3 + i] for i in range(rank))], [samples, groups, channels, *spatial]
    )
    d = [ir.AffineDimExpr.get(i) for i in range(2 * rank + 3)]
    places = _window_places(d[rank + 3 :], d[3 : rank + 3], stride, dilation)
    maps = [ir.AffineMap.get(len(d), 0, [*d[:3], *places]), ir.AffineMap.get_identity(len(d))]
    out = builtin.empty([samples, groups, channels, *kernel, *positions], element)
    (columns,) = builtin.generic([x], [out], maps, ["parallel"] * len(d), lambda value, _: [value])
    return _collapse(columns, [[0], [1], [*range(2, rank + 3)], [*range(rank + 3, 2 * rank + 3)]])


def _rows(taps: ir.Value) -> ir.Value:
    """taps (K..., G, I, O) as (G, O, I, K...)."""
    rank = taps.type.rank - 3
    return builtin.apart(builtin.transpose(taps, [rank, rank + 2, rank + 1, *range(rank)]))


def _taps(weight: ir.Value, windows: _Windows, *, adjoint: bool) -> ir.Value:
    """The weight (F, C / G, K...) as (K..., G, I, O), with I the channels that are summed and O those that come out.

    Plain, I = C / G and O = F / G. Adjoint, the other way round, and the kernel is flipped. At the end of O are some to
    spare, see `_spare_features`. Computed apart: folded into the contraction, the transpose makes that 70 times slower.
    """
    rank, element = windows.rank, weight.type.element_type
    features, channels, *kernel = windows.weight
    each = features // windows.groups
    summed_count, results = (each, channels) if adjoint else (channels, each)
    shape = [*kernel, windows.groups, summed_count, results + _spare_features(results, windows, element)]

    def body(_: ir.Value) -> list[ir.Value]:
        place = [builtin.loop_index(i) for i in range(rank)]
        group, summed = builtin.loop_index(rank), builtin.loop_index(rank + 1)
        result = _at_most(builtin.loop_index(rank + 2), results - 1, shape[-1])
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


def _spare_features(count: int, windows: _Windows, element: ir.Type) -> int:
    """How many to add to `count` features of taps, so that IREE's code does not thrash the cache.

    It reads the same 16 features of all taps. A large power of two between these puts them all into a few cache sets:
    three times slower.
    """
    in_place = windows.groups == 1 and not windows.by_columns
    return 16 if in_place and count * element.width % 8192 == 0 else 0


def _at_most(index: ir.Value, last: int, size: int) -> ir.Value:
    """An index below `size`, cut down to `last`."""
    return arith.minsi(index, _index(last)) if size > last + 1 else index


def _digits(index: ir.Value, sizes: Sequence[int]) -> list[ir.Value]:
    """The place in a tensor of shape `sizes` that is at `index` in row-major order."""
    digits: list[ir.Value] = []
    for size in reversed(sizes):
        digits.insert(0, arith.remui(index, _index(size)))
        index = arith.divui(index, _index(size))
    return digits


def _window_places(
    windows: Sequence[ir.AffineExpr], taps: Sequence[ir.AffineExpr], stride: list[int], dilation: list[int]
) -> list[ir.AffineExpr]:
    """Where a tap of a window lies in the padded input, per spatial dim."""
    return [
        ir.AffineExpr.get_add(ir.AffineExpr.get_mul(w, s), ir.AffineExpr.get_mul(k, d))
        for w, k, s, d in zip(windows, taps, stride, dilation, strict=True)
    ]


def _padded(x: ir.Value, positions: Sequence[int | ir.Value], windows: _Windows, *, first: int) -> ir.Value:
    """x with zeros around its spatial dims, which start with dim `first`.

    A dim with a single window is cut to that window: IREE drops the loop over it, and then takes no more elements than
    the kernel reaches.
    """
    padded = _pad(x, windows.padding, first=first)
    sizes = builtin.sizes_of(padded)
    for i, count in enumerate(positions):
        if count == 1 and isinstance(sizes[first + i], int):
            sizes[first + i] = windows.reach(i) + 1
    type_ = _type_of(sizes, x.type.element_type)
    if type_ == padded.type:
        return padded
    return builtin.extract_slice(padded, [0] * len(sizes), sizes, [1] * len(sizes), type_)


def _every(x: ir.Value, stride: list[int], positions: Sequence[int | ir.Value]) -> ir.Value:
    """x (N, C, S...) at every stride-th place: (N, C, T...)."""
    if set(stride) == {1}:
        return x
    sizes = [*builtin.sizes_of(x)[:2], *positions]
    type_ = _type_of(sizes, x.type.element_type)
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


def _type_of(sizes: Sequence[int | ir.Value], element: ir.Type) -> ir.Type:
    return tensor_type([s if isinstance(s, int) else DYNAMIC for s in sizes], element)


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


def _broadcast(x: ir.Value, out: ir.Value, dims: Sequence[int]) -> ir.Value:
    """x along the dims `dims` of `out`, in its element type."""
    rank, element = out.type.rank, out.type.element_type
    along = ir.AffineMap.get(rank, 0, [ir.AffineDimExpr.get(dim) for dim in dims])

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
