# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The `autograd` dialect: what differentiation needs to be told. `autodiff` reads these ops, lowering drops them."""

from flambeau.dialects.dialect import AutogradOp
from flambeau.dialects.infer import equal_types, same_as
from flambeau.dialects.opdef import CHEAP, Bool, Int, Lowering, NotDifferentiable, Result, Tensor


class DetachOp(AutogradOp, name="detach"):
    """The value of `x` without its history: what `x.detach()` and results of ops under no_grad are.

    Pure and never folded before `autodiff`, because the gradient stops here.
    """

    x: Tensor
    out: Result
    aten = "detach"
    lowering = Lowering.RULE
    recompute = CHEAP
    infer = same_as("x")
    vjp = NotDifferentiable("detach stops the gradient")


class WithValueOp(AutogradOp, name="with_value"):
    """The value of `new` with the history of `old`: what a write under no_grad or through `.data` means.

    Gradient: g for `old`, nothing for `new`.
    """

    old: Tensor
    new: Tensor
    out: Result
    lowering = Lowering.RULE
    recompute = CHEAP
    infer = equal_types("old", "new")
    without_history = ("new",)

    def vjp(op, g):
        return {"old": g}


class CheckpointOp(AutogradOp, name="checkpoint"):
    """The value of `x`, on the way into checkpointed region `region`, or out of all of them (None).

    Inside of a region the backward computes values again rather than taking them over. `save`: this one is to be saved
    all the same. Gradient: g.
    """

    x: Tensor
    region: Int | None
    save: Bool = False
    out: Result
    lowering = Lowering.RULE
    recompute = CHEAP
    infer = same_as("x")

    def vjp(op, g):
        return {"x": g}
