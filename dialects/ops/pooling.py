# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Pooling over windows of the last 2 or 3 dims, and its gradients.

x is (N, C, S...) or (C, S...). The lists have one entry per spatial dim, or one entry that counts for all; an empty
`stride` is the kernel size. T = (S + 2 padding - dilation (K - 1) - 1) / stride + 1, rounded down, or with `ceil_mode`
up, where the last window must still start inside the input or the padding before it.
"""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import FlambeauOp
from flambeau.dialects.opdef import (
    CHEAP,
    COSTLY,
    Bool,
    Int,
    Ints,
    Lowering,
    NotDifferentiable,
    Result,
    Sizes,
    Tensor,
    VerificationError,
)
from flambeau.dialects.types import (
    DYNAMIC,
    compatible,
    element_type,
    is_float,
    narrowest_integer,
    shape_of,
    tensor_type,
    with_element,
)


class Windows(NamedTuple):
    """How windows lie: one number per spatial dim."""

    kernel: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    ceil_mode: bool

    @property
    def rank(self) -> int:
        return len(self.kernel)

    def reach(self, i: int) -> int:
        """How far a window reaches past its first element."""
        return self.dilation[i] * (self.kernel[i] - 1)


def windows_of(rank: int, kernel, stride, padding, dilation=(1,), ceil_mode=False) -> Windows:
    """The windows that ATen's arguments mean for `rank` spatial dims."""

    def each(name: str, values: Sequence[int], least: int) -> list[int]:
        values = list(values) * rank if len(values) == 1 else list(values)
        if len(values) != rank or min(values) < least:
            raise VerificationError(f"{name} is {values}; {rank} numbers of at least {least} are needed")
        return values

    windows = Windows(
        each("kernel_size", kernel, 1),
        each("stride", stride or kernel, 1),
        each("padding", padding, 0),
        each("dilation", dilation, 1),
        bool(ceil_mode),
    )
    for size, pad in zip(windows.kernel, windows.padding, strict=True):
        if 2 * pad > size:
            raise VerificationError(f"padding {pad} is more than half of kernel_size {size}")
    return windows


def positions(windows: Windows, i: int, size: int) -> int:
    """The number of windows along spatial dim i of `size` elements."""
    if size == DYNAMIC:
        return DYNAMIC
    room = size + 2 * windows.padding[i] - windows.reach(i) - 1
    stride = windows.stride[i]
    count = (room + (stride - 1 if windows.ceil_mode else 0)) // stride + 1
    if windows.ceil_mode and (count - 1) * stride >= size + windows.padding[i]:
        count -= 1
    if count < 1:
        raise VerificationError(f"a window of {windows.reach(i) + 1} does not fit into {size} elements")
    return count


def _pooled(windows: Windows, x: Sequence[int]) -> list[int]:
    outer = len(x) - windows.rank
    if outer not in (1, 2):
        raise VerificationError(f"input of rank {len(x)}; {windows.rank + 1} or {windows.rank + 2} is needed")
    return [*x[:outer], *(positions(windows, i, s) for i, s in enumerate(x[outer:]))]


def _require_float(x: ir.RankedTensorType) -> None:
    if not is_float(x):
        raise VerificationError(f"pooling needs a float tensor, found {x}")


# --- Maximum ---------------------------------------------------------------------------------------------------------


def _max_pool(rank: int):
    def infer(op):
        _require_float(op.x)
        windows = windows_of(rank, op.kernel_size, op.stride, op.padding, op.dilation, op.ceil_mode)
        values = tensor_type(_pooled(windows, shape_of(op.x)), op.x.element_type)
        return [values, with_element(values, ir.IntegerType.get_signless(64))]

    return infer


class MaxPool2dWithIndicesOp(FlambeauOp, name="max_pool2d_with_indices"):
    """The maximum of each window (NaN if there is one) and its position in the row-major input plane, as i64.

    Of equal elements the first counts. Gradient: max_pool_grad(g, max_pool_offsets(indices)), to the element that was
    the maximum.
    """

    x: Tensor
    kernel_size: Ints
    stride: Ints = ()
    padding: Ints = (0,)
    dilation: Ints = (1,)
    ceil_mode: Bool = False
    out: Result
    indices: Result
    aten = "max_pool2d_with_indices"
    lowering = Lowering.RULE
    recompute = COSTLY
    infer = _max_pool(2)

    def vjp(op, g, _):
        return {"x": _max_pool_grad(op, g, 2)}


