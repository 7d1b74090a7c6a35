# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How an op is declared: one class holds its signature, type inference, VJP rule, recompute class and ATen names.

`Op.__init_subclass__` turns the annotations into an IRDL definition, adds a verifier and refuses incomplete classes.
Do not use `from __future__ import annotations` where ops are declared: the annotations are read as objects.
"""

import inspect
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from itertools import repeat
from typing import Any, NamedTuple, get_args, get_origin

from flambeau.dialects.bindings import ir
from flambeau.dialects.types import DYNAMIC, compatible, is_tensor

# --- Field kinds -----------------------------------------------------------------------------------------------------


class Tensor:
    """An operand: a ranked tensor. `Tensor | None` is optional, `Sequence[Tensor]` variadic."""


class AnyValue:
    """An operand of any type (references, indices, ...)."""


class Index:
    """An operand of type `index`."""


class Result:
    """A result. `Sequence[Result]` is variadic; its types are then given to the builder."""


class Region:
    """A region."""


class Attribute:
    """A static argument. Always written in the IR; `None` (for `Kind | None`) is `unit`."""

    spelling: str

    @staticmethod
    def write(value: Any) -> ir.Attribute:
        raise NotImplementedError

    @staticmethod
    def read(attribute: ir.Attribute) -> Any:
        """The Python value, or TypeError if the attribute is of another kind."""
        raise NotImplementedError


def _i64() -> ir.Type:
    return ir.IntegerType.get_signless(64)


def _expect(attribute: ir.Attribute, cls: type, spelling: str) -> Any:
    if not isinstance(attribute, cls):
        raise TypeError(f"expected {spelling}, found {attribute}")
    return attribute


class Int(Attribute):
    spelling = "an i64"

    @staticmethod
    def write(value: int) -> ir.Attribute:
        return ir.IntegerAttr.get(_i64(), value)

    @staticmethod
    def read(attribute: ir.Attribute) -> int:
        return int(_expect(attribute, ir.IntegerAttr, Int.spelling).value)


class Float(Attribute):
    spelling = "an f64"

    @staticmethod
    def write(value: float) -> ir.Attribute:
        return ir.FloatAttr.get(ir.F64Type.get(), float(value))

    @staticmethod
    def read(attribute: ir.Attribute) -> float:
        return float(_expect(attribute, ir.FloatAttr, Float.spelling).value)


class Bool(Attribute):
    spelling = "true or false"

    @staticmethod
    def write(value: bool) -> ir.Attribute:
        return ir.BoolAttr.get(value)

    @staticmethod
    def read(attribute: ir.Attribute) -> bool:
        return bool(_expect(attribute, ir.BoolAttr, Bool.spelling).value)


class Number(Attribute):
    """ATen's Scalar: an i64, f64 or bool, whichever Python type the value has."""

    spelling = "an i64, f64 or bool"

    @staticmethod
    def write(value: int | float | bool) -> ir.Attribute:
        kind = Bool if isinstance(value, bool) else Int if isinstance(value, int) else Float
        return kind.write(value)  # type: ignore[arg-type]

    @staticmethod
    def read(attribute: ir.Attribute) -> int | float | bool:
        for kind, cls in ((Bool, ir.BoolAttr), (Int, ir.IntegerAttr), (Float, ir.FloatAttr)):
            if isinstance(attribute, cls):
                value: int | float | bool = kind.read(attribute)
                return value
        raise TypeError(f"expected {Number.spelling}, found {attribute}")


class Ints(Attribute):
    spelling = "array<i64: ...>"

    @staticmethod
    def write(value: Iterable[int]) -> ir.Attribute:
        return ir.DenseI64ArrayAttr.get(list(value))

    @staticmethod
    def read(attribute: ir.Attribute) -> list[int]:
        return list(_expect(attribute, ir.DenseI64ArrayAttr, Ints.spelling))


class Bools(Attribute):
    spelling = "array<i1: ...>"

    @staticmethod
    def write(value: Iterable[bool]) -> ir.Attribute:
        return ir.DenseBoolArrayAttr.get(list(value))

    @staticmethod
    def read(attribute: ir.Attribute) -> list[bool]:
        return list(_expect(attribute, ir.DenseBoolArrayAttr, Bools.spelling))


