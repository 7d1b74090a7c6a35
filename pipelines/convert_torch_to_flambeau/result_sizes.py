# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How large a result is where its type does not say so: a function of the arguments for each overload whose rule asks.

It receives the importer and the arguments by schema name, and returns the result's sizes; for an overload that
returns a list, those of each part.
"""

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.dialects import build as b
from flambeau.dialects.aten.importer import AtenImporter, Size
from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.types import shape_of

SIZES: dict[str, Callable[..., Any]] = {}


def _sizes_of(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        SIZES.update(dict.fromkeys(names, function))
        return function

    return register


@_sizes_of(
    "aten.copy.default",
    "aten.fill.Scalar",
    "aten.fill.Tensor",
    "aten.zero.default",
    "aten.full_like.default",
    "aten.zeros_like.default",
    "aten.ones_like.default",
    "aten.empty_like.default",
    "aten.rand_like.default",
    "aten.randn_like.default",
)
def _like(importer: AtenImporter, self: ir.Value, **_: Any) -> list[Size]:
    return b.sizes(self)


@_sizes_of("aten.expand_as.default", "aten.view_as.default")
def _like_other(importer: AtenImporter, other: ir.Value, **_: Any) -> list[Size]:
    return b.sizes(other)


@_sizes_of(
    "aten.full.default",
    "aten.new_full.default",
    "aten.zeros.default",
    "aten.new_zeros.default",
    "aten.ones.default",
    "aten.new_ones.default",
    "aten.empty.memory_format",
    "aten.empty_strided.default",
    "aten.new_empty.default",
    "aten.new_empty_strided.default",
    "aten.rand.default",
    "aten.randn.default",
    "aten.randint.default",
    "aten.randint.low",
)
def _given(importer: AtenImporter, size: Sequence[Any], **_: Any) -> list[Size]:
    return importer.sizes(size)


@_sizes_of("aten.expand.default", "aten.broadcast_to.default")
def _expanded(importer: AtenImporter, self: ir.Value, size: Sequence[Any], **_: Any) -> list[Size]:
    own: list[Size] = [1] * (len(size) - len(shape_of(self))) + b.sizes(self)
    return [o if s == -1 else importer.size(s) for s, o in zip(size, own, strict=True)]


def _filled_in(importer: AtenImporter, size: Sequence[Any], total: Size) -> list[Size]:
    """Sizes of which one may be -1: what makes them `total` elements."""
    known = [None if s == -1 else importer.size(s) for s in size]
    rest = b.multiply_sizes([s for s in known if s is not None])
    if isinstance(rest, int):
        missing = b.divide_size(total, rest) if rest else 0
    else:
        missing = arith.floordivsi(b.as_index(total), rest)
    return [missing if s is None else s for s in known]


@_sizes_of(
    "aten.view.default", "aten._unsafe_view.default", "aten.reshape.default", "aten._reshape_alias.default"
)
def _view(
    importer: AtenImporter, self: ir.Value, size: Sequence[Any] = (), shape: Sequence[Any] = (), **_: Any
) -> list[Size]:
    given = [*size, *shape]
    same = len(given) == len(shape_of(self)) and [i for i, s in enumerate(given) if s == -1]
    if same and len(same) == 1:
        # Often all other sizes stay as they are, and so does the one that is not given.
        own = b.sizes(self)
        if all(s == o for i, (s, o) in enumerate(zip(given, own, strict=True)) if i != same[0]):
            return own
    return _filled_in(importer, given, b.multiply_sizes(b.sizes(self)))


@_sizes_of("aten.flatten.using_ints")
def _flatten(importer: AtenImporter, self: ir.Value, start_dim: int, end_dim: int) -> list[Size]:
    sizes = b.sizes(self)
    rank = max(len(sizes), 1)
    start, end = start_dim % rank, end_dim % rank
    return [*sizes[:start], b.multiply_sizes(sizes[start : end + 1]), *sizes[end + 1 :]]


@_sizes_of("aten.unflatten.int")
def _unflatten(importer: AtenImporter, self: ir.Value, dim: int, sizes: Sequence[Any]) -> list[Size]:
    own = b.sizes(self)
    dim %= len(own)
    return [*own[:dim], *_filled_in(importer, sizes, own[dim]), *own[dim + 1 :]]


def _parts(self: ir.Value, dim: int, lengths: Sequence[Size]) -> list[list[Size]]:
    own = b.sizes(self)
    dim %= len(own)
    return [[*own[:dim], length, *own[dim + 1 :]] for length in lengths]


@_sizes_of("aten.split_with_sizes.default", "aten.split.sizes", "aten.unsafe_split_with_sizes.default")
def _split_with_sizes(
    importer: AtenImporter,
    self: ir.Value,
    split_sizes: Sequence[Any] = (),
    split_size: Sequence[Any] = (),
    dim: int = 0,
) -> list[list[Size]]:
    return _parts(self, dim, importer.sizes([*split_sizes, *split_size]))


@_sizes_of("aten.split.Tensor", "aten.unsafe_split.Tensor")
def _split(importer: AtenImporter, self: ir.Value, split_size: int, dim: int) -> list[list[Size]]:
    return _parts(self, dim, _lengths(_static(self, dim), split_size))


@_sizes_of("aten.chunk.default", "aten.unsafe_chunk.default")
def _chunk(importer: AtenImporter, self: ir.Value, chunks: int, dim: int) -> list[list[Size]]:
    size = _static(self, dim)
    return _parts(self, dim, _lengths(size, -(-size // chunks)) if size else [0] * chunks)


def _lengths(size: int, step: int) -> list[Size]:
    """How long the parts of `step` are that a dim is cut into; the last may be shorter."""
    return [min(step, size - start) for start in range(0, size, step)] if size else [0]


@_sizes_of("aten.unbind.int")
def _unbind(importer: AtenImporter, self: ir.Value, dim: int) -> list[list[Size]]:
    own = b.sizes(self)
    dim %= len(own)
    return [[*own[:dim], *own[dim + 1 :]]] * _static(self, dim)


def _static(x: ir.Value, dim: int) -> int:
    size = b.size(x, dim % len(shape_of(x)))
    if not isinstance(size, int):
        raise TypeError("it cuts a dim of dynamic size into a number of parts that is not known")
    return size


@_sizes_of("aten.arange.default", "aten.arange.start", "aten.arange.start_step")
def _arange(importer: AtenImporter, end: Any, start: Any = 0, step: Any = 1, **_: Any) -> list[Size]:
    if start != 0 or step != 1:
        raise TypeError("arange of dynamic size, unless it starts at 0 with step 1")
    return [importer.size(end)]


@_sizes_of("aten.eye.default")
def _eye(importer: AtenImporter, n: Any, **_: Any) -> list[Size]:
    return importer.sizes([n, n])


@_sizes_of("aten.eye.m")
def _eye_m(importer: AtenImporter, n: Any, m: Any, **_: Any) -> list[Size]:
    return importer.sizes([n, m])


@_sizes_of("aten.upsample_nearest2d.vec", "aten.upsample_bilinear2d.vec")
def _upsample(importer: AtenImporter, input: ir.Value, output_size: Any, **_: Any) -> list[Size]:
    if output_size is None:
        raise TypeError("upsampling by a factor to a dynamic size")
    return [*b.sizes(input)[:2], *importer.sizes(output_size)]
