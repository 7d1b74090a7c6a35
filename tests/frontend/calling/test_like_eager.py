# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Around the compiled code: writes, views, aliasing, layouts and gradients are eager's, on every rung.

`cases` has the programs. What is a row of the contract in so many words is tested in tests/contract.
"""

from typing import Any

import pytest

import flambeau
from tests.frontend.calling.cases import CASES
from tests.frontend.rungs import RUNGS
from tests.oracle import assert_like_eager

# Compiled by default; IREE takes a second for each, so the others are slow tests there.
COMPILED_BY_DEFAULT = {
    "write_through_views",
    "write_strided_input",
    "write_into_new_tensor",
    "slices_of_slices",
    "write_with_another_dtype",
    "write_non_leaf",
    "write_under_no_grad",
    "return_view_of_written_non_leaf",
    "return_value_and_its_view",
    "return_clone_of_saved_value",
    "return_in_eager_layout",
    "requires_grad_first",
    "empty",
    "dtype_bfloat16",
    "dtype_uint8",
}


def _on_every_rung() -> list[Any]:
    slow = lambda name, rung: rung in RUNGS[:2] or (rung == "cpu" and name not in COMPILED_BY_DEFAULT)  # noqa: E731
    return [
        pytest.param(name, rung, marks=pytest.mark.slow if slow(name, rung) else (), id=f"{name}-{rung}")
        for rung in RUNGS
        for name in CASES
    ]


@pytest.mark.parametrize(("name", "backend"), _on_every_rung())
def test_like_eager(name: str, backend: str) -> None:
    function, make = CASES[name]
    assert_like_eager(function, make, backend=backend)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES))
def test_like_eager_with_dynamic_sizes(name: str) -> None:
    function, make = CASES[name]
    assert_like_eager(function, make, backend="partitioned", dynamic=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES))
def test_like_eager_where_all_is_saved(name: str) -> None:
    """What is saved is another choice; what the caller sees is not."""
    function, make = CASES[name]
    options = {"fallback": "error", "partitioner": "save-all"}
    compiled = flambeau.compile(function, backend="partitioned", fullgraph=True, options=options)
    assert_like_eager(function, make, compiled=compiled)
