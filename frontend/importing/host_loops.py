# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""PyTorch's loop operators: what one iteration takes and the loop returns, for capture; and their import.

A loop is a call on the host (dialects/calls/host.py) of what runtime/interpreter/loops.py makes of the operator. Its
bodies are private functions of the module, which the interpreter runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.utils._pytree as pytree
from torch import fx

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import host, keep_on_host
from flambeau.dialects.facts import Attributes
from flambeau.dialects.opdef import OPS
from flambeau.frontend.capture.records import NODE_RECORD, NodeRecord
from flambeau.frontend.importing.fallback import Operands, call_on_host
from flambeau.frontend.importing.inner_graphs import import_body, is_value, result_of

if TYPE_CHECKING:
    from flambeau.frontend.importing.importer import Importer

Group = Sequence[Any]


@dataclass(frozen=True)
class Loop:
    """A loop operator: its arguments are as many graphs as it has `bodies`, then groups of tensors and sizes.

    `carries`: what its body returns first is the first group of the next iteration. `inputs`: the groups -> the
    arguments of its bodies in one iteration. `results`: the groups and what the last body returns in one iteration ->
    what the loop returns. Both on fake tensors, whose memory the results do not share.
    """

    bodies: int
    carries: bool
    inputs: Callable[..., list[Any]]
    results: Callable[..., list[Any]]


def _slices(tensors: Group) -> list[torch.Tensor]:
    return [x.select(0, 0) for x in tensors]


def _like(values: Group) -> list[Any]:
    return [
        torch.empty_strided(v.shape, v.stride(), dtype=v.dtype, device=v.device)
        if isinstance(v, torch.Tensor)
        else v
        for v in values
    ]


def _stacked(tensors: Group, outputs: Group) -> list[torch.Tensor]:
    length = tensors[0].shape[0]
    return [torch.empty((length, *o.shape), dtype=o.dtype, device=o.device) for o in outputs]


LOOPS: dict[Any, Loop] = {
    torch.ops.higher_order.while_loop: Loop(
        2,
        True,
        lambda carried, additional: [*map(_any_number, carried), *additional],
        lambda carried, additional, outputs: [*map(_any_number, _like(outputs))],
    ),
    torch.ops.higher_order.map_impl: Loop(
        1,
        False,
        lambda xs, additional: [*_slices(xs), *additional],
        lambda xs, additional, outputs: _stacked(xs, outputs),
    ),
    torch.ops.higher_order.scan: Loop(
        1,
        True,
        lambda init, xs, additional: [*init, *_slices(xs), *additional],
        lambda init, xs, additional, outputs: [
            *_like(outputs[: len(init)]),
            *_stacked(xs, outputs[len(init) :]),
        ],
    ),
    torch.ops.higher_order.associative_scan: Loop(
        1,
        True,
        lambda xs, additional: [*_slices(xs), *_slices(xs), *additional],
        lambda xs, additional, outputs: _stacked(xs, outputs),
    ),
}


def _any_number(value: Any) -> Any:
    """A carried number differs from one iteration to the next: in its place, a symbol."""
    if isinstance(value, torch.Tensor):
        return value
    mode = torch._guards.detect_fake_mode()
    assert mode is not None and mode.shape_env is not None
    with mode.shape_env.ignore_fresh_unbacked_symbols():
        return mode.shape_env.create_unbacked_symint()


def import_loop(importer: "Importer", node: fx.Node) -> list[ir.Value]:
    """The results of a loop's node."""
    loop = LOOPS[node.target]
    groups: Sequence[Group]
    bodies, groups = node.args[: loop.bodies], node.args[loop.bodies :]  # type: ignore[assignment]
    names = []
    for body in bodies:
        assert isinstance(body, fx.Node)
        graph: fx.GraphModule = importer.entity(body)
        placeholders = [n for n in graph.graph.nodes if n.op == "placeholder"]
        returned = pytree.tree_leaves(result_of(graph))
        name, _ = import_body(importer, str(body.target), graph, placeholders, returned, differentiated=True)
        names.append(name)
    functions = [f for f in importer.module_body.operations if f.operation.name == "func.func"]
    functions = [f for f in functions if f.name.value in names]
    inside = [op for function in functions for op in fn.operations(fn.entry_block(function))]
    draws_or_calls = any(op.name == "func.call" or hasattr(OPS.get(op.name), "functional") for op in inside)
    # What a tape records, and what PyTorch draws, is interpreted; other bodies may be compiled.
    if importer.needs_autograd or draws_or_calls:
        for function in functions:
            keep_on_host(function)
    *varying, same = groups
    inner = placeholders[len(placeholders) - len(same) :]
    same = [v for v, p in zip(same, inner, strict=True) if is_value(p)]  # a known number stands in the bodies
    operands = Operands(importer)
    template = [[operands.attribute(v) for v in group] for group in (*varying, same)]
    attributes: Attributes = {
        host.BODIES: ir.ArrayAttr.get([ir.FlatSymbolRefAttr.get(name) for name in names]),
        host.ARGUMENTS: ir.ArrayAttr.get([ir.ArrayAttr.get(group) for group in template]),
    }
    record: NodeRecord = node.meta[NODE_RECORD]
    if draws_or_calls:
        attributes[host.ONCE] = ir.UnitAttr.get()
    call = call_on_host(
        importer,
        str(node.target),
        operands,
        [t is not None and t.requires_grad for t in record.results],
        "PyTorch runs its loops",
        attributes,
    )
    if any(host.EFFECTS in op.attributes for op in inside):
        call.attributes[host.EFFECTS] = ir.UnitAttr.get()
    return list(call.results)
