# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A TorchDynamo graph or exported program in, an ATen graph on fake tensors with records out."""
