# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Samples of attention and of PyTorch's fused inference layers."""

import math

import torch
import torch.nn.functional as F

from tests.dialects.sample import Sample

ATTENTION = torch.ops.aten.scaled_dot_product_attention.default


def _attention(query, key, value, attn_mask, is_causal=False, scale=None, enable_gqa=False):
    """Eager's attention. With gradients its math form, for the fused kernels have no second derivatives."""
    arguments = (query, key, value, attn_mask, 0.0, is_causal)
    if not any(t is not None and t.requires_grad for t in (query, key, value, attn_mask)):
        return ATTENTION(*arguments, scale=scale, enable_gqa=enable_gqa)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return ATTENTION(*arguments, scale=scale, enable_gqa=enable_gqa)


def _sdpa(
    batch=(2, 3),
    length=5,
    source=7,
    width=4,
    value_width=4,
    mask=None,
    key_batch=None,
    dtype=torch.float32,
    rest=(),
    **options,
):
    key_batch = batch if key_batch is None else key_batch

    def arguments():
        query = torch.randn(*batch, length, width).to(dtype)
        key, value = (torch.randn(*key_batch, source, w).to(dtype) for w in (width, value_width))
        return [query, key, value, None if mask is None else mask(), *rest]

    options = {"grad": (0, 1, 2), "eager": _attention} | options
    return Sample("scaled_dot_product_attention", arguments, **options)


def _bool_mask(*shape):
    """Some sources masked, and all of one row."""

    def mask():
        keep = torch.rand(shape) > 0.4
        keep[..., 1, :] = False
        return keep

    return mask


def _float_mask(*shape):
    def mask():
        return torch.randn(shape).masked_fill(~_bool_mask(*shape)(), -math.inf)

    return mask


def _layer_weights(width, hidden):
    return [torch.randn(hidden, width), torch.randn(hidden), torch.randn(width, hidden), torch.randn(width)]


def _attention_weights(width):
    return [
        torch.randn(3 * width, width),
        torch.randn(3 * width),
        torch.randn(width, width),
        torch.randn(width),
    ]


