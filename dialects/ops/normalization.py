# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Softmax and the normalizations by mean and variance.

Statistics and sums of float16 and bfloat16 are computed in float32, in both directions. Every rule takes gradients of
all results that carry one, the saved statistics included, so that gradients can be differentiated again.
"""

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import FlambeauOp
from flambeau.dialects.infer import normalize_dim
from flambeau.dialects.opdef import (
    CHEAP,
    COSTLY,
    PARTS,
    Float,
    Int,
    Lowering,
    Result,
    Size,
    Sizes,
    Tensor,
    VerificationError,
    aten,
)
from flambeau.dialects.types import DYNAMIC, compatible, is_float, is_low_precision, shape_of, tensor_type

# --- Parts of rules --------------------------------------------------------------------------------------------------


def _mean(x: ir.Value, dims: list[int]) -> ir.Value:
    return b.mean(x, dims, True)


def _plus(total: ir.Value | None, term: ir.Value) -> ir.Value:
    return term if total is None else b.add(total, term)


def _count(x: ir.Value, dims: list[int]) -> ir.Value:
    """How many elements lie along `dims`, as a rank-0 tensor of x's element type."""
    return b.tensor_from_index(b.multiply_sizes([b.size(x, d) for d in dims]), x.type.element_type)


def _standardize(x: ir.Value, dims: list[int], eps: float) -> tuple[ir.Value, ir.Value, ir.Value, ir.Value]:
    """(x - mean) * rstd, mean, variance (of the population) and rstd over `dims`, which are kept with size 1.

    In two passes: the variance is a mean of squares of what is centred already.
    """
    variance, mean = b.var_mean(x, dims, 0, True)
    rstd = b.rsqrt(b.add(variance, eps))
    return b.mul(b.sub(x, b.expand_to(mean, x)), b.expand_to(rstd, x)), mean, variance, rstd


def _standardize_vjp(
    x_hat: ir.Value,
    rstd: ir.Value,
    dims: list[int],
    g: ir.Value | None,
    g_mean: ir.Value | None,
    g_rstd: ir.Value | None,
) -> ir.Value:
    """The gradient of what is standardized; `rstd`, `g_mean` and `g_rstd` have size 1 along `dims`.

    rstd * (g - mean(g) - x_hat * mean(g * x_hat)) + g_mean / n - g_rstd * rstd^2 * x_hat / n, n elements per mean.
    """
    total = None
    if g is not None:
        projection = b.mul(x_hat, b.expand_to(_mean(b.mul(g, x_hat), dims), x_hat))
        centred = b.sub(b.sub(g, b.expand_to(_mean(g, dims), x_hat)), projection)
        total = b.mul(centred, b.expand_to(rstd, x_hat))
    if g_mean is not None or g_rstd is not None:
        count = _count(x_hat, dims)
        if g_mean is not None:
            total = _plus(total, b.expand_to(b.div(g_mean, b.expand_to(count, g_mean)), x_hat))
        if g_rstd is not None:
            slope = b.neg(b.div(b.mul(g_rstd, b.mul(rstd, rstd)), b.expand_to(count, rstd)))
            total = _plus(total, b.mul(x_hat, b.expand_to(slope, x_hat)))
    return total


def _require_float(type_: ir.Type) -> None:
    if not is_float(type_):
        raise VerificationError(f"operand 'x' must be of float elements, found {type_}")


def _require_shape(name: str, type_: ir.Type | None, shape: list[int]) -> None:
    if type_ is not None and not compatible(tensor_type(shape, type_.element_type), type_):
        raise VerificationError(f"operand '{name}' must have shape {shape}, found {type_}")


def _statistics_element(x: ir.Type, *parameters: ir.Type | None) -> ir.Type:
    """The element type of saved statistics: that of the parameters, which may be f32 where x is float16 or bfloat16."""
    elements = {p.element_type for p in parameters if p is not None}
    if len(elements) > 1:
        raise VerificationError(
            f"parameters differ in element type: {' and '.join(sorted(map(str, elements)))}"
        )
    element = elements.pop() if elements else x.element_type
    if element != x.element_type and not (is_low_precision(x) and isinstance(element, ir.F32Type)):
        raise VerificationError(
            f"parameters of {element} do not go with {x}: they have x's element type, or f32 where x is f16 or bf16"
        )
    return element


