# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ATen overloads that are not one op of ours with the same arguments: a rule each, by overload name.

A rule receives the importer (importer.py) and the overload's arguments by schema name, and returns the value (a
list if the overload returns several). Whatever a plain `aten = ...` on an op class can say needs no rule.
"""

import sys
from collections.abc import Sequence
from typing import Any

from flambeau.dialects import build as b
from flambeau.dialects.aten.importer import AtenImporter, Rule
from flambeau.dialects.bindings import ir
from flambeau.dialects.ops.index import index_position
from flambeau.dialects.rules import registers
from flambeau.dialects.types import (
    DYNAMIC,
    element_type,
    is_bool,
    is_float,
    is_integer,
    is_unsigned,
    shape_of,
)

RULES: dict[str, Rule] = {}


# Takes the overloads that a rule is for: `@imports("aten.split.Tensor")`.
imports = registers(RULES, "import rules")

# What PyTorch writes for "up to the end".
_END = sys.maxsize


# --- Copies, casts, identities ---------------------------------------------------------------------------------------


@imports(
    "aten.alias.default",
    "aten.lift_fresh_copy.default",
    "aten.lift_fresh.default",
    "aten.clone.default",
    "aten.contiguous.default",
)
def _identity(importer: AtenImporter, self: Any, **_: Any) -> ir.Value:
    # Values have no storage: a copy is the value itself, and what the caller gets back is never an argument's buffer.
    return importer.value(self)


@imports("aten.detach.default")
def _detach(importer: AtenImporter, self: Any) -> ir.Value:
    value = importer.value(self)
    return b.autograd_detach(value) if importer.needs_autograd and is_float(value.type) else value


@imports("prims.convert_element_type.default")
def _convert_element_type(importer: AtenImporter, a: Any, dtype: Any) -> ir.Value:
    return b.cast(importer.value(a), importer.result_type().element_type)


@imports("aten._to_copy.default", "aten.to.dtype")
def _to_dtype(importer: AtenImporter, self: Any, **_: Any) -> ir.Value:
    return b.cast(importer.value(self), importer.result_type().element_type)


@imports("aten.copy.default")
def _copy(importer: AtenImporter, self: Any, src: Any, **_: Any) -> ir.Value:
    return _broadcast(importer, b.cast(importer.value(src), importer.result_type().element_type))


@imports("aten.fill.Scalar", "aten.fill.Tensor")
def _fill(importer: AtenImporter, self: Any, value: Any) -> ir.Value:
    element = importer.result_type().element_type
    if importer.is_tensor(value):
        return _broadcast(importer, b.cast(importer.value(value), element))
    return _filled(importer, value)


@imports("aten.zero.default")
def _zero(importer: AtenImporter, self: Any) -> ir.Value:
    return _filled(importer, 0)


def _broadcast(importer: AtenImporter, value: ir.Value) -> ir.Value:
    sizes = importer.result_sizes()
    static = [s if isinstance(s, int) else DYNAMIC for s in sizes]
    return value if shape_of(value) == static and DYNAMIC not in static else b.expand(value, sizes)


# --- Creation --------------------------------------------------------------------------------------------------------


def _filled(importer: AtenImporter, value: Any) -> ir.Value:
    element = importer.result_type().element_type
    if isinstance(value, bool | int | float | complex):
        scalar = b.scalar(value, element)  # type: ignore[arg-type]
    else:
        scalar = b.tensor_from_index(importer.size(value), element)
    sizes = importer.result_sizes()
    return b.expand(scalar, sizes) if sizes else scalar


@imports("aten.full.default", "aten.full_like.default", "aten.new_full.default")
def _full(importer: AtenImporter, fill_value: Any, **_: Any) -> ir.Value:
    return _filled(importer, fill_value)


@imports("aten.scalar_tensor.default")
def _scalar_tensor(importer: AtenImporter, s: Any, **_: Any) -> ir.Value:
    return _filled(importer, s)


@imports(
    "aten.zeros.default",
    "aten.zeros_like.default",
    "aten.new_zeros.default",
    "aten.empty.memory_format",
    "aten.empty_like.default",
    "aten.empty_strided.default",
    "aten.new_empty.default",
    "aten.new_empty_strided.default",
    "aten.empty_permuted.default",
)
def _zeros(importer: AtenImporter, **_: Any) -> ir.Value:
    # What `empty` holds is undefined, so zeros will do.
    return _filled(importer, 0)


@imports("aten.ones.default", "aten.ones_like.default", "aten.new_ones.default")
def _ones(importer: AtenImporter, **_: Any) -> ir.Value:
    return _filled(importer, 1)


def ranged(importer: AtenImporter, size: int | ir.Value, start: Any, step: Any) -> ir.Value:
    """start, start + step, ...: `size` numbers in the element type of the call's result."""
    element = importer.result_type().element_type
    positions = b.iota(size, element_type("int64") if is_integer(element) else element)
    if step != 1:
        positions = b.mul(positions, _number(importer, step, positions))
    if start != 0:
        positions = b.add(positions, _number(importer, start, positions))
    return b.cast(positions, element)


