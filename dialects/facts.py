# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Facts about the arguments and results of a function, as typed records: the one place that knows how they are written.

Each field of `ArgumentFacts` is an attribute in `arg_attrs`, each of `ResultFacts` one in `res_attrs`; docs/ir.md
describes them. A fact that is not stated is None, or False for a flag. Attributes that are no fact of ours are kept.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple, Self

from flambeau.dialects.bindings import ir

Attributes = dict[str, ir.Attribute]

Extent = int | str
"""A number of elements: fixed, or an expression of symbols such as `2*s0 + 1`."""


class Role(StrEnum):
    """What an argument is to its function."""

    INPUT = "input"
    PARAMETER = "parameter"
    BUFFER = "buffer"
    SYMBOL = "symbol"
    SEED = "seed"
    SAVED = "saved"
    TANGENT = "tangent"


@dataclass(frozen=True)
class View:
    """How a result lies in the tensor that it is a view of; `offset` counts from where that tensor starts."""

    sizes: tuple[Extent, ...]
    strides: tuple[Extent, ...]
    offset: Extent


# --- Attributes of each kind -----------------------------------------------------------------------------------------


class _Kind(NamedTuple):
    """How a value is read from its attribute, and written."""

    read: Callable[[ir.Attribute], Any]
    write: Callable[[Any], ir.Attribute]


def integer(value: int) -> ir.Attribute:
    """An i64 attribute."""
    return ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)


def _read_extent(attribute: ir.Attribute) -> Extent:
    if isinstance(attribute, ir.StringAttr):
        return str(attribute.value)
    return int(ir.IntegerAttr(attribute).value)


def _write_extent(extent: Extent) -> ir.Attribute:
    return integer(extent) if isinstance(extent, int) else ir.StringAttr.get(extent)


def _read_extents(attribute: ir.Attribute) -> tuple[Extent, ...]:
    return tuple(map(_read_extent, ir.ArrayAttr(attribute)))


def _write_extents(extents: Iterable[Extent]) -> ir.Attribute:
    return ir.ArrayAttr.get(list(map(_write_extent, extents)))


def _read_view(attribute: ir.Attribute) -> View:
    parts = ir.DictAttr(attribute)
    return View(_read_extents(parts["sizes"]), _read_extents(parts["strides"]), _read_extent(parts["offset"]))


def _write_view(view: View) -> ir.Attribute:
    return ir.DictAttr.get(
        {
            "sizes": _write_extents(view.sizes),
            "strides": _write_extents(view.strides),
            "offset": _write_extent(view.offset),
        }
    )


def _read_role(attribute: ir.Attribute) -> Role:
    text = ir.StringAttr(attribute).value
    if text not in set(Role):
        raise ValueError(f"unknown role {text!r}; valid: {', '.join(Role)}")
    return Role(text)


_FLAG = _Kind(lambda attribute: True, lambda value: ir.UnitAttr.get())
_NUMBER = _Kind(lambda attribute: int(ir.IntegerAttr(attribute).value), integer)
_NUMBERS = _Kind(lambda attribute: tuple(ir.DenseI64ArrayAttr(attribute)), ir.DenseI64ArrayAttr.get)
_TEXT = _Kind(lambda attribute: str(ir.StringAttr(attribute).value), ir.StringAttr.get)
_ROLE = _Kind(_read_role, ir.StringAttr.get)
_EXTENTS = _Kind(_read_extents, _write_extents)
_VIEW = _Kind(_read_view, _write_view)


def _fact(attribute: str, kind: _Kind) -> Any:
    """A field that is the attribute of this name."""
    return field(default=False if kind is _FLAG else None, metadata={"attribute": attribute, "kind": kind})


# --- The records -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Facts:
    others: tuple[tuple[str, ir.Attribute], ...] = ()
    """Attributes of other names, as they are."""

    @classmethod
    def read(cls, attributes: Mapping[str, ir.Attribute]) -> Self:
        """The record of an argument's or result's attributes; ValueError for one that is not of its kind."""
        known = _attributes_of(cls)
        found: dict[str, Any] = {}
        others = []
        for name, attribute in attributes.items():
            if name not in known:
                others.append((name, attribute))
                continue
            field_name, kind = known[name]
            try:
                found[field_name] = kind.read(attribute)
            except (ValueError, KeyError) as error:
                raise ValueError(f"{name} = {attribute}: {error}") from error
        return cls(**found, others=tuple(others))

    def write(self) -> Attributes:
        """The attributes that say what the record holds."""
        stated = {
            attribute: kind.write(value)
            for attribute, (name, kind) in _attributes_of(type(self)).items()
            if (value := getattr(self, name)) is not None and value is not False
        }
        return stated | dict(self.others)


