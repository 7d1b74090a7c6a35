# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small models of four families, with a batch for each: what has to train and infer as in eager."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

Batch = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Model:
    """How to build a module, and a batch of a given size. In training its result is a loss, or is made into one."""

    build: Callable[[], nn.Module]
    batch: Callable[[int, torch.Generator], Batch]
    static_size: int = 4
    dynamic_sizes: tuple[int, ...] = (7, 9, 11, 13)


class DigitsCNN(nn.Module):
    """8x8 images -> cross entropy over 10 classes."""

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.dropout = nn.Dropout(p)
        self.head = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(images))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        x = self.head(self.dropout(x.flatten(1)))
        return F.cross_entropy(x, labels) if self.training else x


class DecoderBlock(nn.Module):
    """Pre-norm causal self-attention and MLP, as in GPT-2."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        parts = self.qkv(self.norm1(x)).split(width, 2)
        q, k, v = (t.view(batch, length, self.heads, width // self.heads).transpose(1, 2) for t in parts)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Decoder(nn.Module):
    """Token ids -> next-token cross entropy in training, logits else; two layers."""

    def __init__(self, vocabulary: int = 32, width: int = 16, length: int = 8) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(DecoderBlock(width, 2) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        if not self.training:
            return logits
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


class Encoder(nn.Module):
    """nn.TransformerEncoder of two layers."""

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(16, 2, 32, dropout=p, batch_first=True), 2
        )
        for layer in self.encoder.layers:
            layer.self_attn.dropout = 0.0  # type: ignore[union-attr]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.encoder(x)  # type: ignore[no-any-return]


def _mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5), nn.GELU(), nn.Linear(5, 3)
    )


def _images(size: int, generator: torch.Generator) -> Batch:
    return torch.randn(size, 1, 8, 8, generator=generator), torch.randint(0, 10, (size,), generator=generator)


def _ids(size: int, generator: torch.Generator) -> Batch:
    return tuple(torch.randint(0, 32, (size, 8), generator=generator) for _ in range(2))


MODELS = {
    "mlp": Model(_mlp, lambda n, g: (torch.randn(n, 6, generator=g),)),
    "cnn": Model(DigitsCNN, _images),
    "cnn-dropout": Model(lambda: DigitsCNN(0.25), _images),
    "encoder": Model(Encoder, lambda n, g: (torch.randn(n, 6, 16, generator=g),)),
    "encoder-dropout": Model(lambda: Encoder(0.25), lambda n, g: (torch.randn(n, 6, 16, generator=g),)),
    "decoder": Model(Decoder, _ids),
}
