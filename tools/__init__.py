# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Command lines: each a few lines over the other packages."""