class Floats(Attribute):
    spelling = "array<f64: ...>"

    @staticmethod
    def write(value: Iterable[float]) -> ir.Attribute:
        return ir.DenseF64ArrayAttr.get(list(value))

    @staticmethod
    def read(attribute: ir.Attribute) -> list[float]:
        return list(_expect(attribute, ir.DenseF64ArrayAttr, Floats.spelling))


class Str(Attribute):
    spelling = "a string"

    @staticmethod
    def write(value: str) -> ir.Attribute:
        return ir.StringAttr.get(value)

    @staticmethod
    def read(attribute: ir.Attribute) -> str:
        return str(_expect(attribute, ir.StringAttr, Str.spelling).value)


class DType(Attribute):
    """An element type."""

    spelling = "an element type"

    @staticmethod
    def write(value: ir.Type) -> ir.Attribute:
        return ir.TypeAttr.get(value)

    @staticmethod
    def read(attribute: ir.Attribute) -> ir.Type:
        return _expect(attribute, ir.TypeAttr, DType.spelling).value


class Raw(Attribute):
    """Any MLIR attribute, kept as it is (dense elements, dictionaries, arrays)."""

    spelling = "an attribute"

    @staticmethod
    def write(value: ir.Attribute) -> ir.Attribute:
        return value

    @staticmethod
    def read(attribute: ir.Attribute) -> ir.Attribute:
        return attribute


class Sizes:
    """A list of sizes, each an int or an `index` value.

    In the IR: a static array `name` with -1 where the size is dynamic, and variadic `index` operands `name_dynamic`.
    """


class Size:
    """One int or `index` value. In the IR: an i64 `name`, or `unit` and the operand `name_dynamic`.

    `Size | None` may be absent: `unit` without an operand.
    """


# --- What else an op says --------------------------------------------------------------------------------------------


class Recompute(Enum):
    """Whether a backward may compute the op's results again instead of keeping them."""

    CHEAP = "cheap"  # pointwise, views, small reductions: fuses, recompute freely
    COSTLY = "costly"  # matmul, convolution, sort, softmax: keep the result
    PARTS = "its parts"  # each part of its `decompose` for itself, which runs before the partition
    NEVER = "never"  # effects, or results that another run would not reproduce


CHEAP, COSTLY, PARTS, NEVER = Recompute.CHEAP, Recompute.COSTLY, Recompute.PARTS, Recompute.NEVER


class Lowering(Enum):
    """How lower-to-torch treats the op."""

    DIRECT = "direct"  # the torch dialect's op of the same ATen name and arguments
    SCALAR = "scalar form"  # a loop nest whose body is its form in pipelines/scalar_forms
    RULE = "rule"  # a function in pipelines/lower_to_torch
    DECOMPOSE = "decompose"  # its `decompose` rule runs first, so lowering never sees it
    NONE = "none"  # must be gone before lowering (references, autograd markers), or stays on the host


@dataclass(frozen=True)
class NotDifferentiable:
    """Said instead of a VJP rule: results carry no gradient, and why."""

    reason: str


@dataclass(frozen=True)
class NoRule:
    """Said instead of a VJP rule: differentiable, but there is no rule; `reason` says what to do about it."""

    reason: str


class Literal(NamedTuple):
    """A fixed argument of an ATen call that happens to be a string."""

    value: str


class AtenCall(NamedTuple):
    """An ATen overload and what stands at each position of its schema: a field's name, or a fixed value."""

    overload: str
    arguments: tuple[Any, ...] | None

    @property
    def name(self) -> str:
        return f"aten.{self.overload}"


def aten(overload: str, *arguments: Any) -> AtenCall:
    """`aten("sum.dim_IntList", "x", "dims", "keepdim", None)`; without arguments: all fields in order."""
    return AtenCall(overload, arguments or None)


@dataclass(frozen=True)
class Field:
    name: str
    kind: type
    optional: bool = False
    variadic: bool = False
    default: Any = None
    has_default: bool = False

    @property
    def is_attribute(self) -> bool:
        return issubclass(self.kind, Attribute)

    @property
    def is_operand(self) -> bool:
        return self.kind in (Tensor, AnyValue, Index)

    @property
    def is_size(self) -> bool:
        return self.kind in (Sizes, Size)

    def read(self, attribute: ir.Attribute, dynamic: Iterator[Any]) -> Any:
        """The value of an attribute or size field from its attribute; dynamic sizes are taken from `dynamic`."""
        unit = isinstance(attribute, ir.UnitAttr)
        if self.kind is Sizes:
            return [next(dynamic) if s == DYNAMIC else s for s in Ints.read(attribute)]
        if self.kind is Size:
            return next(dynamic) if unit else Int.read(attribute)
        return None if unit and self.optional else self.kind.read(attribute)  # type: ignore[attr-defined]


