# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The partitioners: which forward values are saved for the backward. Each takes a joint function and returns values.

Everything else that the backward needs is computed again there, from the saved values. `register_partitioner` adds one.
"""

from collections.abc import Callable, Iterable
from math import inf, prod

from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import CHEAP, OPS, Tensor
from flambeau.dialects.types import DYNAMIC, is_tensor, shape_of
from flambeau.pipelines.errors import UnsupportedOpError
from flambeau.pipelines.joint import Joint
from flambeau.pipelines.min_cut import NoCutError, Vertex, minimum_cut

ChooseSaved = Callable[[Joint], list[ir.Value]]


def save_all(joint: Joint) -> list[ir.Value]:
    """The default partitioner: save each forward value that the backward uses, views as what they are views of.

    Of a value whose size alone is used, the size is saved.
    """
    forward = {op.results[i] for op in joint.forward for i in range(len(op.results))}
    saved: dict[ir.Value, None] = {}
    sizes: list[ir.Value] = []

    seen: set[ir.Value] = set()
    worklist = [joint.returned[index] for index in joint.gradients]
    while worklist:
        value = worklist.pop()
        if value in seen:
            continue
        seen.add(value)
        op = joint.producer(value)
        if op is None:
            if value not in joint.needs_tangent:
                saved[value] = None
        elif value in forward and not is_free(op):
            saved[value] = None
        elif op.name == "flambeau.dim" and (
            op.operands[0] in forward or joint.producer(op.operands[0]) is None
        ):
            sizes.append(value)
        else:
            worklist.extend(op.operands)
    for size in sizes:
        of = size.owner.operands[0]
        if of not in saved and of not in joint.needs_tangent:
            saved[size] = None
    return _in_program_order(joint, saved)


def is_free(op: ir.Operation) -> bool:
    """Whether making the op's results again costs nothing: constants, sizes, index arithmetic, views."""
    if op.name.startswith("arith."):
        return True
    cls = OPS.get(op.name)
    if cls is None:
        return False  # a call on the host
    return cls.view or not any(f.kind is Tensor for f in cls.fields) or op.name == "flambeau.dim"


def _in_program_order(joint: Joint, values: Iterable[ir.Value]) -> list[ir.Value]:
    order: dict[ir.Value, int] = {a: i for i, a in enumerate(joint.block.arguments)}
    for op in joint.operations:
        for result in op.results:
            order[result] = len(order)
    return sorted(values, key=lambda v: order[v])


# --- Minimum cut -----------------------------------------------------------------------------------------------------

_UNKNOWN_SIZE = 64  # what a `?` dim counts as
_FAR = 10**9


def save_min_cut(joint: Joint) -> list[ir.Value]:
    """The partitioner that saves the fewest bytes, recomputing what is cheap.

    The classes and costs are those of PyTorch's min-cut partitioner, with the ops' recompute class in place of its op
    lists: bytes, weighted by the distance from the backward, doubled for what fusion would not write to memory.
    """
    values = [*joint.block.arguments, *(r for op in joint.operations for r in op.results)]
    number = {value: i for i, value in enumerate(values)}
    users: list[list[int]] = [[] for _ in values]
    for op in joint.operations:
        for operand in op.operands:
            users[number[operand]].extend(number[r] for r in op.results)
    forward = {r for op in joint.forward for r in op.results}
    gradients = {joint.returned[i] for i in joint.gradients}
    distance = _distances(joint, forward)
    vertices = [
        Vertex(
            users=tuple(users[i]),
            cost=_cost(joint, value, distance.get(value, 1), forward),
            fixed=_is_fixed(joint, value, forward),
            tangent=value in joint.needs_tangent,
            needed=value in gradients,
        )
        for i, value in enumerate(values)
    ]
    try:
        return [values[i] for i in minimum_cut(vertices)]
    except NoCutError as error:
        op = next(
            (o for o in map(joint.producer, (values[i] for i in error.path)) if o is not None),
            joint.operations[0],
        )
        raise UnsupportedOpError(
            op, "the backward needs it, but it can neither be saved nor computed again"
        ) from error


def _distances(joint: Joint, forward: set[ir.Value]) -> dict[ir.Value, int]:
    """For each forward value, how many ops lie between it and the first that is not forward."""
    distance: dict[ir.Value, int] = {}
    for op in reversed(joint.operations):
        own = [distance.get(r, _FAR) for r in op.results] if any(r in forward for r in op.results) else [-1]
        for operand in op.operands:
            distance[operand] = min(distance.get(operand, _FAR), 1 + min(own))
    return distance


def _cost(joint: Joint, value: ir.Value, distance: int, forward: set[ir.Value]) -> float:
    op = joint.producer(value)
    if not is_tensor(value.type):
        return 1.0
    size = prod(_UNKNOWN_SIZE if s == DYNAMIC else s for s in shape_of(value)) * _bytes(value)
    if op is None:
        role = joint.arguments[ir.BlockArgument(value).arg_number].get("flambeau.role")
        static = role is not None and ir.StringAttr(role).value in ("parameter", "buffer")
        return 0.0 if static else size * 1.1 ** min(max(distance, 1), 100)
    if value not in forward:
        return inf  # only the backward computes it
    if op.name in OPS and OPS[op.name].view and size >= _size_of_base(op):
        return inf  # a view costs nothing to make again, but saved it would be a copy
    materialized = not _fuses(op) or any(not _fuses(use.owner) for use in value.uses)
    return float(size) * 1.1 ** min(max(distance, 1), 100) * (1.0 if materialized else 2.0)


def _size_of_base(op: ir.Operation) -> int:
    base = op.operands[0]
    return prod(_UNKNOWN_SIZE if s == DYNAMIC else s for s in shape_of(base)) * _bytes(base)


def _bytes(value: ir.Value) -> int:
    text = str(value.type.element_type).lstrip("ubf").removeprefix("i").removeprefix("f")
    return max(1, int(text) // 8) if text.isdigit() else 16


def _fuses(op: ir.Operation) -> bool:
    """Whether an op is computed inside its neighbours' loops."""
    return op.name in OPS and OPS[op.name].recompute is CHEAP


def _is_fixed(joint: Joint, value: ir.Value, forward: set[ir.Value]) -> bool:
    """Whether a value must not be computed again: arguments, costly ops, reductions to a quarter or less."""
    op = joint.producer(value)
    if op is None:
        return value not in joint.needs_tangent
    if value not in forward or is_free(op):
        return False
    if not _fuses(op):
        return True
    given = sum(_elements(v) for v in op.operands if is_tensor(v.type))
    return 4 * sum(_elements(r) for r in op.results if is_tensor(r.type)) <= given


def _elements(value: ir.Value) -> int:
    return prod(_UNKNOWN_SIZE if s == DYNAMIC else s for s in shape_of(value))


PARTITIONERS: dict[str, ChooseSaved] = {"default": save_all, "min-cut": save_min_cut}


def register_partitioner(name: str) -> Callable[[ChooseSaved], ChooseSaved]:
    """Add a partitioner, as a decorator: a name for `partitioner=`. ValueError if it is taken.

    The function gets a joint function taken apart, (primals, tangents) -> (outputs, gradients), and returns the values
    to save: arguments, and results of ops that depend on no tangent. It is called for functions with gradients only.
    """

    def register(choose_saved: ChooseSaved) -> ChooseSaved:
        if PARTITIONERS.setdefault(name, choose_saved) is not choose_saved:
            raise ValueError(f"a partitioner named {name!r} is already registered")
        return choose_saved

    return register
