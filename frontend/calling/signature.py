# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The facts that passes wrote into a function's signature, as one small record per argument and result.

The runtime wrapper reads these records and nothing else of the IR. docs/ir.md describes the attributes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import RefType
from flambeau.dialects.facts import ArgumentFacts, Extent, ResultFacts, Role
from flambeau.dialects.types import is_tensor
from flambeau.runtime.interpreter.table import torch_dtype
from flambeau.runtime.resident import ResidentTensor


@dataclass(frozen=True, kw_only=True)
class Argument(ArgumentFacts):
    """One argument; what is not stated has a default. `dtype` is None for a symbol."""

    dtype: torch.dtype | None
    role: Role = Role.INPUT
    name: str = ""
    dims: tuple[Extent, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Result(ResultFacts):
    """One result of a forward or backward function. `dtype` is None for a size."""

    dtype: torch.dtype | None

    @property
    def may_be_written(self) -> bool:
        """Whether the caller gets the result itself, and eager allows to write it before the backward."""
        own = self.updates is None and self.is_argument is None and self.view is None
        return own and not self.saved and not self.saved_in_eager


@dataclass(frozen=True)
class Signature:
    """A function's arguments and results."""

    arguments: tuple[Argument, ...]
    results: tuple[Result, ...]


def read_signature(function: Any) -> Signature:
    """The facts of a `func.func`."""
    type_ = function.type
    arguments = zip(fn.argument_facts(function), type_.inputs, strict=True)
    results = zip(fn.result_facts(function), type_.results, strict=True)
    return Signature(
        tuple(Argument(dtype=_dtype(t), **_stated(facts)) for facts, t in arguments),
        tuple(Result(dtype=_dtype(t), **_stated(facts)) for facts, t in results),
    )


def _stated(facts: ArgumentFacts | ResultFacts) -> dict[str, Any]:
    return {name: value for name, value in vars(facts).items() if value is not None}


def _dtype(type_: ir.Type) -> torch.dtype | None:
    if isinstance(type_, RefType):
        type_ = type_.tensor
    return torch_dtype(type_) if is_tensor(type_) else None


# --- Sizes at run time -----------------------------------------------------------------------------------------------

_FUNCTIONS: Mapping[str, Callable[..., int]] = {
    "FloorDiv": lambda a, b: a // b,
    "CleanDiv": lambda a, b: a // b,
    "CeilDiv": lambda a, b: -(-a // b),
    "Mod": lambda a, b: a % b,
    "PythonMod": lambda a, b: a % b,
    "Max": max,
    "Min": min,
}


class Sizes:
    """The symbols of one call, read off its arguments; evaluates extents."""

    def __init__(self, arguments: Sequence[Argument], values: Sequence[Any]):
        self._symbols: dict[str, Any] = dict(_FUNCTIONS)
        for argument, value in zip(arguments, values, strict=False):
            if argument.role is Role.SYMBOL and argument.dims and isinstance(argument.dims[0], str):
                self._symbols[argument.dims[0]] = value
            elif isinstance(value, torch.Tensor | ResidentTensor):
                for extent, size in zip(argument.dims, value.shape, strict=False):
                    if isinstance(extent, str) and extent.isidentifier():
                        self._symbols.setdefault(extent, size)

    def extent(self, extent: Extent) -> int:
        """The number that an extent stands for in this call."""
        if isinstance(extent, int):
            return extent
        return int(
            eval(extent, {"__builtins__": {}}, self._symbols)
        )  # our own text: sympy's, of symbols and + - * //

    def extents(self, extents: Sequence[Extent]) -> list[int]:
        return [self.extent(e) for e in extents]
