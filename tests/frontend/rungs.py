# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The rungs that a test runs on: the stages of the compilation as backends, up to compiled code."""

from typing import Any

import pytest

import flambeau

RUNGS = ("imported", "functional", "partitioned", "cpu")


def on(*names: str) -> Any:
    """On these rungs; what goes wrong on the first two goes wrong on the third as well, so they are slow tests."""
    return pytest.mark.parametrize(
        "backend", [pytest.param(n, marks=pytest.mark.slow if n in RUNGS[:2] else ()) for n in names]
    )


rungs = on(*RUNGS)
differentiating = on(*RUNGS[2:])  # autograd of ours, not the interpreter's use of PyTorch's


def compile_strictly(function: Any, backend: str = "partitioned", **options: Any) -> Any:
    return flambeau.compile(
        function, backend=backend, fullgraph=True, options={"fallback": "error"}, **options
    )
