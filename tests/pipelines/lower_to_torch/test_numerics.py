# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Programs that IREE computes wrongly in their plain form."""

from collections.abc import Callable

import pytest
import torch

import flambeau
from tests.oracle import close

ERROR = {"fallback": "error"}


def ones(x: torch.Tensor) -> torch.Tensor:
    return torch.ones(x.shape, dtype=torch.float32)


REDUCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sum": lambda x: ones(x).sum(),
    "sum of int64": lambda x: torch.ones(x.shape, dtype=torch.int64).sum(),
    "of rows": lambda x: ones(x).sum(1),
    "mean": lambda x: ones(x).mean(),
    "prod": lambda x: (ones(x) * 2).prod(1),
    "var": lambda x: ones(x).var(),
    "count": lambda x: (ones(x).exp() > 2).sum(),
    "mv": lambda x: ones(x) @ ones(x)[0],
}


@pytest.mark.parametrize("dynamic", [False, True])
def test_reductions_of_constants(dynamic: bool) -> None:
    def all_of_them(x: torch.Tensor) -> list[torch.Tensor]:
        return [reduce(x) for reduce in REDUCTIONS.values()]

    compiled = flambeau.compile(all_of_them, dynamic=dynamic, fullgraph=True, options=ERROR)
    for shape in ((5, 7), (3, 9)):
        x = torch.zeros(shape)
        for name, found, wanted in zip(REDUCTIONS, compiled(x), all_of_them(x), strict=True):
            close(found, wanted, name)


def test_convolution_of_constants() -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv1d(torch.ones(1, 1, 7), torch.ones(1, 1, 3)) + x

    compiled = flambeau.compile(f, fullgraph=True, options=ERROR)
    close(compiled(torch.zeros(())), f(torch.zeros(())), "conv1d")


def test_tangent_near_its_poles() -> None:
    x = torch.cat([torch.arange(-50, 50) * (torch.pi / 2), torch.linspace(-8000, 8000, 9001)])
    found = flambeau.compile(torch.tan, fullgraph=True, options=ERROR)(x)
    exact = x.double().tan()
    relative = ((found.double() - exact) / exact).nan_to_num().abs().max()
    assert relative < 1e-6


def test_the_sign_of_the_tangent_of_zero() -> None:
    x = torch.tensor([0.0, -0.0, torch.inf, torch.nan])
    found = flambeau.compile(torch.tan, fullgraph=True, options=ERROR)(x)
    assert found.signbit().tolist()[:2] == [False, True]
    assert found.isnan().tolist() == [False, False, True, True]


def test_nan_is_not_equal_to_itself() -> None:
    def f(x: torch.Tensor) -> list[torch.Tensor]:
        return [x == x, x != x, x <= x, torch.where(x == x, x, 0.0)]

    x = torch.tensor([1.0, torch.nan, torch.inf])
    for found, wanted in zip(flambeau.compile(f, fullgraph=True, options=ERROR)(x), f(x), strict=True):
        close(found, wanted, "comparison")


def test_float64_functions_are_compiled() -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        waves = x.sin() + x.cos() * x.tan() + torch.atan2(x, x.cos()) + x.atan() + (x / 9).asin()
        return (waves + x.erf() + x.erfc() + x.abs().lgamma() + torch.fmod(x, 0.7)).tanh()

    x = torch.linspace(-7, 7, 101, dtype=torch.float64, requires_grad=True)
    compiled = flambeau.compile(f, fullgraph=True, options=ERROR)
    close(compiled(x), f(x), "result")
    close(*(torch.autograd.grad(g(x).sum(), x)[0] for g in (compiled, f)), "gradient")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype: torch.dtype) -> None:
    def f(x: torch.Tensor) -> list[torch.Tensor]:
        return [
            x.exp2(),
            torch.nn.functional.silu(x),
            x.tanh(),
            torch.nn.functional.gelu(x),
            x.abs().pow(1.3),
        ]

    def run(function: Callable[[torch.Tensor], list[torch.Tensor]]) -> list[torch.Tensor]:
        x = torch.linspace(-3, 3, 999, dtype=dtype).requires_grad_()
        values = function(x)
        return [*values, *torch.autograd.grad(torch.stack([v.float().sum() for v in values]).sum(), [x])]

    torch._dynamo.reset()
    for found, wanted in zip(run(flambeau.compile(f, fullgraph=True, options=ERROR)), run(f), strict=True):
        close(found, wanted, str(dtype), ulps=1)
