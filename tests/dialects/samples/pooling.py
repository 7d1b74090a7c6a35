# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Samples of pooling and its gradients."""

import numpy as np
import torch

from tests.dialects.sample import Sample

# id, x, kernel_size, stride, padding, dilation, ceil_mode
MAXIMUM = [
    ("tiles", (2, 3, 8, 6), [2, 2], [], [0, 0], [1, 1], False),
    ("tiles with a rest", (2, 3, 7, 8), [3, 3], [3], [0], [1], False),
    ("overlapping padded", (2, 3, 8, 7), [3, 3], [2, 2], [1, 1], [1, 1], False),
    ("dilated", (1, 2, 9, 8), [3, 2], [1, 2], [1, 0], [2, 3], False),
    ("ceil mode", (1, 2, 8, 7), [3, 2], [2, 2], [1, 1], [1, 1], True),
    ("unbatched", (3, 6, 6), [2, 3], [2, 1], [0, 1], [1, 1], False),
    ("3d", (1, 2, 4, 5, 6), [2, 2, 3], [2, 1, 3], [0, 1, 0], [1, 1, 1], False),
]
# id, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
AVERAGE = [
    ("tiles", (2, 3, 8, 6), [2, 2], [], [0, 0], False, True, None),
    ("tiles with a rest", (2, 3, 7, 8), [3, 3], [3], [0], False, False, None),
    ("overlapping padded", (2, 3, 8, 7), [3, 3], [2, 2], [1, 1], False, True, None),
    ("without padding in the count", (2, 3, 8, 7), [3, 3], [2, 1], [1, 1], False, False, None),
    ("ceil mode", (1, 2, 8, 7), [3, 2], [2, 2], [1, 1], True, True, None),
    ("ceil mode without padding in the count", (1, 2, 8, 7), [3, 2], [2, 2], [1, 0], True, False, None),
    ("divisor", (3, 6, 6), [2, 3], [2, 1], [0, 1], False, True, 5),
    ("3d", (1, 2, 4, 5, 6), [2, 2, 3], [2, 1, 3], [0, 1, 1], False, False, None),
]


# Tested with dynamic sizes too.
DYNAMIC = (
    "tiles with a rest",
    "overlapping padded",
    "ceil mode without padding in the count",
    "ceil mode",
    "3d",
)


def _spatial(values, x):
    return values * (len(x) - (1 if len(x) == 3 else 2)) if len(values) == 1 else values


def _renumbered(positions, kernel, number):
    """For each window `number(its place, its position)`, the windows being the last dims."""
    places = list(np.ndindex(*positions.shape[-len(kernel) :]))
    places *= positions.numel() // len(places)
    numbers = [number(place, int(p)) for place, p in zip(places, positions.flatten(), strict=True)]
    return torch.tensor(numbers).view(positions.shape)


def _offsets(indices, shape, kernel, stride, padding, dilation):
    """Each index's row-major place in its window."""

    def number(window, index):
        start = np.multiply(window, stride) - padding
        tap = (np.unravel_index(index, shape[-len(kernel) :]) - start) // dilation
        return int(np.ravel_multi_index(tap, kernel))

    return _renumbered(indices, kernel, number).to(torch.int8)


def _indices(offsets, shape, kernel, stride, padding, dilation):
    """The index of which `_offsets` makes each offset."""

    def number(window, offset):
        start = np.multiply(window, stride) - padding
        place = start + np.multiply(np.unravel_index(offset, kernel), dilation)
        return int(np.ravel_multi_index(place, shape[-len(kernel) :]))

    return _renumbered(offsets, kernel, number)


def _max_pool_backward(g, offsets, shape, *windows):
    indices = _indices(offsets, shape, *windows)
    outer = 1 if g.dim() == 3 else 2
    return (
        torch.zeros(shape, dtype=g.dtype)
        .flatten(outer)
        .scatter_add(outer, indices.flatten(outer), g.flatten(outer))
        .view(shape)
    )


