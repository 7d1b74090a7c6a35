# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass promote-half: pointwise ops on f16 and bf16 -> the same in f32, rounded once at the end.

PyTorch computes them so, in the backward too: before autodiff, the pass does it for the derivatives as well.
"""

from dataclasses import dataclass

from flambeau.dialects import build as b
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls.host import is_host_function
from flambeau.dialects.opdef import OPS
from flambeau.dialects.types import is_low_precision, is_tensor
from flambeau.pipelines.registry import register_pass

# Rounded once already, or not at all: nothing is gained in f32.
_EXACT = frozenset(
    f"flambeau.{name}"
    for name in (
        *("add", "sub", "mul", "div", "sqrt", "square", "reciprocal"),
        *("neg", "abs", "sign", "floor", "ceil", "round", "trunc", "copysign", "clone", "to_dtype"),
        *("relu", "where", "maximum", "minimum", "fmax", "fmin", "clamp", "clamp_tensor", "nan_to_num"),
        *("hardtanh", "threshold", "hardshrink"),
    )
)


@register_pass
@dataclass(frozen=True)
class PromoteHalf:
    """Compute pointwise ops on f16 and bf16 in f32, unless a single rounding is all that they do."""

    name = "promote-half"

    def run(self, module: ir.Module) -> None:
        for function in fn.functions(module):
            if is_host_function(function):
                continue  # PyTorch does it itself
            for op in fn.operations(fn.entry_block(function)):
                if _gains(op):
                    _promote(op)


def _gains(op: ir.Operation) -> bool:
    cls = OPS.get(op.name)
    return (
        cls is not None
        and cls.elementwise
        and op.name not in _EXACT
        and all(is_low_precision(r.type) for r in op.results)
    )


def _promote(op: ir.Operation) -> None:
    cls = OPS[op.name]
    with ir.InsertionPoint(op), op.location:
        fields = [getattr(op.opview, f.name) for f in cls.fields]
        promoted = b.of_class(cls)(*(b.wide(f) if _is_tensor(f) else f for f in fields))
        results = promoted if isinstance(promoted, list | tuple) else [promoted]
        for old, new in zip(op.results, results, strict=True):
            old.replace_all_uses_with(b.cast_like(new, old))
    op.erase()


def _is_tensor(field: object) -> bool:
    return isinstance(field, ir.Value) and is_tensor(field.type)