@imports("aten.eye.default", "aten.eye.m")
def _eye(importer: AtenImporter, **_: Any) -> ir.Value:
    rows, columns = sizes = importer.result_sizes()
    i64 = element_type("int64")
    row = b.expand(b.unsqueeze(b.iota(rows, i64), 1), sizes)
    return b.cast(b.eq(row, b.expand(b.iota(columns, i64), sizes)), importer.result_type().element_type)


def _number(importer: AtenImporter, value: Any, like: ir.Value) -> Any:
    if isinstance(value, bool | int | float):
        return value
    scalar = b.tensor_from_index(importer.size(value), like.type.element_type)
    return b.expand_to(scalar, like)


# --- Views -----------------------------------------------------------------------------------------------------------


@imports(
    "aten.view.default",
    "aten._unsafe_view.default",
    "aten.reshape.default",
    "aten._reshape_alias.default",
    "aten.flatten.using_ints",
    "aten.unflatten.int",
    "aten.view_as.default",
)
def _view(importer: AtenImporter, self: Any, **_: Any) -> ir.Value:
    value = importer.value(self)
    sizes = importer.result_sizes()
    static = [s if isinstance(s, int) else DYNAMIC for s in sizes]
    return value if shape_of(value) == static and DYNAMIC not in static else b.view(value, sizes)


@imports("aten.expand.default", "aten.expand_as.default", "aten.broadcast_to.default")
def _expand(importer: AtenImporter, self: Any, **_: Any) -> ir.Value:
    return _broadcast(importer, importer.value(self))


def _rank(value: ir.Value) -> int:
    return len(shape_of(value))


@imports("aten.t.default", "aten.numpy_T.default")
def _t(importer: AtenImporter, self: Any) -> ir.Value:
    value = importer.value(self)
    return b.transpose(value, 0, 1) if _rank(value) == 2 else value


@imports("aten.transpose.int", "aten.swapaxes.default", "aten.swapdims.default")
def _transpose(importer: AtenImporter, self: Any, dim0: int, dim1: int) -> ir.Value:
    value = importer.value(self)
    rank = _rank(value)
    return b.transpose(value, dim0 % rank, dim1 % rank) if rank and dim0 % rank != dim1 % rank else value


@imports("aten.permute.default")
def _permute(importer: AtenImporter, self: Any, dims: Sequence[int]) -> ir.Value:
    value = importer.value(self)
    order = [d % _rank(value) for d in dims]
    return b.permute(value, order) if order != sorted(order) else value


@imports("aten.unsqueeze.default")
def _unsqueeze(importer: AtenImporter, self: Any, dim: int) -> ir.Value:
    value = importer.value(self)
    return b.unsqueeze(value, dim % (_rank(value) + 1))


@imports("aten.squeeze.default", "aten.squeeze.dim", "aten.squeeze.dims")
def _squeeze(importer: AtenImporter, self: Any, dim: int | Sequence[int] | None = None) -> ir.Value:
    value = importer.value(self)
    shape = shape_of(value)
    chosen = range(len(shape)) if dim is None else [dim] if isinstance(dim, int) else dim
    dims = sorted({d % len(shape) for d in chosen if shape and shape[d] == 1})
    return b.squeeze(value, dims) if dims else value


