# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass partition: joint function -> @forward and @backward.

What depends on a tangent is backward, what the forward results need is forward; both are read off the data flow.
Values that the backward takes over are saved: arguments as they are, everything else as extra forward results.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from flambeau.dialects import build as b
from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.errors import UnsupportedOpError
from flambeau.dialects.facts import ArgumentFacts, ResultFacts, Role
from flambeau.pipelines.analysis.sizes import Dim, dynamic_dims, trace_sizes
from flambeau.pipelines.partitioning.joint import Joint, slice_of
from flambeau.pipelines.partitioning.partitioners import PARTITIONERS, ChooseSaved, save_min_cut
from flambeau.pipelines.partitioning.recompute import runs_once
from flambeau.pipelines.registry import PipelineError, register_pass, unknown_choice


@register_pass
@dataclass(frozen=True)
class Partition:
    """Split a joint function into `@forward` and `@backward`.

    `partitioner=min-cut` saves the fewest bytes, and computes again what is cheap. `partitioner=save-all` saves every
    forward value that the backward uses; constants, sizes and views are made again from what they come from. Other
    names are those of `register_partitioner`. A function without tangents is renamed to `@forward`.
    `activation-memory-budget` lets `min-cut` compute costly ops again, to save no more than this part of what it would:
    from 1, only cheap ones, to 0, whatever can be.
    """

    name = "partition"

    partitioner: str = "min-cut"
    activation_memory_budget: float = 1.0

    def __post_init__(self) -> None:
        if self.partitioner not in PARTITIONERS:
            raise PipelineError(unknown_choice("partitioner", self.partitioner, [*PARTITIONERS]))
        if not 0 <= self.activation_memory_budget <= 1:
            raise PipelineError(
                f"activation-memory-budget is {self.activation_memory_budget:g}, but must be from 0 to 1"
            )
        if self.partitioner != "min-cut" and self.activation_memory_budget != 1:
            raise PipelineError(
                f"partitioner {self.partitioner!r} takes no activation-memory-budget; min-cut does"
            )

    def run(self, module: ir.Module) -> None:
        choose_saved = PARTITIONERS[self.partitioner]
        if choose_saved is save_min_cut:
            choose_saved = partial(save_min_cut, memory_budget=self.activation_memory_budget)
        for function in fn.public_functions(module):
            partition(function, choose_saved)


def partition(function: Any, choose_saved: ChooseSaved) -> None:
    """Replace a joint function by `@forward` and `@backward`, saving what `choose_saved` says."""
    joint = Joint(function)
    if not joint.tangents:
        function.operation.attributes["sym_name"] = ir.StringAttr.get("forward")
        return
    saved = choose_saved(joint)
    _refuse_wrong_choice(joint, saved)
    sizes = _sizes_of_saved(joint, saved)
    saved = [value for value in saved if value not in sizes]
    with ir.InsertionPoint(function.operation), function.operation.location:
        _build_forward(joint, saved)
        _build_backward(joint, saved, sizes)
    function.operation.erase()


def _refuse_wrong_choice(joint: Joint, saved: list[ir.Value]) -> None:
    """Refuse what a partitioner saves if it cannot be saved, or if the backward would have to run what runs once."""
    late = next((v for v in saved if v in joint.needs_tangent), None)
    if late is not None:
        raise ValueError(f"the partitioner saves what only the backward can compute: {late}")
    backward = slice_of(joint.operations, [joint.returned[i] for i in joint.gradients], stop=saved)
    known = {*saved, *joint.needs_tangent}
    missing = next(
        (v for op in backward for v in op.operands if joint.producer(v) is None and v not in known), None
    )
    if missing is not None:
        raise ValueError(f"the partitioner saves too little: the backward also needs the argument {missing}")
    forward = set(joint.forward)
    again = next((op for op in backward if op in forward and runs_once(op)), None)
    if again is not None:
        raise UnsupportedOpError(
            again, "it must run once, but the partitioner lets the backward run it again"
        )


def _sizes_of_saved(joint: Joint, saved: list[ir.Value]) -> dict[ir.Value, Dim]:
    """The saved sizes that a saved tensor or a tangent has anyway, with that tensor's dim.

    A size of a tensor is better than a number: compilers see which tensors it is a size of.
    """
    origins = trace_sizes(joint.function)
    tensors = [*saved, *(joint.block.arguments[i] for i in joint.tangents)]
    dims: dict[Hashable, Dim] = {}
    for tensor in tensors:
        for dim in dynamic_dims(tensor):
            dims.setdefault(origins.dim(tensor, dim), (tensor, dim))
    sizes = [value for value in saved if isinstance(value.type, ir.IndexType)]
    return {size: dims[origins.size(size)] for size in sizes if origins.size(size) in dims}


