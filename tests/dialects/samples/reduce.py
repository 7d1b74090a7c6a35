# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Samples of reductions and scans: one, several and all dims, rank-0 and empty tensors, ties, zeros and NaN."""

from typing import Any

import torch

from tests.dialects.sample import Sample
from tests.dialects.samples.elementwise import INF, NAN, integers

BOOLS = torch.tensor([[True, True], [True, False], [False, False]])
TIES = torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [NAN, 1.0, NAN], [INF, -INF, INF], [-0.0, 0.0, 0.0]])


def over_dims(op: str, *after: Any, grad2: bool = False, empty: bool = True, **options: Any) -> list[Sample]:
    """Over one dim, two, all; with and without keepdim; rank 0 and empty. `after` stands between dims and keepdim."""

    def x() -> torch.Tensor:
        return torch.randn(2, 3, 4)

    def many() -> torch.Tensor:
        return x() + 1  # a sum of many that cancels has rounding errors beyond its own size in any order

    samples = [
        Sample(op, lambda: [x(), [1], *after, False], grad2=grad2, id="one", **options),
        Sample(op, lambda: [x(), [-1], *after, True], id="keepdim", **options),
        Sample(op, lambda: [x(), [0, 2], *after, False], id="two", **options),
        Sample(op, lambda: [many(), [], *after, False], id="all", **options),
        Sample(op, lambda: [many(), [], *after, True], id="all keepdim", **options),
        Sample(op, lambda: [x().double(), [1], *after, False], grad=(), dynamic=False, id="f64", **options),
        Sample(
            op, lambda: [x().bfloat16(), [1], *after, False], grad=(), dynamic=False, id="bf16", **options
        ),
        Sample(
            op,
            lambda: [torch.randn(300).half(), [0], *after, False],
            grad=(),
            dynamic=False,
            id="f16",
            **options,
        ),
        Sample(op, lambda: [torch.randn(()), [], *after, False], id="scalar", **options),
    ]
    if empty:
        samples.append(Sample(op, lambda: [torch.randn(2, 0), [1], *after, False], id="empty", **options))
    samples.append(
        Sample(op, lambda: [torch.randn(0, 2), [1], *after, False], dynamic=False, id="no results", **options)
    )
    return samples


def prod(x: torch.Tensor, dim: int | None, keepdim: bool) -> torch.Tensor:
    return torch.prod(x) if dim is None else torch.prod(x, dim, keepdim)


def none_is_all(function: Any) -> Any:
    """Eager's gradients of the `var` family are infinite for an empty list of dims; None is what it means."""
    return lambda x, dims, correction, keepdim: function(
        x, dims or None, correction=correction, keepdim=keepdim
    )


def over_one_dim(op: str, *, all_dims: bool) -> list[Sample]:
    """For ops with one dim (or None, if `all_dims`) that choose an element."""
    samples = [
        Sample(op, lambda: [torch.randn(2, 3, 4), 1, False]),
        Sample(op, lambda: [torch.randn(2, 3, 4), -1, True], id="keepdim"),
        Sample(op, lambda: [TIES, 1, False], dynamic=False, id="ties"),
        Sample(op, lambda: [torch.randn(()), 0, False], dynamic=False, id="scalar"),
        Sample(op, lambda: [integers(4, 5), 0, False], dynamic=False, id="i64"),
        Sample(
            op, lambda: [integers(4, 5, low=0, high=255, dtype=torch.uint8), 0, False], dynamic=False, id="u8"
        ),
        Sample(op, lambda: [torch.randn(4, 5).bfloat16(), 0, False], grad=(), dynamic=False, id="bf16"),
    ]
    if all_dims:
        samples += [
            Sample(op, lambda: [torch.randn(2, 3, 4), None, False], id="all"),
            Sample(op, lambda: [TIES, None, True], id="all keepdim"),
        ]
    return samples


ZEROS = torch.tensor([[1.0, 2.0, 3.0], [0.0, 2.0, 3.0], [0.0, 0.0, 3.0]])

