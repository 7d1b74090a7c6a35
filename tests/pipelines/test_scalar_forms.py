# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Scalar forms: there is one for every elementwise op; special values; the errors of float64 functions."""

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from mpmath import mp, mpf

from flambeau.dialects import create_context
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import func, ir
from flambeau.dialects.opdef import OPS, VerificationError
from flambeau.pipelines.lower_to_torch.builtin import signless
from flambeau.pipelines.scalar_forms import has_scalar_form, scalar_form
from flambeau.runtime.iree.executable import ResultSpec
from tests.dialects.compiled import can_be_compiled, load
from tests.dialects.sample import Sample, call_arguments, single
from tests.dialects.samples import families

ELEMENTWISE = [s for samples in families().values() for s in samples if s.cls.elementwise]
FIRST = {s.op: s for s in reversed(ELEMENTWISE)}  # of each op one sample


@pytest.fixture(autouse=True)
def context() -> Iterator[ir.Context]:
    with create_context() as context, ir.Location.unknown():
        yield context


# --- A form of every op, for scalars and vectors ---------------------------------------------------------------------


def test_every_elementwise_op_is_sampled() -> None:
    assert {cls.OPERATION_NAME for cls in OPS.values() if cls.elementwise} == {
        s.cls.OPERATION_NAME for s in ELEMENTWISE
    }


@pytest.mark.parametrize("shape", [None, [8], [2, 4]], ids=["scalar", "vector", "matrix"])
def test_every_elementwise_op_has_a_form(shape: list[int] | None) -> None:
    def element(type_: ir.Type) -> ir.Type:
        found = signless(type_).element_type
        return found if shape is None else ir.VectorType.get(shape, found)

    for sample in ELEMENTWISE:
        module = single(sample, sample.values(), dynamic=False)
        (op,) = [o for o in fn.operations(fn.entry_block(fn.functions(module)[0])) if o.name in OPS]
        assert has_scalar_form(op), op.name
        forms = ir.Module.create()
        with ir.InsertionPoint(forms.body):
            function = func.FuncOp("form", ([element(v.type) for v in op.operands], []))
        block = function.add_entry_block()
        with ir.InsertionPoint(block):
            values = scalar_form(op, list(block.arguments))
            func.ReturnOp([])
        assert forms.operation.verify(), op.name
        values = values if isinstance(values, list) else [values]
        assert [v.type for v in values] == [element(r.type) for r in op.results], op.name


# --- Special values --------------------------------------------------------------------------------------------------

INF, NAN = math.inf, math.nan
FLOATS = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    0.75,
    1.5,
    -1.5,
    2.5,
    -2.5,
    2.0,
    -3.0,
    3.0,
    7.0,
    1e-3,
    -1e-6,
    100.0,
]
FLOATS += [-80.0, 1e4, -3e4, INF, -INF, NAN]
INTEGERS = {0, 1, 2, 3, 7, 8, 31, 32, 33, 63, 64, -1, -2, -3, -7, -8}


def by_numpy(function: Callable[..., Any], *arguments: torch.Tensor) -> torch.Tensor:
    with np.errstate(invalid="ignore"):
        return torch.from_numpy(function(*(a.numpy() for a in arguments)))


# Eager's vector forms of these are wrong for some of the values (see docs/numerics.md).
EXACT: dict[str, Callable[..., torch.Tensor]] = {
    "fmod": lambda x, y: by_numpy(np.fmod, x, y),
    "remainder": lambda x, y: by_numpy(np.remainder, x, y),
}
INEXACT_IN_EAGER = ("polygamma",)
DIVISIONS = ("trunc_divide", "floor_divide", "fmod", "remainder")