# --- Softmax ---------------------------------------------------------------------------------------------------------


def _infer_softmax(op):
    _require_float(op.x)
    normalize_dim(op.dim, op.x.rank)
    return op.x


def _softmax_parts(x: ir.Value, dim: int) -> tuple[ir.Value, ir.Value, ir.Value]:
    """x - max(x), its exponential and that one's sum, wide, over a dim of a tensor that has dims."""
    x = b.wide(x)
    shifted = b.sub(x, b.expand_to(b.amax(x, [dim], True), x))
    exponential = b.exp(shifted)
    return shifted, exponential, b.sum(exponential, [dim], True)


def _along(op) -> tuple[ir.Value, int]:
    """x with at least one dim, and `dim` in [0, rank)."""
    x = op.x if op.x.type.rank else b.view(op.x, [1])
    return x, normalize_dim(op.dim, x.type.rank)


def _softmax_vjp(op, g):
    out, g_wide = b.wide(op.out), b.wide(g)
    dot = b.mul(g_wide, out)
    if not op.x.type.rank:
        return {"x": b.cast_like(b.sub(dot, b.mul(out, dot)), op.x)}
    total = b.sum(dot, [normalize_dim(op.dim, op.x.type.rank)], True)
    return {"x": b.cast_like(b.sub(dot, b.mul(out, b.expand_to(total, out))), op.x)}


class SoftmaxOp(FlambeauOp, name="softmax"):
    """exp(x) / sum(exp(x)) along `dim`.

    Gradient: out * (g - sum(g * out)).
    """

    x: Tensor
    dim: Int
    out: Result
    aten = aten("_softmax", "x", "dim", False)
    recompute = COSTLY
    lowering = Lowering.DECOMPOSE
    infer = _infer_softmax
    vjp = _softmax_vjp

    def decompose(op):
        x, dim = _along(op)
        _, exponential, total = _softmax_parts(x, dim)
        out = b.div(exponential, b.expand_to(total, exponential))
        return b.view(b.cast_like(out, op.x), b.sizes(op.x)) if x != op.x else b.cast_like(out, op.x)


class LogSoftmaxOp(FlambeauOp, name="log_softmax"):
    """x - log(sum(exp(x))) along `dim`.

    Gradient: g - exp(out) * sum(g).
    """

    x: Tensor
    dim: Int
    out: Result
    aten = aten("_log_softmax", "x", "dim", False)
    recompute = COSTLY
    lowering = Lowering.DECOMPOSE
    infer = _infer_softmax

    def vjp(op, g):
        out, g_wide = b.exp(b.wide(op.out)), b.wide(g)
        if not op.x.type.rank:
            return {"x": b.cast_like(b.sub(g_wide, b.mul(out, g_wide)), op.x)}
        total = b.sum(g_wide, [normalize_dim(op.dim, op.x.type.rank)], True)
        return {"x": b.cast_like(b.sub(g_wide, b.mul(out, b.expand_to(total, out))), op.x)}

    def decompose(op):
        x, dim = _along(op)
        shifted, _, total = _softmax_parts(x, dim)
        out = b.sub(shifted, b.expand_to(b.log(total), shifted))
        return b.view(b.cast_like(out, op.x), b.sizes(op.x)) if x != op.x else b.cast_like(out, op.x)


class SafeSoftmaxOp(FlambeauOp, name="safe_softmax"):
    """Softmax along `dim`, but 0 where all of x along it is -inf (a fully masked row), which softmax makes NaN.

    Gradient: out * (g - sum(g * out)).
    """

    x: Tensor
    dim: Int
    out: Result
    aten = aten("_safe_softmax", "x", "dim", None)
    recompute = COSTLY
    lowering = Lowering.DECOMPOSE
    infer = _infer_softmax
    vjp = _softmax_vjp

    def decompose(op):
        x, dim = _along(op)
        masked = b.eq(b.amax(x, [dim], True), float("-inf"))
        out = b.where(b.expand_to(masked, x), 0.0, b.softmax(x, dim))
        return b.view(out, b.sizes(op.x)) if x != op.x else out


