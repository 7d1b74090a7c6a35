# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the command lines have in common when they read modules."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flambeau.dialects.bindings import ir

_OPS_OF_IREE = re.compile(rb"\b(iree_tensor_ext|iree_codegen|flow|util|hal)\.\w")


def accept_ops_of_iree(context: "ir.Context", data: str | bytes) -> None:
    """Let a context take a module that has been lowered: ops of IREE's, which this build of MLIR does not know."""
    found = _OPS_OF_IREE.search(data.encode() if isinstance(data, str) else data)
    is_bytecode_of_one = isinstance(data, bytes) and b"iree_tensor_ext" in data
    if found or is_bytecode_of_one:
        context.allow_unregistered_dialects = True
