# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Threefry-2x32 with 20 rounds, on scalars and vectors of i32: the bits of `flambeau.random_bits`.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011): rotations of rounds 0..7,
repeated, and the constant of the key schedule.
"""

from flambeau.dialects.bindings import ir
from flambeau.pipelines.kernels.emitter import Emitter

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_GROUPS = 5  # of four rounds


def random_word(
    e: Emitter, word: int, bits: int, key0: ir.Value, key1: ir.Value, counter1: ir.Value, counter0: ir.Value
) -> ir.Value:
    """The top `bits` bits of output word 0 or 1."""
    found = _threefry(e, (key0, key1), counter0, counter1)[word]
    return found if bits == 32 else _binary(e, "arith.shrui", found, 32 - bits)


def _threefry(
    e: Emitter, keys: tuple[ir.Value, ir.Value], x0: ir.Value, x1: ir.Value
) -> tuple[ir.Value, ir.Value]:
    schedule = (*keys, _binary(e, "arith.xori", _binary(e, "arith.xori", *keys), _PARITY))
    x0, x1 = _binary(e, "arith.addi", x0, keys[0]), _binary(e, "arith.addi", x1, keys[1])
    for group in range(_GROUPS):
        for rotation in _ROTATIONS[group % 2]:
            x0 = _binary(e, "arith.addi", x0, x1)
            x1 = _binary(e, "arith.xori", _rotated(e, x1, rotation), x0)
        x0 = _binary(e, "arith.addi", x0, schedule[(group + 1) % 3])
        x1 = _binary(e, "arith.addi", x1, schedule[(group + 2) % 3])
        x1 = _binary(e, "arith.addi", x1, group + 1)
    return x0, x1


def _rotated(e: Emitter, value: ir.Value, bits: int) -> ir.Value:
    high = _binary(e, "arith.shli", value, bits)
    return _binary(e, "arith.ori", high, _binary(e, "arith.shrui", value, 32 - bits))


def _binary(e: Emitter, name: str, a: ir.Value, b: ir.Value | int) -> ir.Value:
    other = e.number(b, a.type) if isinstance(b, int) else b
    return e.value(name, [a, other], a.type)