def edges(dtype: torch.dtype) -> torch.Tensor:
    if dtype is torch.bool:
        return torch.tensor([True, False])
    if dtype.is_floating_point:
        info = torch.finfo(dtype)
        extremes = [info.max, -info.max, info.eps, 1 + info.eps, 1 - info.eps / 2]
        return torch.tensor([*FLOATS, *extremes], dtype=torch.float64).to(dtype)
    limits = torch.iinfo(dtype)
    ends = {limits.min, limits.min + 1, limits.max - 1, limits.max}
    return torch.tensor(sorted(n for n in INTEGERS | ends if limits.min <= n <= limits.max), dtype=dtype)


def edge_sample(sample: Sample, dtype: torch.dtype) -> Sample | None:
    """The op on each tuple of special values; None if it is not for the dtype."""
    values = sample.values()
    positions = [i for i, v in enumerate(values) if isinstance(v, torch.Tensor)]
    numbers = edges(dtype) if len(positions) < 3 else edges(dtype)[::3]
    columns = [edges(torch.bool) if values[i].dtype == torch.bool else numbers for i in positions]
    rows = list(itertools.product(*(range(len(c)) for c in columns)))
    tensors = [c[torch.tensor([row[k] for row in rows])] for k, c in enumerate(columns)]
    if dtype is torch.bool and sample.op in (*DIVISIONS, "pow"):
        return None
    if not dtype.is_floating_point and sample.op in (*DIVISIONS, "pow"):
        # What eager refuses, or what stops the process in eager.
        x, y = tensors
        kept = y >= 0 if sample.op == "pow" else (y != 0) & ((y != -1) | (x != torch.iinfo(dtype).min))
        tensors = [x[kept], y[kept]]
    for position, tensor in zip(positions, tensors, strict=True):
        values[position] = tensor
    edge = Sample(sample.op, lambda: list(values), dynamic=False, eager=EXACT.get(sample.op, sample.eager))
    return edge if is_for(edge) else None


def is_for(sample: Sample) -> bool:
    """Whether eager and the dialect have the op for these arguments, with results of equal types."""
    try:
        results = sample.reference(sample.values())
        module = single(sample, sample.values(), dynamic=False)
    except (RuntimeError, TypeError, VerificationError, ir.MLIRError):
        return False
    inferred = fn.functions(module)[0].type.results
    return all(
        r.is_floating_point() == (str(t.element_type)[0] in "fb")
        for r, t in zip(results, inferred, strict=True)
    )


