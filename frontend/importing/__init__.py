# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A captured graph in, a module of the dialect out."""
