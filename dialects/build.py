# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Short builders for rules, passes and the importer: `build.mul(x, y)`, `build.sum(x, dims, keepdim=True)`.

Every op has one, named as the op without its dialect (`ref.load` is `ref_load`); dialect `autograd` is
`autograd_detach`. They work at the current insertion point and location. Operands of elementwise ops may be Python
numbers.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from flambeau.dialects import opdef
from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.types import (
    DYNAMIC,
    element_type,
    is_bool,
    is_complex,
    is_float,
    is_low_precision,
    shape_of,
)


def _builder_name(op_name: str) -> str:
    dialect, name = op_name.split(".", 1)
    return (name if dialect == "flambeau" else f"{dialect}_{name}").replace(".", "_")


def __getattr__(name: str) -> Callable[..., Any]:
    return _op(name)


@cache
def _op(name: str) -> Callable[..., Any]:
    """The builder of the op with this name; the ops are declared after this module is loaded."""
    found = next((cls for op_name, cls in opdef.OPS.items() if _builder_name(op_name) == name), None)
    if found is None:
        raise AttributeError(f"no op {name!r}; ops are declared in dialects/ops/")
    return of_class(found)


@cache
def of_class(cls: Any) -> Callable[..., Any]:
    """The builder of an op class."""

    def builder(*args: Any, **kwargs: Any) -> Any:
        if cls.elementwise and any(isinstance(a, int | float) for a in (*args, *kwargs.values())):
            args, kwargs = _numbers_to_tensors(cls, args, kwargs)
        return opdef.build(cls, *args, **kwargs)

    builder.__name__ = _builder_name(cls.OPERATION_NAME)
    builder.__doc__ = cls.__doc__
    return builder


