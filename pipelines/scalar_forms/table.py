# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The table of scalar forms, which the modules beside this one fill."""

from collections.abc import Callable
from typing import Any

from flambeau.dialects.rules import registers

Form = Callable[..., Any]
FORMS: dict[str, Form] = {}

_form = registers(FORMS, "scalar forms")


def form(*names: str) -> Callable[[Form], Form]:
    """`@form("add")`: the function computes an element of `flambeau.add`.

    It gets the op's fields in declared order, operands as `Value`s (None if absent), attributes as Python values; it
    returns a `Value` (a list if the op has several results).
    """
    return _form(*(f"flambeau.{name}" for name in names))
