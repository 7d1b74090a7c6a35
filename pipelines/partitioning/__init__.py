# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass that cuts a joint function into forward and backward, and what decides the cut."""
