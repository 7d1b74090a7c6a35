# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Short builders for lowerings that go straight to linalg and tensor ops, inside a function of the torch dialect.

`to_builtin` and `from_builtin` are the border: between them values are `tensor<..>` and `index`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.dialects.bindings import arith, ir
from flambeau.dialects.types import DYNAMIC, dtype_name, shape_of, tensor_type
from flambeau.pipelines.lower_to_torch.torch_builder import Lowered


def signless(type_: ir.Type) -> ir.Type:
    """The tensor type that stands for `type_` on this side: uint8 is i8, since IREE takes no signed integers."""
    return (
        tensor_type(shape_of(type_), ir.IntegerType.get_signless(8))
        if dtype_name(type_) == "uint8"
        else type_
    )


def to_builtin(value: ir.Value, type_: ir.Type) -> ir.Value:
    """A `!torch.vtensor` as the builtin tensor `signless(type_)`."""
    type_ = signless(type_)
    return ir.Operation.create("torch_c.to_builtin_tensor", results=[type_], operands=[value]).results[0]


def from_builtin(value: ir.Value, type_: ir.Type) -> ir.Value:
    """A builtin tensor as the `!torch.vtensor` `type_`."""
    return ir.Operation.create("torch_c.from_builtin_tensor", results=[type_], operands=[value]).results[0]


def operand(o: Lowered, name: str) -> ir.Value:
    """Operand `name` of an op being lowered."""
    return to_builtin(getattr(o, name), getattr(o.op, name).type)


def result(o: Lowered, value: ir.Value) -> ir.Value:
    """A tensor as the op's only result, whose type may know more or fewer sizes."""
    return from_builtin(cast(value, signless(o.op.operation.results[0].type)), o.result_types[0])


def to_index(size: int | ir.Value) -> ir.Value:
    """A size (int or `!torch.int`) as an `index`."""
    if isinstance(size, int):
        return arith.constant(ir.IndexType.get(), size)
    i64 = ir.IntegerType.get_signless(64)
    wide = ir.Operation.create("torch_c.to_i64", results=[i64], operands=[size]).results[0]
    return arith.index_cast(ir.IndexType.get(), wide)


def as_index(size: int | ir.Value) -> ir.Value:
    """A size (int or `index`) as an `index`."""
    return arith.constant(ir.IndexType.get(), size) if isinstance(size, int) else size


def empty(sizes: Sequence[int | ir.Value], element: ir.Type) -> ir.Value:
    """An uninitialised tensor; sizes are ints or `index` values."""
    type_ = tensor_type([s if isinstance(s, int) else DYNAMIC for s in sizes], element)
    dynamic = [s for s in sizes if not isinstance(s, int)]
    return ir.Operation.create("tensor.empty", results=[type_], operands=dynamic).results[0]


def generic(
    inputs: Sequence[ir.Value],
    outputs: Sequence[ir.Value],
    maps: Sequence[ir.AffineMap],
    iterators: Sequence[str],
    body: Callable[..., Sequence[ir.Value]],
) -> list[ir.Value]:
    """`linalg.generic`; `iterators` are "parallel" or "reduction", `body` gets one scalar per input and output."""
    kinds = ", ".join(f"#linalg.iterator_type<{i}>" for i in iterators)
    op = ir.Operation.create(
        "linalg.generic",
        results=[o.type for o in outputs],
        operands=[*inputs, *outputs],
        attributes={
            "indexing_maps": ir.ArrayAttr.get([ir.AffineMapAttr.get(m) for m in maps]),
            "iterator_types": ir.Attribute.parse(f"[{kinds}]"),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([len(inputs), len(outputs)]),
        },
        regions=1,
    )
    scalars = [v.type.element_type for v in (*inputs, *outputs)]
    block = op.regions[0].blocks.append(*scalars, arg_locs=[ir.Location.current] * len(scalars))
    with ir.InsertionPoint(block):
        ir.Operation.create("linalg.yield", operands=list(body(*block.arguments)))
    return list(op.results)


def loop_index(dim: int) -> ir.Value:
    """In the body of a generic: the position along loop `dim`."""
    i64 = ir.IntegerType.get_signless(64)
    return ir.Operation.create(
        "linalg.index", results=[ir.IndexType.get()], attributes={"dim": ir.IntegerAttr.get(i64, dim)}
    ).results[0]


