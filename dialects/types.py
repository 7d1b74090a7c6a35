# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tensor types and the one table of element types.

`?` dimensions are `DYNAMIC` (-1) on the Python side. Element types are named as PyTorch names its dtypes.
"""

from collections.abc import Sequence
from typing import TypeGuard

from flambeau.dialects.bindings import ir

DYNAMIC = -1

# PyTorch's dtype name -> MLIR's spelling. bool is i1; signed integers are signless; only uint8 has a sign.
DTYPES = {
    "float32": "f32",
    "float64": "f64",
    "float16": "f16",
    "bfloat16": "bf16",
    "int64": "i64",
    "int32": "i32",
    "int16": "i16",
    "int8": "i8",
    "uint8": "ui8",
    "bool": "i1",
    "complex64": "complex<f32>",
    "complex128": "complex<f64>",
}
_NAMES = {text: name for name, text in DTYPES.items()}
_FLOATS = {"f16": 16, "bf16": 16, "f32": 32, "f64": 64}


def element_type(dtype: str) -> ir.Type:
    """The MLIR element type of a PyTorch dtype name such as `float32`."""
    if dtype not in DTYPES:
        raise TypeError(f"element type {dtype!r} has no MLIR type here; there are: {', '.join(DTYPES)}")
    return ir.Type.parse(DTYPES[dtype])


def dtype_name(type_: ir.Type) -> str:
    """PyTorch's dtype name of an element type or of a tensor's element type."""
    if is_tensor(type_):
        type_ = type_.element_type
    text = str(type_)
    if text not in _NAMES:
        raise TypeError(f"element type {text} has no PyTorch dtype; there are: {', '.join(_NAMES)}")
    return _NAMES[text]


def is_tensor(type_: ir.Type) -> TypeGuard[ir.RankedTensorType]:
    return isinstance(type_, ir.RankedTensorType)


def is_float(type_: ir.Type) -> bool:
    """True for a float element type, or a tensor of one."""
    return str(type_.element_type if is_tensor(type_) else type_) in _FLOATS


def is_complex(type_: ir.Type) -> bool:
    """True for a complex element type, or a tensor of one."""
    return str(type_.element_type if is_tensor(type_) else type_).startswith("complex")


def is_float64(type_: ir.Type) -> bool:
    """True for f64, or a tensor of it."""
    return str(type_.element_type if is_tensor(type_) else type_) == "f64"


def is_low_precision(type_: ir.Type) -> bool:
    """True for f16 and bf16, whose arithmetic PyTorch carries out in f32 before rounding."""
    return _FLOATS.get(str(type_.element_type if is_tensor(type_) else type_)) == 16


def is_integer(type_: ir.Type) -> bool:
    """True for an integer or bool element type, or a tensor of one."""
    return isinstance(type_.element_type if is_tensor(type_) else type_, ir.IntegerType)


def is_unsigned(type_: ir.Type) -> bool:
    """True for ui8, or a tensor of it."""
    return str(type_.element_type if is_tensor(type_) else type_) == "ui8"


def is_bool(type_: ir.Type) -> bool:
    """True for i1, or a tensor of it."""
    return str(type_.element_type if is_tensor(type_) else type_) == "i1"


def narrowest_integer(count: int) -> str:
    """The dtype name of the smallest signed integers among which are 0 to `count` - 1."""
    return next((f"int{bits}" for bits in (8, 16, 32) if count <= 2 ** (bits - 1)), "int64")


def shape_of(value: ir.Value | ir.Type) -> list[int]:
    """The sizes of a tensor value or type; `DYNAMIC` where unknown."""
    type_ = value if isinstance(value, ir.Type) else value.type
    return [type_.get_dim_size(i) if not type_.is_dynamic_dim(i) else DYNAMIC for i in range(type_.rank)]


def tensor_type(shape: Sequence[int], element: ir.Type) -> ir.RankedTensorType:
    """`tensor<shape x element>`, with `DYNAMIC` for `?`."""
    unknown = ir.ShapedType.get_dynamic_size()
    return ir.RankedTensorType.get([unknown if s == DYNAMIC else s for s in shape], element)


def with_element(type_: ir.RankedTensorType, element: ir.Type) -> ir.RankedTensorType:
    """The same shape with another element type."""
    return ir.RankedTensorType.get(type_.shape, element)


def compatible(a: ir.Type, b: ir.Type) -> bool:
    """Whether two types may be the same at run time: equal up to `?` dimensions."""
    if a == b:
        return True
    if not (is_tensor(a) and is_tensor(b)) or a.element_type != b.element_type or a.rank != b.rank:
        return False
    return all(x == y or DYNAMIC in (x, y) for x, y in zip(shape_of(a), shape_of(b), strict=True))
