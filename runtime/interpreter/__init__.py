# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The reference interpreter of our dialects: each op by its eager PyTorch function.

In: a module of any stage before lowering, and tensors. Out: tensors. It is the oracle of every pass, and executes
the debug backends. Differentiable: run with grad mode on, PyTorch's autograd sees through it. References are places
whose value is replaced, never tensors written in place, so inputs are not modified: the updated places are returned
by `run`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import torch

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import choice, custom, host
from flambeau.dialects.opdef import OPS, AtenCall, DType, Field, Literal
from flambeau.runtime.interpreter.evaluators import FAMILIES
from flambeau.runtime.interpreter.history import with_history
from flambeau.runtime.interpreter.host_calls import host_call, overload
from flambeau.runtime.interpreter.table import EVALUATORS, InterpreterError, Value, evaluates, torch_dtype
from flambeau.runtime.resident import ResidentTensor, to_tensor


class Function:
    """A `func.func` prepared for evaluation: call it with one argument per function argument."""

    def __init__(self, func_op: Any, symbols: dict[str, Any]):
        self.name: str = func_op.name.value
        self._symbols = symbols
        self._body = Body(func_op.regions[0].blocks[0], symbols)

    def __call__(self, *arguments: Value) -> list[Value]:
        return self._body(*arguments)


class Body:
    """A block prepared for evaluation; isolated bodies only, no control flow between blocks."""

    def __init__(self, block: ir.Block, symbols: dict[str, Any]):
        self._slots: dict[Any, int] = {}
        for argument in block.arguments:
            self._slots[argument] = len(self._slots)
        self._argument_count = len(self._slots)
        operations = [o.operation for o in block.operations]
        self._steps = [self._prepare(o, symbols) for o in operations[:-1]]
        self._results = [self._slot(v) for v in operations[-1].operands]

    def _slot(self, value: ir.Value) -> int:
        return self._slots[value]

    def _new_slots(self, op: ir.Operation) -> list[int]:
        first = len(self._slots)
        for index, result in enumerate(op.results):
            self._slots[result] = first + index
        return list(range(first, first + len(op.results)))

    def __call__(self, *arguments: Value) -> list[Value]:
        if len(arguments) != self._argument_count:
            raise InterpreterError(f"{self._argument_count} arguments expected, {len(arguments)} given")
        values: list[Value] = [*arguments, *[None] * (len(self._slots) - self._argument_count)]
        for evaluate, targets in self._steps:
            results = evaluate(values)
            if len(targets) == 1:
                values[targets[0]] = results
            else:
                for target, result in zip(targets, results if targets else (), strict=True):
                    values[target] = result
        return [values[slot] for slot in self._results]

    def _prepare(
        self, op: ir.Operation, symbols: dict[str, Any]
    ) -> tuple[Callable[[list[Value]], Any], list[int]]:
        operands = [self._slot(v) for v in op.operands]
        if op.name == "func.call":
            return _prepare_call(op, operands, symbols), self._new_slots(op)
        if op.name in _INDEX_ARITHMETIC:
            compute = _INDEX_ARITHMETIC[op.name]
            return (lambda values: compute(*[values[s] for s in operands])), self._new_slots(op)
        if op.name == "arith.constant":
            literal = op.attributes["value"].value
            return (lambda values: literal), self._new_slots(op)
        if op.name not in OPS:
            raise InterpreterError(f"{op.location}: the interpreter has no op {op.name}")
        step = self._prepare_declared(op, symbols)
        if op.name != "flambeau.dim":  # which reads no values
            step = _on_host(step, operands)
        return step, self._new_slots(op)

    def _prepare_declared(self, op: ir.Operation, symbols: dict[str, Any]) -> Callable[[list[Value]], Any]:
        cls = OPS[op.name]
        readers = {f.name: self._reader(op.opview, f) for f in cls.fields}
        evaluator = EVALUATORS.get(op.name)
        if evaluator is None:
            if not cls.aten:
                raise InterpreterError(
                    f"{op.location}: {op.name} has neither an ATen overload nor an evaluator"
                )
            return _direct(cls.aten[0], readers)
        fixed = {"op": op.opview}
        if len(op.regions):
            fixed["regions"] = [Body(r.blocks[0], symbols) for r in op.regions]
        return lambda values: evaluator(
            SimpleNamespace(**fixed, **{k: read(values) for k, read in readers.items()})
        )

    def _reader(self, op: Any, item: Field) -> Callable[[list[Value]], Any]:
        value = getattr(op, item.name)
        if item.is_operand and item.variadic:
            slots = [self._slot(v) for v in value]
            return lambda values: [values[s] for s in slots]
        if isinstance(value, ir.Value):
            slot = self._slot(value)
            return lambda values: values[slot]
        if item.is_size and isinstance(value, list):
            parts = [s if isinstance(s, int) else self._slot(s) for s in value]
            known = [isinstance(s, int) for s in value]
            return lambda values: [p if k else values[p] for p, k in zip(parts, known, strict=True)]
        if item.kind is DType and value is not None:
            value = torch_dtype(value)
        return lambda values: value


