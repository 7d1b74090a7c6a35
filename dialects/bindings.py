# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The one door to the MLIR Python bindings, which the torch-mlir wheel carries.

Everything else says `from flambeau.dialects.bindings import ir`, so that a change of wheel is a change of this file.
"""

from torch_mlir import ir, passmanager
from torch_mlir.dialects import arith, ext, func, irdl, linalg, tensor
from torch_mlir.dialects import torch as torch_dialect

__all__ = ["arith", "ext", "func", "ir", "irdl", "linalg", "passmanager", "tensor", "torch_dialect"]
