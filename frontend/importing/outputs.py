# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the imported function returns, and the facts about aliasing and layout that the wrapper reads from the IR.

An output that shares memory with an input is described as a view of that argument. Outputs that share memory with each
other, or that eager returns with gaps or overlaps, are described as views of the one that is all of that memory, or of
one more result, their base.
"""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.facts import Extent, ResultFacts, View
from flambeau.frontend.capture import sizes as symbolic
from flambeau.frontend.capture.records import (
    NODE_RECORD,
    OutputRecord,
    TensorRecord,
    UnsupportedGraphError,
    user_location,
    written_nodes,
)
from flambeau.frontend.importing.context import ImportContext


def import_outputs(importer: ImportContext, node: fx.Node) -> tuple[list[ir.Value], list[ResultFacts]]:
    """The returned values and their facts: one per output that is no constant and not repeated, then the
    bases."""
    values: list[ir.Value] = []
    facts: list[ResultFacts] = []
    outputs = importer.captured.outputs
    needs_base = _storages_that_need_a_base(outputs)
    bases: dict[int, dict[int, TensorRecord]] = {}  # storage -> results that are views of its base
    for position, (argument, record) in enumerate(zip(node.args[0], outputs, strict=True)):  # type: ignore[arg-type]
        if record.kind in ("constant", "repeated"):
            continue
        if isinstance(record.value, torch.SymFloat | torch.SymBool):
            raise UnsupportedGraphError("output", None, "a float or bool that depends on data is no size")
        if record.kind == "symint":
            facts.append(ResultFacts(output=position))
            values.append(b.as_index(importer.size(record.value)))
            continue
        assert record.tensor is not None
        fact = _history(position, record, record.tensor)
        place = _place(importer, argument, record, record.tensor, needs_base)
        if place is None:
            bases.setdefault(record.tensor.storage, {})[len(values)] = record.tensor
        facts.append(fact if place is None else replace(fact, **place))
        values.append(importer.value(argument))
    for storage, views in bases.items():
        _add_base(importer, storage, views, values, facts)
    _refuse_unknown_places(importer, facts)
    return values, facts


def _history(position: int, record: OutputRecord, tensor: TensorRecord) -> ResultFacts:
    """What autograd is to know of a tensor output."""
    view_without_history = (
        record.is_input is None and tensor.is_view and tensor.is_leaf and tensor.requires_grad
    )
    return ResultFacts(
        output=position,
        requires_grad=tensor.requires_grad,
        saved_in_eager=record.saved,
        hidden=view_without_history or record.viewed_again,
        viewed_again=record.viewed_again,
        one_of_several=tensor.one_of_several,
    )


def _place(
    importer: ImportContext, node: fx.Node, record: OutputRecord, tensor: TensorRecord, needs_base: set[int]
) -> dict[str, Any] | None:
    """Facts about whose memory an output has, and how it lies there; None if it is to be a view of a base."""
    shared = record.is_input is not None or record.shares_input or tensor.storage in needs_base
    if shared and _through_user_function(node, tensor.storage):
        reason = "a custom autograd.Function returns memory that it was given, under another history"
        raise UnsupportedGraphError("output", user_location(node), reason)
    if record.is_input is not None:
        return {"is_argument": record.is_input}
    if record.shares_input:
        viewed = _viewed_input(importer, node, record)
        owner = importer.captured.inputs[viewed].tensor
        assert owner is not None
        if not tensor.is_view and tensor.requires_grad:
            reason = "it shares memory with an input, has a history, and is no view of it to autograd"
            raise UnsupportedGraphError("output", user_location(node), reason)
        detached = not tensor.is_view  # x.detach(), x.data
        return {
            "view_of_argument": viewed,
            "view": _view(tensor, owner),
            "detached": detached,
            "uncounted": detached and tensor.uncounted,
        }
    return None if tensor.storage in needs_base else {"strides": strides_of(tensor)}


def _add_base(
    importer: ImportContext,
    storage: int,
    views: dict[int, TensorRecord],
    values: list[ir.Value],
    facts: list[ResultFacts],
) -> None:
    """Describe results that share memory as views of the one that is all of it, or of one more result."""
    root, owner = importer.root(storage)
    if not is_dense(owner):
        raise UnsupportedGraphError(
            "output", None, "its memory has gaps or overlaps in the tensor that owns it"
        )
    base = _output_that_is_whole(views, owner)
    if base is not None:
        facts[base] = replace(facts[base], strides=strides_of(views[base]))
    else:
        base = len(values)
        values.append(importer.value(root))
        facts.append(
            ResultFacts(
                base=True,
                requires_grad=any(facts[position].requires_grad for position in views),
                saved_in_eager=any(facts[position].saved_in_eager for position in views),
                strides=strides_of(owner),
            )
        )
    for position, tensor in views.items():
        if position != base:
            facts[position] = replace(facts[position], view_of_result=base, view=_view(tensor, owner))


def _refuse_unknown_places(importer: ImportContext, facts: list[ResultFacts]) -> None:
    """UnsupportedGraphError if where an output lies in memory depends on more than the sizes of the inputs."""
    known: set[Any] = set()
    for given in importer.captured.inputs:
        sizes = given.value.shape if isinstance(given.value, torch.Tensor) else (given.value,)
        known.update(e for e in map(symbolic.expression, sizes) if e.is_Symbol)
    for fact in facts:
        if fact.output is None or (fact.view is None and fact.strides is None):
            continue
        tensor = importer.captured.outputs[fact.output].tensor
        assert tensor is not None
        place = (*tensor.shape, *tensor.stride, tensor.storage_offset)
        unknown = set().union(*(symbolic.expression(e).free_symbols for e in place)) - known
        if unknown:
            reason = f"where it lies in memory depends on data ({', '.join(sorted(map(str, unknown)))})"
            raise UnsupportedGraphError("output", None, reason)


def _viewed_input(importer: ImportContext, node: fx.Node, record: OutputRecord) -> int:
    """Which input an output shares memory with; of several that do so, the one that it came from."""
    if len(record.shares_input) == 1:
        return record.shares_input[0]
    assert record.tensor is not None
    while node.op == "call_function":
        sources = [*written_nodes(node), *node.all_input_nodes]
        node = next(a for a in sources if _has_storage(a, record.tensor.storage))
    placeholders = (n for n in node.graph.nodes if n.op == "placeholder")
    return next(i for i, placeholder in enumerate(placeholders) if placeholder is node)


def _through_user_function(node: fx.Node, storage: int) -> bool:
    """Whether a tensor came to its storage through a custom autograd.Function that was given this storage."""
    while node.op == "call_function":
        source = next((a for a in node.all_input_nodes if _has_storage(a, storage)), None)
        if source is None:
            return False
        if node.target is torch.ops.higher_order.autograd_function_apply:
            return True
        node = source
    return False


def _has_storage(node: fx.Node, storage: int) -> bool:
    return any(t is not None and t.storage == storage for t in node.meta[NODE_RECORD].results)


def _output_that_is_whole(tensors: dict[int, TensorRecord], owner: TensorRecord) -> int | None:
    """Of outputs that share memory, by result: one that is all of it and no view, so the others are views of it.

    It may have another shape than the owner (`x.t().flatten()` copies, and is no view of its copy).
    """
    requires_grad = any(tensor.requires_grad for tensor in tensors.values())
    for position, tensor in tensors.items():
        if (
            not tensor.is_view
            and tensor.requires_grad == requires_grad
            and tensor.dtype == owner.dtype
            and is_dense(tensor)
            and _extent(tensor) == _extent(owner)
        ):
            return position
    return None


def _extent(tensor: TensorRecord) -> tuple[Any, Any]:
    """Where the tensor begins in its memory, and how many elements it has."""
    return symbolic.expression(tensor.storage_offset), symbolic.expression(math.prod(tensor.shape))


def _storages_that_need_a_base(outputs: tuple[OutputRecord, ...]) -> set[int]:
    found: set[int] = set()
    seen: set[int] = set()
    for record in outputs:
        if record.tensor is None or record.shares_input or record.is_input is not None:
            continue
        if record.tensor.storage in seen or not is_dense(record.tensor):
            found.add(record.tensor.storage)
        seen.add(record.tensor.storage)
    return found


def _view(tensor: TensorRecord, owner: TensorRecord) -> View:
    """Sizes, strides and offset (relative to the owner's), in elements: numbers or expressions of symbols."""
    if tensor.dtype != owner.dtype:
        raise UnsupportedGraphError("output", None, f"a {tensor.dtype} view of a {owner.dtype} tensor")
    (offset,) = symbolic.extents([tensor.storage_offset - owner.storage_offset])
    return View(symbolic.extents(tensor.shape), symbolic.extents(tensor.stride), offset)


def strides_of(tensor: TensorRecord) -> tuple[Extent, ...] | None:
    """Eager's strides, None if they are those of a contiguous tensor."""
    expected: Any = 1
    contiguous = True
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.stride), strict=True):
        contiguous = contiguous and symbolic.expression(stride) == symbolic.expression(expected)
        expected = expected * (size if symbolic.hint(size) > 0 else 1)
    return None if contiguous else symbolic.extents(tensor.stride)


def is_dense(tensor: TensorRecord) -> bool:
    """Whether the elements fill their memory without gaps or overlaps, in some order of the dims."""
    if any(symbolic.hint(size) == 0 for size in tensor.shape):
        return True
    dims = [
        (symbolic.hint(stride), symbolic.hint(size))
        for size, stride in zip(tensor.shape, tensor.stride, strict=True)
        if symbolic.hint(size) != 1
    ]
    expected = 1
    for stride, size in sorted(dims):
        if stride != expected:
            return False
        expected *= size
    return True
