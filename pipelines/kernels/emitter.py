# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Short builders for loops, memory and vectors inside of one function, at the current insertion point.

Index arithmetic takes ints and values alike and computes with ints here. Constants are made once per function.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from flambeau.dialects.bindings import ir
from flambeau.pipelines.kernels.polynomial import Polynomial

IndexLike: TypeAlias = int | ir.Value

_PREDICATES = ("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge")
_DYNAMIC_SIZE = -(2**63)


def storage(element: ir.Type) -> ir.Type:
    """The element type in memory: bool and uint8 are bytes without a sign."""
    return ir.IntegerType.get_signless(8) if str(element) in ("i1", "ui8") else element


def signless(element: ir.Type) -> ir.Type:
    """The element type in registers."""
    return ir.IntegerType.get_signless(8) if str(element) == "ui8" else element


def vector_type(lanes: int, element: ir.Type) -> ir.Type:
    return ir.VectorType.get([lanes], element)


def flat_type(count: int | None, element: ir.Type) -> ir.Type:
    """A tensor of one dim, of unknown size if `count` is None."""
    return ir.RankedTensorType.get([ir.ShapedType.get_dynamic_size() if count is None else count], element)


def dispatch_type(access: str, tensor: ir.Type) -> ir.Type:
    """The type of a kernel's buffer; `access` is readonly or writeonly."""
    return ir.Type.parse(f"!iree_tensor_ext.dispatch.tensor<{access}:{tensor}>")


