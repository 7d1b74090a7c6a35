# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Random programs: drawn from a seed, run compiled and in eager, compared strictly, shrunk where they differ."""
