# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Samples of views, scatters through views, and joins."""

import torch

from tests.dialects.sample import Sample


def _floats(*shape):
    return lambda: torch.randn(shape)


def _integers(*shape, dtype=torch.int64):
    return lambda: torch.randint(0, 100, shape).to(dtype)


def _bools(*shape):
    return lambda: torch.rand(shape) > 0.5


def _op(name, tensor, *rest, **options):
    options.setdefault("dynamic", tensor().is_floating_point())  # one element type is enough for `?`
    return Sample(name, lambda: [tensor(), *(r() if callable(r) else r for r in rest)], **options)


def _cat(x, y, dim, **options):
    return _op("cat", x, y, dim, eager=lambda x, y, dim: torch.cat([x, y], dim), **options)


def _strided(x, size, stride, storage_offset):
    return x.as_strided(size, stride, storage_offset)


def _strided_scatter(x, src, size, stride, storage_offset):
    # By writing through the view: the derivative of torch.as_strided_scatter keeps the wrong part.
    x = x.clone()
    x.as_strided(size, stride, storage_offset).copy_(src)
    return x


SAMPLES = [
    _op("expand", _floats(3), [2, 3], id="leading dim"),
    _op("expand", _floats(3, 1), [2, 3, 4], id="unit dim", dynamic=False),
    _op("expand", _floats(), [2, 3], id="rank 0"),
    _op("expand", _floats(), [], id="rank 0 to rank 0"),
    _op("expand", _floats(1), [0], id="no elements", dynamic=False),
    _op("expand", _bools(1, 3), [2, 3], id="bool", dynamic=False),
    _op("expand", _integers(3, dtype=torch.uint8), [2, 3], id="uint8"),
    _op("view", _floats(4, 6), [2, 2, 3, 2], id="split"),
    _op("view", _floats(4, 2, 3), [4, 6], id="join"),
    _op("view", _floats(4, 6), [3, 8], id="mixed"),
    _op("view", _floats(4, 6), [24], id="flat"),
    _op("view", _floats(2, 1, 3), [1, 2, 3, 1], id="units"),
    _op("view", _floats(1, 1), [], id="to rank 0"),
    _op("view", _floats(), [1, 1], id="from rank 0"),
    _op("view", _floats(0, 3), [5, 0], id="no elements"),
    _op("view", _integers(4, 6, dtype=torch.uint8), [2, 12], id="uint8"),
    _op("view", _bools(4, 6), [2, 12], id="bool"),
    _op("view", lambda: torch.randn(4, 6).half(), [2, 12], id="half"),
    _op("unsqueeze", _floats(2, 3), 0, id="first"),
    _op("unsqueeze", _floats(2, 3), 1, id="middle"),
    _op("unsqueeze", _floats(2, 3), 2, id="last"),
    _op("unsqueeze", _floats(), 0, id="rank 0"),
    _op("squeeze", _floats(1, 3, 1), [0, 2], id="both"),
    _op("squeeze", _floats(2, 1, 3), [1], id="middle"),
    _op("squeeze", _floats(1, 1), [0, 1], id="to rank 0"),
    _op("squeeze", _floats(2, 3), [], id="none"),
    _op("permute", _floats(2, 3, 4), [2, 0, 1], id="rotate"),
    _op("permute", _floats(), [], id="rank 0"),
    _op("permute", _floats(0, 3), [1, 0], id="no elements"),
    _op("permute", _integers(2, 3, dtype=torch.uint8), [1, 0], id="uint8"),
    _op("transpose", _floats(2, 3, 4), 0, 2),
    _op("transpose", _floats(2, 3, 4), 1, 1, id="same dim"),
    _op("transpose", _floats(), 0, 0, id="rank 0"),
    _op("t", _floats(2, 3)),
    _op("t", _floats(2), id="vector"),
    _op("t", _floats(), id="rank 0"),
    _op("slice", _floats(5, 3), 0, 1, 4, 1, id="rows"),
    _op("slice", _floats(5, 7), 1, 1, 6, 2, id="step"),
    _op("slice", _floats(5, 7), 1, 0, 7, 3, id="step to the end"),
    _op("slice", _floats(5, 7), 1, 3, 3, 1, id="nothing"),
    _op("slice", _bools(5, 3), 0, 1, 4, 1, id="bool"),
    _op("slice", _integers(5, 3, dtype=torch.uint8), 0, 1, 4, 1, id="uint8"),
    _op("slice_scatter", _floats(5, 3), _floats(3, 3), 0, 1, 4, 1, id="rows"),
    _op("slice_scatter", _floats(5, 7), _floats(5, 3), 1, 1, 6, 2, id="step"),
    _op("slice_scatter", _floats(5, 7), _floats(5, 0), 1, 3, 3, 1, id="nothing"),
    _op("slice_scatter", _floats(5, 7), _floats(5, 7), 1, 0, 7, 1, id="everything"),
    _op("slice_scatter", _bools(5, 3), _bools(3, 3), 0, 1, 4, 1, id="bool"),
    _op(
        "slice_scatter",
        _integers(5, 3, dtype=torch.uint8),
        _integers(3, 3, dtype=torch.uint8),
        0,
        1,
        4,
        1,
        id="uint8",
    ),
    _op("select", _floats(5, 3), 0, 2, id="row"),
    _op("select", _floats(5, 3), 1, 0, id="column"),
    _op("select", _floats(5), 0, 4, id="element"),
    _op("select_scatter", _floats(5, 3), _floats(3), 0, 2, id="row"),
    _op("select_scatter", _floats(5, 3), _floats(5), 1, 0, id="column"),
    _op("select_scatter", _floats(5), _floats(), 0, 4, id="element"),
    _cat(_floats(2, 3), _floats(4, 3), 0, id="rows"),
    _cat(_floats(2, 3), _floats(2, 1), 1, id="columns"),
    _cat(_floats(2, 3), _floats(2, 0), 1, id="nothing"),
    _cat(_integers(3, dtype=torch.uint8), _integers(2, dtype=torch.uint8), 0, id="uint8"),
    _cat(_bools(3), _bools(2), 0, id="bool"),
    _op("diagonal", _floats(3, 4), 0, 0, 1, id="main"),
    _op("diagonal", _floats(3, 4), 2, 0, 1, id="above"),
    _op("diagonal", _floats(2, 3, 4), -1, 2, 0, id="below"),
    _op("diagonal", _floats(3, 4), 7, 0, 1, id="outside"),
    _op("diagonal_scatter", _floats(3, 4), _floats(3), 0, 0, 1, id="main"),
    _op("diagonal_scatter", _floats(3, 4), _floats(2), 2, 0, 1, id="above"),
    _op("diagonal_scatter", _floats(2, 3, 4), _floats(3, 2), -1, 2, 0, id="below"),
    _op("diagonal_scatter", _floats(3, 4), _floats(0), 7, 0, 1, id="outside"),
    _op("diag_embed", _floats(2, 3), 1, 0, 2, id="above"),
    _op("diag_embed", _floats(3), -1, 0, 1, id="below"),
    _op("as_strided", _floats(4, 6), [3, 2], [7, 2], 1, id="apart", eager=_strided, dynamic=False),
    _op("as_strided", _floats(12), [4, 3], [2, 1], 0, id="overlapping", eager=_strided, dynamic=False),
    _op("as_strided", _floats(3), [2, 3], [0, 1], 0, id="repeated", eager=_strided, dynamic=False),
    _op("as_strided", _floats(3), [], [], 2, id="to rank 0", eager=_strided, dynamic=False),
    _op(
        "as_strided_scatter",
        _floats(4, 6),
        _floats(3, 2),
        [3, 2],
        [7, 2],
        1,
        eager=_strided_scatter,
        dynamic=False,
    ),
    _op("unfold", _floats(9), 0, 3, 2, id="overlapping"),
    _op("unfold", _floats(2, 7, 3), 1, 3, 3, id="middle"),
    _op("unfold", _floats(2, 7), 1, 7, 1, id="one window"),
]
