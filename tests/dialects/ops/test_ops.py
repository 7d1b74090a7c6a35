# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every op on its samples: types, interpreter against eager, gradients, decomposition, compiled; static and `?`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from flambeau.dialects import create_context
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.facts import ArgumentFacts
from flambeau.dialects.opdef import OPS, NoRule, NotDifferentiable
from flambeau.dialects.types import is_float
from flambeau.pipelines.passes.autodiff import differentiate
from flambeau.pipelines.passes.decompose import Decompose
from flambeau.runtime import interpreter
from tests.dialects.compiled import CompiledFamily, can_be_compiled
from tests.dialects.sample import Sample, as_float64, call_arguments, flat, single
from tests.dialects.samples import families

FAMILIES = families()
SAMPLES = [sample for samples in FAMILIES.values() for sample in samples]

# Ops without samples, and where they are tested.
ELSEWHERE = {
    "flambeau.dim": "tests/dialects/ops/test_constants.py",
    "flambeau.ref_new": "lit_tests/pipelines/functionalize.mlir",
    "flambeau.ref_view": "lit_tests/pipelines/functionalize.mlir",
    "flambeau.ref_load": "lit_tests/pipelines/functionalize.mlir",
    "flambeau.ref_store": "lit_tests/pipelines/functionalize.mlir",
    "autograd.detach": "lit_tests/pipelines/autodiff.mlir",
    "autograd.with_value": "lit_tests/pipelines/autodiff.mlir",
    "autograd.checkpoint": "lit_tests/pipelines/partition_min_cut.mlir",
}

ROOT = Path(__file__).parents[3]

Where = Callable[[Sample], object]


def cases(where: Where = lambda sample: True, slow: Where = lambda sample: False) -> list[Any]:
    """(sample, dynamic) for the samples that `where` accepts: static, and with `?` dims unless they say no."""
    return [
        pytest.param(
            sample,
            dynamic,
            id=f"{family}-{sample}-{'dynamic' if dynamic else 'static'}",
            marks=[pytest.mark.slow] if slow(sample) else [],
        )
        for family, samples in FAMILIES.items()
        for sample in samples
        if where(sample)
        for dynamic in (False, True)
        if sample.dynamic or not dynamic
    ]


def each(where: Where = lambda sample: True, slow: Where = lambda sample: False) -> Any:
    return pytest.mark.parametrize(("sample", "dynamic"), cases(where, slow))


@pytest.fixture(autouse=True, scope="module")
def context():
    with create_context() as context, ir.Location.unknown():
        yield context


def close(found: Sequence[Any], expected: Sequence[Any], tolerance: float, what: str) -> None:
    """Equal types and shapes, equal NaNs and infinities, and every error within `tolerance` of the largest element."""
    assert len(found) == len(expected), what
    for index, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert a.dtype == b.dtype, f"{what} {index}: dtype {a.dtype}, expected {b.dtype}"
        assert a.shape == b.shape, f"{what} {index}: shape {tuple(a.shape)}, expected {tuple(b.shape)}"
        if not (b.is_floating_point() or b.is_complex()):
            assert torch.equal(a, b), f"{what} {index}: {a} is not {b}"
            continue
        wide = torch.complex128 if b.is_complex() else torch.float64
        a, b = a.to(wide), b.to(wide)
        finite = b[torch.isfinite(b)].abs()
        scale = float(finite.max()) if finite.numel() else 0.0
        torch.testing.assert_close(
            a,
            b,
            rtol=tolerance,
            atol=tolerance * scale,
            equal_nan=True,
            msg=lambda m, i=index: f"{what} {i}: {m}",
        )


def identical(found: Sequence[Any], expected: Sequence[Any]) -> None:
    """Equal bit for bit, signs of zeros included; NaN counts as equal to NaN."""
    close(found, expected, 0.0, "result")
    for a, b in zip(found, expected, strict=True):
        if isinstance(b, torch.Tensor) and b.is_floating_point():
            assert torch.equal(a.signbit() | a.isnan(), b.signbit() | b.isnan()), "signs of zeros differ"


def run(module: ir.Module, arguments: Sequence[Any]) -> list[Any]:
    assert module.operation.verify()
    return interpreter.run(module, "f", arguments)


def test_every_op_has_a_sample():
    sampled = {sample.cls.OPERATION_NAME for sample in SAMPLES}
    missing = sorted(OPS.keys() - sampled - ELSEWHERE.keys())
    assert not missing, f"no sample in tests/dialects/samples/ for: {', '.join(missing)}"


@pytest.mark.parametrize("op", ELSEWHERE)
def test_ops_without_samples_are_tested_elsewhere(op):
    assert op in (ROOT / ELSEWHERE[op]).read_text()


def test_sample_ids_are_unique():
    names = [str(sample) for sample in SAMPLES]
    assert not sorted({n for n in names if names.count(n) > 1}), "give samples of one op different ids"


@each()
def test_interpreter_equals_eager(sample, dynamic):
    """Also: the op survives printing and parsing, and its inferred type says what eager returns."""
    values = sample.values()
    module = single(sample, values, dynamic=dynamic)
    text = str(module)
    assert f'"{sample.cls.OPERATION_NAME}"' in text
    assert str(ir.Module.parse(text)) == text
    torch.manual_seed(1)
    found = run(module, call_arguments(sample, values, dynamic))
    expected = sample.reference(values)
    identical(found, expected)
    for result, type_ in zip(expected, module.body.operations[0].type.results, strict=True):
        inferred = [type_.get_dim_size(i) for i in range(type_.rank) if not type_.is_dynamic_dim(i)]
        assert len(inferred) <= result.dim()
        if not dynamic:
            assert inferred == list(result.shape), (
                f"{type_} is inferred where eager gives {tuple(result.shape)}"
            )