def unknown_to_compiler(x: ir.Value) -> ir.Value:
    """The same tensor, but IREE has to read memory for it: its elements depend on a flag that it cannot see through."""
    x.context.allow_unregistered_dialects = True  # the barrier is IREE's
    i1 = ir.IntegerType.get_signless(1)
    true = arith.constant(tensor_type([], i1), ir.Attribute.parse("dense<true> : tensor<i1>"))
    flag = ir.Operation.create("util.optimization_barrier", results=[true.type], operands=[true]).results[0]
    element = x.type.element_type
    each = ir.AffineMap.get_identity(x.type.rank)

    def choose(known: ir.Value, keep: ir.Value, _: ir.Value) -> Sequence[ir.Value]:
        return [arith.select(keep, known, number(element, 0))]

    maps = [each, ir.AffineMap.get(x.type.rank, 0, []), each]
    out = empty(sizes_of(x), element)
    return generic([x, flag], [out], maps, ["parallel"] * x.type.rank, choose)[0]


def sizes_of(value: ir.Value) -> list[int | ir.Value]:
    """The sizes of a builtin tensor: ints, or `tensor.dim` where dynamic."""
    return [s if s != DYNAMIC else _dim(value, i) for i, s in enumerate(shape_of(value))]


def _dim(value: ir.Value, dim: int) -> Any:
    index = arith.constant(ir.IndexType.get(), dim)
    return ir.Operation.create("tensor.dim", results=[ir.IndexType.get()], operands=[value, index]).results[0]


Sizes = Sequence[int | ir.Value]


def extract_slice(x: ir.Value, offsets: Sizes, sizes: Sizes, strides: Sizes, type_: ir.Type) -> ir.Value:
    """The elements `offset + i * stride` along each dim; `type_` may leave out dims of size 1."""
    if 0 in shape_of(type_):
        # MLIR allows no offset, not even 0, in a dim of size 0.
        left = iter(sizes)
        kept = [next(s for s in left if n == (s if isinstance(s, int) else DYNAMIC)) for n in shape_of(type_)]
        return empty(kept, type_.element_type)
    return _slice_op("tensor.extract_slice", [x], [1], (offsets, sizes, strides), type_)


def insert_slice(part: ir.Value, x: ir.Value, offsets: Sizes, sizes: Sizes, strides: Sizes) -> ir.Value:
    """`x` with `part` at the elements `offset + i * stride` along each dim."""
    if 0 in shape_of(part):
        return x
    return _slice_op("tensor.insert_slice", [part, x], [1, 1], (offsets, sizes, strides), x.type)


def _slice_op(
    name: str, operands: list[ir.Value], segments: list[int], places: tuple[Sizes, ...], type_: ir.Type
) -> ir.Value:
    attributes: dict[str, ir.Attribute] = {}
    for field, values in zip(("static_offsets", "static_sizes", "static_strides"), places, strict=True):
        unknown = ir.ShapedType.get_dynamic_size()
        dynamic = [v for v in values if not isinstance(v, int)]
        attributes[field] = ir.DenseI64ArrayAttr.get([v if isinstance(v, int) else unknown for v in values])
        operands = [*operands, *dynamic]
        segments = [*segments, len(dynamic)]
    attributes["operandSegmentSizes"] = ir.DenseI32ArrayAttr.get(segments)
    return ir.Operation.create(name, results=[type_], operands=operands, attributes=attributes).results[0]


def collapse_shape(x: ir.Value, groups: Sequence[Sequence[int]], type_: ir.Type) -> ir.Value:
    """`x` with each group of neighbouring dims made one; `type_` must say exactly which sizes are known."""
    return ir.Operation.create(
        "tensor.collapse_shape", results=[type_], operands=[x], attributes={"reassociation": _groups(groups)}
    ).results[0]


def expand_shape(x: ir.Value, groups: Sequence[Sequence[int]], sizes: Sizes) -> ir.Value:
    """`x` with dim i split into the dims `groups[i]` of the result, whose shape is `sizes`."""
    static = [s if isinstance(s, int) else DYNAMIC for s in sizes]
    unknown = ir.ShapedType.get_dynamic_size()
    return ir.Operation.create(
        "tensor.expand_shape",
        results=[tensor_type(static, x.type.element_type)],
        operands=[x, *(s for s in sizes if not isinstance(s, int))],
        attributes={
            "reassociation": _groups(groups),
            "static_output_shape": ir.DenseI64ArrayAttr.get([unknown if s == DYNAMIC else s for s in static]),
        },
    ).results[0]


