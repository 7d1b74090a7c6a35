# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass keep-gradients: joint function -> the function of its gradients, which autodiff takes like any other.

In: `(primals, tangents) -> (outputs, gradients)`. Out: `(primals, tangents) -> gradients`, arguments and results in the
same order, without those that nothing depends on. The forward is computed again from the primals.
"""

from dataclasses import dataclass, replace
from typing import Any

from flambeau.dialects import functions as fn
from flambeau.dialects.bindings import ir
from flambeau.dialects.calls import derivative_of, host
from flambeau.dialects.errors import UnsupportedOpError
from flambeau.dialects.facts import ArgumentFacts, ResultFacts, Role
from flambeau.dialects.opdef import OPS
from flambeau.pipelines.partitioning.joint import Joint, slice_of
from flambeau.pipelines.registry import register_pass


@register_pass
@dataclass(frozen=True)
class KeepGradients:
    """Reduce each joint function to its gradients, so that these can be differentiated in their turn.

    Tangents become inputs. `gradients`: the primals whose gradients are kept; `tangents`: the results whose tangents
    are to be differentiated by, too. Both are numbers separated by `;`, and all of them by default.
    """

    name = "keep-gradients"

    gradients: str | None = None
    tangents: str | None = None

    def run(self, module: ir.Module) -> None:
        for function in fn.public_functions(module):
            if not host.is_host_function(function):
                keep_gradients(function, _numbers(self.gradients), _numbers(self.tangents))


def _numbers(text: str | None) -> frozenset[int] | None:
    return None if text is None else frozenset(int(number) for number in text.split(";") if number.strip())


def keep_gradients(function: Any, gradients: frozenset[int] | None, tangents: frozenset[int] | None) -> None:
    """Reduce one joint function; None stands for all. One without tangents stays as it is."""
    joint = Joint(function)
    if not joint.tangents:
        return
    kept = [i for i in joint.gradients if gradients is None or joint.results[i].gradient_of in gradients]
    fn.set_return(function, [joint.returned[i] for i in kept])
    for op in _erase_unused(joint.block):
        _leave_statistics(op)
    operations = _erase_unused(joint.block)
    for op in operations:
        _refuse_second_run(op)
    used = {v for op in fn.operations(joint.block) for v in op.operands}
    arguments: list[ArgumentFacts] = []
    for index, facts in reversed(list(enumerate(joint.arguments))):
        if joint.block.arguments[index] not in used:
            joint.block.erase_argument(index)
        elif index in joint.tangents:
            arguments.append(_tangent(facts, tangents))
        else:
            arguments.append(replace(facts, of_argument=index))
    results = [ResultFacts(output=position) for position in range(len(kept))]
    fn.set_signature(function, arguments[::-1], results)


def _tangent(facts: ArgumentFacts, differentiated: frozenset[int] | None) -> ArgumentFacts:
    """The facts of a tangent that is an input now."""
    marked = differentiated is None or facts.of_result in differentiated
    return ArgumentFacts(role=Role.INPUT, of_result=facts.of_result, requires_grad=marked)


def _erase_unused(block: ir.Block) -> list[ir.Operation]:
    """Erase the ops that compute nothing of what a block returns; the others, in order."""
    operations = fn.operations(block)[:-1]
    needed = slice_of(operations, fn.terminator(block).operands)
    kept = set(needed)
    for op in reversed(operations):
        if op not in kept:
            op.erase()
    return needed


def _leave_statistics(op: ir.Operation) -> None:
    """Replace an op that also moves statistics which nobody uses here by one that does not need the old ones."""
    rule = getattr(OPS.get(op.name), "without_statistics", None)
    if rule is None or any(list(getattr(op.opview, name).uses) for name in OPS[op.name].nondifferentiable):
        return
    with ir.InsertionPoint(op), op.location:
        results = rule(op.opview)
    for old, new in zip(op.results, results, strict=False):  # the statistics have no uses
        old.replace_all_uses_with(new)
    op.erase()


def _refuse_second_run(op: ir.Operation) -> None:
    """UnsupportedOpError for what may not run again, or whose derivative does not tell what its own derivative is."""
    derivative = derivative_of(op)
    reason = derivative.why_once(op)
    if reason is not None:
        raise UnsupportedOpError(op, reason)
    for inner in derivative.inside(op):
        _refuse_second_run(inner)
