# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The partitioners: which forward values are saved for the backward. Each takes a joint function and returns values.

Everything else that the backward needs is computed again there, from the saved values. `register_partitioner` adds one.
"""

from collections.abc import Callable, Iterable

from flambeau.dialects.bindings import ir
from flambeau.pipelines.partitioning.joint import Joint
from flambeau.pipelines.partitioning.memory_budget import choose_saved
from flambeau.pipelines.partitioning.recompute import Recomputation, is_free, runs_once

ChooseSaved = Callable[[Joint], list[ir.Value]]


def save_all(joint: Joint) -> list[ir.Value]:
    """The partitioner that saves each forward value that the backward uses, views as what they are views of.

    Of a value whose size alone is used, the size is saved.
    """
    again = joint.checkpoints.again
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
        elif value in forward and not is_free(op) and (value not in again or runs_once(op)):
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


def _in_program_order(joint: Joint, values: Iterable[ir.Value]) -> list[ir.Value]:
    order: dict[ir.Value, int] = {a: i for i, a in enumerate(joint.block.arguments)}
    for op in joint.operations:
        for result in op.results:
            order[result] = len(order)
    return sorted(values, key=lambda v: order[v])


def save_min_cut(joint: Joint, memory_budget: float = 1.0) -> list[ir.Value]:
    """The partitioner that saves the fewest bytes, computing again what is cheap. `memory_budget`: see the pass."""
    recomputation = Recomputation(joint)
    return [recomputation.values[n] for n in choose_saved(recomputation, memory_budget)]


PARTITIONERS: dict[str, ChooseSaved] = {"min-cut": save_min_cut, "save-all": save_all}


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


def partitioner_name(choose_saved: ChooseSaved) -> str:
    """The name of a partitioner; one that has none yet is registered under a new one, made of its Python name."""
    known = next((name for name, other in PARTITIONERS.items() if other is choose_saved), None)
    if known is not None:
        return known
    plain = getattr(choose_saved, "__qualname__", type(choose_saved).__qualname__)
    name = f"{choose_saved.__module__}.{plain}"
    number = sum(other.partition("#")[0] == name for other in PARTITIONERS)
    register_partitioner(f"{name}#{number}" if number else name)(choose_saved)
    return f"{name}#{number}" if number else name