def _groups(groups: Sequence[Sequence[int]]) -> ir.Attribute:
    i64 = ir.IntegerType.get_signless(64)
    return ir.ArrayAttr.get([ir.ArrayAttr.get([ir.IntegerAttr.get(i64, d) for d in g]) for g in groups])


def cast(x: ir.Value, type_: ir.Type) -> ir.Value:
    """`tensor.cast` to a type that knows more or fewer sizes; no op if it is the same type."""
    if x.type == type_:
        return x
    return ir.Operation.create("tensor.cast", results=[type_], operands=[x]).results[0]


def transpose(x: ir.Value, order: Sequence[int]) -> ir.Value:
    """Dim i of the result is dim `order[i]` of `x`."""
    sizes = sizes_of(x)
    out = empty([sizes[i] for i in order], x.type.element_type)
    source = ir.AffineMap.get_permutation([list(order).index(i) for i in range(len(order))])
    each = ir.AffineMap.get_identity(len(order))
    return generic([x], [out], [source, each], ["parallel"] * len(order), lambda element, _: [element])[0]


def read(
    x: ir.Value,
    sizes: Sizes,
    tables: Sequence[ir.Value],
    maps: Sequence[ir.AffineMap],
    position: Callable[..., Sequence[ir.Value]],
) -> ir.Value:
    """A tensor of shape `sizes`: each element is that of `x` at `position(*table elements)`, an `index` per dim."""
    rank, element = len(sizes), x.type.element_type

    def body(*scalars: ir.Value) -> list[ir.Value]:
        place = list(position(*scalars[:-1]))
        return [ir.Operation.create("tensor.extract", results=[element], operands=[x, *place]).results[0]]

    each = ir.AffineMap.get_identity(rank)
    return generic(list(tables), [empty(sizes, element)], [*maps, each], ["parallel"] * rank, body)[0]


def pad(x: ir.Value, before: Sequence[int], after: Sequence[int], value: int | float) -> ir.Value:
    """`x` with `value` around it; no count is negative."""
    element = x.type.element_type
    shape = [
        s if s == DYNAMIC else s + low + high for s, low, high in zip(shape_of(x), before, after, strict=True)
    ]
    op = ir.Operation.create(
        "tensor.pad",
        results=[tensor_type(shape, element)],
        operands=[x],
        attributes={
            "static_low": ir.DenseI64ArrayAttr.get(before),
            "static_high": ir.DenseI64ArrayAttr.get(after),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 0, 0]),
        },
        regions=1,
    )
    index = ir.IndexType.get()
    block = op.regions[0].blocks.append(*[index] * len(shape), arg_locs=[ir.Location.current] * len(shape))
    with ir.InsertionPoint(block):
        ir.Operation.create("tensor.yield", operands=[number(element, value)])
    return op.results[0]


def apart(x: ir.Value, passes: int = 2) -> ir.Value:
    """`x`, computed by a loop nest of its own: a reduction, which IREE does not fuse into the op that uses it.

    (Reshapes, pads, slices and elementwise copies are folded away.) Loop nests with another number of `passes`, at
    least 2, are not merged either.
    """
    sizes = sizes_of(x)
    rank = len(sizes)
    i8 = ir.IntegerType.get_signless(8)
    dims = [ir.AffineExpr.get_dim(i) for i in range(rank + 1)]
    each = ir.AffineMap.get(rank + 1, 0, dims[:rank])
    repeated = ir.AffineMap.get(rank + 1, 0, dims[rank:])
    maps = [each, repeated, each]
    iterators = ["parallel"] * rank + ["reduction"]
    out = empty(sizes, x.type.element_type)
    return generic([x, empty([passes], i8)], [out], maps, iterators, lambda element, *_: [element])[0]


def number(element: ir.Type, value: int | float) -> ir.Value:
    """A scalar constant."""
    return arith.constant(element, int(value) if isinstance(element, ir.IntegerType) else float(value))


def fill(sizes: Sizes, value: int | float, element: ir.Type) -> ir.Value:
    """A tensor filled with one number. Not from a tensor: IREE knows a constant fill to be one."""
    each = ir.AffineMap.get_identity(len(sizes))
    constant = number(element, value)
    return generic([], [empty(sizes, element)], [each], ["parallel"] * len(sizes), lambda _: [constant])[0]
