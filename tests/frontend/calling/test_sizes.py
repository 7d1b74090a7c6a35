# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Numbers among the arguments, and sizes that guards know something of."""

import torch

from tests.frontend.rungs import compile_strictly, on, rungs
from tests.oracle import assert_like_eager, close, numbers, plain


@rungs
def test_arguments_that_are_no_tensors(backend: str) -> None:
    def function(a, none, x, scale, flag):
        return x * a * scale if flag and none is None else x

    compiled = compile_strictly(function, backend)
    for arguments in (
        (2, None, numbers(3), 0.5, True),
        (3, None, numbers(3), 0.25, True),
        (3, None, numbers(3), 2.5, True),
    ):
        close(compiled(*arguments), function(*arguments), "output")


@on("partitioned", "cpu")
def test_what_is_left_of_a_size_is_written(backend: str) -> None:
    """The second chunk of s columns has s - (s + 1) // 2."""

    def function(x):
        x.chunk(2, 1)[1].fill_(2)
        return x + 1

    assert_like_eager(function, plain(lambda: numbers(4, 4)), backend=backend, dynamic=True)


@on("functional", "cpu")
def test_sizes_that_a_guard_makes_1(backend: str) -> None:
    """What broadcasts must be known to, and what is written must have one size on both sides."""

    def pooled(x):
        halves = torch.nn.functional.avg_pool1d(x, 2)
        return torch.addcmul(x, halves, x), halves.expand(2, 3) + 1

    def copied(x, y):
        y.copy_(x.diagonal(1))
        return y * 2

    def window(x):
        y = x * 1
        y.unfold(0, 2, 2).mul_(2)
        return y

    assert_like_eager(window, plain(lambda: numbers(3)), backend=backend, dynamic=True)
    assert_like_eager(pooled, plain(lambda: numbers(2, 2)), backend=backend, dynamic=True)
    assert_like_eager(copied, plain(lambda: numbers(2, 2), lambda: numbers(2)), backend=backend, dynamic=True)
