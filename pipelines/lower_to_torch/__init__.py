# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass lower-to-torch: functional functions of our dialect -> torch dialect, which IREE compiles."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import OPS, AtenCall, Literal, Lowering
from flambeau.pipelines.errors import UnsupportedOpError
from flambeau.pipelines.lower_to_torch import torch_builder as t
from flambeau.pipelines.registry import register_pass

# The modules with rules, one per op family. A new module adds its name here.
FAMILIES = (
    "autograd",
    "constant",
    "convolution",
    "elementwise",
    "index",
    "pooling",
    "random",
    "rearrange",
    "reduce",
    "shape",
)
for _family in FAMILIES:
    import_module(f"{__name__}.{_family}")

_INDEX_ARITHMETIC = {
    "arith.addi": "aten.add.int",
    "arith.subi": "aten.sub.int",
    "arith.muli": "aten.mul.int",
    "arith.floordivsi": "aten.floordiv.int",
    "arith.remsi": "aten.remainder.int",
    "arith.maxsi": "prim.max.int",
    "arith.minsi": "prim.min.int",
}


@register_pass
@dataclass(frozen=True)
class LowerToTorch:
    """Lower functional functions to the torch dialect, by ATen name or by rule."""

    name = "lower-to-torch"

    def run(self, module: ir.Module) -> None:
        for function in [op for op in module.body.operations if op.operation.name == "func.func"]:
            lower_function(function)


def lower_function(function: Any) -> None:
    """Replace a `func.func` by its torch dialect form, keeping name, visibility and argument attributes."""
    old = function.operation
    type_ = function.type
    inputs = [t.torch_type(i) for i in type_.inputs]
    results = [t.torch_type(r) for r in type_.results]
    dropped = ("function_type", "arg_attrs", "res_attrs")
    kept = {name: old.attributes[name] for name in old.attributes if name not in dropped}
    with ir.InsertionPoint(old), old.location:
        new = ir.Operation.create(
            "func.func",
            attributes=kept
            | {
                "function_type": ir.TypeAttr.get(ir.FunctionType.get(inputs, results)),
                # Our elementwise ops have equal shapes, so a `?` never broadcasts.
                "torch.assume_strict_symbolic_shapes": ir.UnitAttr.get(),
            },
            regions=1,
        )
    block = new.regions[0].blocks.append(
        *inputs, arg_locs=[a.location for a in old.regions[0].blocks[0].arguments]
    )
    values: dict[Any, Any] = {}
    source = old.regions[0].blocks[0]
    for before, after in zip(source.arguments, block.arguments, strict=True):
        values[before] = after
    with ir.InsertionPoint(block):
        _bind_symbolic_shapes(function, list(block.arguments))
        for op in [o.operation for o in source.operations]:
            with op.location:
                lower_op(op, values)
    old.erase()


def _bind_symbolic_shapes(function: Any, arguments: list[ir.Value]) -> None:
    """Say which dynamic dims are equal, from the arguments' `flambeau.dims`."""
    attributes = function.arg_attrs if "arg_attrs" in function.operation.attributes else []
    tensor = "!torch.vtensor"
    facts = [(a, d) for a, d in zip(arguments, attributes, strict=False) if str(a.type).startswith(tensor)]
    dims = [(a, d["flambeau.dims"]) for a, d in facts if "flambeau.dims" in d]
    symbols: dict[str, ir.Value] = {}
    i64 = ir.IntegerType.get_signless(64)
    for _, array in dims:
        for name in (d.value for d in array if isinstance(d, ir.StringAttr)):
            if name not in symbols:
                symbols[name] = ir.Operation.create(
                    "torch.symbolic_int",
                    results=[ir.Type.parse("!torch.int")],
                    attributes={
                        "symbol_name": ir.StringAttr.get(name),
                        "min_val": ir.IntegerAttr.get(i64, 0),
                        "max_val": ir.IntegerAttr.get(i64, 2**63 - 1),
                    },
                ).results[0]
    for argument, array in dims:
        names = list(dict.fromkeys(d.value for d in array if isinstance(d, ir.StringAttr)))
        if not names:
            continue
        expressions = [
            ir.AffineSymbolExpr.get(names.index(d.value))
            if isinstance(d, ir.StringAttr)
            else ir.AffineConstantExpr.get(ir.IntegerAttr(d).value)
            for d in array
        ]
        ir.Operation.create(
            "torch.bind_symbolic_shape",
            operands=[argument, *(symbols[n] for n in names)],
            attributes={
                "shape_expressions": ir.AffineMapAttr.get(ir.AffineMap.get(0, len(names), expressions))
            },
        )


def lower_op(op: ir.Operation, values: dict[Any, Any]) -> None:
    """Lower one op at the current insertion point and record its results in `values`."""
    if op.name == "func.return":
        ir.Operation.create("func.return", operands=[values[v] for v in op.operands])
        return
    if op.name == "arith.constant" and isinstance(op.results[0].type, ir.IndexType):
        values[op.results[0]] = t.int_(ir.IntegerAttr(op.attributes["value"]).value)
        return
    if op.name in _INDEX_ARITHMETIC:
        operands = [values[v] for v in op.operands]
        values[op.results[0]] = t.call(_INDEX_ARITHMETIC[op.name], operands, ir.Type.parse("!torch.int"))
        return
    cls = OPS.get(op.name)
    rule = t.RULES.get(op.name)
    if cls is None or (rule is None and cls.lowering is not Lowering.DIRECT):
        raise UnsupportedOpError(op, "lower-to-torch has no rule for it")
    lowered = t.Lowered(op.opview, {f.name: _field(op.opview, f, values) for f in cls.fields})
    results = rule(lowered) if rule is not None else _direct(cls.aten[0], lowered)
    if len(op.results) == 1:
        results = [results]
    for before, after in zip(op.results, results, strict=True):
        values[before] = after


def _field(op: Any, item: Any, values: dict[Any, Any]) -> Any:
    value = getattr(op, item.name)
    if item.is_operand and item.variadic:
        return [values[v] for v in value]
    if item.is_size and isinstance(value, list):
        return [v if isinstance(v, int) else values[v] for v in value]
    return values[value] if isinstance(value, ir.Value) else value


def _direct(call: AtenCall, lowered: t.Lowered) -> Any:
    operands = []
    for item in call.arguments or ():
        value = (
            item.value
            if isinstance(item, Literal)
            else getattr(lowered, item)
            if isinstance(item, str)
            else item
        )
        operands.append(t.argument(value))
    return t.call(call.name.removesuffix(".default"), operands, *lowered.result_types)
