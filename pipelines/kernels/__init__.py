# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Kernels: which ops are computed together, and how their loops are written."""
