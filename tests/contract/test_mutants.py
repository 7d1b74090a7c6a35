# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Some mutants, and the rows that notice them; all of them are in docs/contract.md."""

import pytest

from tests.contract.mutants import rows_that_notice


@pytest.mark.slow
@pytest.mark.parametrize(("name", "row"), [("written-input-read-later", "C42"), ("clones-for-views", "C48")])
def test_a_mutant_is_noticed(name: str, row: str) -> None:
    assert rows_that_notice(name, "-k", f"{row.lower()} and partitioned") == [row]