class MaxPool3dWithIndicesOp(FlambeauOp, name="max_pool3d_with_indices"):
    """As max_pool2d_with_indices, over three dims.

    Gradient: max_pool_grad(g, max_pool_offsets(indices)).
    """

    x: Tensor
    kernel_size: Ints
    stride: Ints = ()
    padding: Ints = (0,)
    dilation: Ints = (1,)
    ceil_mode: Bool = False
    out: Result
    indices: Result
    aten = "max_pool3d_with_indices"
    lowering = Lowering.RULE
    recompute = COSTLY
    infer = _max_pool(3)

    def vjp(op, g, _):
        return {"x": _max_pool_grad(op, g, 3)}


def _max_pool_grad(op, g: ir.Value, rank: int) -> ir.Value:
    windows = windows_of(rank, op.kernel_size, op.stride, op.padding, op.dilation)
    given = (b.sizes(op.x), windows.kernel, windows.stride, windows.padding, windows.dilation)
    return b.max_pool_grad(g, b.max_pool_offsets(op.indices, *given), *given)


def _offsets_element(windows: Windows) -> ir.Type:
    """The narrowest integer type that numbers the elements of a window."""
    return element_type(narrowest_integer(prod(windows.kernel)))


def _require_windows(name: str, type_: ir.RankedTensorType, op, element: ir.Type | None = None) -> Windows:
    """The op's windows, if `type_` has as many dims as its input and the element type (default: that of offsets)."""
    windows = windows_of(len(op.kernel_size), op.kernel_size, op.stride, op.padding, op.dilation)
    element = element or _offsets_element(windows)
    if type_.element_type != element or len(op.input_shape) != len(shape_of(type_)):
        raise VerificationError(f"{name} are {type_}, but must be of {element}, for input {op.input_shape}")
    return windows


class MaxPoolOffsetsOp(FlambeauOp, name="max_pool_offsets"):
    """Positions in the input plane, each in its own window, as row-major positions in the windows: mostly bytes."""

    indices: Tensor
    input_shape: Sizes
    kernel_size: Ints
    stride: Ints
    padding: Ints
    dilation: Ints
    offsets: Result
    lowering = Lowering.RULE
    recompute = CHEAP
    vjp = NotDifferentiable("positions are integers")

    def infer(op):
        windows = _require_windows("indices", op.indices, op, ir.IntegerType.get_signless(64))
        return with_element(op.indices, _offsets_element(windows))


class MaxPoolIndicesOp(FlambeauOp, name="max_pool_indices"):
    """What `max_pool_offsets` was made of: positions in the input plane, as i64."""

    offsets: Tensor
    input_shape: Sizes
    kernel_size: Ints
    stride: Ints
    padding: Ints
    dilation: Ints
    indices: Result
    lowering = Lowering.RULE
    recompute = CHEAP
    vjp = NotDifferentiable("positions are integers")

    def infer(op):
        _require_windows("offsets", op.offsets, op)
        return with_element(op.offsets, ir.IntegerType.get_signless(64))


class MaxPoolGradOp(FlambeauOp, name="max_pool_grad"):
    """g added up in a zero tensor of `input_shape`, each element at the place that `offsets` names in its window.

    Gradient, with h that of the result: the elements of h at these places.
    """

    g: Tensor
    offsets: Tensor
    input_shape: Sizes
    kernel_size: Ints
    stride: Ints
    padding: Ints
    dilation: Ints
    out: Result
    lowering = Lowering.RULE
    recompute = COSTLY

    def infer(op):
        _require_float(op.g)
        _require_windows("offsets", op.offsets, op)
        if not compatible(op.offsets, with_element(op.g, op.offsets.element_type)):
            raise VerificationError(f"offsets are {op.offsets}, but g is {op.g}")
        return tensor_type(op.input_shape, op.g.element_type)

    def vjp(op, g):
        rank = len(op.kernel_size)
        outer = b.sizes(g)[:-rank]
        indices = b.max_pool_indices(
            op.offsets, op.input_shape, op.kernel_size, op.stride, op.padding, op.dilation
        )
        flat = b.view(g, [*outer, b.multiply_sizes(b.sizes(g)[-rank:])])
        where = b.view(indices, [*outer, b.multiply_sizes(b.sizes(indices)[-rank:])])
        return {"g": b.view(b.gather(flat, len(outer), where), b.sizes(op.g))}


