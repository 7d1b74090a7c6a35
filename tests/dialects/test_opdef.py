# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The frame of op declarations: attributes survive, incomplete classes are refused, verifiers say where."""

import subprocess
import sys
import textwrap
from typing import Any

import pytest

from flambeau.dialects import create_context
from flambeau.dialects.bindings import func, ir
from flambeau.dialects.opdef import (
    OPS,
    Bool,
    Bools,
    Field,
    Float,
    Floats,
    Int,
    Ints,
    Number,
    Str,
    build,
)
from tests.dialects.sample import add_function
from tests.dialects.samples import families

FALSY = {
    Bool: [False],
    Int: [0],
    Float: [0.0],
    Number: [0, 0.0, False],
    Ints: [[]],
    Bools: [[]],
    Floats: [[]],
    Str: [""],
}

# One sample per op.
SAMPLES = {s.cls.OPERATION_NAME: s for samples in reversed(families().values()) for s in reversed(samples)}


@pytest.fixture(autouse=True, scope="module")
def context():
    with create_context() as context, ir.Location.unknown():
        yield context


def falsy_values(item: Field) -> list[Any]:
    return [*FALSY.get(item.kind, []), *([None] if item.optional else [])]


def fields(op: Any) -> dict[str, Any]:
    """All fields of an op; variadic operands as lists, which can be compared."""
    values = {f.name: getattr(op, f.name) for f in OPS[op.operation.name].fields}
    return {k: list(v) if isinstance(v, ir.OpOperandList) else v for k, v in values.items()}


@pytest.mark.parametrize("name", [n for n, s in SAMPLES.items() if any(f.is_attribute for f in s.cls.fields)])
def test_falsy_attributes_survive(name):
    sample = SAMPLES[name]
    module = ir.Module.create()
    add_function(module, "f", sample, sample.values(), dynamic=False)
    (op,) = [o for o in module.body.operations[0].regions[0].blocks[0].operations if o.operation.name == name]
    given = fields(op)
    types = [r.type for r in op.operation.results]
    for item in sample.cls.fields:
        for value in falsy_values(item) if item.is_attribute else []:
            with ir.InsertionPoint(op):
                # Result types are given, since the op may well be wrong with this attribute: it is not verified.
                build(sample.cls, **(given | {item.name: value}), results=types)
            block = module.body.operations[0].regions[0].blocks[0]
            changed = [o for o in block.operations if o.operation.name == name][-2]
            found = getattr(changed, item.name)
            assert found == value, item.name
            assert type(found) is type(value), item.name
            assert fields(changed) == given | {item.name: value}
            changed.operation.erase()


def declaration(text: str) -> subprocess.CompletedProcess[str]:
    """Declare ops in a process of their own, since a declaration cannot be taken back."""
    source = """
        from flambeau.dialects import build as b
        from flambeau.dialects.dialect import ElementwiseOp, FlambeauOp
        from flambeau.dialects.infer import same_as
        from flambeau.dialects.opdef import CHEAP, Lowering, NotDifferentiable, Result, Sizes, Tensor
    """
    code = textwrap.dedent(source) + textwrap.dedent(text)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_complete_class_is_accepted():
    ran = declaration('''
        class WobbleOp(ElementwiseOp, name="wobble"):
            """Wobbles."""
            x: Tensor
            out: Result
            aten = "sin"
            def vjp(op, g):
                return {"x": g}
    ''')
    assert ran.returncode == 0, ran.stderr


def test_incomplete_class_is_refused():
    ran = declaration("""
        class WobbleOp(FlambeauOp, name="wobble"):
            x: Tensor
            out: Result
    """)
    assert ran.returncode == 1
    line = ran.stderr.splitlines()[-1]
    for what in ("flambeau.wobble", "docstring", "infer", "recompute", "vjp or decompose", "aten"):
        assert what in line
    assert "class __main__.WobbleOp" in line


def test_second_definition_is_refused():
    ran = declaration('''
        class AgainOp(ElementwiseOp, name="tanh"):
            """Hyperbolic tangent, once more."""
            x: Tensor
            out: Result
            aten = "tanh"
            vjp = NotDifferentiable("test")
    ''')
    assert ran.returncode == 1
    line = ran.stderr.splitlines()[-1]
    assert (
        "flambeau.tanh is defined twice: flambeau.dialects.ops.elementwise.TanhOp and __main__.AgainOp"
        in line
    )


def test_unknown_field_in_aten_call_is_refused():
    ran = declaration('''
        from flambeau.dialects.opdef import aten
        class WobbleOp(ElementwiseOp, name="wobble"):
            """Wobbles."""
            x: Tensor
            out: Result
            aten = aten("sin", "y")
            vjp = NotDifferentiable("test")
    ''')
    assert ran.returncode == 1
    assert "flambeau.wobble: sin names y, but the fields are x" in ran.stderr.splitlines()[-1]


