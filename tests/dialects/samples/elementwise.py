# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Samples of arithmetic and mathematical functions."""

import torch

from tests.dialects.sample import Sample

SAMPLES = [
    Sample("add", lambda: [torch.randn(3, 4), torch.randn(3, 4)]),
    Sample("tanh", lambda: [torch.randn(3, 4)]),
]
