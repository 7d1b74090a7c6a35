# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Samples of constants and of tensors made from sizes."""

import torch

from tests.dialects.sample import Sample


def _constant(text, expected, **options):
    return Sample("constant", lambda: [text], eager=lambda _: expected, dynamic=False, **options)


def _iota(size, dtype, **options):
    return Sample("iota", lambda: [size, dtype], eager=lambda n, d: torch.arange(n, dtype=d), **options)


def _size(dtype, **options):
    return Sample(
        "size_to_tensor", lambda: [3, dtype], eager=lambda n, d: torch.tensor(n, dtype=d), **options
    )


SAMPLES = [
    _constant(
        "dense<[[1.5, -2.0], [0.0, 4.0]]> : tensor<2x2xf32>",
        torch.tensor([[1.5, -2.0], [0.0, 4.0]]),
        id="matrix",
    ),
    _constant("dense<7> : tensor<3xi64>", torch.full((3,), 7), id="splat"),
    _constant("dense<-1> : tensor<i32>", torch.tensor(-1, dtype=torch.int32), id="rank 0"),
    _constant("dense<[true, false]> : tensor<2xi1>", torch.tensor([True, False]), id="bool"),
    _constant("dense<true> : tensor<2xi1>", torch.tensor([True, True]), id="bool splat"),
    _constant("dense<[200, 3]> : tensor<2xui8>", torch.tensor([200, 3], dtype=torch.uint8), id="uint8"),
    _constant("dense<[0.5, -2.0]> : tensor<2xbf16>", torch.tensor([0.5, -2.0]).bfloat16(), id="bfloat16"),
    _constant(
        "dense<[0.1, -2.0]> : tensor<2xf64>", torch.tensor([0.1, -2.0], dtype=torch.float64), id="double"
    ),
    _constant(
        "dense<[0x7F800000, 0x7FC00000]> : tensor<2xf32>",
        torch.tensor([torch.inf, torch.nan]),
        id="not finite",
    ),
    _constant("dense<> : tensor<0x3xf32>", torch.empty(0, 3), id="no elements"),
    _constant("dense<[-3, 100]> : tensor<2xi8>", torch.tensor([-3, 100], dtype=torch.int8), id="int8"),
    _constant("dense<250> : tensor<ui8>", torch.tensor(250, dtype=torch.uint8), id="uint8 splat"),
    _constant(
        "dense<[0x7F80, 0xFFC0, 0x3F80]> : tensor<3xbf16>",
        torch.tensor([torch.inf, -torch.nan, 1.0]).bfloat16(),
        id="bfloat16 not finite",
    ),
    _iota(4, torch.int64, id="int64"),
    _iota(4, torch.int32, id="int32"),
    _iota(4, torch.float32, id="float"),
    _iota(0, torch.int64, id="nothing"),
    _size(torch.int64, id="int64"),
    _size(torch.float32, id="float"),
]
