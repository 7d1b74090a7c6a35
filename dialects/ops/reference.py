# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""References: places that hold a tensor, their views, reads and writes. They exist only before `functionalize`."""

from flambeau.dialects.dialect import Allocates, FlambeauOp, Reads, RefType, Writes
from flambeau.dialects.opdef import (
    NEVER,
    OPS,
    AnyValue,
    Bool,
    Lowering,
    NotDifferentiable,
    Raw,
    Result,
    Sequence,
    Str,
    Tensor,
    VerificationError,
    infer_with_attributes,
)

_BEFORE_AUTODIFF = NotDifferentiable("functionalize removes references before autodiff")


class RefNewOp(FlambeauOp, name="ref_new", traits=(Allocates,)):
    """A new place that holds `value`."""

    value: Tensor
    out: Result
    recompute = NEVER
    lowering = Lowering.NONE
    vjp = _BEFORE_AUTODIFF

    def infer(op):
        return RefType.of(op.value)


class RefViewOp(FlambeauOp, name="ref_view"):
    """A view of a place: the same storage seen through the view op `view` with the attributes `arguments`.

    `view_op` is the name of a view op of this dialect (`flambeau.select`, ...), `arguments` all its attributes and
    `dynamic` its operands after the viewed tensor.
    """

    ref: AnyValue
    dynamic: Sequence[AnyValue]
    view_op: Str
    arguments: Raw
    out: Result
    recompute = NEVER
    lowering = Lowering.NONE
    vjp = _BEFORE_AUTODIFF

    def infer(op):
        cls = OPS.get(op.view_op)
        if cls is None or not cls.view:
            views = ", ".join(sorted(name for name, c in OPS.items() if c.view))
            raise VerificationError(f"'{op.view_op}' is not a view op; there are: {views}")
        return RefType.of(infer_with_attributes(cls, op.ref.tensor, op.arguments))


class RefLoadOp(FlambeauOp, name="ref_load", traits=(Reads,)):
    """The tensor that the place holds now."""

    ref: AnyValue
    out: Result
    recompute = NEVER
    lowering = Lowering.NONE
    vjp = _BEFORE_AUTODIFF

    def infer(op):
        return op.ref.tensor


class RefStoreOp(FlambeauOp, name="ref_store", traits=(Writes,)):
    """Write `value` into the place.

    `hidden`: autograd does not see the write (made under no_grad, or through a detached alias): the place keeps the
    history that it had, with the new value.
    """

    ref: AnyValue
    value: Tensor
    hidden: Bool
    recompute = NEVER
    lowering = Lowering.NONE
    vjp = _BEFORE_AUTODIFF
