# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ATen's backward overloads (`tanh_backward`), which a graph holds where a gradient is taken inside: a rule each.

They become what the VJP rule of the forward's op builds, so they are differentiable like everything else.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from flambeau.dialects import build as b
from flambeau.dialects.aten.importer import AtenImporter, Rule
from flambeau.dialects.aten.rules import nonnegative, slice_bounds
from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import OPS
from flambeau.dialects.rules import registers
from flambeau.dialects.types import shape_of

RULES: dict[str, Rule] = {}
imports = registers(RULES, "import rules")


def _gradients(op: str, g: ir.Value, *more: ir.Value | None, **fields: Any) -> Mapping[str, ir.Value]:
    """What the VJP rule of an op gives for its operands; `fields`: operands, results and attributes that it reads."""
    gradients: Mapping[str, ir.Value] = OPS[f"flambeau.{op}"].vjp(SimpleNamespace(**fields), g, *more)
    return gradients


def _of_output(name: str) -> None:
    """An elementwise op whose backward takes the output."""

    @imports(f"aten.{name}_backward.default")
    def _rule(importer: AtenImporter, grad_output: Any, output: Any) -> ir.Value:
        return _gradients(name, importer.value(grad_output), out=importer.value(output))["x"]


def _of_input(name: str) -> None:
    """An elementwise op whose backward takes the input, and numbers that are the op's attributes."""

    @imports(f"aten.{name}_backward.default")
    def _rule(importer: AtenImporter, grad_output: Any, self: Any, **attributes: Any) -> ir.Value:
        return _gradients(name, importer.value(grad_output), x=importer.value(self), **attributes)["x"]


for _name in ("tanh", "sigmoid"):
    _of_output(_name)
for _name in ("gelu", "silu", "softplus"):
    _of_input(_name)


@imports("aten.threshold_backward.default")
def _threshold_backward(importer: AtenImporter, grad_output: Any, self: Any, threshold: Any) -> ir.Value:
    return b.where(b.le(importer.value(self), threshold), 0, importer.value(grad_output))


def _of_softmax(name: str) -> None:
    @imports(f"aten._{name}_backward_data.default")
    def _rule(importer: AtenImporter, grad_output: Any, output: Any, dim: int, input_dtype: Any) -> ir.Value:
        out = importer.value(output)
        if importer.dtype(input_dtype) != out.type.element_type:
            raise TypeError("the gradient of a softmax that changes the dtype")
        return _gradients(name, importer.value(grad_output), x=out, out=out, dim=dim)["x"]


for _name in ("softmax", "log_softmax"):
    _of_softmax(_name)


@imports("aten.native_layer_norm_backward.default")
def _native_layer_norm_backward(
    importer: AtenImporter,
    grad_out: Any,
    input: Any,
    normalized_shape: Any,
    mean: Any,
    rstd: Any,
    weight: Any,
    bias: Any,
    output_mask: Any,
) -> list[ir.Value | None]:
    fields = {"x": input, "mean": mean, "rstd": rstd, "weight": weight, "bias": bias}
    values = {name: None if given is None else importer.value(given) for name, given in fields.items()}
    gradients = _gradients(
        "native_layer_norm",
        importer.value(grad_out),
        None,
        None,
        **values,
        normalized_shape=importer.sizes(normalized_shape),
    )
    wanted = zip(("x", "weight", "bias"), output_mask, strict=True)
    return [gradients[name] if flag else None for name, flag in wanted]


@imports("aten.slice_backward.default")
def _slice_backward(
    importer: AtenImporter, grad_output: Any, input_sizes: Any, dim: int, start: Any, end: Any, step: int
) -> ir.Value:
    g, sizes = importer.value(grad_output), importer.result_sizes()
    dim %= len(sizes)
    first, last = slice_bounds(importer, sizes[dim], start, end)
    return b.slice_scatter(b.full(sizes, 0, g.type.element_type), g, dim, first, last, step)


@imports("aten.select_backward.default")
def _select_backward(
    importer: AtenImporter, grad_output: Any, input_sizes: Any, dim: int, index: Any
) -> ir.Value:
    g = importer.value(grad_output)
    zeros = b.full(importer.result_sizes(), 0, g.type.element_type)
    dim %= len(shape_of(zeros))
    return b.select_scatter(zeros, g, dim, nonnegative(importer, index, zeros, dim))
