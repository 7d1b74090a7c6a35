# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The rules that form kernels, on programs written as records."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.dialects.calls.kernel import Kind
from flambeau.pipelines.kernels.grouping import (
    FEWEST_ROWS,
    LINEAR,
    SMALL,
    Place,
    Read,
    Role,
    Step,
    compose,
    form_groups,
    may_read_back,
)

ROWS = (64, 300)
SAME, COLUMN_OF_ROW, ALONG_LAST = (0, 1), (0, None), (None, 0)


def pointwise(*reads: tuple[int, Place], shape: tuple[int, ...] = ROWS) -> Step:
    return Step(Role.POINTWISE, shape, tuple(Read(*r) for r in reads))


def reduction(
    *reads: tuple[int, Place], dims: Sequence[int] = (1,), shape: tuple[int, ...] = ROWS, kept: bool = False
) -> Step:
    return Step(Role.REDUCTION, shape, tuple(Read(*r) for r in reads), reduced=frozenset(dims), kept=kept)


def contraction(*reads: tuple[int, Place], shape: tuple[int, ...] = ROWS) -> Step:
    return Step(Role.CONTRACTION, shape, tuple(Read(n, None) for n, _ in reads))


def program(*steps: Step, returned: Sequence[int] = ()) -> list[Step]:
    """Steps with their users."""
    return [
        replace(
            step,
            users=frozenset(u for u, other in enumerate(steps) if any(r.producer == n for r in other.reads)),
            escapes=n in returned,
        )
        for n, step in enumerate(steps)
    ]


def groups(*steps: Step, returned: Sequence[int] = ()) -> list[list[int]]:
    return [group.steps for group in form_groups(program(*steps, returned=returned))]


def kinds(*steps: Step) -> list[Kind]:
    return [group.kind for group in form_groups(program(*steps))]


def test_a_chain_of_pointwise_steps_is_one_kernel() -> None:
    assert groups(pointwise(), pointwise((0, SAME)), pointwise((1, SAME), (0, SAME))) == [[0, 1, 2]]


def test_a_softmax_is_one_kernel_of_rows() -> None:
    steps = (
        reduction(kept=True),  # maximum
        pointwise((0, COLUMN_OF_ROW)),  # less it
        pointwise((1, SAME)),
        reduction((2, SAME), kept=True),
        pointwise((2, SAME), (3, COLUMN_OF_ROW)),
    )
    assert groups(*steps) == [[0, 1, 2, 3, 4]]
    assert kinds(*steps) == [Kind.ROW]


def test_what_follows_a_reduction_for_each_row_stays_with_it() -> None:
    assert groups(reduction(), pointwise((0, (0,)), shape=(64,))) == [[0, 1]]


@pytest.mark.parametrize("shape", [(64, 64), ROWS])
def test_a_row_sum_read_along_the_other_axis_is_finished_first(shape: tuple[int, ...]) -> None:
    square = (shape[0], shape[0])
    both = pointwise((0, ALONG_LAST), (0, COLUMN_OF_ROW), shape=square)
    assert groups(reduction(shape=shape), both) == [[0], [1]]
    alone = pointwise((0, ALONG_LAST), shape=square)
    assert groups(reduction(shape=shape), alone) == [[0], [1]]


def test_a_diagonal_is_no_place() -> None:
    """Both dims of the reader along one dim of the kernel."""
    assert groups(reduction(shape=(4, 4)), pointwise((0, (0, 0)), shape=(4, 4))) == [[0], [1]]


def test_a_view_of_another_kind_ends_a_kernel() -> None:
    assert groups(pointwise(), pointwise((0, None))) == [[0], [1]]


def test_a_reshaped_product_takes_its_activation() -> None:
    assert groups(contraction(shape=(64, 300)), pointwise((0, LINEAR), shape=(8, 8, 300))) == [[0, 1]]


def test_rows_of_a_product_are_reduced_by_another_kernel() -> None:
    steps = (contraction(), pointwise((0, SAME)), reduction((1, SAME)))
    assert groups(*steps) == [[0, 1], [2]]
    assert kinds(*steps) == [Kind.CONTRACTION, Kind.ROW]


def test_two_products_are_two_kernels() -> None:
    assert groups(contraction(), contraction(), pointwise((0, SAME), (1, SAME))) == [[0], [1, 2]]


