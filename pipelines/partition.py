# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass partition: joint function -> @forward and @backward.

What depends on a tangent is backward, what the forward results need is forward; both are read off the data flow. Values that
the backward takes over are saved: arguments as they are, everything else as extra forward results.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import OPS
from flambeau.pipelines import functions as fn
from flambeau.pipelines.registry import register_pass


@register_pass
@dataclass(frozen=True)
class Partition:
    """Split a joint function into `@forward` and `@backward`.

    `partitioner=default` saves every forward value that the backward uses; constants, sizes and views are not
    saved but made again from what they come from. A function without tangents is renamed to `@forward`.
    """

    name = "partition"

    partitioner: Literal["default"] = "default"

    def run(self, module: ir.Module) -> None:
        for function in fn.functions(module):
            partition(module, function, _CHOOSE_SAVED[self.partitioner])


ChooseSaved = Callable[["Joint"], list[ir.Value]]


class Joint:
    """A joint function taken apart by data flow."""

    def __init__(self, function: Any):
        self.function = function
        self.block = fn.entry_block(function)
        self.arguments = fn.argument_attributes(function)
        self.results = fn.result_attributes(function)
        self.returned = list(fn.terminator(self.block).operands)
        self.operations = fn.operations(self.block)[:-1]
        self.tangents = [i for i, a in enumerate(self.arguments) if _is_tangent(a)]
        self.gradients = [i for i, r in enumerate(self.results) if "flambeau.gradient_of" in r]
        self.forward_results = [i for i in range(len(self.results)) if i not in set(self.gradients)]
        self.needs_tangent = self._closure(self.block.arguments[i] for i in self.tangents)
        self.forward = slice_of(self.operations, [self.returned[i] for i in self.forward_results])
        self.backward = slice_of(self.operations, [self.returned[i] for i in self.gradients])

    def _closure(self, roots: Iterable[ir.Value]) -> set[ir.Value]:
        reached = set(roots)
        for op in self.operations:
            if any(v in reached for v in op.operands):
                reached.update(op.results)
        return reached

    def producer(self, value: ir.Value) -> ir.Operation | None:
        """The op that computes `value`, None for an argument."""
        return None if isinstance(value, ir.BlockArgument) else value.owner


def _is_tangent(attributes: fn.Attributes) -> bool:
    return "flambeau.role" in attributes and ir.StringAttr(attributes["flambeau.role"]).value == "tangent"


def slice_of(
    operations: list[ir.Operation], values: Iterable[ir.Value], stop: Iterable[ir.Value] = ()
) -> list[ir.Operation]:
    """The ops that compute `values`, in program order, without going behind the values in `stop`."""
    stops = set(stop)
    needed = {v for v in values if v not in stops}
    found = []
    for op in reversed(operations):
        if any(r in needed for r in op.results):
            found.append(op)
            needed.update(v for v in op.operands if v not in stops)
    return found[::-1]


def save_all(joint: Joint) -> list[ir.Value]:
    """The default partitioner: save each forward value that the backward uses, views as what they are views of."""
    forward = {op.results[i] for op in joint.forward for i in range(len(op.results))}
    saved: dict[ir.Value, None] = {}

    seen: set[ir.Value] = set()
    worklist = [joint.returned[index] for index in joint.gradients]
    while worklist:
        value = worklist.pop()
        if value in seen:
            continue
        seen.add(value)
        op = joint.producer(value)
        if op is None:
            if value not in joint.needs_tangent:
                saved[value] = None
        elif value in forward and not _is_free(op):
            saved[value] = None
        else:
            worklist.extend(op.operands)
    return _in_program_order(joint, saved)


def _is_free(op: ir.Operation) -> bool:
    """Whether making the op's results again costs nothing: constants, sizes, index arithmetic, views."""
    if op.name.startswith("arith."):
        return True
    cls = OPS[op.name]
    return cls.view or not any(f.kind.__name__ == "Tensor" for f in cls.fields) or op.name == "flambeau.dim"


def _in_program_order(joint: Joint, values: Iterable[ir.Value]) -> list[ir.Value]:
    order: dict[ir.Value, int] = {a: i for i, a in enumerate(joint.block.arguments)}
    for op in joint.operations:
        for result in op.results:
            order[result] = len(order)
    return sorted(values, key=lambda v: order[v])


_CHOOSE_SAVED: dict[str, ChooseSaved] = {"default": save_all}


def partition(module: ir.Module, function: Any, choose_saved: ChooseSaved) -> None:
    """Replace a joint function by `@forward` and `@backward`, saving what `choose_saved` says."""
    joint = Joint(function)
    if not joint.tangents:
        function.operation.attributes["sym_name"] = ir.StringAttr.get("forward")
        return
    saved = choose_saved(joint)
    with ir.InsertionPoint(function.operation), function.operation.location:
        _build_forward(joint, saved)
        _build_backward(joint, saved)
    function.operation.erase()


def _build_forward(joint: Joint, saved: list[ir.Value]) -> None:
    primals = [i for i in range(len(joint.arguments)) if i not in set(joint.tangents)]
    results = [joint.returned[i] for i in joint.forward_results]
    attributes = [joint.results[i] for i in joint.forward_results]
    for value in saved:
        if joint.producer(value) is not None and value not in results:
            results.append(value)
            attributes.append({"flambeau.saved": ir.UnitAttr.get()})
    _build(
        "forward",
        [joint.block.arguments[i] for i in primals],
        [joint.arguments[i] for i in primals],
        slice_of(joint.operations, results),
        results,
        attributes,
    )


def _build_backward(joint: Joint, saved: list[ir.Value]) -> None:
    forward_results = [joint.returned[i] for i in joint.forward_results]
    forward_results += [v for v in saved if joint.producer(v) is not None and v not in forward_results]
    arguments: list[fn.Attributes] = []
    for value in saved:
        fact: fn.Attributes = {"flambeau.role": ir.StringAttr.get("saved")}
        if joint.producer(value) is None:
            number = ir.BlockArgument(value).arg_number
            fact |= {
                k: joint.arguments[number][k] for k in ("flambeau.dims",) if k in joint.arguments[number]
            }
            fact["flambeau.of_argument"] = fn.integer(number)
        else:
            fact["flambeau.of_result"] = fn.integer(forward_results.index(value))
        arguments.append(fact)
    tangents = [joint.block.arguments[i] for i in joint.tangents]
    results = [joint.returned[i] for i in joint.gradients]
    _build(
        "backward",
        [*saved, *tangents],
        [*arguments, *(joint.arguments[i] for i in joint.tangents)],
        slice_of(joint.operations, results, stop=[*saved, *tangents]),
        results,
        [joint.results[i] for i in joint.gradients],
    )


def _build(
    name: str,
    inputs: list[ir.Value],
    input_attributes: list[fn.Attributes],
    operations: list[ir.Operation],
    results: list[ir.Value],
    result_attributes: list[fn.Attributes],
) -> None:
    """A new function that runs copies of `operations` on `inputs`."""
    function = fn.create_function(name, [v.type for v in inputs], [v.location for v in inputs])
    block = fn.entry_block(function)
    values: dict[ir.Value, ir.Value] = dict(zip(inputs, block.arguments, strict=True))
    with ir.InsertionPoint(block):
        for op in operations:
            copy = op.clone()
            for index, operand in enumerate(op.operands):
                copy.operands[index] = values[operand]
            for old, new in zip(op.results, copy.results, strict=True):
                values.setdefault(old, new)
        ir.Operation.create("func.return", operands=[values[v] for v in results])
    fn.set_signature(function, input_attributes, result_attributes)
