# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Kernels: which ops are computed together, and the loops that compute them."""