OPS: dict[str, Any] = {}  # op name -> op class
BY_ATEN: dict[
    str, list[tuple[Any, AtenCall]]
] = {}  # `aten.add.Tensor` -> op classes with the call they stand for


class OpDefinitionError(TypeError):
    """An op class is incomplete or defined twice."""


class _Types:
    """What `infer` sees: operand types, Python attribute values, sizes with DYNAMIC for index values."""

    def __init__(self, values: dict[str, Any]):
        self.__dict__.update(values)


def _parse_annotation(name: str, annotation: Any) -> tuple[type, bool, bool]:
    optional = variadic = False
    if isinstance(annotation, types.UnionType):
        args = [a for a in get_args(annotation) if a is not type(None)]
        if len(args) != 1:
            raise OpDefinitionError(f"field {name}: only `Kind | None` is understood, not {annotation}")
        optional, annotation = True, args[0]
    if get_origin(annotation) is Sequence:
        variadic, annotation = True, get_args(annotation)[0]
    if not isinstance(annotation, type):
        raise OpDefinitionError(f"field {name}: {annotation!r} is not a field kind")
    return annotation, optional, variadic


# What an op class may leave out. (The bindings' classes allow no second base class, so these are set by `declare`.)
_DEFAULTS: dict[str, Any] = {
    "aten": (),
    "lowering": Lowering.DIRECT,
    "recompute": None,
    "infer": None,
    "check": None,
    "vjp": None,
    "decompose": None,
    "elementwise": False,
    "conditions": (),  # operands of an elementwise op that keep their own (bool) element type
    "view": False,
    "may_repeat": None,  # of a view: whether it may hold an element more than once
    "nondifferentiable": (),  # names of float results that carry no gradient, as PyTorch defines the op
    "bounds": None,  # (op) -> of each result that holds positions: how many there are, DYNAMIC if unknown
    "without_history": (),  # names of operands, one value each, that give the results no history
}


def declare(cls: Any) -> None:
    """Complete a new op class: parse annotations, install accessors and the verifier, check completeness."""
    fields: list[Field] = []
    results: list[Field] = []
    annotations: dict[str, Any] = {}
    for name, annotation in inspect.get_annotations(cls).items():
        kind, optional, variadic = _parse_annotation(name, annotation)
        has_default = name in cls.__dict__
        default = cls.__dict__.get(name)
        if has_default:
            delattr(cls, name)
        item = Field(name, kind, optional, variadic, default, has_default)
        if kind is Result:
            results.append(item)
            annotations[name] = Sequence[ir.OpResult[Any]] if variadic else ir.OpResult[Any]
            continue
        if kind is Region:
            annotations[name] = ir.Region
            continue
        fields.append(item)
        if item.is_attribute:
            annotations[name] = Any
        elif kind is Sizes:
            annotations[name] = Any
            annotations[f"{name}_dynamic"] = Sequence[ir.Value[Any]]
        elif kind is Size:
            annotations[name] = Any
            annotations[f"{name}_dynamic"] = ir.Value[Any] | None
        elif item.is_operand:
            operand: Any = ir.Value[Any]
            annotations[name] = operand | None if optional else Sequence[operand] if variadic else operand
        else:
            raise OpDefinitionError(f"{cls.__name__}.{name}: {kind.__name__} is not a field kind")
    cls.__annotations__ = annotations
    for name, default in _DEFAULTS.items():
        if name not in cls.__dict__:
            setattr(cls, name, default)
    for name in ("infer", "check"):
        if callable(getattr(cls, name)):
            setattr(cls, name, staticmethod(getattr(cls, name)))
    cls.verify_invariants = staticmethod(verify)
    cls.fields = tuple(fields)
    cls.results_declared = tuple(results)
    calls = cls.aten if isinstance(cls.aten, tuple) and not isinstance(cls.aten, AtenCall) else (cls.aten,)
    all_fields = tuple(f.name for f in fields)
    cls.aten = tuple(
        AtenCall(c, all_fields)
        if isinstance(c, str)
        else c
        if c.arguments is not None
        else AtenCall(c.overload, all_fields)
        for c in calls
    )


