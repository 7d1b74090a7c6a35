# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Programs that must be like eager on every rung: a function that is decorated with `case` is one."""

from collections.abc import Callable
from typing import Any

from tests.oracle import Make

Function = Callable[..., Any]
CASES: dict[str, tuple[Function, Make]] = {}


def case(make: Make) -> Callable[[Function], Function]:
    """Add a function with its arguments to the cases that are like eager on every rung."""

    def add(function: Function) -> Function:
        CASES[function.__name__] = (function, make)
        return function

    return add
