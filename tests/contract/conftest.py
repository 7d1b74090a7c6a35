# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The rungs as a fixture, and `state`, by which a test says that a row is refused or runs in eager."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import flambeau
from tests.contract.record import STATE
from tests.contract.rungs import RUNGS
from tests.frontend.conftest import _fresh_dynamo as _fresh_dynamo


@pytest.fixture(params=[pytest.param(r, marks=() if r == "partitioned" else pytest.mark.slow) for r in RUNGS])
def rung(request: pytest.FixtureRequest) -> Any:
    """A stage of the compilation: what goes wrong there went wrong in it, or in one before."""
    return request.param


class State:
    """What a test found instead of compiled code; docs/contract.md shows it."""

    def __init__(self, node: pytest.Item):
        self._node = node

    def _note(self, text: str) -> None:
        if (STATE, text) not in self._node.user_properties:
            self._node.user_properties.append((STATE, text))

    @contextmanager
    def eager(self, reason: str) -> Iterator[None]:
        """What runs in here is left to eager at least once: warned about, with `reason` in the text, and counted."""
        counters = ("graphs.eager", "calls.eager")
        before = sum(flambeau.counters[c] for c in counters)
        with pytest.warns(flambeau.FlambeauWarning, match=re.escape(reason)):
            yield
        assert sum(flambeau.counters[c] for c in counters) > before
        self._note(f"in eager (“{reason}”)")

    def left_by_dynamo(self, what: str) -> None:
        """TorchDynamo itself leaves something to eager, before any backend sees it."""
        self._note(f"left to eager by TorchDynamo (“{what}”)")

    @contextmanager
    def refused(self, error: type[BaseException], message: str) -> Iterator[None]:
        """What runs in here raises, with this text in the message."""
        with pytest.raises(error, match=re.escape(message)):
            yield
        self._note(f"refused (“{message}”)")


@pytest.fixture
def state(request: pytest.FixtureRequest) -> State:
    """By which a test says that compiled code does not cover what it tests."""
    return State(request.node)