def register(cls: Any) -> None:
    """Second half of a declaration, once the bindings have made the class an op: accessors, checks, registration."""
    name = cls.OPERATION_NAME
    missing = [
        what
        for what, there in (
            ("docstring", cls.__dict__.get("__doc__")),
            (
                "infer",
                cls.infer is not None
                or any(r.variadic for r in cls.results_declared)
                or not cls.results_declared,
            ),
            ("recompute", cls.recompute),
            ("vjp or decompose", cls.vjp is not None or cls.decompose is not None),
            (
                "aten (or another `lowering`)",
                cls.aten or cls.lowering not in (Lowering.DIRECT, Lowering.SCALAR),
            ),
            ("decompose", cls.decompose or cls.lowering is not Lowering.DECOMPOSE),
        )
        if not there
    ]
    if missing:
        raise OpDefinitionError(
            f"{name}: missing {', '.join(missing)} in class {cls.__module__}.{cls.__name__}"
        )
    strangers = set(cls.nondifferentiable) - {r.name for r in cls.results_declared}
    if strangers:
        raise OpDefinitionError(
            f"{name}: nondifferentiable names {', '.join(sorted(strangers))}, which are not results"
        )
    if name in OPS:
        other = OPS[name]
        raise OpDefinitionError(
            f"{name} is defined twice: {other.__module__}.{other.__name__} and {cls.__module__}.{cls.__name__}"
        )
    for item in cls.fields:
        if item.is_attribute:
            setattr(cls, item.name, property(_attribute_reader(item)))
        elif item.is_size:
            setattr(cls, item.name, property(_size_reader(item)))
    for call in cls.aten:
        known = {f.name for f in cls.fields}
        unknown = [a for a in call.arguments if isinstance(a, str) and a not in known]
        if unknown:
            raise OpDefinitionError(
                f"{name}: {call.overload} names {', '.join(unknown)}, but the fields are {', '.join(known)}"
            )
        BY_ATEN.setdefault(call.name, []).append((cls, call))
    segments = {
        "operandSegmentSizes": cls._ODS_OPERAND_SEGMENTS,
        "resultSegmentSizes": cls._ODS_RESULT_SEGMENTS,
    }
    cls.attribute_names = {f.name for f in cls.fields if not f.is_operand} | {
        k for k, v in segments.items() if v
    }
    OPS[name] = cls


def _attribute_reader(item: Field) -> Callable[[Any], Any]:
    def read(self: Any) -> Any:
        attribute = self.operation.attributes[item.name]
        if item.optional and isinstance(attribute, ir.UnitAttr):
            return None
        return item.kind.read(attribute)  # type: ignore[attr-defined]

    return read


def _size_reader(item: Field) -> Callable[[Any], Any]:
    def read(self: Any) -> Any:
        attribute = self.operation.attributes[item.name]
        dynamic = getattr(self, f"{item.name}_dynamic")
        if item.kind is Size:
            return dynamic if isinstance(attribute, ir.UnitAttr) else Int.read(attribute)
        rest = iter(dynamic)
        return [next(rest) if s == DYNAMIC else s for s in Ints.read(attribute)]

    return read


class VerificationError(Exception):
    """What is wrong with an op; becomes a diagnostic at its location."""


def verify(op: Any) -> bool:
    """The verifier of every op: kinds of attributes and operands, and result types against `infer`.

    Reports through `emit_error`, so that the location survives, and returns False.
    """
    try:
        with op.operation.location:  # `infer` makes types, which need a context
            _verify(op)
    except (VerificationError, TypeError, ValueError) as error:
        op.operation.location.emit_error(f"'{op.operation.name}' op {error}")
        return False
    return True


