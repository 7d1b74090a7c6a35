# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which line of the user's program IREE refuses: from its error, or by trying with some lines left to PyTorch."""

import re
import time
from collections.abc import Callable, Sequence

from flambeau.runtime.errors import CompileError

_NOT_OF_A_LINE = re.compile(r"Unknown command line argument|did not end within")
_MOST_SECONDS = 120.0  # of a search, after which no further trial begins


def refused_line(
    error: CompileError, lines: Sequence[str], compiles: Callable[[Sequence[str]], bool]
) -> str | None:
    """The one of `lines` (`file:line`) that the compilation fails at; None if that cannot be found out.

    `compiles(some)`: whether IREE takes the program without the ops of some lines.
    """
    place = (error.location or "").rpartition(":")[0]
    if place in lines:
        return place
    # Where the compiler did not run, was called with a wrong flag or took too long, no line is known to be at fault.
    if not error.diagnostics or _NOT_OF_A_LINE.search(f"{error.summary}\n{error.diagnostics}"):
        return None
    return _search(lines, compiles)


def _search(lines: Sequence[str], compiles: Callable[[Sequence[str]], bool]) -> str | None:
    """The last line of the shortest start of the program that fails, by bisection."""
    end = time.monotonic() + _MOST_SECONDS
    if not lines or not compiles(lines):
        return None
    passes, fails = 0, len(lines)  # without the lines from there on
    while fails - passes > 1:
        if time.monotonic() > end:
            return None
        middle = (passes + fails) // 2
        if compiles(lines[middle:]):
            passes = middle
        else:
            fails = middle
    return lines[passes]
