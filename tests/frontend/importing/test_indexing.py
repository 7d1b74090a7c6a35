# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Views, indexing and rearranging as users write them: outputs, gradients and writes through the interpreter rung."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import flambeau


def real(*shape: int) -> torch.Tensor:
    return torch.randn(shape, requires_grad=True)


def positions(high: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, high, shape)


def masked_write(x):
    y = x.clone()
    y[x > 0] = 0.5
    return y


def indexed_write(x, i, v):
    y = x * 2
    y[i] = v
    return y.sum(0) + y


def added_writes(x, i, v):
    y = x * 2
    y.index_add_(0, i, v)
    y.index_put_((i,), v, accumulate=True)
    return y


def orders(x):
    values, indices = x.sort(-1, descending=True)
    top, where = x.topk(2, dim=0)
    return values * indices, top * where, x.argsort(0)


def writes_through_views(x):
    y = x.clone()
    y[1:3, ::2].mul_(2)
    y.t()[0].add_(1)
    y.view(-1)[3:5] = 0
    y.diagonal().fill_(7)
    y[:, 1].unsqueeze(0).sub_(3)
    y.view(2, 2, 5).transpose(0, 1)[1].zero_()
    y.unfold(1, 2, 3)[1].add_(5)
    return y


def writes_an_input(x, buffer):
    buffer[1:].add_(x.detach()[1:])
    buffer[0] = 5
    return x * buffer


# Name -> function and what makes its arguments.
CASES: dict[str, tuple[Callable[..., Any], Callable[[], tuple[torch.Tensor, ...]]]] = {
    "gather": (lambda x, i: x.gather(-1, i), lambda: (real(4, 5), positions(5, 4, 2))),
    "pairs": (lambda x, i, j: x[i, j] * 2, lambda: (real(4, 5, 3), positions(4, 2, 3), positions(5, 3))),
    "columns": (lambda x, i: x[:, i], lambda: (real(4, 5, 3), positions(5, 2, 2))),
    "apart": (lambda x, i, j: x[i, :, j], lambda: (real(4, 5, 3), positions(4, 2), positions(3, 2))),
    "masked write": (masked_write, lambda: (real(4, 5),)),
    "indexed write": (indexed_write, lambda: (real(5, 5), torch.tensor([1, 3]), real(2, 5))),
    "added writes": (added_writes, lambda: (real(5, 5), positions(5, 3), real(3, 5))),
    "scatter": (
        lambda x, i, s: x.scatter(1, i, s) + x.scatter_add(-1, i, s) + x.scatter(1, i, 2.0),
        lambda: (real(4, 5), torch.tensor([[0, 1], [2, 3], [1, 4], [0, 2]]), real(4, 2)),
    ),
    # A tensor without dims counts as having one.
    "no dims": (
        lambda x, v, i: (
            x.index_select(-1, i[None]),
            x.gather(0, i[None]),
            v.gather(0, i),
            v.index_select(0, i),
            x.scatter(0, i[None], v[:1]),
            x.scatter_add(0, i, x * 2),
            v.scatter_add(0, i, x),
            x.index_add(0, i[None], x, alpha=3),
            x.index_copy(0, i[None], v[:1]),
            x.index_fill(0, i[None], 2.5),
            x.cumsum(-1) + x.cumprod(0) + x.softmax(0) + x.flip(0) + x.sort(-1)[0] + x.topk(1, -1)[0],
            torch.count_nonzero(x, 0),
        ),
        lambda: (real(), real(3), torch.tensor(0)),
    ),
    "orders": (orders, lambda: (real(4, 5),)),
    "embedding": (lambda w, i: F.embedding(i, w, padding_idx=1), lambda: (real(7, 3), positions(7, 4, 2))),
    "pads": (
        lambda x: (
            F.pad(x, (1, 2, -1, 0), value=2.0),
            F.pad(x, (1, 2), mode="reflect"),
            F.pad(x, (1, 2), mode="replicate"),
            F.pad(x, (1, 2), mode="circular"),
        ),
        lambda: (real(2, 3, 5),),
    ),
    "repetitions": (
        lambda x: (
            x.roll(1, -1),
            x.roll((1, 2), (0, 1)),
            x.flip(-1),
            x.repeat(2, 1, 1),
            x.repeat_interleave(2, -1),
            x.repeat_interleave(2),
            torch.tile(x, (2,)),
        ),
        lambda: (real(3, 4),),
    ),
    "triangles": (
        lambda x: (
            x.tril(),
            x.triu(1),
            torch.diagonal(x, 1, -2, -1),
            torch.diag_embed(x),
            x.unfold(-1, 2, 1),
        ),
        lambda: (real(3, 4),),
    ),
    "parts": (
        lambda x: (
            torch.stack([x, x], -1),
            x.movedim(0, -1),
            torch.cat([x, x, x], -1),
            x.unbind(1)[2],
            x.split([1, 3], -1)[1],
            x.chunk(3, 1)[0],
            x[..., None].squeeze(-1),
            x[1:, ::2],
            x[-1],
            x.T.reshape(-1),
            x.flatten(),
        ),
        lambda: (real(3, 4),),
    ),
    "pixels": (
        lambda x: (F.pixel_shuffle(x, 2), F.pixel_unshuffle(x, 2), F.channel_shuffle(x, 2)),
        lambda: (real(2, 4, 4, 6),),
    ),
    "creation": (
        lambda x: (
            x + torch.arange(4),
            x + torch.arange(0, 1, 0.25),
            x + torch.linspace(0, 1, 4),
            torch.eye(4) + x[0],
            torch.tril_indices(3, 3),
            F.one_hot(torch.tensor([0, 2]), 4) + x[0],
        ),
        lambda: (real(3, 4),),
    ),
    "writes through views": (writes_through_views, lambda: (real(4, 5),)),
    "writes an input": (writes_an_input, lambda: (real(4, 5), torch.randn(4, 5))),
    "search": (
        lambda x, s: (torch.bucketize(x, s), torch.searchsorted(s, x, right=True), x * 1),
        lambda: (real(4), torch.tensor([-1.0, 0.0, 1.0])),
    ),
    "takes": (
        lambda x, i: (
            x.take(i),
            torch.take_along_dim(x, i, 1),
            x.index_select(-1, i[0]),
            x.index_fill(0, i[0, :1], 3.0),
        ),
        lambda: (real(4, 5), positions(4, 4, 2)),
    ),
}


def tensors_in(value: Any) -> list[torch.Tensor]:
    return [value] if isinstance(value, torch.Tensor) else [t for part in value for t in tensors_in(part)]


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", CASES)
def test_equals_eager(name, dynamic):
    torch._dynamo.reset()
    torch.manual_seed(0)
    function, make = CASES[name]
    arguments = make()
    copies = [a.detach().clone().requires_grad_(a.requires_grad) for a in arguments]
    expected = tensors_in(function(*arguments))
    compiled = flambeau.compile(
        function, backend="partitioned", fullgraph=True, dynamic=dynamic, options={"fallback": "error"}
    )
    found = tensors_in(compiled(*copies))
    torch.testing.assert_close(found, expected)
    wanted = [e for e in expected if e.requires_grad]
    given = [f for f in found if f.requires_grad]
    tangents = [torch.randn_like(e) for e in wanted]
    gradients = torch.autograd.grad(wanted, [a for a in arguments if a.requires_grad], tangents)
    torch.testing.assert_close(
        torch.autograd.grad(given, [c for c in copies if c.requires_grad], tangents), gradients
    )
    torch.testing.assert_close(copies, list(arguments))
