# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Samples of activation functions: on numbers around their kinks, on special values, in half precision, empty."""

from typing import Any

import torch

from tests.dialects.sample import Sample

NAN, INF = float("nan"), float("inf")
SPECIAL = torch.tensor(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 3.0, -3.0, 6.0, 7.0, 25.0, -25.0, 100.0, -100.0, INF, -INF, NAN]
)

# What is lost where 1 + exp(x) or exp(x) - 1 is rounded to float64.
TINY = torch.tensor([-1e-12, -3e-14, 2e-13], dtype=torch.float64)
TINY_RESULTS = torch.tensor([-25.0, -30.0, -36.0], dtype=torch.float64)


def activation(
    op: str, *extra: Any, id: str = "", smooth: bool = True, special: torch.Tensor = SPECIAL, **options: Any
) -> list[Sample]:
    prefix = f"{id} " if id else ""
    return [
        Sample(op, lambda: [torch.randn(3, 4) * 2, *extra], id=id, grad2=smooth, **options),
        Sample(op, lambda: [special, *extra], dynamic=False, id=f"{prefix}special", **options),
        Sample(op, lambda: [torch.randn(9).bfloat16(), *extra], grad=(), dynamic=False, id=f"{prefix}bf16"),
        Sample(op, lambda: [torch.randn(0, 3), *extra], dynamic=False, id=f"{prefix}empty"),
    ]


SAMPLES = [
    *activation("relu"),
    Sample("relu", lambda: [torch.tensor([-2, 0, 3])], id="i64"),
    *activation("leaky_relu", 0.1),
    *activation("leaky_relu", -0.3, id="negative"),
    Sample("prelu", lambda: [torch.randn(3, 4), torch.rand(3, 4)], grad2=True),
    Sample("prelu", lambda: [SPECIAL, torch.full_like(SPECIAL, 0.25)], id="special"),
    *activation("hardtanh", -1.0, 1.0),
    *activation("hardtanh", 0.0, 6.0, id="relu6"),
    *activation("hardtanh", 0, 6, id="ints"),
    *activation("threshold", 0.5, -7.0),
    *activation("elu", 1.0, 1, 1),
    *activation("elu", 1.6732632423543772, 1.0507009873554805, 1, id="selu"),
    *activation("elu", 0.7, 1.3, 0.5, id="scaled"),
    *activation("celu", 1.0),
    # 1 / alpha is exact: eager rounds it to f32 in the gradient.
    *activation("celu", 0.5, id="scaled"),
    *activation("sigmoid"),
    *activation("log_sigmoid_forward"),
    Sample("glu", lambda: [torch.randn(3, 4), -1], grad2=True),
    Sample("glu", lambda: [torch.randn(2, 6, 3), 1], id="middle"),
    Sample("glu", lambda: [torch.randn(2, 6).bfloat16(), 1], grad=(), dynamic=False, id="bf16"),
    # Eager's gelu of inf is NaN in vectors and inf elsewhere.
    *activation("gelu", "none", special=SPECIAL[SPECIAL != INF]),
    *activation("gelu", "tanh", id="tanh"),
    *activation("silu"),
    *activation("mish"),
    *activation("softplus", 1, 20),
    *activation("softplus", 2.5, 3, id="scaled"),
    *activation("hardsigmoid", smooth=False),
    *[
        Sample(op, lambda more=more: [TINY_RESULTS, *more], grad=(), dynamic=False, id="f64 tiny")
        for op, *more in (("mish",), ("softplus", 1, 20), ("log_sigmoid_forward",))
    ],
    *[
        Sample(op, lambda more=more: [TINY, *more], grad=(), dynamic=False, id="f64 tiny")
        for op, *more in (("elu", 1.0, 1, 1), ("celu", 1.0))
    ],
    *activation("hardswish"),
    *activation("hardshrink", 0.5),
    *activation("softshrink", 0.5),
]
