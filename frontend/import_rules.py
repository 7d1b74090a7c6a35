# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ATen overloads that are not one op of ours with the same arguments: a rule each, by overload name.

A rule receives the importer and the overload's arguments by schema name (nodes, numbers, lists) and returns the value (a
list if the overload returns several). Whatever a plain `aten = ...` on an op class can say needs no rule.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
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
    if names != expected or [str(a.type) for a in candidate.arguments] != [str(a.type) for a in schema.arguments if a.name not in out_names]:
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
    positions = b.iota(size, element_type("int64") if is_integer(compute) else compute)
    if step != 1:
        positions = b.mul(positions, _number(importer, step, positions))
    if start != 0:
        positions = b.add(positions, _number(importer, start, positions))
    return b.cast(positions, compute)


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
    first = _clamped(importer, 0 if start is None else start, size)
    last = _clamped(importer, torch.iinfo(torch.int64).max if end is None else end, size)
    if isinstance(first, int) and isinstance(last, int):
        last = max(first, last)
    elif not (isinstance(first, int) and first == 0):
        last = b.max_sizes(first, last)
    if first == 0 and last is size and step == 1:
        return value
    if isinstance(size, int) and first == 0 and last == size and step == 1:
        return value
    return b.slice(value, dim, first, last, step)


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


@imports("aten.split.Tensor", "aten.split_with_sizes.default", "aten.chunk.default", "aten.unsafe_split.Tensor", "aten.unsafe_chunk.default", "aten.tensor_split.sections", "aten.tensor_split.indices", "aten.split.sizes", "aten.unsafe_split_with_sizes.default")
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


# --- Reductions, normalization ---------------------------------------------------------------------------------------


def _dims(dim: Any, rank: int) -> list[int]:
    chosen = range(rank) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    return sorted(d % max(rank, 1) for d in chosen) if rank else []


@imports("aten.sum.default", "aten.sum.dim_IntList", "aten.mean.default", "aten.mean.dim", "aten.prod.default")
def _sum(importer: "Importer", self: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> ir.Value:
    name = str(importer.target).split(".")[1]
    value = b.cast(importer.value(self), importer.result_type().element_type)
    return getattr(b, name)(value, _dims(dim, _rank(value)), keepdim)


@imports("aten._softmax.default", "aten._log_softmax.default", "aten.softmax.int", "aten.log_softmax.int")
def _softmax(importer: "Importer", self: Any, dim: int, **_: Any) -> ir.Value:
    value = b.cast(importer.value(self), importer.result_type().element_type)
    name = "log_softmax" if "log" in str(importer.target) else "softmax"
    return getattr(b, name)(value, dim % max(_rank(value), 1))


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


@imports("aten.normal.Tensor_Tensor", "aten.normal.Tensor_float", "aten.normal.float_Tensor")
def _normal(importer: "Importer", mean: Any, std: Any, **_: Any) -> ir.Value:
    element, sizes = importer.result_type().element_type, importer.result_sizes()
    operands = [
        _broadcast(importer, b.cast(importer.value(v), element)) if isinstance(v, fx.Node) else b.full(sizes, v, element)
        for v in (mean, std)
    ]
    return b.normal(*operands)