# --- Layer norm ------------------------------------------------------------------------------------------------------


class NativeLayerNormOp(FlambeauOp, name="native_layer_norm"):
    """x standardized over its last dims, which are `normalized_shape`, times `weight` plus `bias`; and mean and rstd.

    mean and rstd = 1 / sqrt(variance + eps) keep the normalized dims with size 1.
    Gradient, with x_hat = (x - mean) * rstd and h = g * weight: rstd * (h - mean(h) - x_hat * mean(h * x_hat));
    sum(g * x_hat); sum(g).
    """

    x: Tensor
    normalized_shape: Sizes
    weight: Tensor | None
    bias: Tensor | None
    eps: Float
    out: Result
    mean: Result
    rstd: Result
    aten = "native_layer_norm"
    recompute = COSTLY
    lowering = Lowering.DECOMPOSE

    def infer(op):
        _require_float(op.x)
        shape, normalized = shape_of(op.x), list(op.normalized_shape)
        outer = len(shape) - len(normalized)
        if not normalized or outer < 0 or not _agree(shape[outer:], normalized):
            raise VerificationError(
                f"normalized_shape {normalized} must be the last sizes of {op.x}, at least one"
            )
        _require_shape("weight", op.weight, normalized)
        _require_shape("bias", op.bias, normalized)
        element = _statistics_element(op.x, op.weight, op.bias)
        statistics = tensor_type([*shape[:outer], *[1] * len(normalized)], element)
        return [op.x, statistics, statistics]

    def vjp(op, g, g_mean, g_rstd):
        dims, outer = _layer_norm_dims(op)
        x, mean, rstd = b.wide(op.x), b.wide(op.mean), b.wide(op.rstd)
        x_hat = b.mul(b.sub(x, b.expand_to(mean, x)), b.expand_to(rstd, x))
        grads, g_hat = {}, None
        if g is not None:
            g_hat = g = b.wide(g)
            if op.weight is not None:
                grads["weight"] = b.cast_like(_sum(b.mul(g, x_hat), outer), op.weight)
                g_hat = b.mul(g, b.expand_to(b.wide(op.weight), g))
            if op.bias is not None:
                grads["bias"] = b.cast_like(_sum(g, outer), op.bias)
        statistics = [None if s is None else b.wide(s) for s in (g_mean, g_rstd)]
        grads["x"] = b.cast_like(_standardize_vjp(x_hat, rstd, dims, g_hat, *statistics), op.x)
        return grads

    def decompose(op):
        dims, _ = _layer_norm_dims(op)
        x = b.wide(op.x)
        out, mean, _, rstd = _standardize(x, dims, op.eps)
        if op.weight is not None:
            out = b.mul(out, b.expand_to(b.wide(op.weight), out))
        if op.bias is not None:
            out = b.add(out, b.expand_to(b.wide(op.bias), out))
        return [b.cast_like(out, op.x), b.cast_like(mean, op.mean), b.cast_like(rstd, op.rstd)]


def _agree(found: list[int], wanted: list[int]) -> bool:
    return all(DYNAMIC in (f, w) or f == w for f, w in zip(found, wanted, strict=True))


def _layer_norm_dims(op) -> tuple[list[int], list[int]]:
    """The dims that are normalized, and the others."""
    rank = op.x.type.rank
    outer = rank - len(op.normalized_shape)
    return list(range(outer, rank)), list(range(outer))


def _sum(x: ir.Value, dims: list[int]) -> ir.Value:
    """The sum over `dims`, of which there may be none."""
    return b.sum(x, dims, False) if dims else x


# --- Group norm ------------------------------------------------------------------------------------------------------