@imports("aten.select.int")
def _select(importer: AtenImporter, self: Any, dim: int, index: Any) -> ir.Value:
    value = importer.value(self)
    dim %= _rank(value)
    return b.select(value, dim, nonnegative(importer, index, value, dim))


def nonnegative(importer: AtenImporter, index: Any, value: ir.Value, dim: int) -> int | ir.Value:
    """An index into a dim, counted from its start."""
    position = importer.size(index)
    if not isinstance(position, int):
        return position  # a size: never negative
    if position >= 0:
        return position
    size = b.size(value, dim)
    return size + position if isinstance(size, int) else b.add_sizes(size, position)


@imports("aten.slice.Tensor")
def _slice(importer: AtenImporter, self: Any, dim: int, start: Any, end: Any, step: int) -> ir.Value:
    value = importer.value(self)
    dim %= _rank(value)
    return _slice_of(importer, value, dim, start, end, step)


def _slice_of(importer: AtenImporter, value: ir.Value, dim: int, start: Any, end: Any, step: int) -> ir.Value:
    size = b.size(value, dim)
    first, last = slice_bounds(importer, size, start, end)
    if (
        step == 1
        and isinstance(first, int)
        and first == 0
        and (last is size or (isinstance(size, int) and last == size))
    ):
        return value
    return b.slice(value, dim, first, last, step)


def slice_bounds(importer: AtenImporter, size: int | ir.Value, start: Any, end: Any) -> tuple[Any, Any]:
    """The bounds of a slice of a dim: 0 <= start <= end <= size."""
    first = _clamped(importer, 0 if start is None else start, size)
    last = _clamped(importer, _END if end is None else end, size)
    if isinstance(first, int) and isinstance(last, int):
        last = max(first, last)
    elif not (isinstance(first, int) and first == 0):
        last = b.max_sizes(first, last)
    return first, last


def _clamped(importer: AtenImporter, bound: Any, size: int | ir.Value) -> int | ir.Value:
    """A slice bound as Python takes it: negative counts from the end, then into [0, size]."""
    position = importer.size(bound)
    if isinstance(position, int) and isinstance(size, int):
        return min(max(position + size if position < 0 else position, 0), size)
    if isinstance(position, int):
        if position == _END:
            return size
        if position < 0:
            return b.max_sizes(b.add_sizes(size, position), 0)
        return position if position == 0 else b.min_sizes(position, size)
    return b.min_sizes(position, size)


@imports("aten.narrow.default")
def _narrow(importer: AtenImporter, self: Any, dim: int, start: Any, length: Any) -> ir.Value:
    value = importer.value(self)
    dim %= _rank(value)
    first = nonnegative(importer, start, value, dim)
    return b.slice(value, dim, first, b.add_sizes(first, importer.size(length)), 1)


@imports(
    "aten.split.Tensor",
    "aten.split_with_sizes.default",
    "aten.chunk.default",
    "aten.unsafe_split.Tensor",
    "aten.unsafe_chunk.default",
    "aten.tensor_split.sections",
    "aten.tensor_split.indices",
    "aten.split.sizes",
    "aten.unsafe_split_with_sizes.default",
)
def _split(importer: AtenImporter, self: Any, dim: int = 0, **_: Any) -> list[ir.Value]:
    value = importer.value(self)
    dim %= _rank(value)
    parts = []
    start: int | ir.Value = 0
    for index in range(len(importer.results)):
        end = b.add_sizes(start, importer.result_sizes(index)[dim])
        parts.append(b.slice(value, dim, start, end, 1))
        start = end
    return parts


@imports("aten.unbind.int")
def _unbind(importer: AtenImporter, self: Any, dim: int = 0) -> list[ir.Value]:
    value = importer.value(self)
    dim %= _rank(value)
    return [b.select(value, dim, index) for index in range(len(importer.results))]


@imports("aten.stack.default")
def _stack(importer: AtenImporter, tensors: Sequence[Any], dim: int = 0) -> ir.Value:
    element = importer.result_type().element_type
    values = [b.cast(importer.value(t), element) for t in tensors]
    dim %= _rank(values[0]) + 1
    return b.cat([b.unsqueeze(v, dim) for v in values], dim)