@each(lambda sample: sample.differentiable())
def test_gradients(sample, dynamic):
    check_gradients(sample, dynamic, order=1)


@each(lambda sample: sample.grad2)
def test_second_derivatives(sample, dynamic):
    check_gradients(sample, dynamic, order=2)


def check_gradients(sample: Sample, dynamic: bool, order: int) -> None:
    """Gradients (or those of outputs and gradients together) by autodiff against torch.autograd, in f64."""
    positions = sample.differentiable()
    values = as_float64(sample.values())
    wanted = [
        len(call_arguments(sample, values[:p], dynamic)) + i
        for p in positions
        for i in range(len(flat(values[p])))
    ]
    leaves = [v.requires_grad_() for p in positions for v in flat(values[p])]
    outputs = sample.reference(values)
    arguments = call_arguments(sample, values, dynamic)

    module = single(sample, values, dynamic=dynamic)
    function = fn.functions(module)[0]
    for _ in range(order):
        Decompose().run(module)
        fn.set_signature(
            function,
            [ArgumentFacts(requires_grad=i in wanted) for i in range(len(arguments))],
        )
        differentiate(function)
        roots = [o for o in outputs if o.requires_grad]
        tangents = [torch.randn_like(o).requires_grad_() for o in roots]
        assert seeds(function) == [i for i, o in enumerate(outputs) if o.requires_grad]
        gradients = torch.autograd.grad(roots, leaves, tangents, create_graph=True, allow_unused=True)
        returned = gradient_positions(function)
        expected = []
        for position, gradient in zip(wanted, gradients, strict=True):
            if position in returned:
                argument = arguments[position]
                expected.append(torch.zeros_like(argument) if gradient is None else gradient)
            else:
                assert gradient is None or not gradient.any(), (
                    f"no gradient for argument {position}, eager has {gradient}"
                )
        wanted += range(len(arguments), len(arguments) + len(tangents))
        arguments += tangents
        leaves += tangents
        outputs += expected
    assert module.operation.verify()
    torch.manual_seed(1)
    with torch.no_grad():
        found = run(module, [a.detach() if isinstance(a, torch.Tensor) else a for a in arguments])
    close(found, [o.detach() for o in outputs], sample.grad_tolerance, "output or gradient")


def test_rules_emit_ops_with_rules():
    """What a VJP rule emits is differentiable itself, or takes and gives no floats, or says why it is not."""
    cut: set[str] = set()
    for sample in {s.op: s for s in reversed(SAMPLES) if s.differentiable()}.values():
        module = single(sample, as_float64(sample.values()), dynamic=False)
        Decompose().run(module)
        known = {op.name for op in fn.operations(fn.entry_block(fn.functions(module)[0]))}
        differentiate(fn.functions(module)[0])
        for op in fn.operations(fn.entry_block(fn.functions(module)[0])):
            if op.name.startswith(("arith.", "func.")) or op.name in known:
                continue
            if op.name == "autograd.detach":  # the zeros of a step, which have no history in eager either
                continue
            cls = OPS[op.name]
            floats = [all(is_float(v.type) for v in side) for side in (op.operands, op.results)]
            through = len(op.operands) > 0 and all(floats)
            if isinstance(cls.vjp, NoRule) or (isinstance(cls.vjp, NotDifferentiable) and through):
                cut.add(f"{sample.op} emits {op.name}")
    assert cut == set(STOPS)


# Rules whose gradient cannot be differentiated again.
STOPS: dict[str, str] = {}


def seeds(function: Any) -> list[int]:
    """Which results the tangent arguments belong to."""
    return [a.of_result for a in fn.argument_facts(function) if a.of_result is not None]


def gradient_positions(function: Any) -> list[int]:
    """Which arguments have a gradient among the results."""
    return [a.gradient_of for a in fn.result_facts(function) if a.gradient_of is not None]


@each(lambda sample: sample.cls.decompose)
def test_decomposition(sample, dynamic):
    values = as_float64(sample.values())
    module = single(sample, values, dynamic=dynamic, body=lambda op, _: flat(sample.cls.decompose(op)))
    close(run(module, call_arguments(sample, values, dynamic)), sample.reference(values), 1e-10, "result")


# --- Compiled code ---------------------------------------------------------------------------------------------------

COMPILED = {sample: family for family in map(CompiledFamily, FAMILIES.values()) for sample in family.samples}


@pytest.fixture(scope="module")
def _compile_only_what_is_selected(request):
    """So that `-k name` does not compile the whole family."""
    selected = {
        (item.callspec.params["sample"], item.callspec.params["dynamic"])
        for item in request.session.items
        if getattr(item, "originalname", "") == "test_compiled_equals_interpreter"
    }
    for family in COMPILED.values():
        family.only = selected


# The first sample of each op; the others are slow.
FIRST = {sample.cls: sample for sample in reversed(SAMPLES) if can_be_compiled(sample)}


@each(can_be_compiled, slow=lambda sample: sample is not FIRST[sample.cls])
@pytest.mark.usefixtures("_compile_only_what_is_selected")
def test_compiled_equals_interpreter(sample, dynamic):
    values = sample.values()
    arguments = call_arguments(sample, values, dynamic)
    expected = run(single(sample, values, dynamic=dynamic), arguments)
    found = COMPILED[sample].call((sample, dynamic), arguments, expected)
    tolerance = (
        sample.tolerance if sample.tolerance is not None else max(default_tolerance(e) for e in expected)
    )
    close(found, expected, tolerance, "result")


def default_tolerance(tensor: torch.Tensor) -> float:
    """A few units in the last place."""
    return 8 * torch.finfo(tensor.dtype).eps if tensor.is_floating_point() else 0.0
