# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Samples of reads and writes at computed positions."""

import torch

from tests.dialects.sample import Sample


def _index(*positions, dtype=torch.int64):
    return torch.tensor(positions, dtype=dtype)


def _with_gaps(x, indices, dims):
    given = dict(zip(dims, indices, strict=True))
    return [given.get(d) for d in range(x.dim())]


def _read(x, indices, dims):
    return torch.ops.aten.index.Tensor(x, _with_gaps(x, indices, dims))


def _write(x, indices, values, dims, accumulate):
    return torch.ops.aten.index_put.default(x, _with_gaps(x, indices, dims), values, accumulate)


def _index_op(arguments, **options):
    return Sample("index", arguments, eager=_read, **options)


def _index_put(arguments, **options):
    return Sample("index_put", arguments, eager=_write, **options)


_TWO = [[0, 2], [1, -1]]  # rows of two index tensors of shape [2, 2]


def _embedding_bag(weight, indices, offsets, weights, mode, include_last_offset, padding_idx):
    return torch.nn.functional.embedding_bag(
        indices,
        weight,
        offsets,
        mode=("sum", "mean", "max")[mode],
        per_sample_weights=weights,
        include_last_offset=include_last_offset,
        padding_idx=padding_idx if padding_idx >= 0 else None,
    )


