# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Samples of convolutions and their gradients. The weight's sizes stay static."""

import torch

from tests.dialects.sample import Sample

# id, x, weight, stride, padding, dilation, transposed, output_padding, groups
CASES = [
    ("3x3", (2, 3, 6, 5), (4, 3, 3, 3), [1, 1], [1, 1], [1, 1], False, [0, 0], 1),
    ("1x1", (2, 3, 4, 4), (5, 3, 1, 1), [1, 1], [0, 0], [1, 1], False, [0, 0], 1),
    ("1x1 strided", (2, 3, 5, 4), (5, 3, 1, 1), [2, 2], [0, 0], [1, 1], False, [0, 0], 1),
    ("strided", (2, 3, 8, 7), (4, 3, 3, 3), [2, 3], [1, 0], [1, 1], False, [0, 0], 1),
    ("dilated", (1, 2, 9, 8), (3, 2, 3, 2), [1, 2], [2, 1], [2, 3], False, [0, 0], 1),
    ("more padding than kernel", (1, 2, 4, 4), (3, 2, 2, 1), [1, 1], [2, 1], [1, 1], False, [0, 0], 1),
    ("grouped", (2, 4, 5, 5), (6, 2, 3, 3), [1, 1], [1, 1], [1, 1], False, [0, 0], 2),
    ("grouped dilated strided", (2, 4, 9, 8), (6, 2, 2, 3), [2, 1], [1, 2], [2, 1], False, [0, 0], 2),
    ("depthwise", (2, 4, 5, 6), (4, 1, 3, 3), [1, 1], [1, 1], [1, 1], False, [0, 0], 4),
    ("depthwise wide", (1, 2, 6, 9), (2, 1, 4, 3), [1, 2], [1, 1], [1, 2], False, [0, 0], 2),
    ("depthwise multiplied", (2, 3, 7, 6), (6, 1, 3, 3), [2, 2], [1, 1], [1, 1], False, [0, 0], 3),
    ("one window", (3, 2, 2, 6), (4, 2, 3, 3), [2, 2], [1, 1], [1, 1], False, [0, 0], 1),
    ("patches", (2, 3, 8, 7), (5, 3, 4, 3), [4, 3], [0, 0], [1, 1], False, [0, 0], 1),
    ("many features", (1, 256, 3, 4), (256, 256, 2, 2), [1, 1], [0, 1], [1, 1], False, [0, 0], 1),
    ("many features strided", (1, 64, 4, 4), (8, 64, 3, 3), [2, 2], [1, 1], [1, 1], False, [0, 0], 1),
    ("1d", (2, 3, 9), (4, 3, 3), [2], [1], [1], False, [0], 1),
    ("3d", (1, 2, 4, 5, 4), (3, 2, 2, 3, 2), [1, 2, 1], [0, 1, 1], [1, 1, 1], False, [0, 0, 0], 1),
    ("transposed", (2, 3, 4, 3), (3, 4, 3, 3), [1, 1], [1, 1], [1, 1], True, [0, 0], 1),
    ("transposed strided", (2, 3, 4, 3), (3, 4, 3, 2), [2, 2], [1, 0], [1, 1], True, [1, 0], 1),
    ("transposed grouped dilated", (1, 4, 3, 4), (4, 3, 2, 3), [3, 1], [1, 2], [2, 2], True, [2, 1], 2),
    ("transposed 1d", (2, 2, 5), (2, 3, 4), [2], [1], [1], True, [0], 1),
]
BIASED = ("3x3", "many features", "patches", "grouped dilated strided", "1d", "3d", "transposed strided")
DYNAMIC = (
    "3x3",
    "one window",
    "patches",
    "1x1",
    "strided",
    "depthwise wide",
    "grouped dilated strided",
    "1d",
    "transposed grouped dilated",
)


def _backward(which, g, other, shape, stride, padding, dilation, transposed, output_padding, groups):
    x, weight = (
        (torch.empty(shape, dtype=g.dtype), other)
        if which == 0
        else (other, torch.empty(shape, dtype=g.dtype))
    )
    wanted = [which == 0, which == 1, False]
    return torch.ops.aten.convolution_backward(
        g, x, weight, None, stride, padding, dilation, transposed, output_padding, groups, wanted
    )[which]


def input_grad(*arguments):
    """Eager's gradient by the input."""
    return _backward(0, *arguments)


def weight_grad(*arguments):
    """Eager's gradient by the weight."""
    return _backward(1, *arguments)


def _samples():
    for name, x, weight, *parameters in CASES:
        *_, transposed, _, groups = parameters
        features = weight[1] * groups if transposed else weight[0]
        result = tuple(torch.convolution(torch.empty(x), torch.empty(weight), None, *parameters).shape)
        # PyTorch has no third derivative of a transposed convolution with output padding.
        third = not (transposed and any(parameters[4]))
        for bias in (None, features) if name in BIASED else (None,):
            yield Sample(
                "convolution",
                lambda x=x, w=weight, n=bias, p=parameters: [
                    torch.randn(x),
                    torch.randn(w),
                    n and torch.randn(n),
                    *p,
                ],
                grad=(0, 1) if bias is None else (0, 1, 2),
                grad2=name in BIASED,
                dynamic=name in DYNAMIC,
                static=(1, 2),
                id=f"{name}, bias" if bias else name,
            )
        yield Sample(
            "convolution_input_grad",
            lambda g=result, w=weight, x=x, p=parameters: [torch.randn(g), torch.randn(w), list(x), *p],
            eager=input_grad,
            grad2=third,
            dynamic=name in DYNAMIC,
            static=(1,),
            id=name,
        )
        yield Sample(
            "convolution_weight_grad",
            lambda g=result, w=weight, x=x, p=parameters: [torch.randn(g), torch.randn(x), list(w), *p],
            eager=weight_grad,
            grad2=third,
            dynamic=name in DYNAMIC,
            id=name,
        )


SAMPLES = [
    *_samples(),
    *(
        Sample(
            "convolution",
            lambda dtype=dtype: [
                torch.randn(2, 8, 6, 6, dtype=dtype),
                torch.randn(4, 8, 3, 3, dtype=dtype),
                torch.randn(4, dtype=dtype),
                [1, 1],
                [1, 1],
                [1, 1],
                False,
                [0, 0],
                1,
            ],
            dynamic=False,
            id=str(dtype).removeprefix("torch."),
        )
        for dtype in (torch.float64, torch.float16, torch.bfloat16)
    ),
    *(
        Sample(
            name,
            lambda dtype=dtype, groups=groups, other=other, shape=shape: [
                torch.randn(2, 4, 6, 6, dtype=dtype),
                torch.randn(other, dtype=dtype),
                list(shape),
                [1, 1],
                [1, 1],
                [1, 1],
                False,
                [0, 0],
                groups,
            ],
            eager=eager,
            grad=(),
            dynamic=False,
            id=f"{str(dtype).removeprefix('torch.')}, {groups} groups",
        )
        for dtype in (torch.float64, torch.float16)
        for groups in (1, 2, 4)
        for name, other, shape, eager in (
            ("convolution_weight_grad", (2, 4, 6, 6), (4, 4 // groups, 3, 3), weight_grad),
            ("convolution_input_grad", (4, 4 // groups, 3, 3), (2, 4, 6, 6), input_grad),
        )
    ),
]
