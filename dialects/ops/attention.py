# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention, and PyTorch's fused inference layers. All are differentiated and lowered as the products that define them.

Queries are [..., heads, l, e], keys [..., key heads, s, e], values [..., key heads, s, e_v]; leading dims broadcast.
float16 and bfloat16 scores and sums are computed in float32, as PyTorch's own math form does.
"""

import math

from flambeau.dialects import build as b
from flambeau.dialects.bindings import ir
from flambeau.dialects.dialect import FlambeauOp, Stateful
from flambeau.dialects.infer import broadcast_shape, require_broadcastable
from flambeau.dialects.opdef import (
    COSTLY,
    NEVER,
    Bool,
    Float,
    Int,
    Lowering,
    NoRule,
    Result,
    Tensor,
    VerificationError,
    aten,
)
from flambeau.dialects.ops.random import dropout, keep_mask
from flambeau.dialects.types import DYNAMIC, compatible, is_bool, is_float, shape_of, tensor_type

# --- Scaled dot product attention ------------------------------------------------------------------------------------


def _infer_attention(op):
    query, key, value = op.query, op.key, op.value
    if not is_float(query):
        raise VerificationError(f"operand 'query' must be of float elements, found {query}")
    for name, type_ in (("key", key), ("value", value)):
        if type_.element_type != query.element_type or type_.rank != query.rank:
            raise VerificationError(
                f"operand '{name}' must have query's rank and element type, {query}, found {type_}"
            )
    if query.rank < 2:
        raise VerificationError(f"operand 'query' must have dims [..., l, e], found {query}")
    *batch, length, width = shape_of(query)
    *key_batch, source, key_width = shape_of(key)
    *value_batch, value_source, value_width = shape_of(value)
    if DYNAMIC not in (width, key_width) and width != key_width:
        raise VerificationError(f"sizes e of query and key differ: {width} and {key_width}")
    if DYNAMIC not in (source, value_source) and source != value_source:
        raise VerificationError(f"sizes s of key and value differ: {source} and {value_source}")
    if op.enable_gqa:
        heads = _grouped_heads(batch, key_batch, value_batch)
        batch = [*broadcast_shape(batch[:-1], key_batch[:-1], value_batch[:-1]), heads]
    else:
        batch = broadcast_shape(batch, key_batch, value_batch)
    if op.attn_mask is not None:
        _check_mask(op, [*batch, length, source])
    return tensor_type([*batch, length, value_width], query.element_type)


def _grouped_heads(*batches: list[int]) -> int:
    """The number of query heads, several of which share a key head."""
    heads, key_heads, value_heads = (shape[-1] if shape else 1 for shape in batches)
    if DYNAMIC in (heads, key_heads, value_heads):
        raise VerificationError("enable_gqa needs static numbers of heads")
    if key_heads != value_heads or heads % key_heads:
        raise VerificationError(
            f"{heads} query heads do not share {key_heads} key heads and {value_heads} value heads (enable_gqa)"
        )
    return heads


def _check_mask(op, scores: list[int]) -> None:
    mask = op.attn_mask
    if op.is_causal:
        raise VerificationError("attn_mask and is_causal exclude each other")
    if not is_bool(mask) and not is_float(mask):
        raise VerificationError(f"operand 'attn_mask' must be of bool or float elements, found {mask}")
    require_broadcastable("attn_mask", mask, scores)


def _attention(op, drop) -> ir.Value:
    """drop(softmax(scale * query @ key^T + mask)) @ value."""
    query, key, value = (b.wide(v) for v in (op.query, op.key, op.value))
    batch, group = _common_batch(op)
    length, source = b.size(query, query.type.rank - 2), b.size(key, key.type.rank - 2)
    width, value_width = b.size(query, query.type.rank - 1), b.size(value, value.type.rank - 1)
    key_batch = [*batch[:-1], b.divide_size(batch[-1], group)] if group > 1 else batch
    matrices = b.multiply_sizes(key_batch)

    # Query heads that share a key head are rows of one matrix: keys and values are not repeated.
    query = b.view(_expand_batch(query, batch), [matrices, b.multiply_sizes([group, length]), width])
    key = b.view(_expand_batch(key, key_batch), [matrices, source, width])
    value = b.view(_expand_batch(value, key_batch), [matrices, source, value_width])
    # Scaled after the product, with which it fuses.
    scores = b.bmm(query, b.transpose(key, 1, 2))
    scores = b.view(b.mul(scores, _scale(op, scores, width)), [*batch, length, source])
    weights = drop(_masked_softmax(op, scores, length, source))
    out = b.bmm(b.view(weights, [matrices, b.multiply_sizes([group, length]), source]), value)
    return b.cast_like(b.view(out, [*batch, length, value_width]), op.query)


def _common_batch(op) -> tuple[list[int | ir.Value], int]:
    """The leading sizes of the result, and how many query heads share a key head."""
    operands = (op.query, op.key, op.value)
    leading = [b.sizes(v)[:-2] for v in operands]
    group, heads = 1, []
    if op.enable_gqa and leading[0]:
        group = leading[0][-1] // leading[1][-1]
        heads = [leading[0][-1]]
        leading = [sizes[:-1] for sizes in leading]
    common: list[int | ir.Value] = [1] * len(leading[0])
    for sizes in leading:
        common = [
            c if s == 1 or (isinstance(c, int) and c != 1) else s for c, s in zip(common, sizes, strict=True)
        ]
    return [*common, *heads], group


def _expand_batch(x: ir.Value, batch: list[int | ir.Value]) -> ir.Value:
    shape = shape_of(x)
    if all(have != 1 or want == 1 for have, want in zip(shape[:-2], batch, strict=True)):
        return x
    return b.expand(x, [*batch, *b.sizes(x)[-2:]])


def _scale(op, scores: ir.Value, width: int | ir.Value) -> ir.Value | float:
    """The factor of the scores: a number, or a tensor of their shape."""
    if op.scale is not None:
        return op.scale
    if isinstance(width, int):
        return 1.0 / math.sqrt(width) if width else 1.0
    return b.expand_to(b.rsqrt(b.tensor_from_index(width, scores.type.element_type)), scores)


def _masked_softmax(op, scores: ir.Value, length, source) -> ir.Value:
    """Softmax over the sources that the mask leaves; rows without any are 0."""
    last = scores.type.rank - 1
    if source == 0:
        return scores
    if op.is_causal:
        # A comparison with iota, which fuses. Source 0 is never masked, so no row is without any.
        i32 = ir.IntegerType.get_signless(32)
        rows = b.expand(b.unsqueeze(b.iota(length, i32), 1), [length, source])
        columns = b.expand(b.unsqueeze(b.iota(source, i32), 0), [length, source])
        return b.softmax(b.where(b.expand_to(b.le(columns, rows), scores), scores, float("-inf")), last)
    if op.attn_mask is None:
        return b.softmax(scores, last)
    mask = op.attn_mask
    if is_bool(mask.type):
        return b.safe_softmax(b.where(b.expand_to(mask, scores), scores, float("-inf")), last)
    return b.safe_softmax(b.add(scores, b.expand_to(b.cast_like(mask, scores), scores)), last)


class ScaledDotProductAttentionOp(FlambeauOp, name="scaled_dot_product_attention"):
    """softmax(scale * query @ key^T + mask) @ value; scale is 1 / sqrt(e) unless given.

    attn_mask is added if float, and keeps the scores where it is true if bool; `is_causal` keeps source j of row i if
    j <= i. Rows without any source left are 0. `enable_gqa`: each key head serves a group of consecutive query heads.
    Gradient: that of the products and the softmax, into which it is decomposed before autodiff.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None
    is_causal: Bool = False
    scale: Float | None
    enable_gqa: Bool = False
    out: Result
    aten = aten(
        "scaled_dot_product_attention",
        "query", "key", "value", "attn_mask", 0.0, "is_causal", "scale", "enable_gqa",
    )  # fmt: skip
    recompute = COSTLY
    lowering = Lowering.DECOMPOSE
    infer = _infer_attention

    def decompose(op):
        return _attention(op, drop=lambda weights: weights)


