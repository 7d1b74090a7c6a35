# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Facts about values that several passes ask for: tensors of one number, origins of sizes."""
