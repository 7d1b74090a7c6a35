# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The samples of a family as compiled functions, lowered as programs are; one artefact of the CPU for them all."""

import functools
from collections.abc import Collection, Sequence
from typing import Any

import torch

from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import Lowering
from flambeau.pipelines.driver import run_pipeline
from flambeau.pipelines.stages import stage_passes
from flambeau.runtime.backends import lookup_backend
from flambeau.runtime.devices import find_device
from flambeau.runtime.iree.compiler import compile_module
from flambeau.runtime.iree.executable import Executable, ResultSpec
from tests.dialects.sample import Sample, add_function

Case = tuple[Sample, bool]  # a sample, and whether its dims are dynamic


def can_be_compiled(sample: Sample) -> bool:
    return sample.lower and sample.cls.lowering is not Lowering.NONE


def lowered_text(cases: Sequence[Case]) -> str:
    """The torch dialect module with one function per case, called `f0`, `f1`, ..."""
    module = ir.Module.create()
    for index, (sample, dynamic) in enumerate(cases):
        add_function(module, f"f{index}", sample, sample.values(), dynamic=dynamic)
    run_pipeline(module, stage_passes("lower-to-torch"))
    assert module.operation.verify()
    return str(module)


def load(cases: Sequence[Case]) -> Executable:
    backend = lookup_backend("cpu")
    return Executable(compile_module(lowered_text(cases), backend), find_device(backend, "local-sync"))


class CompiledFamily:
    """Compiles its cases together on first use; what does not compile is split until the bad ones stand alone.

    `samples` are all of the family; `only` are the cases that this test run is going to ask for.
    """

    def __init__(self, samples: Sequence[Sample]):
        self.samples = [sample for sample in samples if can_be_compiled(sample)]
        self.only: Collection[Case] = ()

    @functools.cached_property
    def _loaded(self) -> dict[Case, tuple[Executable, str] | Exception]:
        loaded: dict[Case, tuple[Executable, str] | Exception] = {}
        pending = [
            [(s, dynamic) for s in self.samples for dynamic in (False, True) if (s, dynamic) in self.only]
        ]
        while pending:
            cases = pending.pop()
            if not cases:
                continue
            try:
                executable = load(cases)
            except Exception as error:  # noqa: BLE001  (whatever it is, the test of the sample that causes it raises it)
                if len(cases) == 1:
                    loaded[cases[0]] = error
                else:
                    pending += [cases[: len(cases) // 2], cases[len(cases) // 2 :]]
            else:
                loaded.update({case: (executable, f"f{index}") for index, case in enumerate(cases)})
        return loaded

    def call(self, case: Case, arguments: Sequence[Any], like: Sequence[torch.Tensor | int]) -> list[Any]:
        """The compiled results of a case; `like` says their dtypes."""
        found = self._loaded[case]
        if isinstance(found, Exception):
            raise found
        executable, name = found
        specs = [ResultSpec(e.dtype if isinstance(e, torch.Tensor) else None) for e in like]
        return executable.function(name, specs)(arguments)
