# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""PyTorch's type promotion: operands -> the element type that they are compared in."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

from flambeau.dialects.bindings import ir
from flambeau.dialects.types import dtype_name, element_type, is_tensor, shape_of

_BOOL = ("bool",)
_INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
_FLOATS = ("float16", "bfloat16", "float32", "float64")
# Pairs of which neither holds the other.
_UNORDERED = {("uint8", "int8"): "int16", ("float16", "bfloat16"): "float32"}


def promoted(operands: Sequence[Any]) -> ir.Type:
    """The element type of several tensors, sizes and numbers together; TypeError for complex ones.

    Tensors with dims decide; 0-d ones, and after these numbers, count only if of a higher kind (bool, integer, float).
    """
    tensors = [o for o in operands if isinstance(o, ir.Value) and is_tensor(o.type)]
    ranked = [dtype_name(t.type) for t in tensors if shape_of(t)]
    zero_dim = [dtype_name(t.type) for t in tensors if not shape_of(t)]
    numbers = [_number_dtype(o) for o in operands if o not in tensors]
    kinds = [reduce(_promote, names) for names in (ranked, zero_dim, numbers) if names]
    return element_type(reduce(lambda lower, higher: _combine(higher, lower), reversed(kinds)))


def _number_dtype(number: Any) -> str:
    if isinstance(number, bool):
        return "bool"
    return "float32" if isinstance(number, float) else "int64"


def _kind(dtype: str) -> int:
    for kind, names in enumerate((_BOOL, _INTEGERS, _FLOATS)):
        if dtype in names:
            return kind
    raise TypeError(f"promotion of {dtype} is not supported")


def _combine(higher: str, lower: str) -> str:
    """What decides, `higher` having precedence within a kind."""
    return higher if _kind(higher) >= _kind(lower) else _promote(higher, lower)


def _promote(a: str, c: str) -> str:
    if _kind(a) != _kind(c):
        return a if _kind(a) > _kind(c) else c
    names = (_BOOL, _INTEGERS, _FLOATS)[_kind(a)]
    first, second = sorted((a, c), key=names.index)
    return _UNORDERED.get((first, second), second)
