# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of PyTorch from the IR: a host function without a body -> a Python callable.

dialects/calls/host.py describes the attributes. Derivatives are PyTorch's own: a call with active operands records
a tape with PyTorch's autograd, and the derivative plays it back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import host
from flambeau.runtime.interpreter.loops import LOOPS

HostCall = Callable[..., list[Any]]
Lookup = Callable[[str], Callable[..., list[Any]]]
"""The functions of the module by name."""


@dataclass(frozen=True)
class Tape:
    """What autograd needs to differentiate one call: its outputs with their history, and its active inputs."""

    inputs: tuple[torch.Tensor, ...]
    outputs: tuple[Any, ...]

    def gradients(
        self, results: Sequence[int], cotangents: Sequence[torch.Tensor], *, create_graph: bool = False
    ) -> list[torch.Tensor]:
        """The gradients of the inputs, zeros where there is none; with `create_graph` they have a history."""
        # An output without a history, as eager's op may give at run time, passes nothing on.
        seeded = [
            (self.outputs[i], g)
            for i, g in zip(results, cotangents, strict=True)
            if self.outputs[i].requires_grad
        ]
        if not seeded:
            return [torch.zeros_like(x) for x in self.inputs]
        found = torch.autograd.grad(
            [o for o, _ in seeded],
            self.inputs,
            [g for _, g in seeded],
            allow_unused=True,
            create_graph=create_graph,
            retain_graph=True,  # the caller's graph decides how often its backward may run
        )
        return [torch.zeros_like(x) if g is None else g for x, g in zip(self.inputs, found, strict=True)]


def host_call(function: Any, lookup: Lookup) -> HostCall:
    """The callable of a host function without a body; it returns the list of the function's results."""
    active = host.indices(function, host.ACTIVE)
    if host.is_derivative(function):
        return _derivative(host.indices(function, host.VJP_OF_RESULTS), active)
    target, read = _target(function, lookup)
    written = host.indices(function, host.WRITTEN)
    strides = [facts.strides for facts in fn.argument_facts(function)]

    def call(values: Sequence[Any]) -> list[Any]:
        given = [v if s is None else _with_strides(v, s) for v, s in zip(values, strides, strict=True)]
        for index in written:
            given[index] = given[index].clone()
        positional, keyword = read(given)
        returned = target(*positional, **keyword)
        results = (
            list(returned) if isinstance(returned, list | tuple) else [] if returned is None else [returned]
        )
        return results + [given[i] for i in written]

    if not active:
        return lambda *values: call(values)

    def taped(*values: Any) -> list[Any]:
        inputs = list(values)
        for index in active:
            inputs[index] = values[index].detach().requires_grad_()
        with torch.enable_grad():
            outputs = call(inputs)
        tape = Tape(tuple(inputs[i] for i in active), tuple(outputs))
        return [*(o.detach() if isinstance(o, torch.Tensor) else o for o in outputs), tape]

    return taped


def _derivative(results: Sequence[int], active: Sequence[int]) -> HostCall:
    """(tape, gradients of `results`) -> the gradients of the tape's inputs.

    Also a tape of this computation, if some operands are `active`: by them, or what the given tape was recorded for.
    """
    if not active:
        return lambda tape, *cotangents: tape.gradients(results, cotangents)

    def taped(tape: Tape, *cotangents: torch.Tensor) -> list[Any]:
        operands = [(c.detach().requires_grad_() if i in active else c) for i, c in enumerate(cotangents, 1)]
        inputs = tape.inputs if 0 in active else ()
        with torch.enable_grad():
            gradients = tape.gradients(results, operands, create_graph=True)
        again = Tape((*inputs, *(operands[i - 1] for i in active if i)), tuple(gradients))
        return [*(g.detach() for g in gradients), again]

    return taped


def _target(function: Any, lookup: Lookup) -> tuple[Callable[..., Any], "ReadArguments"]:
    """What a host function calls: an op of PyTorch, a loop around functions of the module, or one such function."""
    name = host.target(function)
    bodies = [lookup(body) for body in host.bodies(function)]
    if not bodies:
        target = overload(name)
        keywords = [a.name if a.kwarg_only else None for a in target._schema.arguments]
        return target, _arguments(keywords, host.argument_template(function))
    if name not in LOOPS:
        (body,) = bodies
        return body, lambda values: (list(values), {})
    template = host.argument_template(function)
    return partial(LOOPS[name], *bodies), _arguments([None] * len(template), template)