class NativeGroupNormOp(FlambeauOp, name="native_group_norm"):
    """x [n, c, ...] standardized over each of `group` groups of channels, times weight plus bias; and mean and rstd.

    n, c and hxw (the number of positions) are x's sizes; mean and rstd are [n, group].
    Gradient: as for layer norm over [c / group, ...]; sums over n and positions of g * x_hat, and of g.
    """

    x: Tensor
    weight: Tensor | None
    bias: Tensor | None
    n: Size
    c: Size
    hxw: Size
    group: Int
    eps: Float
    out: Result
    mean: Result
    rstd: Result
    aten = "native_group_norm"
    recompute = COSTLY
    lowering = Lowering.DECOMPOSE

    def infer(op):
        _require_float(op.x)
        shape = shape_of(op.x)
        if len(shape) < 2 or not _agree(shape[:2], [op.n, op.c]):
            raise VerificationError(f"{op.x} does not start with sizes n = {op.n} and c = {op.c}")
        if op.group < 1 or (shape[1] != DYNAMIC and shape[1] % op.group):
            raise VerificationError(
                f"group is {op.group}, but must divide the number of channels, {shape[1]}"
            )
        _require_shape("weight", op.weight, [shape[1]])
        _require_shape("bias", op.bias, [shape[1]])
        statistics = tensor_type([shape[0], op.group], _statistics_element(op.x, op.weight, op.bias))
        return [op.x, statistics, statistics]

    def vjp(op, g, g_mean, g_rstd):
        grouped, statistics, channelwise = _group_norm_shapes(op)
        x, mean, rstd = b.view(b.wide(op.x), grouped), b.wide(op.mean), b.view(b.wide(op.rstd), statistics)
        x_hat = b.mul(b.sub(x, b.expand_to(b.view(mean, statistics), x)), b.expand_to(rstd, x))
        grads, g_hat = {}, None
        if g is not None:
            g_hat = g = b.view(b.wide(g), grouped)
            if op.weight is not None:
                summed = b.sum(b.mul(g, x_hat), [0, 3], False)
                grads["weight"] = b.cast_like(b.view(summed, b.sizes(op.weight)), op.weight)
                g_hat = b.mul(g, b.expand_to(b.view(b.wide(op.weight), channelwise), g))
            if op.bias is not None:
                grads["bias"] = b.cast_like(b.view(b.sum(g, [0, 3], False), b.sizes(op.bias)), op.bias)
        rest = [None if s is None else b.view(b.wide(s), statistics) for s in (g_mean, g_rstd)]
        grad_x = _standardize_vjp(x_hat, rstd, [2, 3], g_hat, *rest)
        grads["x"] = b.cast_like(b.view(grad_x, b.sizes(op.x)), op.x)
        return grads

    def decompose(op):
        grouped, _, channelwise = _group_norm_shapes(op)
        out, mean, _, rstd = _standardize(b.view(b.wide(op.x), grouped), [2, 3], op.eps)
        if op.weight is not None:
            out = b.mul(out, b.expand_to(b.view(b.wide(op.weight), channelwise), out))
        if op.bias is not None:
            out = b.add(out, b.expand_to(b.view(b.wide(op.bias), channelwise), out))
        out = b.view(out, b.sizes(op.x))
        shape = [b.size(op.x, 0), op.group]
        return [
            b.cast_like(out, op.x),
            b.cast_like(b.view(mean, shape), op.mean),
            b.cast_like(b.view(rstd, shape), op.rstd),
        ]


def _group_norm_shapes(op) -> tuple[list, list, list]:
    """x as [n, group, channels per group, positions], statistics and parameters in shapes that broadcast to it."""
    batch, channels, *positions = b.sizes(op.x)
    per_group = b.divide_size(channels, op.group)
    grouped = [batch, op.group, per_group, b.multiply_sizes(positions)]
    return grouped, [batch, op.group, 1, 1], [op.group, per_group, 1]


# --- Batch norm ------------------------------------------------------------------------------------------------------


def _channel_dims(x: ir.Value) -> list[int]:
    """All dims but that of the channels."""
    return [d for d in range(x.type.rank) if d != 1]


