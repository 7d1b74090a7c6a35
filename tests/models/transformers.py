# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small transformers that compute as the reference implementations do: GPT-2, BERT, ViT, LLaMA, T5."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.models.model import Batch, Model, next_token_loss

VOCABULARY = 61


def _ids(*shape: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(0, VOCABULARY, shape, generator=generator)


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """[n, l, heads * d] -> [n, heads, l, d]."""
    return x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


def _joined(x: torch.Tensor) -> torch.Tensor:
    """[n, heads, l, d] -> [n, l, heads * d]."""
    return x.transpose(1, 2).contiguous().view(x.shape[0], x.shape[2], -1)


def _length(size: int) -> int:
    """The sequence length of a batch of `size`."""
    return 2 * size - 1


# --- GPT-2 -----------------------------------------------------------------------------------------------------------


class Conv1D(nn.Module):
    """A linear layer with its weight stored [in, out], one `addmm` over all positions."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width_in, width_out) * 0.2)
        self.bias = nn.Parameter(torch.randn(width_out) * 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shape = (*x.shape[:-1], self.weight.shape[1])
        return torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(shape)


class NewGELU(nn.Module):
    """GELU by tanh, written out."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))
        return 0.5 * x * (1.0 + torch.tanh(inner))


class GPT2Block(nn.Module):
    """Pre-norm attention and MLP; attention written out, with a lower triangular buffer and the dtype's minimum."""

    causal: torch.Tensor

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = Conv1D(width, 3 * width), Conv1D(width, width)
        self.c_fc, self.c_out, self.act = Conv1D(width, 4 * width), Conv1D(4 * width, width), NewGELU()
        mask = torch.tril(torch.ones(length, length, dtype=torch.bool)).view(1, 1, length, length)
        self.register_buffer("causal", mask, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (_heads(t, self.heads) for t in self.c_attn(self.ln_1(x)).split(x.shape[-1], dim=2))
        scores = torch.matmul(q, k.transpose(-1, -2)) / (v.size(-1) ** 0.5)
        length = q.size(-2)
        lowest = torch.full([], torch.finfo(scores.dtype).min, dtype=scores.dtype, device=scores.device)
        scores = torch.where(self.causal[:, :, :length, :length], scores, lowest)
        weights = F.softmax(scores, dim=-1).type(v.dtype)
        x = x + self.c_proj(_joined(torch.matmul(weights, v)))
        return x + self.c_out(self.act(self.c_fc(self.ln_2(x))))


class GPT2(nn.Module):
    """Token ids [n, l] -> logits [n, l, vocabulary], by the transpose of the token embedding.

    `checkpointed`: blocks are computed again in the backward.
    """

    def __init__(
        self,
        width: int = 24,
        heads: int = 3,
        layers: int = 2,
        length: int = 32,
        *,
        checkpointed: bool = False,
    ) -> None:
        super().__init__()
        self.checkpointed = checkpointed
        self.wte, self.wpe = nn.Embedding(VOCABULARY, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(GPT2Block(width, heads, length) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, VOCABULARY, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(0, ids.shape[-1], dtype=torch.long, device=ids.device).unsqueeze(0)
        x = self.wte(ids) + self.wpe(positions)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.checkpointed else block(x)
        return self.lm_head(self.ln_f(x))  # type: ignore[no-any-return]


def _gpt2_batch(size: int, generator: torch.Generator) -> Batch:
    ids = _ids(size, _length(size) + 1, generator=generator)
    return Batch((ids[:, :-1],), (ids[:, 1:],))


# --- BERT ------------------------------------------------------------------------------------------------------------


class BertLayer(nn.Module):
    """Post-norm attention and MLP; attention by scaled_dot_product_attention with an additive mask."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.dense, self.norm1 = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        q, k, v = (_heads(layer(x), self.heads) for layer in (self.query, self.key, self.value))
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = self.norm1(self.dense(_joined(attended)) + x)
        return self.norm2(self.down(F.gelu(self.up(x))) + x)  # type: ignore[no-any-return]


class Bert(nn.Module):
    """Token ids, token types and a 0/1 attention mask, all [n, l] -> logits of the masked-language head."""

    position_ids: torch.Tensor

    def __init__(self, width: int = 24, heads: int = 3, layers: int = 2, length: int = 32) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, width, padding_idx=0)
        self.positions, self.types = nn.Embedding(length, width), nn.Embedding(2, width)
        self.norm, self.dropout = nn.LayerNorm(width, eps=1e-12), nn.Dropout(0.1)
        self.layers = nn.ModuleList(BertLayer(width, heads) for _ in range(layers))
        self.transform, self.head_norm = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(VOCABULARY))
        self.register_buffer("position_ids", torch.arange(length).expand((1, -1)))

    def forward(self, ids: torch.Tensor, types: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        x = self.words(ids) + self.types(types)
        x = self.dropout(self.norm(x + self.positions(self.position_ids[:, : ids.shape[1]])))
        mask = attention_mask[:, None, None, :].to(x.dtype)
        mask = (1.0 - mask) * torch.finfo(x.dtype).min
        for layer in self.layers:
            x = layer(x, mask)
        x = self.head_norm(F.gelu(self.transform(x)))
        return F.linear(x, self.words.weight, self.bias)


def _bert_batch(size: int, generator: torch.Generator) -> Batch:
    shape = (size, _length(size))
    ids = _ids(*shape, generator=generator)
    lengths = torch.randint(2, shape[1] + 1, (size, 1), generator=generator)
    mask = (torch.arange(shape[1]) < lengths).long()
    targets = torch.where(torch.rand(shape, generator=generator) < 0.5, ids, -100)
    targets[0, 0] = ids[0, 0]
    return Batch((ids, torch.randint(0, 2, shape, generator=generator), mask), (targets,))


# --- ViT -------------------------------------------------------------------------------------------------------------


class ViTBlock(nn.Module):
    """Pre-norm attention, with one joint projection, and MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(n, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(attended.transpose(1, 2).reshape(n, length, width))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class ViT(nn.Module):
    """Images [n, 3, 16, 16] -> logits of 10 classes, from a class token before the patches."""

    def __init__(
        self, width: int = 24, heads: int = 3, layers: int = 2, image: int = 16, patch: int = 4
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.1)
        self.positions = nn.Parameter(torch.randn(1, (image // patch) ** 2 + 1, width) * 0.1)
        self.blocks = nn.ModuleList(ViTBlock(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])  # type: ignore[no-any-return]


def _vit_batch(size: int, generator: torch.Generator) -> Batch:
    images = torch.randn(size, 3, 16, 16, generator=generator)
    return Batch((images,), (torch.randint(0, 10, (size,), generator=generator),))


# --- LLaMA -----------------------------------------------------------------------------------------------------------


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight, computed in float32 at least."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(1 + 0.1 * torch.randn(width)), eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x if x.dtype == torch.float64 else x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


class RotaryEmbedding(nn.Module):
    """Positions [n, l] -> cosines and sines [n, l, d] of the angles of each pair of features."""

    frequencies: torch.Tensor

    def __init__(self, width: int, base: float = 10000.0) -> None:
        super().__init__()
        exponents = torch.arange(0, width, 2, dtype=torch.int64).float() / width
        self.register_buffer("frequencies", 1.0 / (base**exponents), persistent=False)

    @torch.no_grad()
    def forward(self, x: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        frequencies = self.frequencies[None, :, None].expand(positions.shape[0], -1, 1)
        angles = (frequencies @ positions[:, None, :].to(frequencies.dtype)).transpose(1, 2)
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


def _rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    swapped = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return (x * cos) + (swapped * sin)


def repeat_kv(x: torch.Tensor, times: int) -> torch.Tensor:
    """[n, key heads, l, d] -> [n, key heads * times, l, d], each head `times` times in a row."""
    if times == 1:
        return x
    n, heads, length, width = x.shape
    return x[:, :, None, :, :].expand(n, heads, times, length, width).reshape(n, heads * times, length, width)


KeyValue = tuple[torch.Tensor, torch.Tensor]  # keys and values of the tokens so far, [n, key heads, l, d]


class LlamaLayer(nn.Module):
    """RMS norm, rotary grouped-query attention and SwiGLU, without biases.

    `grouped`: scaled_dot_product_attention shares the key heads; else they are repeated, and attention is written out.
    """

    def __init__(self, width: int, heads: int, key_heads: int, grouped: bool) -> None:
        super().__init__()
        self.heads, self.key_heads, self.grouped = heads, key_heads, grouped
        head = width // heads
        self.input_norm, self.mlp_norm = RMSNorm(width), RMSNorm(width)
        self.q_proj, self.o_proj = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.k_proj, self.v_proj = (nn.Linear(width, key_heads * head, bias=False) for _ in range(2))
        self.gate_proj, self.up_proj = (nn.Linear(width, 2 * width, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(2 * width, width, bias=False)

    def forward(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, past: KeyValue | None = None
    ) -> tuple[torch.Tensor, KeyValue]:
        normed = self.input_norm(x)
        q, k = _heads(self.q_proj(normed), self.heads), _heads(self.k_proj(normed), self.key_heads)
        v = _heads(self.v_proj(normed), self.key_heads)
        cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
        q, k = _rotated(q, cos, sin), _rotated(k, cos, sin)
        if past is not None:
            k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
        if self.grouped:
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=past is None, enable_gqa=True)
        else:
            attended = self._written_out(q, k, v)
        x = x + self.o_proj(_joined(attended))
        normed = self.mlp_norm(x)
        return x + self.down_proj(F.silu(self.gate_proj(normed)) * self.up_proj(normed)), (k, v)

    def _written_out(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        k, v = (repeat_kv(t, self.heads // self.key_heads) for t in (k, v))
        length = q.shape[2]
        mask = torch.full((length, length), float("-inf"), dtype=q.dtype, device=q.device)
        mask = torch.triu(mask, diagonal=1)
        scores = torch.matmul(q, k.transpose(2, 3)) * q.shape[-1] ** -0.5 + mask
        wide = scores.dtype if scores.dtype == torch.float64 else torch.float32
        return torch.matmul(F.softmax(scores, dim=-1, dtype=wide).to(q.dtype), v)


class Llama(nn.Module):
    """Token ids [n, l] -> logits [n, l, vocabulary]."""

    def __init__(
        self, width: int = 32, heads: int = 4, key_heads: int = 2, layers: int = 2, grouped: bool = True
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.rotary = RotaryEmbedding(width // heads)
        self.layers = nn.ModuleList(LlamaLayer(width, heads, key_heads, grouped) for _ in range(layers))
        self.norm, self.lm_head = RMSNorm(width), nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.decode(ids, None)[0]

    def decode(self, ids: torch.Tensor, past: list[KeyValue] | None) -> tuple[torch.Tensor, list[KeyValue]]:
        """Logits of `ids`, and the keys and values of all tokens; with a `past`, ids is [n, 1] and comes after it."""
        x = self.embed(ids)
        before = past[0][0].shape[2] if past is not None else 0
        positions = torch.arange(before, before + ids.shape[1], device=ids.device).unsqueeze(0)
        cos, sin = self.rotary(x, positions)
        cache = []
        for number, layer in enumerate(self.layers):
            x, key_value = layer(x, cos, sin, past[number] if past is not None else None)
            cache.append(key_value)
        return self.lm_head(self.norm(x)), cache


# --- T5 --------------------------------------------------------------------------------------------------------------


def relative_position_bucket(
    relative: torch.Tensor, bidirectional: bool, buckets: int = 8, max_distance: int = 16
) -> torch.Tensor:
    """Distances (key - query) -> buckets: exact for small ones, logarithmic for large ones."""
    bucket = torch.zeros_like(relative)
    if bidirectional:
        buckets //= 2
        bucket = bucket + (relative > 0).to(torch.long) * buckets
        relative = torch.abs(relative)
    else:
        relative = -torch.min(relative, torch.zeros_like(relative))
    exact = buckets // 2
    large = exact + (
        torch.log(relative.float() / exact) / math.log(max_distance / exact) * (buckets - exact)
    ).to(torch.long)
    large = torch.min(large, torch.full_like(large, buckets - 1))
    return bucket + torch.where(relative < exact, relative, large)


class T5Attention(nn.Module):
    """Attention without scale and biases; adds a position bias [1, heads, l, s] to the scores."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x: torch.Tensor, memory: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        q, k, v = _heads(self.q(x), self.heads), _heads(self.k(memory), self.heads), self.v(memory)
        scores = torch.matmul(q, k.transpose(3, 2))
        scores += bias
        wide = scores if scores.dtype == torch.float64 else scores.float()
        weights = F.softmax(wide, dim=-1).type_as(scores)
        return self.o(_joined(torch.matmul(weights, _heads(v, self.heads))))  # type: ignore[no-any-return]


class T5Block(nn.Module):
    """Self-attention, in the decoder cross-attention, and a ReLU MLP; RMS norm before each."""

    def __init__(self, width: int, heads: int, decoder: bool) -> None:
        super().__init__()
        self.attention, self.attention_norm = T5Attention(width, heads), RMSNorm(width)
        self.cross = T5Attention(width, heads) if decoder else None
        self.cross_norm = RMSNorm(width) if decoder else None
        self.norm = RMSNorm(width)
        self.wi, self.wo = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: torch.Tensor, bias: torch.Tensor, memory: torch.Tensor | None) -> torch.Tensor:
        normed = self.attention_norm(x)
        x = x + self.attention(normed, normed, bias)
        if self.cross is not None and self.cross_norm is not None and memory is not None:
            no_bias = torch.zeros((1, 1, x.shape[1], memory.shape[1]), dtype=x.dtype, device=x.device)
            x = x + self.cross(self.cross_norm(x), memory, no_bias)
        return x + self.wo(F.relu(self.wi(self.norm(x))))  # type: ignore[no-any-return]


class T5Stack(nn.Module):
    """Blocks that share the position bias of the first; causal in the decoder."""

    def __init__(self, width: int, heads: int, layers: int, decoder: bool) -> None:
        super().__init__()
        self.decoder = decoder
        self.relative_attention_bias = nn.Embedding(8, heads)
        self.blocks = nn.ModuleList(T5Block(width, heads, decoder) for _ in range(layers))
        self.norm = RMSNorm(width)

    def forward(self, x: torch.Tensor, memory: torch.Tensor | None = None) -> torch.Tensor:
        positions = torch.arange(x.shape[1], dtype=torch.long, device=x.device)
        relative = positions[None, :] - positions[:, None]
        buckets = relative_position_bucket(relative, bidirectional=not self.decoder)
        bias = self.relative_attention_bias(buckets).permute([2, 0, 1]).unsqueeze(0)
        if self.decoder:
            allowed = positions[None, None, :] <= positions[None, :, None]
            bias = bias + (1.0 - allowed[:, None].to(x.dtype)) * torch.finfo(x.dtype).min
        for block in self.blocks:
            x = block(x, bias, memory)
        return self.norm(x)  # type: ignore[no-any-return]


class T5(nn.Module):
    """Source ids [n, s] and target ids [n, l] -> logits [n, l, vocabulary], by the tied and scaled embedding."""

    def __init__(self, width: int = 24, heads: int = 3, layers: int = 2) -> None:
        super().__init__()
        self.shared = nn.Embedding(VOCABULARY, width)
        self.encoder = T5Stack(width, heads, layers, decoder=False)
        self.decoder = T5Stack(width, heads, layers, decoder=True)
        self.scale = width**-0.5

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        memory = self.encoder(self.shared(source))
        decoded = self.decoder(self.shared(target), memory)
        return F.linear(decoded * self.scale, self.shared.weight)


def _t5_batch(size: int, generator: torch.Generator) -> Batch:
    source = _ids(size, _length(size), generator=generator)
    target = _ids(size, size + 3, generator=generator)
    labels = _ids(size, size + 3, generator=generator)
    return Batch((source, target), (labels,))


MODELS = {
    model.name: model
    for model in (
        Model("gpt2", GPT2, _gpt2_batch, next_token_loss),
        Model("bert", Bert, _bert_batch, next_token_loss),
        Model("vit", ViT, _vit_batch, F.cross_entropy),
        Model("llama", Llama, _gpt2_batch, next_token_loss),
        Model("llama-repeated", lambda: Llama(grouped=False), _gpt2_batch, next_token_loss),
        Model("t5", T5, _t5_batch, next_token_loss),
    )
}
