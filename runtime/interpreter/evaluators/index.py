# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Evaluators of advanced indexing, whose index tensors ATen takes as a list with gaps."""

from types import SimpleNamespace

import torch

from flambeau.runtime.interpreter.table import evaluates


def _with_gaps(a: SimpleNamespace) -> list[torch.Tensor | None]:
    """ATen's list of indices: one entry per dim of x, None where the dim is kept."""
    given = dict(zip(a.dims, a.indices, strict=True))
    return [given.get(dim) for dim in range(a.x.dim())]


@evaluates("flambeau.index")
def _index(a: SimpleNamespace) -> torch.Tensor:
    return torch.ops.aten.index.Tensor(a.x, _with_gaps(a))  # type: ignore[no-any-return]


@evaluates("flambeau.index_put")
def _index_put(a: SimpleNamespace) -> torch.Tensor:
    return torch.ops.aten.index_put.default(a.x, _with_gaps(a), a.values, a.accumulate)  # type: ignore[no-any-return]


@evaluates("flambeau.embedding_bag")
def _embedding_bag(a: SimpleNamespace) -> torch.Tensor:
    return torch.nn.functional.embedding_bag(
        a.indices,
        a.weight,
        a.offsets,
        mode=("sum", "mean", "max")[a.mode],
        per_sample_weights=a.per_sample_weights,
        include_last_offset=a.include_last_offset,
        padding_idx=None if a.padding_idx < 0 else a.padding_idx,
    )
