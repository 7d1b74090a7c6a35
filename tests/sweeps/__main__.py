# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`python -m tests.sweeps --db=op_db --dtype=float32`: sweep a database, go on where the last run stopped, report."""

import argparse
import fnmatch
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.sweeps.cells import FAILURES, NOT_OURS, Cell, Outcome, Result
from tests.sweeps.coverage import PAGE, coverage_page
from tests.sweeps.table import Journal, causes, code_version, merged, read_table, table_of, write_table
from tests.sweeps.workers import run_cells

DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "bool")


def main(arguments: Sequence[str] | None = None) -> int:
    """0, or 1 if a cell of this sweep is wrong, raises, crashes or hangs."""
    options = _parser().parse_args(arguments)
    cells = list(_cells(options))
    version = code_version()
    journal = Journal(options.results)
    known = {
        c: r for c, r in journal.read(None if options.any_version else version).items() if c in set(cells)
    }
    redo = {Outcome(name) for name in options.redo}
    known = {c: r for c, r in known.items() if not {r.forward, r.backward} & redo}
    todo = [] if options.known else [cell for cell in cells if cell not in known]
    results: dict[Cell, Result] = dict(known)
    console = Console()
    console.print(f"{len(cells)} cells, {len(known)} known, code {version}, results in {options.results}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("sweep", total=len(todo))
        for cell, result in run_cells(todo, workers=options.workers, seconds=options.timeout):
            journal.append(cell, result, version)
            results[cell] = result
            if FAILURES & {result.forward, result.backward}:
                progress.print(
                    f"{cell.key}: {result.forward}, {result.backward}: {result.reason}", markup=False
                )
            progress.update(task, advance=1, description=cell.entry[:32])
    _report(console, results)
    if options.causes is not None:
        options.causes.write_text(_causes_text(results))
    if options.record:
        write_table(merged(read_table(), table_of(results)))
        PAGE.write_text(coverage_page(read_table()))
    return int(any(FAILURES & {r.forward, r.backward} for r in results.values()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.sweeps", description=__doc__)
    parser.add_argument("--db", choices=("op_db", "module_db"), nargs="+", default=["op_db"])
    parser.add_argument("--dtype", choices=DTYPES, nargs="+", default=["float32"])
    parser.add_argument("--shapes", choices=("static", "dynamic"), nargs="+", default=["static"])
    parser.add_argument("--entry", nargs="+", default=["*"], help="names or patterns: 'linalg.*'")
    parser.add_argument("--samples", type=int, default=2, help="how many of each entry")
    parser.add_argument("--backend", default="cpu")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=120, help="seconds per cell")
    parser.add_argument("--results", type=Path, default=Path("build/sweep/results.jsonl"))
    parser.add_argument(
        "--any-version", action="store_true", help="keep results of other versions of the code"
    )
    parser.add_argument("--known", action="store_true", help="run nothing, report and record what is known")
    parser.add_argument(
        "--redo", nargs="+", default=[], choices=[o.value for o in Outcome], help="do these again"
    )
    parser.add_argument("--causes", type=Path, help="write there what keeps entries from running natively")
    parser.add_argument("--record", action="store_true", help="update coverage.csv and docs/coverage.md")
    return parser


def _cells(options: argparse.Namespace) -> Iterable[Cell]:
    import torch

    from tests.sweeps.databases import entries

    for database in options.db:
        for dtype in options.dtype:
            for entry in entries(database, getattr(torch, dtype)):
                if any(fnmatch.fnmatchcase(entry, pattern) for pattern in options.entry):
                    for shapes in options.shapes:
                        for sample in range(options.samples):
                            yield Cell(database, entry, dtype, sample, shapes, options.backend)


def _report(console: Console, results: dict[Cell, Result]) -> None:
    """Counts of cells by outcome."""
    for direction in ("forward", "backward"):
        counts = Counter(getattr(result, direction) for result in results.values())
        counted = sum(n for outcome, n in counts.items() if outcome not in NOT_OURS)
        share = 100 * counts[Outcome.NATIVE] / counted if counted else 0.0
        parts = ", ".join(f"{outcome} {counts[outcome]}" for outcome in Outcome if counts[outcome])
        console.print(f"{direction}: {parts}; native {share:.1f} % of {counted}")


def _causes_text(results: dict[Cell, Result]) -> str:
    """Failures first, then what keeps entries from running natively, by the number of entries."""
    lines = [
        f"{cell.key}: forward {result.forward}, backward {result.backward}: {result.reason}"
        for cell, result in results.items()
        if FAILURES & {result.forward, result.backward}
    ]
    lines += ["", "entries  cause"]
    ours = {c: r for c, r in results.items() if r.forward not in NOT_OURS}
    for cause, names in causes(ours):
        lines.append(f"{len(names):7d}  {cause}\n         {', '.join(names[:40])}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
