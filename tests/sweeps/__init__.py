# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sweeps over PyTorch's own databases of operators and modules: `python -m tests.sweeps --help`."""
