# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Import of a user's torch.autograd.Function: a call of its forward that names its backward; see custom.py."""

from typing import Any

from torch import fx

from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import custom
from flambeau.frontend.importing.context import ImportContext
from flambeau.frontend.importing.inner_graphs import import_body, is_value, operand_value, result_of


def import_user_function(importer: ImportContext, node: fx.Node) -> list[Any]:
    """The results of an `autograd_function_apply` node."""
    forward_node, backward_node, *operands = node.args
    assert isinstance(forward_node, fx.Node) and isinstance(backward_node, fx.Node)
    forward: fx.GraphModule = importer.entity(forward_node)
    backward: fx.GraphModule = importer.entity(backward_node)
    returned, saved = result_of(forward)
    outputs = returned if isinstance(returned, list | tuple) else [returned]
    gradients = result_of(backward)
    gradients = gradients if isinstance(gradients, list | tuple) else [gradients]
    if len(gradients) != len(operands):
        raise TypeError(f"its backward returns {len(gradients)} gradients for {len(operands)} operands")
    differentiated = [
        i for i, (g, o) in enumerate(zip(gradients, operands, strict=True)) if is_value(g) and is_value(o)
    ]

    tensors = [o for o in outputs if is_value(o)]
    kept = [s for s in saved if is_value(s)]
    name, types = import_body(importer, str(forward_node.target), forward, operands, [*tensors, *kept])
    backward_name, _ = import_body(
        importer,
        str(backward_node.target),
        backward,
        [*outputs, *saved],
        [gradients[i] for i in differentiated],
        gradients_of=[o for i in differentiated if isinstance(o := operands[i], fx.Node)],
    )

    values = [o for o in operands if is_value(o)]
    call = ir.Operation.create(
        "func.call",
        results=types,
        operands=[operand_value(importer, o) for o in values],
        attributes={"callee": ir.FlatSymbolRefAttr.get(name)},
    )
    indices: list[int] = node.kwargs["non_differentiable_idx"]  # type: ignore[assignment]
    non_differentiable = {outputs[i] for i in indices}
    custom.attach_backward(
        call,
        backward_name,
        len(tensors),
        [values.index(operands[i]) for i in differentiated],
        [i for i, t in enumerate(tensors) if t in non_differentiable],
    )
    results = iter(call.results)
    return [next(results) if is_value(o) else o for o in outputs]
