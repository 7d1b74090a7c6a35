# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The smallest models of four families, which compile in no time: they are run on every debug stage."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.models.model import Batch, Model, next_token_loss


class DigitsCNN(nn.Module):
    """8x8 images -> logits of 10 classes."""

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.dropout = nn.Dropout(p)
        self.head = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(images))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        return self.head(self.dropout(x.flatten(1)))  # type: ignore[no-any-return]


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
    """Token ids -> logits of the next token; two layers."""

    def __init__(self, vocabulary: int = 32, width: int = 16, length: int = 8) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(DecoderBlock(width, 2) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


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
    images = torch.randn(size, 1, 8, 8, generator=generator)
    return Batch((images,), (torch.randint(0, 10, (size,), generator=generator),))


def _ids(size: int, generator: torch.Generator) -> Batch:
    ids, targets = (torch.randint(0, 32, (size, 8), generator=generator) for _ in range(2))
    return Batch((ids,), (targets,))


def _sequences(size: int, generator: torch.Generator) -> Batch:
    return Batch((torch.randn(size, 6, 16, generator=generator),))


def _vectors(size: int, generator: torch.Generator) -> Batch:
    return Batch((torch.randn(size, 6, generator=generator),))


MODELS = {
    model.name: model
    for model in (
        Model("mlp", _mlp, _vectors),
        Model("cnn", DigitsCNN, _images, F.cross_entropy),
        Model("cnn-dropout", lambda: DigitsCNN(0.25), _images, F.cross_entropy),
        Model("encoder", Encoder, _sequences),
        Model("encoder-dropout", lambda: Encoder(0.25), _sequences),
        Model("decoder", Decoder, _ids, next_token_loss),
    )
}
