# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One file per pass, named as the pass."""
