# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The op families: one module each. A new family adds its name here."""

FAMILIES = (
    "autograd",
    "constant",
    "convolution",
    "elementwise",
    "linear_algebra",
    "normalization",
    "random",
    "reference",
    "shape",
)