SAMPLES = [
    Sample("index_select", lambda: [torch.randn(5, 3), 0, _index(4, 0, 4)], id="rows", grad2=True),
    Sample("index_select", lambda: [torch.randn(2, 5, 3), 1, _index(1, 3)], id="middle"),
    Sample("index_select", lambda: [torch.randn(5), 0, _index(1, 1, dtype=torch.int32)], id="int32 index"),
    Sample("index_select", lambda: [torch.arange(5, dtype=torch.uint8), 0, _index(1, 3)], id="uint8"),
    Sample("index_select", lambda: [torch.randn(5, 3), 0, torch.zeros(0, dtype=torch.int64)], id="nothing"),
    Sample(
        "index_add", lambda: [torch.randn(5, 3), 0, _index(4, 0, 4), torch.randn(3, 3)], id="rows", grad2=True
    ),
    Sample("index_add", lambda: [torch.randn(2, 5, 3), 1, _index(1, 3), torch.randn(2, 2, 3)], id="middle"),
    Sample("index_add", lambda: [torch.arange(5), 0, _index(1, 1), torch.tensor([7, 8])], id="int"),
    Sample(
        "index_add",
        lambda: [torch.randn(5).half(), 0, _index(1, 1), torch.randn(2).half()],
        id="half",
        grad=(),
    ),
    Sample("index_copy", lambda: [torch.randn(5, 3), 0, _index(4, 0), torch.randn(2, 3)], id="rows"),
    Sample("index_copy", lambda: [torch.randn(2, 5, 3), 2, _index(1, 2), torch.randn(2, 5, 2)], id="last"),
    Sample("index_copy", lambda: [torch.rand(5) > 0.5, 0, _index(1, 2), torch.rand(2) > 0.5], id="bool"),
    Sample("index_fill", lambda: [torch.randn(5, 3), 0, _index(4, 0), 2.5], id="rows"),
    Sample("index_fill", lambda: [torch.arange(6).reshape(2, 3), 1, _index(0), -1], id="int column"),
    _index_op(lambda: [torch.randn(5, 3), [_index(4, 0, -1)], [0]], id="rows"),
    _index_op(lambda: [torch.randn(5, 3), [torch.tensor(2)], [1]], id="rank 0 index"),
    _index_op(
        lambda: [torch.randn(5, 3, 4), [torch.tensor(_TWO), torch.tensor(_TWO)], [0, 1]], id="neighbours"
    ),
    _index_op(
        lambda: [torch.randn(2, 5, 3, 4), [torch.tensor(_TWO), torch.tensor(_TWO)], [1, 2]], id="inner"
    ),
    _index_op(lambda: [torch.randn(5, 3, 4), [torch.tensor(_TWO), torch.tensor(_TWO)], [0, 2]], id="apart"),
    _index_put(lambda: [torch.randn(5, 3), [_index(4, 0)], torch.randn(2, 3), [0], False], id="rows"),
    _index_put(
        lambda: [torch.randn(5, 3), [_index(4, 4)], torch.randn(2, 3), [0], True], id="accumulate", grad2=True
    ),
    _index_put(
        lambda: [torch.randn(2, 5, 3, 4), [_index(1, 1), _index(0, 2)], torch.randn(2, 2, 4), [1, 2], False],
        id="inner",
    ),
    _index_put(
        lambda: [torch.randn(5, 2, 3), [_index(1, -1, 1), _index(0, 2, 0)], torch.randn(3, 2), [0, 2], True],
        id="apart, accumulate",
    ),
    _index_put(lambda: [torch.randn(5), [torch.tensor(2)], torch.tensor(7.0), [0], False], id="one element"),
    Sample("take", lambda: [torch.randn(3, 4), torch.tensor([[0, 11], [5, -1]])]),
    Sample(
        "gather",
        lambda: [torch.randn(3, 4), 1, torch.tensor([[0, 3, 3], [1, 1, 2]])],
        id="columns",
        grad2=True,
    ),
    Sample("gather", lambda: [torch.randn(3, 4), 0, torch.tensor([[0, 2, 1, 1]])], id="rows"),
    Sample("gather", lambda: [torch.randn(()), 0, torch.tensor(0)], id="rank 0"),
    Sample("gather", lambda: [torch.randn(4), 0, torch.tensor(2)], id="rank 0 index"),
    Sample("gather", lambda: [torch.randn(()), 0, _index(0, 0)], id="of rank 0"),
    Sample("gather", lambda: [torch.rand(3, 4) > 0.5, 1, torch.tensor([[0, 3], [1, 1]])], id="bool"),
    Sample(
        "scatter",
        lambda: [torch.randn(3, 4), 1, torch.tensor([[0, 3], [2, 1]]), torch.randn(2, 2)],
        id="columns",
    ),
    Sample(
        "scatter",
        lambda: [torch.randn(3, 4, 2), 0, torch.tensor([[[1]], [[2]]]), torch.randn(2, 1, 1)],
        id="rank 3",
    ),
    Sample("scatter", lambda: [torch.randn(()), 0, torch.tensor(0), torch.randn(())], id="rank 0"),
    Sample("scatter", lambda: [torch.randn(4), 0, torch.tensor(2), torch.randn(())], id="rank 0 index"),
    Sample(
        "scatter_add",
        lambda: [torch.randn(()), 0, _index(0, 0), torch.randn(2)],
        id="into rank 0",
        grad2=True,
    ),
    Sample(
        "scatter_value", lambda: [torch.randn(3, 4), 1, torch.tensor([[0, 3], [2, 1]]), 2.5], id="columns"
    ),
    Sample(
        "scatter_value", lambda: [torch.zeros(3, 4).long(), 1, torch.tensor([[0], [3], [1]]), 1], id="one hot"
    ),
    Sample(
        "scatter_add",
        lambda: [torch.randn(3, 4), 0, torch.tensor([[0, 2], [0, 2]]), torch.randn(2, 2)],
        id="rows",
        grad2=True,
    ),
    Sample("scatter_add", lambda: [torch.randn(4), 0, _index(1, 1, 1), torch.randn(3)], id="repeated"),
    Sample("embedding", lambda: [torch.randn(5, 3), torch.tensor([[0, 4], [2, 2]]), -1, False], grad2=True),
    Sample("embedding", lambda: [torch.randn(5, 3), torch.tensor([0, 4, 2, 2]), 2, False], id="padding"),
    Sample("embedding", lambda: [torch.randn(5, 3), torch.tensor([0, 4, 2, 2]), 4, True], id="by frequency"),
    Sample("embedding", lambda: [torch.randn(5, 3), torch.tensor(3), -1, False], id="one"),
    Sample(
        "embedding_dense_backward",
        lambda: [torch.randn(4, 3), torch.tensor([0, 4, 2, 2]), 5, 4, False],
        id="padding",
    ),
    *(
        Sample(
            "embedding_bag",
            lambda mode=mode, padding=padding: [
                torch.randn(5, 3),
                torch.tensor([[0, 4, 2], [2, 2, 2]]),
                None,
                None,
                mode,
                False,
                padding,
            ],
            eager=_embedding_bag,
            id=f"mode {mode}, padding {padding}",
        )
        for mode in (0, 1, 2)
        for padding in (-1, 2)
    ),
    Sample(
        "embedding_bag",
        lambda: [torch.randn(5, 3), torch.tensor([[0, 4], [2, 2]]), None, torch.randn(2, 2), 0, False, -1],
        eager=_embedding_bag,
        id="weighted",
    ),
    *(
        Sample(
            "embedding_bag",
            lambda mode=mode, last=last: [
                torch.randn(5, 3),
                torch.tensor([0, 4, 2, 2, 1]),
                torch.tensor([0, 2, 2, 5 if last else 4]),
                torch.randn(5) if mode == 0 else None,
                mode,
                last,
                -1 if last else 4,
            ],
            eager=_embedding_bag,
            id=f"offsets, mode {mode}{', with the last' if last else ''}",
        )
        for mode in (0, 1)
        for last in (False, True)
    ),
    Sample("sort", lambda: [torch.randn(3, 8), 1, False], id="ascending"),
    Sample("sort", lambda: [torch.randn(6, 3), 0, True], id="descending rows"),
    Sample("sort", lambda: [torch.tensor([2, 1, 2, 1, 0]), 0, False], id="equal values"),
    Sample("sort", lambda: [torch.tensor([2, 1, 2, 1, 0]), 0, True], id="equal values, descending"),
    Sample(
        "sort", lambda: [torch.tensor([1.0, float("nan"), 0.0, float("inf")]), 0, False], id="NaN", grad=()
    ),
    Sample("sort", lambda: [torch.tensor([1.0, float("nan"), 0.0]), 0, True], id="NaN, descending", grad=()),
    Sample("sort", lambda: [torch.randn(()), 0, False], id="rank 0"),
    Sample("topk", lambda: [torch.randn(3, 8), 3, 1, True, True], id="largest"),
    Sample("topk", lambda: [torch.randn(8, 3), 2, 0, False, True], id="smallest rows"),
    Sample(
        "bucketize",
        lambda: [torch.tensor([[1.0, 2.5], [3.0, 0.0]]), torch.tensor([1.0, 2.0, 3.0]), False],
        id="left",
    ),
    Sample(
        "bucketize",
        lambda: [torch.tensor([1.0, float("nan")]), torch.tensor([1.0, 2.0, 3.0]), True],
        id="right",
    ),
]