def _fields_by_attribute(cls: Any) -> dict[str, tuple[str, _Kind]]:
    """The attributes that a record holds: name -> the field and its kind."""
    of_field = {item.name: item.metadata for item in fields(cls) if item.metadata}
    return {metadata["attribute"]: (name, metadata["kind"]) for name, metadata in of_field.items()}


_attributes_of: Callable[[Any], dict[str, tuple[str, _Kind]]] = cache(_fields_by_attribute)


def fact_names(cls: type[_Facts]) -> dict[str, str]:
    """Field -> attribute, for every fact of a record."""
    return {name: attribute for attribute, (name, _) in _attributes_of(cls).items()}


@dataclass(frozen=True, kw_only=True)
class ArgumentFacts(_Facts):
    """What is known of one argument.

    `role`: None where a function written by hand does not say. `name`: what the user would write, as
    `L['self'].fc.weight`. `dims`: its sizes (of a symbol: its value). `strides`: eager's, where a call on the host
    depends on them. `of_argument`: saved, the forward argument that it is. `of_result`: saved or tangent, the forward
    result that it is or belongs to. `kept`: gradients are computed from it, although it is not saved for the backward.
    `uncounted`: its version counter does not see its update. `gets_history`: its update makes it require a gradient.
    """

    role: Role | None = _fact("flambeau.role", _ROLE)  # noqa: RUF009  (it is a field)
    name: str | None = _fact("flambeau.name", _TEXT)
    dims: tuple[Extent, ...] | None = _fact("flambeau.dims", _EXTENTS)
    strides: tuple[int, ...] | None = _fact("flambeau.strides", _NUMBERS)
    of_argument: int | None = _fact("flambeau.of_argument", _NUMBER)
    of_result: int | None = _fact("flambeau.of_result", _NUMBER)
    requires_grad: bool = _fact("autograd.requires_grad", _FLAG)
    kept: bool = _fact("autograd.kept", _FLAG)
    uncounted: bool = _fact("autograd.uncounted", _FLAG)
    gets_history: bool = _fact("autograd.gets_history", _FLAG)


@dataclass(frozen=True, kw_only=True)
class ResultFacts(_Facts):
    """What is known of one result.

    `output`: the position of the output that it is. `updates`: the argument whose new value it is. `saved`: it is
    returned for the backward alone. `base`: it is returned for the outputs that are views of it. `is_argument`,
    `view_of_argument`, `view_of_result`: whose memory it has, with `view` saying where. `strides`: eager's, where they
    are not those of a contiguous tensor. `gradient_of`: the argument whose gradient it is; `of_tangents`: the forward
    results whose tangents it depends on. `saved_in_eager`: eager's autograd keeps its memory for the backward.
    """

    output: int | None = _fact("flambeau.output", _NUMBER)
    updates: int | None = _fact("flambeau.updates", _NUMBER)
    saved: bool = _fact("flambeau.saved", _FLAG)
    base: bool = _fact("flambeau.base", _FLAG)
    is_argument: int | None = _fact("flambeau.is_argument", _NUMBER)
    view_of_argument: int | None = _fact("flambeau.view_of_argument", _NUMBER)
    view_of_result: int | None = _fact("flambeau.view_of_result", _NUMBER)
    view: View | None = _fact("flambeau.view", _VIEW)  # noqa: RUF009  (it is a field)
    strides: tuple[Extent, ...] | None = _fact("flambeau.strides", _EXTENTS)
    gradient_of: int | None = _fact("flambeau.gradient_of", _NUMBER)
    of_tangents: tuple[int, ...] | None = _fact("flambeau.of_tangents", _NUMBERS)
    requires_grad: bool = _fact("autograd.requires_grad", _FLAG)
    hidden: bool = _fact("autograd.hidden", _FLAG)
    saved_in_eager: bool = _fact("autograd.saved", _FLAG)
    detached: bool = _fact("autograd.detached", _FLAG)
    uncounted: bool = _fact("autograd.uncounted", _FLAG)
    viewed_again: bool = _fact("autograd.viewed_again", _FLAG)
    one_of_several: bool = _fact("autograd.one_of_several", _FLAG)
