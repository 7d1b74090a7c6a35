# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Programs that torch-mlir writes, converted to our dialect: interpreted they are eager's, and they differentiate."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from flambeau.dialects import create_context
from flambeau.dialects.bindings import ir
from flambeau.pipelines.driver import run_pipeline
from flambeau.pipelines.registry import parse_pipeline
from flambeau.runtime import interpreter
from tests.models import convolutional, other, transformers

fx = pytest.importorskip("torch_mlir.fx")


class EncoderBlock(nn.Module):
    """Self-attention written out, and an MLP, each with a residual."""

    def __init__(self, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        parts = self.qkv(self.norm1(x)).split(width, 2)
        q, k, v = (p.view(batch, length, self.heads, -1).transpose(1, 2) for p in parts)
        weights = torch.softmax(q @ k.transpose(2, 3) / q.shape[-1] ** 0.5, -1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class ConvNet(nn.Module):
    """Convolutions with batch norm in evaluation, pooling, a mask, and a slice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, stride=2, groups=2)
        self.head = nn.Linear(4, 3)
        self.register_buffer("mask", torch.tensor([True, False, True]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.adaptive_avg_pool2d(self.conv2(x), 1).flatten(1)
        return torch.where(self.mask, self.head(x), x[:, 1:])


class Positions(nn.Module):
    """Embeddings, positions, comparisons of several dtypes, and integer results."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        length = tokens.shape[1]
        places = torch.arange(length)
        causal = places[None, :] <= places[:, None]
        x = self.embedding(tokens) + places[None, :, None]
        scores = (x @ x.transpose(1, 2)).masked_fill(~causal, float("-inf"))
        return scores.softmax(-1) @ x, (tokens * 2 + length).clamp(max=9)


@dataclass(frozen=True)
class Case:
    """A module, an input of a given batch size, and which dims may change."""

    module: Callable[[], nn.Module]
    inputs: Callable[[int], torch.Tensor]
    dims: tuple[int, ...] = (0,)


CASES = {
    "mlp": Case(
        lambda: nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 3), nn.LogSoftmax(-1)),
        lambda n: torch.randn(n, 8),
    ),
    "encoder block": Case(EncoderBlock, lambda n: torch.randn(n, n + 1, 16), (0, 1)),
    "convolutions": Case(ConvNet, lambda n: torch.randn(n, 2, 8, 8)),
    "positions": Case(Positions, lambda n: torch.randint(0, 7, (n, n + 2)), (0, 1)),
}


def converted(module: nn.Module, example: torch.Tensor, pipeline: str, **options: object) -> ir.Module:
    """The module as torch-mlir exports it, parsed again from its text and put through a pipeline of ours."""
    text = str(fx.export_and_import(module, example, output_type="raw", **options))
    with create_context(), ir.Location.unknown():
        result = ir.Module.parse(text)
    run_pipeline(result, parse_pipeline(pipeline))
    return result


def in_float64(x: torch.Tensor) -> torch.Tensor:
    """Where eager's rounding and that of the exported form, which is other ops, do not matter."""
    return x.double() if x.is_floating_point() else x


def dynamic(case: Case) -> dict[str, object]:
    dims = {d: torch.export.Dim(f"d{d}", min=2) for d in case.dims}
    return {"dynamic_shapes": (dims,)}


@pytest.mark.parametrize("symbols", [False, True], ids=["", "symbols"])
@pytest.mark.parametrize("kind", ["static", "dynamic"])
@pytest.mark.parametrize("name", CASES)
def test_a_converted_export_computes_what_eager_does(name: str, kind: str, symbols: bool) -> None:
    torch.manual_seed(0)
    case = CASES[name]
    model, example = case.module().eval().double(), in_float64(case.inputs(4))
    options = dynamic(case) | {"import_symbolic_shape_expressions": symbols} if kind == "dynamic" else {}
    module = converted(model, example, "convert-torch-to-flambeau,cse", **options)
    for size in (4,) if kind == "static" else (4, 3, 7):
        given = in_float64(case.inputs(size))
        with torch.no_grad():
            expected = model(given)
        expected = expected if isinstance(expected, tuple) else (expected,)
        found = interpreter.run(module, "main", [given])
        for have, want in zip(found, expected, strict=True):
            torch.testing.assert_close(have, want)


@pytest.mark.parametrize("kind", ["static", "dynamic"])
@pytest.mark.parametrize("name", ["mlp", "encoder block", "convolutions"])
def test_a_converted_export_differentiates(name: str, kind: str) -> None:
    torch.manual_seed(0)
    case = CASES[name]
    model, x = case.module().eval().double(), case.inputs(4).double().requires_grad_()
    options = dynamic(case) if kind == "dynamic" else {}
    module = converted(model, x.detach(), "convert-torch-to-flambeau,decompose,autodiff,cse", **options)
    expected = model(x)
    tangent = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, x, tangent)
    _, gradient = interpreter.run(module, "main", [x.detach(), tangent])
    torch.testing.assert_close(gradient, wanted)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["bert", "t5", "vit", "resnet18", "unet", "vae", "lstm-stacked", "gru", "detector"]
)
def test_converted_models_compute_what_eager_does(name: str) -> None:
    models = [*transformers.MODELS.values(), *convolutional.MODELS, *other.MODELS]
    model = next(m for m in models if m.name == name)
    network = model.module(train=False).double()
    (batch,) = model.batches((model.static_size,))
    inputs = batch.to(torch.float64).inputs
    with torch.no_grad():
        expected = network(*inputs)
    text = str(fx.export_and_import(network, *inputs, output_type="raw"))
    with create_context(), ir.Location.unknown():
        module = ir.Module.parse(text)
    run_pipeline(module, parse_pipeline("convert-torch-to-flambeau,cse"))
    found = interpreter.run(module, "main", list(inputs))
    for have, want in zip(found, expected if isinstance(expected, tuple) else (expected,), strict=True):
        torch.testing.assert_close(have, want)