def _on_host(step: Callable[[list[Value]], Any], operands: list[int]) -> Callable[[list[Value]], Any]:
    """The same where operands may be on a device."""

    def evaluate(values: list[Value]) -> Any:
        resident = {s for s in operands if isinstance(values[s], ResidentTensor)}
        if resident:
            values = list(values)
            for slot in resident:
                values[slot] = values[slot].tensor
        return step(values)

    return evaluate


def _prepare_call(
    op: ir.Operation, operands: list[int], symbols: dict[str, Any]
) -> Callable[[list[Value]], Any]:
    callee, backward = fn.callee_name(op), custom.backward_name(op)
    assert callee is not None
    own = None
    if backward is not None:
        own = OwnDerivative(
            forward=lambda *a: _lookup(symbols, callee)(*a),
            backward=lambda *a: _lookup(symbols, backward)(*a),
            outputs=custom.output_count(op),
            gradient_of=tuple(custom.gradient_of(op)),
        )

    def call(values: list[Value]) -> Any:
        given = [values[s] for s in operands]
        results = _lookup(symbols, callee)(*given) if own is None else own(*given)
        return results[0] if len(results) == 1 else results

    return call


@dataclass(frozen=True)
class OwnDerivative:
    """A call that says its derivative itself; evaluated so that PyTorch's autograd uses it."""

    forward: Callable[..., list[Value]]
    backward: Callable[..., list[Value]]
    outputs: int
    gradient_of: tuple[int, ...]

    def __call__(self, *values: Value) -> list[Value]:
        saved: list[Value] = []
        outputs = _CallWithOwnDerivative.apply(self, saved, *values)  # type: ignore[no-untyped-call]
        return [*outputs, *saved]


class _CallWithOwnDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: OwnDerivative, saved: list[Value], *values: Value) -> tuple[Value, ...]:
        results = call.forward(*values)
        saved.extend(results[call.outputs :])
        ctx.call, ctx.saved, ctx.count = call, results[call.outputs :], len(values)
        outputs = tuple(o.clone() for o in results[: call.outputs])  # none of them may be an input
        ctx.outputs = [(o.shape, o.dtype, o.device) for o in outputs]
        return outputs

    @staticmethod
    def backward(ctx: Any, *tangents: torch.Tensor | None) -> tuple[Any, ...]:
        given = [
            torch.zeros(shape, dtype=dtype, device=device) if t is None else t
            for t, (shape, dtype, device) in zip(tangents, ctx.outputs, strict=True)
        ]
        gradients: list[Any] = [None] * ctx.count
        for index, gradient in zip(ctx.call.gradient_of, ctx.call.backward(*given, *ctx.saved), strict=True):
            gradients[index] = gradient
        return (None, None, *gradients)


def _lookup(symbols: dict[str, Any], name: str) -> Callable[..., list[Value]]:
    if name not in symbols:
        raise InterpreterError(f"no function @{name}; there are: {', '.join(symbols)}")
    if not callable(symbols[name]):
        function = symbols[name]
        has_body = len(function.regions[0].blocks)
        symbols[name] = Function(function, symbols) if has_body else _without_body(function, symbols)
    called: Callable[..., list[Value]] = symbols[name]
    return called


