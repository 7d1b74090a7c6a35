# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""PyTorch in, callable out: capture, importer, compile(), signature records, the tie to torch.autograd."""