class ScaledDotProductAttentionDropoutOp(
    FlambeauOp, name="scaled_dot_product_attention_dropout", traits=(Stateful,)
):
    """Scaled dot product attention with dropout: weights are zeroed with probability p, the rest scaled by 1 / (1 - p).

    Functionalize makes of it the products, the softmax and a mask drawn from random bits; their gradients are its own.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None
    dropout_p: Float
    is_causal: Bool = False
    scale: Float | None
    enable_gqa: Bool = False
    out: Result
    aten = "scaled_dot_product_attention"
    recompute = NEVER
    lowering = Lowering.NONE
    vjp = NoRule("functionalize draws its mask from random_bits before autodiff")
    infer = _infer_attention

    def check(op):
        if not 0.0 <= op.dropout_p <= 1.0:
            raise VerificationError(f"dropout_p is {op.dropout_p}, but a probability lies in [0, 1]")

    def functional(op, seed, offset):
        def drop(weights: ir.Value) -> ir.Value:
            return dropout(
                weights, keep_mask(seed, offset, b.sizes(weights), 1.0 - op.dropout_p), op.dropout_p
            )

        return _attention(op, drop)


# --- PyTorch's fused layers for inference ----------------------------------------------------------------------------

# What the dims of a mask stand for: ATen's numbers.
_MASK_TYPES = {0: "attention [l, l]", 1: "padding [n, l]", 2: "both [n, heads, l, l]"}


def _check_fused_attention(op, x: ir.Type, heads: int) -> None:
    if not is_float(x) or x.rank != 3 or shape_of(x)[2] not in (op.embed_dim, DYNAMIC):
        raise VerificationError(
            f"the input must be of float elements and have dims [n, l, {op.embed_dim}], found {x}"
        )
    if op.embed_dim % heads:
        raise VerificationError(f"embed_dim {op.embed_dim} is not a multiple of the number of heads, {heads}")
    width = op.embed_dim
    joint = {"qkv_weight": [3 * width, width], "qkv_bias": [3 * width]}
    _check_parameters(op, x, **joint, proj_weight=[width, width], proj_bias=[width])
    if op.mask is None:
        return
    if op.mask_type not in _MASK_TYPES:
        kinds = ", ".join(f"{number} ({what})" for number, what in _MASK_TYPES.items())
        raise VerificationError(f"mask_type is {op.mask_type}, but a mask needs one of {kinds}")
    batch, length, _ = shape_of(x)
    shape = {0: [length, length], 1: [batch, length], 2: [batch, heads, length, length]}[op.mask_type]
    if not compatible(op.mask, tensor_type(shape, op.mask.element_type)):
        raise VerificationError(
            f"operand 'mask' of type {op.mask} must be {_MASK_TYPES[op.mask_type]}, {shape}"
        )


def _check_parameters(op, x: ir.Type, **shapes: list[int]) -> None:
    for name, shape in shapes.items():
        wanted, found = tensor_type(shape, x.element_type), getattr(op, name)
        if not compatible(found, wanted):
            raise VerificationError(f"operand '{name}' must be {wanted}, found {found}")


def _linear(x: ir.Value, weight: ir.Value, bias: ir.Value, width: int | ir.Value) -> ir.Value:
    """x @ weight^T + bias of x [n, l, k] and weight [width, k]."""
    *outer, inner = b.sizes(x)
    rows = b.view(x, [b.multiply_sizes(outer), inner])
    return b.view(b.addmm(bias, rows, b.transpose(weight, 0, 1)), [*outer, width])


def _heads_first(x: ir.Value, heads: int) -> ir.Value:
    """[n, l, heads * d] -> [n * heads, l, d]."""
    batch, length, width = b.sizes(x)
    split = b.permute(b.view(x, [batch, length, heads, width // heads]), [0, 2, 1, 3])
    return b.view(split, [b.multiply_sizes([batch, heads]), length, width // heads])


def _multi_head_attention(
    op, query: ir.Value, key: ir.Value, value: ir.Value, heads: int
) -> tuple[ir.Value, ir.Value]:
    """The projected attention [n, l, embed_dim], and the attention weights [n, heads, l, l]."""
    batch, length, _ = b.sizes(query)
    width = op.embed_dim
    if query == key == value:
        joint = _linear(query, op.qkv_weight, op.qkv_bias, 3 * width)
        parts = [b.slice(joint, 2, i * width, (i + 1) * width, 1) for i in range(3)]
    else:
        parts = [
            _linear(
                x,
                *(b.slice(p, 0, i * width, (i + 1) * width, 1) for p in (op.qkv_weight, op.qkv_bias)),
                width,
            )
            for i, x in enumerate((query, key, value))
        ]
    queries, keys, values = (_heads_first(part, heads) for part in parts)
    scores = b.bmm(b.wide(queries), b.transpose(b.wide(keys), 1, 2))
    scores = b.view(b.mul(scores, math.sqrt(heads / width)), [batch, heads, length, length])
    if op.mask is not None:
        mask = b.ne(op.mask, 0.0) if is_float(op.mask.type) else op.mask
        if op.mask_type == 1:
            mask = b.unsqueeze(b.unsqueeze(mask, 1), 2)
        scores = b.where(b.expand_to(mask, scores), float("-inf"), scores)
    weights = b.softmax(scores, 3)
    matrices = b.multiply_sizes([batch, heads])
    mixed = b.bmm(b.view(weights, [matrices, length, length]), b.wide(values))
    mixed = b.permute(b.view(mixed, [batch, heads, length, width // heads]), [0, 2, 1, 3])
    mixed = b.cast_like(b.view(mixed, [batch, length, width]), query)
    return _linear(mixed, op.proj_weight, op.proj_bias, width), b.cast_like(weights, query)


class NativeMultiHeadAttentionOp(FlambeauOp, name="native_multi_head_attention"):
    """PyTorch's fused multi-head attention for inference: projections, attention, projection; and the weights.

    Inputs are [n, l, embed_dim]; `mask` is true (or not 0) where a score does not count, its dims are said by
    `mask_type` (0: [l, l], 1: [n, l], 2: [n, heads, l, l]). The weights are [n, l, l] if averaged over the heads,
    [n, heads, l, l] if not, [0] if not asked for.
    Gradient: that of the products and the softmax, into which it is decomposed before autodiff.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    embed_dim: Int
    num_head: Int
    qkv_weight: Tensor
    qkv_bias: Tensor
    proj_weight: Tensor
    proj_bias: Tensor
    mask: Tensor | None
    need_weights: Bool = True
    average_attn_weights: Bool = True
    mask_type: Int | None
    out: Result
    weights: Result
    aten = "_native_multi_head_attention"
    recompute = COSTLY
    lowering = Lowering.DECOMPOSE

    def infer(op):
        for name in ("key", "value"):
            found = getattr(op, name)
            if not compatible(found, op.query):
                raise VerificationError(f"operand '{name}' must have query's type {op.query}, found {found}")
        _check_fused_attention(op, op.query, op.num_head)
        batch, length, _ = shape_of(op.query)
        weights = [0]
        if op.need_weights:
            weights = (
                [batch, length, length] if op.average_attn_weights else [batch, op.num_head, length, length]
            )
        element = op.query.element_type
        return [tensor_type([batch, length, op.embed_dim], element), tensor_type(weights, element)]

    def decompose(op):
        out, weights = _multi_head_attention(op, op.query, op.key, op.value, op.num_head)
        if not op.need_weights:
            return [out, b.full([0], 0.0, op.query.type.element_type)]
        return [out, b.mean(weights, [1], False) if op.average_attn_weights else weights]