def test_unknown_field_kind_is_refused():
    ran = declaration('''
        class WobbleOp(FlambeauOp, name="wobble"):
            """Wobbles."""
            x: int
            out: Result
    ''')
    assert ran.returncode == 1
    assert "OpDefinitionError" in ran.stderr.splitlines()[-1]


def diagnostics(context: ir.Context, text: str) -> list[tuple[str, str]]:
    """Parse and verify; what is reported, as (location, message)."""
    found: list[tuple[str, str]] = []

    def record(diagnostic: Any) -> bool:
        found.append((str(diagnostic.location), diagnostic.message))
        return True

    handler = context.attach_diagnostic_handler(record)
    try:
        with pytest.raises(ir.MLIRError) as error:
            ir.Module.parse(text)
    finally:
        handler.detach()
    return found or [(str(d.location), d.message) for d in error.value.error_diagnostics]


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (
            '"flambeau.tanh"(%x) : (tensor<2xf32>) -> tensor<3xf32>',
            "result #0 is tensor<3xf32>, inferred tensor<2xf32>",
        ),
        (
            '"flambeau.sum"(%x) {dims = array<i64: 0>} : (tensor<2xf32>) -> tensor<f32>',
            "requires attribute 'keepdim'",
        ),
        (
            '"flambeau.sum"(%x) {dims = array<i64: 0>, keepdim = false, keep_dim = true} '
            ": (tensor<2xf32>) -> tensor<f32>",
            "has no attribute 'keep_dim'; did you mean 'keepdim'? valid: dims, keepdim, any name with a dot",
        ),
        (
            '"flambeau.tanh"(%x) {nonsense = 7} : (tensor<2xf32>) -> tensor<2xf32>',
            "has no attribute 'nonsense'; valid: any name with a dot",
        ),
        (
            '"flambeau.sum"(%x) {dims = 0 : i64, keepdim = false} : (tensor<2xf32>) -> tensor<f32>',
            "attribute 'dims': expected array<i64: ...>, found 0 : i64",
        ),
        (
            '"flambeau.sum"(%x) {dims = array<i64: 1>, keepdim = false} : (tensor<2xf32>) -> tensor<f32>',
            "dim 1 is out of range for rank 1",
        ),
        (
            '"flambeau.tanh"(%i) : (index) -> tensor<2xf32>',
            "operand 'x' must be a ranked tensor, found index",
        ),
        (
            '"flambeau.add"(%x) : (tensor<2xf32>) -> tensor<2xf32>',
            "has 1 operands where 2 are expected: x, y",
        ),
        (
            '"flambeau.clamp_tensor"(%x, %x) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>',
            "needs operandSegmentSizes, because it has optional or variadic operands",
        ),
        (
            '"flambeau.clamp_tensor"(%x, %x) {operandSegmentSizes = array<i32: 1, 1, 1>} '
            ": (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>",
            "operandSegmentSizes must have one entry per x, min, max, and 2 in sum",
        ),
        (
            '"flambeau.expand"(%x, %i) {shape = array<i64: 3, 2>, operandSegmentSizes = array<i32: 1, 1>} '
            ": (tensor<2xf32>, index) -> tensor<3x2xf32>",
            "'shape' has fewer -1 entries than dynamic operands",
        ),
        (
            '"flambeau.expand"(%x) {shape = array<i64: -1, 2>, operandSegmentSizes = array<i32: 1, 0>} '
            ": (tensor<2xf32>) -> tensor<?x2xf32>",
            "'shape' has more -1 entries than dynamic operands",
        ),
    ],
)
def test_verifier_says_what_and_where(context, op, message):
    results = op[op.rindex("->") + 2 :].strip()
    text = f"""
        func.func @f(%x: tensor<2xf32>, %i: index) -> {results} {{
          %0 = {op} loc("model.py":12:5)
          return %0 : {results}
        }}"""
    name = op.split('"')[1]
    assert ('loc("model.py":12:5)', f"'{name}' op {message}") in diagnostics(context, text)


def test_builder_names_what_is_missing_or_unknown():
    module = ir.Module.create()
    with ir.InsertionPoint(module.body):
        function = func.FuncOp("f", ([ir.RankedTensorType.get([2], ir.F32Type.get())], []))
        block = function.add_entry_block()
    with ir.InsertionPoint(block):
        with pytest.raises(TypeError, match=r"flambeau.add: argument 'y' is missing; fields: x, y"):
            build(OPS["flambeau.add"], block.arguments[0])
        with pytest.raises(
            TypeError, match=r"flambeau.tanh: argument 'slope' is unknown or given twice; fields: x"
        ):
            build(OPS["flambeau.tanh"], block.arguments[0], slope=1)
        with pytest.raises(TypeError, match=r"flambeau.tanh takes 1 arguments"):
            build(OPS["flambeau.tanh"], block.arguments[0], 1)
        with pytest.raises(TypeError, match=r"flambeau.tanh: operand 'x' may not be None"):
            build(OPS["flambeau.tanh"], None)
