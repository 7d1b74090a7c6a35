# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Around the compiled code: writes, views, aliasing, layouts and gradients are eager's, on every rung.

What is a row of the contract in so many words is tested in tests/contract.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import flambeau
from tests.oracle import Make, assert_like_eager, close, leaf, numbers, of_leaf, plain
from tests.programs import Same, WritesGradient

RUNGS = ("imported", "functional", "partitioned", "cpu")


def _on(*names: str) -> Any:
    """On these rungs; what goes wrong on the first two goes wrong on the third as well, so they are slow tests."""
    return pytest.mark.parametrize(
        "backend", [pytest.param(n, marks=pytest.mark.slow if n in RUNGS[:2] else ()) for n in names]
    )


rungs = _on(*RUNGS)
differentiating = _on(*RUNGS[2:])  # autograd of ours, not the interpreter's use of PyTorch's

Function = Callable[..., Any]
CASES: dict[str, tuple[Function, Make]] = {}


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


@case(plain(lambda: numbers(4), lambda: leaf(4)))
def write_seen_then_unseen_of_what_requires_grad(x, w):
    """The unseen write gives the argument no history."""
    x.clamp_(-1, 1)
    with torch.no_grad():
        x.add_(w)
    return x, w * 2


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


@case(plain(lambda: leaf(3, 4)))
def write_into_new_tensor(x):
    y = torch.zeros(5, 4)
    y[1:4] = x
    y[0, ::2] = x[0, :2]
    y.diagonal().add_(1)
    return y


@case(plain(lambda: leaf(3, 4)))
def write_rows_of_new_tensor(x):
    y = torch.empty(3, 4)
    for i in range(3):
        y[i] = x[i] * 2 if i == 0 else x[i] + y[i - 1]
    return y


@case(plain(lambda: numbers(3, 4)))
def write_where_mask(x):
    x.masked_fill_(x > 0.5, 7.0)
    x[torch.tensor([0, 2]), torch.tensor([1, 1])] += 1.0
    return x.sum()


@case(of_leaf(lambda a: [a * 1], 3, 4))
def write_to_detached_alias(x):
    d = x.detach()
    d.add_(1)
    return d, x * 2


@case(of_leaf(lambda a: [a * 1], 3, 4))
def write_two_views_of_temporary(x):
    y = x * 2
    a, b = y[0], y[1]
    a.add_(b)
    return a, b, y.sum()


@case(plain(lambda: leaf(4), lambda: leaf(4), lambda: leaf(4)))
def overwrite_what_requires_grad(x, y, z):
    """Its gradient is zeros, not none."""
    a, b = x.exp(), z.exp()
    a.copy_(y)
    b.zero_()
    return a, b.cos()


@case(of_leaf(lambda a: [a * 1], 3, 4))
def overwrite_input_that_requires_grad(x):
    x.fill_(2)
    return x.sin()


@case(plain(lambda: leaf(3)))
def one_output_under_two_names(x):
    """What such ops return is their argument itself, if there is nothing to do."""
    y = x.exp()
    return y.to(y.dtype), y.flatten(), y, y.contiguous().sin()


@case(plain(lambda: leaf(3, 4)))
def view_of_a_reshaped_copy(x):
    """To autograd the copy that flatten makes is no view."""
    y = x.t().flatten()
    return y, y.expand(2, 12), y[1:5]


@case(plain(lambda: leaf(3, 4)))
def strides_that_pytorch_traces_otherwise(x):
    functional = torch.nn.functional
    mean, variance = torch.zeros(3, dtype=x.dtype), torch.ones(3, dtype=x.dtype)
    columns = x.t()
    return (
        functional.logsigmoid(columns),
        functional.batch_norm(columns, mean, variance, training=True),
        functional.batch_norm(columns, mean, variance),
        functional.interpolate(columns.unsqueeze(1).transpose(0, 1), size=2),
    )


