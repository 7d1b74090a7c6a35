# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Around the compiled code: writes, views, aliasing, layouts, gradients and random numbers are eager's, on every rung."""

import threading
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import flambeau
from tests.oracle import Make, assert_like_eager, close, weights_like

RUNGS = ("imported", "functional", "partitioned", "cpu")
rungs = pytest.mark.parametrize("backend", RUNGS)

Function = Callable[..., Any]
CASES: dict[str, tuple[Function, Make]] = {}


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Values that differ from element to element, of both signs, none of them 0."""
    count = torch.Size(shape).numel()
    return (torch.sin(torch.arange(count, dtype=torch.float64) * 1.7 + 0.3) * 2).reshape(shape).to(dtype)


def leaf(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return numbers(*shape, dtype=dtype).requires_grad_()


def plain(*tensors: Callable[[], torch.Tensor]) -> Make:
    """Leaves that are also the arguments."""

    def make() -> tuple[Sequence[torch.Tensor], Sequence[Any]]:
        made = [t() for t in tensors]
        return made, made

    return make


def of_leaf(build: Callable[[torch.Tensor], Sequence[Any]], *shape: int) -> Make:
    """One leaf, and arguments computed from it: views, non-leaves."""

    def make() -> tuple[Sequence[torch.Tensor], Sequence[Any]]:
        a = leaf(*shape)
        return [a], build(a)

    return make


def case(make: Make) -> Callable[[Function], Function]:
    """Add a function with its arguments to the cases that are like eager on every rung."""

    def add(function: Function) -> Function:
        CASES[function.__name__] = (function, make)
        return function

    return add



# --- Writes to arguments ---------------------------------------------------------------------------------------------


@case(plain(lambda: numbers(3, 4)))
def write_input(x):
    x.add_(1)
    return x * 2


@case(plain(lambda: numbers(3, 4)))
def write_and_return_input(x):
    x.mul_(2)
    return x


@case(plain(lambda: numbers(3, 4)))
def read_before_and_after_a_write(x):
    before = x.exp()
    x.add_(1)
    x.mul_(3)
    return before + x, x.exp()


@case(plain(lambda: numbers(3, 4), lambda: numbers(4)))
def write_two_inputs(x, y):
    x.add_(y)
    y.sub_(x.sum(0))
    return x @ y


@case(plain(lambda: numbers(4, 4)))
def write_through_views(x):
    x[0].add_(1)
    x[:, 1].mul_(2)
    x.t()[2].sub_(3)
    x[1:3, ::2].fill_(7)
    x.view(-1)[5] = 9
    return x.sum()


@case(plain(lambda: numbers(6, 4).t()))
def write_transposed_input(x):
    x.add_(1)
    return x + 1


@case(plain(lambda: numbers(8, 4)[::2, 1:3]))
def write_strided_input(x):
    x.add_(1)
    return x * 2


@case(plain(lambda: numbers(2, 3, 4, 4).to(memory_format=torch.channels_last)))
def write_channels_last_input(x):
    x.add_(1)
    return x * 2, torch.relu(x)


@case(plain(lambda: numbers(3, 4), lambda: numbers(3, 4)))
def copy_into_input(x, y):
    x.copy_(y * 2)
    return None


@case(plain(lambda: numbers(3, 4), lambda: numbers(3, 4, dtype=torch.float64)))
def write_with_another_dtype(x, y):
    x.add_(y)
    return x


@case(plain(lambda: numbers(3, 4), lambda: numbers(3, 4)))
def write_with_out_argument(x, y):
    torch.add(y, 1, out=x)
    return x + 1


@case(plain(lambda: torch.zeros((), dtype=torch.int64), lambda: numbers(3)))
def write_counter(steps, x):
    steps.add_(1)
    return x * steps


@case(plain(lambda: numbers(3, 4)))
def write_temporary(x):
    y = x * 2
    y.add_(1)
    y[0].mul_(3)
    y.t()[1] = 0
    return y


@case(of_leaf(lambda a: [a * 1], 3, 4))
def write_non_leaf(x):
    y = x.sin()
    x.mul_(2)
    return (x * y).sum()


@case(of_leaf(lambda a: [(b := a * 1), b], 3, 4))
def write_non_leaf_passed_twice(x, y):
    x.mul_(2)
    return x * y


@case(of_leaf(lambda a: [a * 1, a * 3], 3, 4))
def write_one_non_leaf_with_another(x, y):
    x.mul_(y)
    return x.sin()


@case(plain(lambda: numbers(3, 4), lambda: leaf(3, 4)))
def written_input_starts_to_require_grad(x, y):
    x.mul_(y)
    return x.exp()


@case(of_leaf(lambda a: [a * 1], 3, 4))
def write_view_of_non_leaf(x):
    x[0].mul_(2)
    x[:, 1:].add_(x[:, :-1] * 2)
    return x.sin()


@case(plain(lambda: leaf(3, 4), lambda: numbers(3, 4)))
def write_under_no_grad(p, x):
    with torch.no_grad():
        p.add_(x)
    return (p * x).sum()


@case(plain(lambda: leaf(3, 4), lambda: numbers(3, 4)))
def write_through_detach(p, x):
    y = p * x
    p.detach().add_(1)
    return y.sum()


@case(plain(lambda: leaf(4), lambda: numbers(4)))
def write_element_under_no_grad(p, x):
    with torch.no_grad():
        p[1] = 5.0
        p[2:].mul_(2)
    return (p.sin() * x).sum()


@case(of_leaf(lambda a: [a * 1], 4))
def write_seen_and_unseen(x):
    x.mul_(3)
    with torch.no_grad():
        x.add_(1)
    return x.sin()


@case(of_leaf(lambda a: [a.sin()], 4))
def unseen_write_then_use(x):
    with torch.no_grad():
        x.zero_()
    return x.exp()


@case(plain(lambda: leaf(3, 4), lambda: numbers(3, 4), lambda: numbers(3, 4)))
def optimizer_step(p, g, momentum):
    with torch.no_grad():
        momentum.mul_(0.9).add_(g)
        p.add_(momentum, alpha=-0.1)
    return None


@case(plain(lambda: numbers(4), lambda: leaf(4)))
def write_input_not_used_otherwise(x, w):
    x.copy_(w.detach())
    return w * 2


# --- What comes out: inputs, views, shared memory --------------------------------------------------------------------


@case(plain(lambda: leaf(3, 4)))
def return_input(x):
    return x, x * 2


@case(plain(lambda: leaf(3, 4)))
def return_view_of_input(x):
    return x.t(), x[1], x.view(2, 6)


@case(plain(lambda: numbers(3, 4)))
def return_view_of_input_without_grad(x):
    return x[1:, ::2], x.unsqueeze(0), x.expand(2, 3, 4)


@case(of_leaf(lambda a: [a * 1], 3, 4))
def return_view_of_non_leaf(x):
    return x.t(), x * 2


@case(of_leaf(lambda a: [a * 1], 3, 4))
def return_view_of_written_non_leaf(x):
    x.mul_(2)
    return x.t(), x


@case(plain(lambda: numbers(3, 4)))
def return_view_of_written_input(x):
    x.mul_(2)
    return x[0]


@case(plain(lambda: numbers(3, 4)[1:]))
def return_view_of_view_argument(x):
    return x[1:, 1:], x.t()


@case(plain(lambda: leaf(3, 4)))
def return_detached_input(x):
    return x.detach(), x * 2


@case(plain(lambda: leaf(3, 4)))
def return_value_and_its_view(x):
    y = x * 2
    return y, y.t()


@case(plain(lambda: leaf(3, 4)))
def return_views_only(x):
    y = x * 2
    return y.t(), y[1]


@case(plain(lambda: leaf(3, 4)))
def return_view_before_value(x):
    y = x.sin()
    return y[0], y


@case(plain(lambda: leaf(3, 4)))
def return_value_and_detached(x):
    y = x.sin()
    return y.detach(), y


@case(plain(lambda: leaf(3, 4)))
def return_detached_transposed(x):
    y = (x + 1).t()
    return y.detach(), y


@case(plain(lambda: leaf(3, 4)))
def return_one_view(x):
    return (x * 2).t()


@case(plain(lambda: leaf(3, 4)))
def return_slice(x):
    return (x * 2)[:, 1:3]


@case(plain(lambda: leaf(4)))
def return_expanded(x):
    return (x * 2).expand(3, 4)


@case(plain(lambda: leaf(3, 4)))
def return_clone_of_input(x):
    return x.clone(), x.sum()


@case(plain(lambda: leaf(3, 4)))
def return_clone_of_saved_value(x):
    y = x.exp()
    return y.clone()


@case(plain(lambda: leaf(3, 4)))
def return_value_and_clone(x):
    y = x * 2
    return y, y.clone(), y + 0


@case(plain(lambda: leaf(3, 4)))
def return_contiguous_copy(x):
    return x.t().contiguous(), x.t().reshape(-1), x.sin().t().reshape(-1)


@case(plain(lambda: leaf(3, 4)))
def return_two_equal_values(x):
    return x * 2, x * 2


@case(plain(lambda: leaf(3, 4)))
def return_written_view_of_temporary(x):
    y = x * 2
    z = y[0]
    z.add_(1)
    return y, z


@case(plain(lambda: leaf(6, 4)))
def return_chunks(x):
    return x.sin().chunk(2)


@case(plain(lambda: leaf(2, 4)))
def return_unbound_input(x):
    return x.unbind(0)


@case(plain(lambda: numbers(3, 4)))
def return_constants(x):
    return x + 1, None, 7, "text", (True, 2.5)


@case(plain(lambda: numbers(3, 4)))
def return_nested(x):
    return {"a": x, "b": [x + 1, (x * 2,)]}


@case(plain(lambda: numbers(3, 4)))
def return_no_tensor(x):
    x.add_(1)


@case(plain(lambda: numbers(3)))
def return_made_inside(x):
    return torch.zeros(3), torch.full((2,), 7), torch.arange(4), torch.tensor([1.0, 2.0]), x * torch.tensor([1.0, 2.0, 3.0])


@case(plain(lambda: leaf(2, 3, 4, 4)))
def return_permuted(x):
    return (x * 2).permute(0, 2, 3, 1), (x + 1).to(memory_format=torch.channels_last)


@case(plain(lambda: numbers(2, 3, 4, 4).to(memory_format=torch.channels_last).requires_grad_()))
def keep_channels_last(x):
    return x * 2, torch.relu(x), x.contiguous(), x.sum(1)


@case(plain(lambda: leaf(3, 4), lambda: numbers(4)))
def return_in_eager_layout(x, y):
    return x.t() + 1, x.t() * y[:, None], (x.t() @ x)


# --- Gradients -------------------------------------------------------------------------------------------------------


def _mixes(a, b):
    return a.cos(), b.sin(), a * b


for _name, _make in {
    "both": plain(lambda: leaf(3), lambda: leaf(3)),
    "first": plain(lambda: leaf(3), lambda: numbers(3)),
    "second": plain(lambda: numbers(3), lambda: leaf(3)),
    "none": plain(lambda: numbers(3), lambda: numbers(3)),
}.items():
    CASES[f"requires_grad_{_name}"] = (_mixes, _make)


@case(plain(lambda: leaf(3, 4), lambda: leaf(3, 4)))
def detach_inside(x, y):
    return x * y.detach() + (x * 2).detach() * y


@case(plain(lambda: leaf(3, 4)))
def no_grad_inside(x):
    h = x.tanh()
    with torch.no_grad():
        s = h.sum()
    return h * s, s


@case(plain(lambda: leaf(3, 4)))
def return_view_under_no_grad(x):
    h = x.tanh()
    with torch.no_grad():
        v = h.view(-1)
        w = x[0]
    return v, h, w


@case(plain(lambda: leaf(3, 4)))
def return_only_view_under_no_grad(x):
    with torch.no_grad():
        v = x.tanh().t()
    return v, x * 2


@case(plain(lambda: leaf(3, 4), lambda: leaf(3, 4)))
def argument_without_gradient(x, y):
    return x.sin() + y.detach()


@case(plain(lambda: leaf(3, 4)))
def zero_gradient(x):
    return x.floor() * 2, x.sin()


@case(plain(lambda: leaf(3, 4), lambda: leaf(4), lambda: leaf()))
def broadcasting(x, y, z):
    return x * y + z


@case(plain(lambda: leaf(3, 4)))
def integer_and_bool_outputs(x):
    return x.argmax(1), x > 0, x * 2


@case(plain(lambda: leaf(3)))
def used_twice(x):
    y = x.exp()
    return y * y + y


@case(of_leaf(lambda a: [a.t(), a[0], a.view(-1)], 3, 4))
def views_as_arguments(x, y, z):
    return x.sin().sum() + y.exp() * z[3]


# --- Shapes, dtypes --------------------------------------------------------------------------------------------------


@case(plain(lambda: leaf(), lambda: leaf(3)))
def rank_0(x, y):
    return x * 2, y.sum(), x * y


@case(plain(lambda: leaf(0, 4), lambda: leaf(4)))
def empty(x, y):
    return x * y, x.sum(0), x.t(), y + 1


@case(plain(lambda: numbers(0, 3), lambda: numbers(3)))
def write_empty(x, y):
    x.add_(y)
    return x


for _dtype in (torch.float64, torch.float16, torch.bfloat16):

    def _floats(x, y):
        return x * y + 2, x.sum(0), (x > y), x.to(torch.float32)

    CASES[f"dtype_{_dtype}".replace("torch.", "")] = (
        _floats,
        plain(lambda d=_dtype: leaf(3, 4, dtype=d), lambda d=_dtype: leaf(3, 4, dtype=d)),
    )

for _dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool):

    def _integers(x, y):
        return x | y, x == y, x.to(torch.float32) + 1, x.clone(), x.to(torch.int64) * 2

    CASES[f"dtype_{_dtype}".replace("torch.", "")] = (
        _integers,
        plain(*[lambda d=_dtype, k=k: (torch.arange(12).reshape(3, 4) * k % 5).to(d) for k in (1, 3)]),
    )


@pytest.mark.parametrize("name", list(CASES))
@rungs
def test_like_eager(name: str, backend: str) -> None:
    function, make = CASES[name]
    assert_like_eager(function, make, backend=backend)


@rungs
def test_write_through_data(backend: str) -> None:
    def write_through_data(p, x):
        p.data.mul_(2)
        return (p * p * x).sum()

    # Eager's p.data has a version counter of its own, so a write to it is the one write that is not counted.
    make = plain(lambda: leaf(3, 4), lambda: numbers(3, 4))
    assert_like_eager(write_through_data, make, backend=backend, versions=False)
