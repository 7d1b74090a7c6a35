# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled optimizer steps, whose graphs hold parameters and state, and PyTorch's operators on lists of tensors."""

import gc
import itertools
import re
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.exc import BackendCompilerFailed
from torch.testing import assert_close
from torch.testing._internal import common_methods_invocations as databases
from torch.utils import _pytree as pytree

import flambeau
from flambeau.frontend.capture.foreach import foreach
from tests.oracle import numbers

assert_equal = partial(assert_close, rtol=0, atol=0, equal_nan=True)
STRICT = {"fallback": "error"}


def _trained(build: Callable[[Any], torch.optim.Optimizer], backend: str) -> list[torch.Tensor]:
    """Parameters and state after five steps, whose graphs `backend` runs.

    In float64: where an update divides by a root, rounding is amplified.
    """
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    optimizer = build(module.parameters())

    def step() -> None:
        optimizer.step()

    torch._dynamo.reset()
    options = None if backend == "eager" else STRICT
    taken = torch.compile(step, backend=backend, options=options)
    for factor in range(1, 6):
        optimizer.zero_grad()
        module(torch.linspace(-1, 1, 10, dtype=torch.float64).view(2, 5) * factor).square().sum().backward()
        taken()
    state = [v for s in optimizer.state.values() for v in s.values() if isinstance(v, torch.Tensor)]
    return [*(p.detach() for p in module.parameters()), *state]


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.01)),
    "adamw-foreach": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True, amsgrad=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p),
    "rprop": lambda p: torch.optim.Rprop(p),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_compiled_step_updates_parameters_and_state_in_place(name: str) -> None:
    expected = _trained(OPTIMIZERS[name], "eager")
    assert_close(_trained(OPTIMIZERS[name], "flambeau_functional"), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.slow
def test_a_compiled_step_on_cpu() -> None:
    build = OPTIMIZERS["adamw-foreach"]
    # The count of steps, and 1 - 0.999**step, are in float32 whatever the parameters are.
    assert_close(_trained(build, "flambeau"), _trained(build, "eager"), rtol=1e-6, atol=1e-8)


def test_a_compiled_step_keeps_no_tensor_of_a_dead_optimizer() -> None:
    parameter = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    parameter.grad = torch.ones(3)
    step = flambeau.compile(lambda optimizer: optimizer.step(), backend="functional", options=STRICT)
    step(optimizer)
    step(optimizer)
    state = weakref.ref(optimizer.state[parameter]["momentum_buffer"])
    del optimizer
    gc.collect()
    assert state() is None


FOREACH = [
    *databases.foreach_unary_op_db,
    *databases.foreach_binary_op_db,
    *databases.foreach_pointwise_op_db,
    *databases.foreach_reduce_op_db,
    *databases.foreach_other_op_db,
]


def _copied(value: Any) -> Any:
    return pytree.tree_map_only(torch.Tensor, torch.clone, value)


@pytest.mark.parametrize("entry", FOREACH, ids=lambda entry: str(entry.name))
def test_tensor_by_tensor_is_what_pytorch_does(entry: Any) -> None:
    for sample in itertools.islice(entry.sample_inputs("cpu", torch.float32), 12):
        for function in filter(None, (entry.method_variant, entry.inplace_variant)):
            given, expected = (_copied((sample.input, *sample.args)) for _ in range(2))
            try:
                wanted = function(*expected, **sample.kwargs)
            except RuntimeError as error:
                with pytest.raises(RuntimeError, match=re.escape(str(error))):
                    foreach(function, given, sample.kwargs)
                continue
            assert_equal(foreach(function, given, sample.kwargs), wanted)
            assert_equal(given, expected)


def test_lists_of_tensors_in_a_graph() -> None:
    def update(tensors: list[torch.Tensor], others: list[torch.Tensor]) -> list[torch.Tensor]:
        torch._foreach_add_(tensors, others, alpha=2.0)
        torch._foreach_maximum_(tensors, 0.5)
        return list(torch._foreach_norm(torch._foreach_addcmul(tensors, others, tensors, [2.0, 3.0])))

    made = [[numbers(3), numbers(2, 2)] for _ in range(4)]
    expected = update(made[0], made[1])
    actual = flambeau.compile(update, backend="functional", fullgraph=True, options=STRICT)(made[2], made[3])
    assert_close((actual, made[2]), (expected, made[0]))


def test_a_write_to_a_list_that_is_not_understood_is_refused() -> None:
    def scale(tensors: list[torch.Tensor], found: torch.Tensor, factor: torch.Tensor) -> None:
        torch._amp_foreach_non_finite_check_and_unscale_(tensors, found, factor)

    arguments = [torch.ones(3)], torch.zeros(1), torch.ones(1)
    with pytest.raises(BackendCompilerFailed, match="it writes a list of tensors"):
        flambeau.compile(scale, backend="functional", options=STRICT)(*arguments)