@case(plain(lambda: numbers(2, 4), lambda: leaf(2, 4)))
def pooling_is_a_view_where_a_gradient_is_recorded(x, w):
    pooled, recorded = torch.nn.functional.max_pool1d(x, 2), torch.nn.functional.max_pool1d(w, 2)
    return pooled, pooled.t(), recorded, recorded.t()


@case(plain(lambda: leaf(3, 4)))
def padding_under_no_grad(x):
    with torch.no_grad():
        padded = torch.nn.functional.pad(x, (1, 2))
        least, most = x.aminmax(dim=0)
    return padded.view(-1), least[1:], most, x * 2


@case(plain(lambda: numbers(1), lambda: numbers(0), lambda: leaf(0)))
def fills_without_gaps(x, empty, w):
    """A fill of one element or none has the strides of any new tensor, and memory of its own."""
    return torch.ones_like(x), torch.full_like(empty, 2), torch.roll(empty, 1, 0), w * 2


@case(plain(lambda: torch.zeros(2, 8, 4), lambda: numbers(2, 1, 4)))
def write_into_cache(cache, key):
    cache[:, 3:4] = key
    return cache[:, :4].sum(1)


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
    return (
        torch.zeros(3),
        torch.full((2,), 7),
        torch.arange(4),
        torch.tensor([1.0, 2.0]),
        x * torch.tensor([1.0, 2.0, 3.0]),
    )


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


@case(plain(lambda: numbers(3, 4)))
def base_written_through_another_view(x):
    base = x.ceil()
    flat, view = base.ravel(), base[:]
    flat.sub_(3)
    return base, view


@case(plain(lambda: leaf(3, 4)))
def differentiated_base_written_through_another_view(x):
    base = x.sin()
    flat, view = base.ravel(), base[:]
    flat.sub_(3)
    return base, view


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


@case(plain(lambda: leaf(4, 6)))
def slices_of_slices(x):
    return x[0, :2].sin(), x[1:3, ::2].flatten()[1:3] * 2, x.view(2, 2, 6)[0, :, 1:3].exp()


# --- Shapes, dtypes --------------------------------------------------------------------------------------------------


@case(of_leaf(lambda a: [b := a.sin(), b[:], b[1:]], 3, 3))
def return_argument_that_shares_written_memory(x, y, z):
    x.mul_(2)
    return y.to(y.dtype), y.reshape(3, 3), z.contiguous(), z * 2


@case(plain(lambda: numbers(3, 4), lambda: leaf(1, 4), lambda: leaf(4)))
def write_one_of_repeated_elements(x, y, z):
    x.expand(2, 3, 4)[1].mul_(2)
    x.unfold(1, 3, 1)[:, 1].add_(1)
    y = y * 1
    y.expand(3, 4)[2, 1:].mul_(z[1:])
    z = z * 1
    windows = z.unfold(0, 2, 1)
    windows[1].copy_(y[0, :2])
    windows.select(1, 1)[2:].mul_(3)
    return x.sum(), y, z


@case(plain(lambda: leaf(3, 3)))
def write_by_ops_that_pytorch_traces_in_python(x):
    y = x * x
    y.addcmul_(x.amax(-1), y)
    z = x.detach().half()
    z.normal_(0, 0)
    drawn = x * 1
    drawn.uniform_(2, 2)
    return y, z, drawn


@case(plain(lambda: leaf(3, 4)))
def broadcast_the_rest_of_a_split(x):
    most, rest = x.split(x.shape[0] - 1, 0)
    return most * rest


@case(of_leaf(lambda a: [a[:0, 1:]], 3, 4))
def empty_argument_with_strides(x):
    return x.sin(), x.sum(0)


@case(plain(lambda: numbers(0, 4)))
def dropout_of_nothing(x):
    y = torch.nn.functional.dropout(x, 0.5)
    y.add_(1)
    return y


@case(plain(lambda: leaf(0, 4), lambda: leaf(2, 3, 0)))
def slices_of_nothing(x, y):
    first, second = x.chunk(2, 0)
    return first * 1, second * 2, y[1:, 2] * 1, y[:1, :2].sum(1)


