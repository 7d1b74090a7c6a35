# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The table of scalar forms, which the modules beside this one fill."""

from collections.abc import Callable
from typing import Any, TypeVar

from flambeau.dialects.rules import registers

Form = Callable[..., Any]
FORMS: dict[str, Form] = {}

_form = registers(FORMS, "scalar forms")
_F = TypeVar("_F", bound=Form)


def form(*names: str) -> Callable[[_F], _F]:
    """`@form("add")`: the function computes an element of `flambeau.add`.

    It gets the op's fields in declared order, operands as `Value`s (None if absent), attributes as Python values; it
    returns a `Value` (a list if the op has several results).
    """

    def register(function: _F) -> _F:
        _form(*(f"flambeau.{name}" for name in names))(function)
        return function

    return register