def _verify(op: Any) -> None:
    cls = OPS[op.operation.name]
    attributes = op.operation.attributes
    for name in attributes:
        if name not in cls.attribute_names and "." not in name:
            raise VerificationError(_unknown_attribute(name, cls))
    if cls._ODS_OPERAND_SEGMENTS and "operandSegmentSizes" not in attributes:
        raise VerificationError("needs operandSegmentSizes, because it has optional or variadic operands")
    _verify_operand_count(op, cls)
    values: dict[str, Any] = {}
    for item in cls.fields:
        if item.is_operand:
            values[item.name] = _verify_operand(op, item)
            continue
        if item.name not in attributes:
            raise VerificationError(f"requires attribute '{item.name}'")
        try:
            values[item.name] = getattr(op, item.name)
        except TypeError as error:
            raise VerificationError(f"attribute '{item.name}': {error}") from None
        except StopIteration:
            raise VerificationError(f"'{item.name}' has more -1 entries than dynamic operands") from None
        if item.kind is Sizes:
            _verify_sizes(op, item, values[item.name])
            values[item.name] = [s if isinstance(s, int) else DYNAMIC for s in values[item.name]]
        elif item.kind is Size:
            if values[item.name] is None and not item.optional:
                raise VerificationError(f"'{item.name}' is neither an attribute nor an operand")
            if not isinstance(values[item.name], int | None):
                values[item.name] = DYNAMIC
    seen = _Types(values)
    if cls.check is not None:
        cls.check(seen)
    if cls.infer is None:
        return
    inferred = cls.infer(seen)
    inferred = list(inferred) if isinstance(inferred, list | tuple) else [inferred]
    found = [r.type for r in op.operation.results]
    if len(inferred) != len(found):
        raise VerificationError(f"has {len(found)} results where {len(inferred)} are expected")
    for index, (want, have) in enumerate(zip(inferred, found, strict=True)):
        if not compatible(want, have):
            raise VerificationError(f"result #{index} is {have}, inferred {want}")


