# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass lower-kernels: kernels with a schedule -> executables with loops, and calls of them."""

from dataclasses import dataclass

from flambeau.dialects.bindings import ir
from flambeau.dialects.calls.kernel import CalledKernel, kernels_with_calls
from flambeau.dialects.errors import UnsupportedOpError
from flambeau.pipelines.kernels.build_plan import make_plan
from flambeau.pipelines.kernels.executable import (
    Host,
    Interface,
    interface,
    make_call,
    make_executable,
    operand_buffers,
    partial_buffers,
    result_buffers,
)
from flambeau.pipelines.kernels.index_maps import NotCovered
from flambeau.pipelines.kernels.plan import Plan
from flambeau.pipelines.kernels.schedule import (
    ATTRIBUTE,
    Schedule,
    ScheduleError,
    read_schedule,
    two_steps,
)
from flambeau.pipelines.kernels.split_reduction import split_reduction
from flambeau.pipelines.kernels.target import CpuTarget
from flambeau.pipelines.passes.schedule_kernels import NOT_COVERED
from flambeau.pipelines.registry import register_pass


@register_pass
@dataclass(frozen=True)
class LowerKernels:
    """Lower each kernel that has a schedule to a `flow.executable`, which equal kernels share, and a `flow.dispatch`.

    A kernel without one stays, and so does one that turns out to have no loop form; its attribute says why.
    """

    name = "lower-kernels"

    arch: str = "x86_64"

    def run(self, module: ir.Module) -> None:
        module.context.allow_unregistered_dialects = True
        executables = _Executables(module, CpuTarget(arch=self.arch))
        for kernel in kernels_with_calls(module):
            if ATTRIBUTE in kernel.attributes:
                try:
                    executables.lower(kernel)
                except NotCovered as reason:
                    kernel.attributes[NOT_COVERED] = ir.StringAttr.get(str(reason))
                    del kernel.attributes[ATTRIBUTE]
                except ScheduleError as error:
                    raise UnsupportedOpError(kernel.definition, str(error)) from error


class _Executables:
    """The executables of a module by their text."""

    def __init__(self, module: ir.Module, target: CpuTarget) -> None:
        self._body, self._target = module.body, target
        self._names: dict[str, str] = {}

    def lower(self, kernel: CalledKernel) -> None:
        """Replace the calls of a kernel by calls of its executable, or of two, and remove it."""
        with ir.Location.unknown():
            plan = make_plan(kernel.block)
            schedule = read_schedule(kernel.attributes[ATTRIBUTE], plan)
            steps = self._steps(kernel, plan, schedule)
        for call in kernel.calls:
            with ir.InsertionPoint(call), call.location:
                host = Host(call, kernel.block, plan)
                for name, shape in steps:
                    flat = make_call(host, name, shape)
                    host.given |= {buffer.number: f for buffer, f in zip(shape.outputs, flat, strict=True)}
                results = [host.restore(f, buffer) for f, buffer in zip(flat, shape.outputs, strict=True)]
            for old, new in zip(call.results, results, strict=True):
                old.replace_all_uses_with(new)
            call.erase()
        kernel.definition.erase()

    def _steps(self, kernel: CalledKernel, plan: Plan, schedule: Schedule) -> list[tuple[str, Interface]]:
        """The executables that compute a kernel one after the other, and their interfaces."""
        operands, results = operand_buffers(plan, kernel.block), result_buffers(plan, kernel.block)
        if schedule.parts == 1:
            shape = interface(plan, operands, results)
            return [(self._executable(plan, schedule, shape), shape)]
        number = len(kernel.block.arguments)
        first, second = split_reduction(plan, schedule.parts, number)
        partials = partial_buffers(first, number)
        schedules = two_steps(schedule, second)
        shapes = [
            interface(first, operands, partials),
            interface(second, operands | {p.number: p for p in partials}, results),
        ]
        names = [self._executable(*step) for step in zip((first, second), schedules, shapes, strict=True)]
        return list(zip(names, shapes, strict=True))

    def _executable(self, plan: Plan, schedule: Schedule, shape: Interface) -> str:
        """The name of the executable, which is made unless there is an equal one."""
        wanted = f"{schedule.form}_{len(self._names)}"
        with ir.InsertionPoint.at_block_begin(self._body):
            executable = make_executable(wanted, plan, schedule, self._target, shape)
        text = (
            executable.get_asm(assume_verified=True).replace(f"@{wanted}", "@").replace(f'"{wanted}"', '""')
        )
        name = self._names.setdefault(text, wanted)
        if name != wanted:
            executable.erase()
        return name
