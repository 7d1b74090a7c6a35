# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""docs/contract.md: what the runs of the contract's tests and of the mutants found, as tables."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.contract.record import Record, state_of
from tests.contract.rows import ROWS

PAGE = Path(__file__).parents[2] / "docs" / "contract.md"

_HEAD = """# The contract

What a user of a torch.compile backend may rely on, row by row, and what Flambeau makes of it.
`python -m tests.contract` runs the tests and generates this table. Each test compares with eager: values, gradients,
aliasing, writes, strides, dtypes, requires_grad and is_leaf, version counters, errors. Where a row is about what
compiled code does, it is tested on the rungs `functional`, `partitioned` and `cpu`, with `fallback="error"`, so that
eager does not answer for the compiler. What a row says runs in eager is right, warned about, and counted.

"""

_MUTANTS = "## Mutants\n"

_MUTANTS_HEAD = """
Do the tests notice? `python -m tests.contract.mutants` breaks a pass or the wrapper on purpose, runs the tests on the
rung `partitioned`, and notes the rows that fail.

"""


def with_rows(page: str, record: Record) -> str:
    """The page with the table of a run."""
    lines = ["| row | what holds | state | tests |", "|---|---|---|---|"]
    for row, title in ROWS.items():
        tests = record.tests[row]
        names = ", ".join(f"`{name}`" for name in sorted(tests))
        lines.append(f"| {row} | {title} | {state_of(list(tests.values()))} | {names} |")
    _, mark, mutants = page.partition(_MUTANTS)
    holding = sum(state_of(list(record.tests[row].values())).startswith("holds") for row in ROWS)
    summary = f"{holding} of {len(ROWS)} rows hold.\n\n"
    return _HEAD + summary + "\n".join(lines) + "\n" + (f"\n{mark}{mutants}" if mark else "")


def with_mutants(page: str, caught: Mapping[str, tuple[str, Sequence[str]]]) -> str:
    """The page with the table of the mutants: by name, what is broken, and the rows that noticed."""
    lines = ["| mutant | what is broken | rows that fail |", "|---|---|---|"]
    lines += [f"| {name} | {what} | {', '.join(rows)} |" for name, (what, rows) in caught.items()]
    rows, _, _ = page.partition(_MUTANTS)
    return rows.rstrip() + "\n\n" + _MUTANTS + _MUTANTS_HEAD + "\n".join(lines) + "\n"


def rows_on(page: str) -> dict[str, tuple[str, list[str]]]:
    """State and tests by row, as the page has them."""
    found = re.findall(r"^\| (C\d\d) \| (.*) \| (.*) \| (.*) \|$", page, re.MULTILINE)
    return {row: (state, re.findall(r"`(\w+)`", tests)) for row, _, state, tests in found}


def mutants_on(page: str) -> dict[str, list[str]]:
    """The rows that noticed each mutant, as the page has them."""
    _, _, mutants = page.partition(_MUTANTS)
    found = re.findall(r"^\| ([a-z-]+) \| .* \| (C\d.*) \|$", mutants, re.MULTILINE)
    return {name: rows.split(", ") for name, rows in found}