@imports("aten.cat.default")
def _cat(importer: AtenImporter, tensors: Sequence[Any], dim: int = 0) -> ir.Value:
    result = importer.result_type()
    values = [b.cast(importer.value(t), result.element_type) for t in tensors]
    # ATen skips legacy empty tensors of shape [0] whatever the other shapes are.
    values = [v for v in values if not (shape_of(v) == [0] and result.rank != 1)]
    return b.cat(values, dim % result.rank) if len(values) != 1 else values[0]


@imports("aten.slice_scatter.default")
def _slice_scatter(
    importer: AtenImporter, self: Any, src: Any, dim: int, start: Any, end: Any, step: int
) -> ir.Value:
    value = importer.value(self)
    dim %= _rank(value)
    first, last = slice_bounds(importer, b.size(value, dim), start, end)
    return b.slice_scatter(value, importer.value(src), dim, first, last, step)


@imports("aten.select_scatter.default")
def _select_scatter(importer: AtenImporter, self: Any, src: Any, dim: int, index: Any) -> ir.Value:
    value = importer.value(self)
    dim %= _rank(value)
    return b.select_scatter(value, importer.value(src), dim, nonnegative(importer, index, value, dim))


@imports("aten.diag_embed.default")
def _diag_embed(importer: AtenImporter, self: Any, offset: int, dim1: int, dim2: int) -> ir.Value:
    value = importer.value(self)
    rank = _rank(value) + 1
    return b.diag_embed(value, offset, dim1 % rank, dim2 % rank)


# --- Computed positions ----------------------------------------------------------------------------------------------


def _index_tensors(
    importer: AtenImporter, indices: Sequence[Any]
) -> tuple[list[ir.Value], list[int], list[Any]]:
    """The index tensors in one shape, the dims they stand at, and that shape's sizes."""
    given = [(dim, index) for dim, index in enumerate(indices) if index is not None]
    found = [importer.value(index) for _, index in given]
    if any(is_bool(v.type) or is_unsigned(v.type) for v in found):
        raise TypeError("a boolean mask selects a number of elements that is not known beforehand")
    sizes = importer.broadcast_sizes([index for _, index in given])
    values = [b.cast(v, element_type("int64")) for v in found]
    return [b.expand(v, sizes) for v in values], [dim for dim, _ in given], sizes


@imports("aten.index.Tensor", "aten._unsafe_index.Tensor")
def _index(importer: AtenImporter, self: Any, indices: Sequence[Any]) -> ir.Value:
    tensors, dims, _ = _index_tensors(importer, indices)
    return b.index(importer.value(self), tensors, dims)


@imports("aten.index_put.default", "aten._unsafe_index_put.default")
def _index_put(
    importer: AtenImporter,
    self: Any,
    indices: Sequence[Any],
    values: Any,
    accumulate: bool = False,
    **_: Any,
) -> ir.Value:
    value = importer.value(self)
    given = [(dim, index) for dim, index in enumerate(indices) if index is not None]
    new = importer.value(values)
    if (
        len(given) == 1
        and is_bool(importer.value(given[0][1]).type)
        and shape_of(new) in ([], [1])
        and not accumulate
    ):
        return _masked_fill(importer, value, *given[0], new)
    tensors, dims, common = _index_tensors(importer, indices)
    rest = [b.size(value, d) for d in range(_rank(value)) if d not in dims]
    at = index_position(dims)
    return b.index_put(value, tensors, b.expand(new, [*rest[:at], *common, *rest[at:]]), dims, accumulate)


def _masked_fill(importer: AtenImporter, value: ir.Value, dim: int, mask: Any, new: ir.Value) -> ir.Value:
    """x[:, mask] = one number: no position needs to be known."""
    condition = importer.value(mask)
    while dim + _rank(condition) < _rank(value):
        condition = b.unsqueeze(condition, _rank(condition))
    sizes = b.sizes(value)
    return b.where(b.expand(condition, sizes), b.expand(new, sizes), value)


