# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Overloads that compute with sizes, numbers and lists instead of tensors: a function each, by overload name.

Arguments are Python values, and index values for dynamic sizes. What is known is computed now, the rest becomes
index arithmetic.
"""

import operator
from collections.abc import Callable
from typing import Any

from flambeau.dialects import build as b
from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.types import dtype_name, shape_of
from flambeau.pipelines.lower_to_torch.torch_builder import SCALAR_TYPES

RULES: dict[str, Callable[..., Any]] = {}


def _computes(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def may_be_negative(size: ir.Value) -> bool:
    """Whether an index value, made of sizes, may be negative as far as is known."""
    if isinstance(size.owner, ir.Block):
        return False
    op = size.owner.operation
    if op.name == "arith.constant":
        return bool(ir.IntegerAttr(op.attributes["value"]).value < 0)
    if op.name == "arith.maxsi":
        return all(may_be_negative(o) for o in op.operands)
    return op.name == "arith.subi" or any(
        may_be_negative(o) for o in op.operands if isinstance(o.type, ir.IndexType)
    )


# --- Tensors ---------------------------------------------------------------------------------------------------------


@_computes("aten.size.int")
def _size(x: ir.Value, dim: int) -> int | ir.Value:
    return b.size(x, dim % len(shape_of(x)))


@_computes("aten.size.default")
def _sizes(x: ir.Value) -> list[int | ir.Value]:
    return b.sizes(x)


@_computes("aten.numel.default")
def _numel(x: ir.Value) -> int | ir.Value:
    return b.multiply_sizes(b.sizes(x))


@_computes("aten.dim.default")
def _dim(x: ir.Value) -> int:
    return len(shape_of(x))


@_computes("prim.dtype.default")
def _dtype(x: ir.Value) -> int:
    return SCALAR_TYPES[dtype_name(x.type)]


@_computes("prim.device.default")
def _device(x: ir.Value) -> None:
    return None


# --- Numbers ---------------------------------------------------------------------------------------------------------


def _binary(known: Callable[..., Any], dynamic: Callable[..., ir.Value] | None) -> Callable[..., Any]:
    def compute(x: Any, y: Any) -> Any:
        if not isinstance(x, ir.Value) and not isinstance(y, ir.Value):
            return known(x, y)
        if dynamic is None or isinstance(x, float) or isinstance(y, float):
            raise TypeError("it depends on a dynamic size")
        return dynamic(b.as_index(x), b.as_index(y))

    return compute


def _floor_divide(x: ir.Value, y: ir.Value) -> ir.Value:
    return arith.floordivsi(x, y)


def _remainder(x: ir.Value, y: ir.Value) -> ir.Value:
    if may_be_negative(x) or may_be_negative(y):
        raise TypeError("a remainder of what may be negative")
    return arith.remsi(x, y)


RULES.update(
    {
        "aten.add.int": _binary(operator.add, arith.addi),
        "aten.sub.int": _binary(operator.sub, arith.subi),
        "aten.mul.int": _binary(operator.mul, arith.muli),
        "aten.floordiv.int": _binary(operator.floordiv, _floor_divide),
        "aten.remainder.int": _binary(operator.mod, _remainder),
        "prim.max.int": _binary(max, arith.maxsi),
        "prim.min.int": _binary(min, arith.minsi),
        "aten.eq.int": _binary(operator.eq, None),
        "aten.ne.int": _binary(operator.ne, None),
        "aten.lt.int": _binary(operator.lt, None),
        "aten.gt.int": _binary(operator.gt, None),
        "aten.ge.int": _binary(operator.ge, None),
        "aten.le.int": _binary(operator.le, None),
        "aten.add.float_int": _binary(operator.add, None),
        "aten.sub.float": _binary(operator.sub, None),
        "aten.mul.float": _binary(operator.mul, None),
        "aten.div.float": _binary(operator.truediv, None),
        "aten.div.int": _binary(operator.truediv, None),
        "aten.mul.int_float": _binary(operator.mul, None),
        "aten.mul.float_int": _binary(operator.mul, None),
    }
)


@_computes("aten.neg.int")
def _negated(x: Any) -> Any:
    return -x if isinstance(x, int) else arith.subi(b.index_constant(0), x)


@_computes("aten.Int.bool")
def _int(x: bool) -> int:
    return int(x)


@_computes("aten.Float.Scalar")
def _float(x: Any) -> float:
    if isinstance(x, ir.Value):
        raise TypeError("it depends on a dynamic size")
    return float(x)


# --- Lists and checks ------------------------------------------------------------------------------------------------


@_computes("aten.__getitem__.t")
def _item(items: list[Any], index: int) -> Any:
    return items[index]


@_computes("aten.len.t")
def _length(items: list[Any]) -> int:
    return len(items)


@_computes(
    "aten._assert_scalar.default",
    "aten._assert_tensor_metadata.default",
    "aten.sym_constrain_range_for_size.default",
)
def _check(*_: Any) -> list[Any]:
    return []  # of values that compiled code takes as they are