def overload(name: str) -> Any:
    """`aten.add.Tensor` -> the callable torch.ops.aten.add.Tensor."""
    namespace, packet, *rest = name.split(".")
    return getattr(getattr(getattr(torch.ops, namespace), packet), rest[0] if rest else "default")


def _with_strides(value: torch.Tensor, strides: tuple[int, ...]) -> torch.Tensor:
    if value.stride() == strides:
        return value
    part = value[tuple(slice(None) if stride else slice(1) for stride in strides)]  # the rest repeats it
    memory = torch.empty_strided(part.shape, strides, dtype=value.dtype, device=value.device)
    return memory.copy_(part).expand(value.shape)


# --- Arguments -------------------------------------------------------------------------------------------------------

Read = Callable[[Sequence[Any]], Any]
ReadArguments = Callable[[Sequence[Any]], tuple[list[Any], dict[str, Any]]]


def _arguments(keywords: Sequence[str | None], template: ir.ArrayAttr) -> ReadArguments:
    """Positional and keyword arguments from the operands' values. `keywords`: the names of those that have one."""
    positional: list[Read] = []
    keyword: dict[str, Read] = {}
    for name, attribute in zip(keywords, template, strict=True):
        if name is not None:
            keyword[name] = _reader(attribute)
        else:
            positional.append(_reader(attribute))
    return lambda values: ([r(values) for r in positional], {k: r(values) for k, r in keyword.items()})


def _reader(attribute: ir.Attribute) -> Read:
    """One argument from the operands' values."""
    if isinstance(attribute, ir.ArrayAttr):
        parts = [_reader(a) for a in attribute]
        return lambda values: [part(values) for part in parts]
    if isinstance(attribute, ir.StringAttr):
        text = str(attribute.value).removeprefix("%")
        index = int(text.removesuffix(".item"))
        return (
            (lambda values: values[index].item())
            if text.endswith(".item")
            else (lambda values: values[index])
        )
    constant = _constant(attribute)
    return lambda values: constant


def _constant(attribute: ir.Attribute) -> Any:
    if isinstance(attribute, ir.UnitAttr):
        return None
    if isinstance(attribute, ir.DictAttr):
        ((kind, value),) = ((named.name, named.attr) for named in attribute)
        text = str(ir.StringAttr(value).value)
        return text if kind == "str" else complex(text) if kind == "complex" else _TORCH[kind](text)
    if isinstance(attribute, ir.BoolAttr):
        return bool(attribute.value)
    if isinstance(attribute, ir.IntegerAttr):
        return int(attribute.value)
    return float(ir.FloatAttr(attribute).value)


_TORCH: dict[str, Callable[[str], Any]] = {
    "device": torch.device,
    "dtype": lambda text: getattr(torch, text),
    "layout": lambda text: getattr(torch, text),
    "memory_format": lambda text: getattr(torch, text),
}


def constant_attribute(value: Any) -> ir.Attribute:
    """The attribute of an argument that is no tensor; TypeError for what cannot be written."""
    if value is None:
        return ir.UnitAttr.get()
    if isinstance(value, bool):
        return ir.BoolAttr.get(value)
    if isinstance(value, int):
        return ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)
    if isinstance(value, float):
        return ir.FloatAttr.get(ir.F64Type.get(), value)
    if isinstance(value, list | tuple):
        return ir.ArrayAttr.get([constant_attribute(v) for v in value])
    kinds = {
        str: "str",
        complex: "complex",
        torch.device: "device",
        torch.dtype: "dtype",
        torch.layout: "layout",
        torch.memory_format: "memory_format",
    }
    kind = kinds.get(type(value))
    if kind is None:
        raise TypeError(f"argument {value!r} cannot be passed to a call on the host")
    return ir.DictAttr.get({kind: ir.StringAttr.get(str(value).removeprefix("torch."))})
