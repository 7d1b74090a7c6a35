# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which tensors hold one number everywhere."""

from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import OPS
from flambeau.dialects.types import is_tensor


def fill_value(x: ir.Value) -> int | float | None:
    """The number that every element of `x` is, if it is known to be one."""
    while not isinstance(x.owner, ir.Block):
        op = x.owner
        cls = OPS.get(op.name)
        if op.name == "flambeau.constant":
            value = op.attributes["value"]
            return value.get_splat_value().value if value.is_splat else None
        if cls is None or not cls.view:
            return None
        x = op.operands[0]
    return None


def is_uniform_constant(x: ir.Value) -> bool:
    """Whether every element of `x` is the same number, and known to the compiler: pointwise from fills alone."""
    if isinstance(x.owner, ir.Block):
        return False
    op = x.owner
    cls = OPS.get(op.name)
    if op.name == "flambeau.constant":
        return bool(op.attributes["value"].is_splat)
    tensors = [v for v in op.operands if is_tensor(v.type)]
    pointwise = cls is not None and (cls.elementwise or cls.view)
    return pointwise and bool(tensors) and all(map(is_uniform_constant, tensors))
