# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Programs in which a value is read otherwise than it is computed: they were wrong while IREE chose what it joins."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

import flambeau
from tests.models.checks import skip_without_device

Function = Callable[..., torch.Tensor]


def row_sums_along_both_axes(q: torch.Tensor) -> torch.Tensor:
    s = q.sum(1)
    return s[None] + s[:, None]


def column_sums_along_both_axes(q: torch.Tensor) -> torch.Tensor:
    s = q.sum(0)
    return s[None] * s[:, None]


def products_of_variances(q: torch.Tensor) -> torch.Tensor:
    t = q.var(1, unbiased=True).unsqueeze(1)
    return (t @ t.transpose(-1, -2))[..., 0]


def means_in_two_shapes(q: torch.Tensor) -> torch.Tensor:
    m = q.mean(1, keepdim=True)
    s = m.sigmoid()
    d = F.elu(m.reshape(-1))
    return torch.where(d.square() > 0.1, d.square(), torch.maximum(s, d))


def pairwise_distances(q: torch.Tensor) -> torch.Tensor:
    s = q.square().sum(1)
    return (s[:, None] + s[None] - 2 * q @ q.t()).relu()


def normalized_adjacency(q: torch.Tensor) -> torch.Tensor:
    a = q.sigmoid()
    d = a.sum(1).rsqrt()
    return d[:, None] * a * d[None]


def contrastive_loss(q: torch.Tensor) -> torch.Tensor:
    """CLIP's: cross entropy of similarities along rows and along columns."""
    rows = F.normalize(q, dim=1)
    logits = 5 * rows @ rows.flip(0).t()
    labels = torch.arange(len(q))
    return F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels)


def squares_of_reductions(q: torch.Tensor) -> torch.Tensor:
    m = q.amax(1, keepdim=True)
    return (q - m).exp().sum(1).square()[:, None] * m.square().t()


def softmax_of_a_transpose(q: torch.Tensor) -> torch.Tensor:
    s = q.softmax(1)
    return s + s.t().softmax(1)


def sum_of_ones(q: torch.Tensor) -> torch.Tensor:
    return q.square() * torch.ones(q.shape).sum()


def masked_mean(q: torch.Tensor) -> torch.Tensor:
    return q.sum() / torch.ones_like(q).sum()


def sums_of_repeated_rows(q: torch.Tensor) -> torch.Tensor:
    repeated = q[:1].expand(7, -1)
    return repeated.exp().sum(0) + repeated.mean(0) + repeated.amax(0)


PROGRAMS = [
    row_sums_along_both_axes,
    column_sums_along_both_axes,
    products_of_variances,
    means_in_two_shapes,
    pairwise_distances,
    normalized_adjacency,
    contrastive_loss,
    squares_of_reductions,
    softmax_of_a_transpose,
    sum_of_ones,
    masked_mean,
    sums_of_repeated_rows,
]


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("backend", ["cpu", "vulkan"])
@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_programs_like_eager(function: Function, backend: str, dynamic: bool) -> None:
    """Values and gradients; the second size is compiled anew, or not at all."""
    skip_without_device(backend)
    torch.compiler.reset()
    compiled = flambeau.compile(function, backend=backend, dynamic=dynamic, options={"fallback": "error"})
    for size in (6, 9):
        torch.manual_seed(size)
        ours = torch.randn(size, size, requires_grad=True)
        eagers = ours.detach().clone().requires_grad_()
        found, expected = compiled(ours), function(eagers)
        cotangent = torch.randn_like(expected)
        found.backward(cotangent)
        expected.backward(cotangent)
        torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-5)
        torch.testing.assert_close(ours.grad, eagers.grad, rtol=2e-5, atol=2e-5)
