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


def _layer_norm(shape, normalized, weight=True, bias=True, dtype=torch.float32, parameters=None, **options):
    parameters = parameters or dtype

    def arguments():
        # Away from zero mean and unit variance, so that forgetting one shows.
        x = (3 * torch.randn(shape) + 2).to(dtype)
        w = torch.randn(normalized).to(parameters) if weight else None
        return [x, list(normalized), w, torch.randn(normalized).to(parameters) if bias else None, 1e-5]

    return Sample("native_layer_norm", arguments, **options)


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

    return Sample(name, arguments, grad=(0, 1, 2) if affine else (0,), **options)


def _batch_norms(name):
    return [
        _batch_norm(name, (4, 3, 2, 5), grad2=True),
        _batch_norm(name, (4, 3), affine=False, id="plain vectors"),
        _batch_norm(name, (4, 3, 5), dtype=torch.bfloat16, id="bfloat16", tolerance=2e-2),
        _batch_norm(name, (4, 3, 5), dtype=torch.float16, parameters=torch.float32, id="float16 and float32", tolerance=2e-3),
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
