# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Kernels and their loops: what a kernel computes at each place, its schedule, and the loops that compute it."""
