# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What explain() returns, and how it is found and drawn."""
