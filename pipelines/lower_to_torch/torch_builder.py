# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Short builders for the torch dialect, at the current insertion point; and the table of lowering rules.

Tensors are `!torch.vtensor`, `index` values become `!torch.int`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.dialects.bindings import ir
from flambeau.dialects.rules import registers
from flambeau.dialects.types import DTYPES, DYNAMIC, dtype_name, is_tensor, shape_of

# torch.dtype numbers, as `torch.constant.int` arguments carry them (c10/core/ScalarType.h).
SCALAR_TYPES = {
    "uint8": 0,
    "int8": 1,
    "int16": 2,
    "int32": 3,
    "int64": 4,
    "float16": 5,
    "float32": 6,
    "float64": 7,
    "complex64": 9,
    "complex128": 10,
    "bool": 11,
    "bfloat16": 15,
}
assert SCALAR_TYPES.keys() == DTYPES.keys()

Rule = Callable[["Lowered"], Any]
RULES: dict[str, Rule] = {}

Refusal = Callable[[Any], str | None]
REFUSALS: dict[str, Refusal] = {}


# A rule receives a `Lowered` and returns the new result (a list if the op has several).
lowers = registers(RULES, "lowering rules")

# A check receives an op and says why it cannot be lowered, or None if it can.
refuses = registers(REFUSALS, "refusals")


class Lowered:
    """An op being lowered: `op` is the op itself; `lowered.x` is field `x`, already in torch dialect.

    Operands are torch values (None if absent), attributes are Python values, sizes are ints or `!torch.int` values.
    """

    def __init__(self, op: Any, values: dict[str, Any]):
        self.op = op
        self._values = values

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def result_types(self) -> list[ir.Type]:
        """The torch types of the results."""
        return [torch_type(r.type) for r in self.op.operation.results]


def torch_type(type_: ir.Type) -> ir.Type:
    """`tensor<?x3xi64>` -> `!torch.vtensor<[?,3],si64>`; `index` -> `!torch.int`."""
    if isinstance(type_, ir.IndexType):
        return ir.Type.parse("!torch.int")
    if not is_tensor(type_):
        raise TypeError(f"{type_} has no torch dialect type")
    sizes = ",".join("?" if s == DYNAMIC else str(s) for s in shape_of(type_))
    return ir.Type.parse(f"!torch.vtensor<[{sizes}],{element_text(type_.element_type)}>")


def element_text(element: ir.Type) -> str:
    """The torch dialect's spelling of an element type: signed integers say so."""
    text = DTYPES[dtype_name(element)]
    return f"s{text}" if text in ("i8", "i16", "i32", "i64") else text


def call(name: str, operands: Sequence[ir.Value], *result_types: ir.Type) -> Any:
    """`torch.<name>`, returning its result (a list if several)."""
    op = ir.Operation.create(f"torch.{name}", results=list(result_types), operands=list(operands))
    return op.results[0] if len(result_types) == 1 else list(op.results)


def _constant(kind: str, type_: str, attributes: dict[str, ir.Attribute]) -> ir.Value:
    return ir.Operation.create(
        f"torch.constant.{kind}", results=[ir.Type.parse(type_)], attributes=attributes
    ).results[0]


def int_(value: int | ir.Value) -> ir.Value:
    """A `!torch.int`; values pass through."""
    if isinstance(value, ir.Value):
        return value
    return _constant(
        "int", "!torch.int", {"value": ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)}
    )


def float_(value: float) -> ir.Value:
    return _constant("float", "!torch.float", {"value": ir.FloatAttr.get(ir.F64Type.get(), value)})


def bool_(value: bool) -> ir.Value:
    return _constant("bool", "!torch.bool", {"value": ir.BoolAttr.get(value)})


def str_(value: str) -> ir.Value:
    return _constant("str", "!torch.str", {"value": ir.StringAttr.get(value)})


def none() -> ir.Value:
    return _constant("none", "!torch.none", {})


def dtype_(element: ir.Type) -> ir.Value:
    """The number of a dtype, as ATen ops take it."""
    return int_(SCALAR_TYPES[dtype_name(element)])


def list_(values: Sequence[ir.Value], element: str) -> ir.Value:
    """`!torch.list<element>`, e.g. `int` or `vtensor`."""
    return call("prim.ListConstruct", values, ir.Type.parse(f"!torch.list<{element}>"))


def ints(values: Sequence[int | ir.Value]) -> ir.Value:
    return list_([int_(v) for v in values], "int")


def number(value: int | float | bool) -> ir.Value:
    """ATen's Scalar."""
    return (
        bool_(value) if isinstance(value, bool) else int_(value) if isinstance(value, int) else float_(value)
    )


def argument(value: Any) -> ir.Value:
    """Any Python value, list or torch value as an ATen argument."""
    if value is None:
        return none()
    if isinstance(value, ir.Value):
        return value
    if isinstance(value, ir.Type):
        return dtype_(value)
    if isinstance(value, str):
        return str_(value)
    if isinstance(value, bool | int | float):
        return number(value)
    if isinstance(value, list | tuple):
        items = list(value)
        if items and all(isinstance(v, bool) for v in items):
            return list_([bool_(v) for v in items], "bool")
        if items and all(isinstance(v, float) for v in items):
            return list_([float_(v) for v in items], "float")
        if items and all(isinstance(v, ir.Value) and "vtensor" in str(v.type) for v in items):
            return list_(items, "vtensor")
        if items and any(v is None for v in items):
            return list_([none() if v is None else v for v in items], "optional<vtensor>")
        return ints(items)
    raise TypeError(f"{value!r} is not an argument of an ATen op")
