# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""An op of your own with its derivative: PyTorch runs it on the host, and what is around it is compiled.

`python examples/custom_op.py`. Nothing has to be said to Flambeau: the op is declared to PyTorch, as for any compiler.
"""

from typing import Any

import numpy
import torch

import flambeau


@torch.library.custom_op("flambeau_examples::clipped_sinc", mutates_args=())
def clipped_sinc(x: torch.Tensor, limit: float) -> torch.Tensor:
    """numpy's sinc, where |x| is below a limit; 0 elsewhere."""
    return torch.from_numpy(numpy.where(abs(x.numpy()) < limit, numpy.sinc(x.numpy()), 0)).to(x.dtype)


@clipped_sinc.register_fake
def _(x: torch.Tensor, limit: float) -> torch.Tensor:
    return torch.empty_like(x)


def _save(ctx: Any, inputs: tuple[torch.Tensor, float], output: torch.Tensor) -> None:
    ctx.save_for_backward(inputs[0])
    ctx.limit = inputs[1]


def _derivative(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
    (x,) = ctx.saved_tensors
    slope = torch.where(x == 0, 0.0, (torch.cos(torch.pi * x) - torch.sinc(x)) / x)
    return gradient * torch.where(x.abs() < ctx.limit, slope, 0.0), None


clipped_sinc.register_autograd(_derivative, setup_context=_save)


def main() -> None:
    """Values and gradients beside eager's, and what runs where."""
    linear = torch.nn.Linear(8, 8)

    def f(x: torch.Tensor) -> torch.Tensor:
        h = clipped_sinc(torch.sigmoid(linear(x)) * 3, 1.5)
        return torch.tanh(h * h + h).mean()

    x = torch.randn(4, 8)
    found = torch.autograd.grad(flambeau.compile(f)(x), list(linear.parameters()))
    expected = torch.autograd.grad(f(x), list(linear.parameters()))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    graph = flambeau.explain(f, dry_run=True)(x).graphs[0]
    print(f"compiled: {sum(op.forward + op.backward for op in graph.native)} ops")
    for op in graph.host:
        print(f"on the host: {op.name}, {op.count}x: {op.reason}")


if __name__ == "__main__":
    main()
