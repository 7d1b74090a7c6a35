# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What autograd records of a compiled call, and histories that compiled code cannot tell."""

import pytest
import torch

import flambeau
from tests.frontend.calling.case import Function
from tests.frontend.rungs import compile_strictly, differentiating, on, rungs
from tests.oracle import assert_like_eager, close, leaf, numbers, plain
from tests.programs import Same, WritesGradient


@on("functional", "partitioned")
def test_a_base_gets_its_history_through_a_view(backend: str) -> None:
    def make():
        x, a = numbers(2, 2), leaf()
        return [a, x], [x, x[1:], a]

    def write_both(x, part, a):
        part.select(0, 0).copy_(a)
        x.mul_(a)
        return part.contiguous(), x * 2

    assert_like_eager(write_both, make, backend=backend)


@differentiating
def test_saved_inputs_are_protected_by_their_version(backend: str) -> None:
    compiled = compile_strictly(lambda w, x: (w * x).sum(), backend)
    w, x = leaf(3), numbers(3)
    loss = compiled(w, x)
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


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
