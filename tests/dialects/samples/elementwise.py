# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Samples of arithmetic and mathematical functions."""

from collections.abc import Sequence
from typing import Any

import torch

from tests.dialects.sample import Sample

NAN, INF = float("nan"), float("inf")

# Kinks, poles and special values; as pairs, each with each.
SPECIAL = torch.tensor([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -3.0, 3.0, INF, -INF, NAN])

NEAR_ZERO = torch.tensor([1e-7, -1e-6, 1e-5, -3e-5])
# Multiples of a quarter turn too, to the last bit of float32.
MANY_TURNS = torch.tensor([100.0, -1e3, 4095.5, 12345.0, -1e5, 1e8, -1e10, 3e20, 3e38, 355.0, 1.1415929e8])
LARGE = torch.tensor([-1e3, 1e5, -1e10, 1e30])


def pairs(values: torch.Tensor = SPECIAL) -> list[torch.Tensor]:
    """Two tensors that hold each pair of `values`."""
    return [t.contiguous() for t in torch.meshgrid(values, values, indexing="ij")]


def integers(*shape: int, low: int = -9, high: int = 10, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    return torch.randint(low, high, shape, dtype=dtype)


def nonzero(*shape: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    """Integers from -9 to 9 without 0."""
    return torch.randint(1, 10, shape, dtype=dtype) * (1 - 2 * torch.randint(0, 2, shape, dtype=dtype))


def unary(
    op: str, low: float = -3.0, high: float = 3.0, special: bool = True, **options: Any
) -> list[Sample]:
    """Numbers between `low` and `high`, special values, other precisions, empty."""

    def between(*shape: int) -> torch.Tensor:
        return torch.rand(*shape) * (high - low) + low

    samples = [
        Sample(op, lambda: [between(3, 4)], grad2=True, **options),
        Sample(op, lambda: [between(5).bfloat16()], grad=(), dynamic=False, id="bf16", **options),
        Sample(op, lambda: [between(5).double()], grad=(), dynamic=False, id="f64", **options),
        Sample(op, lambda: [between(0, 2)], dynamic=False, id="empty", **options),
    ]
    if special:
        samples.append(Sample(op, lambda: [SPECIAL], dynamic=False, id="special", **options))
    return samples


def binary(op: str, make: Any = None, extra: Sequence[Any] = (), **options: Any) -> list[Sample]:
    """A function of two tensors: normal numbers, all pairs of special values, other precisions, rank 0."""
    make = make or torch.randn
    return [
        Sample(op, lambda: [make(3, 4), make(3, 4), *extra], grad2=True, **options),
        Sample(
            op,
            lambda: [make(5).bfloat16(), make(5).bfloat16(), *extra],
            grad=(),
            dynamic=False,
            id="bf16",
            **options,
        ),
        Sample(
            op,
            lambda: [make(5).double(), make(5).double(), *extra],
            grad=(),
            dynamic=False,
            id="f64",
            **options,
        ),
        Sample(op, lambda: [make(()), make(()), *extra], dynamic=False, id="scalar", **options),
        Sample(op, lambda: [*pairs(), *extra], dynamic=False, id="special", **options),
    ]


def on_integers(op: str, extra: Sequence[Any] = (), bools: bool = True, arity: int = 2) -> list[Sample]:
    """A function of i64, i32, u8 and bool tensors; second operands are not 0."""
    second = arity == 2

    def arguments(first: torch.Tensor, other: torch.Tensor) -> list[Any]:
        return [first, *([other] if second else []), *extra]

    kinds = {
        "i64": lambda: arguments(integers(3, 4), nonzero(3, 4)),
        "i32": lambda: arguments(integers(7, dtype=torch.int32), nonzero(7, dtype=torch.int32)),
        "u8": lambda: arguments(
            integers(7, low=0, high=255, dtype=torch.uint8), integers(7, low=1, high=255, dtype=torch.uint8)
        ),
    }
    if bools:
        kinds["bool"] = lambda: arguments(
            torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
        )
    return [Sample(op, make, dynamic=False, id=name) for name, make in kinds.items()]


def positive(*shape: Any) -> torch.Tensor:
    return torch.rand(*shape) * 3 + 0.1


SAMPLES = [
    *binary("add"),
    *on_integers("add"),
    *binary("sub"),
    *on_integers("sub", bools=False),
    *binary("scaled_add", extra=[0.3]),
    *on_integers("scaled_add", extra=[3], bools=False),
    *binary("scaled_sub", extra=[-0.7]),
    *on_integers("scaled_sub", extra=[2], bools=False),
    *binary("mul"),
    *on_integers("mul"),
    *binary("div"),
    *binary("floor_divide"),
    Sample("floor_divide", lambda: [torch.arange(-9.0, 10.0), torch.full((19,), 0.1)], id="tenths"),
    *on_integers("floor_divide", bools=False),
    *binary("trunc_divide"),
    *on_integers("trunc_divide", bools=False),
    *binary("remainder"),
    Sample("remainder", lambda: [torch.arange(-9.0, 10.0), torch.full((19,), 0.1)], id="tenths"),
    *on_integers("remainder", bools=False),
    *binary("fmod"),
    Sample("fmod", lambda: [torch.arange(-9.0, 10.0), torch.full((19,), 0.1)], id="tenths"),
    *on_integers("fmod", bools=False),
    *binary("pow", positive),
    Sample("pow", lambda: [integers(3, 4), integers(3, 4, low=0, high=5)], id="i64"),
    *[
        sample
        for exponent in (2, 3, 0.5, -0.5, -1, -2, 1, 0, 2.0, 1.7, 4.0, 5, -3, -1.7)
        for sample in (
            Sample("pow_scalar", lambda e=exponent: [positive(3, 4), e], grad2=True, id=f"{exponent}"),
            Sample("pow_scalar", lambda e=exponent: [SPECIAL, e], dynamic=False, id=f"special {exponent}"),
        )
    ],
    Sample("pow_scalar", lambda: [integers(3, 4), 3], id="i64"),
    *binary("maximum"),
    *on_integers("maximum"),
    *binary("minimum"),
    *on_integers("minimum"),
    *binary("fmax"),
    *on_integers("fmax"),
    *binary("fmin"),
    *on_integers("fmin"),
    *binary("atan2"),
    *binary("copysign"),
    *binary("hypot"),
    *binary("xlogy", positive),
    *binary("logaddexp"),
    *binary("logaddexp2"),
    Sample("lerp", lambda: [torch.randn(3, 4), torch.randn(3, 4), torch.rand(3, 4)], grad2=True),
    Sample("lerp", lambda: [torch.randn(6), torch.randn(6), torch.randn(6) * 3], id="outside"),
    Sample("addcmul", lambda: [torch.randn(3, 4), torch.randn(3, 4), torch.randn(3, 4), 0.3], grad2=True),
    Sample("addcmul", lambda: [integers(5), integers(5), integers(5), 2], id="i64"),
    Sample("addcdiv", lambda: [torch.randn(3, 4), torch.randn(3, 4), positive(3, 4), -1.5], grad2=True),
    *[
        Sample("clamp", lambda limits=limits: [torch.cat([SPECIAL, torch.randn(8)]), *limits], id=f"{limits}")
        for limits in ((-0.5, 0.5), (None, 0.5), (-0.5, None), (0, 1), (1.0, -1.0), (-3, INF))
    ],
    Sample("clamp", lambda: [integers(12), -2, 5], id="i64"),
    Sample("clamp", lambda: [integers(12, low=0, dtype=torch.uint8), 2, 5], id="u8"),
    Sample("clamp_tensor", lambda: [torch.randn(20), torch.randn(20), torch.randn(20)]),
    Sample("clamp_tensor", lambda: [*pairs()], id="min special"),
    Sample("clamp_tensor", lambda: [pairs()[0], None, pairs()[1]], id="max special"),
    Sample("clamp_tensor", lambda: [integers(12), nonzero(12), None], id="i64"),
    Sample("nan_to_num", lambda: [SPECIAL]),
    Sample("nan_to_num", lambda: [SPECIAL, 0.5, 7.0, -8.0], id="replacements"),
    Sample("nan_to_num", lambda: [SPECIAL.half()], grad=(), id="f16"),
    Sample("nan_to_num", lambda: [SPECIAL.double()], id="f64"),
    Sample("nan_to_num", lambda: [integers(4)], id="i64"),
    *[
        sample
        for op in ("neg", "abs", "sign", "floor", "ceil", "round", "trunc")
        for sample in (*unary(op), *on_integers(op, bools=False, arity=1))
    ],
    *[
        Sample("round_decimals", lambda d=decimals: [torch.randn(9) * 100, d], id=f"{decimals}")
        for decimals in (2, 0, -1)
    ],
    *unary("frac"),
    *unary("square"),
    *on_integers("square", bools=False, arity=1),
    *unary("sqrt", 0.1, 4.0),
    *unary("rsqrt", 0.1, 4.0),
    *unary("reciprocal", 0.1, 4.0),
    *unary("exp"),
    *unary("exp2"),
    *unary("expm1"),
    Sample("expm1", lambda: [NEAR_ZERO], id="near 0"),
    *unary("log", 0.1, 4.0),
    *unary("log2", 0.1, 4.0),
    *unary("log10", 0.1, 4.0),
    *unary("log1p", -0.9, 4.0),
    Sample("log1p", lambda: [NEAR_ZERO], id="near 0"),
    *unary("sin"),
    *unary("cos"),
    *unary("tan", -1.4, 1.4),
    *[Sample(op, lambda: [MANY_TURNS], dynamic=False, id="many turns") for op in ("sin", "cos", "tan")],
    *unary("asin", -0.99, 0.99),
    *unary("acos", -0.99, 0.99),
    *unary("atan"),
    *unary("sinh"),
    Sample("sinh", lambda: [NEAR_ZERO], id="near 0"),
    *unary("cosh"),
    *unary("tanh"),
    Sample("tanh", lambda: [NEAR_ZERO], id="near 0"),
    Sample("tanh", lambda: [torch.cat([SPECIAL, NEAR_ZERO]).double()], grad=(), id="f64 special"),
    *[
        Sample(op, lambda: [NEAR_ZERO.double() ** 2], grad=(), dynamic=False, id="f64 near 0")
        for op in ("expm1", "log1p", "tanh", "sinh", "asinh", "atanh")
    ],
    *[
        Sample(op, lambda: [torch.cat([SPECIAL, LARGE]).double()], grad=(), dynamic=False, id="f64 special")
        for op in ("expm1", "log1p")
    ],
    *unary("asinh"),
    Sample("asinh", lambda: [NEAR_ZERO], id="near 0"),
    *unary("acosh", 1.1, 4.0),
    Sample("acosh", lambda: [1 + NEAR_ZERO.abs()], grad=(), id="near 1"),
    Sample("acosh", lambda: [LARGE.abs()], id="large"),
    Sample("acosh", lambda: [LARGE], grad=(), id="negative"),
    Sample("asinh", lambda: [LARGE], id="large"),
    Sample("sinh", lambda: [torch.tensor([-85.0, -30.0, 30.0, 89.0, 120.0])], id="large"),
    *unary("atanh", -0.99, 0.99),
    Sample("atanh", lambda: [NEAR_ZERO], id="near 0"),
    *unary("erf"),
    *unary("erfc"),
    *unary("erfinv", -0.99, 0.99),
    *unary("logit", 0.05, 0.95),
    Sample("logit", lambda: [torch.tensor([-0.1, 0.0, 0.1, 0.2, 0.5, 0.8, 0.9, 1.0, 1.1]), 0.2], id="eps"),
    *unary("digamma", 0.1, 4.0),
    *unary("lgamma", 0.1, 4.0),
    Sample("polygamma", lambda: [1, positive(3, 4)]),
    Sample("polygamma", lambda: [2, positive(3, 4)], grad2=True, id="2"),
    *unary("clone"),
    Sample("clone", lambda: [integers(4)], id="i64"),
    *[
        Sample(
            "to_dtype",
            lambda s=source, t=target: [s, t],
            grad=(),
            dynamic=False,
            id=f"{name} {target}".replace("torch.", ""),
        )
        for name, source in {
            "f32": torch.tensor([0.0, -0.0, 0.5, -0.5, 1.9, -1.9, 100.7]),
            "f64": torch.tensor([0.0, 1e-300, -7.9, 3.1]).double(),
            "f16": torch.tensor([0.0, -0.5, 1.9, -7.3]).half(),
            "bf16": torch.tensor([0.0, -0.5, 1.9, -7.3]).bfloat16(),
            "i64": torch.tensor([0, 1, -1, 300, -300, 2**40 + 5]),
            "i32": torch.tensor([0, 1, -1, 300, -300], dtype=torch.int32),
            "i16": torch.tensor([0, 1, -1, 300, -300], dtype=torch.int16),
            "i8": torch.tensor([0, 1, -1, 100, -100], dtype=torch.int8),
            "u8": torch.tensor([0, 1, 128, 255], dtype=torch.uint8),
            "bool": torch.tensor([True, False]),
        }.items()
        for target in (
            torch.float32,
            torch.float64,
            torch.float16,
            torch.bfloat16,
            torch.int64,
            torch.int32,
            torch.int16,
            torch.int8,
            torch.bool,
            torch.uint8,
        )
        # A negative float as uint8 is undefined, in C as in eager.
        if not (source.is_floating_point() and target == torch.uint8)
    ],
    Sample("to_dtype", lambda: [torch.tensor([0.0, 1.9, 250.2]), torch.uint8], grad=(), id="f32 uint8"),
    Sample("to_dtype", lambda: [torch.randn(3, 4), torch.float64], id="gradient"),
    Sample(
        "to_dtype", lambda: [torch.tensor([0.0, NAN, INF, 1e-30]), torch.bool], grad=(), id="special bool"
    ),
]
