# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Samples of softmax and the normalizations by mean and variance."""

import math

import torch

from tests.dialects.sample import Sample


def _softmax(name, x, dim, **options):
    return Sample(name, lambda: [x(), dim], **options)


def _masked_rows():
    x = torch.randn(4, 5)
    x[1] = -math.inf
    x[2, :3] = -math.inf
    return x


def _statistics(x, dims, eps):
    """Mean and 1 / sqrt(variance + eps) over `dims`, differentiable (the fused ops' are not), and x standardized."""
    mean = x.mean(dims, keepdim=True)
    rstd = (x.var(dims, correction=0, keepdim=True) + eps).rsqrt()
    return mean, rstd, (x - mean) * rstd


def _affine(x, weight, bias, shape):
    x = x if weight is None else x * weight.view(shape)
    return x if bias is None else x + bias.view(shape)


def _any_requires_grad(*tensors):
    return any(isinstance(t, torch.Tensor) and t.requires_grad for t in tensors)


def _eager_layer_norm(x, normalized, weight, bias, eps):
    """The fused op; with gradients, the same with differentiable statistics."""
    if not _any_requires_grad(x, weight, bias):
        return torch.ops.aten.native_layer_norm(x, normalized, weight, bias, eps)
    mean, rstd, x_hat = _statistics(x, tuple(range(-len(normalized), 0)), eps)
    return _affine(x_hat, weight, bias, normalized), mean, rstd


def _batch_normalized(x, weight, bias, eps):
    mean, rstd, x_hat = _statistics(x, tuple(d for d in range(x.dim()) if d != 1), eps)
    out = _affine(x_hat, weight, bias, [-1 if d == 1 else 1 for d in range(x.dim())])
    return out, mean.flatten(), rstd.flatten()


def _eager_batch_norm(x, weight, bias, running_mean, running_var, momentum, eps):
    """The fused op; with gradients, the same with differentiable statistics of the batch."""
    arguments = (x, weight, bias, running_mean, running_var, True, momentum, eps)
    fused = torch.ops.aten._native_batch_norm_legit_functional(*arguments)
    if not _any_requires_grad(x, weight, bias):
        return fused
    return *_batch_normalized(x, weight, bias, eps), *(f.detach() for f in fused[3:])


def _eager_batch_norm_no_stats(x, weight, bias, momentum, eps):
    """The fused op; with gradients, the same with differentiable statistics."""
    if not _any_requires_grad(x, weight, bias):
        return torch.ops.aten._native_batch_norm_legit.no_stats(x, weight, bias, True, momentum, eps)
    return _batch_normalized(x, weight, bias, eps)


def _eager_batch_norm_no_training(x, weight, bias, running_mean, running_var, momentum, eps):
    """The fused op; with gradients, the formula."""
    fused = torch.ops.aten._native_batch_norm_legit_no_training(
        x, weight, bias, running_mean, running_var, momentum, eps
    )
    if not _any_requires_grad(x, weight, bias):
        return fused
    shape = [-1 if d == 1 else 1 for d in range(x.dim())]
    x_hat = (x - running_mean.view(shape)) * (running_var.view(shape) + eps).rsqrt()
    return _affine(x_hat, weight, bias, shape), *(f.detach() for f in fused[1:])


_EAGER_BATCH_NORM = {
    "native_batch_norm": _eager_batch_norm,
    "native_batch_norm_no_stats": _eager_batch_norm_no_stats,
    "native_batch_norm_no_training": _eager_batch_norm_no_training,
}


def _layer_norm(shape, normalized, weight=True, bias=True, dtype=torch.float32, parameters=None, **options):
    parameters = parameters or dtype

    def arguments():
        # Away from zero mean and unit variance, so that forgetting one shows.
        x = (3 * torch.randn(shape) + 2).to(dtype)
        w = torch.randn(normalized).to(parameters) if weight else None
        return [x, list(normalized), w, torch.randn(normalized).to(parameters) if bias else None, 1e-5]

    return Sample("native_layer_norm", arguments, eager=_eager_layer_norm, **options)


