# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tables of rules by op name: in a table, out the decorator that adds functions to it."""

from collections.abc import Callable, MutableMapping
from typing import TypeVar

_F = TypeVar("_F")


def registers(table: MutableMapping[str, _F], what: str) -> Callable[..., Callable[[_F], _F]]:
    """`@decorator("a", "b")` puts a function into `table` under both names; `what` the table holds, for errors.

    ValueError if a name has one already.
    """

    def decorator(*names: str) -> Callable[[_F], _F]:
        def register(function: _F) -> _F:
            for name in names:
                if name in table:
                    raise ValueError(f"two {what} for {name}")
                table[name] = function
            return function

        return register

    return decorator
