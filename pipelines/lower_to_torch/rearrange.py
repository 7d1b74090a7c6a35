# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering of flips and pads."""

from flambeau.dialects.bindings import arith, ir
from flambeau.pipelines.lower_to_torch import builtin
from flambeau.pipelines.lower_to_torch import torch_builder as t


@t.lowers("flambeau.flip")
def _flip(o: t.Lowered) -> ir.Value:
    x = builtin.operand(o, "x")
    sizes = builtin.sizes_of(x)

    def position() -> list[ir.Value]:
        last = [arith.subi(builtin.as_index(s), builtin.as_index(1)) for s in sizes]
        here = [builtin.loop_index(d) for d in range(len(sizes))]
        return [arith.subi(last[d], here[d]) if d in o.dims else here[d] for d in range(len(sizes))]

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
        # Read by position: IREE's copy of a slice into a larger tensor does not compile for all dynamic sizes.
        cropped = [_plus(s, min(b, 0) + min(a, 0)) for s, b, a in zip(sizes, before, after, strict=True)]
        skipped = [max(-b, 0) for b in before]
        x = builtin.read(x, cropped, [], [], lambda: [_shifted(d, n) for d, n in enumerate(skipped)])
    return builtin.result(o, builtin.pad(x, [max(b, 0) for b in before], [max(a, 0) for a in after], o.value))


def _plus(size: int | ir.Value, change: int) -> int | ir.Value:
    return size + change if isinstance(size, int) else arith.addi(size, builtin.as_index(change))


def _shifted(dim: int, offset: int) -> ir.Value:
    """In a loop nest: the position along loop `dim`, further by `offset`."""
    return arith.addi(builtin.loop_index(dim), builtin.as_index(offset))