def _numbers_to_tensors(
    cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    operands = {f.name for f in cls.fields if f.is_operand}
    given = dict(zip((f.name for f in cls.fields), args, strict=False)) | kwargs
    values = [v for k, v in given.items() if k in operands and isinstance(v, ir.Value)]
    # A bool operand (where's condition) does not say the type of the others.
    like = next((v for v in values if not is_bool(v.type)), values[0])
    return (), {
        k: full_like(like, v) if k in operands and isinstance(v, int | float) else v for k, v in given.items()
    }


def element_attribute(value: complex | float | int | bool, element: ir.Type) -> ir.Attribute:
    """The attribute of one number of element type `element`."""
    if is_float(element):
        return ir.FloatAttr.get(element, float(value))  # type: ignore[arg-type]
    if is_complex(element):
        raise TypeError("complex constants are written as dense attributes, not as numbers")
    if is_bool(element):
        return ir.IntegerAttr.get(element, int(bool(value)))
    return ir.IntegerAttr.get(element, int(value))  # type: ignore[arg-type]


def scalar(value: float | int | bool, element: ir.Type) -> ir.Value:
    """A rank-0 constant."""
    type_ = ir.RankedTensorType.get([], element)
    attribute = ir.DenseElementsAttr.get_splat(type_, element_attribute(value, element))
    return _op("constant")(attribute)


def index_constant(value: int) -> ir.Value:
    """A constant of type `index`."""
    return arith.constant(ir.IndexType.get(), value)


def size(x: ir.Value, dim_: int) -> int | ir.Value:
    """The size of one dim: an int if static, else a `dim` op."""
    static = shape_of(x)[dim_]
    return static if static != DYNAMIC else opdef.build(opdef.OPS["flambeau.dim"], x, dim_)


def sizes(x: ir.Value) -> list[int | ir.Value]:
    """All sizes of a tensor, as `size` gives them."""
    return [size(x, i) for i in range(len(shape_of(x)))]


def full(shape: Sequence[int | ir.Value], value: float | int | bool, element: ir.Type) -> ir.Value:
    """A tensor filled with one number."""
    return _op("expand")(scalar(value, element), list(shape)) if len(shape) else scalar(value, element)


def full_like(x: ir.Value, value: float | int | bool, element: ir.Type | None = None) -> ir.Value:
    """A tensor of the shape (and element type) of `x`, filled with one number."""
    return full(sizes(x), value, element or x.type.element_type)


def zeros_like(x: ir.Value) -> ir.Value:
    """Zeros of the shape and element type of `x`."""
    return full_like(x, 0)


def no_change(g: ir.Value) -> ir.Value:
    """The gradient through a step: zeros without history, made of `g`: eager has them where a gradient arrives."""
    never = full_like(g, False, ir.IntegerType.get_signless(1))
    g = opdef.build(opdef.OPS["autograd.detach"], g)
    return opdef.build(opdef.OPS["flambeau.where"], never, g, zeros_like(g))


def cast(x: ir.Value, element: ir.Type | str) -> ir.Value:
    """`to_dtype` unless `x` has the element type already. A string is a PyTorch dtype name."""
    if isinstance(element, str):
        element = element_type(element)
    return x if x.type.element_type == element else _op("to_dtype")(x, element)


def cast_like(x: ir.Value, like: ir.Value) -> ir.Value:
    """`x` in the element type of `like`."""
    return cast(x, like.type.element_type)


def wide(x: ir.Value) -> ir.Value:
    """`x` in the element type that PyTorch computes it in: f32 for float16 and bfloat16, else its own."""
    return cast(x, "float32") if is_low_precision(x.type) else x


def expand_to(x: ir.Value, like: ir.Value) -> ir.Value:
    """Broadcast `x` to the shape of `like`; no op if the types already agree."""
    if shape_of(x) == shape_of(like) and DYNAMIC not in shape_of(x):
        return x
    return _op("expand")(x, sizes(like))


def sum_to(g: ir.Value, like: ir.Value | ir.Type) -> ir.Value:
    """The sum of `g` over what broadcasting `like` to g's shape repeats: the gradient of an implicit expand."""
    have, want = shape_of(g), shape_of(like)
    extra = len(have) - len(want)
    if extra:
        g = _op("sum")(g, list(range(extra)), False)
    repeated = [i for i, (h, w) in enumerate(zip(have[extra:], want, strict=True)) if w == 1 and h != 1]
    return _op("sum")(g, repeated, True) if repeated else g


def cat(tensors: Sequence[ir.Value], dim: int) -> ir.Value:
    """Tensors joined along `dim`: a chain of `flambeau.cat`."""
    first, *rest = tensors
    for tensor in rest:
        first = opdef.build(opdef.OPS["flambeau.cat"], first, tensor, dim)
    return first


def multiply_sizes(values: Sequence[int | ir.Value]) -> int | ir.Value:
    """The product of sizes, an int if all are."""
    product: int | ir.Value = 1
    for value in values:
        if isinstance(product, int) and isinstance(value, int):
            product *= value
        elif isinstance(product, int) and product == 1:
            product = value
        else:
            product = arith.muli(as_index(product), as_index(value))
    return product


def divide_size(value: int | ir.Value, divisor: int) -> int | ir.Value:
    """The quotient of a size that is a multiple of `divisor`."""
    return value // divisor if isinstance(value, int) else arith.floordivsi(value, index_constant(divisor))


def add_sizes(x: int | ir.Value, y: int | ir.Value) -> int | ir.Value:
    """The sum of two sizes."""
    if isinstance(x, int) and isinstance(y, int):
        return x + y
    return x if y == 0 else y if x == 0 else arith.addi(as_index(x), as_index(y))


def max_sizes(x: int | ir.Value, y: int | ir.Value) -> int | ir.Value:
    """The larger of two sizes."""
    return max(x, y) if isinstance(x, int) and isinstance(y, int) else arith.maxsi(as_index(x), as_index(y))


def min_sizes(x: int | ir.Value, y: int | ir.Value) -> int | ir.Value:
    """The smaller of two sizes."""
    return min(x, y) if isinstance(x, int) and isinstance(y, int) else arith.minsi(as_index(x), as_index(y))


def as_index(value: int | ir.Value) -> ir.Value:
    """An `index` value of an int or index value."""
    return index_constant(value) if isinstance(value, int) else value


def tensor_from_index(value: int | ir.Value, element: ir.Type) -> ir.Value:
    """A rank-0 tensor of a size, of integer or float element type."""
    return scalar(value, element) if isinstance(value, int) else _op("size_to_tensor")(value, element)
