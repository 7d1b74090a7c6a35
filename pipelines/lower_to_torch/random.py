# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of random_bits: Threefry-2x32 in 32-bit integer arithmetic, one linalg loop nest."""

from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.ops.random import THREEFRY_PARITY, THREEFRY_ROTATIONS
from flambeau.pipelines.lower_to_torch import builtin
from flambeau.pipelines.lower_to_torch import torch_builder as t


@t.lowers("flambeau.random_bits")
def _random_bits(o: t.Lowered) -> list[ir.Value]:
    i32 = ir.IntegerType.get_signless(32)
    pair, one = ir.RankedTensorType.get([2], i32), ir.RankedTensorType.get([], i32)
    seed, offset = builtin.to_builtin(o.seed, pair), builtin.to_builtin(o.offset, one)
    keys = [
        ir.Operation.create(
            "tensor.extract_slice",
            results=[one],
            operands=[seed],
            attributes={
                "static_offsets": ir.DenseI64ArrayAttr.get([word]),
                "static_sizes": ir.DenseI64ArrayAttr.get([1]),
                "static_strides": ir.DenseI64ArrayAttr.get([1]),
                "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 0, 0, 0]),
            },
        ).results[0]
        for word in (0, 1)
    ]
    sizes = [s if isinstance(s, int) else builtin.to_index(s) for s in o.shape]
    rank = len(sizes)

    def body(key0: ir.Value, key1: ir.Value, counter1: ir.Value, *_: ir.Value) -> list[ir.Value]:
        counter0 = _number(i32, 0)
        for dim, size in enumerate(sizes):
            position = arith.index_cast(i32, builtin.loop_index(dim))
            length = _number(i32, size) if isinstance(size, int) else arith.index_cast(i32, size)
            counter0 = arith.addi(arith.muli(counter0, length), position)
        words = threefry2x32(key0, key1, counter0, counter1)
        return [w if o.bits == 32 else arith.shrui(w, _number(i32, 32 - o.bits)) for w in words]

    scalar, each = ir.AffineMap.get(rank, 0, []), ir.AffineMap.get_identity(rank)
    words = builtin.generic(
        [*keys, offset],
        [builtin.empty(sizes, i32), builtin.empty(sizes, i32)],
        [scalar, scalar, scalar, each, each],
        ["parallel"] * rank,
        body,
    )
    return [builtin.from_builtin(w, type_) for w, type_ in zip(words, o.result_types, strict=True)]


def threefry2x32(
    key0: ir.Value, key1: ir.Value, counter0: ir.Value, counter1: ir.Value
) -> tuple[ir.Value, ir.Value]:
    """The two output words; all values are i32 scalars."""
    i32 = key0.type
    keys = (key0, key1, arith.xori(arith.xori(key0, key1), _number(i32, THREEFRY_PARITY)))
    x0, x1 = arith.addi(counter0, keys[0]), arith.addi(counter1, keys[1])
    for group, rotations in enumerate(THREEFRY_ROTATIONS):
        for rotation in rotations:
            x0 = arith.addi(x0, x1)
            high = arith.shli(x1, _number(i32, rotation))
            low = arith.shrui(x1, _number(i32, 32 - rotation))
            x1 = arith.xori(arith.ori(high, low), x0)
        x0 = arith.addi(x0, keys[(group + 1) % 3])
        x1 = arith.addi(arith.addi(x1, keys[(group + 2) % 3]), _number(i32, group + 1))
    return x0, x1


def _number(type_: ir.Type, value: int) -> ir.Value:
    return arith.constant(type_, value)
