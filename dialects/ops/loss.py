# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Loss functions. `reduction` is ATen's number: 0 keeps the elements, 1 takes their mean, 2 their sum.

float16 and bfloat16 are computed in float32 and rounded at the end.
"""

from collections.abc import Callable

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import FlambeauOp
from flambeau.dialects.infer import equal_types, merge_shapes, require_broadcastable
from flambeau.dialects.opdef import CHEAP, Float, Int, Lowering, Result, Tensor, VerificationError
from flambeau.dialects.types import compatible, dtype_name, is_float, shape_of, tensor_type

NONE, MEAN, SUM = 0, 1, 2

# --- Parts of rules --------------------------------------------------------------------------------------------------


def _require_reduction(reduction: int) -> None:
    if reduction not in (NONE, MEAN, SUM):
        raise VerificationError(f"reduction is {reduction}, but must be 0 (none), 1 (mean) or 2 (sum)")


def _require_float(type_: ir.Type) -> None:
    if not is_float(type_):
        raise VerificationError(f"operand 'x' must be of float elements, found {type_}")


def _reduced(*weights: str) -> Callable:
    """The type of a loss of x and target, of equal types, and optional weights that broadcast to them."""

    def infer(op):
        _require_reduction(op.reduction)
        _require_float(op.x)
        type_ = equal_types("x", "target")(op)
        shape = shape_of(type_)
        for name in weights:
            weight = getattr(op, name)
            if weight is None:
                continue
            if weight.element_type != type_.element_type:
                raise VerificationError(
                    f"operands 'x' and '{name}' differ in element type: {op.x} and {weight}"
                )
            require_broadcastable(name, weight, shape)
        return tensor_type(shape if op.reduction == NONE else [], type_.element_type)

    return infer


def _reduce(op, elements: ir.Value) -> ir.Value:
    """The loss from its elements."""
    all_dims = list(range(elements.type.rank))
    if op.reduction == MEAN:
        elements = b.mean(elements, all_dims, False)
    elif op.reduction == SUM:
        elements = b.sum(elements, all_dims, False)
    return b.cast_like(elements, op.x)


def _unreduce(op, g: ir.Value) -> ir.Value:
    """The gradient of the loss's elements from that of the loss, wide and in x's shape."""
    g = b.wide(g)
    if op.reduction == NONE:
        return g
    if op.reduction == MEAN:
        g = b.div(g, b.tensor_from_index(b.multiply_sizes(b.sizes(op.x)), g.type.element_type))
    return b.expand_to(g, op.x)


# --- Losses of two tensors -------------------------------------------------------------------------------------------


def _difference(op) -> ir.Value:
    return b.sub(b.wide(op.x), b.wide(op.target))


def _difference_vjp(op, g: ir.Value, slope: ir.Value) -> dict[str, ir.Value]:
    """Gradients of a loss that depends on x - target with derivative `slope`."""
    grad = b.cast_like(b.mul(_unreduce(op, g), slope), op.x)
    return {"x": grad, "target": b.neg(grad)}


class MseLossOp(FlambeauOp, name="mse_loss"):
    """(x - target)^2, reduced.

    Gradient: 2 g (x - target), and its negative.
    """

    x: Tensor
    target: Tensor
    reduction: Int = MEAN
    out: Result
    aten = "mse_loss"
    recompute = CHEAP
    lowering = Lowering.DECOMPOSE
    infer = _reduced()

    def vjp(op, g):
        difference = _difference(op)
        return _difference_vjp(op, g, b.mul(difference, 2.0))

    def decompose(op):
        difference = _difference(op)
        return _reduce(op, b.mul(difference, difference))


class SmoothL1LossOp(FlambeauOp, name="smooth_l1_loss"):
    """With d = |x - target|: d^2 / (2 beta) where d < beta, else d - beta / 2; reduced.

    Gradient: g times (x - target) / beta, limited to [-1, 1]; and its negative.
    """

    x: Tensor
    target: Tensor
    reduction: Int = MEAN
    beta: Float = 1.0
    out: Result
    aten = "smooth_l1_loss"
    recompute = CHEAP
    lowering = Lowering.DECOMPOSE
    infer = _reduced()

    def check(op):
        if op.beta <= 0:
            raise VerificationError(f"beta is {op.beta}, but must be positive (with 0, the loss is l1_loss)")

    def vjp(op, g):
        difference = _difference(op)
        near = b.lt(b.abs(difference), op.beta)
        slope = b.where(near, b.mul(difference, 1.0 / op.beta), b.sign(difference))
        return _difference_vjp(op, g, slope)

    def decompose(op):
        distance = b.abs(_difference(op))
        quadratic = b.mul(b.mul(distance, distance), 0.5 / op.beta)
        return _reduce(op, b.where(b.lt(distance, op.beta), quadratic, b.sub(distance, 0.5 * op.beta)))


class HuberLossOp(FlambeauOp, name="huber_loss"):
    """With d = |x - target|: d^2 / 2 where d <= delta, else delta (d - delta / 2); reduced.

    Gradient: g times x - target, limited to [-delta, delta]; and its negative.
    """

    x: Tensor
    target: Tensor
    reduction: Int = MEAN
    delta: Float = 1.0
    out: Result
    aten = "huber_loss"
    recompute = CHEAP
    lowering = Lowering.DECOMPOSE
    infer = _reduced()

    def check(op):
        if op.delta <= 0:
            raise VerificationError(f"delta is {op.delta}, but must be positive")

    def vjp(op, g):
        difference = _difference(op)
        near = b.le(b.abs(difference), op.delta)
        return _difference_vjp(op, g, b.where(near, difference, b.mul(b.sign(difference), op.delta)))

    def decompose(op):
        distance = b.abs(_difference(op))
        quadratic = b.mul(b.mul(distance, distance), 0.5)
        linear = b.mul(b.sub(distance, 0.5 * op.delta), op.delta)
        return _reduce(op, b.where(b.le(distance, op.delta), quadratic, linear))


class SoftMarginLossOp(FlambeauOp, name="soft_margin_loss"):
    """log(1 + exp(-target * x)), reduced; targets are 1 or -1.

    Gradient: -g target sigmoid(-target * x); the target carries none, as in PyTorch.
    """

    x: Tensor
    target: Tensor
    reduction: Int = MEAN
    out: Result
    aten = "soft_margin_loss"
    recompute = CHEAP
    lowering = Lowering.DECOMPOSE
    infer = _reduced()

    def vjp(op, g):
        target = b.wide(op.target)
        slope = b.mul(target, b.sigmoid(b.neg(b.mul(target, b.wide(op.x)))))
        return {"x": b.cast_like(b.neg(b.mul(_unreduce(op, g), slope)), op.x)}

    def decompose(op):
        return _reduce(op, b.log1p(b.exp(b.neg(b.mul(b.wide(op.target), b.wide(op.x))))))


# --- Binary cross entropy --------------------------------------------------------------------------------------------

# What eager's first derivative uses: the float32 next to 1e-12.
_LEAST_SPREAD = 9.999999960041972e-13


def _weighted(x: ir.Value, weight: ir.Value | None) -> ir.Value:
    return x if weight is None else b.mul(x, b.expand_to(b.wide(weight), x))


class BinaryCrossEntropyOp(FlambeauOp, name="binary_cross_entropy"):
    """-weight (target log(x) + (1 - target) log(1 - x)), logarithms not below -100, reduced; x is in [0, 1].

    Gradient: `binary_cross_entropy_backward`; g weight (log(1 - x) - log(x)); weight carries none.
    """

    x: Tensor
    target: Tensor
    weight: Tensor | None
    reduction: Int = MEAN
    out: Result
    aten = "binary_cross_entropy"
    recompute = CHEAP
    lowering = Lowering.DECOMPOSE
    infer = _reduced("weight")

    def vjp(op, g):
        x = b.wide(op.x)
        slope = b.sub(b.log1p(b.neg(x)), b.log(x))
        return {
            "x": b.binary_cross_entropy_backward(g, op.x, op.target, op.weight, op.reduction),
            "target": b.cast_like(b.mul(_weighted(_unreduce(op, g), op.weight), slope), op.target),
        }

    def decompose(op):
        x, target = b.wide(op.x), b.wide(op.target)
        log = b.maximum(b.log(x), -100.0)
        log_complement = b.maximum(b.log1p(b.neg(x)), -100.0)
        elements = b.sub(b.mul(b.sub(target, 1.0), log_complement), b.mul(target, log))
        return _reduce(op, _weighted(elements, op.weight))


class BinaryCrossEntropyBackwardOp(FlambeauOp, name="binary_cross_entropy_backward"):
    """The gradient of x from that of the loss: grad weight (x - target) / max(x (1 - x), 1e-12).

    Gradient, where PyTorch adds e = 1e-12 instead: g weight (x - target) / ((x + e) (1 - x + e));
    g grad weight (x^2 - 2 x target + target) / ((x + e) (1 - x + e))^2; -g grad weight / max(x (1 - x), e);
    weight carries none.
    """

    grad: Tensor
    x: Tensor
    target: Tensor
    weight: Tensor | None
    reduction: Int = MEAN
    out: Result
    aten = "binary_cross_entropy_backward"
    recompute = CHEAP
    lowering = Lowering.DECOMPOSE

    def infer(op):
        expected = _reduced("weight")(op)
        if not compatible(op.grad, expected):
            raise VerificationError(f"'grad' is {op.grad}, but the loss is {expected}")
        return op.x

    def vjp(op, g):
        x, target, g = b.wide(op.x), b.wide(op.target), b.wide(g)
        grad = b.mul(g, _weighted(_unreduce(op, op.grad), op.weight))
        spread = b.mul(b.add(x, 1e-12), b.add(b.sub(1.0, x), 1e-12))
        curve = b.add(b.sub(b.mul(x, x), b.mul(b.mul(x, target), 2.0)), target)
        return {
            "grad": _reduce(op, _weighted(b.mul(g, b.div(b.sub(x, target), spread)), op.weight)),
            "x": b.cast_like(b.mul(grad, b.div(curve, b.mul(spread, spread))), op.x),
            "target": b.cast_like(b.neg(b.div(grad, _spread(x, 1e-12))), op.target),
        }

    def decompose(op):
        x, grad = b.wide(op.x), _weighted(_unreduce(op, op.grad), op.weight)
        return b.cast_like(b.mul(grad, b.div(b.sub(x, b.wide(op.target)), _spread(x, _LEAST_SPREAD))), op.x)


def _spread(x: ir.Value, least: float) -> ir.Value:
    return b.maximum(b.mul(x, b.sub(1.0, x)), least)


class BinaryCrossEntropyWithLogitsOp(FlambeauOp, name="binary_cross_entropy_with_logits"):
    """weight ((1 - target) x + (1 + (pos_weight - 1) target) log(1 + exp(-x))), reduced: x before the sigmoid.

    Gradient, with q = 1 + (pos_weight - 1) target: g weight (1 - target - q sigmoid(-x));
    g weight ((pos_weight - 1) log(1 + exp(-x)) - x); weight and pos_weight carry none.
    """

    x: Tensor
    target: Tensor
    weight: Tensor | None
    pos_weight: Tensor | None
    reduction: Int = MEAN
    out: Result
    aten = "binary_cross_entropy_with_logits"
    recompute = CHEAP
    lowering = Lowering.DECOMPOSE
    infer = _reduced("weight", "pos_weight")

    def vjp(op, g):
        x, target, g = b.wide(op.x), b.wide(op.target), _weighted(_unreduce(op, g), op.weight)
        share, slope = b.sigmoid(b.neg(x)), b.neg(x)
        if op.pos_weight is not None:
            excess = b.sub(b.expand_to(b.wide(op.pos_weight), x), 1.0)
            share = b.mul(share, b.add(b.mul(excess, target), 1.0))
            slope = b.add(slope, b.mul(excess, _log1p_exp_of_negative(x)))
        return {
            "x": b.cast_like(b.mul(g, b.sub(b.sub(1.0, target), share)), op.x),
            "target": b.cast_like(b.mul(g, slope), op.target),
        }

    def decompose(op):
        x, target = b.wide(op.x), b.wide(op.target)
        log = _log1p_exp_of_negative(x)
        if op.pos_weight is not None:
            excess = b.sub(b.expand_to(b.wide(op.pos_weight), x), 1.0)
            log = b.mul(log, b.add(b.mul(excess, target), 1.0))
        return _reduce(op, _weighted(b.add(b.mul(b.sub(1.0, target), x), log), op.weight))


def _log1p_exp_of_negative(x: ir.Value) -> ir.Value:
    """log(1 + exp(-x)) without overflow: max(-x, 0) + log1p(exp(-|x|))."""
    return b.add(b.maximum(b.neg(x), 0.0), b.log1p(b.exp(b.neg(b.abs(x)))))


# --- Negative log likelihood -----------------------------------------------------------------------------------------


class _NllParts:
    """What the rules of the two nll losses share. Classes are in dim `class_dim` of x; target has the other dims."""

    def __init__(self, op, class_dim: int):
        self.op, self.class_dim = op, class_dim
        self.x = b.wide(op.x)
        self.all_dims = list(range(op.target.type.rank))
        # As int64: IREE's compiler crashes on positions counted in uint8.
        self.target = b.cast(op.target, "int64")
        self.ignored = b.eq(self.target, op.ignore_index)
        self.chosen = self._chosen()
        self.weight = None if op.weight is None else self._pick(self._spread_over_classes(b.wide(op.weight)))

    def _spread_over_classes(self, vector: ir.Value) -> ir.Value:
        """A vector [c] repeated to x's shape."""
        shape = [b.size(vector, 0) if d == self.class_dim else 1 for d in range(self.x.type.rank)]
        return b.expand_to(b.view(vector, shape), self.x)

    def _chosen(self) -> ir.Value:
        """Where x's class is the target's: a comparison with iota, which unlike a gather fuses with its consumers."""
        iota = b.iota(b.size(self.x, self.class_dim), self.target.type.element_type)
        return b.eq(self._spread_over_classes(iota), self.spread_over_classes(self.target))

    def spread_over_classes(self, per_target: ir.Value) -> ir.Value:
        """A tensor of target's shape, repeated along the classes."""
        return b.expand(b.unsqueeze(per_target, self.class_dim), b.sizes(self.x))

    def _pick(self, x: ir.Value) -> ir.Value:
        """x at the target's class; 0 where the target is ignored."""
        picked = b.sum(b.where(self.chosen, x, 0.0), [self.class_dim], False)
        return b.where(self.ignored, 0.0, picked)

    def _weighted_likelihoods(self) -> ir.Value:
        """weight * x at the target's class, in target's shape."""
        picked = self._pick(self.x)
        return picked if self.weight is None else b.mul(self.weight, picked)

    def total_weight(self) -> ir.Value:
        """The sum of the weights of all targets that are not ignored."""
        weights = self.weight
        if weights is None:
            weights = b.cast(b.logical_not(self.ignored), self.x.type.element_type)
        return b.sum(weights, self.all_dims, False) if self.all_dims else weights

    def results(self) -> list[ir.Value]:
        out = self._weighted_likelihoods()
        if self.op.reduction == NONE:
            total = self._total_weight_unreduced()
        else:
            total = self.total_weight()
            out = b.sum(out, self.all_dims, False) if self.all_dims else out
            out = b.div(out, total) if self.op.reduction == MEAN else out
        return [b.cast_like(b.neg(out), self.op.x), b.cast_like(total, self.op.x)]

    def _total_weight_unreduced(self) -> ir.Value:
        # Eager leaves 0 here, except for a single unbatched target.
        return b.scalar(0.0, self.x.type.element_type) if self.all_dims else self.total_weight()

    def gradient(self, g: ir.Value) -> ir.Value:
        """-g * weight at the target's class, 0 elsewhere; for the mean divided by the total weight."""
        g = b.wide(g)
        if self.op.reduction == MEAN:
            g = b.div(g, self.total_weight())
        g = b.neg(b.expand_to(g, self.target))
        g = g if self.weight is None else b.mul(g, self.weight)
        kept = b.where(self.ignored, 0.0, g)
        return b.cast_like(b.where(self.chosen, self.spread_over_classes(kept), 0.0), self.op.x)