@case(plain(lambda: leaf(3, 4), lambda: leaf(3, 4)))
def return_value_that_is_computed_again_for_the_backward(x, y):
    other = x - y
    return x + y, (x + y).sin(), other, (other * 2).sin()


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


@_on("functional", "partitioned")
def test_a_base_gets_its_history_through_a_view(backend: str) -> None:
    def make():
        x, a = numbers(2, 2), leaf()
        return [a, x], [x, x[1:], a]

    def write_both(x, part, a):
        part.select(0, 0).copy_(a)
        x.mul_(a)
        return part.contiguous(), x * 2

    assert_like_eager(write_both, make, backend=backend)


def compile_strictly(function: Any, backend: str = "partitioned", **options: Any) -> Any:
    return flambeau.compile(
        function, backend=backend, fullgraph=True, options={"fallback": "error"}, **options
    )


# --- Gradients -------------------------------------------------------------------------------------------------------


@differentiating
def test_saved_inputs_are_protected_by_their_version(backend: str) -> None:
    compiled = compile_strictly(lambda w, x: (w * x).sum(), backend)
    w, x = leaf(3), numbers(3)
    loss = compiled(w, x)
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


class Half(torch.autograd.Function):
    """Multiplies; its backward gives half of the true gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        x, w = ctx.saved_tensors
        return g * w * 0.5, g * x * 0.5


class Mixed(torch.autograd.Function):
    """Two outputs, a saved intermediate, arguments that are no tensors, and an argument without gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, factor: float, y: torch.Tensor, name: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        h = x.exp()
        ctx.save_for_backward(h, y)
        ctx.factor = factor
        return h * factor, x + y

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor, k: torch.Tensor) -> Any:
        h, y = ctx.saved_tensors
        return g * h * ctx.factor * 3 + k * y, None, None, None


@rungs
def test_custom_function_with_everything(backend: str) -> None:
    def function(x, y):
        a, c = Mixed.apply(x * 2, 1.5, y, "name")
        return a, c * y

    assert_like_eager(function, plain(lambda: leaf(3), lambda: leaf(3)), backend=backend)


@rungs
def test_custom_function_with_one_output_used(backend: str) -> None:
    assert_like_eager(
        lambda x, y: Mixed.apply(x, 2.0, y, "")[1] * 2,
        plain(lambda: leaf(3), lambda: leaf(3)),
        backend=backend,
    )


