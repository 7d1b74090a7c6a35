# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Networks of other families: recommendation with sparse features, recurrent cells and layers, detection parts."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from tests.models.model import Batch, Model


def perceptron(*widths: int) -> nn.Sequential:
    """Linear layers with relu between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class DLRM(nn.Module):
    """Numbers (N, dense) and ids (N, tables, ids per table) -> one logit per sample (N,).

    Embeddings are summed per table; all pairs of the resulting vectors interact by dot products.
    """

    def __init__(
        self,
        rows: Sequence[int] = (1000,) * 8,
        width: int = 64,
        dense: int = 13,
        bottom: Sequence[int] = (512, 256),
        top: Sequence[int] = (512, 256),
    ) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(count, width) for count in rows)
        self.bottom = perceptron(dense, *bottom, width)
        pairs = torch.tril_indices(len(rows) + 1, len(rows) + 1, -1)
        self.first: torch.Tensor
        self.second: torch.Tensor
        self.register_buffer("first", pairs[0], persistent=False)
        self.register_buffer("second", pairs[1], persistent=False)
        self.top = perceptron(width + pairs.shape[1], *top, 1)

    def forward(self, numbers: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        dense = F.relu(self.bottom(numbers))
        sparse = [table(ids[:, i]).sum(1) for i, table in enumerate(self.tables)]
        vectors = torch.stack([dense, *sparse], 1)
        products = torch.bmm(vectors, vectors.transpose(1, 2))[:, self.first, self.second]
        return self.top(torch.cat([dense, products], 1)).squeeze(1)  # type: ignore[no-any-return]


class DLRMBags(DLRM):
    """The same with embedding bags."""

    def forward(self, numbers: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        dense = F.relu(self.bottom(numbers))
        sparse = [
            F.embedding_bag(ids[:, i], table.weight, mode="sum")  # type: ignore[arg-type]
            for i, table in enumerate(self.tables)
        ]
        vectors = torch.stack([dense, *sparse], 1)
        products = torch.bmm(vectors, vectors.transpose(1, 2))[:, self.first, self.second]
        return self.top(torch.cat([dense, products], 1)).squeeze(1)  # type: ignore[no-any-return]


class CellLoop(nn.Module):
    """Sequences (N, steps, features) -> logits (N, classes), by an LSTM cell called once for each step."""

    def __init__(self, features: int = 64, width: int = 128, classes: int = 10) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(features, width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = x.new_zeros(x.shape[0], self.cell.hidden_size)
        memory = torch.zeros_like(hidden)
        for step in x.unbind(1):
            hidden, memory = self.cell(step, (hidden, memory))
        return self.head(hidden)  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    """Sequences (N, steps, features) -> logits (N, classes), by a recurrent layer of PyTorch: LSTM, GRU, RNN."""

    def __init__(
        self, layer: type[nn.RNNBase], features: int = 6, width: int = 8, classes: int = 10, layers: int = 1
    ) -> None:
        super().__init__()
        # Its constructor differs from those of its subclasses.
        self.layer = layer(features, width, layers, batch_first=True, bidirectional=layers > 1)  # type: ignore[arg-type]
        self.head = nn.Linear(width * (2 if layers > 1 else 1), classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.layer(x)
        return self.head(outputs[:, -1])  # type: ignore[no-any-return]


class Pyramid(nn.Module):
    """Images (N, 3, H, W) -> class logits and boxes on a coarse grid: the parts of a detector that fuses scales."""

    def __init__(self, width: int = 16, classes: int = 3) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.GroupNorm(4, width), nn.SiLU())
        self.middle = nn.Sequential(
            nn.Conv2d(width, width, 3, 2, 1), nn.GroupNorm(4, width), nn.LeakyReLU(0.1)
        )
        self.coarse = nn.Sequential(nn.Conv2d(width, width, 3, 2, 1, groups=4), nn.ReLU())
        self.lateral = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(3))
        self.classes, self.boxes = nn.Conv2d(width, classes, 3, padding=1), nn.Conv2d(width, 4, 3, padding=1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fine = self.fine(images)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        x = self.lateral[0](coarse)
        x = self.lateral[1](middle) + F.interpolate(x, size=middle.shape[2:], mode="nearest")
        x = self.lateral[2](fine) + F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = F.adaptive_avg_pool2d(x, 6)
        return self.classes(x), self.boxes(x).sigmoid()


def _detection_loss(
    output: tuple[torch.Tensor, torch.Tensor], classes: torch.Tensor, boxes: torch.Tensor
) -> torch.Tensor:
    logits, found = output
    return F.cross_entropy(logits, classes) + F.smooth_l1_loss(found, boxes)


def _clicks(size: int, generator: torch.Generator) -> Batch:
    numbers, ids = (
        torch.randn(size, 5, generator=generator),
        torch.randint(0, 7, (size, 3, 4), generator=generator),
    )
    return Batch((numbers, ids), (torch.rand(size, generator=generator),))


def _sequences(size: int, generator: torch.Generator) -> Batch:
    steps = torch.randn(size, 8, 6, generator=generator)
    return Batch((steps,), (torch.randint(0, 10, (size,), generator=generator),))


def _scenes(size: int, generator: torch.Generator) -> Batch:
    images = torch.randn(size, 3, 24, 24, generator=generator)
    classes = torch.randint(0, 3, (size, 6, 6), generator=generator)
    return Batch((images,), (classes, torch.rand(size, 4, 6, 6, generator=generator)))


_CLICKS = {"rows": (7, 9, 8), "width": 6, "dense": 5, "bottom": (12,), "top": (10,)}

MODELS = (
    Model("dlrm", lambda: DLRM(**_CLICKS), _clicks, F.binary_cross_entropy_with_logits),  # type: ignore[arg-type]
    Model("dlrm-bags", lambda: DLRMBags(**_CLICKS), _clicks, F.binary_cross_entropy_with_logits),  # type: ignore[arg-type]
    Model("lstm-cell", lambda: CellLoop(6, 8), _sequences, F.cross_entropy),
    Model("lstm", lambda: Recurrent(nn.LSTM), _sequences, F.cross_entropy),
    Model("lstm-stacked", lambda: Recurrent(nn.LSTM, layers=2), _sequences, F.cross_entropy),
    Model("gru", lambda: Recurrent(nn.GRU), _sequences, F.cross_entropy),
    Model("rnn", lambda: Recurrent(nn.RNN), _sequences, F.cross_entropy),
    Model("detector", Pyramid, _scenes, _detection_loss),
)
