# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A compiled module in, a callable that behaves as eager PyTorch out."""