def _per_channel(vector: ir.Value, x: ir.Value) -> ir.Value:
    """A vector [c], wide, in a shape that broadcasts to x: 1 everywhere but at the channels."""
    shape = [b.size(vector, 0) if d == 1 else 1 for d in range(x.type.rank)]
    return b.view(b.wide(vector), shape)


def _affine(op, x_hat: ir.Value) -> ir.Value:
    """x_hat * weight + bias, rounded to x's element type."""
    out = x_hat
    if op.weight is not None:
        out = b.mul(out, b.expand_to(_per_channel(op.weight, out), out))
    if op.bias is not None:
        out = b.add(out, b.expand_to(_per_channel(op.bias, out), out))
    return b.cast_like(out, op.x)


def _affine_vjp(op, g: ir.Value, x_hat: ir.Value) -> tuple[ir.Value, dict[str, ir.Value]]:
    """The gradient of x_hat, and those of the parameters; g is wide."""
    grads, dims = {}, _channel_dims(g)
    if op.bias is not None:
        grads["bias"] = b.cast_like(b.sum(g, dims, False), op.bias)
    if op.weight is not None:
        grads["weight"] = b.cast_like(b.sum(b.mul(g, x_hat), dims, False), op.weight)
        g = b.mul(g, b.expand_to(_per_channel(op.weight, g), g))
    return g, grads


def _batch_norm_checks(op, *statistics: str) -> tuple[int, ir.Type]:
    """The number of channels, and the element type of statistics."""
    _require_float(op.x)
    shape = shape_of(op.x)
    if len(shape) < 2:
        raise VerificationError(f"operand 'x' must have dims [n, c, ...], found {op.x}")
    parameters = {name: getattr(op, name) for name in ("weight", "bias", *statistics)}
    for name, type_ in parameters.items():
        _require_shape(name, type_, [shape[1]])
    return shape[1], _statistics_element(op.x, *parameters.values())


def _batch_statistics_vjp(op, g, g_mean, g_rstd):
    x = b.wide(op.x)
    mean, rstd = _per_channel(op.save_mean, x), _per_channel(op.save_rstd, x)
    x_hat = b.mul(b.sub(x, b.expand_to(mean, x)), b.expand_to(rstd, x))
    g_hat, grads = (None, {}) if g is None else _affine_vjp(op, b.wide(g), x_hat)
    statistics = [None if s is None else _per_channel(s, x) for s in (g_mean, g_rstd)]
    grads["x"] = b.cast_like(_standardize_vjp(x_hat, rstd, _channel_dims(x), g_hat, *statistics), op.x)
    return grads


class NativeBatchNormOp(FlambeauOp, name="native_batch_norm"):
    """Batch norm in training: x [n, c, ...] standardized per channel, times weight plus bias.

    Results: out, the batch's mean and rstd per channel, and running_mean and running_var moved by `momentum` towards
    the batch's mean and unbiased variance.
    Gradient: as for layer norm, over all dims but the channels; running statistics carry none, as in PyTorch.
    """

    x: Tensor
    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor
    running_var: Tensor
    momentum: Float
    eps: Float
    out: Result
    save_mean: Result
    save_rstd: Result
    new_mean: Result
    new_var: Result
    nondifferentiable = ("new_mean", "new_var")
    aten = aten(
        "_native_batch_norm_legit_functional",
        "x", "weight", "bias", "running_mean", "running_var", True, "momentum", "eps",
    )  # fmt: skip
    recompute = PARTS
    lowering = Lowering.DECOMPOSE

    def infer(op):
        channels, element = _batch_norm_checks(op, "running_mean", "running_var")
        return [op.x, *[tensor_type([channels], element)] * 2, op.running_mean, op.running_var]

    def vjp(op, g, g_mean, g_rstd, g_new_mean, g_new_var):
        return _batch_statistics_vjp(op, g, g_mean, g_rstd)

    def without_statistics(op):
        """The results but for the last two, from the batch alone."""
        return b.native_batch_norm_no_stats(op.x, op.weight, op.bias, op.momentum, op.eps)

    def decompose(op):
        x = b.wide(op.x)
        dims = _channel_dims(x)
        x_hat, mean, variance, rstd = _standardize(x, dims, op.eps)
        mean, variance, rstd = (b.view(s, [b.size(x, 1)]) for s in (mean, variance, rstd))
        count = _count(x, dims)
        unbiased = b.mul(variance, b.expand_to(b.div(count, b.sub(count, 1.0)), variance))
        moved = [
            b.cast_like(b.add(b.mul(b.wide(old), 1.0 - op.momentum), b.mul(new, op.momentum)), old)
            for old, new in ((op.running_mean, mean), (op.running_var, unbiased))
        ]
        return [_affine(op, x_hat), b.cast_like(mean, op.save_mean), b.cast_like(rstd, op.save_rstd), *moved]