def _forward_results(joint: Joint, saved: list[ir.Value]) -> list[ir.Value]:
    """What `@forward` returns: its own results, then what is saved and neither an argument nor among them."""
    results = [joint.returned[i] for i in joint.forward_results]
    known = set(results)
    return results + [v for v in saved if joint.producer(v) is not None and v not in known]


def _mark_kept(joint: Joint, saved: list[ir.Value]) -> None:
    """Mark the inputs from which the gradients are computed, but which the backward does not take over.

    Who differentiates the gradients needs them too. Parameters and buffers outlive the call, and need no mark.
    """
    used = {v for op in joint.backward for v in op.operands}.difference(saved, joint.needs_tangent)
    for index, facts in enumerate(joint.arguments):
        if joint.block.arguments[index] in used and facts.role is Role.INPUT:
            joint.arguments[index] = replace(facts, kept=True)


def _build_forward(joint: Joint, saved: list[ir.Value]) -> None:
    _mark_kept(joint, saved)
    tangents = set(joint.tangents)
    primals = [i for i in range(len(joint.arguments)) if i not in tangents]
    results = _forward_results(joint, saved)
    facts = [joint.results[i] for i in joint.forward_results]
    facts += [ResultFacts(saved=True)] * (len(results) - len(facts))
    _build(
        "forward",
        [joint.block.arguments[i] for i in primals],
        [joint.arguments[i] for i in primals],
        slice_of(joint.operations, results, keep_effects=True),
        results,
        facts,
    )


def _build_backward(joint: Joint, saved: list[ir.Value], sizes: dict[ir.Value, Dim]) -> None:
    position: dict[ir.Value, int] = {}
    for index, value in enumerate(_forward_results(joint, saved)):
        position.setdefault(value, index)
    arguments: list[ArgumentFacts] = []
    for value in saved:
        if joint.producer(value) is None:
            number = ir.BlockArgument(value).arg_number
            dims = joint.arguments[number].dims
            arguments.append(ArgumentFacts(role=Role.SAVED, dims=dims, of_argument=number))
        else:
            arguments.append(ArgumentFacts(role=Role.SAVED, of_result=position[value]))
    tangents = [joint.block.arguments[i] for i in joint.tangents]
    results = [joint.returned[i] for i in joint.gradients]
    reached = _tangents_that_reach(joint)
    facts = [
        replace(joint.results[i], of_tangents=tuple(sorted(reached.get(joint.returned[i], ()))))
        for i in joint.gradients
    ]
    _build(
        "backward",
        [*saved, *tangents],
        [*arguments, *(joint.arguments[i] for i in joint.tangents)],
        slice_of(joint.operations, results, stop=[*saved, *tangents, *sizes]),
        results,
        facts,
        sizes,
    )


def _tangents_that_reach(joint: Joint) -> dict[ir.Value, frozenset[int]]:
    """For each value that depends on tangents: the forward results that these belong to."""
    reached: dict[ir.Value, frozenset[int]] = {}
    for index in joint.tangents:
        of_result = joint.arguments[index].of_result
        assert of_result is not None
        reached[joint.block.arguments[index]] = frozenset([of_result])
    for op in joint.operations:
        incoming = frozenset().union(*(reached.get(v, frozenset()) for v in op.operands))
        if incoming:
            reached.update(dict.fromkeys(op.results, incoming))
    return reached


def _build(
    name: str,
    inputs: list[ir.Value],
    arguments: list[ArgumentFacts],
    operations: list[ir.Operation],
    results: list[ir.Value],
    returned: list[ResultFacts],
    sizes: Mapping[ir.Value, Dim] = MappingProxyType({}),
) -> None:
    """A new function that runs copies of `operations` on `inputs`; `sizes` are asked of inputs."""
    function = fn.create_function(name, [v.type for v in inputs], [v.location for v in inputs])
    block = fn.entry_block(function)
    values: dict[ir.Value, ir.Value] = dict(zip(inputs, block.arguments, strict=True))
    with ir.InsertionPoint(block):
        for size, (tensor, dim) in sizes.items():
            with size.location:
                values[size] = b.dim(values[tensor], dim)
        for op in operations:
            fn.copy_op(op, values)
        ir.Operation.create("func.return", operands=[values[v] for v in results])
    fn.set_signature(function, arguments, returned)
