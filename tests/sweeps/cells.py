# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a sweep consists of: a cell is one sample of one entry, compiled in one way; a result says what became of it."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What became of a direction (forward or backward) of a cell, from best to worst."""

    NONE = "none"  # there is no such cell: eager has none, or has no gradient
    NATIVE = "native"  # compiled as a whole
    HOST = "host"  # compiled, with ops that run on the host
    EAGER = "eager"  # right, because the whole graph runs in eager
    BREAK = "break"  # right, in pieces: TorchDynamo makes no single graph of it
    DYNAMO = "dynamo"  # TorchDynamo fails, also with PyTorch's backend "eager"
    ERROR = "error"  # the user sees an exception that eager does not raise
    WRONG = "wrong"
    CRASH = "crash"
    HANG = "hang"

    @property
    def rank(self) -> int:
        """0 is best."""
        return list(Outcome).index(self)


FAILURES = frozenset({Outcome.ERROR, Outcome.WRONG, Outcome.CRASH, Outcome.HANG})
"""What must never happen."""

NOT_OURS = frozenset({Outcome.NONE, Outcome.BREAK, Outcome.DYNAMO})
"""What says nothing about the compiler: these are not counted."""


@dataclass(frozen=True)
class Cell:
    """One sample of one entry.

    database: "op_db" or "module_db". entry: an operator ("linalg.norm", "std.unbiased") or a module and its mode
    ("BatchNorm1d.train"). dtype: "float32", ... sample: its number. shapes: "static" or "dynamic".
    """

    database: str
    entry: str
    dtype: str
    sample: int
    shapes: str
    backend: str

    @property
    def key(self) -> str:
        """The cell in one word."""
        return "/".join((self.database, self.entry, self.dtype, str(self.sample), self.shapes, self.backend))


@dataclass(frozen=True)
class Result:
    """What became of a cell, and why: one line per reason, the first one what the compiler says."""

    forward: Outcome
    backward: Outcome
    reason: str = ""
    seconds: float = 0.0
