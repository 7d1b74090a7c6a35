# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention with dropout after functionalize: the mask it draws, and that the rest is attention with this mask."""

import pytest
import torch

from flambeau.dialects import create_context
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.facts import ArgumentFacts
from flambeau.pipelines.passes.autodiff import differentiate
from flambeau.pipelines.passes.functionalize import Functionalize
from flambeau.runtime import interpreter
from tests.dialects.sample import Sample, single

P = 0.3
SEED = torch.tensor([12345, -678], dtype=torch.int32)
HEADS, LENGTH, SOURCE, WIDTH = (4, 6), 24, 20, 8


@pytest.fixture(autouse=True)
def context():
    with create_context() as context, ir.Location.unknown():
        yield context


def arguments(causal=False):
    torch.manual_seed(0)
    query, key = torch.randn(*HEADS, LENGTH, WIDTH), torch.randn(*HEADS, SOURCE, WIDTH)
    # With the identity as value, the result is the weights themselves: the mask can be read off.
    value = torch.eye(SOURCE).expand(*HEADS, SOURCE, SOURCE).clone()
    return [query, key, value, None, P, causal]


def functional_module(values, dynamic=False):
    module = single(Sample("scaled_dot_product_attention_dropout", lambda: values), values, dynamic=dynamic)
    Functionalize().run(module)
    assert module.operation.verify()
    return module


def plain_weights(values):
    query, key, _, _, _, causal = values
    scores = query @ key.transpose(-1, -2) / WIDTH**0.5
    if causal:
        scores = scores.masked_fill(~torch.ones(LENGTH, SOURCE, dtype=torch.bool).tril(), -torch.inf)
    return scores.softmax(-1)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
def test_result_is_attention_with_the_mask(causal, dynamic):
    values = arguments(causal)
    (out,) = interpreter.run(functional_module(values, dynamic), "f", [*values[:3], SEED])
    weights = plain_weights(values)
    kept = out != 0
    torch.testing.assert_close(out, weights * kept / (1 - P))
    rate = float(kept[weights != 0].double().mean())
    # Five standard errors.
    assert abs(rate - (1 - P)) < 5 * (P * (1 - P) / int((weights != 0).sum())) ** 0.5


def test_the_mask_follows_the_seed():
    values = arguments()
    module = functional_module(values)
    first, again, other = (interpreter.run(module, "f", [*values[:3], s])[0] for s in (SEED, SEED, SEED + 1))
    assert torch.equal(first, again)
    assert not torch.equal(first != 0, other != 0)


def test_gradients_use_the_same_mask():
    values = [v.double() if isinstance(v, torch.Tensor) else v for v in arguments(causal=True)]
    module = functional_module(values)
    (out,) = interpreter.run(module, "f", [*values[:3], SEED])
    kept = out != 0

    function = fn.functions(module)[0]
    marked = [ArgumentFacts(requires_grad=i < 3) for i in range(len(fn.argument_facts(function)))]
    fn.set_signature(function, marked)
    differentiate(function)
    tangent = torch.randn_like(out)
    found = interpreter.run(module, "f", [*values[:3], SEED, tangent])

    leaves = [v.requires_grad_() for v in values[:3]]
    expected = (plain_weights(values) * kept / (1 - P)) @ leaves[2]
    torch.testing.assert_close(found[0], expected.detach())
    gradients = torch.autograd.grad(expected, leaves, tangent)
    torch.testing.assert_close(found[1:], list(gradients))
