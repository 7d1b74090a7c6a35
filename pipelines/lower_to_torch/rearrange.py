# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of flips and pads."""

from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.types import DYNAMIC, shape_of, tensor_type
from flambeau.pipelines.lower_to_torch import builtin
from flambeau.pipelines.lower_to_torch import torch_builder as t


@t.lowers("flambeau.flip")
def _flip(o: t.Lowered) -> ir.Value:
    x = builtin.operand(o, "x")
    dims = [d for d in o.dims if shape_of(x)[d] != 1]
    if not dims:
        return o.x
    sizes = builtin.sizes_of(x)

    def position() -> list[ir.Value]:
        last = [arith.subi(builtin.as_index(s), builtin.as_index(1)) for s in sizes]
        here = [builtin.loop_index(d) for d in range(len(sizes))]
        return [arith.subi(last[d], here[d]) if d in dims else here[d] for d in range(len(sizes))]

    return builtin.result(o, builtin.read(x, sizes, [], [], position))


@t.lowers("flambeau.constant_pad_nd")
def _constant_pad_nd(o: t.Lowered) -> ir.Value:
    x = builtin.operand(o, "x")
    sizes = builtin.sizes_of(x)
    rank = len(sizes)
    before, after = [0] * rank, [0] * rank
    for i in range(0, len(o.pad), 2):
        before[rank - 1 - i // 2], after[rank - 1 - i // 2] = o.pad[i], o.pad[i + 1]
    if min((*before, *after), default=0) < 0:
        cropped = [_plus(s, min(b, 0) + min(a, 0)) for s, b, a in zip(sizes, before, after, strict=True)]
        type_ = tensor_type([s if isinstance(s, int) else DYNAMIC for s in cropped], x.type.element_type)
        x = builtin.extract_slice(x, [max(-b, 0) for b in before], cropped, [1] * rank, type_)
    return builtin.result(o, builtin.pad(x, [max(b, 0) for b in before], [max(a, 0) for a in after], o.value))


def _plus(size: int | ir.Value, change: int) -> int | ir.Value:
    return size + change if isinstance(size, int) else arith.addi(size, builtin.as_index(change))