class Marked(torch.autograd.Function):
    """One output without gradient; uses sizes in its backward; returns memory of its own."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        whole = x.floor()
        ctx.mark_non_differentiable(whole)
        ctx.shape = x.shape
        return x.sum(), whole

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return g.expand(ctx.shape) * 7


@rungs
@pytest.mark.parametrize(
    "function",
    [
        lambda x: Marked.apply(x),
        lambda x: Same.apply(x).sin(),
        lambda x: ((y := Half.apply(x, x.cos())), y.t()),
        lambda x: Half.apply(x, x.double()),
        lambda x: (Half.apply(x[:1], x), Half.apply(x, x[:1, 0])),
    ],
    ids=["marked", "same", "viewed", "gradient of another dtype", "gradients of another shape"],
)
def test_custom_functions(function: Function, backend: str) -> None:
    assert_like_eager(function, plain(lambda: leaf(3, 4)), backend=backend)


@rungs
@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: Same.apply(x), "under another history"),
        (lambda x: Same.apply(x).t(), "under another history"),
        (lambda x: ((y := x * 2), Same.apply(y)), "under another history"),
        (lambda x: WritesGradient.apply(x.sin()), "writes its inputs, gradients"),
        (lambda x: x.sin().detach().mul_(x) * 2, "takes over a history"),
    ],
    ids=["returned", "returned-transposed", "returned-with-argument", "writes-gradient", "written-detached"],
)
def test_histories_that_compiled_code_cannot_tell(function: Function, reason: str, backend: str) -> None:
    """Refused, and right in eager."""
    make = plain(lambda: leaf(3, 4))
    with pytest.warns(flambeau.FlambeauWarning, match=reason):
        assert_like_eager(function, make, backend=backend, fallback="eager")
    torch._dynamo.reset()
    with pytest.raises(Exception, match=reason):
        compile_strictly(function, backend)(*make()[1])


@rungs
def test_inference_mode_records_nothing(backend: str) -> None:
    """Not even under enable_grad; writes and views are as ever."""

    def function(x, w):
        x.add_(1)
        with torch.enable_grad():
            y = (x * w).sin()
        return y, x[0]

    compiled = compile_strictly(function, backend)
    with torch.inference_mode():
        x, z = numbers(2, 3), numbers(2, 3)
        found, expected = compiled(x, leaf(3)), function(z, leaf(3))
    assert found[0].is_inference() and found[0].requires_grad == expected[0].requires_grad
    assert found[1].data_ptr() == x.data_ptr()
    for one, other in zip([*found, x], [*expected, z], strict=True):
        close(one, other, "output or argument")


@differentiating
@pytest.mark.parametrize("part", [lambda v: v * 2, lambda v: v.double()[1:]], ids=["own", "view"])
def test_requires_grad_without_a_gradient_is_refused(part: Function, backend: str) -> None:
    """A view made under no_grad starts a history of its own in eager, which compiled code cannot tell."""

    def function(x):
        with torch.no_grad():
            v = x.view(-1)
        return part(v), x.sin()

    make = plain(lambda: leaf(3, 4))
    with pytest.warns(flambeau.FlambeauWarning, match="depends on nothing that could receive it"):
        assert_like_eager(function, make, backend=backend, fallback="eager")


@differentiating
def test_a_written_argument_with_a_history_of_its_own_is_refused(backend: str) -> None:
    """The same where such a view is written into an argument."""

    def function(x, y):
        with torch.no_grad():
            v = x.view(-1)
        y.add_(v)
        return y * x.sum()

    make = plain(lambda: leaf(3), lambda: numbers(3))
    with pytest.warns(flambeau.FlambeauWarning, match="depends on nothing that could receive it"):
        assert_like_eager(function, make, backend=backend, fallback="eager")


@rungs
def test_outputs_that_are_not_differentiated(backend: str) -> None:
    """A parameter that only reaches unused outputs has no gradient, as in eager: optimizers skip it."""
    x, w = leaf(3), leaf(3)
    a, _ = compile_strictly(lambda x, w: (x * 2, w * x.detach()), backend)(x, w)
    a.sum().backward()
    assert x.grad is not None and w.grad is None


@differentiating
def test_the_gradient_of_a_step_is_zeros_not_nothing(backend: str) -> None:
    """Also beside an output that carries a gradient, but is not used."""
    x = leaf(3)
    step, _ = compile_strictly(lambda x: (x.contiguous().trunc(), x.contiguous()), backend)(x)
    (gradient,) = torch.autograd.grad(step.sum(), x)
    assert not gradient.any()


@differentiating
def test_the_first_call_may_be_under_activation_checkpointing(backend: str) -> None:
    """Which counts what is saved: compiling must save nothing."""
    w, x = leaf(3), numbers(3)
    compiled = compile_strictly(lambda w, x: (w * x).exp().sum(), backend)
    torch.utils.checkpoint.checkpoint(compiled, w, x, use_reentrant=False).backward()
    assert w.grad is not None
    close(w.grad, x * (w.detach() * x).exp(), "gradient")


# --- Arguments that are no tensors ------------------------------------------------------------------------------------


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


@_on("partitioned", "cpu")
def test_what_is_left_of_a_size_is_written(backend: str) -> None:
    """The second chunk of s columns has s - (s + 1) // 2."""

    def function(x):
        x.chunk(2, 1)[1].fill_(2)
        return x + 1

    assert_like_eager(function, plain(lambda: numbers(4, 4)), backend=backend, dynamic=True)


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


@_on("functional", "cpu")
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
