# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The error of a failed pass."""

import shlex
from pathlib import Path

from flambeau.dialects.bindings import ir
from flambeau.dialects.errors import source_line


class PassError(Exception):
    """A pass failed, or the IR it left is invalid. `__cause__` is the original exception.

    `op` is the failing op as text and `location` its location, where known; `source` is `file:line` or empty;
    `reproducer` is the file written, if one was asked for.
    """

    def __init__(
        self,
        pass_name: str,
        reason: str,
        *,
        op: str | None = None,
        location: ir.Location | None = None,
        reproducer: Path | None = None,
    ) -> None:
        self.pass_name = pass_name
        self.reason = reason
        self.op = op
        self.location = location
        self.source = source_line(location) if location else ""
        self.reproducer = reproducer
        lines = [f"pass {pass_name!r} failed: {reason}"]
        if op:
            lines.append(f"  op: {op}")
        if self.source:
            lines.append(f"  from: {self.source}")
        if reproducer:
            lines.append(f"  reproduce: flambeau-opt {shlex.quote(str(reproducer))} --run-reproducer")
        super().__init__("\n".join(lines))
