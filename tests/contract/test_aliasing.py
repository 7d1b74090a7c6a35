# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""C47 to C53: whose memory is whose: outputs that are views, arguments that overlap."""

from pathlib import Path
from typing import Any

import pytest
import torch

import flambeau
from flambeau.dialects import functions as fn
from flambeau.frontend.capture.shared_memory import meet, place_of
from tests.contract.conftest import State
from tests.contract.rungs import counted, interpreted, parsed, stages, strict
from tests.oracle import Make, assert_like_eager, close, leaf, numbers, of_leaf, plain


def test_c47_outputs_that_are_views_of_arguments(rung: str) -> None:
    def views(x: torch.Tensor, y: torch.Tensor) -> Any:
        return x.t(), x[1], x.view(2, 6), x.detach(), y[1:, ::2], y.expand(2, 3, 4), y

    assert_like_eager(views, plain(lambda: leaf(3, 4), lambda: numbers(3, 4)), backend=rung)
    assert_like_eager(lambda x: (x[1:, 1:], x.t()), of_leaf(lambda a: [(a * 1)[1:]], 3, 4), backend=rung)

    def of_written(x: torch.Tensor) -> Any:
        x.mul_(2)
        return x.t(), x, x[0]

    assert_like_eager(of_written, of_leaf(lambda a: [a * 1], 3, 4), backend=rung)


def test_c47_a_write_to_either_is_seen_in_the_other(rung: str) -> None:
    a = numbers(3, 4)
    view = strict(lambda a: a.t()[1:], rung)(a)
    a.add_(1)
    close(view, numbers(3, 4).t()[1:] + 1, "the view, after a write to the argument")
    view.add_(1)
    close(a[:, 1:], numbers(3, 4)[:, 1:] + 2, "the argument, after a write to the view")


def test_c48_outputs_that_share_memory(rung: str) -> None:
    def function(x: torch.Tensor) -> Any:
        a, b, c, d, e = (x * k for k in range(2, 7))
        d[0].add_(1)
        return a, a.view(-1), b.t(), b[1], (c + 1).t(), d[0], d, e.detach(), e

    assert_like_eager(function, plain(lambda: leaf(3, 4)), backend=rung)
    found = strict(lambda x: ((y := x * 2), y.view(-1)), rung)(numbers(3, 4))
    found[0].mul_(2)
    close(found[1], numbers(12) * 4, "output 1, after a write to output 0")


def test_c48_outputs_under_no_grad_that_share_memory(rung: str) -> None:
    def function(x: torch.Tensor) -> Any:
        h = x.tanh()
        with torch.no_grad():
            v = h.view(-1)
            w = x[0]
        return v, h, w

    assert_like_eager(function, plain(lambda: leaf(3, 4)), backend=rung)


def test_c48_equal_values_and_copies_share_nothing(rung: str) -> None:
    def function(x: torch.Tensor) -> Any:
        y = x.exp()
        z = x * 2
        return y.clone(), z, z.clone(), z + 0, x * 2, x.clone(), x.t().contiguous(), x.t().reshape(-1)

    assert_like_eager(function, plain(lambda: leaf(3, 4)), backend=rung)


def test_c49_several_views_of_one_op(rung: str) -> None:
    def function(x: torch.Tensor, y: torch.Tensor) -> Any:
        return x.unbind(0), y.sin().chunk(2), (y * 2).split([1, 3])

    assert_like_eager(function, plain(lambda: leaf(4, 3), lambda: leaf(4, 3)), backend=rung)


def test_c49_a_write_to_one_of_several_views_raises(rung: str, state: State) -> None:
    def function(x: torch.Tensor) -> Any:
        a, b = x.sin().unbind(0)
        a.mul_(2)
        return a + b

    text = "is a view and is being modified inplace"
    with pytest.raises(RuntimeError, match=text):
        function(leaf(2, 3))
    with pytest.raises(Exception, match=text):
        strict(function, rung)(leaf(2, 3))
    # What comes out of the graph is several views, too.
    compiled = strict(lambda x: x.sin().unbind(0), rung)
    with pytest.raises(RuntimeError, match=text):
        compiled(leaf(2, 3))[0].mul_(2)


