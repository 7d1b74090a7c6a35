# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""docs/contract.md is current: it lists the rows and tests that exist, and enough of the rows hold."""

import pytest

from tests.contract.mutants import MUTANTS
from tests.contract.page import PAGE, mutants_on, rows_on
from tests.contract.record import existing_tests
from tests.contract.rows import ROWS

pytestmark = pytest.mark.checkout


def test_every_row_has_a_test() -> None:
    assert sorted(existing_tests()) == sorted(ROWS)


def test_the_page_lists_the_existing_tests() -> None:
    listed = {row: tests for row, (_, tests) in rows_on(PAGE.read_text()).items()}
    existing = {row: sorted(tests) for row, tests in existing_tests().items()}
    assert listed == existing, "run `python -m tests.contract`"


def test_the_page_shows_rows_that_hold() -> None:
    states = {row: state for row, (state, _) in rows_on(PAGE.read_text()).items()}
    assert not [row for row, state in states.items() if "fails" in state]
    assert sum(state.startswith("holds") for state in states.values()) >= 70


def test_the_page_shows_that_each_mutant_was_noticed() -> None:
    noticed = mutants_on(PAGE.read_text())
    assert noticed.keys() == MUTANTS.keys(), "run `python -m tests.contract.mutants`"
    for name, mutant in MUTANTS.items():
        assert mutant.rows <= set(noticed[name]), name
