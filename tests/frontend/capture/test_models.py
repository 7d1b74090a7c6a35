# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The models of the demo and the README: captured graphs compute what eager computes."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from flambeau.frontend.capture.dynamo import capture_dynamo_graph
from flambeau.frontend.capture.records import CapturedGraph
from tests.frontend.capture.captured import aten, causal_attention, targets


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(2),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.25), nn.Linear(16, 5))

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.head(self.features(x))
        return F.cross_entropy(logits, target), logits


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(11, 8), nn.Embedding(6, 8)
        self.norm, self.qkv = nn.LayerNorm(8), nn.Linear(8, 24)
        self.head = nn.Linear(8, 11, bias=False)

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
        q, k, v = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in self.qkv(self.norm(h)).split(8, dim=2))
        h = h + F.gelu(causal_attention(q, k, v).transpose(1, 2).flatten(2), approximate="tanh")
        logits = self.head(h)
        return F.cross_entropy(logits.view(-1, 11), target.view(-1)), logits


def encoder() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], list[torch.Tensor]]]] = {
    "convolutional": (Convolutional, lambda n: [torch.randn(n, 1, 8, 8), torch.randint(5, (n,))]),
    "decoder": (Decoder, lambda n: [torch.randint(11, (n, 6)), torch.randint(11, (n, 6))]),
    "encoder": (encoder, lambda n: [torch.randn(n, 5, 8)]),
}


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("mode", ["train", "eval", "eval_no_grad"])
@pytest.mark.parametrize("name", MODELS)
def test_captured_models_compute_what_eager_computes(name: str, mode: str, dynamic: bool) -> None:
    """The captured graph, run as it is: bit for bit in the forward; with eager's strides, flags, writes, gradients."""
    make, make_args = MODELS[name]
    torch.manual_seed(0)
    model = make().train(mode == "train")
    twin = copy.deepcopy(model)
    found: list[CapturedGraph] = []

    def backend(gm: fx.GraphModule, example_inputs: list[Any]) -> Callable[..., Any]:
        found.append(capture_dynamo_graph(gm, example_inputs))
        return found[0].graph_module

    compiled = torch.compile(twin, backend=backend, fullgraph=True)
    with torch.set_grad_enabled(mode != "eval_no_grad"):
        for size in (4, 6, 3) if dynamic else (4,):
            args = make_args(size)
            if dynamic:
                for arg in args:
                    torch._dynamo.mark_dynamic(arg, 0)
            torch.manual_seed(size)
            results = compiled(*args)
            torch.manual_seed(size)
            expected = model(*args)
            results, expected = (r if isinstance(r, tuple) else (r,) for r in (results, expected))
            for result, want, output in zip(results, expected, found[0].outputs, strict=True):
                assert torch.equal(result, want)
                assert output.tensor is not None
                assert output.tensor.requires_grad == want.requires_grad == result.requires_grad
                assert [int(s) for s in output.tensor.stride[1:]] == list(want.stride()[1:])
            for value, want in zip(twin.state_dict().values(), model.state_dict().values(), strict=True):
                assert torch.equal(value, want)
    assert len(found) == 1
    if mode == "eval_no_grad":
        assert (name == "encoder") == (aten._transformer_encoder_layer_fwd.default in targets(found[0]))
        return
    for outputs in (results, expected):
        outputs[0].sum().backward()
    for parameter, want in zip(twin.parameters(), model.parameters(), strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, want.grad)