class TransformerEncoderLayerOp(FlambeauOp, name="transformer_encoder_layer_fwd"):
    """PyTorch's fused encoder layer for inference: self-attention and a two-layer perceptron, each with layer norm.

    `src` is [n, l, embed_dim]; the layer norms stand before each part (`norm_first`) or after each sum; the activation
    is gelu or relu. `mask` and `mask_type` are those of `native_multi_head_attention`.
    Gradient: that of its parts, into which it is decomposed before autodiff.
    """

    src: Tensor
    embed_dim: Int
    num_heads: Int
    qkv_weight: Tensor
    qkv_bias: Tensor
    proj_weight: Tensor
    proj_bias: Tensor
    use_gelu: Bool
    norm_first: Bool
    eps: Float
    norm_weight_1: Tensor
    norm_bias_1: Tensor
    norm_weight_2: Tensor
    norm_bias_2: Tensor
    ffn_weight_1: Tensor
    ffn_bias_1: Tensor
    ffn_weight_2: Tensor
    ffn_bias_2: Tensor
    mask: Tensor | None
    mask_type: Int | None
    out: Result
    aten = "_transformer_encoder_layer_fwd"
    recompute = COSTLY
    lowering = Lowering.DECOMPOSE

    def infer(op):
        _check_fused_attention(op, op.src, op.num_heads)
        width = op.embed_dim
        hidden = shape_of(op.ffn_weight_1)[0]
        vectors = {name: [width] for name in ("norm_weight_1", "norm_bias_1", "norm_weight_2", "norm_bias_2")}
        matrices = {"ffn_weight_1": [hidden, width], "ffn_weight_2": [width, hidden]}
        _check_parameters(op, op.src, **vectors, **matrices, ffn_bias_1=[hidden], ffn_bias_2=[width])
        return tensor_type([*shape_of(op.src)[:2], width], op.src.element_type)

    def decompose(op):
        def norm(x: ir.Value, weight: ir.Value, bias: ir.Value) -> ir.Value:
            return b.native_layer_norm(x, [op.embed_dim], weight, bias, op.eps)[0]

        def attend(x: ir.Value) -> ir.Value:
            return _multi_head_attention(op, x, x, x, op.num_heads)[0]

        def feed_forward(x: ir.Value) -> ir.Value:
            hidden = _linear(x, op.ffn_weight_1, op.ffn_bias_1, b.size(op.ffn_weight_1, 0))
            hidden = b.gelu(hidden, "none") if op.use_gelu else b.relu(hidden)
            return _linear(hidden, op.ffn_weight_2, op.ffn_bias_2, op.embed_dim)

        first, second = (op.norm_weight_1, op.norm_bias_1), (op.norm_weight_2, op.norm_bias_2)
        if op.norm_first:
            x = b.add(attend(norm(op.src, *first)), op.src)
            return b.add(feed_forward(norm(x, *second)), x)
        x = norm(b.add(attend(op.src), op.src), *first)
        return norm(b.add(feed_forward(x), x), *second)