def test_column_sums_take_what_only_they_read() -> None:
    alone = (pointwise(), reduction((0, SAME), dims=(0,)))
    assert groups(*alone) == [[0, 1]]
    assert kinds(*alone) == [Kind.COLUMN]
    assert groups(*alone, returned=[0]) == [[0], [1]]
    assert groups(*alone, pointwise((0, None))) == [[0], [1], [2]]


def test_column_sums_are_not_read_back_where_they_are_computed() -> None:
    steps = (pointwise(), reduction((0, SAME), dims=(0,)), pointwise((1, (None, 0))))
    assert groups(*steps) == [[0, 1], [2]]


def test_kernels_that_would_wait_for_each_other_are_not_formed() -> None:
    """Step 3 reads 0 at its place and 2 elsewhere; 2 reads 0 elsewhere."""
    steps = (pointwise(), pointwise((0, SAME)), contraction((0, None)), pointwise((1, SAME), (2, None)))
    assert groups(*steps) == [[0, 1], [2], [3]]


def test_few_long_rows_are_not_read_back() -> None:
    assert may_read_back((FEWEST_ROWS, 10**6), {1})
    assert not may_read_back((FEWEST_ROWS - 1, 10**6), {1})
    assert may_read_back((2, SMALL // 2), {1})
    assert may_read_back(("rows", 10**6), {1})
    assert not may_read_back((64, 64), {0})
    assert not may_read_back((64,), {0})


def test_composition_of_places() -> None:
    assert compose((0, None), (1,), 1) == (1, None)
    assert compose(LINEAR, (0, 1), 2) is LINEAR
    assert compose(LINEAR, (1, 0), 2) is None
    assert compose((0,), LINEAR, 1) is LINEAR
    assert compose((None, 0), LINEAR, 1) is None
    assert compose(None, (0,), 1) is None


@st.composite
def programs(draw: st.DrawFn) -> list[Step]:
    """Any steps that read earlier ones in any way that fits their ranks."""
    steps: list[Step] = []
    for _ in range(draw(st.integers(1, 12))):
        reads = []
        for producer in draw(st.lists(st.integers(0, len(steps) - 1), max_size=3)) if steps else ():
            rank = len(steps[producer].result_place)
            dims = st.lists(st.sampled_from([None, *range(rank)]), min_size=2, max_size=2).map(tuple)
            reads.append(Read(producer, draw(st.one_of(dims, st.sampled_from([LINEAR, None])))))
        role = draw(st.sampled_from(Role))
        reduced = (
            frozenset(draw(st.sampled_from([(0,), (1,), (0, 1)]))) if role is Role.REDUCTION else frozenset()
        )
        kept = role is Role.REDUCTION and draw(st.booleans())
        reads = reads[:1] if role is Role.REDUCTION else reads
        steps.append(Step(role, (16, 16), tuple(reads), reduced=reduced, kept=kept))
    return program(*steps, returned=draw(st.lists(st.integers(0, len(steps) - 1), max_size=3)))


@given(programs())
def test_each_step_is_in_one_kernel_after_those_that_it_reads(steps: list[Step]) -> None:
    formed = form_groups(steps)
    assert sorted(n for group in formed for n in group.steps) == list(range(len(steps)))
    position = {n: index for index, group in enumerate(formed) for n in group.steps}
    for number, step in enumerate(steps):
        for read in step.reads:
            assert position[read.producer] <= position[number]


@given(programs())
def test_every_value_of_a_kernel_is_read_where_it_is_computed(steps: list[Step]) -> None:
    """What makes kernels right, stated without the code that forms them."""
    for group in form_groups(steps):
        for number in group.steps:
            step = steps[number]
            for read in (r for r in step.reads if r.producer in group.places):
                inside = group.places[read.producer]
                lies = compose(read.place, inside, len(steps[read.producer].result_place))
                assert lies is not None
                if isinstance(lies, tuple) and step.role is Role.POINTWISE:
                    own = group.places[number]
                    assert isinstance(own, tuple)
                    assert all(d is None or d == o for d, o in zip(lies, own, strict=True))
        if group.reduced is not None:
            assert group.kind in (Kind.ROW, Kind.COLUMN)
