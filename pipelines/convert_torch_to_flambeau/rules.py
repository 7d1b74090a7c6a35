# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rules for overloads that only torch dialect files hold, or that need more than dialects/aten/rules.py can know."""

import math
from abc import abstractmethod
from collections import ChainMap
from typing import Any

from flambeau.dialects import build as b
from flambeau.dialects.aten import rules
from flambeau.dialects.aten.importer import AtenImporter, Rule, Size
from flambeau.dialects.aten.rules import ranged
from flambeau.dialects.bindings import ir
from flambeau.dialects.rules import registers
from flambeau.dialects.types import is_float, shape_of


class TorchSource(AtenImporter):
    """What these rules ask the importer of torch dialect files for besides."""

    @abstractmethod
    def broadcast_leading(self, x: ir.Value, y: ir.Value) -> list[Size]:
        """The sizes that all dims but the last two of two tensors broadcast to."""


RULES: ChainMap[str, Rule] = ChainMap({}, rules.RULES)
imports = registers(RULES, "import rules")


@imports("prims.squeeze.default")
def _squeeze(importer: TorchSource, a: ir.Value, dimensions: list[int]) -> ir.Value:
    return b.squeeze(a, sorted(d % len(shape_of(a)) for d in dimensions)) if dimensions else a


@imports("prims.transpose.default")
def _permute(importer: TorchSource, a: ir.Value, permutation: list[int]) -> ir.Value:
    return b.permute(a, permutation)


@imports("aten.type_as.default")
def _type_as(importer: TorchSource, self: ir.Value, other: ir.Value) -> ir.Value:
    return b.cast_like(self, other)


@imports("aten.dropout.default")
def _dropout(importer: TorchSource, input: ir.Value, p: float, train: bool) -> ir.Value:
    return b.native_dropout(input, p, True)[0] if train and p else input


@imports("prim.NumToTensor.Scalar")
def _number_to_tensor(importer: TorchSource, a: Any) -> ir.Value:
    element = importer.result_type().element_type
    return b.tensor_from_index(a, element) if isinstance(a, ir.Value) else b.scalar(a, element)


@imports("aten.arange.default", "aten.arange.start", "aten.arange.start_step")
def _arange(importer: TorchSource, end: Any, start: Any = 0, step: Any = 1, **_: Any) -> ir.Value:
    (size,) = importer.result_sizes()
    whole = all(isinstance(v, ir.Value) or v == math.floor(v) for v in (start, step))
    if is_float(importer.result_type().element_type) and not whole:
        raise TypeError("arange of floats with a fraction: eager rounds them in a way of its own")
    return ranged(importer, size, start, step)


# --- Composite overloads, which exports without decompositions hold ---------------------------------------------------


@imports("aten.linear.default")
def _linear(importer: TorchSource, input: ir.Value, weight: ir.Value, bias: ir.Value | None) -> ir.Value:
    if len(shape_of(weight)) != 2:
        raise TypeError(f"linear with a weight of rank {len(shape_of(weight))}; 2 is supported")
    out = _matmul(importer, input, b.transpose(weight, 0, 1))
    return out if bias is None else b.add(out, b.expand_to(bias, out))


@imports("aten.matmul.default")
def _matmul(importer: TorchSource, self: ir.Value, other: ir.Value) -> ir.Value:
    """As torch.matmul: vectors get a dim of size 1 for the product, leading dims broadcast."""
    x = b.unsqueeze(self, 0) if len(shape_of(self)) == 1 else self
    y = b.unsqueeze(other, 1) if len(shape_of(other)) == 1 else other
    gone = [d for d, was in ((-2, self), (-1, other)) if len(shape_of(was)) == 1]
    if len(shape_of(y)) == 2:
        *leading, inner = b.sizes(x)
        flat = b.view(x, [b.multiply_sizes(leading), inner]) if len(leading) != 1 else x
        out = b.mm(flat, y)
        out = b.view(out, [*leading, b.size(y, 1)]) if len(leading) != 1 else out
    else:
        leading = importer.broadcast_leading(x, y)
        count = b.multiply_sizes(leading)
        parts = [b.expand(v, [*leading, *b.sizes(v)[-2:]]) for v in (x, y)]
        rows, columns = b.size(x, len(shape_of(x)) - 2), b.size(y, len(shape_of(y)) - 1)
        out = b.bmm(*(b.view(p, [count, *b.sizes(p)[-2:]]) for p in parts))
        out = b.view(out, [*leading, rows, columns])
    rank = len(shape_of(out))
    return b.squeeze(out, sorted(rank + d for d in gone)) if gone else out


@imports("aten.conv1d.default", "aten.conv2d.default", "aten.conv3d.default")
def _convolution(
    importer: TorchSource,
    input: ir.Value,
    weight: ir.Value,
    bias: ir.Value | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> ir.Value:
    none = [0] * len(stride)
    return b.convolution(input, weight, bias, stride, padding, dilation, False, none, groups)


@imports("aten.layer_norm.default")
def _layer_norm(
    importer: TorchSource,
    input: ir.Value,
    normalized_shape: list[int],
    weight: ir.Value | None,
    bias: ir.Value | None,
    eps: float,
    **_: Any,
) -> ir.Value:
    return b.native_layer_norm(input, normalized_shape, weight, bias, eps)[0]


@imports("aten.max_pool2d.default")
def _max_pool2d(importer: TorchSource, self: ir.Value, **given: Any) -> ir.Value:
    return b.max_pool2d_with_indices(self, *given.values())[0]
