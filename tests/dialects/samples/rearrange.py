# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Samples of flips, rolls, repetitions, pads, triangles and shuffles."""

import torch

from tests.dialects.sample import Sample


def _op(name, shape, *rest, dtype=torch.float32, **options):
    def arguments():
        x = torch.randn(shape) if dtype.is_floating_point else torch.randint(0, 100, shape)
        return [x.to(dtype), *rest]

    options.setdefault("dynamic", dtype.is_floating_point)  # one element type is enough for `?`
    return Sample(name, arguments, **options)


SAMPLES = [
    _op("flip", (3, 4), [0], id="rows", grad2=True),
    _op("flip", (3, 4), [0, 1], id="both"),
    _op("flip", (3, 4), [], id="none"),
    _op("flip", (3,), [0], dtype=torch.uint8, id="uint8"),
    _op("roll", (3, 4), [1], [0], id="rows"),
    _op("roll", (3, 4), [-5, 2], [1, 0], id="both, further than the size"),
    _op("roll", (3, 4), [2], [], id="flat"),
    _op("roll", (3, 4), [3], [0], id="all the way round"),
    _op("roll", (0, 4), [1], [0], id="no elements"),
    _op("repeat", (2, 3), [2, 2], id="both"),
    _op("repeat", (3,), [4, 1, 2], id="leading dims"),
    _op("repeat", (2, 3), [1, 0], id="nothing"),
    _op("repeat", (), [2], id="rank 0"),
    _op("repeat_interleave", (2, 3), 2, 0, id="rows"),
    _op("repeat_interleave", (2, 3), 3, 1, id="columns"),
    _op("constant_pad_nd", (2, 3), [1, 2], 0.5, id="columns"),
    _op("constant_pad_nd", (2, 3), [1, 0, 0, 2], 0, id="both"),
    _op("constant_pad_nd", (4, 5), [-1, 2, 1, -2], 1.5, id="crop"),
    _op("constant_pad_nd", (2, 3), [-1, -1], 0, id="crop only"),
    _op("constant_pad_nd", (2, 3), [1, 1], 7, dtype=torch.int64, id="int"),
    _op("constant_pad_nd", (2, 3), [1, 1], 1, dtype=torch.bool, id="bool"),
    _op("constant_pad_nd", (2, 3), [1, 1], float("-inf"), id="infinity"),
    _op("reflection_pad1d", (2, 5), [2, 3]),
    _op("reflection_pad2d", (2, 1, 4, 5), [2, 3, 0, 1]),
    _op("reflection_pad3d", (1, 1, 3, 4, 5), [2, 3, 0, 1, 2, 2]),
    _op("replication_pad1d", (2, 5), [2, 3]),
    _op("replication_pad2d", (2, 1, 4, 5), [2, 3, 0, 1]),
    _op("replication_pad3d", (1, 1, 3, 4, 5), [2, 3, 0, 1, 2, 2]),
    _op("tril", (3, 4), 0, id="square"),
    _op("tril", (2, 3, 4), -1, id="batch"),
    _op("tril", (3, 4), 1, dtype=torch.bool, id="bool"),
    _op("triu", (3, 4), 0, id="square"),
    _op("triu", (2, 3, 4), 2, id="batch"),
    _op("pixel_shuffle", (2, 8, 3, 2), 2),
    _op("pixel_unshuffle", (2, 2, 6, 4), 2),
    _op("channel_shuffle", (2, 6, 3, 2), 3),
]
