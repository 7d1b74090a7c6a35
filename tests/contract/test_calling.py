# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""C22 to C25: what goes in and comes out besides tensors."""

from pathlib import Path
from typing import Any

import torch

from flambeau.dialects.walk import operations
from tests.contract.rungs import RUNGS, counted, parsed, signatures, stages, strict
from tests.oracle import assert_like_eager, close, leaf, numbers, plain


def test_c22_numbers_none_and_scalar_tensors(rung: str) -> None:
    def function(a: int, none: None, x: torch.Tensor, scale: float, flag: bool, y: torch.Tensor) -> Any:
        z = x * a * scale if flag and none is None else x
        return z * y, y + 1

    def make() -> Any:
        x, y = leaf(3), leaf()
        return [x, y], [2, None, x, 0.5, True, y]

    assert_like_eager(function, make, backend=rung)


def test_c23_containers(rung: str) -> None:
    def function(x: torch.Tensor, y: torch.Tensor) -> Any:
        z = y + x
        return {"a": x, "b": z, "c": [z, (x * 2, None)]}, [z, 7]

    assert_like_eager(function, plain(lambda: leaf(3), lambda: leaf(3)), backend=rung)
    assert_like_eager(lambda x: [x * 2], plain(lambda: leaf(3)), backend=rung)


def test_c24_sizes_as_outputs(rung: str, tmp_path: Path) -> None:
    """They are ints, and have no tangent."""
    compiled = strict(
        lambda x: [x + 1, x.shape[0], x.shape[0] * 2 + 1], rung, dynamic=True, options={"dump": tmp_path}
    )
    with counted("graphs") as graphs:
        for size in (3, 5, 7):
            x = leaf(size)
            y, n, m = compiled(x)
            assert (n, m) == (size, 2 * size + 1) and type(n) is int
            close(torch.autograd.grad(y.sum(), x)[0], torch.ones(size), "gradient")
        assert graphs() == 1
    if rung != RUNGS[0]:
        backward = signatures(stages(tmp_path)["partition"])["backward"]
        assert [a.role for a in backward.arguments].count("tangent") == 1


def test_c25_every_value_is_typed(rung: str, tmp_path: Path) -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        x.add_(1)
        x[0].mul_(2)
        return x.sum()

    strict(function, rung, options={"dump": tmp_path})(numbers(3, 4))
    kinds = ("tensor<", "!flambeau.ref<tensor<", "index", "!torch", "i64", "i1", "f32", "f64")
    for path in stages(tmp_path).values():
        module = parsed(path)
        types = [str(r.type) for op in operations(module) for r in op.results]
        assert types and all(t.startswith(kinds) for t in types), path
