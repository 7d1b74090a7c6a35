# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""aot(): what a user's compilers get, and that what they return runs as a backend of torch.compile and compile()."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import nn

import flambeau
from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import OPS
from flambeau.dialects.walk import operations
from flambeau.frontend.aot import AotBackend, FunctionCompiler
from flambeau.runtime import interpreter
from tests.oracle import assert_like_eager, close

STRICT = {"fallback": "error"}

Seen = list[tuple[str, list[str], list[str]]]


def interpreting(seen: Seen, label: str, boxed: bool = False) -> FunctionCompiler:
    """A compiler that notes its label, the functions and the ops that it gets, and lets the interpreter run them."""

    def compile_function(module: ir.Module, signature: Any) -> Callable[..., Any]:
        functions = [op.name.value for op in module.body.operations]
        seen.append((label, functions, [op.name for op in operations(module)]))
        (name,) = functions
        function = interpreter.Module(module).function(name)

        def call(*arguments: Any) -> list[Any]:
            assert len(arguments) == len(signature.arguments)
            return function(*arguments)

        return make_boxed_func(call) if boxed else call

    return compile_function


def in_place(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    h = x @ w
    h[0].mul_(2)
    return torch.tanh(h).sum(1)


def arguments() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(4, 3), torch.randn(3, 2, requires_grad=True)


@pytest.fixture(autouse=True)
def fresh() -> None:
    torch._dynamo.reset()


@pytest.mark.parametrize("way", ["compile", "torch.compile"])
def test_each_compiler_gets_one_functional_module(way: str) -> None:
    seen: Seen = []
    backend = flambeau.aot(fw=interpreting(seen, "fw"), bw=interpreting(seen, "bw"))
    if way == "compile":
        compiled = flambeau.compile(in_place, backend=backend, options=STRICT)
    else:
        compiled = torch.compile(in_place, backend=backend, options=STRICT)
    (x, w), (_, v) = arguments(), arguments()
    found, expected = compiled(x, w), in_place(x, v)
    close(found, expected, "output")
    close(*(torch.autograd.grad(y.sum(), t)[0] for y, t in ((found, w), (expected, v))), "gradient")
    assert [(label, functions) for label, functions, _ in seen] == [("fw", ["forward"]), ("bw", ["backward"])]
    for _, _, ops in seen:
        own = [name for name in ops if not name.startswith(("func.", "arith.")) and name != "builtin.module"]
        assert set(own) <= OPS.keys() and not any(".ref_" in name for name in own)


def test_the_backward_defaults_to_the_forwards_compiler() -> None:
    seen: Seen = []
    compiled = flambeau.compile(in_place, backend=flambeau.aot(interpreting(seen, "both")), options=STRICT)
    compiled(*arguments())
    assert [label for label, _, _ in seen] == ["both", "both"]


def test_without_gradients_there_is_no_backward() -> None:
    seen: Seen = []
    backend = flambeau.aot(fw=interpreting(seen, "fw"), bw=interpreting(seen, "bw"))
    x, w = arguments()
    with torch.no_grad():
        close(flambeau.compile(in_place, backend=backend, options=STRICT)(x, w), in_place(x, w), "output")
    assert [label for label, _, _ in seen] == ["fw"]


def test_boxed_callables() -> None:
    assert_like_eager(
        in_place,
        lambda: (arguments()[1:], arguments()),
        compiled=torch.compile(
            in_place, backend=flambeau.aot(interpreting([], "boxed", boxed=True)), options=STRICT
        ),
    )


def test_the_torch_dialect() -> None:
    names: list[str] = []

    def reading(module: ir.Module, signature: Any) -> Callable[..., Any]:
        names.extend(op.name for op in operations(module))
        return lambda *given: pytest.fail("nobody calls it")

    compiled = flambeau.compile(
        in_place, backend=flambeau.aot(reading, pipeline="lower-to-torch"), options=STRICT
    )
    with pytest.raises(pytest.fail.Exception):
        compiled(*arguments())
    assert "math.tanh" in names and not any(name.startswith("flambeau.") for name in names)


def test_what_stays_with_pytorch_is_a_call() -> None:
    def with_host_op(x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.pinv(x.exp()).sin()

    def compile_function(module: ir.Module, signature: Any) -> Callable[..., Any]:
        name = next(f.name.value for f in module.body.operations if f.regions[0].blocks)
        return interpreter.Module(module).function(name)

    x = torch.randn(4, 3, requires_grad=True)
    found, expected = (
        flambeau.compile(with_host_op, backend=flambeau.aot(compile_function))(x),
        with_host_op(x),
    )
    close(found, expected, "output", 64)
    close(*(torch.autograd.grad(y.sum(), x)[0] for y in (found, expected)), "gradient", 64)


def test_a_compiler_that_fails_is_a_fallback() -> None:
    def failing(module: ir.Module, signature: Any) -> Callable[..., Any]:
        raise NotImplementedError("not today")

    compiled = flambeau.compile(nn.Linear(3, 2), backend=flambeau.aot(failing))
    with pytest.warns(flambeau.FlambeauWarning, match="backend 'aot': not today"):
        assert compiled(torch.ones(1, 3)).shape == (1, 2)


def test_unknown_pipelines_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown pipeline 'functional'; valid: lower-to-torch, partitioned"):
        flambeau.aot(lambda module, signature: print, pipeline="functional")


def test_it_is_a_record() -> None:
    backend = flambeau.aot(lambda module, signature: print, name="mine")
    assert isinstance(backend, AotBackend) and isinstance(backend, flambeau.Backend)
    assert (backend.name, backend.pipeline) == ("mine", "partitioned") and hash(backend)
