# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Convolutional, recurrent and recommendation networks train and infer as in eager, on every target."""

from collections.abc import Iterator, Set
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

slow = pytest.mark.slow

MODELS = {model.name: model for model in (*convolutional.MODELS, *other.MODELS)}

# Variants of other models, which train with fixed sizes or with dynamic ones.
ONLY_STATIC = {"lstm-stacked"}
ONLY_DYNAMIC = {"dlrm-bags", "lstm", "gru", "rnn"}

# Other programs in evaluation than in training.
WITH_BATCH_NORM = {"resnet18", "mobilenet", "unet"}

# Those that compile in about a second, with fixed sizes.
FAST = {"dlrm", "vae"}


def cases(static: Set[str], dynamic: Set[str]) -> Any:
    """The models of these names, with fixed and with dynamic sizes."""
    return pytest.mark.parametrize(
        ("model", "dynamic"),
        [
            pytest.param(
                model,
                dims,
                id=f"{'dynamic' if dims else 'static'}-{name}",
                marks=() if name in FAST and not dims else slow,
            )
            for dims, names in ((False, static), (True, dynamic))
            for name, model in MODELS.items()
            if name in names
        ],
    )


def each(*names: str) -> Any:
    return pytest.mark.parametrize("model", [pytest.param(MODELS[name], id=name) for name in names])


@pytest.fixture(autouse=True)
def _recurrent_layers() -> Iterator[None]:
    """TorchDynamo traces nn.LSTM and its like only on demand, and breaks the graph there otherwise."""
    with torch._dynamo.config.patch(allow_rnn=True):
        yield


@cases(static=MODELS.keys() - ONLY_DYNAMIC, dynamic=MODELS.keys() - ONLY_STATIC)
def test_training(request: pytest.FixtureRequest, model: Model, dynamic: bool) -> None:
    if dynamic and model.name == "unet-bilinear":
        reason = "one error of 2.77e-6 was seen where twice eager's own is 2.73e-6; no cause is known"
        request.applymarker(pytest.mark.xfail(strict=False, raises=AssertionError, reason=reason))
    assert_trains_like_eager(model, dynamic=dynamic)


@cases(static=WITH_BATCH_NORM | FAST, dynamic=MODELS.keys())
def test_inference(model: Model, dynamic: bool) -> None:
    assert_infers_like_eager(model, dynamic=dynamic)


@each(*MODELS)
def test_debug_stages(model: Model) -> None:
    """Without IREE: bit for bit as imported; differentiated and partitioned as accurate as eager."""
    if (
        model.name != "gru"
    ):  # PyTorch's own decomposition of it, which TorchDynamo applies, rounds differently
        assert_imported_is_eager(model)
    torch._dynamo.reset()
    assert_trains_like_eager(model, "partitioned")


@slow
@each("resnet18", "mobilenet", "unet", "vae", "dlrm", "lstm-cell", "detector")
def test_cuda_artefact_needs_no_device(model: Model) -> None:
    assert_compiles_for_cuda(model)


@slow
@each("resnet18", "vae")
def test_on_vulkan(model: Model) -> None:
    skip_without_device("vulkan")
    # A step takes seconds there.
    assert_trains_like_eager(replace(model, steps=min(model.steps, 6)), "vulkan")
    torch._dynamo.reset()
    assert_infers_like_eager(model, "vulkan")
