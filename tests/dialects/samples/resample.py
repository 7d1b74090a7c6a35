# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Samples of adaptive pooling and upsampling."""

import torch

from tests.dialects.sample import Sample


def _with_infinities(*shape):
    """What is not finite is to reach those results only that are made of it."""
    x = torch.randn(shape)
    x[..., 1, 2], x[..., 3, 0], x[..., -1, -1] = torch.inf, torch.nan, -torch.inf
    return x


def _upsample(op, shape, *arguments, dtype=torch.float32, dynamic=False, **options):
    return Sample(op, lambda: [torch.randn(shape).to(dtype), *arguments], dynamic=dynamic, **options)


SAMPLES = [
    Sample("adaptive_avg_pool2d", lambda: [torch.randn(2, 3, 8, 6), [4, 2]], dynamic=False, id="even"),
    Sample("adaptive_avg_pool2d", lambda: [torch.randn(2, 3, 7, 5), [3, 4]], id="uneven"),
    Sample("adaptive_avg_pool2d", lambda: [torch.randn(3, 2, 5), [3, 1]], dynamic=False, id="unbatched"),
    Sample("adaptive_avg_pool3d", lambda: [torch.randn(2, 3, 4, 5, 6), [2, 3, 3]], dynamic=False),
    Sample("adaptive_avg_pool2d", lambda: [torch.randn(2, 3, 6, 5), [1, 1]], id="global"),
    Sample("adaptive_avg_pool2d", lambda: [_with_infinities(1, 2, 7, 5), [3, 4]], grad=(), id="infinite"),
    Sample("adaptive_max_pool2d", lambda: [torch.randn(2, 3, 8, 6), [4, 3]], dynamic=False),
    _upsample("upsample_nearest2d", (2, 3, 4, 5), [8, 10], 2.0, 2.0, id="doubled"),
    _upsample("upsample_nearest2d", (2, 3, 4, 5), [12, 5], 3.0, 1.0, id="tripled"),
    _upsample("upsample_nearest2d", (2, 3, 4, 7), [9, 3], None, None, dynamic=True, id="sizes"),
    _upsample("upsample_nearest2d", (1, 2, 4, 6), [6, 10], 1.6, 1.7, id="scales"),
    _upsample("upsample_nearest2d", (2, 3, 4, 5), [8, 20], 2.0, 4.0, dynamic=True, id="dynamic"),
    _upsample("upsample_bilinear2d", (2, 3, 4, 5), [8, 10], False, 2.0, 2.0, id="doubled"),
    _upsample("upsample_bilinear2d", (2, 3, 4, 5), [9, 3], False, None, None, dynamic=True, id="sizes"),
    _upsample("upsample_bilinear2d", (1, 2, 4, 6), [6, 10], False, 1.6, 1.7, dynamic=True, id="scales"),
    _upsample("upsample_bilinear2d", (2, 3, 4, 5), [9, 1], True, None, None, dynamic=True, id="corners"),
    _upsample(
        "upsample_bilinear2d",
        (1, 1, 4, 5),
        [8, 10],
        False,
        2.0,
        2.0,
        dtype=torch.float16,
        grad=(),
        id="float16",
    ),
    *(
        Sample(
            "upsample_bilinear2d",
            lambda size=size, corners=corners: [_with_infinities(1, 2, 4, 5), size, corners, None, None],
            grad=(),
            id=f"infinite, {name}",
        )
        for name, size, corners in (
            ("doubled", [8, 10], False),
            ("corners", [7, 9], True),
            ("smaller", [2, 3], False),
        )
    ),
]
