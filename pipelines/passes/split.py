# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass split: functions with ops that cannot be compiled -> compiled segments, called from what runs on the host.

A value's level is the number of times that its computation comes over from the host. Ops of one level are one
segment: as large as it can be, because it waits for the host no earlier than it must.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import choice, host, keep_on_host
from flambeau.dialects.facts import ArgumentFacts
from flambeau.dialects.opdef import OPS
from flambeau.pipelines.lower_to_torch import why_not_lowered
from flambeau.pipelines.registry import register_pass

_COSTLESS = ("flambeau.constant", "flambeau.dim")


@register_pass
@dataclass(frozen=True)
class Split:
    """Take the ops that cannot be compiled, and the calls on the host, out of the functions that are compiled.

    A function with such ops becomes a host function, which the interpreter runs; what lies between them becomes
    functions `@<name>_segment_<k>`. Other functions stay as they are. What a loop repeats is a function to be compiled
    too, unless it is marked as the host's. `min-block-size`: how many ops a segment or repeated function must have to
    be worth a call; smaller ones stay on the host.
    """

    name = "split"

    min_block_size: int = 3

    def run(self, module: ir.Module) -> None:
        repeated = host.all_bodies(module)
        for function in fn.functions(module):
            if function.name.value in repeated and not host.is_host_function(function):
                if _size(fn.operations(fn.entry_block(function))[:-1]) < self.min_block_size:
                    keep_on_host(function)
                else:
                    del function.operation.attributes["sym_visibility"]
        for function in fn.functions(module):
            if not fn.is_private(function) and not host.is_host_function(function):
                split(function, self.min_block_size)
        for function in fn.functions(module):
            if fn.is_private(function) and host.is_host_function(function):
                _give_reasons(function)


def split(function: Any, min_block_size: int) -> None:
    """Split one `func.func`; see `Split`."""
    ops = fn.operations(fn.entry_block(function))[:-1]
    on_host = {op for op in ops if _host_reason(op)}
    if not on_host:
        return
    for op in on_host:
        for branch in choice.branches(op) or ():
            keep_on_host(branch)
    _Splitting(function, ops, on_host, min_block_size).run()


def _give_reasons(function: Any) -> None:
    """Say of the ops of a loop's or a choice's function on the host why they are there."""
    for op in fn.operations(fn.entry_block(function)):
        if op.name in OPS and op.name not in _COSTLESS and host.REASON not in op.attributes:
            op.attributes[host.REASON] = ir.StringAttr.get("what calls it runs on the host")


def _host_reason(op: ir.Operation) -> str | None:
    """Why an op runs on the host, or None."""
    called = host.callee(op)
    if called is not None:
        return host.reason(called) or "PyTorch runs it"
    return why_not_lowered(op)