def _plain_multi_head_attention(
    query,
    key,
    value,
    embed_dim,
    heads,
    qkv_weight,
    qkv_bias,
    proj_weight,
    proj_bias,
    mask,
    need_weights,
    average,
    mask_type,
):
    """What the fused op computes, from differentiable ops."""
    batch, length, _ = query.shape

    def project(x, part):
        rows = slice(part * embed_dim, (part + 1) * embed_dim)
        y = F.linear(x, qkv_weight[rows], qkv_bias[rows])
        return y.view(batch, length, heads, embed_dim // heads).transpose(1, 2)

    q, k, v = (project(x, i) for i, x in enumerate((query, key, value)))
    scores = q / math.sqrt(embed_dim // heads) @ k.transpose(-1, -2)
    if mask is not None:
        mask = mask != 0
        scores = scores.masked_fill(mask[:, None, None, :] if mask_type == 1 else mask, -math.inf)
    weights = scores.softmax(-1)
    out = F.linear((weights @ v).transpose(1, 2).reshape(batch, length, embed_dim), proj_weight, proj_bias)
    if not need_weights:
        return out, out.new_empty(0)
    return out, weights.mean(1) if average else weights


def _eager_multi_head_attention(*arguments):
    """The fused op; with gradients, which it does not have, what it computes."""
    if any(isinstance(a, torch.Tensor) and a.requires_grad for a in arguments):
        return _plain_multi_head_attention(*arguments)
    out, weights = torch.ops.aten._native_multi_head_attention(*arguments)
    return out, out.new_empty(0) if weights is None else weights


def _multi_head_attention(
    need_weights=True, average=True, mask=None, mask_type=None, distinct=True, **options
):
    def arguments():
        query = torch.randn(2, 5, 6)
        others = [torch.randn(2, 5, 6) for _ in range(2)] if distinct else [query, query]
        rest = [None if mask is None else mask(), need_weights, average, mask_type]
        return [query, *others, 6, 2, *_attention_weights(6), *rest]

    return Sample("native_multi_head_attention", arguments, eager=_eager_multi_head_attention, **options)


def _eager_encoder_layer(*arguments):
    """The fused op; with gradients, which it does not have, what it computes."""
    if not any(isinstance(a, torch.Tensor) and a.requires_grad for a in arguments):
        return torch.ops.aten._transformer_encoder_layer_fwd(*arguments)
    src, embed_dim, heads, *attention = arguments[:7]
    use_gelu, norm_first, eps, w1, b1, w2, b2, f1, fb1, f2, fb2, mask, mask_type = arguments[7:]

    def attend(x):
        return _plain_multi_head_attention(
            x, x, x, embed_dim, heads, *attention, mask, False, False, mask_type
        )[0]

    def feed_forward(x):
        hidden = F.linear(x, f1, fb1)
        return F.linear(F.gelu(hidden) if use_gelu else F.relu(hidden), f2, fb2)

    def norm(x, weight, bias):
        return F.layer_norm(x, (embed_dim,), weight, bias, eps)

    if norm_first:
        x = src + attend(norm(src, w1, b1))
        return x + feed_forward(norm(x, w2, b2))
    x = norm(src + attend(src), w1, b1)
    return norm(x + feed_forward(x), w2, b2)


def _encoder_layer(use_gelu, norm_first, mask=None, mask_type=None, **options):
    def arguments():
        norms = [torch.randn(6) for _ in range(4)]
        flags = [use_gelu, norm_first, 1e-5]
        mask_value = None if mask is None else mask()
        weights = [*_attention_weights(6), *flags, *norms, *_layer_weights(6, 8)]
        return [torch.randn(2, 5, 6), 6, 2, *weights, mask_value, mask_type]

    return Sample("transformer_encoder_layer_fwd", arguments, eager=_eager_encoder_layer, **options)


def _causal_mask():
    return torch.ones(5, 5, dtype=torch.bool).triu(1)


def _padding_mask():
    mask = torch.zeros(2, 5, dtype=torch.bool)
    mask[0, 3:] = True
    return mask


def _both_masks():
    return torch.zeros(2, 2, 5, 5).masked_fill(_causal_mask() | _padding_mask()[:, None, None, :], -math.inf)


def _dropout(*rest, **options):
    """What functionalize makes of it is tested in test_attention.py."""

    def arguments():
        query = torch.randn(2, 3, 5, 4)
        key, value = torch.randn(2, 3, 7, 4), torch.randn(2, 3, 7, 4)
        return [query, key, value, None, 0.3, *rest]

    return Sample("scaled_dot_product_attention_dropout", arguments, grad=(), **options)


SAMPLES = [
    _sdpa(grad2=True),
    _sdpa(rest=(True,), id="causal", grad2=True),
    _sdpa(length=7, source=5, rest=(True,), id="causal with fewer sources"),
    _sdpa(rest=(False, 0.3), value_width=6, id="scale and value width"),
    _sdpa(mask=_bool_mask(2, 3, 5, 7), id="bool mask"),
    _sdpa(mask=_bool_mask(5, 7), id="bool mask of rank 2"),
    _sdpa(mask=_bool_mask(2, 1, 5, 7), id="bool mask broadcast", dynamic=False),
    _sdpa(mask=_float_mask(2, 3, 5, 7), id="float mask", grad=(0, 1, 2, 3)),
    _sdpa(mask=_float_mask(5, 7), id="float mask of rank 2", grad=(0, 1, 2, 3)),
    _sdpa(batch=(4,), id="rank 3"),
    _sdpa(batch=(), id="rank 2"),
    _sdpa(batch=(2, 2, 2), id="rank 5"),
    _sdpa(
        batch=(2, 6),
        key_batch=(2, 2),
        rest=(False, None, True),
        id="grouped heads",
        dynamic=False,
        grad2=True,
    ),
    _sdpa(batch=(2, 6), key_batch=(2, 2), rest=(True, None, True), id="grouped heads causal", dynamic=False),
    _sdpa(
        batch=(2, 6),
        key_batch=(2, 3),
        mask=_bool_mask(2, 6, 5, 7),
        rest=(False, None, True),
        id="grouped heads mask",
        dynamic=False,
    ),
    _sdpa(batch=(2, 3), key_batch=(1, 3), id="broadcast batch", dynamic=False),
    _sdpa(source=0, id="no sources", dynamic=False),
    _sdpa(dtype=torch.bfloat16, id="bfloat16", tolerance=2e-2),
    _sdpa(dtype=torch.float16, rest=(True,), id="float16", tolerance=4e-3),
    _dropout(),
    _dropout(True, 0.5, id="causal"),
    _multi_head_attention(),
    _multi_head_attention(average=False, id="weights of each head"),
    _multi_head_attention(need_weights=False, id="no weights"),
    _multi_head_attention(mask=_padding_mask, mask_type=1, id="padding"),
    _multi_head_attention(mask=_causal_mask, mask_type=0, id="causal"),
    _multi_head_attention(mask=_both_masks, mask_type=2, id="both masks", grad=(0, 1, 2, 5)),
    _encoder_layer(False, False),
    _encoder_layer(True, True, id="gelu first"),
    _encoder_layer(False, True, _causal_mask, 0, id="causal"),
    _encoder_layer(True, False, _padding_mask, 1, id="padding"),
    _encoder_layer(False, False, _both_masks, 2, id="both masks", grad=(0, 3, 4, 5)),
]
