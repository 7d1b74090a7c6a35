# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Convolutional, recurrent and recommendation networks train and infer as in eager, on every target."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.models import convolutional, other
from tests.models.checks import (
    assert_compiles_for_cuda,
    assert_imported_is_eager,
    assert_infers_like_eager,
    assert_trains_like_eager,
    skip_without_device,
)
from tests.models.model import Model

MODELS = (*convolutional.MODELS, *other.MODELS)

# Those whose training compiles in about a second.
FAST = ("dlrm", "vae")


def each(models: tuple[Model, ...], fast: tuple[str, ...] = ()) -> Any:
    """All of `models`; those that are not `fast` are slow."""
    return pytest.mark.parametrize(
        "model",
        [pytest.param(m, id=m.name, marks=() if m.name in fast else pytest.mark.slow) for m in models],
    )


@pytest.fixture(autouse=True)
def _recurrent_layers() -> Iterator[None]:
    """TorchDynamo traces nn.LSTM and its like only on demand, and breaks the graph there otherwise."""
    with torch._dynamo.config.patch(allow_rnn=True):
        yield


@each(MODELS, FAST)
@pytest.mark.parametrize(
    "dynamic", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["static", "dynamic"]
)
def test_training(request: pytest.FixtureRequest, model: Model, dynamic: bool) -> None:
    if dynamic and model.name == "unet-bilinear":
        reason = "one error of 2.77e-6 was seen where twice eager's own is 2.73e-6; no cause is known"
        request.applymarker(pytest.mark.xfail(strict=False, raises=AssertionError, reason=reason))
    assert_trains_like_eager(model, dynamic=dynamic)


@each(MODELS, FAST)
@pytest.mark.parametrize(
    "dynamic", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["static", "dynamic"]
)
def test_inference(model: Model, dynamic: bool) -> None:
    assert_infers_like_eager(model, dynamic=dynamic)


@each(MODELS, tuple(m.name for m in MODELS))
def test_debug_stages(model: Model) -> None:
    """Without IREE: bit for bit as imported; differentiated and partitioned as accurate as eager."""
    if (
        model.name != "gru"
    ):  # PyTorch's own decomposition of it, which TorchDynamo applies, rounds differently
        assert_imported_is_eager(model)
    torch._dynamo.reset()
    assert_trains_like_eager(model, "partitioned")


@each(MODELS)
def test_cuda_artefact_needs_no_device(model: Model) -> None:
    assert_compiles_for_cuda(model)


@each((convolutional.RESNET18, convolutional.VARIATIONAL))
def test_on_vulkan(model: Model) -> None:
    skip_without_device("vulkan")
    # A step takes seconds there.
    assert_trains_like_eager(replace(model, steps=min(model.steps, 6)), "vulkan")
    torch._dynamo.reset()
    assert_infers_like_eager(model, "vulkan")
