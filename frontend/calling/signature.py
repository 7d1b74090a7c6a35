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
from flambeau.dialects.types import is_tensor
from flambeau.runtime.interpreter import torch_dtype
from flambeau.runtime.resident import ResidentTensor

Extent = int | str
"""A number of elements: fixed, or an expression of symbols such as `2*s0 + 1`."""


@dataclass(frozen=True)
class View:
    """How an output lies in the tensor that it is a view of; `offset` counts from where that tensor starts."""

    sizes: tuple[Extent, ...]
    strides: tuple[Extent, ...]
    offset: Extent


@dataclass(frozen=True)
class Argument:
    """One argument: `role` is input, parameter, buffer, symbol, seed, saved or tangent.

    `dtype` is None for a symbol.
    """

    role: str
    name: str
    dtype: torch.dtype | None
    dims: tuple[Extent, ...]
    requires_grad: bool
    of_argument: int | None  # saved: the forward argument that it is
    of_result: int | None  # saved or tangent: the forward result that it is, or belongs to
    kept: bool = False  # the gradients are computed from it, although it is not saved for the backward
    uncounted: bool = False  # its version counter does not see its update
    gets_history: bool = False  # its update makes it require a gradient


@dataclass(frozen=True)
class ResultFacts:
    """One result of a forward or backward function; see docs/ir.md. `dtype` is None for a size."""

    dtype: torch.dtype | None
    output: int | None = None
    updates: int | None = None
    hidden: bool = False
    saved: bool = False
    saved_in_eager: bool = False
    requires_grad: bool = False
    detached: bool = False
    uncounted: bool = False
    viewed_again: bool = False
    one_of_several: bool = False
    is_argument: int | None = None
    view_of_argument: int | None = None
    view_of_result: int | None = None
    view: View | None = None
    strides: tuple[Extent, ...] | None = None
    gradient_of: int | None = None
    of_tangents: tuple[int, ...] = ()

    @property
    def may_be_written(self) -> bool:
        """Whether the caller gets the result itself, and eager allows to write it before the backward."""
        own = self.updates is None and self.is_argument is None and self.view is None
        return own and not self.saved and not self.saved_in_eager


@dataclass(frozen=True)
class Signature:
    """A function's arguments and results."""

    arguments: tuple[Argument, ...]
    results: tuple[ResultFacts, ...]


def read_signature(function: Any) -> Signature:
    """The facts of a `func.func`."""
    type_ = function.type
    return Signature(
        tuple(_argument(a, t) for a, t in zip(fn.argument_attributes(function), type_.inputs, strict=True)),
        tuple(_result(a, t) for a, t in zip(fn.result_attributes(function), type_.results, strict=True)),
    )


def _argument(attributes: fn.Attributes, type_: ir.Type) -> Argument:
    return Argument(
        role=_text(attributes, "flambeau.role") or "input",
        name=_text(attributes, "flambeau.name") or "",
        dtype=_dtype(type_),
        dims=_extents(attributes.get("flambeau.dims")) or (),
        requires_grad="autograd.requires_grad" in attributes,
        of_argument=_integer(attributes, "flambeau.of_argument"),
        of_result=_integer(attributes, "flambeau.of_result"),
        kept="autograd.kept" in attributes,
        uncounted="autograd.uncounted" in attributes,
        gets_history="autograd.gets_history" in attributes,
    )


def _result(attributes: fn.Attributes, type_: ir.Type) -> ResultFacts:
    view = attributes.get("flambeau.view")
    return ResultFacts(
        dtype=_dtype(type_),
        output=_integer(attributes, "flambeau.output"),
        updates=_integer(attributes, "flambeau.updates"),
        hidden="autograd.hidden" in attributes,
        saved="flambeau.saved" in attributes,
        saved_in_eager="autograd.saved" in attributes,
        requires_grad="autograd.requires_grad" in attributes,
        detached="autograd.detached" in attributes,
        uncounted="autograd.uncounted" in attributes,
        viewed_again="autograd.viewed_again" in attributes,
        one_of_several="autograd.one_of_several" in attributes,
        is_argument=_integer(attributes, "flambeau.is_argument"),
        view_of_argument=_integer(attributes, "flambeau.view_of_argument"),
        view_of_result=_integer(attributes, "flambeau.view_of_result"),
        view=_view(ir.DictAttr(view)) if view is not None else None,
        strides=_extents(attributes.get("flambeau.strides")),
        gradient_of=_integer(attributes, "flambeau.gradient_of"),
        of_tangents=_integers(attributes, "flambeau.of_tangents"),
    )


def _dtype(type_: ir.Type) -> torch.dtype | None:
    if isinstance(type_, RefType):
        type_ = type_.tensor
    return torch_dtype(type_) if is_tensor(type_) else None


def _integer(attributes: fn.Attributes, name: str) -> int | None:
    return int(ir.IntegerAttr(attributes[name]).value) if name in attributes else None


def _integers(attributes: fn.Attributes, name: str) -> tuple[int, ...]:
    return tuple(ir.DenseI64ArrayAttr(attributes[name])) if name in attributes else ()


def _text(attributes: fn.Attributes, name: str) -> str | None:
    return str(ir.StringAttr(attributes[name]).value) if name in attributes else None


def _extent(attribute: ir.Attribute) -> Extent:
    return attribute.value if isinstance(attribute, ir.StringAttr) else int(ir.IntegerAttr(attribute).value)


def _extents(attribute: ir.Attribute | None) -> tuple[Extent, ...] | None:
    return None if attribute is None else tuple(_extent(a) for a in ir.ArrayAttr(attribute))


def _view(attribute: ir.DictAttr) -> View:
    return View(
        _extents(attribute["sizes"]) or (), _extents(attribute["strides"]) or (), _extent(attribute["offset"])
    )


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
            if argument.role == "symbol" and argument.dims and isinstance(argument.dims[0], str):
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
