# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Errors of the runtime: no such backend, no such device, the IREE compiler failed, a compiled function failed."""

from pathlib import Path

__all__ = ["BackendNotAvailableError", "CompileError", "ExecutionError", "LoadError", "UnknownBackendError"]


class UnknownBackendError(LookupError):
    """A backend name that is not registered; the message lists the valid ones."""


class BackendNotAvailableError(RuntimeError):
    """A backend's device is absent or computes wrong numbers.

    The message says which devices there are and what to install.
    """


class LoadError(RuntimeError):
    """IREE refused an artefact at load time."""


class ExecutionError(RuntimeError):
    """A compiled function failed while it ran, or was called with arguments that it does not take."""


class CompileError(RuntimeError):
    """The IREE compiler failed, crashed or timed out; the calling process is unharmed.

    Attributes:
      op: name of the op that the first diagnostic names ("torch.aten.foo"), or None.
      location: "file:line:column" that the first diagnostic names, or None.
      diagnostics: everything that the compiler wrote to stderr.
      reproducer: the .mlir file; the command line stands in its first lines and in `command`.
      command: the command line that reproduces the failure.
    """

    def __init__(
        self,
        summary: str,
        *,
        op: str | None = None,
        location: str | None = None,
        diagnostics: str = "",
        reproducer: Path | None = None,
        command: str = "",
        attempts: tuple[str, ...] = (),
    ) -> None:
        self.summary = summary
        self.op = op
        self.location = location
        self.diagnostics = diagnostics
        self.reproducer = reproducer
        self.command = command
        self.attempts = attempts
        lines = [summary]
        if op:
            lines.append(f"  op: {op}")
        if location:
            lines.append(f"  from: {location}")
        if attempts:
            lines.append(f"  tried: {', '.join(attempts)}")
        if reproducer:
            lines.append(f"  reproducer: {reproducer}")
        if command:
            lines.append(f"  reproduce: {command}")
        super().__init__("\n".join(lines))
