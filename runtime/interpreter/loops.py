# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""PyTorch's control-flow operators with functions of the IR as bodies: what runs a loop on the host.

Each takes its bodies, then the operator's groups of tensors, as `torch.ops.higher_order` does, and returns the flat
results. A body takes and returns values; it never writes them. PyTorch's autograd sees through all of it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

Value = Any  # a tensor, or an int
Body = Callable[..., list[Value]]


def while_loop(
    condition: Body, body: Body, carried: Sequence[Value], additional: Sequence[Value]
) -> list[Value]:
    """Apply `body` to the carried values as long as `condition` is true; they themselves where it never is."""
    values = [v.clone() if isinstance(v, torch.Tensor) else v for v in carried]
    while condition(*values, *additional)[0]:
        values = body(*values, *additional)
    return values


def map_over(body: Body, tensors: Sequence[torch.Tensor], additional: Sequence[Value]) -> list[torch.Tensor]:
    """The results of `body` for each slice of the tensors along dim 0, stacked."""
    slices = zip(*(x.unbind(0) for x in tensors), strict=True)
    return _stacked([body(*each, *additional) for each in slices])


def scan(
    combine: Body,
    carried: Sequence[torch.Tensor],
    tensors: Sequence[torch.Tensor],
    additional: Sequence[Value],
) -> list[torch.Tensor]:
    """`combine` takes the carried values and a slice of each tensor to the next carried values and outputs.

    The last carried values, then the outputs, stacked.
    """
    values = list(carried)
    outputs = []
    for each in zip(*(x.unbind(0) for x in tensors), strict=True):
        results = combine(*values, *each, *additional)
        values = results[: len(values)]
        outputs.append(results[len(values) :])
    return [*values, *_stacked(outputs)]


def associative_scan(
    combine: Body, tensors: Sequence[torch.Tensor], additional: Sequence[Value]
) -> list[torch.Tensor]:
    """All partial results of combining the slices along dim 0, paired up as PyTorch does it."""
    return _stacked(
        _partial_results(combine, list(zip(*(x.unbind(0) for x in tensors), strict=True)), additional)
    )


def _partial_results(
    combine: Body, elements: Sequence[Sequence[Value]], additional: Sequence[Value]
) -> list[Sequence[Value]]:
    if len(elements) < 2:
        return list(elements)
    pairs = [combine(*a, *c, *additional) for a, c in zip(elements[:-1:2], elements[1::2], strict=True)]
    odd = _partial_results(combine, pairs, additional)
    even = [elements[0], *(combine(*a, *c, *additional) for a, c in zip(odd, elements[2::2], strict=False))]
    found: list[Sequence[Value]] = [()] * len(elements)
    found[::2], found[1::2] = even, odd
    return found


def _stacked(rows: Sequence[Sequence[torch.Tensor]]) -> list[torch.Tensor]:
    return [torch.stack(column) for column in zip(*rows, strict=True)]


LOOPS: dict[str, Callable[..., list[Value]]] = {
    "while_loop": while_loop,
    "map_impl": map_over,
    "scan": scan,
    "associative_scan": associative_scan,
}
"""By the operator's name in `torch.ops.higher_order`, as it stands in `flambeau.target`."""
