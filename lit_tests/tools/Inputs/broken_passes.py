# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Passes that fail, each in its own way."""

from dataclasses import dataclass
from typing import Literal

from flambeau.dialects.bindings import ir
from flambeau.dialects.errors import UnsupportedOpError
from flambeau.dialects.walk import operations
from flambeau.pipelines.registry import register_pass


@register_pass
@dataclass(frozen=True)
class Broken:
    """Fail at the first multiplication.

    With `bug` by an error of Python's, with `refuse` by refusing the op, with `invalid` by leaving invalid IR.
    """

    name = "broken"
    how: Literal["bug", "refuse", "invalid"] = "bug"
    unused_number: int | None = None

    def run(self, module: ir.Module) -> None:
        """Fail."""
        for op in operations(module):
            if op.name != "arith.mulf":
                continue
            if self.how == "refuse":
                raise UnsupportedOpError(op, "products are not for me")
            if self.how == "invalid":
                op.results[0].set_type(ir.F64Type.get())
            else:
                op.this_attribute_does_not_exist()
