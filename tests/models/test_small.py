# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The smallest models on all debug stages and devices: inference and three steps of training as in eager."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from tests.models.checks import (
    assert_compiles_for_cuda,
    assert_imported_is_eager,
    assert_infers_like_eager,
    assert_trains_like_eager,
    skip_without_device,
)
from tests.models.small import MODELS

RUNGS = ("imported", "functional", "partitioned", "cpu")

# (model, rung) pairs whose compilation takes a second or two at most
_FAST = {("mlp", "cpu"), ("cnn-dropout", "cpu"), *((name, "partitioned") for name in MODELS)}


def matrix(names: Sequence[str], rungs: Sequence[str] = RUNGS) -> Any:
    """All models on all rungs, static and dynamic; what is not fast is slow."""
    return pytest.mark.parametrize(
        ("name", "backend", "dynamic"),
        [
            pytest.param(
                name,
                rung,
                dynamic,
                id=f"{name}-{rung}-{'dynamic' if dynamic else 'static'}",
                marks=() if (name, rung) in _FAST else pytest.mark.slow,
            )
            for name in names
            for rung in rungs
            for dynamic in (False, True)
        ],
    )


@matrix(["mlp", "cnn-dropout", "encoder-dropout", "decoder"])
def test_training(name: str, backend: str, dynamic: bool) -> None:
    if backend == "imported" and "dropout" in name:
        pytest.skip(
            "draws from PyTorch's generator, so there is no mask to inject; compared bit for bit elsewhere"
        )
    assert_trains_like_eager(MODELS[name], backend, dynamic)


@matrix(["encoder"], RUNGS[:3])
def test_training_without_random_numbers(name: str, backend: str, dynamic: bool) -> None:
    assert_trains_like_eager(MODELS[name], backend, dynamic)


@matrix(["mlp", "cnn", "encoder", "decoder"])
def test_inference(name: str, backend: str, dynamic: bool) -> None:
    assert_infers_like_eager(MODELS[name], backend, dynamic)


@pytest.mark.slow
@matrix(["mlp", "cnn"])
def test_evaluation_with_gradients_recorded(name: str, backend: str, dynamic: bool) -> None:
    assert_infers_like_eager(MODELS[name], backend, dynamic, grad=True)


@pytest.mark.parametrize("name", MODELS)
def test_imported_rung_is_eager_bit_for_bit(name: str) -> None:
    assert_imported_is_eager(MODELS[name])


@pytest.mark.parametrize(
    ("name", "dynamic"),
    [
        ("mlp", False),
        ("mlp", True),
        *(
            pytest.param(n, True, marks=pytest.mark.slow)
            for n in ("cnn-dropout", "encoder-dropout", "decoder")
        ),
    ],
)
def test_cuda_artefact_needs_no_device(name: str, dynamic: bool) -> None:
    assert_compiles_for_cuda(MODELS[name], dynamic)


@pytest.mark.parametrize("name", ["mlp", pytest.param("cnn-dropout", marks=pytest.mark.slow)])
@pytest.mark.parametrize("backend", ["vulkan", "cuda"])
def test_on_a_gpu(name: str, backend: str) -> None:
    skip_without_device(backend)
    assert_trains_like_eager(MODELS[name], backend)
    torch._dynamo.reset()
    assert_infers_like_eager(MODELS[name], backend)
