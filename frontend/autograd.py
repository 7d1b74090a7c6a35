# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ties a compiled forward and backward to torch.autograd.

The forward saves what `@backward` takes over through `save_for_backward`, so PyTorch's version checks and
saved-tensor hooks apply.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from flambeau.frontend.facts import Signature

Execute = Callable[[Sequence[Any]], list[Any]]
"""A compiled function: tensors and ints in, tensors and ints out; never an argument's memory."""


@dataclass(frozen=True)
class Differentiable:
    """A compiled forward with its backward, and the facts of both."""

    forward: Execute
    backward: Execute
    forward_facts: Signature
    backward_facts: Signature

    def __call__(self, arguments: Sequence[Any]) -> list[Any]:
        """Run the forward; the results that are not saved values, connected to autograd."""
        if torch.is_inference_mode_enabled():
            return self.forward(arguments)  # nothing is recorded there, whatever enable_grad says
        visible = [i for i, r in enumerate(self.forward_facts.results) if not r.saved]
        results: list[Any] = [None] * (visible[-1] + 1 if visible else 0)
        numbers = [i for i in visible if self.forward_facts.results[i].dtype is None]
        side: list[Any] = []  # sizes: autograd.Function lets only tensors through
        *tensors, _ = _Apply.apply(self, side, *arguments)  # type: ignore[no-untyped-call]
        for index, value in zip((i for i in visible if i not in numbers), tensors, strict=True):
            results[index] = value
        for index, value in zip(numbers, side, strict=True):
            results[index] = value
        return results


class _Apply(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, graph: Differentiable, side: list[Any], *arguments: Any
    ) -> tuple[torch.Tensor, ...]:
        facts, backward = graph.forward_facts, graph.backward_facts
        written = {r.updates for r in facts.results if r.updates is not None}
        saved_arguments = {a.of_argument for a in backward.arguments if a.of_argument is not None}
        # The caller's tensor is written after this returns; the backward needs what it was before.
        old = {i: arguments[i].clone() for i in written & saved_arguments}
        plain = [a.detach() if isinstance(a, torch.Tensor) else a for a in arguments]
        if any(
            r.saved and r.dtype is None for r in facts.results
        ):  # tapes, which hold what a host call was given
            for i in written:
                plain[i] = old[i] if i in old else plain[i].clone()
        results = graph.forward(plain)
        visible = [i for i, r in enumerate(facts.results) if not r.saved]
        saved_results = {a.of_result for a in backward.arguments if a.role == "saved"}
        # What eager returns as a copy of a value that it saves may be written by the caller.
        returned = [
            r.clone() if i in saved_results and facts.results[i].copy else _no_view(r)
            for i, r in enumerate(results)
        ]
        tensors = [returned[i] for i in visible if facts.results[i].dtype is not None]
        side.extend(results[i] for i in visible if facts.results[i].dtype is None)
        tangents = {a.of_result for a in backward.arguments if a.role == "tangent"}
        ctx.mark_non_differentiable(
            *(returned[i] for i in visible if facts.results[i].dtype is not None and i not in tangents)
        )
        saved: list[torch.Tensor] = []
        ctx.numbers = {}
        for position, argument in enumerate(backward.arguments):
            if argument.role == "tangent":
                continue
            if argument.of_argument is not None:
                value = old.get(argument.of_argument, arguments[argument.of_argument])
            else:
                value = results[argument.of_result]  # type: ignore[index]
            if isinstance(value, torch.Tensor):
                saved.append(value)
            else:
                ctx.numbers[position] = value
        token = torch.empty(0)  # an output that nobody can write, see `backward`
        ctx.save_for_backward(*saved, token)
        ctx.graph = graph
        ctx.set_materialize_grads(False)
        ctx.shapes = [t.shape for t in tensors]
        ctx.tensor_results = [i for i in visible if facts.results[i].dtype is not None]
        ctx.devices = [t.device for t in tensors]
        return (*tensors, token)

    @staticmethod
    def backward(ctx: Any, *tangents: torch.Tensor | None) -> tuple[Any, ...]:
        *saved, token = ctx.saved_tensors
        with torch.no_grad():
            gradients = _Apply._gradients(ctx, saved, tangents[:-1])
        # Under create_graph=True gradients have a history, and PyTorch would take these for constants. The token leads
        # to this node, so that who differentiates them with respect to any argument comes by.
        origins = [t for t in tangents if t is not None and t.requires_grad]
        if _depends_on_leaves(ctx.graph):
            origins.append(token)
        if torch.is_grad_enabled() and origins:
            present = [i for i, g in enumerate(gradients) if g is not None]
            known = _RefuseSecondDerivative.apply(len(origins), *origins, *(gradients[i] for i in present))  # type: ignore[no-untyped-call]
            for index, gradient in zip(present, known, strict=True):
                gradients[index] = gradient
        return (None, None, *gradients)

    @staticmethod
    def _gradients(
        ctx: Any, saved_tensors: Sequence[torch.Tensor], tangents: Sequence[torch.Tensor | None]
    ) -> list[Any]:
        """Run `@backward`; one gradient, or None, per argument of the forward."""
        graph: Differentiable = ctx.graph
        facts = graph.backward_facts
        given = dict(
            zip(ctx.tensor_results, zip(tangents, ctx.shapes, ctx.devices, strict=True), strict=True)
        )
        saved = iter(saved_tensors)
        arguments: list[Any] = []
        for position, argument in enumerate(facts.arguments):
            if argument.role != "tangent":
                arguments.append(ctx.numbers[position] if position in ctx.numbers else next(saved))
                continue
            tangent, shape, device = given[argument.of_result]
            if tangent is None:
                tangent = torch.zeros(shape, dtype=argument.dtype, device=device)
            arguments.append(tangent.detach())
        gradients = graph.backward(arguments)
        per_argument: list[Any] = [None] * len(graph.forward_facts.arguments)
        for fact, gradient in zip(facts.results, gradients, strict=True):
            assert fact.gradient_of is not None
            # As in eager, what no used output depends on has no gradient, rather than one of zeros.
            if not fact.of_tangents or any(given[i][0] is not None for i in fact.of_tangents):
                per_argument[fact.gradient_of] = gradient
        return per_argument


def _depends_on_leaves(graph: Differentiable) -> bool:
    """Whether gradients depend on more than the tangents and on arguments that require no gradient."""
    return any(
        a.role == "saved"
        and (a.of_argument is None or graph.forward_facts.arguments[a.of_argument].requires_grad)
        for a in graph.backward_facts.arguments
    )


class _RefuseSecondDerivative(torch.autograd.Function):
    """Gradients as they are, made from `count` other tensors; to differentiate them is an error, instead of zeros."""

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(g.view_as(g) for g in tensors[count:])

    @staticmethod
    def backward(ctx: Any, *_: torch.Tensor | None) -> tuple[Any, ...]:
        raise RuntimeError(
            "the gradient of a compiled graph cannot be differentiated again (create_graph=True): "
            "run this function in eager"
        )


def _no_view(value: Any) -> Any:
    """A result that autograd takes for a tensor of its own, whatever the interpreter made it from."""
    return value.detach() if isinstance(value, torch.Tensor) and value._is_view() else value
