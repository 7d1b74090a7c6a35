# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The programs of docs/beyond.md come out as in eager, and the page has them all."""

import pytest

import flambeau
from tests.contract.beyond import COMPILERS, PAGE, PROGRAMS, alike, outcome
from tests.contract.rungs import STRICT

LEFT_TO_EAGER = (
    "Arguments that lie apart in one call and overlap in the next",
    "A write to an expanded tensor",
)


@pytest.mark.parametrize("title", PROGRAMS)
def test_flambeau_is_eagers(title: str, rung: str) -> None:
    options = {} if title in LEFT_TO_EAGER else STRICT
    wanted = outcome(PROGRAMS[title], COMPILERS["eager"])
    found = outcome(PROGRAMS[title], flambeau.compile(backend=rung, options=options))
    assert alike(found, wanted), f"{found}, in eager {wanted}"


@pytest.mark.checkout
def test_the_page_has_all_programs() -> None:
    titles = [line.removeprefix("## ") for line in PAGE.read_text().splitlines() if line.startswith("## ")]
    assert titles == list(PROGRAMS), "run `python -m tests.contract.beyond`"
