# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Values between memory and arithmetic: bools as bytes, positions as numbers, ops by their scalar forms."""

from collections.abc import Sequence

from flambeau.dialects.bindings import ir
from flambeau.dialects.types import is_bool
from flambeau.pipelines.kernels.emitter import Emitter, IndexLike, signless, vector_type
from flambeau.pipelines.kernels.index_maps import NotCovered
from flambeau.pipelines.kernels.plan import Apply, Node
from flambeau.pipelines.scalar_forms import scalar_form


def _like(value: ir.Value, element: ir.Type) -> ir.Type:
    """The type of a scalar or vector with another element type."""
    return vector_type(value.type.shape[0], element) if isinstance(value.type, ir.VectorType) else element


def from_storage(e: Emitter, value: ir.Value, type_: ir.Type) -> ir.Value:
    """What was loaded as an element of type `type_`: a byte that is not 0 is true."""
    if not is_bool(type_):
        return value
    predicate = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), 1)
    return e.value("arith.cmpi", [value, e.number(0, value.type)], _like(value, type_), predicate=predicate)


def to_storage(e: Emitter, value: ir.Value, type_: ir.Type) -> ir.Value:
    """A value as it is stored."""
    if not is_bool(type_):
        return value
    return e.value("arith.extui", [value], _like(value, ir.IntegerType.get_signless(8)))


def index_to_number(e: Emitter, index: ir.Value, type_: ir.Type) -> ir.Value:
    """A position as a number of element type `type_`."""
    i64 = ir.IntegerType.get_signless(64)
    wide = e.value("arith.index_cast", [index], _like(index, i64))
    element = signless(type_)
    if isinstance(element, ir.FloatType):
        return e.value("arith.sitofp", [wide], _like(index, element))
    if is_bool(type_):
        raise NotCovered("positions as bools")
    bits = ir.IntegerType(element).width
    return wide if bits == 64 else e.value("arith.trunci", [wide], _like(index, element))


def positions(e: Emitter, first: ir.Value, step: IndexLike, lanes: int, type_: ir.Type) -> ir.Value:
    """The positions first, first + step, ... as a vector of numbers."""
    if not isinstance(signless(type_), ir.IntegerType) or not isinstance(step, int):
        return index_to_number(e, e.line(first, step, lanes), type_)
    start = e.broadcast(index_to_number(e, first, type_), lanes)
    return e.value("arith.addi", [start, e.steps(step, start.type)], start.type)


def apply_scalar_form(node: Node, values: Sequence[ir.Value]) -> ir.Value:
    """The value of an elementwise op, by the table of scalar forms."""
    assert isinstance(node, Apply)
    value: ir.Value = scalar_form(node.op, values)
    return value
