# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Import of a user's torch.autograd.Function: a call of its forward that names its backward; see custom_vjp.py."""

from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.frontend.signature import NODE_RECORD
from flambeau.pipelines import custom_vjp
from flambeau.pipelines import functions as fn

if TYPE_CHECKING:
    from flambeau.frontend.importer import Importer


def import_user_function(importer: "Importer", node: fx.Node) -> list[Any]:
    """The results of an `autograd_function_apply` node."""
    forward_node, backward_node, *operands = node.args
    assert isinstance(forward_node, fx.Node) and isinstance(backward_node, fx.Node)
    forward: fx.GraphModule = importer.entity(forward_node)
    backward: fx.GraphModule = importer.entity(backward_node)
    returned, saved = _returned(forward)
    outputs = returned if isinstance(returned, list | tuple) else [returned]
    gradients = _returned(backward)
    gradients = gradients if isinstance(gradients, list | tuple) else [gradients]
    if len(gradients) != len(operands):
        raise TypeError(f"its backward returns {len(gradients)} gradients for {len(operands)} operands")
    differentiated = [
        i for i, (g, o) in enumerate(zip(gradients, operands, strict=True)) if _is_value(g) and _is_value(o)
    ]

    name = f"{forward_node.target}"
    tensors = [o for o in outputs if _is_value(o)]
    kept = [s for s in saved if _is_value(s)]
    types = _import_body(importer, name, forward, operands, [*tensors, *kept])
    _import_body(
        importer,
        f"{backward_node.target}",
        backward,
        [*outputs, *saved],
        [gradients[i] for i in differentiated],
    )

    values = [o for o in operands if _is_value(o)]
    call = ir.Operation.create(
        "func.call",
        results=types,
        operands=[_value(importer, o) for o in values],  # type: ignore[arg-type]
        attributes={"callee": ir.FlatSymbolRefAttr.get(name)},
    )
    indices: list[int] = node.kwargs["non_differentiable_idx"]  # type: ignore[assignment]
    non_differentiable = {outputs[i] for i in indices}
    custom_vjp.attach_backward(
        call,
        f"{backward_node.target}",
        len(tensors),
        [values.index(operands[i]) for i in differentiated],
        [i for i, t in enumerate(tensors) if t in non_differentiable],
    )
    results = iter(call.results)
    return [next(results) if _is_value(o) else o for o in outputs]


def _returned(graph_module: fx.GraphModule) -> Any:
    return next(n for n in graph_module.graph.nodes if n.op == "output").args[0]


def _is_value(entry: Any) -> bool:
    """Whether an operand or result of the graph is a value of the IR; the others are Python constants."""
    return isinstance(entry, fx.Node) and isinstance(entry.meta["val"], torch.Tensor | torch.SymInt)


def _value(importer: "Importer", node: fx.Node) -> ir.Value:
    fake = node.meta["val"]
    return b.as_index(importer.size(fake)) if isinstance(fake, torch.SymInt) else importer.value(node)


def _import_body(
    importer: "Importer", name: str, body: fx.GraphModule, given: list[Any], returned: list[fx.Node]
) -> list[ir.Type]:
    """One of the two functions; the types of what it returns. `given`: what its placeholders stand for, outside."""
    placeholders = [n for n in body.graph.nodes if n.op == "placeholder"]
    arguments = [p for p, g in zip(placeholders, given, strict=True) if _is_value(g)]
    outside = {t.storage for p in placeholders for t in p.meta[NODE_RECORD].results if t is not None}
    written = {s for n in body.graph.nodes if NODE_RECORD in n.meta for s in n.meta[NODE_RECORD].written}
    if outside & written:
        raise TypeError("a custom autograd.Function that writes its inputs, gradients or saved values")
    with importer.inner_function(name, arguments, written) as function:
        importer.import_body(body)
        values = [_value(importer, r) for r in returned]
        ir.Operation.create("func.return", operands=values)
    fn.set_signature(function, [{} for _ in arguments], [{} for _ in values])
    return [v.type for v in values]
