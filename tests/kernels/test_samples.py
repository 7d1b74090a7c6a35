# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every op's samples as kernels of their own, static and with `?` dims: what has loops computes what eager does.

What is not covered says why, and is counted, so that nothing falls out unseen.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch

from flambeau.dialects import create_context
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import Lowering
from flambeau.pipelines.driver import run_pipeline
from flambeau.runtime import interpreter
from flambeau.runtime.backends import lookup_backend
from flambeau.runtime.devices import find_device
from flambeau.runtime.iree.compiler import compile_module
from flambeau.runtime.iree.executable import Executable, ResultSpec
from tests.dialects.sample import Sample, add_function, call_arguments
from tests.dialects.samples import families

pytestmark = pytest.mark.slow

FAMILIES = families()
Case = tuple[Sample, bool]  # a sample, and whether its dims are dynamic


def cases(family: str) -> list[Case]:
    samples = [s for s in FAMILIES[family] if s.lower and s.cls.lowering is not Lowering.NONE]
    return [(s, dynamic) for s in samples for dynamic in ((False, True) if s.dynamic else (False,))]


def kernels(chosen: Sequence[Case]) -> ir.Module:
    """A module with a kernel `k0`, ... per case and a function `f0`, ... that calls it."""
    module = ir.Module.create()
    for number, (sample, dynamic) in enumerate(chosen):
        add_function(module, f"k{number}", sample, sample.values(), dynamic=dynamic)
        (kernel,) = [f for f in fn.functions(module) if f.name.value == f"k{number}"]
        kernel.operation.attributes["sym_visibility"] = ir.StringAttr.get("private")
        kernel.operation.attributes["flambeau.kernel"] = ir.StringAttr.get("other")
        inputs, results = list(kernel.type.inputs), list(kernel.type.results)
        with ir.InsertionPoint(module.body):
            main = fn.create_function(f"f{number}", inputs, [ir.Location.unknown()] * len(inputs))
            block = fn.entry_block(main)
            with ir.InsertionPoint(block):
                callee = {"callee": ir.FlatSymbolRefAttr.get(f"k{number}")}
                call = ir.Operation.create(
                    "func.call", operands=list(block.arguments), results=results, attributes=callee
                )
                ir.Operation.create("func.return", operands=list(call.results))
            fn.set_signature(main)
    return module


def drop_not_covered(module: ir.Module) -> dict[str, str]:
    """Remove the kernels that have no loops and their callers; the reasons by the callers' names."""
    reasons = {}
    for function in fn.functions(module):
        attributes = function.operation.attributes
        if "flambeau.not_covered" in attributes:
            reasons["f" + function.name.value[1:]] = ir.StringAttr(attributes["flambeau.not_covered"]).value
    for function in fn.functions(module):
        name = function.name.value
        if name in reasons or "f" + name[1:] in reasons:
            function.operation.erase()
    return reasons


@cache
def loaded(family: str) -> tuple[Executable | None, dict[str, str]]:
    """All cases of a family, compiled, and the reasons of those that are not covered."""
    with create_context() as context, ir.Location.unknown():
        context.allow_unregistered_dialects = True
        module = kernels(cases(family))
        run_pipeline(
            module,
            "builtin.module(decompose{before=lowering},simplify-sizes,cse,schedule-kernels,lower-kernels)",
        )
        reasons = drop_not_covered(module)
        run_pipeline(module, "builtin.module(lower-to-torch,cse)")
        text = str(module)
    if len(reasons) == len(cases(family)):
        return None, reasons
    backend = lookup_backend("cpu")
    return Executable(compile_module(text, backend), find_device(backend, "local-sync")), reasons


@pytest.mark.parametrize("family", FAMILIES)
def test_loops_compute_what_eager_does(family: str) -> None:
    covered, reasons = loaded(family)
    if covered is None:
        pytest.skip("no sample is covered")
    executable = covered
    covered_cases = [(n, case) for n, case in enumerate(cases(family)) if f"f{n}" not in reasons]
    wrong = list(filter(None, (check(executable, n, case) for n, case in covered_cases)))
    assert not wrong, "\n".join(wrong)


def check(executable: Executable, number: int, case: Case) -> str:
    """What is wrong with a case's results, or nothing."""
    sample, dynamic = case
    values = sample.values()
    arguments = call_arguments(sample, values, dynamic)
    expected = interpreted(case, arguments)
    specs = [ResultSpec(e.dtype) for e in expected]
    found = executable.function(f"f{number}", specs)(arguments)
    if not expected:
        return ""
    for f, e in zip(found, expected, strict=True):
        if f.shape != e.shape or f.dtype != e.dtype:
            return f"{sample} dynamic={dynamic}: {f.dtype} {f.shape} where eager has {e.dtype} {e.shape}"
        bound = sample.tolerance
        if bound is None:
            bound = 8 * torch.finfo(e.dtype).eps if e.is_floating_point() else 0.0
        if error(f, e) > bound:
            return f"{sample} dynamic={dynamic}: error {error(f, e):.2g}, at most {bound:.2g}"
    return ""


def interpreted(case: Case, arguments: Sequence[Any]) -> list[torch.Tensor]:
    sample, dynamic = case
    with create_context(), ir.Location.unknown():
        module = ir.Module.create()
        add_function(module, "f", sample, sample.values(), dynamic=dynamic)
        return list(interpreter.run(module, "f", list(arguments)))


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference relative to the largest number; infinite where one has NaN or inf and the other not."""
    found, expected = found.double(), expected.double()
    same = (found == expected) | (found.isnan() & expected.isnan())
    if bool(same.all()):
        return 0.0
    finite = expected[expected.isfinite()]
    scale = finite.abs().max().item() if finite.numel() else 1.0
    difference = (found - expected)[~same].abs()
    return float("inf") if bool((~difference.isfinite()).any()) else difference.max().item() / (scale or 1.0)