# --- Average ---------------------------------------------------------------------------------------------------------


def _average_windows(op, rank: int) -> Windows:
    return windows_of(rank, op.kernel_size, op.stride, op.padding, (1,), op.ceil_mode)


def _average_pool(rank: int):
    def infer(op):
        _require_float(op.x)
        if op.divisor_override == 0:
            raise VerificationError("divisor_override must not be 0")
        return tensor_type(_pooled(_average_windows(op, rank), shape_of(op.x)), op.x.element_type)

    return infer


def _average_pool_vjp(rank: int):
    def vjp(op, g):
        windows = _average_windows(op, rank)
        return {
            "x": b.avg_pool_grad(
                g,
                b.sizes(op.x),
                windows.kernel,
                windows.stride,
                windows.padding,
                windows.ceil_mode,
                op.count_include_pad,
                op.divisor_override,
            )
        }

    return vjp


class AvgPool2dOp(FlambeauOp, name="avg_pool2d"):
    """The sum of each window over zero padding, divided by `divisor_override` or by the window's number of elements.

    These include the padding if `count_include_pad`, but never what lies past it. Gradient: avg_pool_grad(g).
    """

    x: Tensor
    kernel_size: Ints
    stride: Ints = ()
    padding: Ints = (0,)
    ceil_mode: Bool = False
    count_include_pad: Bool = True
    divisor_override: Int | None
    out: Result
    aten = "avg_pool2d"
    lowering = Lowering.RULE
    recompute = CHEAP
    infer = _average_pool(2)
    vjp = _average_pool_vjp(2)


class AvgPool3dOp(FlambeauOp, name="avg_pool3d"):
    """As avg_pool2d, over three dims.

    Gradient: avg_pool_grad(g).
    """

    x: Tensor
    kernel_size: Ints
    stride: Ints = ()
    padding: Ints = (0,)
    ceil_mode: Bool = False
    count_include_pad: Bool = True
    divisor_override: Int | None
    out: Result
    aten = "avg_pool3d"
    lowering = Lowering.RULE
    recompute = CHEAP
    infer = _average_pool(3)
    vjp = _average_pool_vjp(3)


class AvgPoolGradOp(FlambeauOp, name="avg_pool_grad"):
    """The gradient of sum(g * avg_pool(x)) by x, which has shape `input_shape`.

    Gradient, with h that of the result: avg_pool(h).
    """

    g: Tensor
    input_shape: Sizes
    kernel_size: Ints
    stride: Ints
    padding: Ints
    ceil_mode: Bool
    count_include_pad: Bool
    divisor_override: Int | None
    out: Result
    lowering = Lowering.RULE
    recompute = CHEAP

    def infer(op):
        _require_float(op.g)
        windows = _average_windows(op, len(op.kernel_size))
        if not compatible(op.g, tensor_type(_pooled(windows, op.input_shape), op.g.element_type)):
            raise VerificationError(
                f"g is {op.g}, but pooling {op.input_shape} gives {_pooled(windows, op.input_shape)}"
            )
        return tensor_type(op.input_shape, op.g.element_type)

    def vjp(op, g):
        pool = b.avg_pool2d if len(op.kernel_size) == 2 else b.avg_pool3d
        parameters = (
            op.kernel_size,
            op.stride,
            op.padding,
            op.ceil_mode,
            op.count_include_pad,
            op.divisor_override,
        )
        return {"g": pool(g, *parameters)}
