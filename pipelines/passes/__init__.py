# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The passes over IR: one file per pass."""
