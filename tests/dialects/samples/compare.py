# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Samples of comparisons, logical and bitwise operations and choices."""

import torch

from tests.dialects.sample import Sample
from tests.dialects.samples.elementwise import SPECIAL, integers, on_integers, pairs

BOOLS = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])


def comparison(op: str) -> list[Sample]:
    return [
        Sample(op, lambda: pairs()),
        Sample(op, lambda: [t.bfloat16() for t in pairs()], dynamic=False, id="bf16"),
        Sample(op, lambda: [t.double() for t in pairs()], dynamic=False, id="f64"),
        Sample(op, lambda: [torch.ones(()), torch.ones(())], dynamic=False, id="scalar"),
        Sample(op, lambda: [torch.ones(0, 3), torch.ones(0, 3)], dynamic=False, id="empty"),
        Sample(op, lambda: [integers(9), integers(9)], dynamic=False, id="i64"),
        Sample(
            op,
            lambda: [integers(9, low=0, high=255, dtype=torch.uint8) for _ in range(2)],
            dynamic=False,
            id="u8",
        ),
        Sample(op, lambda: BOOLS, dynamic=False, id="bool"),
    ]


def shifts(dtype: torch.dtype) -> list[torch.Tensor]:
    bits = torch.iinfo(dtype).bits
    low = 0 if dtype == torch.uint8 else -7
    amounts = [0, 1, 3, bits - 1, bits, bits + 5, *([-1] if low else [])]
    return pairs_of([low, 1, 5, 100], amounts, dtype)


def pairs_of(first: list[int], second: list[int], dtype: torch.dtype) -> list[torch.Tensor]:
    grids = torch.meshgrid(torch.tensor(first, dtype=dtype), torch.tensor(second, dtype=dtype), indexing="ij")
    return [g.contiguous() for g in grids]


SAMPLES = [
    *[sample for op in ("eq", "ne", "lt", "le", "gt", "ge") for sample in comparison(op)],
    *[
        sample
        for op in ("isnan", "isinf", "isfinite", "signbit")
        for sample in (
            Sample(op, lambda: [SPECIAL]),
            Sample(op, lambda: [SPECIAL.half()], id="f16"),
            Sample(op, lambda: [SPECIAL.double()], dynamic=False, id="f64"),
            Sample(op, lambda: [integers(5)], dynamic=False, id="i64"),
        )
    ],
    *[sample for op in ("logical_and", "logical_or", "logical_xor") for sample in comparison(op)],
    Sample("logical_not", lambda: [SPECIAL]),
    Sample("logical_not", lambda: [BOOLS[0]], id="bool"),
    Sample("logical_not", lambda: [integers(9)], id="i64"),
    *[sample for op in ("bitwise_and", "bitwise_or", "bitwise_xor") for sample in on_integers(op)],
    *on_integers("bitwise_not", arity=1),
    *[
        Sample(op, lambda d=dtype: shifts(d), id=str(dtype).removeprefix("torch."))
        for op in ("bitwise_left_shift", "bitwise_right_shift")
        for dtype in (torch.int64, torch.int32, torch.int8, torch.uint8)
    ],
    Sample("where", lambda: [torch.rand(3, 4) > 0.5, torch.randn(3, 4), torch.randn(3, 4)], grad2=True),
    Sample("where", lambda: [torch.rand(12) > 0.5, SPECIAL, SPECIAL.flip(0)], id="special"),
    Sample("where", lambda: [torch.rand(9) > 0.5, integers(9), integers(9)], id="i64"),
    Sample("where", lambda: [torch.rand(4) > 0.5, *BOOLS], id="bool"),
    Sample(
        "where",
        lambda: [torch.tensor(True), torch.ones(()).half(), torch.zeros(()).half()],
        grad=(),
        id="f16",
    ),
    Sample("heaviside", lambda: pairs()),
    Sample("heaviside", lambda: [integers(9, low=-2, high=3), integers(9)], id="i64"),
]
