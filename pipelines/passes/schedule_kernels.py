# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass schedule-kernels: chooses how the loops of each kernel are written."""

from dataclasses import dataclass

from flambeau.dialects.bindings import ir
from flambeau.dialects.calls.kernel import CalledKernel, kernels_with_calls
from flambeau.pipelines.kernels.build_plan import make_plan
from flambeau.pipelines.kernels.index_maps import NotCovered
from flambeau.pipelines.kernels.schedule import ATTRIBUTE, choose_schedule
from flambeau.pipelines.kernels.target import CpuTarget
from flambeau.pipelines.registry import register_pass

NOT_COVERED = "flambeau.not_covered"


@register_pass
@dataclass(frozen=True)
class ScheduleKernels:
    """Write `flambeau.schedule` on each kernel that has a loop form and no schedule yet.

    On others `flambeau.not_covered` says why they have none.
    """

    name = "schedule-kernels"

    cores: int = 2
    vector_bits: int = 512
    arch: str = "x86_64"

    def run(self, module: ir.Module) -> None:
        target = CpuTarget(arch=self.arch, cores=self.cores, vector_bits=self.vector_bits)
        for kernel in kernels_with_calls(module):
            if ATTRIBUTE not in kernel.attributes:
                _schedule(kernel, target)


def _schedule(kernel: CalledKernel, target: CpuTarget) -> None:
    with kernel.definition.location:
        try:
            schedule = choose_schedule(make_plan(kernel.block), target)
            kernel.attributes[ATTRIBUTE] = schedule.attribute()
        except NotCovered as reason:
            kernel.attributes[NOT_COVERED] = ir.StringAttr.get(str(reason))
