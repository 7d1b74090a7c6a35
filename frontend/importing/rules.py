# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Import rules that need torch, beside those of dialects/aten/rules.py; and the functional forms of ops that write.

A rule receives the importer and the overload's arguments by schema name (nodes, numbers, lists) and returns the
value (a list if the overload returns several). Whatever a plain `aten = ...` on an op class can say needs no rule.
"""

from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.fx.experimental.symbolic_shapes import statically_known_true

from flambeau.dialects import build as b
from flambeau.dialects.aten import backward_rules, rules
from flambeau.dialects.aten.importer import Rule
from flambeau.dialects.aten.rules import ranged
from flambeau.dialects.bindings import ir
from flambeau.dialects.rules import registers
from flambeau.dialects.types import is_float
from flambeau.frontend.importing.context import ImportContext

RULES: ChainMap[str, Rule] = ChainMap({}, backward_rules.RULES, rules.RULES)
imports = registers(RULES, "import rules")


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


# PyTorch differentiates its functional form with the noise that it was given, not with what it drew: by zeros.
_WITHOUT_DERIVATIVE = frozenset({"aten::rrelu_with_noise"})


def functional_form(target: Any) -> FunctionalForm | None:
    """Find it by schema: `add_` -> `add`, `sin.out` -> `sin`, `normal_` -> `normal_functional`."""
    schema = target._schema
    if schema.name in _WITHOUT_DERIVATIVE:
        return None
    written = [a for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    own_results = sum(1 for r in schema.returns if r.alias_info is None)
    base = schema.name.removeprefix("aten::")
    candidates = [
        base.removesuffix("_"),
        f"{base.removesuffix('_')}_functional",
        base,
        base.removesuffix("_out"),
    ]
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


# --- Creation --------------------------------------------------------------------------------------------------------


@imports("aten.arange.default", "aten.arange.start", "aten.arange.start_step")
def _arange(importer: ImportContext, end: Any, start: Any = 0, step: Any = 1, **_: Any) -> ir.Value:
    type_ = importer.result_type()
    size = importer.result_sizes()[0]
    if is_float(type_.element_type) and all(isinstance(v, int | float) for v in (size, start, end, step)):
        return importer.constant(
            torch.arange(start, end, step, dtype=importer.results[0].dtype)
        )  # as eager rounds
    return ranged(importer, size, start, step)


@imports("aten.linspace.default")
def _linspace(importer: ImportContext, start: float, end: float, steps: int, **_: Any) -> ir.Value:
    return importer.constant(torch.linspace(start, end, steps, dtype=importer.results[0].dtype))


@imports("aten.tril_indices.default", "aten.triu_indices.default")
def _triangle_indices(importer: ImportContext, row: int, col: int, offset: int = 0, **_: Any) -> ir.Value:
    make = torch.tril_indices if "tril" in str(importer.target) else torch.triu_indices
    return importer.constant(make(row, col, offset, dtype=importer.results[0].dtype))


# --- Elementwise ops -------------------------------------------------------------------------------------------------


@imports("prims.fma.default")
def _fma(importer: ImportContext, **factors: Any) -> ir.Value:
    """Of TorchDynamo's making, in optimizers: eager rounds the product too."""
    element, sizes = importer.result_type().element_type, importer.result_sizes()
    first, second, third = (
        importer.elementwise_operand(v, element, sizes) for v in (factors["a"], factors["b"], factors["c"])
    )
    return b.add(b.mul(first, second), third)


# --- Views -----------------------------------------------------------------------------------------------------------


@imports("aten.as_strided.default")
def _as_strided(
    importer: ImportContext,
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


@imports("aten._embedding_bag.default", "aten._embedding_bag_forward_only.default")
def _embedding_bag(
    importer: ImportContext,
    weight: Any,
    indices: Any,
    offsets: Any,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> list[ir.Value]:
    # The other results are for PyTorch's own backward.
    if any(user.users and user.args[1] != 0 for user in importer.node.users):
        raise TypeError("embedding_bag whose results besides the first are used")
    if scale_grad_by_freq or sparse:
        raise TypeError("embedding_bag with scale_grad_by_freq or sparse gradients")
    given, starts = importer.value(indices), importer.value(offsets)
    weights = None if per_sample_weights is None else importer.value(per_sample_weights)
    length = None if include_last_offset else _bag_length(indices, offsets)
    if length is not None:
        sizes = [b.size(starts, 0), importer.size(length)]
        given, starts = b.view(given, sizes), None
        weights = None if weights is None else b.view(weights, sizes)
    out = b.embedding_bag(
        importer.value(weight), given, starts, weights, mode, include_last_offset, padding_idx
    )
    unused = [
        b.full(importer.result_sizes(i), 0, importer.result_type(i).element_type)
        for i in range(1, len(importer.results))
    ]
    return [out, *unused]


def _bag_length(indices: Any, offsets: Any) -> Any:
    """The size of all bags, if `offsets` is a plain range that says they have one size; else None.

    That is what a matrix of indices becomes on its way here.
    """
    if not str(getattr(offsets, "target", "")).startswith("aten.arange.start_step"):
        return None
    start, _, step = offsets.args[:3]
    size = step.meta["val"] if isinstance(step, fx.Node) else step
    count, total = (node.meta["val"].shape[0] for node in (offsets, indices))
    return step if start == 0 and statically_known_true(count * size == total) else None
