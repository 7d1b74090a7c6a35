# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Transformers: inference and training as in eager, other precisions, and what people do with them."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import flambeau
from tests.models.checks import (
    assert_compiles_for_cuda,
    assert_infers_like_eager,
    assert_trains_like_eager,
    batches,
    skip_without_device,
    strictly,
)
from tests.models.model import Model, next_token_loss
from tests.models.transformers import GPT2, MODELS, Llama
from tests.oracle import assert_as_accurate, assert_like_eager, close

slow = pytest.mark.slow


BOTH = ("static", "dynamic")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dynamic", [False, True], ids=BOTH)
def test_interpreted_training(name: str, dynamic: bool) -> None:
    assert_trains_like_eager(MODELS[name], "partitioned", dynamic)


@pytest.mark.parametrize(
    "name", ["gpt2", "bert", "vit", *(pytest.param(n, marks=slow) for n in ("llama", "llama-repeated", "t5"))]
)
def test_inference(name: str) -> None:
    assert_infers_like_eager(MODELS[name], dynamic=True)


@slow
@pytest.mark.parametrize(
    ("name", "dynamic"),
    [("gpt2", True), ("bert", True), ("vit", False), ("llama-repeated", True), ("t5", True)],
)
def test_training(name: str, dynamic: bool) -> None:
    assert_trains_like_eager(MODELS[name], "cpu", dynamic)


@slow
@pytest.mark.parametrize(("name", "dynamic"), [("gpt2", True), ("llama", False), ("t5", True)])
def test_cuda_artefact_needs_no_device(name: str, dynamic: bool) -> None:
    assert_compiles_for_cuda(MODELS[name], dynamic)


# --- Precisions ------------------------------------------------------------------------------------------------------


def run_in(model: Model, dtype: torch.dtype, how: str) -> None:
    """One step of training and one evaluation in `dtype`: as good as eager's, judged against float64.

    `how`: "cast" the module to the dtype, or run it under "autocast".
    """
    modules = [model.module(train=True) for _ in range(3)]
    for module in modules:
        for part in module.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
    module, eager, exact = modules
    exact.double()
    (batch,) = model.batches((model.static_size,))
    if how == "cast":
        module.to(dtype), eager.to(dtype)
        batch = batch.to(dtype)
    compiled = strictly(model.training(module))
    runs = []
    for target, call, given in (
        (module, compiled, batch),
        (eager, model.training(eager), batch),
        (exact, model.training(exact), batch.to(torch.float64)),
    ):
        with torch.autocast("cpu", dtype, enabled=how == "autocast" and target is not exact):
            loss = call(given)
        loss.backward()
        seen = {f"gradient of {n}": p.grad for n, p in target.named_parameters() if p.grad is not None}
        runs.append({"output": loss.detach(), **seen})
    found, expected, _ = runs
    assert {n: t.dtype for n, t in found.items()} == {n: t.dtype for n, t in expected.items()}
    assert_as_accurate([tuple(runs)])


@slow
@pytest.mark.parametrize(("name", "dtype"), [("gpt2", torch.bfloat16), ("bert", torch.float16)], ids=str)
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    run_in(MODELS[name], dtype, "cast")


@slow
def test_double_precision() -> None:
    module, eager = MODELS["bert"].module(train=False).double(), MODELS["bert"].module(train=False).double()
    (batch,) = MODELS["bert"].batches((3,))
    found, expected = strictly(module)(*batch.inputs), eager(*batch.inputs)
    close(found, expected, "output")
    found.sum().backward()
    expected.sum().backward()
    for (key, p), q in zip(module.named_parameters(), eager.parameters(), strict=True):
        error = (p.grad - q.grad).abs().max() / max(q.grad.abs().max(), 1)
        assert error < 1e-13, f"{key}: {error}"


@slow
def test_autocast() -> None:
    run_in(MODELS["vit"], torch.bfloat16, "autocast")


# --- Habits ----------------------------------------------------------------------------------------------------------