def _infer_nll(op, class_dim: int, classes: int):
    _require_reduction(op.reduction)
    _require_float(op.x)
    shape = shape_of(op.x)
    rest = [s for d, s in enumerate(shape) if d != class_dim]
    if dtype_name(op.target) not in ("int64", "uint8"):
        raise VerificationError(f"operand 'target' must hold int64 or uint8 classes, found {op.target}")
    if not compatible(op.target, tensor_type(rest, op.target.element_type)):
        raise VerificationError(f"operand 'target' must have shape {rest} for {op.x}, found {op.target}")
    if op.weight is not None and not compatible(op.weight, tensor_type([classes], op.x.element_type)):
        raise VerificationError(
            f"operand 'weight' must be a vector of {classes} class weights, found {op.weight}"
        )
    element = op.x.element_type
    scalar = tensor_type([], element)
    return [
        tensor_type(merge_shapes(rest, shape_of(op.target)), element) if op.reduction == NONE else scalar,
        scalar,
    ]


class NllLossForwardOp(FlambeauOp, name="nll_loss_forward"):
    """-weight[target] * x[.., target] of log-probabilities x [n, c] or [c], reduced; and the total weight.

    Targets equal to `ignore_index` count nothing. The mean is divided by the total weight of the others.
    Gradient: -g * weight[target] at the target's class, for the mean divided by the total weight.
    """

    x: Tensor
    target: Tensor
    weight: Tensor | None
    reduction: Int
    ignore_index: Int
    out: Result
    total_weight: Result
    nondifferentiable = ("total_weight",)
    aten = "nll_loss_forward"
    recompute = CHEAP
    lowering = Lowering.DECOMPOSE

    def infer(op):
        if op.x.rank not in (1, 2):
            raise VerificationError(f"operand 'x' must be [n, c] or [c], found {op.x}")
        return _infer_nll(op, op.x.rank - 1, shape_of(op.x)[-1])

    def vjp(op, g, g_total_weight):
        return {"x": _NllParts(op, op.x.type.rank - 1).gradient(g)}

    def decompose(op):
        return _NllParts(op, op.x.type.rank - 1).results()


class NllLoss2dForwardOp(FlambeauOp, name="nll_loss2d_forward"):
    """-weight[target] * x[:, target] of log-probabilities x [n, c, h, w] and targets [n, h, w], reduced; total weight.

    Gradient: as for `nll_loss_forward`.
    """

    x: Tensor
    target: Tensor
    weight: Tensor | None
    reduction: Int
    ignore_index: Int
    out: Result
    total_weight: Result
    nondifferentiable = ("total_weight",)
    aten = "nll_loss2d_forward"
    recompute = CHEAP
    lowering = Lowering.DECOMPOSE

    def infer(op):
        if op.x.rank != 4:
            raise VerificationError(f"operand 'x' must be [n, c, h, w], found {op.x}")
        return _infer_nll(op, 1, shape_of(op.x)[1])

    def vjp(op, g, g_total_weight):
        return {"x": _NllParts(op, 1).gradient(g)}

    def decompose(op):
        return _NllParts(op, 1).results()
