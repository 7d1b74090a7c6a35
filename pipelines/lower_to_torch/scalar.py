# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arithmetic on scalars in the body of a loop nest, of whatever float type the operands have."""

from collections.abc import Sequence

from flambeau.dialects.bindings import arith, ir


def number(like: ir.Value, value: float) -> ir.Value:
    """A constant of the type of `like`."""
    return arith.constant(like.type, value)


def math_op(name: str, *operands: ir.Value) -> ir.Value:
    """An op of the math dialect on scalars of one type."""
    return ir.Operation.create(f"math.{name}", results=[operands[0].type], operands=list(operands)).results[0]


def equal(x: ir.Value, y: ir.Value) -> ir.Value:
    return arith.cmpf(arith.CmpFPredicate.OEQ, x, y)


def polynomial(x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
    """Horner's scheme; the highest power's coefficient first."""
    value = number(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = arith.addf(arith.mulf(value, x), number(x, coefficient))
    return value
