# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Import of what the dialect has no op for: a call of PyTorch that runs on the host; see host.py."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload

from flambeau.dialects import build as b
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import host
from flambeau.dialects.facts import ArgumentFacts, Attributes
from flambeau.frontend.capture import sizes as symbolic
from flambeau.frontend.importing.context import ImportContext
from flambeau.runtime.interpreter.host_calls import constant_attribute


def import_host_call(
    importer: ImportContext,
    target: OpOverload,
    arguments: dict[str, Any],
    reason: str,
    differentiable: Sequence[bool],
    written: Sequence[fx.Node] = (),
    *,
    chosen: bool = False,
) -> list[ir.Value]:
    """The results of a call of `target`, then the new values of the `written` arguments.

    `arguments` by schema name; `differentiable`: for each result, whether eager gives it a history; `chosen`: it could
    be compiled. TypeError, with `reason` in the text, for what cannot be called in this way.
    """
    if any(formal.name == "storage_offset" for formal in target._schema.arguments):
        raise TypeError(f"{reason}; on the host it would depend on where its argument lies in memory")
    if any(not isinstance(r, torch.Tensor | torch.SymInt) for r in importer.results):
        raise TypeError(f"{reason}; on the host it would return something else than tensors")
    operands = Operands(importer)
    template = ir.ArrayAttr.get([operands.attribute(a) for a in arguments.values()])
    positions = [operands.nodes.index(node) for node in written]
    attributes: Attributes = {host.ARGUMENTS: template}
    if positions:
        attributes[host.WRITTEN] = ir.DenseI64ArrayAttr.get(positions)
    if chosen:
        attributes[host.CHOSEN] = ir.UnitAttr.get()
    if importer.needs_autograd and _runs_once(target):
        attributes[host.ONCE] = ir.UnitAttr.get()
    call = call_on_host(importer, str(target), operands, differentiable, reason, attributes)
    if importer.node.is_impure() or not target._schema.returns:
        call.attributes[host.EFFECTS] = ir.UnitAttr.get()
    return list(call.results)


def call_on_host(
    importer: ImportContext,
    target: str,
    operands: "Operands",
    differentiable: Sequence[bool],
    reason: str,
    attributes: Attributes,
) -> ir.Operation:
    """Declare a host function and call it, for the results that the importer is about to import.

    `attributes` are those that say how it is called, and what it writes; see `import_host_call` for the rest.
    """
    floats = [
        i
        for i, (flag, result) in enumerate(zip(differentiable, importer.results, strict=False))
        if flag and isinstance(result, torch.Tensor) and result.dtype.is_floating_point
    ]
    facts: Attributes = {
        host.TARGET: ir.StringAttr.get(target),
        host.REASON: ir.StringAttr.get(reason),
        "arg_attrs": fn.facts_attribute(operands.facts),
    }
    if floats and importer.needs_autograd:
        facts[host.DIFFERENTIABLE] = ir.DenseI64ArrayAttr.get(floats)
    types = [_type(importer, r) for r in importer.results]
    if host.WRITTEN in attributes:
        positions = ir.DenseI64ArrayAttr(attributes[host.WRITTEN])
        types += [operands.values[i].type for i in positions]
    name = f"host_{target.split('.')[1] if '.' in target else target}"
    unique = host.declare(
        importer.module_body, name, [v.type for v in operands.values], types, attributes | facts
    )
    call = fn.call(unique, types, operands.values)
    for value, fake in zip(call.results, importer.results, strict=False):
        if isinstance(fake, torch.SymInt):
            importer.symbols.bind(fake, value)
        else:
            for dim, size in enumerate(fake.shape):
                importer.symbols.bind(size, value, dim)
    return call


def _runs_once(target: OpOverload) -> bool:
    """Whether a second run may give something else, or do something twice; of a user's op nobody knows."""
    random = torch.Tag.nondeterministic_seeded in target.tags
    return random or target._schema.is_mutable or target.namespace not in ("aten", "prims", "prim")


def _type(importer: ImportContext, fake: torch.Tensor | torch.SymInt) -> ir.Type:
    if isinstance(fake, torch.SymInt):
        return ir.IndexType.get()
    if fake.layout != torch.strided:
        raise TypeError(f"a result of layout {fake.layout} has no type here")
    return importer.tensor_type(fake.shape, fake.dtype)


class Operands:
    """The operands of a call, collected while its arguments are written down as attributes."""

    def __init__(self, importer: ImportContext):
        self._importer = importer
        self.values: list[ir.Value] = []
        self.nodes: list[fx.Node | None] = []
        self.facts: list[ArgumentFacts] = []

    def attribute(self, argument: Any) -> ir.Attribute:
        """How an argument stands in the call."""
        if isinstance(argument, list | tuple):
            return ir.ArrayAttr.get([self.attribute(a) for a in argument])
        fake = argument.meta.get("val") if isinstance(argument, fx.Node) else argument
        if isinstance(fake, torch.SymInt):
            known = symbolic.static(fake)
            return constant_attribute(known) if known is not None else self._operand(None, self._size(fake))
        if isinstance(argument, ir.Value):
            return self._operand(None, argument)
        if not isinstance(argument, fx.Node):
            return constant_attribute(argument)
        if isinstance(fake, torch.SymFloat):
            tensor = self._importer.entity(argument)
            if tensor is None:
                return constant_attribute(float(fake))
            return self._operand(argument, self._importer.value(argument), ".item")
        if fake is not None and not isinstance(fake, torch.Tensor):  # a constant tensor has no fake
            raise TypeError(f"argument {argument} cannot be passed to a call on the host")
        return self._operand(argument, self._importer.value(argument))

    def _size(self, fake: torch.SymInt) -> ir.Value:
        return b.as_index(self._importer.size(fake))

    def _operand(self, node: fx.Node | None, value: ir.Value, suffix: str = "") -> ir.Attribute:
        self.values.append(value)
        self.nodes.append(node)
        self.facts.append(ArgumentFacts(strides=_strides(node)))
        return ir.StringAttr.get(f"%{len(self.values) - 1}{suffix}")


def _strides(node: fx.Node | None) -> tuple[int, ...] | None:
    """Eager's strides of a tensor, where they are known and not the ones that it will have here."""
    fake = node.meta.get("val") if node is not None else None
    if not isinstance(fake, torch.Tensor):
        return None
    strides = [static for s in fake.stride() if (static := symbolic.static(s)) is not None]
    all_known = len(strides) == fake.dim() and all(symbolic.static(s) is not None for s in fake.shape)
    return tuple(strides) if all_known and not fake.is_contiguous() else None
