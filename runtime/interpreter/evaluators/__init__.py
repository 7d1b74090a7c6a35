# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Evaluators of ops that no single ATen overload computes, one module per op family."""

# The interpreter imports them. A new module adds its name here.
FAMILIES = (
    "attention",
    "autograd",
    "convolution",
    "index",
    "pooling",
    "random",
    "reduce",
    "shape",
)
