# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A cell that crashes or hangs costs itself and no other; what is known is not run again."""

import os
import signal
import time
from pathlib import Path

from tests.sweeps.cells import Cell, Outcome, Result
from tests.sweeps.table import Journal, merged, read_table, table_of, worsened, write_table
from tests.sweeps.workers import run_cells


def cell(entry: str, sample: int = 0) -> Cell:
    return Cell("op_db", entry, "float32", sample, "static", "cpu")


NATIVE = Result(Outcome.NATIVE, Outcome.NATIVE)


def behave(cell: Cell) -> Result:
    """What its name says."""
    if cell.entry == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if cell.entry == "hang":
        time.sleep(600)
    return NATIVE


def test_crash_and_hang() -> None:
    cells = [cell("right"), cell("crash"), cell("hang"), cell("right", 1), cell("right", 2)]
    results = dict(run_cells(cells, workers=2, seconds=1, run=behave))
    assert set(results) == set(cells)
    assert results.pop(cell("crash")) == Result(Outcome.CRASH, Outcome.CRASH, "SIGSEGV")
    assert results.pop(cell("hang")) == Result(Outcome.HANG, Outcome.HANG, "no result after 1 s")
    assert set(results.values()) == {NATIVE}


def test_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "results.jsonl")
    eager = Result(Outcome.EAGER, Outcome.NONE, "why", 0.5)
    journal.append(cell("a"), eager, "old")
    journal.append(cell("b"), eager, "new")
    journal.append(cell("a"), NATIVE, "old")
    with journal.path.open("a") as file:
        file.write('{"cell": {"datab')  # killed while writing
    assert journal.read("new") == {cell("b"): eager}
    assert journal.read(None) == {cell("a"): NATIVE, cell("b"): eager}


def test_the_worst_sample_counts(tmp_path: Path) -> None:
    table = table_of({cell("a", 0): Result(Outcome.WRONG, Outcome.EAGER), cell("a", 1): NATIVE})
    assert table == {("op_db", "a", "float32"): {"forward": Outcome.WRONG, "backward": Outcome.EAGER}}
    write_table(table, tmp_path / "table.csv")
    assert read_table(tmp_path / "table.csv") == table


def test_worse_and_better() -> None:
    old = table_of({cell("a"): Result(Outcome.NATIVE, Outcome.EAGER)})
    new = table_of({cell("a"): Result(Outcome.EAGER, Outcome.NATIVE), cell("b"): NATIVE})
    assert list(worsened(old, new)) == ["op_db a float32, forward: eager, was native"]
    assert list(worsened(new, old)) == ["op_db a float32, backward: eager, was native"]
    assert merged(old, new) == new
