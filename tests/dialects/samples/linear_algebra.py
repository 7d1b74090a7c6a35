# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Samples of matrix products."""

import math

import torch

from tests.dialects.sample import Sample


def _op(name, *shapes, dtype=torch.float32, rest=(), **options):
    """Operands of the given shapes; integers are small."""

    def operand(shape):
        return (
            torch.randn(shape).to(dtype) if dtype.is_floating_point else torch.randint(0, 9, shape).to(dtype)
        )

    return Sample(name, lambda: [*(operand(s) for s in shapes), *rest], **options)


def _nan_ignored(name, *shapes):
    """beta is 0: x does not count, not even its NaN. (Its gradient is 0 then, whatever x is.)"""
    return Sample(
        name,
        lambda: [torch.full(shapes[0], math.nan), *(torch.randn(s) for s in shapes[1:]), 0, 2],
        id="beta 0",
        grad=(1, 2),
    )


SAMPLES = [
    _op("mm", (3, 5), (5, 4), grad2=True),
    _op("mm", (3, 0), (0, 4), id="nothing to sum"),
    _op("mm", (0, 5), (5, 4), id="no rows"),
    _op("mm", (3, 5), (5, 4), dtype=torch.int64, id="int64"),
    _op("mm", (3, 5), (5, 4), dtype=torch.int32, id="int32"),
    _op("mm", (3, 300), (300, 4), dtype=torch.bfloat16, id="bfloat16"),
    _op("mm", (3, 300), (300, 4), dtype=torch.float16, id="float16"),
    _op("mm", (3, 5), (5, 4), dtype=torch.float64, id="float64"),
    _op("bmm", (2, 3, 5), (2, 5, 4), grad2=True),
    _op("bmm", (0, 3, 5), (0, 5, 4), id="no matrices"),
    _op("bmm", (2, 3, 5), (2, 5, 4), dtype=torch.int64, id="int64"),
    _op("bmm", (2, 3, 300), (2, 300, 4), dtype=torch.float16, id="float16"),
    _op("addmm", (4,), (3, 5), (5, 4), id="row", grad2=True),
    _op("addmm", (3, 4), (3, 5), (5, 4), rest=(0.5, 2.0), id="matrix"),
    _op("addmm", (3, 1), (3, 5), (5, 4), id="column", dynamic=False),
    _op("addmm", (), (3, 5), (5, 4), id="number"),
    _op("addmm", (4,), (3, 5), (5, 4), dtype=torch.int64, rest=(2, 3), id="int64"),
    _op("addmm", (4,), (3, 5), (5, 4), dtype=torch.float16, id="float16"),
    _nan_ignored("addmm", (4,), (3, 5), (5, 4)),
    _op("baddbmm", (2, 3, 4), (2, 3, 5), (2, 5, 4), rest=(0.5, 2.0), grad2=True),
    _op("baddbmm", (1, 4), (2, 3, 5), (2, 5, 4), id="row", dynamic=False),
    _nan_ignored("baddbmm", (4,), (2, 3, 5), (2, 5, 4)),
    _op("addbmm", (3, 4), (2, 3, 5), (2, 5, 4), rest=(0.5, 2.0), grad2=True),
    _op("addbmm", (4,), (2, 3, 5), (2, 5, 4), id="row"),
    _nan_ignored("addbmm", (4,), (2, 3, 5), (2, 5, 4)),
    _op("mv", (3, 5), (5,), grad2=True),
    _op("mv", (3, 5), (5,), dtype=torch.int64, id="int64"),
    _op("addmv", (3,), (3, 5), (5,), rest=(0.5, 2.0), grad2=True),
    _op("addmv", (), (3, 5), (5,), id="number"),
    _nan_ignored("addmv", (3,), (3, 5), (5,)),
    _op("dot", (5,), (5,), grad2=True),
    _op("dot", (5,), (5,), dtype=torch.int64, id="int64"),
    _op("dot", (0,), (0,), id="no elements"),
    _op("addr", (3, 4), (3,), (4,), rest=(0.5, 2.0), grad2=True),
    _op("addr", (4,), (3,), (4,), id="row"),
    _nan_ignored("addr", (4,), (3,), (4,)),
]
