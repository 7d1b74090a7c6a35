# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""PyTorch's loop operators: what one iteration takes, and what the loop returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

Group = Sequence[Any]


@dataclass(frozen=True)
class Loop:
    """A loop operator: its arguments are as many graphs as it has `bodies`, then groups of tensors and sizes.

    `carries`: what its body returns first is the first group of the next iteration. `inputs`: the groups -> the
    arguments of its bodies in one iteration. `results`: the groups and what the last body returns in one iteration ->
    what the loop returns. Both on fake tensors, whose memory the results do not share.
    """

    bodies: int
    carries: bool
    inputs: Callable[..., list[Any]]
    results: Callable[..., list[Any]]


def _slices(tensors: Group) -> list[torch.Tensor]:
    return [x.select(0, 0) for x in tensors]


def _like(values: Group) -> list[Any]:
    return [
        torch.empty_strided(v.shape, v.stride(), dtype=v.dtype, device=v.device)
        if isinstance(v, torch.Tensor)
        else v
        for v in values
    ]


def _stacked(tensors: Group, outputs: Group) -> list[torch.Tensor]:
    length = tensors[0].shape[0]
    return [torch.empty((length, *o.shape), dtype=o.dtype, device=o.device) for o in outputs]


LOOPS: dict[Any, Loop] = {
    torch.ops.higher_order.while_loop: Loop(
        2,
        True,
        lambda carried, additional: [*map(_any_number, carried), *additional],
        lambda carried, additional, outputs: [*map(_any_number, _like(outputs))],
    ),
    torch.ops.higher_order.map_impl: Loop(
        1,
        False,
        lambda xs, additional: [*_slices(xs), *additional],
        lambda xs, additional, outputs: _stacked(xs, outputs),
    ),
    torch.ops.higher_order.scan: Loop(
        1,
        True,
        lambda init, xs, additional: [*init, *_slices(xs), *additional],
        lambda init, xs, additional, outputs: [
            *_like(outputs[: len(init)]),
            *_stacked(xs, outputs[len(init) :]),
        ],
    ),
    torch.ops.higher_order.associative_scan: Loop(
        1,
        True,
        lambda xs, additional: [*_slices(xs), *_slices(xs), *additional],
        lambda xs, additional, outputs: _stacked(xs, outputs),
    ),
}


def _any_number(value: Any) -> Any:
    """A carried number differs from one iteration to the next: in its place, a symbol."""
    if isinstance(value, torch.Tensor):
        return value
    mode = torch._guards.detect_fake_mode()
    assert mode is not None and mode.shape_env is not None
    with mode.shape_env.ignore_fresh_unbacked_symbols():
        return mode.shape_env.create_unbacked_symint()