class Emitter:
    """Builds at the current insertion point; `symbols` are the values of unknown sizes by number.

    Constants lie where the emitter was made.
    """

    def __init__(self, symbols: dict[int, ir.Value]) -> None:
        self._symbols = symbols
        self._constants: dict[Any, ir.Value] = {}
        zero = ir.IntegerAttr.get(ir.IndexType.get(), 0)
        self._anchor = self.op("arith.constant", [], [ir.IndexType.get()], value=zero)
        self._constants[_key(self._anchor.attributes["value"])] = self._anchor.results[0]

    # --- Ops and constants ---

    def op(
        self,
        name: str,
        operands: Sequence[ir.Value] = (),
        results: Sequence[ir.Type] = (),
        regions: int = 0,
        **attributes: ir.Attribute,
    ) -> ir.Operation:
        return ir.Operation.create(
            name, operands=list(operands), results=list(results), attributes=attributes, regions=regions
        )

    def value(self, name: str, operands: Sequence[ir.Value], result: ir.Type, **attributes: Any) -> ir.Value:
        """The only result of a new op."""
        return self.op(name, operands, [result], **attributes).results[0]

    def constant(self, attribute: Any) -> ir.Value:
        """A constant, which lies at the beginning of the function."""
        key = _key(attribute)
        if key not in self._constants:
            with ir.InsertionPoint(self._anchor):
                self._constants[key] = self.value("arith.constant", [], attribute.type, value=attribute)
        return self._constants[key]

    def number(self, number: float | int, type_: ir.Type) -> ir.Value:
        """A number as a scalar or vector."""
        element = type_.element_type if isinstance(type_, ir.VectorType) else type_
        if isinstance(element, ir.FloatType):
            attribute: Any = ir.FloatAttr.get(element, float(number))
        else:
            attribute = ir.IntegerAttr.get(element, int(number))
        if isinstance(type_, ir.VectorType):
            attribute = ir.DenseElementsAttr.get_splat(type_, attribute)
        return self.constant(attribute)

    def steps(self, step: int, type_: ir.Type) -> ir.Value:
        """The integers 0, step, 2 * step, ... as a constant vector; they wrap around as additions do."""
        bits = ir.IntegerType(type_.element_type).width
        half = 2 ** (bits - 1)
        numbers = [(n * step + half) % (2 * half) - half for n in range(type_.shape[0])]
        elements = [ir.IntegerAttr.get(type_.element_type, n) for n in numbers]
        return self.constant(ir.DenseElementsAttr.get(elements, type_))

    # --- Index arithmetic ---

    def index(self, value: IndexLike) -> ir.Value:
        if isinstance(value, ir.Value):
            return value
        return self.constant(ir.IntegerAttr.get(ir.IndexType.get(), value))

    def add(self, a: IndexLike, b: IndexLike) -> IndexLike:
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a == 0 or b == 0:
            return b if a == 0 else a
        return self._binary("arith.addi", a, b)

    def sub(self, a: IndexLike, b: IndexLike) -> IndexLike:
        if isinstance(a, int) and isinstance(b, int):
            return a - b
        return a if isinstance(b, int) and b == 0 else self._binary("arith.subi", a, b)

    def mul(self, a: IndexLike, b: IndexLike) -> IndexLike:
        for x, y in ((a, b), (b, a)):
            if isinstance(x, int) and x in (0, 1):
                return 0 if x == 0 else y
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        return self._binary("arith.muli", a, b)

    def div(self, a: IndexLike, b: IndexLike) -> IndexLike:
        if isinstance(b, int) and (b == 1 or isinstance(a, int)):
            return a if b == 1 else a // b
        return self._binary("arith.divui", a, b)

    def mod(self, a: IndexLike, b: IndexLike) -> IndexLike:
        if isinstance(b, int) and (b == 1 or isinstance(a, int)):
            return 0 if b == 1 else a % b
        return self._binary("arith.remui", a, b)

    def ceildiv(self, a: IndexLike, b: IndexLike) -> IndexLike:
        if isinstance(a, int) and isinstance(b, int):
            return -(-a // b)
        return a if b == 1 else self._binary("arith.ceildivui", a, b)

    def min(self, a: IndexLike, b: IndexLike) -> IndexLike:
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        return self._binary("arith.minui", a, b)

    def _binary(self, name: str, a: IndexLike, b: IndexLike) -> ir.Value:
        return self.value(name, [self.index(a), self.index(b)], ir.IndexType.get())

    def compare(self, predicate: str, a: ir.Value, b: ir.Value) -> ir.Value:
        """`arith.cmpi` of scalars or vectors."""
        i1 = ir.IntegerType.get_signless(1)
        type_ = vector_type(a.type.shape[0], i1) if isinstance(a.type, ir.VectorType) else i1
        number = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), _PREDICATES.index(predicate))
        return self.value("arith.cmpi", [a, b], type_, predicate=number)

    def polynomial(self, polynomial: Polynomial) -> IndexLike:
        """The value of a size or stride."""
        total: IndexLike = 0
        for monomial, factor in polynomial.terms:
            term: IndexLike = factor
            for symbol in monomial:
                term = self.mul(term, self._symbols[symbol])
            total = self.add(total, term)
        return total

    # --- Loops ---

    def loop(
        self,
        start: IndexLike,
        end: IndexLike,
        step: IndexLike,
        carried: Sequence[ir.Value],
        body: Callable[[ir.Value, list[ir.Value]], Sequence[ir.Value]],
    ) -> list[ir.Value]:
        """`scf.for`; `body` takes the variable and what is carried, and returns what is carried on."""
        types = [v.type for v in carried]
        operands = [self.index(start), self.index(end), self.index(step), *carried]
        op = self.op("scf.for", operands, types, regions=1)
        block = op.regions[0].blocks.append(ir.IndexType.get(), *types)
        with ir.InsertionPoint(block):
            variable, *arguments = block.arguments
            self.op("scf.yield", list(body(variable, arguments)))
        return list(op.results)

    # --- Memory ---

    def open_input(self, buffer: ir.Value, tensor: ir.Type, count: IndexLike) -> ir.Value:
        """All of a kernel's input as a flat tensor."""
        dynamic = [] if isinstance(count, int) else [count]
        if dynamic:
            buffer = self.value("flow.dispatch.tie_shape", [buffer, *dynamic], buffer.type)
        return self.value(
            "iree_tensor_ext.dispatch.tensor.load",
            [buffer, *dynamic, *dynamic],
            tensor,
            **_slice(len(dynamic), [0], count, with_value=False, dynamic_offsets=0),
        )

    def open_output(self, buffer: ir.Value, count: IndexLike) -> tuple[ir.Value, list[ir.Value]]:
        """A kernel's output, and its size if that is not static."""
        dynamic = [] if isinstance(count, int) else [count]
        if dynamic:
            buffer = self.value("flow.dispatch.tie_shape", [buffer, *dynamic], buffer.type)
        return buffer, dynamic

    def read(self, tensor: ir.Value, place: IndexLike, lanes: int, mask: ir.Value | None = None) -> ir.Value:
        """`lanes` neighbouring elements; where the mask is off, 0.0, or 1 for integers, which may be divisors."""
        element = tensor.type.element_type
        pad = self.number(0 if isinstance(element, ir.FloatType) else 1, element)
        masks = [] if mask is None else [mask]
        return self.value(
            "vector.transfer_read",
            [tensor, self.index(place), pad, *masks],
            vector_type(lanes, element),
            **_transfer([1, 1, 1, len(masks)]),
        )

    def gather(
        self, tensor: ir.Value, place: IndexLike, offsets: ir.Value, mask: ir.Value | None
    ) -> ir.Value:
        """The elements that lie at `offsets` from a place; where the mask is off, 0 for floats and 1 for integers."""
        element, lanes = tensor.type.element_type, offsets.type.shape[0]
        mask = (
            mask if mask is not None else self.number(1, vector_type(lanes, ir.IntegerType.get_signless(1)))
        )
        rest = self.number(0 if isinstance(element, ir.FloatType) else 1, vector_type(lanes, element))
        operands = [tensor, self.index(place), offsets, mask, rest]
        return self.value("vector.gather", operands, vector_type(lanes, element))

    def line(self, start: ir.Value, stride: IndexLike, lanes: int) -> ir.Value:
        """The indices start, start + stride, ... as a vector."""
        indices = vector_type(lanes, ir.IndexType.get())
        steps = self.value("vector.step", [], indices)
        wide = self.value("vector.broadcast", [self.index(stride)], indices)
        far = self.value("arith.muli", [steps, wide], indices)
        return self.value("arith.addi", [far, self.broadcast(start, lanes)], indices)

    def extract(self, tensor: ir.Value, place: IndexLike) -> ir.Value:
        """One element."""
        return self.value("tensor.extract", [tensor, self.index(place)], tensor.type.element_type)

    def write(
        self, tensor: ir.Value, place: IndexLike, vector: ir.Value, mask: ir.Value | None = None
    ) -> ir.Value:
        """A tensor with a vector written to it."""
        masks = [] if mask is None else [mask]
        return self.value(
            "vector.transfer_write",
            [vector, tensor, self.index(place), *masks],
            tensor.type,
            **_transfer([1, 1, 1, len(masks)]),
        )

    def store(
        self,
        output: tuple[ir.Value, list[ir.Value]],
        place: IndexLike,
        value: ir.Value,
        mask: tuple[ir.Value, IndexLike] | None = None,
    ) -> None:
        """Write a scalar or a vector to a kernel's output; `mask`: the mask, and how many lanes are on."""
        buffer, dynamic = output
        count: IndexLike = 1
        if isinstance(value.type, ir.VectorType):
            count = value.type.shape[0] if mask is None else mask[1]
            element = value.type.element_type
        else:
            element = value.type
        left = [] if isinstance(count, int) else [count]
        part = self.value("tensor.empty", left, flat_type(count if isinstance(count, int) else None, element))
        if isinstance(value.type, ir.VectorType):
            part = self.write(part, 0, value, mask[0] if mask else None)
        else:
            part = self.value("tensor.insert", [value, part, self.index(0)], part.type)
        self.op(
            "iree_tensor_ext.dispatch.tensor.store",
            [part, buffer, *dynamic, self.index(place), *left],
            **_slice(len(dynamic), [_DYNAMIC_SIZE], count, with_value=True, dynamic_offsets=1),
        )

    # --- Vectors ---

    def mask(self, lanes: int, count: IndexLike) -> ir.Value:
        """The first `count` lanes."""
        type_ = vector_type(lanes, ir.IntegerType.get_signless(1))
        return self.value("vector.create_mask", [self.index(count)], type_)

    def broadcast(self, scalar: ir.Value, lanes: int) -> ir.Value:
        return self.value("vector.broadcast", [scalar], vector_type(lanes, scalar.type))

    def halves(self, vector: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The lower and the upper lanes."""
        lanes = vector.type.shape[0] // 2
        type_ = vector_type(lanes, vector.type.element_type)
        low, high = (
            self.value(
                "vector.shuffle",
                [vector, vector],
                type_,
                mask=ir.DenseI64ArrayAttr.get(list(range(start, start + lanes))),
            )
            for start in (0, lanes)
        )
        return low, high

    def first(self, vector: ir.Value) -> ir.Value:
        """The element of a vector of one lane."""
        return self.value(
            "vector.extract",
            [vector],
            vector.type.element_type,
            static_position=ir.DenseI64ArrayAttr.get([0]),
        )


def _key(attribute: Any) -> str:
    return f"{attribute} {attribute.type}"


def _transfer(segments: Sequence[int]) -> dict[str, ir.Attribute]:
    """The attributes of a transfer along the only dim of a tensor."""
    identity = ir.AffineMap.get_identity(1)
    return {
        "in_bounds": ir.ArrayAttr.get([ir.BoolAttr.get(True)]),
        "operandSegmentSizes": ir.DenseI32ArrayAttr.get(list(segments)),
        "permutation_map": ir.AffineMapAttr.get(identity),
    }


def _slice(
    dims: int, offsets: Sequence[int], size: IndexLike, *, with_value: bool, dynamic_offsets: int
) -> dict[str, ir.Attribute]:
    """The attributes of a load or store of a slice of a kernel's buffer."""
    dynamic_sizes = 0 if isinstance(size, int) else 1
    segments = [*([1] if with_value else []), 1, dims, dynamic_offsets, dynamic_sizes, 0]
    return {
        "operandSegmentSizes": ir.DenseI32ArrayAttr.get(segments),
        "static_offsets": ir.DenseI64ArrayAttr.get(list(offsets)),
        "static_sizes": ir.DenseI64ArrayAttr.get([size if isinstance(size, int) else _DYNAMIC_SIZE]),
        "static_strides": ir.DenseI64ArrayAttr.get([1]),
    }