def differing(found: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """Where two results differ: by more than rounding, in NaN, or in the sign of a zero."""
    if not exact.is_floating_point():
        return found != exact
    relative, absolute = (1e-14, 1e-15) if exact.dtype == torch.float64 else (1e-5, 1e-6)
    close = (found - exact).abs() <= absolute + relative * exact.abs()
    zeros = (found == 0) & (exact == 0) & (found.signbit() != exact.signbit())
    subnormal = exact.abs() < torch.finfo(exact.dtype).smallest_normal
    return ~(close | (found == exact) | (found.isnan() & exact.isnan())) | (zeros & ~subnormal)


@pytest.mark.parametrize("name", ["float32", "float64", "int64", "int32", "int8", "uint8", "bool"])
def test_special_values(name: str) -> None:
    dtype = getattr(torch, name)
    wanted = [s for s in FIRST.values() if can_be_compiled(s) and s.op not in INEXACT_IN_EAGER]
    samples = [edge for s in wanted if s.op != "to_dtype" and (edge := edge_sample(s, dtype))]
    assert len(samples) > 25
    executable = load([(s, False) for s in samples])
    wrong = []
    for index, sample in enumerate(samples):
        values = sample.values()
        exact = sample.reference(values)
        arguments = call_arguments(sample, values, dynamic=False)
        found = executable.function(f"f{index}", [ResultSpec(e.dtype) for e in exact])(arguments)
        for f, e in zip(found, exact, strict=True):
            where = differing(f, e) & ~either_is_right(sample.op, arguments, e)
            wrong += [
                f"{sample.op}({', '.join(str(a[i].item()) for a in arguments)}) is {f[i]}, not {e[i]}"
                for i in where.nonzero().flatten()[:3]
            ]
    assert not wrong, "\n".join(wrong)


def either_is_right(op: str, arguments: Sequence[torch.Tensor], exact: torch.Tensor) -> torch.Tensor:
    """Where eager's result is one of two, or wrong (docs/numerics.md)."""
    if op in ("maximum", "minimum", "fmax", "fmin"):
        return (arguments[0] == 0) & (arguments[1] == 0)
    return arguments[0].isposinf() if op == "gelu" else torch.zeros_like(exact, dtype=torch.bool)


CASTS = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


def test_casts_of_special_values() -> None:
    pairs = [(getattr(torch, a), getattr(torch, b)) for a in CASTS for b in CASTS if a != b]
    samples = [Sample("to_dtype", lambda a=a, b=b: [edges(a), b], dynamic=False) for a, b in pairs]
    executable = load([(s, False) for s in samples])
    for index, (a, b) in enumerate(pairs):
        x = edges(a)
        found, exact = executable.function(f"f{index}", [ResultSpec(b)])([x])[0], x.to(b)
        same = (found == exact) | ((found != found) & (exact != exact))
        assert (same | ~defined(x, b)).all(), (a, b)


def defined(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Where C++ says what a cast gives: not for floats beyond an integer type."""
    if not x.is_floating_point() or dtype.is_floating_point or dtype == torch.bool:
        return torch.ones_like(x, dtype=torch.bool)
    limits = torch.iinfo(dtype)
    whole = x.double().trunc()
    return (whole >= float(limits.min)) & (whole < float(limits.max) + 1)


# --- Errors of float64 functions -------------------------------------------------------------------------------------

PAGE = Path(__file__).parent.parent.parent / "docs" / "numerics.md"
ROWS = re.findall(r"^\| `(\w+)`(?: of (\d+))? \| .* \| [\d.]+ \| ([\d.]+) \|", PAGE.read_text(), re.MULTILINE)
COUNT = 400


def uniform(low: float, high: float) -> np.ndarray:
    return np.random.default_rng(0).uniform(low, high, COUNT)


def magnitudes(low: float, high: float, signed: bool = True) -> np.ndarray:
    """2^low to 2^high, of both signs."""
    sizes = np.exp2(np.random.default_rng(1).uniform(low, high, COUNT))
    return sizes * np.where(np.arange(COUNT) % 2, -1, 1) if signed else sizes


def near_one() -> np.ndarray:
    return 1 + magnitudes(-50, -1)


QUARTERS = np.arange(1, 200) * (math.pi / 4)
# The double nearest to a multiple of pi / 2, and large ones.
HARD = np.array([6381956970095103.0 * 2.0**797, 1.7e308, 5.9e15, 1e22])
TURNS = (uniform(-10, 10), magnitudes(-60, 1023.9), QUARTERS, HARD)
UNIT = (
    uniform(-1, 1),
    magnitudes(-60, 0) * 0.999,
    -1 + magnitudes(-50, -1, signed=False),
    1 - magnitudes(-50, -1, False),
)
POSITIVE = (magnitudes(-1021, 1023, False), uniform(0.5, 2), near_one())
GAMMA = (uniform(0, 3), uniform(0, 10), magnitudes(-60, 60, False))

ARGUMENTS: dict[str, Sequence[np.ndarray]] = {
    "exp": (uniform(-708, 709.7), uniform(-1, 1), magnitudes(-40, 0)),
    "exp2": (uniform(-1021, 1023.9), uniform(-1, 1)),
    "expm1": (uniform(-50, 50), uniform(-1, 1), magnitudes(-60, 1), uniform(-708, 709)),
    "log": POSITIVE,
    "log2": POSITIVE,
    "log10": POSITIVE,
    "log1p": (uniform(-1, 1), magnitudes(-60, 0) * 0.999, magnitudes(0, 1000, False)),
    "sin": TURNS,
    "cos": TURNS,
    "tan": TURNS,
    "asin": UNIT,
    "acos": UNIT,
    "atan": (uniform(-3, 3), magnitudes(-60, 80)),
    "sinh": (uniform(-2, 2), uniform(-710, 710), magnitudes(-40, 5)),
    "cosh": (uniform(-2, 2), uniform(-710, 710), magnitudes(-40, 5)),
    "tanh": (uniform(-2, 2), uniform(-25, 25), magnitudes(-40, 5)),
    "asinh": (uniform(-4, 4), magnitudes(-60, 1000)),
    "acosh": (uniform(1, 4), magnitudes(0, 1000, False), 1 + magnitudes(-50, 0, False)),
    "atanh": UNIT,
    "erf": (uniform(-6, 6), uniform(-1.5, 1.5), magnitudes(-60, 0)),
    "erfc": (uniform(-6, 6), uniform(0, 26.5), magnitudes(-60, 0)),
    "erfinv": UNIT,
    "sigmoid": (uniform(-700, 40), uniform(-5, 5)),
    "silu": (uniform(-700, 40), uniform(-5, 5)),
    "lgamma": GAMMA,
    "digamma": GAMMA,
    "polygamma": (uniform(0.01, 20), magnitudes(-8, 10, False)),
}
PAIRS: dict[str, Sequence[tuple[np.ndarray, np.ndarray]]] = {
    "pow": (
        (magnitudes(-20, 20, False), uniform(-30, 30)),
        (1 + uniform(-1e-3, 1e-3), uniform(-5e5, 5e5)[::-1]),
        (magnitudes(-1000, 1000, False), uniform(-1, 1)),
        (magnitudes(-20, 20), np.round(uniform(-40, 40))),
    ),
    "atan2": ((magnitudes(-20, 20), magnitudes(-20, 20)[::-1]), (uniform(-2, 2), uniform(-2, 2)[::-1])),
}

EXACTLY: dict[str, Callable[..., Any]] = {
    "exp2": lambda x: mpf(2) ** x,
    "log2": lambda x: mp.log(x) / mp.log(2),
    "pow": mp.power,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "silu": lambda x: x / (1 + mp.exp(-x)),
    "lgamma": lambda x: mp.log(mp.gamma(x)) if x < 1e5 else mp.loggamma(x),
}


def arguments_of(name: str) -> list[torch.Tensor]:
    pairs = PAIRS.get(name) or [(a,) for a in ARGUMENTS[name]]
    return [torch.from_numpy(np.concatenate(column)) for column in zip(*pairs, strict=True)]


def units_off(found: float, exact: Any, least: float) -> float:
    """The error in units in the last place of `exact`, or of `least` if that is larger."""
    _, exponent = mpmath.frexp(max(abs(exact), mpf(least)))
    return float(abs(mpf(found) - exact) / mpf(2) ** (int(exponent) - 53)) if math.isfinite(found) else INF


def test_every_function_is_in_the_table() -> None:
    assert {name for name, _, _ in ROWS} == ARGUMENTS.keys() | PAIRS.keys()


def test_errors_in_float64() -> None:
    samples = []
    for name, order, _ in ROWS:
        extra = [int(order)] if order else []
        samples.append(Sample(name, lambda n=name, e=extra: [*e, *arguments_of(n)], dynamic=False))
    executable = load([(s, False) for s in samples])
    spec = [ResultSpec(torch.float64)]
    for index, (name, order, bound) in enumerate(ROWS):
        arguments = arguments_of(name)
        found = executable.function(f"f{index}", spec)(arguments)[0]
        exactly = EXACTLY.get(name) or getattr(mp, name)
        extra = [int(order)] if order else []
        least = 1.0 if name == "digamma" else 2.0**-1021
        with mp.workprec(1200 if name in ("sin", "cos", "tan") else 200):
            for numbers in zip(*(a.tolist() for a in arguments), found.tolist(), strict=True):
                *given, result = numbers
                exact = exactly(*extra, *map(mpf, given))
                if 2.0**-1021 < abs(exact) < 2.0**1023.99:
                    off = units_off(result, exact, least)
                    assert off <= float(bound), f"{name}({given}) is {result}, {off} units off"