def _along(importer: AtenImporter, self: Any, dim: int, index: Any) -> tuple[ir.Value, int, ir.Value]:
    value = importer.value(self)
    return value, dim % max(_rank(value), 1), b.cast(importer.value(index), element_type("int64"))


def _line(value: ir.Value) -> ir.Value:
    """A tensor of rank 0 as one of rank 1, which is what ops along a dim take it for."""
    return value if _rank(value) else b.view(value, [1])


@imports("aten.index_select.default")
def _index_select(importer: AtenImporter, self: Any, dim: int, index: Any) -> ir.Value:
    value, dim, positions = _along(importer, self, dim, index)
    chosen = b.index_select(_line(value), dim, _line(positions))
    return chosen if _rank(value) else b.view(chosen, [])


@imports("aten.index_add.default", "aten.index_copy.default")
def _index_write(
    importer: AtenImporter, self: Any, dim: int, index: Any, source: Any, alpha: Any = 1
) -> ir.Value:
    value, dim, positions = _along(importer, self, dim, index)
    source = _line(importer.value(source))
    write = b.index_add if "index_add" in str(importer.target) else b.index_copy
    written = write(_line(value), dim, _line(positions), source if alpha == 1 else b.mul(source, alpha))
    return written if _rank(value) else b.view(written, [])


@imports("aten.index_fill.int_Scalar")
def _index_fill(importer: AtenImporter, self: Any, dim: int, index: Any, value: Any) -> ir.Value:
    old, dim, positions = _along(importer, self, dim, index)
    filled = b.index_fill(_line(old), dim, _line(positions), value)
    return filled if _rank(old) else b.view(filled, [])


def _source(importer: AtenImporter, src: Any, index: ir.Value) -> ir.Value:
    """The part of a scatter's source that the index covers."""
    source = importer.value(src)
    if _rank(source) != _rank(index):
        return b.view(b.slice(_line(source), 0, 0, 1, 1), b.sizes(index))
    for dim in range(_rank(index)):
        if shape_of(source)[dim] != shape_of(index)[dim] or DYNAMIC in (shape_of(source)[dim],):
            source = b.slice(source, dim, 0, b.size(index, dim), 1)
    return source


@imports("aten.scatter.src", "aten.scatter_add.default")
def _scatter(importer: AtenImporter, self: Any, dim: int, index: Any, src: Any) -> ir.Value:
    value, dim, positions = _along(importer, self, dim, index)
    scatter = b.scatter_add if "scatter_add" in str(importer.target) else b.scatter
    return scatter(value, dim, positions, _source(importer, src, positions))


@imports("aten.scatter.reduce", "aten.scatter_reduce.two")
def _scatter_reduce(
    importer: AtenImporter,
    self: Any,
    dim: int,
    index: Any,
    src: Any,
    reduce: str,
    include_self: bool = True,
) -> ir.Value:
    if reduce not in ("add", "sum") or not include_self:
        raise TypeError(
            f"scatter with reduce={reduce!r}, include_self={include_self}; there are: sum with the tensor itself"
        )
    value, dim, positions = _along(importer, self, dim, index)
    return b.scatter_add(value, dim, positions, _source(importer, src, positions))


@imports("aten.sort.stable")
def _sort(importer: AtenImporter, self: Any, stable: bool | None, dim: int, descending: bool) -> Any:
    value = importer.value(self)
    return b.sort(value, dim % max(_rank(value), 1), descending)


@imports("aten.searchsorted.Tensor")
def _searchsorted(
    importer: AtenImporter,
    sorted_sequence: Any,
    self: Any,
    out_int32: bool,
    right: bool,
    side: Any,
    sorter: Any,
) -> ir.Value:
    boundaries = importer.value(sorted_sequence)
    if _rank(boundaries) != 1 or out_int32 or sorter is not None:
        raise TypeError("searchsorted in a sequence of more than one dim, with a sorter, or giving int32")
    return b.bucketize(importer.value(self), boundaries, right or side == "right")


