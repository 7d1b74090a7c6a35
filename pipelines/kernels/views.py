# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Views: at which index of its operand a view op looks. `VIEWS` holds a rule per op."""

from collections.abc import Sequence
from typing import Any

from flambeau.dialects.types import shape_of
from flambeau.pipelines.kernels.index_maps import START, Index, reshape, with_gaps
from flambeau.pipelines.kernels.polynomial import Polynomial
from flambeau.pipelines.kernels.symbols import Symbols


def _expand(symbols: Symbols, loops: Sequence[Polynomial], op: Any, index: tuple[Index, ...]) -> list[Index]:
    sizes = shape_of(op.x)
    rest = index[len(index) - len(sizes) :]
    return [START if size == 1 else i for size, i in zip(sizes, rest, strict=True)]


def _view(symbols: Symbols, loops: Sequence[Polynomial], op: Any, index: tuple[Index, ...]) -> list[Index]:
    return reshape(index, symbols.shape(op.out), symbols.shape(op.x), loops)


def _unsqueeze(
    symbols: Symbols, loops: Sequence[Polynomial], op: Any, index: tuple[Index, ...]
) -> list[Index]:
    return [*index[: op.dim], *index[op.dim + 1 :]]


def _squeeze(symbols: Symbols, loops: Sequence[Polynomial], op: Any, index: tuple[Index, ...]) -> list[Index]:
    return with_gaps(index, list(op.dims), op.x.type.rank)


def _permute(symbols: Symbols, loops: Sequence[Polynomial], op: Any, index: tuple[Index, ...]) -> list[Index]:
    return [index[list(op.dims).index(d)] for d in range(len(index))]


def _transpose(
    symbols: Symbols, loops: Sequence[Polynomial], op: Any, index: tuple[Index, ...]
) -> list[Index]:
    result = list(index)
    if result:
        result[op.dim0], result[op.dim1] = index[op.dim1], index[op.dim0]
    return result


def _t(symbols: Symbols, loops: Sequence[Polynomial], op: Any, index: tuple[Index, ...]) -> list[Index]:
    return list(reversed(index))


def _slice(symbols: Symbols, loops: Sequence[Polynomial], op: Any, index: tuple[Index, ...]) -> list[Index]:
    result = list(index)
    result[op.dim] = index[op.dim] * op.step + symbols.size(op.start)
    return result


def _select(symbols: Symbols, loops: Sequence[Polynomial], op: Any, index: tuple[Index, ...]) -> list[Index]:
    return [*index[: op.dim], START + symbols.size(op.index), *index[op.dim :]]


def _flip(symbols: Symbols, loops: Sequence[Polynomial], op: Any, index: tuple[Index, ...]) -> list[Index]:
    sizes, rank = symbols.shape(op.x), len(index)
    dims = {d % rank for d in op.dims} if rank else set()
    return [i * -1 + (sizes[d] - 1) if d in dims else i for d, i in enumerate(index)]


VIEWS = {
    "flambeau.expand": _expand,
    "flambeau.view": _view,
    "flambeau.unsqueeze": _unsqueeze,
    "flambeau.squeeze": _squeeze,
    "flambeau.permute": _permute,
    "flambeau.transpose": _transpose,
    "flambeau.t": _t,
    "flambeau.slice": _slice,
    "flambeau.select": _select,
    "flambeau.flip": _flip,
}