class NativeBatchNormNoStatsOp(FlambeauOp, name="native_batch_norm_no_stats"):
    """Batch norm with the batch's own statistics, without running ones: out, mean and rstd per channel.

    Gradient: as for layer norm, over all dims but the channels.
    """

    x: Tensor
    weight: Tensor | None
    bias: Tensor | None
    momentum: Float
    eps: Float
    out: Result
    save_mean: Result
    save_rstd: Result
    aten = aten("_native_batch_norm_legit.no_stats", "x", "weight", "bias", True, "momentum", "eps")
    recompute = PARTS
    lowering = Lowering.DECOMPOSE

    def infer(op):
        channels, element = _batch_norm_checks(op)
        return [op.x, *[tensor_type([channels], element)] * 2]

    def vjp(op, g, g_mean, g_rstd):
        return _batch_statistics_vjp(op, g, g_mean, g_rstd)

    def decompose(op):
        x = b.wide(op.x)
        x_hat, mean, _, rstd = _standardize(x, _channel_dims(x), op.eps)
        statistics = [
            b.cast_like(b.view(s, [b.size(x, 1)]), saved)
            for s, saved in ((mean, op.save_mean), (rstd, op.save_rstd))
        ]
        return [_affine(op, x_hat), *statistics]


class NativeBatchNormNoTrainingOp(FlambeauOp, name="native_batch_norm_no_training"):
    """Batch norm with given statistics (evaluation): (x - running_mean) / sqrt(running_var + eps) * weight + bias.

    Two more results of size 0 stand where training has the saved statistics.
    Gradient: g * weight / sqrt(running_var + eps); sums of g * x_hat and of g; none for the statistics, as in PyTorch.
    """

    x: Tensor
    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor
    running_var: Tensor
    momentum: Float
    eps: Float
    out: Result
    save_mean: Result
    save_rstd: Result
    nondifferentiable = ("save_mean", "save_rstd")
    aten = "_native_batch_norm_legit_no_training"
    recompute = CHEAP
    lowering = Lowering.DECOMPOSE

    def infer(op):
        _, element = _batch_norm_checks(op, "running_mean", "running_var")
        return [op.x, *[tensor_type([0], element)] * 2]

    def vjp(op, g, g_mean, g_rstd):
        g, grads = _affine_vjp(op, b.wide(g), _running_standardized(op))
        rstd = _per_channel(_running_rstd(op), g)
        grads["x"] = b.cast_like(b.mul(g, b.expand_to(rstd, g)), op.x)
        return grads

    def decompose(op):
        empty = [b.full([0], 0, s.type.element_type) for s in (op.save_mean, op.save_rstd)]
        return [_affine(op, _running_standardized(op)), *empty]


def _running_rstd(op) -> ir.Value:
    return b.rsqrt(b.add(b.wide(op.running_var), op.eps))


def _running_standardized(op) -> ir.Value:
    x = b.wide(op.x)
    mean, rstd = _per_channel(op.running_mean, x), _per_channel(_running_rstd(op), x)
    return b.mul(b.sub(x, b.expand_to(mean, x)), b.expand_to(rstd, x))
