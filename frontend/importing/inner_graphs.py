# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Inner graphs (bodies of custom autograd functions, branches of torch.cond) as private functions of the module."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from flambeau.dialects import build as b
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.types import compatible, shape_of
from flambeau.frontend.capture.records import NODE_RECORD
from flambeau.frontend.importing.context import ImportContext


def result_of(graph_module: fx.GraphModule) -> Any:
    """What an inner graph returns, as nodes."""
    return next(n for n in graph_module.graph.nodes if n.op == "output").args[0]


def is_value(entry: Any) -> bool:
    """Whether an operand or result of the graph is a value of the IR; the others are Python constants."""
    return isinstance(entry, fx.Node) and isinstance(entry.meta.get("val"), torch.Tensor | torch.SymInt)


def operand_value(importer: ImportContext, node: Any) -> ir.Value:
    """The tensor, size or comparison of sizes that a node, or a number, stands for."""
    fake = node.meta["val"] if isinstance(node, fx.Node) else node
    if isinstance(fake, torch.SymBool | bool):
        return importer.symbols.truth(fake)
    return b.as_index(importer.size(fake)) if isinstance(fake, torch.SymInt | int) else importer.value(node)


def import_body(
    importer: ImportContext,
    name: str,
    body: fx.GraphModule,
    given: Sequence[Any],
    returned: Sequence[fx.Node],
    *,
    differentiated: bool = False,
    gradients_of: Sequence[fx.Node] = (),
) -> tuple[str, list[ir.Type]]:
    """An inner graph as a private function: its name, which starts with `name`, and the types of what it returns.

    `given`: what its placeholders stand for, outside. `differentiated`: a pass will derive its derivative.
    `gradients_of`: the values whose gradients it returns, if it is a backward; autograd gives these the values' dtypes
    and shapes.
    """
    placeholders = [n for n in body.graph.nodes if n.op == "placeholder"]
    arguments = [p for p, g in zip(placeholders, given, strict=True) if is_value(g)]
    outside = {t.storage for p in placeholders for t in p.meta[NODE_RECORD].results if t is not None}
    written = {s for n in body.graph.nodes if NODE_RECORD in n.meta for s in n.meta[NODE_RECORD].written}
    if outside & written:
        raise TypeError("a body that writes its inputs, gradients or saved values")
    with importer.inner_function(name, arguments, written, differentiated=differentiated) as function:
        importer.import_body(body)
        values = [operand_value(importer, r) for r in returned]
        for index, node in enumerate(gradients_of):
            values[index] = _as_gradient_of(importer, values[index], node.meta["val"])
        ir.Operation.create("func.return", operands=values)
    fn.set_signature(function)
    return function.name.value, [v.type for v in values]


def _as_gradient_of(importer: ImportContext, gradient: ir.Value, value: torch.Tensor) -> ir.Value:
    """A gradient in the dtype of the value, summed over what the value would be repeated along to have its shape."""
    wanted = importer.tensor_type(value.shape, value.dtype)
    if len(shape_of(gradient)) >= len(shape_of(wanted)):
        gradient = b.sum_to(b.cast(gradient, wanted.element_type), wanted)
    if not compatible(gradient.type, wanted):
        raise TypeError(f"its backward returns {gradient.type} as the gradient of {wanted}")
    return gradient