class _Splitting:
    """One function being split."""

    def __init__(
        self,
        function: Any,
        ops: list[ir.Operation],
        on_host: set[ir.Operation],
        min_block_size: int,
    ):
        self._function = function
        self._ops = ops
        self._min_block_size = min_block_size
        self._free = _free_ops(ops, on_host)
        self._host = on_host
        self._level = self._levels()
        self._producer = {result: op for op in ops for result in op.results}

    def _levels(self) -> dict[ir.Operation, int]:
        """See the module docstring. Calls of PyTorch keep their order: they may have effects or draw random numbers."""
        level: dict[ir.Operation, int] = {}
        made_by: dict[ir.Value, ir.Operation] = {}
        last_call = 0
        for op in self._ops:
            if op in self._free:
                continue
            of_operands = [made_by[v] for v in op.operands if v in made_by]
            if op in self._host:
                level[op] = max((level[p] for p in of_operands), default=0)
                if op.name == "func.call":
                    last_call = level[op] = max(level[op], last_call)
            else:
                level[op] = max((level[p] + (p in self._host) for p in of_operands), default=0)
            made_by.update(dict.fromkeys(op.results, op))
        return level

    def run(self) -> None:
        """Replace the function."""
        host_ops = [op for op in self._ops if op in self._host]
        segments: dict[int, list[ir.Operation]] = {}
        for op in self._ops:
            if op in self._level and op not in self._host:
                segments.setdefault(self._level[op], []).append(op)
        for number, members in list(segments.items()):
            if _size(members) < self._min_block_size:
                host_ops += segments.pop(number)
                for branch in (b for op in members for b in choice.branches(op) or ()):
                    keep_on_host(branch)
        order = {op: i for i, op in enumerate(self._ops)}
        host_ops.sort(key=lambda op: (self._level[op], order[op]))

        old = fn.entry_block(self._function)
        returned = list(fn.terminator(old).operands)
        name = self._function.name.value
        with ir.InsertionPoint(self._function.operation), self._function.operation.location:
            new = fn.create_function(
                name, [a.type for a in old.arguments], [a.location for a in old.arguments]
            )
            self._values = dict(zip(old.arguments, fn.entry_block(new).arguments, strict=True))
            needed_by_host = {v for op in host_ops for v in op.operands} | set(returned)
            with ir.InsertionPoint(fn.entry_block(new)):
                for number in range(max(self._level.values(), default=0) + 1):
                    if number in segments:
                        others = {
                            v for k, ops in segments.items() if k != number for op in ops for v in op.operands
                        }
                        self._call_segment(
                            f"{name}_segment_{number}", segments[number], needed_by_host | others
                        )
                    for op in host_ops:
                        if self._level[op] == number:
                            self._copy_on_host(op)
                ir.Operation.create("func.return", operands=[self._on_host(v) for v in returned])
        fn.set_signature(new, fn.argument_facts(self._function), fn.result_facts(self._function))
        new.operation.attributes[host.HOST] = ir.UnitAttr.get()
        self._function.operation.erase()

    def _copy_on_host(self, op: ir.Operation) -> None:
        copy = self._copied(op)
        if host.callee(op) is None:
            chosen = op not in self._host
            text = _host_reason(op) or f"fewer than {self._min_block_size} ops between others on the host"
            copy.attributes[host.REASON] = ir.StringAttr.get(text)
            if chosen:
                copy.attributes[host.CHOSEN] = ir.UnitAttr.get()

    def _on_host(self, value: ir.Value) -> ir.Value:
        """The value in the new function; what costs nothing is made where it is first used."""
        if value not in self._values:
            self._copied(self._producer[value])
        return self._values[value]

    def _copied(self, op: ir.Operation) -> ir.Operation:
        for operand in op.operands:
            self._on_host(operand)
        return fn.copy_op(op, self._values)

    def _call_segment(self, name: str, members: list[ir.Operation], used: set[ir.Value]) -> None:
        """A function of these ops, and its call."""
        inside = self._with_free(members)
        own = {r for op in inside for r in op.results}
        inputs = list(dict.fromkeys(v for op in inside for v in op.operands if v not in own))
        results = [r for op in members for r in op.results if r in used]
        with ir.InsertionPoint(self._function.operation):
            segment = fn.create_function(name, [v.type for v in inputs], [v.location for v in inputs])
        values = dict(zip(inputs, fn.entry_block(segment).arguments, strict=True))
        with ir.InsertionPoint(fn.entry_block(segment)):
            for op in inside:
                fn.copy_op(op, values)
            ir.Operation.create("func.return", operands=[values[v] for v in results])
        fn.set_signature(segment, [self._facts(v) for v in inputs])
        call = fn.call(name, [v.type for v in results], [self._on_host(v) for v in inputs])
        self._values.update(zip(results, call.results, strict=True))

    def _with_free(self, members: Sequence[ir.Operation]) -> list[ir.Operation]:
        """The ops, and the free ones that they need, in program order."""
        needed = set(members)
        worklist = list(members)
        while worklist:
            for operand in worklist.pop().operands:
                op = self._producer.get(operand)
                if op in self._free and op not in needed:
                    needed.add(op)
                    worklist.append(op)
        return [op for op in self._ops if op in needed]

    def _facts(self, value: ir.Value) -> ArgumentFacts:
        """What a segment may know of its argument: the names of its dims."""
        if not isinstance(value, ir.BlockArgument):
            return ArgumentFacts()
        return ArgumentFacts(dims=fn.argument_facts(self._function)[value.arg_number].dims)


def _free_ops(ops: Iterable[ir.Operation], on_host: set[ir.Operation]) -> set[ir.Operation]:
    """What is made where it is used: constants, sizes of what is no segment's result, index arithmetic on these."""
    free: set[ir.Operation] = set()
    computed: set[ir.Value] = set()  # by some segment
    for op in ops:
        if op in on_host:
            continue
        cheap = op.name in _COSTLESS or op.name.startswith("arith.")
        if cheap and not any(v in computed for v in op.operands):
            free.add(op)
        else:
            computed.update(op.results)
    return free


def _size(ops: Iterable[ir.Operation]) -> int:
    """How many of the ops compute something."""
    return sum(op.name in OPS and not OPS[op.name].view and op.name not in _COSTLESS for op in ops)
