# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the op harness tests: a `Sample` is an op with arguments. In: samples. Out: functions of one op, references.

A sample's arguments are the op's fields in declared order: torch tensors for operands (lists for variadic ones), torch
dtypes for `DType`, MLIR text for `Raw`, ints for sizes, Python values for other attributes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from flambeau.dialects.bindings import func, ir
from flambeau.dialects.opdef import OPS, DType, Field, Literal, NotDifferentiable, Raw, build
from flambeau.dialects.types import DYNAMIC, element_type, tensor_type
from flambeau.runtime.interpreter import overload


@dataclass(frozen=True)
class Sample:
    """One op with arguments, and how it is to be tested.

    `eager` computes the op with PyTorch from the same arguments (default: the op's first ATen overload). `grad` lists
    the positions of the arguments that get a gradient (default: every float tensor, if the op has a gradient at all).
    Dynamic, every dim of every operand is `?`, except in the operands at the positions `static`.
    `tolerance` is the allowed error relative to the largest element of the compiled result; None: by element type.
    `grad_tolerance` is that of gradients in f64, for ops whose gradient eager rounds to f32 on the way.
    """

    op: str
    arguments: Callable[[], Sequence[Any]]
    eager: Callable[..., Any] | None = None
    grad: tuple[int, ...] | None = None
    grad2: bool = False
    dynamic: bool = True
    static: tuple[int, ...] = ()
    lower: bool = True
    tolerance: float | None = None
    grad_tolerance: float = 1e-10
    id: str = ""
    results: Callable[[], Sequence[ir.Type]] | None = None
    cls: Any = field(init=False)

    def __post_init__(self) -> None:
        name = self.op if "." in self.op else f"flambeau.{self.op}"
        if name not in OPS:
            raise ValueError(f"sample for {name}, which is not an op")
        object.__setattr__(self, "cls", OPS[name])

    def __str__(self) -> str:
        return f"{self.op}-{self.id}".rstrip("-").replace(" ", "_")

    def values(self) -> list[Any]:
        """The arguments; the same random numbers every time."""
        torch.manual_seed(0)
        return list(self.arguments())

    def reference(self, values: Sequence[Any]) -> list[torch.Tensor]:
        """What eager PyTorch computes."""
        torch.manual_seed(1)
        results = self.eager(*values) if self.eager is not None else aten_call(self.cls, values)
        return list(results) if isinstance(results, tuple | list) else [results]

    def differentiable(self) -> list[int]:
        """Positions of the arguments whose gradient is tested."""
        if isinstance(self.cls.vjp, NotDifferentiable):
            return []
        if self.grad is not None:
            return list(self.grad)
        return [
            i
            for i, value in enumerate(self.values())
            if any(isinstance(v, torch.Tensor) and v.is_floating_point() for v in flat(value))
        ]


def flat(value: Any) -> list[Any]:
    """A list as it is, anything else as a list of one."""
    return list(value) if isinstance(value, list | tuple) else [value]


def aten_call(cls: Any, values: Sequence[Any]) -> Any:
    """The op's first ATen overload, called with the values of its fields."""
    given = {f.name: f.default for f in cls.fields} | dict(
        zip((f.name for f in cls.fields), values, strict=False)
    )
    call = cls.aten[0]
    function = overload(call.name)
    positional, keyword = [], {}
    for argument, formal in zip(call.arguments, function._schema.arguments, strict=False):
        if isinstance(argument, Literal):
            value = argument.value
        else:
            value = given[argument] if isinstance(argument, str) else argument
        if formal.kwarg_only:
            keyword[formal.name] = value
        else:
            positional.append(value)
    return function(*positional, **keyword)


def mlir_type(value: Any, dynamic: bool) -> ir.Type:
    """The type of a function argument that carries `value`: a tensor, or an int as `index`."""
    if isinstance(value, int):
        return ir.IndexType.get()
    shape = [DYNAMIC] * value.dim() if dynamic else list(value.shape)
    return tensor_type(shape, element_type(str(value.dtype).removeprefix("torch.")))


def _becomes_argument(item: Field, value: Any, dynamic: bool) -> bool:
    if item.is_operand:
        return value is not None
    return item.is_size and dynamic and value is not None


def call_arguments(sample: Sample, values: Sequence[Any], dynamic: bool) -> list[Any]:
    """The values that become function arguments: operands, and sizes if dynamic."""
    return [
        v
        for item, value in zip(sample.cls.fields, values, strict=False)
        if _becomes_argument(item, value, dynamic)
        for v in flat(value)
    ]


def _argument_types(sample: Sample, values: Sequence[Any], dynamic: bool) -> list[ir.Type]:
    return [
        mlir_type(v, dynamic and position not in sample.static)
        for position, (item, value) in enumerate(zip(sample.cls.fields, values, strict=False))
        if _becomes_argument(item, value, dynamic)
        for v in flat(value)
    ]


def _field_values(
    sample: Sample, values: Sequence[Any], arguments: Iterator[ir.Value], dynamic: bool
) -> list[Any]:
    fields: list[Any] = []
    for item, value in zip(sample.cls.fields, values, strict=False):
        if _becomes_argument(item, value, dynamic):
            many = isinstance(value, list | tuple)
            taken = [next(arguments) for _ in flat(value)]
            fields.append(taken if many else taken[0])
        elif item.kind is DType and value is not None:
            fields.append(element_type(str(value).removeprefix("torch.")))
        elif item.kind is Raw:
            fields.append(ir.Attribute.parse(value))
        else:
            fields.append(value)
    return fields


Body = Callable[[Any, list[ir.Value]], Sequence[ir.Value]]


def add_function(
    module: ir.Module,
    name: str,
    sample: Sample,
    values: Sequence[Any],
    *,
    dynamic: bool,
    extra: Sequence[Any] = (),
    body: Body | None = None,
) -> None:
    """Add `@name`, which applies the op to the sample's arguments and returns its results.

    `extra` are further arguments. `body`, given the op's view and the values of `extra`, says what to return instead.
    """
    types = [*_argument_types(sample, values, dynamic), *(mlir_type(v, dynamic) for v in extra)]
    with ir.InsertionPoint(module.body):
        function = func.FuncOp(name, (types, []))
        block = function.add_entry_block()
    with ir.InsertionPoint(block):
        inputs = list(block.arguments)
        split = len(inputs) - len(extra)
        fields = _field_values(sample, values, iter(inputs[:split]), dynamic)
        build(sample.cls, *fields, results=sample.results() if sample.results else None)
        op = list(block.operations)[-1]
        returned = list(op.operation.results if body is None else body(op, inputs[split:]))
        func.ReturnOp(returned)
    type_ = ir.FunctionType.get([a.type for a in inputs], [r.type for r in returned])
    function.attributes["function_type"] = ir.TypeAttr.get(type_)


def single(
    sample: Sample,
    values: Sequence[Any],
    *,
    dynamic: bool,
    extra: Sequence[Any] = (),
    body: Body | None = None,
) -> ir.Module:
    """A module with one function `@f`; see `add_function`."""
    module = ir.Module.create()
    add_function(module, "f", sample, values, dynamic=dynamic, extra=extra, body=body)
    return module


def as_float64(values: Sequence[Any]) -> list[Any]:
    """The same arguments with float tensors in f64."""

    def convert(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [convert(v) for v in value]
        return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    return [convert(v) for v in values]