def test_decoding_with_a_cache_that_grows() -> None:
    torch.manual_seed(0)
    llama = Llama().eval()
    step = strictly(llama.decode, dynamic=True)
    ids = torch.randint(0, 61, (2, 3))
    before = flambeau.counters["graphs"]
    with torch.no_grad():
        logits, past = llama.decode(ids, None)
        past = [(k.contiguous(), v.contiguous()) for k, v in past]  # as what comes out of the step is
        for _ in range(4):
            token = logits[:, -1:].argmax(-1)
            ids = torch.cat((ids, token), dim=1)
            logits, past = step(token, past)
            assert past[0][0].shape[2] == ids.shape[1]
            close(logits, llama(ids)[:, -1:], "logits", ulps=64)
    assert flambeau.counters["graphs"] == before + 1


def test_generating_with_a_sequence_that_grows() -> None:
    torch.manual_seed(0)
    model = GPT2().eval()
    compiled = strictly(model, dynamic=True)
    ids = torch.randint(0, 61, (2, 3))
    before = flambeau.counters["graphs"]
    with torch.no_grad():
        for _ in range(4):
            logits, expected = compiled(ids), model(ids)
            close(logits, expected, "logits", ulps=64)
            ids = torch.cat((ids, expected[:, -1:].argmax(-1)), dim=1)
    assert flambeau.counters["graphs"] == before + 1


def masked(kind: str) -> Any:
    """Attention with a mask that leaves nothing of the first row, in one of the ways people write it."""

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        if kind == "sdpa, bool":
            return F.scaled_dot_product_attention(q, k, v, attn_mask=keep)
        lowest = float("-inf") if "-inf" in kind else torch.finfo(q.dtype).min
        bias = torch.zeros(keep.shape, dtype=q.dtype).masked_fill(keep.logical_not(), lowest)
        if kind.startswith("sdpa"):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        scores = q @ k.transpose(-1, -2)
        if kind == "masked_fill with min":
            return F.softmax(scores.masked_fill(~keep, lowest), dim=-1) @ v
        return F.softmax(scores + bias, dim=-1) @ v

    return attend


@pytest.mark.parametrize(
    "kind",
    ["sdpa, bool", "sdpa, -inf", "sdpa, min", "added -inf", "added min", "masked_fill with min"],
)
def test_rows_that_are_masked_whole(kind: str) -> None:
    def make() -> Any:
        torch.manual_seed(0)
        leaves = [torch.randn(2, n, 3, requires_grad=True) for n in (4, 5, 5)]
        keep = torch.ones(2, 4, 5, dtype=torch.bool).tril(-1)
        return leaves, [*leaves, keep]

    assert_like_eager(masked(kind), make, backend="cpu", afterwards=("nothing",))


@slow
def test_adamw_with_clipped_gradients() -> None:
    class Clipped(torch.optim.AdamW):
        def step(self, closure: Any = None) -> Any:
            torch.nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 0.5)
            return super().step(closure)

    assert_trains_like_eager(MODELS["llama"], optimizer=lambda parameters: Clipped(parameters, lr=1e-3))


def test_accumulated_gradients_of_tied_weights() -> None:
    model = MODELS["gpt2"]
    module, eager = model.module(train=True), model.module(train=True)
    compiled = strictly(model.training(module), "partitioned")
    for batch in batches(model, dynamic=False):
        compiled(batch).backward()
        model.training(eager)(batch).backward()
    assert module.wte.weight is module.lm_head.weight
    close(module.wte.weight.grad, eager.wte.weight.grad, "gradient of the tied weight", ulps=64)


def test_checkpointed_blocks() -> None:
    model = Model("gpt2", lambda: GPT2(checkpointed=True), MODELS["gpt2"].batch, next_token_loss)
    assert_trains_like_eager(model, "partitioned")


@slow
def test_training_on_vulkan() -> None:
    skip_without_device("vulkan")
    assert_trains_like_eager(MODELS["gpt2"], "vulkan")
