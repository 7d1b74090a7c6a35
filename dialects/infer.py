# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Type rules shared by several ops. A rule sees operand types, Python attribute values and sizes (see opdef)."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import VerificationError
from flambeau.dialects.types import DYNAMIC, compatible, shape_of, tensor_type


def same_as(name: str) -> Callable[[Any], ir.Type]:
    """The result has the type of operand `name`."""

    def infer(op: Any) -> ir.Type:
        return getattr(op, name)

    return infer


def equal_types(*names: str, element: str | None = None) -> Callable[[Any], ir.Type]:
    """All operands have equal shapes, and equal element types; the result too, with element type `element` if given."""

    def infer(op: Any) -> ir.Type:
        operands = [getattr(op, n) for n in names]
        for name, type_ in zip(names[1:], operands[1:], strict=True):
            if not compatible(operands[0], type_):
                raise VerificationError(
                    f"operands '{names[0]}' and '{name}' differ: {operands[0]} and {type_} "
                    "(broadcast with flambeau.expand, cast with flambeau.to_dtype)"
                )
        shape = merge_shapes(*(shape_of(t) for t in operands))
        return tensor_type(shape, ir.Type.parse(element) if element else operands[0].element_type)

    return infer


def merge_shapes(*shapes: Sequence[int]) -> list[int]:
    """The most static of several compatible shapes."""
    return [next((s for s in sizes if s != DYNAMIC), DYNAMIC) for sizes in zip(*shapes, strict=True)]


def broadcast_shape(*shapes: Sequence[int]) -> list[int]:
    """The shape that several broadcast to together. `?` is never a size that broadcasts: it is a dim's own size."""
    rank = max(len(s) for s in shapes)
    aligned = [[1] * (rank - len(s)) + list(s) for s in shapes]
    result: list[int] = []
    for sizes in zip(*aligned, strict=True):
        known = {s for s in sizes if s not in (1, DYNAMIC)}
        if len(known) > 1:
            raise VerificationError(
                f"shapes {' and '.join(str(list(s)) for s in shapes)} do not broadcast together"
            )
        result.append(known.pop() if known else DYNAMIC if DYNAMIC in sizes else 1)
    return result


def require_broadcastable(name: str, type_: ir.Type, shape: Sequence[int]) -> None:
    """Refuse an operand that does not broadcast to `shape`: it may lack leading dims, or have size 1 there."""
    found = shape_of(type_)
    fits = len(found) <= len(shape) and all(
        have in (1, DYNAMIC) or want in (have, DYNAMIC)
        for have, want in zip(reversed(found), reversed(shape), strict=False)
    )
    if not fits:
        raise VerificationError(f"operand '{name}' of type {type_} does not broadcast to shape {list(shape)}")


def overlaps_itself(sizes: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether elements of a strided tensor, which has any, may be one in memory. In doubt: yes."""
    reach = 1  # of the dims so far, in elements
    for stride, size in sorted(zip(strides, sizes, strict=True)):
        if size > 1 and stride < reach:
            return True
        reach += (size - 1) * stride
    return False


def check_dim(name: str, dim: int, rank: int) -> int:
    """Refuse a dim that is not in [0, rank); 0-d tensors count as having one dim."""
    if not 0 <= dim < max(rank, 1):
        raise VerificationError(f"'{name}' is {dim}, which is not in [0, {rank}) for a tensor of rank {rank}")
    return dim


def normalize_dim(dim: int, rank: int) -> int:
    """A dim in [0, rank); 0-d tensors count as having one dim, as in ATen."""
    rank = max(rank, 1)
    if not -rank <= dim < rank:
        raise VerificationError(f"dim {dim} is out of range for rank {rank}")
    return dim % rank


def positions_along_dim(result: str) -> Callable[[Any], dict[str, int]]:
    """`bounds` of a result that holds positions along op.dim, or in the flattened tensor if it is None."""

    def bounds(op: Any) -> dict[str, int]:
        sizes = shape_of(op.x)
        if op.dim is not None and sizes:
            sizes = [sizes[normalize_dim(op.dim, len(sizes))]]
        return {result: DYNAMIC if DYNAMIC in sizes else prod(sizes)}

    return bounds


def reduced_shape(type_: ir.RankedTensorType, dims: Sequence[int] | None, keepdim: bool) -> list[int]:
    """The shape after reducing `dims` (all if None or empty)."""
    shape = shape_of(type_)
    gone = {normalize_dim(d, len(shape)) for d in dims} if dims else set(range(len(shape)))
    if keepdim:
        return [1 if i in gone else s for i, s in enumerate(shape)]
    return [s for i, s in enumerate(shape) if i not in gone]


def reduction(element: str | None = None) -> Callable[[Any], ir.Type]:
    """A reduction of `x` over `dims` with `keepdim`."""

    def infer(op: Any) -> ir.Type:
        e = ir.Type.parse(element) if element else op.x.element_type
        return tensor_type(reduced_shape(op.x, op.dims, op.keepdim), e)

    return infer
