# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What cannot be captured is refused with the op and the user's line."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.testing._internal.two_tensor import TwoTensor

import flambeau
from flambeau.frontend.capture.dynamo import capture, capture_dynamo_graph
from flambeau.frontend.capture.records import UnsupportedGraphError
from tests.frontend.capture.captured import through_dynamo
from tests.oracle import assert_like_eager, close, numbers, plain


def _resize(x: torch.Tensor) -> torch.Tensor:
    y = x * 2
    y.resize_(2)
    return y


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        (lambda x: x + 1, [TwoTensor(torch.ones(2), torch.ones(2))], "TwoTensor"),
        (lambda x: x + 1, [torch.ones(2).to_sparse()], "layout"),
        (lambda x: x + 1, [torch.ones(2, dtype=torch.complex64)], "complex"),
        (lambda x: torch.fft.fft(x).abs(), [torch.ones(2)], "complex"),
        (_resize, [torch.ones(4)], "resize_.*storage"),
        (lambda x: (x * 2).set_(x + 1), [torch.ones(4)], "set_.*storage"),
        (lambda x: (x * 2).as_strided((2, 2), (1, 1)).mul_(3), [torch.ones(4)], "more than one element"),
        (lambda x: (x * 2).unfold(0, 2, 1).mul_(3), [torch.ones(4)], "more than one element"),
        (lambda x: x if x.sum() > 0 else -x, [torch.ones(4)], "DataDependent"),
        (lambda x: x + 1, [torch._subclasses.FakeTensorMode().from_tensor(torch.ones(2))], "someone else"),
    ],
)
def test_refusals_name_op_and_line(function: Callable[..., Any], args: list[Any], message: str) -> None:
    with pytest.raises(UnsupportedGraphError, match=message) as caught:
        capture(function, args)
    if caught.value.location is not None:
        assert caught.value.location[0] == __file__
        assert str(caught.value).startswith(f"{__file__}:{caught.value.location[1]}: ")


def test_refusal_through_dynamo_names_the_line() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        return torch.view_as_complex(y).abs()

    with pytest.raises(torch._dynamo.exc.BackendCompilerFailed) as caught:
        through_dynamo(function, torch.ones(2, 2))
    error = caught.value.inner_exception
    assert isinstance(error, UnsupportedGraphError)
    assert error.location == (__file__, function.__code__.co_firstlineno + 2)


def test_one_tensor_twice_is_refused() -> None:
    x = torch.ones(2)
    with pytest.raises(UnsupportedGraphError, match="twice"):
        capture(lambda a, b: a + b, [x, x])


def test_a_module_that_replaces_a_buffer_is_refused() -> None:
    class Replaces(nn.Module):
        steps: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("steps", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.steps = self.steps + 1
            return x * self.steps

    model = Replaces()
    with pytest.raises(UnsupportedGraphError, match=r"self\.steps"):
        capture(model, [torch.ones(2)])
    assert model.steps.item() == 0


def test_data_pointer_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Cannot access data pointer"):
        capture(lambda x: x + x.data_ptr(), [torch.ones(2)])


def test_grad_mode_inside_a_body_without_records_is_refused() -> None:
    from torch._higher_order_ops import while_loop_stack_output

    def quiet(x: torch.Tensor) -> tuple[torch.Tensor]:
        with torch.no_grad():
            return (x.sin(),)

    def function(x: torch.Tensor) -> Any:
        return while_loop_stack_output(lambda x: x.sum() > 0, quiet, (x,), ())

    with pytest.raises(torch._dynamo.exc.BackendCompilerFailed, match="grad mode"):
        through_dynamo(function, torch.ones(2, requires_grad=True))


def test_outside_a_backend() -> None:
    with pytest.raises(RuntimeError, match=r"torch\.compile backend"):
        capture_dynamo_graph(fx.symbolic_trace(lambda x: x + 1), [torch.ones(2)])


def test_an_op_out_of_sight_is_refused() -> None:
    """Below autograd torch opens composite ops by itself: their parts would have no records."""

    def function(x: torch.Tensor) -> torch.Tensor:
        with torch._C._AutoDispatchBelowAutograd():
            return F.linear(x, x)

    with pytest.raises(UnsupportedGraphError, match="out of sight"):
        capture(function, [torch.ones(2, 2)])


def test_windows_that_overlap_at_other_sizes_are_not_written() -> None:
    """There is one window at the first call, which is no reason to compile for any number of them."""
    compiled = flambeau.compile(lambda x: x[1:].unfold(0, 3, 2).mul_(2), backend="functional", dynamic=True)
    with pytest.warns(flambeau.FlambeauWarning, match="more than one element"):
        compiled(torch.ones(4))
    x, y = torch.ones(8), torch.ones(8)
    compiled(x)
    y[1:].unfold(0, 3, 2).mul_(2)
    close(x, y, "input")


def test_one_tensor_for_both_statistics_runs_in_eager() -> None:
    """What is left in it depends on the order in which PyTorch's kernel writes them."""

    def function(x, statistics):
        return torch.nn.functional.batch_norm(x, statistics, statistics, training=True)

    make = plain(lambda: numbers(3, 2), lambda: numbers(2).abs())
    with pytest.warns(flambeau.FlambeauWarning, match="more than one element"):
        assert_like_eager(function, make, backend="functional", fallback="eager")
