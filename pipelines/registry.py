# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The registry of passes: how a pass is declared, and pipeline text to pass objects and back.

MLIR cannot look up a Python pass by name, so the text of a pipeline is split here: names that were declared with
`register_pass` become pass objects, everything else stays text for MLIR.
"""

import dataclasses
import difflib
import inspect
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from types import NoneType, UnionType
from typing import Any, Literal, Protocol, TypeVar, get_args, get_origin, get_type_hints

from flambeau.dialects.bindings import ir, passmanager
from flambeau.pipelines import PASS_MODULES

# Of MLIR's own passes, those worth naming in help texts and error messages.
UPSTREAM_PASSES = {
    "canonicalize": "Fold and simplify; for our ops this removes what is unused",
    "cse": "Merge equal operations, respecting reads and writes",
    "symbol-dce": "Remove private functions that nothing calls",
    "strip-debuginfo": "Remove all locations",
}


class Pass(Protocol):
    """A pass over a module: a frozen dataclass whose fields are its options."""

    @property
    def name(self) -> str:
        """The name in pipeline text, for example `lower-to-torch`."""

    def run(self, module: ir.Module) -> None:
        """Rewrite `module` in place. To refuse an op, raise `UnsupportedOpError`."""


class PipelineError(ValueError):
    """Pipeline text that cannot be understood: syntax, an unknown pass, an unknown or ill-typed option."""


PASSES: dict[str, type[Pass]] = {}  # filled by register_pass; `load_passes` also holds those not yet imported

PassClass = TypeVar("PassClass", bound=type)


def register_pass(cls: PassClass) -> PassClass:
    """Declare a pass: a class decorator, above `@dataclass(frozen=True)`. Raises TypeError for what is incomplete."""
    where = f"{cls.__module__}.{cls.__qualname__}"
    name = getattr(cls, "name", None)
    doc = cls.__doc__
    dataclass_params = getattr(cls, "__dataclass_params__", None)
    # @dataclass writes a signature where there is no docstring; that is no help text.
    invented = doc is None or doc == cls.__name__ + str(inspect.signature(cls)).replace(" -> None", "")
    missing = [
        what
        for what, absent in (
            ("@dataclass(frozen=True)", not (dataclass_params and dataclass_params.frozen)),
            ("a docstring (the help text)", invented),
            (
                "name = 'in-kebab-case'",
                not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9-]*", name),
            ),
            ("run(self, module)", not callable(getattr(cls, "run", None))),
        )
        if absent
    ]
    if missing:
        raise TypeError(f"pass {where} lacks {', '.join(missing)}")
    assert isinstance(name, str)
    if name in PASSES:
        other = PASSES[name]
        raise TypeError(
            f"pass {name!r} is declared twice: {other.__module__}.{other.__qualname__} and {where}"
        )
    for option in options(cls):
        _spell_kind(option.kind)  # refuses a type that text cannot give
        if option.default is dataclasses.MISSING:
            raise TypeError(f"pass {where}: option {option.name!r} needs a default")
    PASSES[name] = cls
    return cls


@cache
def load_passes() -> dict[str, type[Pass]]:
    """All passes by name, once every module in `PASS_MODULES` is imported."""
    for module in PASS_MODULES:
        import_module(f"flambeau.pipelines.{module}")
    return PASSES


_KINDS = "bool, int, float, str, Literal['a', 'b'], or one of these `| None`"


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a pass: its name in text (dashes), the field it sets, its type and default."""

    name: str
    field: str
    kind: Any
    default: Any

    @property
    def spelling(self) -> str:
        """What may be written, for help texts: `int`, `true|false`, `default|min-cut`."""
        return _spell_kind(self.kind)

    @property
    def default_text(self) -> str:
        """The default as it would be written, `none` for None."""
        return _value_text(self.default)


def options(cls: type) -> list[Option]:
    """The options of a pass class, in the order of its fields."""
    hints = get_type_hints(cls)
    return [
        Option(f.name.replace("_", "-"), f.name, hints[f.name], f.default) for f in dataclasses.fields(cls)
    ]


