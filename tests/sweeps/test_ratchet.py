# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The recorded table may only get better: a fixed subset of it is swept again, and the table itself has no failures."""

import warnings

import pytest

from tests.sweeps.cells import FAILURES, NOT_OURS, Cell, Outcome
from tests.sweeps.coverage import PAGE, coverage_page
from tests.sweeps.table import Table, read_table, summary, table_of, worsened
from tests.sweeps.workers import run_cells

RECORDED = read_table()


def subset(database: str, step: int) -> list[Cell]:
    """The first sample of every `step`th recorded float32 entry, static; every third of these dynamic too."""
    names = sorted(entry for (where, entry, dtype) in RECORDED if (where, dtype) == (database, "float32"))
    chosen = names[::step]
    static = [Cell(database, entry, "float32", 0, "static", "cpu") for entry in chosen]
    return static + [Cell(database, entry, "float32", 0, "dynamic", "cpu") for entry in chosen[::3]]


@pytest.mark.slow
@pytest.mark.parametrize(("database", "step"), [("op_db", 28), ("module_db", 40)])
def test_nothing_got_worse(database: str, step: int) -> None:
    results = dict(run_cells(subset(database, step), workers=1, seconds=120))
    reasons = "\n".join(f"{cell.key}: {result.reason}" for cell, result in results.items() if result.reason)
    found = table_of(results)
    assert not list(worsened(RECORDED, found)), reasons
    better = list(worsened(found, {key: row for key, row in RECORDED.items() if key in found}))
    if better:
        warnings.warn(
            f"better than recorded in {len(better)} places, among them {better[0]}; "
            "`make sweep` records it, `python -m tests.sweeps --record --entry NAME` for some entries",
            stacklevel=1,
        )


def test_the_record_has_no_failures() -> None:
    failures = [(key, row) for key, row in RECORDED.items() if FAILURES & set(row.values())]
    assert not failures


@pytest.mark.parametrize("column", ["forward", "backward"])
def test_most_operators_are_native(column: str) -> None:
    table: Table = {key: row for key, row in RECORDED.items() if (key[0], key[2]) == ("op_db", "float32")}
    counts = summary(table, column)
    counted = sum(count for outcome, count in counts.items() if outcome not in NOT_OURS)
    assert counted > 400
    assert counts[Outcome.NATIVE] >= 0.6 * counted


@pytest.mark.checkout
def test_the_page_shows_the_record() -> None:
    assert PAGE.read_text() == coverage_page(RECORDED), "run `python -m tests.sweeps --record --entry NAME`"