@imports("aten.repeat_interleave.self_int")
def _repeat_interleave(
    importer: AtenImporter, self: Any, repeats: Any, dim: int | None = None, output_size: Any = None
) -> ir.Value:
    value = importer.value(self)
    if dim is None:
        value, dim = b.view(value, [b.multiply_sizes(b.sizes(value))]), 0
    return b.repeat_interleave(value, importer.size(repeats), dim % max(_rank(value), 1))


# --- Reductions, normalization ---------------------------------------------------------------------------------------


def _dims(dim: Any, rank: int) -> list[int]:
    chosen = range(rank) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    return sorted(d % max(rank, 1) for d in chosen) if rank else []


@imports("aten.sum.default", "aten.sum.dim_IntList", "aten.mean.default", "aten.mean.dim")
def _sum(
    importer: AtenImporter, self: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> ir.Value:
    name = str(importer.target).split(".")[1]
    value = b.cast(importer.value(self), importer.result_type().element_type)
    return getattr(b, name)(value, _dims(dim, _rank(value)), keepdim)


@imports("aten.count_nonzero.default", "aten.count_nonzero.dim_IntList")
def _count_nonzero(importer: AtenImporter, self: Any, dim: Any = None) -> ir.Value:
    value = importer.value(self)
    return b.count_nonzero(value, _dims(dim, _rank(value)))


@imports("aten._softmax.default", "aten._log_softmax.default", "aten.softmax.int", "aten.log_softmax.int")
def _softmax(importer: AtenImporter, self: Any, dim: int, **_: Any) -> ir.Value:
    value = b.cast(importer.value(self), importer.result_type().element_type)
    name = "log_softmax" if "log" in str(importer.target) else "softmax"
    return getattr(b, name)(value, dim % max(_rank(value), 1))


# --- Upsampling ------------------------------------------------------------------------------------------------------


@imports("aten.upsample_nearest2d.vec")
def _upsample_nearest2d(importer: AtenImporter, input: Any, scale_factors: Any, **_: Any) -> ir.Value:
    scales = [importer.fixed(s) for s in scale_factors or [None] * 2]
    return b.upsample_nearest2d(importer.value(input), importer.result_sizes()[2:], *scales)


@imports("aten.upsample_bilinear2d.vec")
def _upsample_bilinear2d(
    importer: AtenImporter, input: Any, align_corners: bool, scale_factors: Any, **_: Any
) -> ir.Value:
    scales = [importer.fixed(s) for s in scale_factors or [None] * 2]
    return b.upsample_bilinear2d(importer.value(input), importer.result_sizes()[2:], align_corners, *scales)


# --- Random ----------------------------------------------------------------------------------------------------------


@imports("aten.rand.default", "aten.randn.default")
def _rand(importer: AtenImporter, **_: Any) -> ir.Value:
    name = str(importer.target).split(".")[1]
    return getattr(b, name)(importer.result_sizes(), importer.result_type().element_type)


@imports("aten.randint.default", "aten.randint.low")
def _randint(importer: AtenImporter, high: int, low: int = 0, **_: Any) -> ir.Value:
    return b.randint(low, high, importer.result_sizes(), importer.result_type().element_type)


@imports("aten.rand_like.default", "aten.randn_like.default")
def _rand_like(importer: AtenImporter, self: Any, **_: Any) -> ir.Value:
    name = str(importer.target).split(".")[1]
    return getattr(b, name)(importer.value(self), importer.result_type().element_type)


@imports("aten.randint_like.default", "aten.randint_like.low_dtype")
def _randint_like(importer: AtenImporter, self: Any, high: int, low: int = 0, **_: Any) -> ir.Value:
    return b.randint_like(importer.value(self), low, high, importer.result_type().element_type)


@imports(
    "aten.normal.Tensor_Tensor",
    "aten.normal.Tensor_float",
    "aten.normal.float_Tensor",
    "aten.normal.float_float",
)
def _normal(importer: AtenImporter, mean: Any, std: Any, **_: Any) -> ir.Value:
    element, sizes = importer.result_type().element_type, importer.result_sizes()
    operands = [
        _broadcast(importer, b.cast(importer.value(v), element))
        if importer.is_tensor(v)
        else b.full(sizes, v, element)
        for v in (mean, std)
    ]
    return b.normal(*operands)
