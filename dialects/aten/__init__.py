# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From ATen calls to ops of the dialect: the rules that every importer shares. No torch."""
