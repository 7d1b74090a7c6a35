# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""C14 to C21: what stands in front of the backend: guards, duplicates, branches on data, nested compilation."""

import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.fx.passes.split_module import split_module

import flambeau
from tests.contract.rungs import counted, interpreted, strict
from tests.oracle import assert_like_eager, close, leaf, numbers, plain


def test_c14_recompiles_when_requires_grad_changes(rung: str) -> None:
    compiled = strict(lambda x, y: x * y, rung)
    with counted("graphs") as graphs:
        for make in (plain(lambda: leaf(3), lambda: leaf(3)), plain(lambda: leaf(3), lambda: numbers(3))):
            assert_like_eager(lambda x, y: x * y, make, compiled=compiled)
        assert graphs() == 2


def _add_to_both(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x.add_(1)
    y.add_(1)
    return x + y


def test_c15_one_tensor_passed_twice(rung: str) -> None:
    compiled = strict(_add_to_both, rung)
    with counted("graphs") as graphs:
        for same in (True, False, True):
            a, c = numbers(3), numbers(3)
            found = compiled(a, a if same else a.clone())
            close(found, _add_to_both(c, c if same else c.clone()), "output")
            close(a, c, "argument")
        assert graphs() == 2


def test_c15_one_tensor_twice_among_parameters_globals_and_lists(rung: str) -> None:
    shared = leaf(3)

    def function(x: torch.Tensor, pair: list[torch.Tensor]) -> Any:
        return x * pair[0] + pair[1] * shared, pair[0] * 2

    def make() -> Any:
        return [shared], [shared, [shared, shared]]

    assert_like_eager(function, make, backend=rung, afterwards=("nothing",))


@interpreted
def test_c16_branches_on_data(rung: str) -> None:
    def function(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        z = x * 2
        if y.sum() < 0:
            z = -z
        return z * y

    compiled = strict(function, rung, fullgraph=False)
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        x, y = (torch.randn(3, generator=generator) for _ in range(2))
        close(compiled(x, y), function(x, y), "output")


class _WithStatistics(nn.Module):
    """A convolution, and a parameter that each call changes unseen by autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.scale = nn.Parameter(numbers(3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            self.scale.mul_(1.5)
        return self.conv(x).relu() * self.scale


def test_c17_graphs_that_were_exported(rung: str) -> None:
    x = numbers(2, 2, 5, 5)
    found, expected = [], []
    for compile_it, results in ((True, found), (False, expected)):
        torch.manual_seed(0)
        module: Any = _WithStatistics()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = torch._dynamo.export(module)(x).graph_module
        function = strict(module, rung) if compile_it else module
        for _ in range(2):
            y = function(x)
        y.sum().backward()
        results.extend([y.detach(), *module.parameters(), *(p.grad for p in module.parameters())])
    for one, other in zip(found, expected, strict=True):
        close(one, other, "output, parameter or gradient", ulps=64)


@torch.library.custom_op("flambeau_contract::address", mutates_args=())
def _address(x: torch.Tensor) -> torch.Tensor:
    return x + 1


@_address.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    x.data_ptr()
    return torch.empty_like(x)


def test_c18_data_pointers_cannot_be_read_while_tracing(rung: str) -> None:
    with pytest.raises(Exception, match="Cannot access data pointer"):
        strict(lambda x: _address(x), rung)(torch.ones(3))


def _pair(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    y = x * 2
    return (y, y) if x.shape[0] < 5 else (y, x * 3)


_LIBRARY = torch.library.Library("flambeau_contract", "FRAGMENT")
_LIBRARY.define("pair(Tensor x) -> (Tensor, Tensor)")
for _key in ("CPU", "Meta"):
    _LIBRARY.impl("pair", _pair, _key)


def test_c19_compiling_inside_a_backend(rung: str) -> None:
    """A backend splits the graph, and compiles the halves when they are called. The second writes one of its
    arguments, which are one tensor or two, depending on a size."""

    def function(x: torch.Tensor) -> torch.Tensor:
        a, b = torch.ops.flambeau_contract.pair(x)
        a.mul_(b)
        return a + b

    def splitting(gm: Any, example_inputs: Any) -> Any:
        first = [n for n in gm.graph.nodes if n.op == "call_function"][:3]  # the op and its two results
        parts = split_module(gm, gm, lambda node: int(node not in first))
        for name, part in list(parts.named_children()):
            setattr(parts, name, flambeau.compile(part, backend=rung, dynamic=False))
        return parts.forward

    compiled = torch.compile(function, backend=splitting, dynamic=False)
    with counted("graphs") as graphs, counted("graphs.eager") as in_eager:
        for size in (4, 6):
            close(compiled(numbers(size)), function(numbers(size)), "output")
        assert graphs() == 4 and in_eager() == 0


@interpreted
def test_c20_a_parameter_made_inside(rung: str) -> None:
    compiled = strict(lambda x: x.sin() + nn.Parameter(torch.ones(1)), rung, fullgraph=False)
    close(compiled(numbers(3)), numbers(3).sin() + 1, "output")


def test_c21_lstm(rung: str) -> None:
    torch.manual_seed(0)
    model = nn.LSTM(3, 2, num_layers=2, bidirectional=True)
    x = numbers(3, 4, 2).transpose(0, 2)[:2]
    leaves = list(model.parameters())

    def make() -> Any:
        return leaves, [x]

    def function(x: torch.Tensor) -> Any:
        y, (h, c) = model(x)
        return y, h, c

    with torch._dynamo.config.patch(allow_rnn=True):
        assert_like_eager(function, make, backend=rung, ulps=64, afterwards=("nothing",))
