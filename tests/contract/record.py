# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The outcomes of the contract's tests: a pytest plugin that collects them by row and test."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.contract.rows import ROWS

FOLDER = Path(__file__).parent

STATE = "state"
"""The property of a pytest item under which a test notes what it found instead of compiled code."""

_TEST = re.compile(r"test_(c\d\d)_\w+")


@dataclass
class Test:
    """All runs of one test function, on its rungs and with its parameters."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)  # the parameters of the runs that did
    states: dict[str, None] = field(default_factory=dict)  # what it found instead of compiled code

    __test__ = False


class Record:
    """The plugin. `tests`: by row and name."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[str, Test]] = defaultdict(lambda: defaultdict(Test))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note one test; one that fails before or after it runs has failed."""
        name, _, parameters = report.nodeid.rpartition("::")[2].partition("[")
        matched = _TEST.fullmatch(name)
        if matched is None or report.skipped or (report.when != "call" and report.passed):
            return
        test = self.tests[matched[1].upper()][name]
        if report.failed:
            test.failed.append(parameters.rstrip("]"))
        else:
            test.passed += 1
            test.states |= dict.fromkeys(str(v) for k, v in report.user_properties if k == STATE)

    @property
    def failed(self) -> dict[str, list[str]]:
        """The tests that failed on some run, by row."""
        found = {row: [n for n, t in tests.items() if t.failed] for row, tests in self.tests.items()}
        return {row: found[row] for row in ROWS if found.get(row)}


def run(*arguments: str) -> Record:
    """Run the contract's tests in this process, with pytest's `arguments`."""
    record = Record()
    others = [f"--ignore={FOLDER / name}" for name in ("test_page.py", "test_mutants.py")]
    pytest.main([str(FOLDER), "-q", "--no-header", *others, *arguments], plugins=[record])
    return record


def existing_tests() -> dict[str, list[str]]:
    """The names of the tests by row, read from the sources."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(FOLDER.glob("test_*.py")):
        for match in re.finditer(rf"^def ({_TEST.pattern})\(", path.read_text(), re.MULTILINE):
            found[match[2].upper()].append(match[1])
    return found


def state_of(tests: Sequence[Test]) -> str:
    """What docs/contract.md says of a row."""
    if any(t.failed for t in tests):
        return "**fails**"
    states = list(dict.fromkeys(state for t in tests for state in t.states))
    found = "; ".join(states)
    if any(not t.states for t in tests):
        return f"holds; some of it {found}" if found else "holds"
    return found
