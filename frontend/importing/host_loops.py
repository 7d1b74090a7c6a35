# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Import of PyTorch's loop operators.

A loop is a call on the host (dialects/calls/host.py) of what runtime/interpreter/loops.py makes of the operator. Its
bodies are private functions of the module, which the interpreter runs.
"""

from collections.abc import Sequence

import torch.utils._pytree as pytree
from torch import fx

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import host, keep_on_host
from flambeau.dialects.facts import Attributes
from flambeau.dialects.opdef import OPS
from flambeau.frontend.capture.loop_operators import LOOPS, Group
from flambeau.frontend.capture.records import NODE_RECORD, NodeRecord
from flambeau.frontend.importing.context import ImportContext
from flambeau.frontend.importing.fallback import Operands, call_on_host
from flambeau.frontend.importing.inner_graphs import import_body, is_value, result_of


def import_loop(importer: ImportContext, node: fx.Node) -> list[ir.Value]:
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
