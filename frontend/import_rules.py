# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ATen overloads that are not one op of ours with the same arguments: a rule each, by overload name.

A rule receives the importer and the overload's arguments by schema name (nodes, numbers, lists) and returns the
value (a list if the overload returns several). Whatever a plain `aten = ...` on an op class can say needs no rule.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.ops.index import index_position
from flambeau.dialects.types import DYNAMIC, element_type, is_float, is_integer, shape_of

if TYPE_CHECKING:
    from flambeau.frontend.importer import Importer

Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}


def imports(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for the overloads `names` (`aten.split.Tensor`)."""

    def register(rule: Rule) -> Rule:
        for name in names:
            if name in RULES:
                raise ValueError(f"two import rules for {name}")
            RULES[name] = rule
        return rule

    return register


# --- Functional forms of ops that write ------------------------------------------------------------------------------


@dataclass(frozen=True)
class FunctionalForm:
    """The overload that computes what a writing overload writes.

    `arguments`: the schema names that it takes; `updates`: written argument -> index of the result with its new value.
    """

    name: str
    overload: Any
    arguments: tuple[str, ...]
    updates: dict[str, int]


def functional_form(target: Any) -> FunctionalForm | None:
    """Find it by schema: `add_` -> `add`, `sin.out` -> `sin`, `_native_batch_norm_legit` -> `..._functional`."""
    schema = target._schema
    written = [a for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    own_results = sum(1 for r in schema.returns if r.alias_info is None)
    base = schema.name.removeprefix("aten::")
    candidates = [base.removesuffix("_"), f"{base}_functional", base, base.removesuffix("_out")]
    for name in dict.fromkeys(candidates):
        packet = getattr(torch.ops.aten, name, None)
        if packet is None:
            continue
        for overload_name in packet.overloads():
            overload = getattr(packet, overload_name)
            form = _as_form(overload, schema, written, own_results)
            if form is not None:
                return form
    return None


def _as_form(overload: Any, schema: Any, written: Sequence[Any], own_results: int) -> FunctionalForm | None:
    candidate = overload._schema
    if candidate.is_mutable:
        return None
    names = [a.name for a in candidate.arguments]
    out_names = {a.name for a in written if a.is_out}
    expected = [a.name for a in schema.arguments if a.name not in out_names]
    if names != expected or [str(a.type) for a in candidate.arguments] != [
        str(a.type) for a in schema.arguments if a.name not in out_names
    ]:
        return None
    if len(candidate.returns) != own_results + len(written):
        return None
    updates = {a.name: own_results + i for i, a in enumerate(written)}
    return FunctionalForm(str(overload), overload, tuple(names), updates)


# --- Copies, casts, identities ---------------------------------------------------------------------------------------


@imports(
    "aten.alias.default",
    "aten.lift_fresh_copy.default",
    "aten.lift_fresh.default",
    "aten.clone.default",
    "aten.contiguous.default",
)
def _identity(importer: "Importer", self: Any, **_: Any) -> ir.Value:
    # Values have no storage: a copy is the value itself, and what the caller gets back is never an argument's buffer.
    return importer.value(self)


@imports("aten.detach.default")
def _detach(importer: "Importer", self: Any) -> ir.Value:
    value = importer.value(self)
    return b.autograd_detach(value) if importer.needs_autograd and is_float(value.type) else value


@imports("aten._to_copy.default", "aten.to.dtype", "prims.convert_element_type.default")
def _to_dtype(importer: "Importer", self: Any, **_: Any) -> ir.Value:
    return b.cast(importer.value(self), importer.result_type().element_type)


@imports("aten.copy.default")
def _copy(importer: "Importer", self: Any, src: Any, **_: Any) -> ir.Value:
    return _broadcast(importer, b.cast(importer.value(src), importer.result_type().element_type))


@imports("aten.fill.Scalar", "aten.fill.Tensor")
def _fill(importer: "Importer", self: Any, value: Any) -> ir.Value:
    element = importer.result_type().element_type
    if isinstance(value, fx.Node) and isinstance(value.meta["val"], torch.Tensor):
        return _broadcast(importer, b.cast(importer.value(value), element))
    return _filled(importer, value)


@imports("aten.zero.default")
def _zero(importer: "Importer", self: Any) -> ir.Value:
    return _filled(importer, 0)


def _broadcast(importer: "Importer", value: ir.Value) -> ir.Value:
    sizes = importer.result_sizes()
    static = [s if isinstance(s, int) else DYNAMIC for s in sizes]
    return value if shape_of(value) == static and DYNAMIC not in static else b.expand(value, sizes)


# --- Creation --------------------------------------------------------------------------------------------------------


def _filled(importer: "Importer", value: Any) -> ir.Value:
    element = importer.result_type().element_type
    if isinstance(value, fx.Node | torch.SymInt):
        scalar = b.tensor_from_index(importer.size(value), element)
    else:
        scalar = b.scalar(value, element)
    sizes = importer.result_sizes()
    return b.expand(scalar, sizes) if sizes else scalar


@imports("aten.full.default", "aten.full_like.default", "aten.new_full.default")
def _full(importer: "Importer", fill_value: Any, **_: Any) -> ir.Value:
    return _filled(importer, fill_value)


@imports("aten.scalar_tensor.default")
def _scalar_tensor(importer: "Importer", s: Any, **_: Any) -> ir.Value:
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
def _zeros(importer: "Importer", **_: Any) -> ir.Value:
    # What `empty` holds is undefined, so zeros will do.
    return _filled(importer, 0)


@imports("aten.ones.default", "aten.ones_like.default", "aten.new_ones.default")
def _ones(importer: "Importer", **_: Any) -> ir.Value:
    return _filled(importer, 1)


@imports("aten.arange.default", "aten.arange.start", "aten.arange.start_step")
def _arange(importer: "Importer", end: Any, start: Any = 0, step: Any = 1, **_: Any) -> ir.Value:
    type_ = importer.result_type()
    compute = type_.element_type
    size = importer.result_sizes()[0]
    if is_float(compute) and all(isinstance(v, int | float) for v in (size, start, end, step)):
        return importer.constant(
            torch.arange(start, end, step, dtype=importer.results[0].dtype)
        )  # as eager rounds
    positions = b.iota(size, element_type("int64") if is_integer(compute) else compute)
    if step != 1:
        positions = b.mul(positions, _number(importer, step, positions))
    if start != 0:
        positions = b.add(positions, _number(importer, start, positions))
    return b.cast(positions, compute)


@imports("aten.linspace.default")
def _linspace(importer: "Importer", start: float, end: float, steps: int, **_: Any) -> ir.Value:
    return importer.constant(torch.linspace(start, end, steps, dtype=importer.results[0].dtype))


@imports("aten.tril_indices.default", "aten.triu_indices.default")
def _triangle_indices(importer: "Importer", row: int, col: int, offset: int = 0, **_: Any) -> ir.Value:
    make = torch.tril_indices if "tril" in str(importer.target) else torch.triu_indices
    return importer.constant(make(row, col, offset, dtype=importer.results[0].dtype))


@imports("aten.eye.default", "aten.eye.m")
def _eye(importer: "Importer", **_: Any) -> ir.Value:
    rows, columns = sizes = importer.result_sizes()
    i64 = element_type("int64")
    row = b.expand(b.unsqueeze(b.iota(rows, i64), 1), sizes)
    return b.cast(b.eq(row, b.expand(b.iota(columns, i64), sizes)), importer.result_type().element_type)


def _number(importer: "Importer", value: Any, like: ir.Value) -> Any:
    if not isinstance(value, fx.Node | torch.SymInt):
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
def _view(importer: "Importer", self: Any, **_: Any) -> ir.Value:
    value = importer.value(self)
    sizes = importer.result_sizes()
    static = [s if isinstance(s, int) else DYNAMIC for s in sizes]
    return value if shape_of(value) == static and DYNAMIC not in static else b.view(value, sizes)


@imports("aten.expand.default", "aten.expand_as.default", "aten.broadcast_to.default")
def _expand(importer: "Importer", self: Any, **_: Any) -> ir.Value:
    return _broadcast(importer, importer.value(self))


def _rank(value: ir.Value) -> int:
    return len(shape_of(value))


@imports("aten.t.default", "aten.numpy_T.default")
def _t(importer: "Importer", self: Any) -> ir.Value:
    value = importer.value(self)
    return b.transpose(value, 0, 1) if _rank(value) == 2 else value


@imports("aten.transpose.int", "aten.swapaxes.default", "aten.swapdims.default")
def _transpose(importer: "Importer", self: Any, dim0: int, dim1: int) -> ir.Value:
    value = importer.value(self)
    rank = _rank(value)
    return b.transpose(value, dim0 % rank, dim1 % rank) if rank and dim0 % rank != dim1 % rank else value


@imports("aten.permute.default")
def _permute(importer: "Importer", self: Any, dims: Sequence[int]) -> ir.Value:
    value = importer.value(self)
    order = [d % _rank(value) for d in dims]
    return b.permute(value, order) if order != sorted(order) else value


@imports("aten.unsqueeze.default")
def _unsqueeze(importer: "Importer", self: Any, dim: int) -> ir.Value:
    value = importer.value(self)
    return b.unsqueeze(value, dim % (_rank(value) + 1))


@imports("aten.squeeze.default", "aten.squeeze.dim", "aten.squeeze.dims")
def _squeeze(importer: "Importer", self: Any, dim: int | Sequence[int] | None = None) -> ir.Value:
    value = importer.value(self)
    shape = shape_of(value)
    chosen = range(len(shape)) if dim is None else [dim] if isinstance(dim, int) else dim
    dims = sorted({d % len(shape) for d in chosen if shape and shape[d] == 1})
    return b.squeeze(value, dims) if dims else value


@imports("aten.select.int")
def _select(importer: "Importer", self: Any, dim: int, index: Any) -> ir.Value:
    value = importer.value(self)
    dim %= _rank(value)
    return b.select(value, dim, _nonnegative(importer, index, value, dim))


def _nonnegative(importer: "Importer", index: Any, value: ir.Value, dim: int) -> int | ir.Value:
    position = importer.size(index)
    if not isinstance(position, int):
        return position  # a size: never negative
    if position >= 0:
        return position
    size = b.size(value, dim)
    return size + position if isinstance(size, int) else b.add_sizes(size, position)


@imports("aten.slice.Tensor")
def _slice(importer: "Importer", self: Any, dim: int, start: Any, end: Any, step: int) -> ir.Value:
    value = importer.value(self)
    dim %= _rank(value)
    return _slice_of(importer, value, dim, start, end, step)


def _slice_of(importer: "Importer", value: ir.Value, dim: int, start: Any, end: Any, step: int) -> ir.Value:
    size = b.size(value, dim)
    first, last = _slice_bounds(importer, size, start, end)
    if (
        step == 1
        and isinstance(first, int)
        and first == 0
        and (last is size or (isinstance(size, int) and last == size))
    ):
        return value
    return b.slice(value, dim, first, last, step)


def _slice_bounds(importer: "Importer", size: int | ir.Value, start: Any, end: Any) -> tuple[Any, Any]:
    """The bounds of a slice of a dim: 0 <= start <= end <= size."""
    first = _clamped(importer, 0 if start is None else start, size)
    last = _clamped(importer, torch.iinfo(torch.int64).max if end is None else end, size)
    if isinstance(first, int) and isinstance(last, int):
        last = max(first, last)
    elif not (isinstance(first, int) and first == 0):
        last = b.max_sizes(first, last)
    return first, last


def _clamped(importer: "Importer", bound: Any, size: int | ir.Value) -> int | ir.Value:
    """A slice bound as Python takes it: negative counts from the end, then into [0, size]."""
    position = importer.size(bound)
    if isinstance(position, int) and isinstance(size, int):
        return min(max(position + size if position < 0 else position, 0), size)
    if isinstance(position, int):
        if position == torch.iinfo(torch.int64).max:
            return size
        if position < 0:
            return b.max_sizes(b.add_sizes(size, position), 0)
        return position if position == 0 else b.min_sizes(position, size)
    return b.min_sizes(position, size)


@imports("aten.narrow.default")
def _narrow(importer: "Importer", self: Any, dim: int, start: Any, length: Any) -> ir.Value:
    value = importer.value(self)
    dim %= _rank(value)
    first = _nonnegative(importer, start, value, dim)
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
def _split(importer: "Importer", self: Any, dim: int = 0, **_: Any) -> list[ir.Value]:
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
def _unbind(importer: "Importer", self: Any, dim: int = 0) -> list[ir.Value]:
    value = importer.value(self)
    dim %= _rank(value)
    return [b.select(value, dim, index) for index in range(len(importer.results))]


@imports("aten.stack.default")
def _stack(importer: "Importer", tensors: Sequence[Any], dim: int = 0) -> ir.Value:
    element = importer.result_type().element_type
    values = [b.cast(importer.value(t), element) for t in tensors]
    dim %= _rank(values[0]) + 1
    return b.cat([b.unsqueeze(v, dim) for v in values], dim)


@imports("aten.cat.default")
def _cat(importer: "Importer", tensors: Sequence[Any], dim: int = 0) -> ir.Value:
    result = importer.result_type()
    values = [b.cast(importer.value(t), result.element_type) for t in tensors]
    # ATen skips legacy empty tensors of shape [0] whatever the other shapes are.
    values = [v for v in values if not (shape_of(v) == [0] and result.rank != 1)]
    return b.cat(values, dim % result.rank) if len(values) != 1 else values[0]


@imports("aten.slice_scatter.default")
def _slice_scatter(
    importer: "Importer", self: Any, src: Any, dim: int, start: Any, end: Any, step: int
) -> ir.Value:
    value = importer.value(self)
    dim %= _rank(value)
    first, last = _slice_bounds(importer, b.size(value, dim), start, end)
    return b.slice_scatter(value, importer.value(src), dim, first, last, step)


@imports("aten.select_scatter.default")
def _select_scatter(importer: "Importer", self: Any, src: Any, dim: int, index: Any) -> ir.Value:
    value = importer.value(self)
    dim %= _rank(value)
    return b.select_scatter(value, importer.value(src), dim, _nonnegative(importer, index, value, dim))


@imports("aten.diag_embed.default")
def _diag_embed(importer: "Importer", self: Any, offset: int, dim1: int, dim2: int) -> ir.Value:
    value = importer.value(self)
    rank = _rank(value) + 1
    return b.diag_embed(value, offset, dim1 % rank, dim2 % rank)


@imports("aten.as_strided.default")
def _as_strided(
    importer: "Importer",
    self: Any,
    size: Sequence[Any],
    stride: Sequence[Any],
    storage_offset: Any = None,
) -> ir.Value:
    node: Any = importer.node.args[0]  # `self` is a value already where its storage is written
    seen = node.meta["val"]
    if not seen.is_contiguous() or seen.storage_offset() != 0:
        raise TypeError("as_strided of a tensor that is not all of its storage, in row-major order")
    numbers = [*size, *stride, storage_offset or 0]
    if not all(isinstance(n, int) for n in numbers):
        raise TypeError("as_strided with dynamic sizes or strides")
    return b.as_strided(importer.value(self), list(size), list(stride), storage_offset or 0)


# --- Computed positions ----------------------------------------------------------------------------------------------


def _index_tensors(
    importer: "Importer", indices: Sequence[Any]
) -> tuple[list[ir.Value], list[int], list[Any]]:
    """The index tensors in one shape, the dims they stand at, and that shape's sizes."""
    given = [(dim, index) for dim, index in enumerate(indices) if index is not None]
    if any(index.meta["val"].dtype in (torch.bool, torch.uint8) for _, index in given):
        raise TypeError("a boolean mask selects a number of elements that is not known beforehand")
    shape = torch.broadcast_shapes(  # type: ignore[no-untyped-call]
        *(index.meta["val"].shape for _, index in given)
    )
    sizes = importer.sizes(shape)
    values = [b.cast(importer.value(index), element_type("int64")) for _, index in given]
    return [b.expand(v, sizes) for v in values], [dim for dim, _ in given], sizes


@imports("aten.index.Tensor", "aten._unsafe_index.Tensor")
def _index(importer: "Importer", self: Any, indices: Sequence[Any]) -> ir.Value:
    tensors, dims, _ = _index_tensors(importer, indices)
    return b.index(importer.value(self), tensors, dims)


@imports("aten.index_put.default", "aten._unsafe_index_put.default")
def _index_put(
    importer: "Importer", self: Any, indices: Sequence[Any], values: Any, accumulate: bool = False, **_: Any
) -> ir.Value:
    value = importer.value(self)
    given = [(dim, index) for dim, index in enumerate(indices) if index is not None]
    new = importer.value(values)
    if (
        len(given) == 1
        and given[0][1].meta["val"].dtype == torch.bool
        and shape_of(new) in ([], [1])
        and not accumulate
    ):
        return _masked_fill(importer, value, *given[0], new)
    tensors, dims, common = _index_tensors(importer, indices)
    rest = [b.size(value, d) for d in range(_rank(value)) if d not in dims]
    at = index_position(dims)
    return b.index_put(value, tensors, b.expand(new, [*rest[:at], *common, *rest[at:]]), dims, accumulate)


def _masked_fill(importer: "Importer", value: ir.Value, dim: int, mask: Any, new: ir.Value) -> ir.Value:
    """x[:, mask] = one number: no position needs to be known."""
    condition = importer.value(mask)
    while dim + _rank(condition) < _rank(value):
        condition = b.unsqueeze(condition, _rank(condition))
    sizes = b.sizes(value)
    return b.where(b.expand(condition, sizes), b.expand(new, sizes), value)


def _along(importer: "Importer", self: Any, dim: int, index: Any) -> tuple[ir.Value, int, ir.Value]:
    value = importer.value(self)
    return value, dim % max(_rank(value), 1), b.cast(importer.value(index), element_type("int64"))


def _source(importer: "Importer", src: Any, index: ir.Value) -> ir.Value:
    """The part of a scatter's source that the index covers."""
    source = importer.value(src)
    for dim in range(_rank(index)):
        if shape_of(source)[dim] != shape_of(index)[dim] or DYNAMIC in (shape_of(source)[dim],):
            source = b.slice(source, dim, 0, b.size(index, dim), 1)
    return source


@imports("aten.scatter.src", "aten.scatter_add.default")
def _scatter(importer: "Importer", self: Any, dim: int, index: Any, src: Any) -> ir.Value:
    value, dim, positions = _along(importer, self, dim, index)
    scatter = b.scatter_add if "scatter_add" in str(importer.target) else b.scatter
    return scatter(value, dim, positions, _source(importer, src, positions))


@imports("aten.scatter.reduce", "aten.scatter_reduce.two")
def _scatter_reduce(
    importer: "Importer", self: Any, dim: int, index: Any, src: Any, reduce: str, include_self: bool = True
) -> ir.Value:
    if reduce not in ("add", "sum") or not include_self:
        raise TypeError(
            f"scatter with reduce={reduce!r}, include_self={include_self}; there are: sum with the tensor itself"
        )
    value, dim, positions = _along(importer, self, dim, index)
    return b.scatter_add(value, dim, positions, _source(importer, src, positions))


@imports("aten.sort.stable")
def _sort(importer: "Importer", self: Any, stable: bool | None, dim: int, descending: bool) -> Any:
    value = importer.value(self)
    return b.sort(value, dim % max(_rank(value), 1), descending)


@imports("aten.searchsorted.Tensor")
def _searchsorted(
    importer: "Importer",
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
    importer: "Importer", self: Any, repeats: Any, dim: int | None = None, output_size: Any = None
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
    importer: "Importer", self: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> ir.Value:
    name = str(importer.target).split(".")[1]
    value = b.cast(importer.value(self), importer.result_type().element_type)
    return getattr(b, name)(value, _dims(dim, _rank(value)), keepdim)


@imports("aten._softmax.default", "aten._log_softmax.default", "aten.softmax.int", "aten.log_softmax.int")
def _softmax(importer: "Importer", self: Any, dim: int, **_: Any) -> ir.Value:
    value = b.cast(importer.value(self), importer.result_type().element_type)
    name = "log_softmax" if "log" in str(importer.target) else "softmax"
    return getattr(b, name)(value, dim % max(_rank(value), 1))


# --- Upsampling ------------------------------------------------------------------------------------------------------


@imports("aten.upsample_nearest2d.vec")
def _upsample_nearest2d(importer: "Importer", input: Any, scale_factors: Any, **_: Any) -> ir.Value:
    return b.upsample_nearest2d(
        importer.value(input), importer.result_sizes()[2:], *(scale_factors or [None] * 2)
    )


@imports("aten.upsample_bilinear2d.vec")
def _upsample_bilinear2d(
    importer: "Importer", input: Any, align_corners: bool, scale_factors: Any, **_: Any
) -> ir.Value:
    scales = scale_factors or [None] * 2
    return b.upsample_bilinear2d(importer.value(input), importer.result_sizes()[2:], align_corners, *scales)


# --- Random ----------------------------------------------------------------------------------------------------------


@imports("aten.rand.default", "aten.randn.default")
def _rand(importer: "Importer", **_: Any) -> ir.Value:
    name = str(importer.target).split(".")[1]
    return getattr(b, name)(importer.result_sizes(), importer.result_type().element_type)


@imports("aten.randint.default", "aten.randint.low")
def _randint(importer: "Importer", high: int, low: int = 0, **_: Any) -> ir.Value:
    return b.randint(low, high, importer.result_sizes(), importer.result_type().element_type)


@imports("aten.rand_like.default", "aten.randn_like.default")
def _rand_like(importer: "Importer", self: Any, **_: Any) -> ir.Value:
    name = str(importer.target).split(".")[1]
    return getattr(b, name)(importer.value(self), importer.result_type().element_type)


@imports("aten.randint_like.default", "aten.randint_like.low_dtype")
def _randint_like(importer: "Importer", self: Any, high: int, low: int = 0, **_: Any) -> ir.Value:
    return b.randint_like(importer.value(self), low, high, importer.result_type().element_type)


@imports(
    "aten.normal.Tensor_Tensor",
    "aten.normal.Tensor_float",
    "aten.normal.float_Tensor",
    "aten.normal.float_float",
)
def _normal(importer: "Importer", mean: Any, std: Any, **_: Any) -> ir.Value:
    element, sizes = importer.result_type().element_type, importer.result_sizes()
    operands = [
        _broadcast(importer, b.cast(importer.value(v), element))
        if isinstance(v, fx.Node)
        else b.full(sizes, v, element)
        for v in (mean, std)
    ]
    return b.normal(*operands)
