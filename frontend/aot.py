# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""aot(): a user's compilers for the forward and the backward in, a backend for torch.compile out.

Capture, differentiation and partition are done for them; each gets one module with one function, without writes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.frontend.calling.execution import bytecode
from flambeau.frontend.calling.signature import Signature
from flambeau.frontend.compile import compile_graph
from flambeau.frontend.options import read_options
from flambeau.pipelines.driver import run_pipeline
from flambeau.pipelines.registry import unknown_choice
from flambeau.pipelines.stages import STAGES
from flambeau.runtime.backends import Backend

__all__ = ["AotBackend", "FunctionCompiler", "aot"]

FunctionCompiler = Callable[[ir.Module, Signature], Callable[..., Sequence[Any]]]
"""A module with one public function and its signature -> a callable: the arguments of a call in, the results out.

A callable with the attribute `_boxed_call` (as torch's make_boxed_func sets it) gets the arguments as one list, which
it may empty.
"""


@dataclass(frozen=True)
class AotBackend(Backend):
    """A backend record that torch.compile takes as its backend, too."""

    def __call__(
        self,
        gm: fx.GraphModule,
        example_inputs: Sequence[Any],
        *,
        mode: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Callable[..., Any]:
        """Compile one graph for TorchDynamo."""
        return compile_graph(gm, example_inputs, self, read_options(options, mode))


def aot(
    fw: FunctionCompiler,
    bw: FunctionCompiler | None = None,
    *,
    pipeline: str = "partitioned",
    name: str = "aot",
) -> AotBackend:
    """A backend that compiles forward functions with `fw` and backward functions with `bw` (default: `fw` too).

    `pipeline`: the stage that the IR goes to: "partitioned" for Flambeau's dialect, where ops outside of it are calls
    of functions without a body, which the interpreter runs; or "lower-to-torch" for the torch dialect, where such ops
    stay with Flambeau, and what lies between them is compiled piece by piece. ValueError for any other.
    """
    valid = ("partitioned", *(s for s in STAGES if s.startswith("lower-to-")))
    if pipeline not in valid:
        raise ValueError(unknown_choice("pipeline", pipeline, valid))

    def compile_functions(module: ir.Module, signatures: Mapping[str, Signature]) -> dict[str, Any]:
        return {
            function: _unboxed(
                (bw or fw if function.startswith("backward") else fw)(_alone(module, function), s)
            )
            for function, s in signatures.items()
        }

    return AotBackend(name, pipeline, device="custom", compile_fn=compile_functions, description="aot()")


def _alone(module: ir.Module, name: str) -> ir.Module:
    """A copy of a module that holds the function `name`, and what it calls."""
    with module.context:
        copy = ir.Module.parse(bytecode(module))
    for function in fn.functions(copy):
        if function.name.value != name and not fn.is_private(function):
            function.operation.erase()
    run_pipeline(copy, "symbol-dce")
    return copy


def _unboxed(call: Callable[..., Sequence[Any]]) -> Callable[..., Sequence[Any]]:
    if getattr(call, "_boxed_call", False):
        return lambda *arguments: call(list(arguments))
    return call