def _avg_pool_backward(g, shape, *parameters):
    x = torch.zeros(shape, dtype=g.dtype)
    aten = torch.ops.aten
    return (aten.avg_pool3d_backward if len(parameters[0]) == 3 else aten.avg_pool2d_backward)(
        g, x, *parameters
    )


def _samples():
    for name, x, *parameters in MAXIMUM:
        op = "max_pool3d_with_indices" if name == "3d" else "max_pool2d_with_indices"
        yield Sample(
            op, lambda x=x, p=parameters: [torch.randn(x), *p], grad2=True, dynamic=name in DYNAMIC, id=name
        )

        def positions(op=op, x=x, p=parameters):
            values, indices = getattr(torch.ops.aten, op)(torch.randn(x), *p)
            kernel, stride, padding, dilation, _ = p
            windows = [_spatial(v, x) for v in (kernel, stride or kernel, padding, dilation)]
            return values, indices, [list(x), *windows]

        def offsets_of(positions=positions):
            _, indices, windows = positions()
            return [indices, *windows]

        def indices_of(positions=positions):
            _, indices, windows = positions()
            return [_offsets(indices, *windows), *windows]

        def gradient(positions=positions):
            values, indices, windows = positions()
            return [torch.randn_like(values), _offsets(indices, *windows), *windows]

        for renumbering, arguments, eager in (
            ("max_pool_offsets", offsets_of, _offsets),
            ("max_pool_indices", indices_of, _indices),
        ):
            yield Sample(renumbering, arguments, eager=eager, dynamic=name in DYNAMIC, id=name)
        yield Sample(
            "max_pool_grad",
            gradient,
            eager=_max_pool_backward,
            grad=(0,),
            grad2=True,
            dynamic=name in DYNAMIC,
            id=name,
        )
    for name, x, *parameters in AVERAGE:
        op = "avg_pool3d" if name == "3d" else "avg_pool2d"
        yield Sample(
            op, lambda x=x, p=parameters: [torch.randn(x), *p], grad2=True, dynamic=name in DYNAMIC, id=name
        )

        def gradient(op=op, x=x, p=parameters):
            g = torch.randn_like(getattr(torch.ops.aten, op)(torch.randn(x), *p))
            kernel, stride, padding, *rest = p
            return [g, list(x), *(_spatial(v, x) for v in (kernel, stride or kernel, padding)), *rest]

        yield Sample(
            "avg_pool_grad", gradient, eager=_avg_pool_backward, grad2=True, dynamic=name in DYNAMIC, id=name
        )


def _special(kind):
    x = torch.randn(1, 2, 6, 6)
    if kind == "nan":
        x[0, 0, 1, 2] = x[0, 0, 1, 3] = x[0, 1, 5, 5] = torch.nan
    else:
        x[0, 0] = -torch.inf
        x[0, 1, :, 2:] = torch.inf
    return [x, [3, 3], [2, 2], [1, 1], [1, 1], False]


SAMPLES = [
    *_samples(),
    Sample("max_pool2d_with_indices", lambda: _special("nan"), grad=(), id="nan"),
    Sample("max_pool2d_with_indices", lambda: _special("infinite"), grad=(), id="infinite"),
    Sample("max_pool2d_with_indices", lambda: [torch.zeros(1, 1, 4, 4), [2, 2]], grad=(), id="ties"),
    Sample(
        "max_pool2d_with_indices", lambda: [torch.randn(1, 2, 4, 4).half(), [2, 2]], grad=(), id="float16"
    ),
    Sample("avg_pool2d", lambda: [torch.randn(1, 2, 4, 4).half(), [2, 2]], grad=(), id="float16"),
    Sample(
        "avg_pool2d",
        lambda: [torch.randn(1, 2, 4, 4).bfloat16(), [3, 3], [1, 1], [1, 1]],
        grad=(),
        id="bfloat16",
    ),
]