def _unknown_attribute(name: str, cls: Any) -> str:
    valid = [f.name for f in cls.fields if not f.is_operand]
    close = get_close_matches(name, valid, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"has no attribute {name!r}; {hint}valid: {', '.join([*valid, 'any name with a dot'])}"


def _verify_operand_count(op: Any, cls: Any) -> None:
    """The accessors of operands take the counts as given."""
    count = len(op.operation.operands)
    slots = [f for f in cls.fields if f.is_operand or f.is_size]
    names = ", ".join(f.name for f in slots)
    if not cls._ODS_OPERAND_SEGMENTS:
        if count != len(slots):
            raise VerificationError(f"has {count} operands where {len(slots)} are expected: {names}")
        return
    segments = list(ir.DenseI32ArrayAttr(op.operation.attributes["operandSegmentSizes"]))
    if len(segments) != len(slots) or sum(segments) != count:
        raise VerificationError(f"operandSegmentSizes must have one entry per {names}, and {count} in sum")
    for item, size in zip(slots, segments, strict=True):
        most = count if item.variadic or item.kind is Sizes else 1
        least = 1 if item.is_operand and not (item.optional or item.variadic) else 0
        if not least <= size <= most:
            raise VerificationError(f"operandSegmentSizes has {size} for '{item.name}'")


def _verify_operand(op: Any, item: Field) -> Any:
    value = getattr(op, item.name)
    if item.variadic:
        found = [v.type for v in value]
    elif value is None:
        return None
    else:
        found = [value.type]
    for type_ in found:
        if item.kind is Tensor and not is_tensor(type_):
            raise VerificationError(f"operand '{item.name}' must be a ranked tensor, found {type_}")
        if item.kind is Index and not isinstance(type_, ir.IndexType):
            raise VerificationError(f"operand '{item.name}' must be an index, found {type_}")
    return found if item.variadic else found[0]


def _verify_sizes(op: Any, item: Field, sizes: list[Any]) -> None:
    dynamic = getattr(op, f"{item.name}_dynamic")
    if len(dynamic) != sum(1 for s in sizes if not isinstance(s, int)):
        raise VerificationError(f"'{item.name}' has fewer -1 entries than dynamic operands")
    for value in dynamic:
        if not isinstance(value.type, ir.IndexType):
            raise VerificationError(f"dynamic size of '{item.name}' must be an index, found {value.type}")


def infer_types(
    op: Any, type_of: Callable[[ir.Value], ir.Type], size_of: Callable[[ir.Value], int]
) -> list[ir.Type] | None:
    """The result types of an op if its operands had other types and its dynamic sizes these values.

    None where inference refuses these, or the op has none.
    """
    cls = OPS[op.operation.name]
    if cls.infer is None:
        return None

    def changed(item: Field, value: Any) -> Any:
        if item.variadic or (isinstance(value, list) and item.is_size):
            return [changed_one(item, v) for v in value]
        return changed_one(item, value)

    def changed_one(item: Field, value: Any) -> Any:
        if not isinstance(value, ir.Value):
            return value
        return type_of(value) if item.is_operand else size_of(value)

    try:
        inferred = cls.infer(_Types({f.name: changed(f, getattr(op, f.name)) for f in cls.fields}))
    except (VerificationError, ValueError, TypeError, OverflowError):
        return None
    return list(inferred) if isinstance(inferred, list | tuple) else [inferred]


def infer_with_attributes(cls: Any, x: ir.Type, attributes: ir.DictAttr) -> ir.Type:
    """The result type of a view op applied to a tensor of type `x`, its other arguments given by its attributes."""
    values = {f.name: x if f.is_operand else f.read(attributes[f.name], repeat(DYNAMIC)) for f in cls.fields}
    return cls.infer(_Types(values))


# --- Building --------------------------------------------------------------------------------------------------------


def build(
    cls: Any,
    *args: Any,
    results: Sequence[ir.Type] | None = None,
    regions: int | None = None,
    loc: ir.Location | None = None,
    ip: ir.InsertionPoint | None = None,
    **kwargs: Any,
) -> Any:
    """Create an op of class `cls` at the current insertion point and return its result (a list if several).

    Arguments are the fields in declared order or by name: values for operands, Python values for attributes, ints or
    index values for sizes. Result types are inferred unless `results` gives them. Use through `dialects.build`.
    """
    name = cls.OPERATION_NAME
    if len(args) > len(cls.fields):
        raise TypeError(
            f"{name} takes {len(cls.fields)} arguments ({', '.join(f.name for f in cls.fields)}), {len(args)} given"
        )
    given = dict(zip((f.name for f in cls.fields), args, strict=False))
    for key, value in kwargs.items():
        if key in given or not any(f.name == key for f in cls.fields):
            raise TypeError(
                f"{name}: argument {key!r} is unknown or given twice; fields: {', '.join(f.name for f in cls.fields)}"
            )
        given[key] = value
    operands: list[ir.Value] = []
    segments: list[int] = []
    attributes: dict[str, ir.Attribute] = {}
    seen: dict[str, Any] = {}

    def add(values: Sequence[ir.Value]) -> None:
        operands.extend(values)
        segments.append(len(values))

    for item in cls.fields:
        if item.name in given:
            value = given[item.name]
        elif item.has_default:
            value = item.default
        elif item.optional:
            value = None
        elif item.variadic:
            value = []
        else:
            raise TypeError(
                f"{name}: argument {item.name!r} is missing; fields: {', '.join(f.name for f in cls.fields)}"
            )
        if item.is_operand:
            if item.variadic:
                add(list(value))
                seen[item.name] = [v.type for v in value]
            elif value is None:
                if not item.optional:
                    raise TypeError(f"{name}: operand {item.name!r} may not be None")
                add([])
                seen[item.name] = None
            else:
                add([value])
                seen[item.name] = value.type
        elif item.kind is Sizes:
            attributes[item.name] = Ints.write(s if isinstance(s, int) else DYNAMIC for s in value)
            add([s for s in value if not isinstance(s, int)])
            seen[item.name] = [s if isinstance(s, int) else DYNAMIC for s in value]
        elif item.kind is Size:
            static = isinstance(value, int)
            attributes[item.name] = Int.write(value) if static else ir.UnitAttr.get()
            add([] if static or value is None else [value])
            seen[item.name] = value if static or value is None else DYNAMIC
        else:
            unit = value is None and item.optional
            attributes[item.name] = ir.UnitAttr.get() if unit else item.kind.write(value)
            seen[item.name] = value
    if cls._ODS_OPERAND_SEGMENTS:
        attributes["operandSegmentSizes"] = ir.DenseI32ArrayAttr.get(segments)
    if results is None:
        if not cls.results_declared:
            results = []
        elif cls.infer is None:
            raise TypeError(f"{name}: result types cannot be inferred, give `results=`")
        else:
            inferred = cls.infer(_Types(seen))
            results = list(inferred) if isinstance(inferred, list | tuple) else [inferred]
    if cls._ODS_RESULT_SEGMENTS:
        attributes["resultSegmentSizes"] = ir.DenseI32ArrayAttr.get([len(results)])
    op = ir.Operation.create(
        name,
        results=results,
        operands=operands,
        attributes=attributes,
        regions=cls._ODS_REGIONS[0] if regions is None else regions,
        loc=loc,
        ip=ip,
    )
    if len(cls.results_declared) == 1 and not cls.results_declared[0].variadic:
        return op.results[0]
    if not cls.results_declared:
        return op
    return list(op.results)
