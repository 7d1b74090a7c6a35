# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass lower-to-torch: functional functions of our dialect -> torch dialect, which IREE compiles."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import choice, kernel
from flambeau.dialects.errors import UnsupportedOpError
from flambeau.dialects.opdef import OPS, AtenCall, Literal, Lowering
from flambeau.dialects.types import is_complex, is_tensor
from flambeau.pipelines.analysis.fills import is_uniform_constant
from flambeau.pipelines.lower_to_torch import builtin
from flambeau.pipelines.lower_to_torch import torch_builder as t
from flambeau.pipelines.lower_to_torch.branches import lower_choice
from flambeau.pipelines.lower_to_torch.dispatches import is_dispatch, lower_dispatch
from flambeau.pipelines.lower_to_torch.kernels import lower_kernel
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
    import_module(f"flambeau.pipelines.lower_to_torch.{_family}")

_INDEX_ARITHMETIC = {
    "arith.addi": "aten.add.int",
    "arith.subi": "aten.sub.int",
    "arith.muli": "aten.mul.int",
    "arith.floordivsi": "aten.floordiv.int",
    "arith.remsi": "aten.remainder.int",
    "arith.maxsi": "prim.max.int",
    "arith.minsi": "prim.min.int",
    "arith.ceildivsi": "aten.floordiv.int",  # of the negative, and the negative of that
}

_REDUCTIONS = tuple(f"flambeau.{name}" for name in ("sum", "mean", "prod", "mv", "mm", "bmm", "convolution"))


@register_pass
@dataclass(frozen=True)
class LowerToTorch:
    """Lower functional functions to the torch dialect, by ATen name or by rule.

    `keep-facts=true` keeps the attributes of arguments and results for a later pass; IREE does not take them.
    """

    name = "lower-to-torch"

    keep_facts: bool = False

    def run(self, module: ir.Module) -> None:
        inlined = choice.all_branches(module) | {f.name.value for f in kernel.kernels(module)}
        for function in fn.functions(module):
            if function.name.value not in inlined:
                lower_function(function, keep_facts=self.keep_facts)
        choice.erase_choices(module)
        for function in kernel.kernels(module):
            function.operation.erase()


def lower_function(function: Any, *, keep_facts: bool) -> None:
    """Replace a `func.func` by its torch dialect form, keeping its name and visibility."""
    old = function.operation
    type_ = function.type
    inputs = [t.torch_type(i) for i in type_.inputs]
    results = [t.torch_type(r) for r in type_.results]
    dropped = ("function_type",) if keep_facts else ("function_type", "arg_attrs", "res_attrs")
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
    tensor = "!torch.vtensor"
    facts = zip(arguments, fn.argument_facts(function), strict=True)
    named = [(a, f.dims) for a, f in facts if f.dims is not None and str(a.type).startswith(tensor)]
    symbols: dict[str, ir.Value] = {}
    i64 = ir.IntegerType.get_signless(64)
    for _, dims in named:
        for name in (d for d in dims if isinstance(d, str)):
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
    for argument, dims in named:
        names = list(dict.fromkeys(d for d in dims if isinstance(d, str)))
        if not names:
            continue
        expressions = [
            ir.AffineSymbolExpr.get(names.index(d)) if isinstance(d, str) else ir.AffineConstantExpr.get(d)
            for d in dims
        ]
        ir.Operation.create(
            "torch.bind_symbolic_shape",
            operands=[argument, *(symbols[n] for n in names)],
            attributes={
                "shape_expressions": ir.AffineMapAttr.get(ir.AffineMap.get(0, len(names), expressions))
            },
        )


def why_not_lowered(op: ir.Operation) -> str | None:
    """Why an op cannot be lowered, or None if it can."""
    if op.name == "arith.constant" or op.name in _INDEX_ARITHMETIC or is_dispatch(op):
        return None
    chosen = choice.branches(op)
    if chosen is not None:
        inside = [o for function in chosen for o in fn.operations(fn.entry_block(function))[:-1]]
        reasons = ((o.name, why_not_lowered(o)) for o in inside)
        return next((f"{name} in a branch: {reason}" for name, reason in reasons if reason), None)
    cls = OPS.get(op.name)
    if cls is None or (op.name not in t.RULES and cls.lowering is not Lowering.DIRECT):
        scalar = cls is not None and cls.lowering is Lowering.SCALAR
        return "pipelines/scalar_forms has no form of it" if scalar else "lower-to-torch has no rule for it"
    if any(is_tensor(v.type) and is_complex(v.type) for v in (*op.operands, *op.results)):
        return "complex numbers are not lowered"
    refusal = t.REFUSALS.get(op.name)
    return refusal(op.opview) if refusal is not None else None


def lower_op(op: ir.Operation, values: dict[Any, Any]) -> None:
    """Lower one op at the current insertion point and record its results in `values`."""
    if op.name == "func.return":
        ir.Operation.create("func.return", operands=[values[v] for v in op.operands])
        return
    if op.name == "arith.constant" and isinstance(op.results[0].type, ir.IndexType):
        values[op.results[0]] = t.int_(ir.IntegerAttr(op.attributes["value"]).value)
        return
    if op.name in _INDEX_ARITHMETIC:
        values[op.results[0]] = _index_arithmetic(op.name, *(values[v] for v in op.operands))
        return
    called = kernel.called_kernel(op)
    if called is not None:
        lower_kernel(op, called, values, lower_op)
        return
    if is_dispatch(op):
        lower_dispatch(op, values)
        return
    reason = why_not_lowered(op)
    if reason is not None:
        raise UnsupportedOpError(op, reason)
    chosen = choice.branches(op)
    if chosen is not None:
        lower_choice(op, chosen, values, lower_op)
        return
    cls = OPS[op.name]
    rule = t.RULES.get(op.name)
    known = _readable(op, values) if op.name in _REDUCTIONS else values
    lowered = t.Lowered(op.opview, {f.name: _field(op.opview, f, known) for f in cls.fields})
    results = rule(lowered) if rule is not None else _direct(cls.aten[0], lowered)
    if len(op.results) == 1:
        results = [results]
    for before, after in zip(op.results, results, strict=True):
        values[before] = after


def _index_arithmetic(name: str, x: ir.Value, y: ir.Value) -> ir.Value:
    integer = ir.Type.parse("!torch.int")
    if name != "arith.ceildivsi":
        return t.call(_INDEX_ARITHMETIC[name], [x, y], integer)
    negative = t.call("aten.neg.int", [x], integer)
    return t.call("aten.neg.int", [t.call("aten.floordiv.int", [negative, y], integer)], integer)


def _readable(op: ir.Operation, values: dict[Any, Any]) -> dict[Any, Any]:
    """`values` for a reduction: it must read its operands.

    Where every element is the same constant IREE leaves the operand out, and a CPU then adds one element per vector of
    them: the sum of seven ones is 1.
    """
    constants = [v for v in op.operands if is_tensor(v.type) and is_uniform_constant(v)]
    hidden = [builtin.unknown_to_compiler(builtin.to_builtin(values[v], v.type)) for v in constants]
    return values | {
        v: builtin.from_builtin(h, values[v].type) for v, h in zip(constants, hidden, strict=True)
    }


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
