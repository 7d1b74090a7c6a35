# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""docs/coverage.md from the recorded table."""

from collections import defaultdict
from pathlib import Path

from tests.sweeps.cells import NOT_OURS, Outcome
from tests.sweeps.table import COLUMNS, Table, summary

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"

_HEAD = """# Coverage

What becomes of the entries of PyTorch's own databases of operators (`op_db`) and modules (`module_db`) on the backend
`cpu`. `make sweep` generates this page from `tests/sweeps/coverage.csv`. Each entry is compiled for its first samples
and compared with eager: values, dtypes, strides, aliasing, writes to arguments, gradients; the worst sample counts.
`python -m tests.sweeps --entry 'linalg.*' --causes causes.txt` says why some of them do not run natively.

"""

_MEANING = {
    Outcome.NATIVE: "compiled as a whole",
    Outcome.HOST: "compiled, with ops that run on the host",
    Outcome.EAGER: "right: the whole graph runs in eager, with a warning",
    Outcome.BREAK: "right, in pieces: TorchDynamo makes no single graph of it",
    Outcome.DYNAMO: 'TorchDynamo fails, with PyTorch\'s backend "eager" too',
    Outcome.NONE: "there is nothing to compile: no gradient, or TorchDynamo computes it by itself",
    Outcome.ERROR: "raises where eager does not",
    Outcome.WRONG: "wrong result",
    Outcome.CRASH: "the process dies",
    Outcome.HANG: "no result in time",
}


def coverage_page(table: Table) -> str:
    """The page."""
    lines = [_HEAD + "| outcome | meaning |", "|---|---|"]
    present = {outcome for row in table.values() for outcome in row.values()}
    lines += [f"| {outcome} | {text} |" for outcome, text in _MEANING.items() if outcome in present]
    lines += ["", "## Summary", "", *_summary(table), ""]
    for database in sorted({key[0] for key in table}, reverse=True):
        lines += [f"## {database}", "", *_entries({k: r for k, r in table.items() if k[0] == database}), ""]
    return "\n".join(lines).rstrip() + "\n"


def _summary(table: Table) -> list[str]:
    """A line per database, dtype and direction."""
    outcomes = [o for o in _MEANING if any(o in row.values() for row in table.values())]
    lines = [
        f"| | | | {' | '.join(outcomes)} | native, of what can be |",
        "|---" * 3 + "|---:" * (len(outcomes) + 1) + "|",
    ]
    groups: dict[tuple[str, str], Table] = defaultdict(dict)
    for key, row in table.items():
        groups[key[0], key[2]][key] = row
    for (database, dtype), rows in sorted(groups.items(), key=lambda g: (g[0][0] != "op_db", g[0][1])):
        for column in COLUMNS:
            counts = summary(rows, column)
            counted = sum(n for outcome, n in counts.items() if outcome not in NOT_OURS)
            if counted:
                cells = " | ".join(str(counts[o] or "") for o in outcomes)
                share = f"{100 * counts[Outcome.NATIVE] / counted:.0f} % of {counted}"
                lines.append(f"| {database} | {dtype} | {column} | {cells} | {share} |")
    return lines


def _entries(table: Table) -> list[str]:
    """A line per entry: float32 in full, and the forward of the other dtypes."""
    dtypes = sorted({key[2] for key in table} - {"float32"})
    heads = [*COLUMNS, *(f"forward, {dtype}" for dtype in dtypes)]
    lines = [f"| entry | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    by_entry: dict[str, Table] = defaultdict(dict)
    for key, row in table.items():
        by_entry[key[1]][key] = row
    for entry, rows in sorted(by_entry.items()):
        by_dtype = {key[2]: row for key, row in rows.items()}
        cells = [_text(by_dtype.get("float32", {}).get(column)) for column in COLUMNS]
        cells += [_text(by_dtype.get(dtype, {}).get("forward")) for dtype in dtypes]
        lines.append(f"| `{entry}` | {' | '.join(cells)} |")
    return lines


def _text(outcome: Outcome | None) -> str:
    return "" if outcome in (None, Outcome.NONE) else str(outcome)