def _without_body(function: Any, symbols: dict[str, Any]) -> Callable[..., list[Value]]:
    """A choice between two functions, or a call of PyTorch."""
    if choice.is_choice(function):
        on_true, on_false = choice.branch_names(function)
        return lambda predicate, *operands: _lookup(symbols, on_true if to_tensor(predicate) else on_false)(
            *operands
        )
    if host.TARGET not in function.operation.attributes and not host.is_derivative(function):
        raise InterpreterError(f"@{function.name.value} has no body, and does not say what it calls")

    def body(name: str) -> Callable[..., list[Value]]:
        called = _lookup(symbols, name)
        return lambda *values: [to_tensor(result) for result in called(*values)]

    call = host_call(function, body)
    return lambda *operands: call(*map(to_tensor, operands))


def _constantly(value: Any) -> Callable[[list[Value]], Any]:
    return lambda values: value


def _direct(call: AtenCall, readers: dict[str, Callable[[list[Value]], Any]]) -> Callable[[list[Value]], Any]:
    """A call of the ATen overload `call`, its arguments read by field name."""
    function = overload(call.name)
    positional: list[Callable[[list[Value]], Any]] = []
    keyword: dict[str, Callable[[list[Value]], Any]] = {}
    for argument, formal in zip(call.arguments or (), function._schema.arguments, strict=False):
        if isinstance(argument, str):
            read = readers[argument]
        else:
            fixed = argument.value if isinstance(argument, Literal) else argument
            read = _constantly(fixed)
        if formal.kwarg_only:
            keyword[formal.name] = read
        else:
            positional.append(read)
    return lambda values: function(
        *[r(values) for r in positional], **{k: r(values) for k, r in keyword.items()}
    )


