# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Convolution of 1 to 3 spatial dims, plain or transposed, and its two gradients.

With g the gradient of the result, the three ops are the derivatives of one trilinear form,
sum(g * convolution(x, weight)), by g, x and weight. So the VJP of each is again made of the other two, to any order.

Shapes: x (N, C, S...), weight (F, C / groups, K...), transposed (C, F / groups, K...), g and result (N, F, T...).
The lists `stride`, `padding`, `dilation` and `output_padding` have one entry per spatial dim.
"""

from collections.abc import Sequence

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import FlambeauOp
from flambeau.dialects.opdef import (
    COSTLY,
    Bool,
    Int,
    Ints,
    Lowering,
    Result,
    Sizes,
    Tensor,
    VerificationError,
)
from flambeau.dialects.types import DYNAMIC, compatible, is_float, shape_of, tensor_type


class ConvolutionOp(FlambeauOp, name="convolution"):
    """Cross-correlation of x with weight, plus bias (F) on each channel; or, `transposed`, the adjoint of one.

    T = (S + 2 padding - dilation (K - 1) - 1) // stride + 1; transposed:
    T = (S - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1.

    Gradient: convolution_input_grad(g, weight); convolution_weight_grad(g, x); the sum of g over all but the channels.
    """

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    stride: Ints
    padding: Ints
    dilation: Ints
    transposed: Bool
    output_padding: Ints
    groups: Int
    out: Result
    aten = "convolution"
    lowering = Lowering.RULE
    recompute = COSTLY

    def infer(op):
        shape = _result_shape(op, shape_of(op.x), shape_of(op.weight))
        _require_float("x", op.x, ("weight", op.weight), ("bias", op.bias))
        if op.bias is not None and not compatible(op.bias, tensor_type(shape[1:2], op.x.element_type)):
            raise VerificationError(f"bias is {op.bias}, but there are {shape[1]} output channels")
        return tensor_type(shape, op.x.element_type)

    def vjp(op, g):
        bias = None if op.bias is None else b.sum(g, [0, *range(2, len(op.stride) + 2)], False)
        return {
            "x": b.convolution_input_grad(g, op.weight, b.sizes(op.x), *_parameters(op)),
            "weight": b.convolution_weight_grad(g, op.x, shape_of(op.weight), *_parameters(op)),
            "bias": bias,
        }


class ConvolutionInputGradOp(FlambeauOp, name="convolution_input_grad"):
    """The gradient of sum(g * convolution(x, weight)) by x, which has shape `input_shape`.

    Gradient, with h that of the result: convolution(h, weight); convolution_weight_grad(g, h).
    """

    g: Tensor
    weight: Tensor
    input_shape: Sizes
    stride: Ints
    padding: Ints
    dilation: Ints
    transposed: Bool
    output_padding: Ints
    groups: Int
    out: Result
    lowering = Lowering.RULE
    recompute = COSTLY

    def infer(op):
        _require_float("g", op.g, ("weight", op.weight))
        _require_result(op, op.g, _result_shape(op, op.input_shape, shape_of(op.weight)))
        return tensor_type(op.input_shape, op.g.element_type)

    def vjp(op, g):
        return {
            "g": b.convolution(g, op.weight, None, *_parameters(op)),
            "weight": b.convolution_weight_grad(op.g, g, shape_of(op.weight), *_parameters(op)),
        }


class ConvolutionWeightGradOp(FlambeauOp, name="convolution_weight_grad"):
    """The gradient of sum(g * convolution(x, weight)) by weight, which has shape `weight_shape`.

    Gradient, with h that of the result: convolution(x, h); convolution_input_grad(g, h).
    """

    g: Tensor
    x: Tensor
    weight_shape: Ints
    stride: Ints
    padding: Ints
    dilation: Ints
    transposed: Bool
    output_padding: Ints
    groups: Int
    out: Result
    lowering = Lowering.RULE
    recompute = COSTLY

    def infer(op):
        _require_float("g", op.g, ("x", op.x))
        _require_result(op, op.g, _result_shape(op, shape_of(op.x), op.weight_shape))
        return tensor_type(op.weight_shape, op.g.element_type)

    def vjp(op, g):
        return {
            "g": b.convolution(op.x, g, None, *_parameters(op)),
            "x": b.convolution_input_grad(op.g, g, b.sizes(op.x), *_parameters(op)),
        }


def _parameters(op) -> tuple[list[int], list[int], list[int], bool, list[int], int]:
    return (op.stride, op.padding, op.dilation, op.transposed, op.output_padding, op.groups)


def _result_shape(op, x: Sequence[int], weight: Sequence[int]) -> list[int]:
    """The result's sizes; raises if sizes and parameters do not fit."""
    rank = len(x) - 2
    if rank not in (1, 2, 3) or len(weight) != rank + 2:
        raise VerificationError(
            f"input of rank {len(x)} and weight of rank {len(weight)}; both have rank 3, 4 or 5"
        )
    if DYNAMIC in weight:
        raise VerificationError(f"the weight's sizes must be static, found {list(weight)}")
    for name in ("stride", "padding", "dilation", "output_padding"):
        values, least = getattr(op, name), 1 if name in ("stride", "dilation") else 0
        if len(values) != rank or min(values) < least:
            raise VerificationError(f"{name} is {values}; {rank} numbers of at least {least} are needed")
    if not op.transposed and any(op.output_padding):
        raise VerificationError(
            f"output_padding is {op.output_padding}, but only a transposed convolution has one"
        )
    for i, extra in enumerate(op.output_padding):
        if op.transposed and extra >= max(op.stride[i], op.dilation[i]):
            raise VerificationError(f"output_padding {extra} must be smaller than stride or dilation")
    if op.groups < 1 or weight[0] % op.groups:
        raise VerificationError(f"weight of sizes {list(weight)} does not divide into {op.groups} groups")
    channels = weight[0] if op.transposed else weight[1] * op.groups
    if x[1] not in (channels, DYNAMIC):
        raise VerificationError(
            f"input has {x[1]} channels, but weight {list(weight)} with {op.groups} groups takes {channels}"
        )
    spatial = [_window_positions(op, i, x[i + 2], weight[i + 2]) for i in range(rank)]
    return [x[0], weight[1] * op.groups if op.transposed else weight[0], *spatial]


def _window_positions(op, i: int, size: int, kernel: int) -> int:
    reach = op.dilation[i] * (kernel - 1) + 1
    if size == DYNAMIC:
        return DYNAMIC
    if op.transposed:
        result = (size - 1) * op.stride[i] - 2 * op.padding[i] + reach + op.output_padding[i]
    else:
        result = (size + 2 * op.padding[i] - reach) // op.stride[i] + 1
    if result < 1:
        raise VerificationError(
            f"spatial dim {i} of size {size} is too small for a kernel that reaches over {reach}"
        )
    return result


def _require_float(
    name: str, first: ir.RankedTensorType, *others: tuple[str, ir.RankedTensorType | None]
) -> None:
    if not is_float(first):
        raise VerificationError(f"'{name}' must be a float tensor, found {first}")
    for other, type_ in others:
        if type_ is not None and type_.element_type != first.element_type:
            raise VerificationError(f"'{name}' and '{other}' differ in element type: {first} and {type_}")


def _require_result(op, g: ir.RankedTensorType, shape: list[int]) -> None:
    if not compatible(g, tensor_type(shape, g.element_type)):
        raise VerificationError(f"g is {g}, but the convolution's result has sizes {shape}")
