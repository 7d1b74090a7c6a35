# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Import of torch.cond: its branches become private functions, of which one is called; dialects/calls/choice.py."""

from collections.abc import Sequence
from typing import Any

from torch import fx

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import choice
from flambeau.dialects.types import is_bool, shape_of
from flambeau.frontend.capture.records import NODE_RECORD
from flambeau.frontend.importing.context import ImportContext
from flambeau.frontend.importing.inner_graphs import import_body, is_value, operand_value, result_of


def import_cond(importer: ImportContext, node: fx.Node) -> list[ir.Value]:
    """The results of a `cond` node, whose branches return tensors of equal types."""
    operands: Sequence[Any]
    predicate, on_true, on_false, operands = node.args  # type: ignore[assignment]
    names = []
    for branch in (on_true, on_false):
        assert isinstance(branch, fx.Node)
        body: fx.GraphModule = importer.entity(branch)
        name, _ = import_body(
            importer, str(branch.target), body, operands, result_of(body), differentiated=True
        )
        names.append(name)
    flag = importer.value(predicate)
    if not is_bool(flag.type):
        raise TypeError(f"its predicate is {flag.type}, where a bool is expected")
    record = node.meta[NODE_RECORD]
    call = choice.choose(
        "cond",
        b.view(flag, []) if shape_of(flag) else flag,
        names,
        [operand_value(importer, o) for o in operands if is_value(o)],
        [importer.tensor_type(t.shape, t.dtype) for t in record.results],
        importer.module_body,
    )
    return list(call.results)