def _spell_kind(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    if get_origin(kind) is UnionType:
        (inner,) = (k for k in get_args(kind) if k is not NoneType)
        return _spell_kind(inner)
    if kind is bool:
        return "true|false"
    if kind in (int, float, str):
        return str(kind.__name__)
    raise TypeError(f"{kind} cannot be the type of a pass option; use {_KINDS}")


def _parse_value(kind: Any, text: str) -> Any:
    """The value of an option; ValueError if `text` is none of its type."""
    if get_origin(kind) is UnionType:
        if text == "none":
            return None
        (kind,) = (k for k in get_args(kind) if k is not NoneType)
    if kind is bool:
        return {"": True, "true": True, "1": True, "false": False, "0": False}[text]
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ValueError(text)
        return text
    return kind(text)


def _value_text(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if re.fullmatch(r"[^\s{}()\[\]'\",]+", text):
        return text
    quote = "'" if '"' in text else '"'
    if quote in text:
        raise PipelineError(f"an option's value cannot hold both kinds of quotes: {text}")
    return f"{quote}{text}{quote}"


def parse_pipeline(text: str) -> list[Pass | str]:
    """Pipeline text to passes: ours as objects, MLIR's as text. The anchor `builtin.module(...)` may be left out.

    Everything is checked here, MLIR's passes too; raises PipelineError with the valid choices.
    """
    body = _nest_body(text.strip(), "builtin.module")
    passes = [_parse_element(element) for element in _split(text.strip() if body is None else body, ",")]
    for item in passes:
        if isinstance(item, str):
            _check_upstream(item)
    return passes


def pass_text(item: Pass) -> str:
    """One pass of ours as text, with the options that differ from their defaults."""
    changed = [
        f"{o.name}={_value_text(value)}"
        for o in options(type(item))
        if (value := getattr(item, o.field)) != o.default
    ]
    return item.name + (f"{{{' '.join(changed)}}}" if changed else "")


def single_passes(text: str) -> list[tuple[str, str]]:
    """MLIR's part of a pipeline, one pass at a time: `func.func(cse,canonicalize)` to
    `[("cse", "func.func(cse)"), ("canonicalize", "func.func(canonicalize)")]`.
    """
    anchor = _leading_name(text)
    body = _nest_body(text, anchor)
    if body is None:
        return [(anchor, text)]
    return [(n, f"{anchor}({t})") for element in _split(body, ",") for n, t in single_passes(element)]


def unknown_choice(kind: str, name: str, choices: Iterator[str] | Sequence[str]) -> str:
    """`unknown pass 'x'; did you mean 'y'? Valid: ...`: the start of every message about a misspelt name."""
    valid = sorted(choices)
    close = difflib.get_close_matches(name, valid, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown {kind} {name!r}; {hint}valid: {', '.join(valid) or '(none)'}"


def _parse_element(element: str) -> Pass | str:
    name = _leading_name(element)
    known = load_passes()
    if name not in known:
        _refuse_nested(element)
        return element
    rest = element[len(name) :].strip()
    if rest and not (rest.startswith("{") and rest.endswith("}")):
        raise PipelineError(f"after pass {name!r}: expected {{options}}, found {rest!r}")
    return _make_pass(known[name], rest[1:-1])


def _make_pass(cls: type[Pass], text: str) -> Pass:
    values: dict[str, Any] = {}
    valid = {option.name: option for option in options(cls)}
    for assignment in _split(text, " "):
        name, _, value = assignment.partition("=")
        if name not in valid:
            known = ", ".join(f"{o.name}=<{o.spelling}>" for o in valid.values())
            close = difflib.get_close_matches(name, valid, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            has = f"it has: {known}" if known else "it has none"
            raise PipelineError(f"pass {_name_of(cls)!r} has no option {name!r}{hint} ({has})")
        option = valid[name]
        try:
            values[option.field] = _parse_value(option.kind, _unquote(value))
        except (ValueError, KeyError):
            raise PipelineError(
                f"pass {_name_of(cls)!r}: option {name!r} takes <{option.spelling}>, not {value!r}"
            ) from None
    return cls(**values)


def _name_of(cls: type[Pass]) -> str:
    return str(cls.name)  # on the class the name is a plain attribute


def _leading_name(element: str) -> str:
    match = re.match(r"[A-Za-z_][\w.-]*", element)
    if not match:
        raise PipelineError(f"expected the name of a pass, found {element!r}")
    return match.group()


def _nest_body(text: str, anchor: str) -> str | None:
    """What stands between the parentheses of `anchor(...)`, or None where `text` is not such a nest."""
    if text.startswith(f"{anchor}(") and text.endswith(")"):
        return text[len(anchor) + 1 : -1]
    return None


def _refuse_nested(element: str) -> None:
    body = _nest_body(element, _leading_name(element))
    for inner in _split(body, ",") if body else ():
        if _leading_name(inner) in load_passes():
            raise PipelineError(
                f"pass {_leading_name(inner)!r} runs on the whole module: write it outside of {element!r}"
            )
        _refuse_nested(inner)


@cache
def _check_upstream(text: str) -> None:
    """Let MLIR check names, options and nesting of its own passes."""
    try:
        with ir.Context():
            passmanager.PassManager.parse(f"builtin.module({text})")
    except ValueError as error:
        message = str(error)
        unknown = re.search(r"'([^']*)' does not refer to a registered pass", message)
        if unknown:
            choices = [*load_passes(), *UPSTREAM_PASSES]
            raise PipelineError(
                unknown_choice("pass", unknown.group(1), choices) + ", and MLIR's others"
            ) from None
        raise PipelineError(f"in pipeline {text!r}: {' '.join(message.split())}") from None


_OPEN, _CLOSE = {"(": ")", "{": "}", "[": "]"}, frozenset(")}]")


def _split(text: str, separator: str) -> list[str]:
    """Split at `separator` outside of brackets and quotes; blanks around the parts are dropped.

    Empty parts are refused, except that runs of blanks separate as one, and that empty text has no parts.
    """
    parts, start, closers, quote = [], 0, list[str](), ""
    for i, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in _OPEN:
            closers.append(_OPEN[char])
        elif char in _CLOSE:
            if not closers or closers.pop() != char:
                raise PipelineError(f"unbalanced {char!r} at character {i + 1} of {text!r}")
        elif char == separator and not closers:
            parts.append(text[start:i].strip())
            start = i + 1
    if closers or quote:
        raise PipelineError(f"missing {(quote or closers[-1])!r} at the end of {text!r}")
    parts.append(text[start:].strip())
    if separator == " " or parts == [""]:
        return [part for part in parts if part]
    if "" in parts:
        raise PipelineError(f"empty element in {text!r}")
    return parts


def _unquote(text: str) -> str:
    for quote in "'\"":
        if len(text) >= 2 and text[0] == text[-1] == quote:
            return text[1:-1]
    return text
