# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of ATen overloads -> our ops: what all importers share, whatever represents a call and its arguments.

The `aten` patterns of the op classes say which op an overload is; where no pattern can, a rule does (rules.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import (
    BY_ATEN,
    AtenCall,
    DType,
    Field,
    Index,
    Ints,
    Literal,
    Tensor,
)
from flambeau.dialects.types import DYNAMIC, is_low_precision, shape_of

Size: TypeAlias = int | ir.Value

Rule: TypeAlias = Callable[..., Any]
"""Takes the importer, and the overload's arguments by schema name; gives the value, or a list of several."""

# Binary ops that eager computes in f32 when a f16 or bf16 tensor meets a number, rounding once at the end. (For add and
# sub it rounds the number first.)
_WIDE_WITH_SCALARS = {"flambeau.mul", "flambeau.div"}


class AtenImporter(ABC):
    """An import of one call after the other; `call` builds ops at the current insertion point.

    An argument is whatever the source has for tensors and sizes, or a Python number, string, list or None.
    """

    target: Any
    """The overload being imported; `str` gives its name (`aten.add.Tensor`)."""
    results: Sequence[Any]
    """One entry per result of the call being imported."""
    needs_autograd: bool
    """Whether what is imported may be differentiated."""
    rules: Mapping[str, Rule]
    """By the overload's name, what no pattern can say."""

    # --- What the source says ----------------------------------------------------------------------------------------

    @abstractmethod
    def value(self, argument: Any) -> ir.Value:
        """The tensor that an argument stands for; TypeError if it is none."""

    @abstractmethod
    def is_tensor(self, argument: Any) -> bool:
        """Whether an argument is a tensor."""

    @abstractmethod
    def size(self, argument: Any) -> Size:
        """An int or index value of an argument that is a size."""

    @abstractmethod
    def known(self, argument: Any) -> Any:
        """The Python value of an argument that becomes an attribute; None if it depends on a dynamic size."""

    @abstractmethod
    def dtype(self, argument: Any) -> ir.Type:
        """The element type that a dtype argument stands for."""

    @abstractmethod
    def result_type(self, index: int = 0) -> ir.RankedTensorType:
        """The type of a result of the call being imported."""

    @abstractmethod
    def result_sizes(self, index: int = 0) -> list[Size]:
        """The sizes of a result of the call being imported."""

    @abstractmethod
    def broadcast_sizes(self, arguments: Sequence[Any]) -> list[Size]:
        """The sizes that tensor arguments broadcast to together."""

    @abstractmethod
    def compute_element(self, cls: Any, operands: Mapping[str, Any]) -> ir.Type:
        """The element type that eager computes an elementwise op in: operands are cast to it."""

    @abstractmethod
    def is_scalar(self, argument: Any) -> bool:
        """Whether an operand of an elementwise op is a number or a 0-d tensor."""

    @abstractmethod
    def elementwise_operand(self, argument: Any, element: ir.Type | None, sizes: Sequence[Size]) -> ir.Value:
        """An operand of an elementwise op in the shape `sizes`, and in `element` (None: its own)."""

    # --- Calls -------------------------------------------------------------------------------------------------------

    def sizes(self, arguments: Sequence[Any]) -> list[Size]:
        """Several sizes."""
        return [self.size(a) for a in arguments]

    def call(self, name: str, arguments: dict[str, Any]) -> list[ir.Value]:
        """Import a call of the functional overload `name` (`aten.add.Tensor`).

        Arguments by schema name, in the schema's order, all of them.
        """
        rule = self.rules.get(name)
        if rule is not None:
            values = rule(self, **arguments)
            return values if isinstance(values, list) else [values]
        for cls, pattern in BY_ATEN.get(name.removesuffix(".default"), ()):
            bound = self._match(pattern, list(arguments.values()))
            if bound is not None:
                values = self._build(cls, bound)
                return values if isinstance(values, list) else [values]
        raise TypeError("it has no op in the dialect (docs/ops.md lists the ops)")

    def _match(self, pattern: AtenCall, values: list[Any]) -> dict[str, Any] | None:
        """The op's fields from a call's values, or None if a fixed argument differs."""
        bound: dict[str, Any] = {}
        assert pattern.arguments is not None
        for position, expected in enumerate(pattern.arguments):
            found = values[position] if position < len(values) else None
            if isinstance(expected, str):
                bound[expected] = found
            elif self.fixed(found) != (expected.value if isinstance(expected, Literal) else expected):
                return None
        # What the pattern leaves out must not matter: only absent arguments may be left out.
        return bound if all(v is None for v in values[len(pattern.arguments) :]) else None

    def fixed(self, argument: Any) -> Any:
        """An argument as it is compared with what a pattern fixes."""
        return argument

    def _build(self, cls: Any, bound: dict[str, Any]) -> Any:
        if cls.elementwise:
            return self._build_elementwise(cls, bound)
        arguments = {f.name: self._argument(f, bound[f.name]) for f in cls.fields if f.name in bound}
        return b.of_class(cls)(**_with_positive_dims(cls, arguments))

    def _argument(self, item: Field, value: Any) -> Any:
        if item.kind is Ints and (isinstance(value, int) or (value is None and not item.optional)):
            return [] if value is None else [value]
        if value is None:
            return None
        if item.kind is Tensor and item.variadic:
            return [self.value(v) for v in value]
        if item.kind is Tensor:
            if isinstance(value, bool | int | float):
                return b.scalar(value, self.result_type().element_type)
            return self.value(value)
        if item.kind is Index:
            return b.as_index(self.size(value))
        if item.is_size:
            return self.sizes(value) if isinstance(value, list | tuple) else self.size(value)
        if item.kind is DType:
            return self.dtype(value)
        if isinstance(value, list | tuple):
            return [self._known(item, v) for v in value]
        return self._known(item, value)

    def _known(self, item: Field, value: Any) -> Any:
        known = self.known(value)
        if known is None:
            raise TypeError(f"argument {item.name!r} depends on a dynamic size")
        return known

    def _build_elementwise(self, cls: Any, bound: dict[str, Any]) -> Any:
        """Cast operands to the type that eager computes in, and expand them to the result's shape."""
        operands = {
            f.name: bound[f.name] for f in cls.fields if f.is_operand and bound.get(f.name) is not None
        }
        rest = {
            f.name: self._argument(f, bound[f.name])
            for f in cls.fields
            if not f.is_operand and f.name in bound
        }
        compute = self.compute_element(cls, operands)
        sizes = self.result_sizes()
        wide = (
            is_low_precision(compute)
            and cls.OPERATION_NAME in _WIDE_WITH_SCALARS
            and any(self.is_scalar(v) for v in operands.values())
        )
        if wide:
            compute, narrow = ir.F32Type.get(), compute
        values = {
            name: self.elementwise_operand(v, None if name in cls.conditions else compute, sizes)
            for name, v in operands.items()
        }
        out = b.of_class(cls)(**values, **rest)
        return b.cast(out, narrow) if wide else out


def _with_positive_dims(cls: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Dims that count from the end, as ATen takes them, counted from the start."""
    tensors = [
        arguments[f.name] for f in cls.fields if f.kind is Tensor and not f.variadic and f.name in arguments
    ]
    rank = max(len(shape_of(tensors[0])), 1) if tensors else 1
    for name in ("dim", "dims", "dim0", "dim1", "dim2"):
        given = arguments.get(name)
        if isinstance(given, int):
            arguments[name] = given % rank if -rank <= given < 0 else given
        elif isinstance(given, list | tuple):
            arguments[name] = [d % rank if -rank <= d < 0 else d for d in given]
    return arguments


def same_static_sizes(value: ir.Value, sizes: Sequence[Size]) -> bool:
    """Whether a tensor's sizes are all known, and these."""
    return DYNAMIC not in shape_of(value) and shape_of(value) == [
        s if isinstance(s, int) else DYNAMIC for s in sizes
    ]