_INDEX_ARITHMETIC: dict[str, Callable[..., int]] = {
    "arith.addi": lambda a, b: a + b,
    "arith.subi": lambda a, b: a - b,
    "arith.muli": lambda a, b: a * b,
    "arith.floordivsi": lambda a, b: a // b,
    "arith.ceildivsi": lambda a, b: -(-a // b),
    "arith.remsi": lambda a, b: a - b * int(a / b),
    "arith.maxsi": max,
    "arith.minsi": min,
}


class Module:
    """All functions of a module, prepared on first use; calls go through `run`.

    `compiled` are functions that the module only declares, by name: values in, a list of results out.
    """

    def __init__(self, module: ir.Module, compiled: Mapping[str, Callable[..., list[Value]]] | None = None):
        self._module = module  # keeps the IR alive
        self._symbols: dict[str, Any] = {
            op.name.value: op for op in module.body.operations if op.operation.name == "func.func"
        } | dict(compiled or {})

    def function(self, name: str) -> Callable[..., list[Value]]:
        """The prepared function `@name`, which keeps its module."""
        _lookup(self._symbols, name)
        return partial(self.call, name)

    def call(self, name: str, *arguments: Value) -> list[Value]:
        """Evaluate `@name`."""
        return _lookup(self._symbols, name)(*arguments)


def run(module: ir.Module, name: str, arguments: Sequence[Value]) -> list[Value]:
    """Evaluate `@name` on tensors (and ints for index arguments); see the module docstring."""
    return Module(module).call(name, *arguments)


# --- Constants and sizes ---------------------------------------------------------------------------------------------


@evaluates("flambeau.constant")
def _constant(a: SimpleNamespace) -> torch.Tensor:
    return dense_to_tensor(a.value)


def dense_to_tensor(attribute: ir.Attribute) -> torch.Tensor:
    """The tensor that a dense elements attribute stands for."""
    type_ = attribute.type
    dtype = torch_dtype(type_)
    shape = list(type_.shape)
    if attribute.is_splat:
        return torch.full(shape, attribute.get_splat_value().value, dtype=dtype)
    if dtype == torch.bool:
        return torch.tensor(list(attribute), dtype=dtype).reshape(shape)
    if dtype == torch.bfloat16:
        return _bfloat16_elements(str(attribute)).reshape(shape)
    raw = bytearray(memoryview(attribute))
    return torch.frombuffer(raw, dtype=dtype).reshape(shape) if raw else torch.empty(shape, dtype=dtype)


def _bfloat16_elements(text: str) -> torch.Tensor:
    """The elements of a printed dense attribute: the bindings give no access to bf16."""
    elements = text.partition("dense<")[2].rpartition("> :")[0]
    if elements.startswith('"0x'):  # long: all bytes as one number
        return torch.frombuffer(bytearray.fromhex(elements[3:-1]), dtype=torch.bfloat16)
    numbers = elements.replace("[", " ").replace("]", " ").replace(",", " ").split()
    # What decimals cannot say (infinities, NaN) is printed as its bits.
    bits = [int(n, 16) if n.startswith("0x") else None for n in numbers]
    values = [0.0 if b is not None else float(n) for n, b in zip(numbers, bits, strict=True)]
    tensor = torch.tensor(values, dtype=torch.bfloat16)
    for index, pattern in enumerate(bits):
        if pattern is not None:
            tensor[index] = torch.tensor(pattern - (pattern >> 15 << 16), dtype=torch.int16).view(
                torch.bfloat16
            )
    return tensor


@evaluates("flambeau.dim")
def _dim(a: SimpleNamespace) -> int:
    return int(a.x.shape[a.index])


@evaluates("flambeau.size_to_tensor")
def _size_to_tensor(a: SimpleNamespace) -> torch.Tensor:
    return torch.tensor(a.size, dtype=a.dtype)


@evaluates("flambeau.iota")
def _iota(a: SimpleNamespace) -> torch.Tensor:
    return torch.arange(a.size, dtype=a.dtype)


@evaluates("flambeau.native_group_norm")
def _native_group_norm(a: SimpleNamespace) -> Any:
    # The kernel takes nothing else. Eager makes such a copy first, which is the same value here.
    return torch.native_group_norm(
        *(a.x.contiguous(), a.weight, a.bias, a.n, a.c, a.hxw, a.group, a.eps),
    )


# --- References ------------------------------------------------------------------------------------------------------


class Place:
    """The value of a reference: of a storage, or of a view of one."""

    def __init__(self, value: torch.Tensor):
        self._value = value

    def load(self) -> torch.Tensor:
        return self._value

    def store(self, value: torch.Tensor, *, hidden: bool) -> None:
        self._value = with_history(self._value, value) if hidden else value

    def root(self) -> "Place":
        """The storage."""
        return self

    def part(self, whole: torch.Tensor) -> torch.Tensor:
        """What lies at this place in a tensor of the storage's shape."""
        return whole


class ViewPlace(Place):
    """A part of a place: what `view` returns of it."""

    def __init__(self, base: Place, view: Callable[[torch.Tensor], torch.Tensor]):
        self._base = base
        self._view = view

    def load(self) -> torch.Tensor:
        return self.part(self.root().load())

    def store(self, value: torch.Tensor, *, hidden: bool) -> None:
        # The view of a storage that holds its own positions says which elements are written.
        old = self.root().load()
        positions = torch.arange(old.numel(), device=old.device).view(old.shape)
        new = old.reshape(-1).index_put((self.part(positions),), value).view(old.shape)
        self.root().store(new, hidden=hidden)

    def root(self) -> Place:
        return self._base.root()

    def part(self, whole: torch.Tensor) -> torch.Tensor:
        return self._view(self._base.part(whole))


@evaluates("flambeau.ref_new")
def _ref_new(a: SimpleNamespace) -> Place:
    return Place(a.value)


@evaluates("flambeau.ref_load")
def _ref_load(a: SimpleNamespace) -> torch.Tensor:
    return a.ref.load()  # type: ignore[no-any-return]


@evaluates("flambeau.ref_store")
def _ref_store(a: SimpleNamespace) -> None:
    a.ref.store(a.value, hidden=a.hidden)


@evaluates("flambeau.ref_view")
def _ref_view(a: SimpleNamespace) -> Place:
    cls = OPS[a.view_op]
    dynamic = iter(a.dynamic)
    fields = {f.name: f.read(a.arguments[f.name], dynamic) for f in cls.fields if not f.is_operand}
    tensor = next(f.name for f in cls.fields if f.is_operand)
    evaluator = EVALUATORS.get(a.view_op)

    def view(x: torch.Tensor) -> torch.Tensor:
        if evaluator is not None:
            return evaluator(SimpleNamespace(op=None, **{tensor: x}, **fields))  # type: ignore[no-any-return]
        readers = {k: _constantly(v) for k, v in {tensor: x, **fields}.items()}
        return _direct(cls.aten[0], readers)([])  # type: ignore[no-any-return]

    return ViewPlace(a.ref, view)


# The evaluators of the op families enter themselves in the table.
for _family in FAMILIES:
    import_module(f"flambeau.runtime.interpreter.evaluators.{_family}")
