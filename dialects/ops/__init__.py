# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The op families: one module each. A new family adds its name here."""

FAMILIES = (
    "activation",
    "attention",
    "autograd",
    "compare",
    "constant",
    "convolution",
    "elementwise",
    "index",
    "linear_algebra",
    "loss",
    "normalization",
    "pooling",
    "random",
    "rearrange",
    "reduce",
    "reference",
    "resample",
    "shape",
)