SAMPLES = [
    *over_dims("sum", grad2=True),
    Sample("sum", lambda: [integers(3, 4), [1], False], dynamic=False, id="i64"),
    Sample("sum", lambda: [integers(3, 4, dtype=torch.int32), [0], False], id="i32"),
    Sample(
        "sum",
        lambda: [integers(3, 400, low=0, high=255, dtype=torch.uint8), [1], False],
        dynamic=False,
        id="u8",
    ),
    Sample("sum", lambda: [BOOLS, [1], False], dynamic=False, id="bool"),
    Sample("sum", lambda: [torch.full((5000,), 0.1).bfloat16(), [], False], grad=(), id="long bf16"),
    *over_dims("mean", grad2=True),
    Sample("nansum", lambda: [TIES, [1], False]),
    Sample("nansum", lambda: [TIES, [], True], dynamic=False, id="all"),
    Sample("nansum", lambda: [integers(3, 4), [0], False], dynamic=False, id="i64"),
    *[
        sample
        for dim in (0, 1, -1, None)
        for sample in (
            Sample(
                "prod", lambda d=dim: [torch.randn(2, 3, 4), d, False], eager=prod, grad2=True, id=f"{dim}"
            ),
        )
    ],
    Sample("prod", lambda: [torch.randn(2, 3), 1, True], eager=prod, id="keepdim"),
    Sample("prod", lambda: [ZEROS, 1, False], eager=prod, grad2=True, id="zeros"),
    Sample("prod", lambda: [ZEROS[1], None, False], eager=prod, grad2=True, id="all zeros"),
    Sample("prod", lambda: [torch.randn(()), None, False], eager=prod, dynamic=False, id="scalar"),
    Sample("prod", lambda: [torch.randn(2, 0), 1, False], eager=prod, id="empty"),
    Sample("prod", lambda: [integers(3, 4), 1, False], eager=prod, dynamic=False, id="i64"),
    Sample("prod", lambda: [torch.rand(9).bfloat16() + 0.5, 0, False], eager=prod, grad=(), id="bf16"),
    Sample("cumsum", lambda: [torch.randn(3, 4), 1], grad2=True),
    Sample("cumsum", lambda: [torch.randn(3, 4, 2), -2], id="middle"),
    Sample("cumsum", lambda: [torch.randn(()), 0], dynamic=False, id="scalar"),
    Sample("cumsum", lambda: [integers(3, 4), 0], dynamic=False, id="i64"),
    Sample("cumsum", lambda: [BOOLS, 1], dynamic=False, id="bool"),
    Sample("cumsum", lambda: [torch.randn(9).bfloat16(), 0], grad=(), id="bf16"),
    Sample("cumprod", lambda: [torch.randn(3, 4), 1], grad2=True),
    Sample("cumprod", lambda: [torch.randn(3, 4, 2), -2], id="middle"),
    Sample("cumprod", lambda: [ZEROS, 1], id="zeros"),
    Sample("cumprod", lambda: [torch.randn(()), 0], dynamic=False, id="scalar"),
    Sample("cumprod", lambda: [integers(3, 4), 0], dynamic=False, id="i64"),
    Sample("count_nonzero", lambda: [integers(3, 4, low=-1, high=2), [1]]),
    Sample("count_nonzero", lambda: [TIES, []], id="all"),
    Sample("count_nonzero", lambda: [BOOLS, [0, 1]], dynamic=False, id="bool"),
    *over_dims("var", 1, grad2=True, eager=none_is_all(torch.ops.aten.var.correction)),
    Sample("var", lambda: [torch.randn(3, 4), [1], None, False], id="None"),
    Sample("var", lambda: [torch.randn(3, 4), [1], 0, False], id="biased"),
    Sample("var", lambda: [torch.randn(3, 4), [1], 1.5, False], id="fractional"),
    Sample("var", lambda: [torch.randn(3, 1), [1], 1, False], id="single"),
    *over_dims("std", 1, grad2=True, eager=none_is_all(torch.ops.aten.std.correction)),
    Sample("std", lambda: [torch.ones(2, 3), [1], 0, False], id="constant"),
    *over_dims("var_mean", 1, eager=none_is_all(torch.ops.aten.var_mean.correction)),
    *over_dims("std_mean", 0, eager=none_is_all(torch.ops.aten.std_mean.correction)),
    # Eager raises where it is to drop all dims of several.
    *[sample for sample in over_dims("logsumexp", grad2=True, empty=False) if sample.id != "all"],
    Sample(
        "logsumexp",
        lambda: [torch.tensor([[100.0, 1000.0], [-INF, -INF], [INF, 0.0], [NAN, 0.0]]), [1], False],
        id="special",
    ),
    Sample("logsumexp", lambda: [torch.randn(()), [0], False], dynamic=False, id="scalar with a dim"),
    *[
        sample
        for order in (2, 1, 0, INF, -INF, 3, 0.5, 1.5)
        for sample in (
            Sample(
                "vector_norm",
                lambda p=order: [torch.randn(3, 4), p, [1], False],
                grad2=order in (2, 3, 1.5),
                id=f"{order}",
            ),
            Sample("vector_norm", lambda p=order: [ZEROS, p, [1], True], id=f"{order} zeros"),
        )
    ],
    Sample("vector_norm", lambda: [torch.zeros(3), 2, [], False], id="zero"),
    Sample("vector_norm", lambda: [torch.randn(()), 2, [], False], dynamic=False, id="scalar"),
    Sample("vector_norm", lambda: [torch.randn(300).bfloat16(), 2, [], False], grad=(), id="bf16"),
    *over_dims("amax", empty=False, grad2=True),
    Sample("amax", lambda: [TIES, [1], False], dynamic=False, id="ties"),
    Sample("amax", lambda: [integers(3, 4), [1], False], dynamic=False, id="i64"),
    Sample(
        "amax",
        lambda: [integers(3, 4, low=0, high=255, dtype=torch.uint8), [1], False],
        dynamic=False,
        id="u8",
    ),
    Sample("amax", lambda: [BOOLS, [1], False], dynamic=False, id="bool"),
    *over_dims("amin", empty=False, grad2=True),
    Sample("amin", lambda: [TIES, [1], False], dynamic=False, id="ties"),
    Sample("amin", lambda: [integers(3, 4), [1], False], dynamic=False, id="i64"),
    Sample(
        "amin",
        lambda: [integers(3, 4, low=0, high=255, dtype=torch.uint8), [1], False],
        dynamic=False,
        id="u8",
    ),
    Sample("amin", lambda: [BOOLS, [1], False], dynamic=False, id="bool"),
    *[
        sample
        for op in ("max", "min")
        for sample in (
            Sample(op, lambda: [torch.randn(3, 4)], grad2=True),
            Sample(op, lambda: [TIES], dynamic=False, id="nan"),
            Sample(op, lambda: [TIES[:2]], dynamic=False, id="ties"),
            Sample(op, lambda: [torch.randn(())], dynamic=False, id="scalar"),
            Sample(op, lambda: [integers(7)], dynamic=False, id="i64"),
        )
    ],
    Sample("aminmax", lambda: [torch.randn(3, 4), 1, False], grad2=True),
    Sample("aminmax", lambda: [torch.randn(3, 4), None, True], id="all"),
    Sample("aminmax", lambda: [TIES, 1, False], dynamic=False, id="ties"),
    *over_one_dim("max_dim", all_dims=False),
    *over_one_dim("min_dim", all_dims=False),
    *over_one_dim("argmax", all_dims=True),
    *over_one_dim("argmin", all_dims=True),
    *[
        sample
        for op in ("any", "all")
        for sample in (
            Sample(op, lambda: [BOOLS, [1], False]),
            Sample(op, lambda: [BOOLS, [0, 1], True], id="keepdim"),
            Sample(op, lambda: [BOOLS, None, False], id="all"),
            Sample(op, lambda: [BOOLS, [], False], id="no dims"),
            Sample(op, lambda: [TIES, [1], False], id="f32"),
            Sample(op, lambda: [integers(4, 5, low=0, high=2), [1], False], dynamic=False, id="i64"),
            Sample(
                op,
                lambda: [integers(4, 5, low=0, high=3, dtype=torch.uint8), [1], False],
                dynamic=False,
                id="u8",
            ),
            Sample(op, lambda: [torch.ones(2, 0, dtype=torch.bool), [1], False], id="empty"),
            Sample(op, lambda: [torch.tensor(True), None, False], dynamic=False, id="scalar"),
        )
    ],
]
