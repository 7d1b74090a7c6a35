# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Kernels written with the builders, as modules of one kernel: interpreted, and lowered to loops and compiled."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from flambeau.dialects import create_context
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.types import dtype_name, is_tensor
from flambeau.pipelines.driver import run_pipeline
from flambeau.runtime import interpreter
from flambeau.runtime.backends import lookup_backend
from flambeau.runtime.devices import find_device
from flambeau.runtime.iree.compiler import compile_module
from flambeau.runtime.iree.executable import Executable, ResultSpec

Build = Callable[..., Any]  # values of the kernel's operands -> one value or several

_LOWERING = "builtin.module(decompose{before=lowering},cse,schedule-kernels,lower-kernels,lower-to-torch,cse)"


class KernelModule:
    """A module whose @main calls one kernel; `types` are those of the operands."""

    def __init__(self, types: Sequence[str], build: Build) -> None:
        self.context = create_context()
        self.context.allow_unregistered_dialects = True
        with self.context, ir.Location.unknown():
            module = ir.Module.create()
            inputs = [ir.Type.parse(t) for t in types]
            with ir.InsertionPoint(module.body):
                kernel = fn.create_function(
                    "kernel", inputs, [ir.Location.unknown()] * len(inputs), visibility="private"
                )
                kernel.operation.attributes["flambeau.kernel"] = ir.StringAttr.get("other")
                with ir.InsertionPoint(fn.entry_block(kernel)):
                    built = build(*fn.entry_block(kernel).arguments)
                    values = list(built) if isinstance(built, list | tuple) else [built]
                    ir.Operation.create("func.return", operands=values)
                fn.set_signature(kernel)
                main = fn.create_function("main", inputs, [ir.Location.unknown()] * len(inputs))
                with ir.InsertionPoint(fn.entry_block(main)):
                    call = ir.Operation.create(
                        "func.call",
                        operands=list(fn.entry_block(main).arguments),
                        results=[v.type for v in values],
                        attributes={"callee": ir.FlatSymbolRefAttr.get("kernel")},
                    )
                    ir.Operation.create("func.return", operands=list(call.results))
                fn.set_signature(main)
            assert module.operation.verify()
            self.text = str(module)
            self.dtypes = [getattr(torch, dtype_name(v.type)) if is_tensor(v.type) else None for v in values]

    def _module(self) -> ir.Module:
        return ir.Module.parse(self.text)

    def interpret(self, inputs: Sequence[Any]) -> list[Any]:
        with self.context, ir.Location.unknown():
            module = self._module()
            return interpreter.run(module, "main", list(inputs))

    def run(self, pipeline: str) -> str:
        """The module after some passes."""
        with self.context, ir.Location.unknown():
            module = self._module()
            run_pipeline(module, pipeline)
            return str(module)

    def why_not_covered(self, pipeline: str = _LOWERING) -> str:
        """Why the kernel has no loops; empty if it has."""
        text = self.run(pipeline.split(",lower-to-torch")[0] + ")")
        _, found, rest = text.partition('flambeau.not_covered = "')
        return rest.partition('"')[0] if found else ""

    def lowered(self, pipeline: str = _LOWERING) -> str:
        """The module that IREE takes. AssertionError with the reason if the kernel is not covered."""
        reason = self.why_not_covered(pipeline)
        assert not reason, reason
        return self.run(pipeline)

    def compiled(
        self, pipeline: str = _LOWERING, driver: str = "local-sync"
    ) -> Callable[[Sequence[Any]], list[Any]]:
        backend = lookup_backend("cpu")
        executable = Executable(compile_module(self.lowered(pipeline), backend), find_device(backend, driver))
        return executable.function("main", [ResultSpec(d) for d in self.dtypes])