def test_c50_views_of_dynamic_sizes(rung: str) -> None:
    def function(x: torch.Tensor, scale: torch.Tensor) -> Any:
        y = x * 2
        return x.t(), y.view(-1)[::2], y[:, 1:], y.squeeze(), (x.sum().reshape(1).squeeze() * scale)

    compiled = strict(function, rung, dynamic=True)
    with counted("graphs") as graphs:
        for size in (3, 5, 8):
            make = plain(lambda n=size: leaf(n, 4), lambda: numbers())
            assert_like_eager(function, make, compiled=compiled)
        assert graphs() == 1


def test_c50_views_of_sizes_that_depend_on_data(rung: str) -> None:
    def function(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return torch.unique(x).reshape(1, -1).squeeze() * scale

    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        compiled = flambeau.compile(function, backend=rung, fullgraph=True)
        for values in ([1.0, 2.0, 2.0], [3.0, 1.0, 2.0]):
            x = torch.tensor(values)
            found, expected = compiled(x, torch.tensor(2.0)), function(x, torch.tensor(2.0))
            close(found, expected, "output")
            assert found.stride() == expected.stride()


# --- Arguments that overlap ------------------------------------------------------------------------------------------


def _shift(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x.add_(1)
    return x + y


def _write_both(x: torch.Tensor, y: torch.Tensor) -> Any:
    before = y.exp()
    x.mul_(2)
    y[1:].add_(x[:-1] * 3)
    return before * x, x.t() if x.dim() == 2 else x[1:], y


def _unseen(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        x.mul_(3)
    return (y * y).sum()


def _overlapping(offset: int = 2) -> Any:
    a = numbers(6)
    return [a], [a[:4], a[offset : offset + 4]]


def _same_row() -> Any:
    x = numbers(2, 3)
    return [x], [x[0], x[0]]


def _of_non_leaf() -> Any:
    a = leaf(6)
    x = a * 1
    return [a], [x[:4], x[2:]]


def _base_and_view() -> Any:
    a = leaf(3, 3)
    x = a * 1
    return [a], [x, x.t()]


def _like_eager_with_overlaps(make: Make, rung: str) -> None:
    """Three functions in one graph, each with arguments of its own."""

    def function(*arguments: torch.Tensor) -> Any:
        pairs = [arguments[i : i + 2] for i in (0, 2, 4)]
        return [f(*pair) for f, pair in zip((_shift, _write_both, _unseen), pairs, strict=True)]

    def three_times() -> Any:
        made = [make() for _ in range(3)]
        return [a for leaves, _ in made for a in leaves], [a for _, pair in made for a in pair]

    assert_like_eager(function, three_times, backend=rung)


@pytest.mark.parametrize("make", [_of_non_leaf, _base_and_view])
def test_c51_written_arguments_that_overlap(make: Make, rung: str) -> None:
    """A write to one is seen in the other, and gradients know of it."""
    _like_eager_with_overlaps(make, rung)


@interpreted
@pytest.mark.parametrize("make", [_overlapping, _same_row])
def test_c51_without_gradients(make: Make, rung: str) -> None:
    _like_eager_with_overlaps(make, rung)


def test_c51_without_a_common_base(rung: str, state: State) -> None:
    """PyTorch counts the writes to such tensors apart, so there is none to write to in their place."""

    def make() -> Any:
        a = numbers(6)
        return [a], [a, torch.empty(0).set_(a.untyped_storage(), 1, (6 - 1,), (1,))[:4].resize_(5)]

    def function(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        x.add_(1)
        return x[1:] + y

    with state.eager("share memory that the graph writes"):
        assert_like_eager(function, make, backend=rung, fallback="eager")
    compiled = strict(function, rung)
    (a,), arguments = make()
    with pytest.raises(Exception, match="share memory"):
        compiled(*arguments)
    close(a, numbers(6), "a refused call must not write")


def _interleaved() -> Any:
    x = numbers(4, 6)
    return [x], [x[:, 0:2], x[:, 2:4]]


def test_c52_arguments_that_do_not_meet(rung: str, tmp_path: Path) -> None:
    """One storage, but disjoint elements, or nobody writes: compiled as two tensors."""
    for function, make in ((_shift, _interleaved), (lambda x, y: x + y, _overlapping)):
        compiled = strict(function, rung, options={"dump": tmp_path / make.__name__})
        assert_like_eager(function, make, compiled=compiled)
        imported = parsed(stages(tmp_path / make.__name__)["imported"])
        (graph,) = fn.functions(imported)
        assert len(graph.type.inputs) == 2

    def views(x: torch.Tensor, y: torch.Tensor) -> Any:
        x.mul_(2)
        y.add_(1)
        return y[0], x[:, 1]

    assert_like_eager(views, _interleaved, backend=rung)


@pytest.mark.parametrize(
    ("size", "stride", "offset", "other", "shared"),
    [
        ((4,), (1,), 0, ((4,), (1,), 4), False),
        ((4,), (1,), 0, ((4,), (1,), 3), True),
        ((4,), (2,), 0, ((4,), (2,), 1), False),
        ((2, 2), (6, 1), 4, ((2, 2), (6, 1), 8), False),
        ((2, 3), (4, 1), 0, ((2, 2), (4, 1), 2), True),
        ((2, 2, 2), (12, 4, 1), 0, ((2, 2, 2), (12, 4, 1), 2), False),
        ((3, 3), (3, 1), 0, ((3,), (4,), 0), True),
        ((3, 0), (3, 1), 0, ((9,), (1,), 0), False),
    ],
)
def test_c52_whether_elements_are_shared(
    size: Any, stride: Any, offset: int, other: Any, shared: bool
) -> None:
    memory = torch.arange(40)
    a, b = memory.as_strided(size, stride, offset), memory.as_strided(*other)
    assert bool(set(a.flatten().tolist()) & set(b.flatten().tolist())) == shared
    assert meet(place_of(a), place_of(b)) == meet(place_of(b), place_of(a)) == shared


def test_c53_other_overlaps_compile_again(rung: str) -> None:
    def apart() -> Any:
        a = numbers(8)
        return [a], [a[:4], a[4:]]

    compiled = strict(_shift, rung)
    with counted("graphs") as graphs:
        for make in (_overlapping, apart, _overlapping):
            (a, arguments), (b, expected) = make(), make()
            close(compiled(*arguments), _shift(*expected), "output")
            close(a[0], b[0], "the shared memory")
        assert graphs() == 2


@interpreted
def test_c53_overlaps_that_nobody_guards(rung: str, state: State) -> None:
    """Overlapping after apart, in memory of their own, or overlapping by another distance: noticed at the call."""
    compiled = flambeau.compile(_shift, backend=rung)
    close(compiled(numbers(4), numbers(4)), _shift(numbers(4), numbers(4)), "apart")
    for offset in (2, 1):
        with state.eager("shares memory with"):
            (a,), arguments = _overlapping(offset)
            (b,), expected = _overlapping(offset)
            close(compiled(*arguments), _shift(*expected), "overlapping")
            close(a, b, "the shared memory")
    close(compiled(numbers(4), numbers(4)), _shift(numbers(4), numbers(4)), "apart again")


@interpreted
def test_c53_another_distance_or_other_memory(rung: str) -> None:
    compiled = strict(_shift, rung)
    compiled(*_overlapping(2)[1])
    for others in (_overlapping(1)[1], [numbers(4), numbers(4)]):
        before = [t.clone() for t in others]
        with pytest.raises(flambeau.CompilationError, match="lies in memory otherwise"):
            compiled(*others)
        assert all(torch.equal(a, b) for a, b in zip(others, before, strict=True))


def test_c53_a_hundred_views(rung: str) -> None:
    def function(views: list[torch.Tensor]) -> torch.Tensor:
        views[0].add_(1)
        return torch.stack(views[:4]).sum()

    def make() -> Any:
        x = numbers(100, 2)
        return [x], [list(x.unbind(0))]

    assert_like_eager(function, make, backend=rung)
