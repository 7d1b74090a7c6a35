# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Samples of random ops. What functionalize makes of the stateful ones is tested in test_random.py."""

import torch

from flambeau.runtime.interpreter.evaluators.random import threefry2x32
from tests.dialects.sample import Sample


def _random_bits(seed, offset, shape, bits):
    positions = torch.arange(torch.Size(shape).numel()).reshape(shape)
    words = threefry2x32(int(seed[0]) % 2**32, int(seed[1]) % 2**32, positions, int(offset) % 2**32)
    return [(word >> (32 - bits)).to(torch.int32) for word in words]


def _bits(shape, bits, **options):
    def arguments():
        return [torch.tensor([17, -5], dtype=torch.int32), torch.tensor(-3, dtype=torch.int32), shape, bits]

    return Sample("random_bits", arguments, eager=_random_bits, static=(0, 1), **options)


SAMPLES = [
    _bits([3, 5], 32, id="whole words"),
    _bits([2, 3, 4], 24, id="24 bits"),
    _bits([], 31, id="scalar"),
    _bits([0, 4], 24, dynamic=False, id="empty"),
    Sample("native_dropout", lambda: [torch.randn(4, 5), 0.3, True], grad=(), id="train"),
    Sample("native_dropout", lambda: [torch.randn(4, 5), 1.0, True], grad=(), id="drop all"),
    Sample("native_dropout", lambda: [torch.randn(4, 5), 0.0, None], grad=(), id="drop none"),
    Sample("native_dropout", lambda: [torch.randn(4, 5), 0.3, False], grad=(), id="eval"),
    Sample("bernoulli", lambda: [torch.rand(4, 5)]),
    Sample("bernoulli_p", lambda: [torch.empty(4, 5), 0.25]),
    Sample("bernoulli_p", lambda: [torch.empty(4, 5, dtype=torch.bool), 0.5], id="bool"),
    Sample("uniform", lambda: [torch.empty(4, 5), -1.0, 2.0]),
    Sample("normal_functional", lambda: [torch.empty(4, 5), 1.0, 0.5]),
    Sample("normal", lambda: [torch.randn(4, 5), torch.rand(4, 5)]),
    Sample("exponential", lambda: [torch.empty(4, 5), 1.5]),
    Sample("rand_like", lambda: [torch.empty(4, 5), torch.float32]),
    Sample("rand_like", lambda: [torch.empty(4, 5), torch.float64], id="float64"),
    Sample("randn_like", lambda: [torch.empty(4, 5), torch.bfloat16], id="bfloat16"),
    Sample("randint_like", lambda: [torch.empty(4, 5), -3, 9, torch.int64]),
    Sample("rand", lambda: [[4, 5], torch.float32]),
    Sample("randn", lambda: [[4, 5], torch.float32]),
    Sample("randint", lambda: [-3, 9, [4, 5], torch.int64]),
]
