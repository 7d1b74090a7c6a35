# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of ATen overloads in the torch dialect -> our ops: what dialects/aten/importer.py asks a source for.

Arguments are converted already: tensors and dynamic sizes are values, everything else are Python values.
"""

import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from flambeau.dialects import build as b
from flambeau.dialects.aten.importer import Size
from flambeau.dialects.bindings import ir, torch_op_classes
from flambeau.dialects.equal_sizes import SizeOrigins
from flambeau.dialects.types import DYNAMIC, is_bool, is_tensor, shape_of
from flambeau.pipelines.convert_torch_to_flambeau.promotion import promoted
from flambeau.pipelines.convert_torch_to_flambeau.python_ops import may_be_negative
from flambeau.pipelines.convert_torch_to_flambeau.result_sizes import SIZES
from flambeau.pipelines.convert_torch_to_flambeau.rules import RULES, TorchSource
from flambeau.pipelines.convert_torch_to_flambeau.torch_types import builtin_tensor, scalar_type


def overload_name(op: ir.Operation) -> str:
    """`aten.add.Tensor` of `torch.aten.add.Tensor`, `aten.relu.default` of `torch.aten.relu`."""
    name = ir.StringAttr(op.attributes["name"]).value if op.name == "torch.operator" else op.name
    parts = name.removeprefix("torch.").split(".")
    return ".".join(parts if len(parts) > 2 else [*parts, "default"])


@cache
def _argument_names(op_name: str) -> list[str]:
    """The names that the schema gives to the arguments of a torch dialect op."""
    cls = torch_op_classes().get(op_name)
    if cls is None:
        raise TypeError("its arguments have no names in the torch dialect")
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = [n for n, p in inspect.signature(cls.__init__).parameters.items() if p.kind is positional]
    return [n.removesuffix("_") for n in names]


class TorchImporter(TorchSource):
    """`strict`: a dynamic size never broadcasts, so those that meet are equal."""

    rules = RULES
    needs_autograd = True

    def __init__(self, origins: SizeOrigins, *, strict: bool):
        self._origins = origins
        self._strict = strict

    def import_call(self, op: ir.Operation, name: str, operands: Sequence[Any]) -> list[Any]:
        """The results of a call whose operands are converted."""
        self.target = name
        names = _argument_names(op.name)[-len(operands) :] if operands else []
        self.arguments = dict(zip(names, operands, strict=True))
        self._parts: list[list[Size]] | None = None
        self.results = list(op.results)
        if [str(r.type) for r in op.results] == ["!torch.list<vtensor>"]:
            if name not in SIZES:
                raise TypeError("it returns a list of tensors, and it is not known how many")
            self.results = self._parts = SIZES[name](self, **self.arguments)
        return self.call(name, self.arguments)

    # --- What rules ask for ------------------------------------------------------------------------------------------

    def value(self, argument: Any) -> ir.Value:
        if not self.is_tensor(argument):
            raise TypeError(f"{argument} is no tensor")
        return argument

    def is_tensor(self, argument: Any) -> bool:
        return isinstance(argument, ir.Value) and is_tensor(argument.type)

    def size(self, argument: Any) -> Size:
        if isinstance(argument, int):
            return argument
        if not isinstance(argument, ir.Value) or not isinstance(argument.type, ir.IndexType):
            raise TypeError(f"{argument} is no size")
        if may_be_negative(argument):
            raise TypeError(
                "a size or position that is a difference, of which it is not known if it is negative"
            )
        return argument

    def known(self, argument: Any) -> Any:
        return None if isinstance(argument, ir.Value) else argument

    def dtype(self, argument: Any) -> ir.Type:
        return scalar_type(argument)

    def result_type(self, index: int = 0) -> ir.RankedTensorType:
        return builtin_tensor(self.results[index].type)

    def result_sizes(self, index: int = 0) -> list[Size]:
        """From the result's type; dynamic sizes from the arguments, by the table in result_sizes.py."""
        if self._parts is not None:
            return self._parts[index]
        static = shape_of(self.result_type(index))
        rule = SIZES.get(self.target)
        if rule is None and self.target not in self.rules:  # elementwise
            return self.broadcast_sizes([a for a in self.arguments.values() if self.is_tensor(a)])
        if DYNAMIC not in static:
            return list(static)
        if rule is None:
            raise TypeError("the sizes of its result are dynamic, and not known how")
        found = rule(self, **self.arguments)
        return [f if s == DYNAMIC else s for s, f in zip(static, found, strict=True)]

    def broadcast_sizes(self, arguments: Sequence[Any]) -> list[Size]:
        return self._broadcast([self.value(a) for a in arguments], 0)

    def broadcast_leading(self, x: ir.Value, y: ir.Value) -> list[Size]:
        return self._broadcast([x, y], 2)

    def _broadcast(self, tensors: Sequence[ir.Value], kept: int) -> list[Size]:
        """The sizes that all but the last `kept` dims broadcast to."""
        rank = max((len(shape_of(t)) for t in tensors), default=0)
        dims = reversed(range(kept, rank))
        return [self._broadcast_dim([t for t in tensors if len(shape_of(t)) > d], d) for d in dims]

    def _broadcast_dim(self, tensors: Sequence[ir.Value], from_end: int) -> Size:
        """The size of a dim of the result, counted from the end, of the tensors that have it."""
        dims = [(t, len(shape_of(t)) - 1 - from_end) for t in tensors]
        wide = [(t, d) for t, d in dims if shape_of(t)[d] != 1]
        if not wide:
            return 1
        if not self._strict and len({self._origins.dim(t, d) for t, d in wide}) > 1:
            texts = " and ".join(str(t.type) for t, _ in wide)
            raise TypeError(
                f"{texts} may or may not have equal sizes; if they have, mark the function "
                "torch.assume_strict_symbolic_shapes, or name the sizes with torch.bind_symbolic_shape"
            )
        known = {shape_of(t)[d] for t, d in wide} - {DYNAMIC}
        if len(known) > 1:
            raise TypeError(f"sizes {' and '.join(map(str, sorted(known)))} do not broadcast together")
        return known.pop() if known else b.size(*wide[0])

    # --- Elementwise ops ---------------------------------------------------------------------------------------------

    def compute_element(self, cls: Any, operands: Mapping[str, Any]) -> ir.Type:
        result = self.result_type().element_type
        counted = [v for name, v in operands.items() if name not in cls.conditions]
        return promoted(counted) if is_bool(result) and counted else result

    def is_scalar(self, argument: Any) -> bool:
        return not self.is_tensor(argument) or not shape_of(argument)

    def elementwise_operand(self, argument: Any, element: ir.Type | None, sizes: Sequence[Size]) -> ir.Value:
        if isinstance(argument, bool | int | float):
            assert element is not None
            value = b.scalar(argument, element)
        elif self.is_tensor(argument):
            value = argument
        elif isinstance(argument, ir.Value) and isinstance(argument.type, ir.IndexType):
            assert element is not None
            value = b.size_to_tensor(argument, element)
        else:
            raise TypeError(f"operand {argument!r} is not supported")
        if element is not None:
            value = b.cast(value, element)
        rank = len(shape_of(value))
        equal = rank == len(sizes) and all(
            self._origins.dim(value, d) == self._origins.size(s) for d, s in enumerate(sizes)
        )
        return value if equal else b.expand(value, list(sizes))
