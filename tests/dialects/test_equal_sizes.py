# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which sizes are traced to one origin, and which must not be although some numbers make them equal."""

from collections.abc import Callable, Hashable

import pytest

from flambeau.dialects import build as b
from flambeau.dialects import create_context
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.equal_sizes import SizeOrigins

Make = Callable[[ir.Value, ir.Value, ir.Value], ir.Value]
"""From x and y, of sizes [?, 4], and a 4x4 matrix."""


def rows(x: ir.Value) -> ir.Value:
    return b.as_index(b.size(x, 0))


def halved(size: ir.Value) -> ir.Value:
    return arith.floordivsi(size, b.index_constant(2))


def flat_and_back(x: ir.Value) -> ir.Value:
    flat = b.view(x, [b.multiply_sizes(b.sizes(x))])
    return b.view(flat, [arith.floordivsi(rows(flat), b.index_constant(4)), 4])


def ones(*sizes: int | ir.Value) -> ir.Value:
    return b.full(list(sizes), 1, ir.F32Type.get())


SAME: dict[str, Make] = {
    "a matmul and a pointwise op": lambda x, y, w: b.tanh(b.mm(x, w)),
    "a transposition and back": lambda x, y, w: b.transpose(b.transpose(x, 0, 1), 0, 1),
    "a view and back": lambda x, y, w: flat_and_back(x),
    "an expansion to its size": lambda x, y, w: ones(rows(x), 4),
    "slices joined along another dim": lambda x, y, w: b.cat([b.slice(x, 1, 1, 3, 1)] * 2, 1),
}

OTHER: dict[str, Make] = {
    "twice as long": lambda x, y, w: b.cat([x, x], 0),
    "both lengths": lambda x, y, w: b.cat([x, y], 0),
    "at most five": lambda x, y, w: b.slice(x, 0, 0, b.min_sizes(rows(x), 5), 1),
    "at least five": lambda x, y, w: ones(b.max_sizes(rows(x), 5), 4),
    "the next even number": lambda x, y, w: ones(b.multiply_sizes([halved(rows(x)), 2]), 4),
    "all but a half": lambda x, y, w: ones(b.add_sizes(rows(x), b.multiply_sizes([halved(rows(x)), -1]))),
    "the mean": lambda x, y, w: ones(halved(b.as_index(b.add_sizes(rows(x), rows(y)))), 4),
    "the smaller of two": lambda x, y, w: b.diagonal(ones(rows(x), rows(y)), 0, 0, 1),
}


def origins_of(make: Make) -> tuple[Hashable, Hashable, Hashable]:
    """Of the first sizes of x, y, and the result."""
    with create_context(), ir.Location.unknown():
        module = ir.Module.create()
        types = [ir.Type.parse(f"tensor<{shape}xf32>") for shape in ("?x4", "?x4", "4x4")]
        with ir.InsertionPoint(module.body):
            function = fn.create_function("f", types, [ir.Location.unknown()] * 3)
        x, y, w = fn.entry_block(function).arguments
        with ir.InsertionPoint(fn.entry_block(function)):
            result = make(x, y, w)
        origins = SizeOrigins()
        return origins.dim(x, 0), origins.dim(y, 0), origins.dim(result, 0)


@pytest.mark.parametrize("name", SAME)
def test_traced_to_the_argument(name: str) -> None:
    x, y, result = origins_of(SAME[name])
    assert x == result != y


@pytest.mark.parametrize("name", OTHER)
def test_not_an_arguments(name: str) -> None:
    x, y, result = origins_of(OTHER[name])
    assert result not in (x, y)
