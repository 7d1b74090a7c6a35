# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ranks and sizes, empty tensors, dtypes."""

import torch

from tests.frontend.calling.case import CASES, case
from tests.oracle import leaf, numbers, of_leaf, plain


@case(plain(lambda: leaf(3, 4)))
def broadcast_the_rest_of_a_split(x):
    most, rest = x.split(x.shape[0] - 1, 0)
    return most * rest


@case(of_leaf(lambda a: [a[:0, 1:]], 3, 4))
def empty_argument_with_strides(x):
    return x.sin(), x.sum(0)


@case(plain(lambda: numbers(0, 4)))
def dropout_of_nothing(x):
    y = torch.nn.functional.dropout(x, 0.5)
    y.add_(1)
    return y


@case(plain(lambda: leaf(0, 4), lambda: leaf(2, 3, 0)))
def slices_of_nothing(x, y):
    first, second = x.chunk(2, 0)
    return first * 1, second * 2, y[1:, 2] * 1, y[:1, :2].sum(1)


@case(plain(lambda: leaf(), lambda: leaf(3)))
def rank_0(x, y):
    return x * 2, y.sum(), x * y


@case(plain(lambda: leaf(0, 4), lambda: leaf(4)))
def empty(x, y):
    return x * y, x.sum(0), x.t(), y + 1


for _dtype in (torch.float64, torch.float16, torch.bfloat16):

    def _floats(x, y):
        return x * y + 2, x.sum(0), (x > y), x.to(torch.float32)

    CASES[f"dtype_{_dtype}".replace("torch.", "")] = (
        _floats,
        plain(lambda d=_dtype: leaf(3, 4, dtype=d), lambda d=_dtype: leaf(3, 4, dtype=d)),
    )


for _dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool):

    def _integers(x, y):
        return x | y, x == y, x.to(torch.float32) + 1, x.clone(), x.to(torch.int64) * 2

    CASES[f"dtype_{_dtype}".replace("torch.", "")] = (
        _integers,
        plain(*[lambda d=_dtype, k=k: (torch.arange(12).reshape(3, 4) * k % 5).to(d) for k in (1, 3)]),
    )
