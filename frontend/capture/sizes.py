# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is known of a size that may be symbolic: its number, its expression, its value at the traced inputs."""

from collections.abc import Iterable
from typing import Any

import sympy
import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true

from flambeau.dialects.facts import Extent


def static(value: Any) -> int | None:
    """The number, if a size is one for all inputs; None if it is symbolic. TypeError for a symbolic float."""
    if isinstance(value, torch.SymFloat | torch.SymBool):
        raise TypeError(f"{value} depends on data and is no size")
    if isinstance(value, torch.SymInt):
        known = value.node.maybe_as_int()
        if known is None and not value.node.expr.is_Symbol and statically_known_true(value == 1):
            return 1  # by a guard: what broadcasts must be seen to
        return int(known) if known is not None else None
    return int(value)


def expression(value: int | torch.SymInt) -> sympy.Expr:
    """The sympy expression of a size, in the shape environment's current form."""
    if not isinstance(value, torch.SymInt):
        return sympy.Integer(int(value))
    node = value.node
    return node.shape_env.replace(node.expr) if node.shape_env is not None else node.expr


_ANY_SIZE = 7919  # of a size that depends on data: a number that no other size is


def hint(size: int | torch.SymInt) -> int:
    """A size at the traced inputs; only properties that hold for all sizes may be decided with it."""
    if not isinstance(size, torch.SymInt):
        return int(size)
    known = size.node.hint
    return _ANY_SIZE if known is None else int(known)


def extents(sizes: Iterable[Any]) -> tuple[Extent, ...]:
    """Sizes as facts have them: numbers, and text for symbols and expressions (`s0`, `2*s0 + 1`)."""
    return tuple(str(expression(s)) if (known := static(s)) is None else known for s in sizes)
