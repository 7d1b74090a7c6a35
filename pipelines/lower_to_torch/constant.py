# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of constants and sizes."""

from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.types import dtype_name, shape_of
from flambeau.pipelines.lower_to_torch import builtin
from flambeau.pipelines.lower_to_torch import torch_builder as t


@t.lowers("flambeau.constant")
def _constant(o: t.Lowered) -> ir.Value:
    value = arith.constant(builtin.signless(o.value.type), _signless(o.value))
    if dtype_name(o.value.type) == "uint8":
        # Read from the constant: a constant itself becomes a torch literal, and IREE takes one of uint8 for signed.
        rank = len(shape_of(o.value.type))
        value = builtin.read(
            value, shape_of(value), [], [], lambda: [builtin.loop_index(d) for d in range(rank)]
        )
    return builtin.from_builtin(value, o.result_types[0])


def _signless(value: ir.Attribute) -> ir.Attribute:
    """The same elements, uint8 as the i8 of the same bits."""
    if dtype_name(value.type) != "uint8":
        return value
    numbers = [n - 256 if n > 127 else n for n in value]
    return ir.Attribute.parse(
        f"dense<{_nested(numbers, shape_of(value.type))}> : {builtin.signless(value.type)}"
    )


def _nested(values: list[int], shape: list[int]) -> str:
    if not shape:
        return str(values[0])
    step = len(values) // shape[0] if shape[0] else 0
    return (
        "[" + ", ".join(_nested(values[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])) + "]"
    )


@t.lowers("flambeau.dim")
def _dim(o: t.Lowered) -> ir.Value:
    return t.call("aten.size.int", [o.x, t.int_(o.index)], ir.Type.parse("!torch.int"))


@t.lowers("flambeau.size_to_tensor")
def _size_to_tensor(o: t.Lowered) -> ir.Value:
    return t.call(
        "aten.full", [t.ints([]), o.size, t.dtype_(o.dtype), t.none(), t.none(), t.none()], *o.result_types
    )


# Up to this size positions are a table in the module.
_LARGEST_TABLE = 4096


@t.lowers("flambeau.iota")
def _iota(o: t.Lowered) -> ir.Value:
    if isinstance(o.size, int) and 0 < o.size <= _LARGEST_TABLE and dtype_name(o.dtype) in ("int32", "int64"):
        # Positions computed in place fuse with what compares them, and IREE cannot compile a masked softmax of that
        # for Vulkan ("failed to legalize memref.alloc"); a table does not.
        table = f"dense<{list(range(o.size))}> : {builtin.signless(o.op.out.type)}"
        value = arith.constant(builtin.signless(o.op.out.type), ir.Attribute.parse(table))
        return builtin.from_builtin(value, o.result_types[0])
    return t.call(
        "aten.arange", [t.int_(o.size), t.dtype_(o.dtype), t.none(), t.none(), t.none()], *o.result_types
    )
