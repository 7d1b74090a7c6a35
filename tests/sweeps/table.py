# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Results on disk: a line of JSON per cell while a sweep runs, a CSV row per entry and dtype as the record of it."""

import csv
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import flambeau
from tests.sweeps.cells import Cell, Outcome, Result

RECORD = Path(__file__).with_name("coverage.csv")
"""The recorded table."""

COLUMNS = ("forward", "backward", "forward dynamic", "backward dynamic")

Row = dict[str, Outcome]
"""Outcomes by column; what was not swept is missing."""

Table = dict[tuple[str, str, str], Row]
"""Rows by (database, entry, dtype)."""


def code_version() -> str:
    """A digest of the compiler's sources."""
    digest = hashlib.sha256()
    package = Path(flambeau.__file__).parent
    for folder in ("dialects", "pipelines", "runtime", "frontend"):
        for path in sorted((package / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Journal:
    """The results of a sweep, one line of JSON per cell, appended as they come."""

    path: Path

    def read(self, version: str | None) -> dict[Cell, Result]:
        """The last result of each cell; with a version, only those of that version of the code."""
        found: dict[Cell, Result] = {}
        if not self.path.exists():
            return found
        for line in self.path.read_text().splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # the sweep was killed while it wrote this line
            if version is None or entry["version"] == version:
                result = entry["result"]
                result |= {"forward": Outcome(result["forward"]), "backward": Outcome(result["backward"])}
                found[Cell(**entry["cell"])] = Result(**result)
        return found

    def append(self, cell: Cell, result: Result, version: str) -> None:
        line = json.dumps({"cell": asdict(cell), "version": version, "result": asdict(result)})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(line + "\n")


def table_of(results: Mapping[Cell, Result]) -> Table:
    """One row per entry and dtype: the worst of its samples."""
    table: Table = defaultdict(dict)
    for cell, result in results.items():
        row = table[cell.database, cell.entry, cell.dtype]
        for direction, outcome in (("forward", result.forward), ("backward", result.backward)):
            column = direction if cell.shapes == "static" else f"{direction} dynamic"
            row[column] = max(row.get(column, outcome), outcome, key=lambda o: o.rank)
    return dict(table)


def read_table(path: Path = RECORD) -> Table:
    """The recorded table, empty if there is none."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {
            (line["database"], line["entry"], line["dtype"]): {
                c: Outcome(line[c]) for c in COLUMNS if line[c]
            }
            for line in csv.DictReader(file)
        }


def write_table(table: Table, path: Path = RECORD) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["database", "entry", "dtype", *COLUMNS])
        for key, row in sorted(table.items()):
            writer.writerow([*key, *(row.get(column, "") for column in COLUMNS)])


def merged(old: Table, new: Table) -> Table:
    """The old table with what was swept anew."""
    return old | {key: old.get(key, {}) | row for key, row in new.items()}


def worsened(old: Table, new: Table) -> Iterator[str]:
    """What got worse, one line each."""
    for (database, entry, dtype), row in sorted(new.items()):
        was = old.get((database, entry, dtype), {})
        for column, outcome in row.items():
            if column in was and outcome.rank > was[column].rank:
                yield f"{database} {entry} {dtype}, {column}: {outcome}, was {was[column]}"


def summary(table: Table, column: str) -> Counter[Outcome]:
    """How many rows have which outcome."""
    return Counter(row[column] for row in table.values() if column in row)


def causes(results: Mapping[Cell, Result]) -> Iterable[tuple[str, list[str]]]:
    """Reasons, the most frequent first, each with the entries that it concerns."""
    found: dict[str, set[str]] = defaultdict(set)
    for cell, result in results.items():
        for line in filter(None, result.reason.split("\n")):
            found[_general(line)].add(cell.entry)
    return sorted(
        ((cause, sorted(names)) for cause, names in found.items()), key=lambda c: (-len(c[1]), c[0])
    )


def _general(cause: str) -> str:
    """A reason without what differs from entry to entry: files, shapes, numbers of values."""
    cause = re.sub(r"^(forward alone: )?\S+\.py:\d+: ", "", cause)
    cause = re.sub(r"(from: )?\S+\.(py|mlir)(:\d+)*", "", cause)
    cause = re.sub(r"tensor<[^>]*>|vtensor<[^>]*>", "tensor", cause)
    cause = re.sub(r"\[[-\d, ?]*\]", "[..]", cause)
    return re.sub(r"%\w+(:\d+)?", "%", cause)[:240]