def _group_norm(shape, group, affine=True, dtype=torch.float32, parameters=None, **options):
    parameters = parameters or dtype

    def arguments():
        n, c, *positions = shape
        x = (3 * torch.randn(shape) + 2).to(dtype)
        w, bias = (torch.randn(c).to(parameters) if affine else None for _ in range(2))
        return [x, w, bias, n, c, math.prod(positions), group, 1e-5]

    return Sample("native_group_norm", arguments, **options)


def _batch_norm(name, shape, affine=True, dtype=torch.float32, parameters=None, **options):
    parameters = parameters or dtype
    channels = shape[1]

    def arguments():
        x = (3 * torch.randn(shape) + 2).to(dtype)
        w, bias = (torch.randn(channels).to(parameters) if affine else None for _ in range(2))
        running = [torch.randn(channels).to(parameters), (torch.rand(channels) + 0.5).to(parameters)]
        return [x, w, bias, *([] if name.endswith("no_stats") else running), 0.1, 1e-5]

    grad = (0, 1, 2) if affine else (0,)
    return Sample(name, arguments, eager=_EAGER_BATCH_NORM[name], grad=grad, **options)


def _batch_norms(name):
    return [
        _batch_norm(name, (4, 3, 2, 5), grad2=True),
        _batch_norm(name, (4, 3), affine=False, id="plain vectors"),
        _batch_norm(name, (4, 3, 5), dtype=torch.bfloat16, id="bfloat16", tolerance=2e-2),
        _batch_norm(
            name,
            (4, 3, 5),
            dtype=torch.float16,
            parameters=torch.float32,
            id="float16 and float32",
            tolerance=2e-3,
        ),
    ]


SAMPLES = [
    *(
        sample
        for name in ("softmax", "log_softmax", "safe_softmax")
        for sample in (
            _softmax(name, lambda: torch.randn(4, 5), 1, grad2=True),
            _softmax(name, lambda: torch.randn(2, 3, 4), -2, id="middle dim"),
            _softmax(name, lambda: torch.randn(()), 0, id="rank 0", grad2=True),
            _softmax(name, lambda: torch.randn(0, 5), 1, id="no rows"),
            _softmax(name, _masked_rows, 1, id="masked", grad=()),
            _softmax(name, lambda: 100 * torch.randn(4, 5), 0, id="large"),
            _softmax(name, lambda: torch.randn(4, 50).half(), 1, id="float16"),
            _softmax(name, lambda: torch.randn(4, 50).bfloat16(), 1, id="bfloat16"),
        )
    ),
    _layer_norm((4, 6), (6,), grad2=True),
    _layer_norm((2, 3, 4, 5), (4, 5), id="two dims"),
    _layer_norm((5,), (5,), id="one row"),
    _layer_norm((4, 6), (6,), weight=False, bias=False, id="not affine", grad2=True),
    _layer_norm((4, 6), (6,), bias=False, id="no bias"),
    _layer_norm((4, 6), (6,), weight=False, id="no weight"),
    _layer_norm((0, 6), (6,), id="no rows"),
    _layer_norm((4, 50), (50,), dtype=torch.bfloat16, id="bfloat16"),
    _layer_norm((4, 50), (50,), dtype=torch.float16, parameters=torch.float32, id="float16 and float32"),
    _group_norm((2, 6, 3, 4), 3, grad2=True),
    _group_norm((2, 6, 5), 1, id="one group"),
    _group_norm((2, 6), 2, id="no positions", grad2=True),
    _group_norm((2, 6, 3, 4), 6, affine=False, id="instances"),
    _group_norm((2, 6, 3, 4), 2, dtype=torch.bfloat16, id="bfloat16"),
    _group_norm((2, 6, 3, 4), 2, dtype=torch.float16, parameters=torch.float32, id="float16 and float32"),
    *_batch_norms("native_batch_norm"),
    *_batch_norms("native_batch_norm_no_stats"),
    *_batch_norms("native_batch_norm_no_training"),
]
