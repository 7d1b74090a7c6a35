# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ties a compiled forward and backward to torch.autograd.

The forward saves what `@backward` takes over through `save_for_backward`, so PyTorch's version checks and
saved-tensor hooks apply. Under create_graph=True the gradients come from a graph of their own, which is tied to
autograd in the same way.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from flambeau.frontend.calling.signature import Result, Signature
from flambeau.runtime.resident import ResidentTensor, to_tensor

Execute = Callable[[Sequence[Any]], list[Any]]
"""A compiled function: tensors and ints in, tensors and ints out; never an argument's memory."""


class SecondDerivativeError(RuntimeError):
    """The gradients of a graph cannot be differentiated: its text says why."""


@dataclass(frozen=True)
class GradientGraph:
    """Gradients of a graph as a function of its arguments and tangents.

    call: what computes them; a Differentiable if they depend differentiably on something. facts: of its forward. An
    argument is the graph's argument `of_argument`, or the tangent of the graph's result `of_result`.
    """

    call: Execute
    facts: Signature


CompileGradients = Callable[[frozenset[int], frozenset[int]], GradientGraph]
"""(arguments, results of a graph) -> its gradients of these arguments, to be differentiated by these results' tangents
and by all arguments that require a gradient. SecondDerivativeError if that cannot be."""


@dataclass(frozen=True)
class Differentiable:
    """A compiled forward with its backward, and the facts of both.

    `compile_gradients` is called when a gradient itself is to have a history, once for each set of gradients.
    `resident`: both run on a device with memory of its own, take ResidentTensors and leave saved values there.
    """

    forward: Execute
    backward: Execute
    forward_facts: Signature
    backward_facts: Signature
    compile_gradients: CompileGradients
    resident: bool = False

    def __call__(self, arguments: Sequence[Any]) -> list[Any]:
        """Run the forward; the results that are not saved values, connected to autograd."""
        if torch.is_inference_mode_enabled():
            return self.forward(arguments)  # nothing is recorded there, whatever enable_grad says
        visible = [i for i, r in enumerate(self.forward_facts.results) if not r.saved]
        results: list[Any] = [None] * (visible[-1] + 1 if visible else 0)
        numbers = [i for i in visible if self.forward_facts.results[i].dtype is None]
        side: list[Any] = []  # sizes: autograd.Function lets only tensors through
        given = list(arguments)
        for index in self.overwritten:
            # The caller's tensor is written after this returns; the backward needs what it was before.
            given[index] = arguments[index].clone()
        *tensors, _ = _Apply.apply(self, side, self.hold(given), *given)  # type: ignore[no-untyped-call]
        for index, value in zip((i for i in visible if i not in numbers), tensors, strict=True):
            results[index] = value
        for index, value in zip(numbers, side, strict=True):
            results[index] = value
        return results

    @cached_property
    def written(self) -> frozenset[int]:
        """The arguments that get a new value."""
        return frozenset(r.updates for r in self.forward_facts.results if r.updates is not None)

    @cached_property
    def overwritten(self) -> frozenset[int]:
        """The arguments that get a new value, and whose old one the backward needs."""
        saved = {a.of_argument for a in self.backward_facts.arguments if a.of_argument is not None}
        return self.written & saved

    @cached_property
    def taken_again(self) -> frozenset[int]:
        """The tensors among the arguments that the backward needs too."""
        saved = (a.of_argument for a in self.backward_facts.arguments if a.dtype is not None)
        return frozenset(i for i in saved if i is not None)

    @cached_property
    def held(self) -> tuple[int, ...]:
        """The arguments that only derivatives of the gradients need: see `hold`."""
        return tuple(
            i
            for i, a in enumerate(self.forward_facts.arguments)
            if (a.kept or a.role in ("parameter", "buffer", "symbol", "seed"))
            and i not in self.taken_again
            and i not in self.written
        )

    @cached_property
    def held_inputs(self) -> tuple[int, ...]:
        """The positions in `held` of the caller's own tensors."""
        return tuple(p for p, i in enumerate(self.held) if self.forward_facts.arguments[i].role == "input")

    def hold(self, arguments: Sequence[Any]) -> "_Held":
        """What derivatives of the gradients need of the arguments, beyond what is saved for the backward.

        These are references, not copies. They are no saved tensors, since writing such an argument is no error until
        derivatives of the gradients are asked for.
        """
        values = [arguments[i] for i in self.held]
        versions = [_version(value) for value in values]
        # With an alias for the tensor itself there is no cycle if that one is written, with a history that leads here.
        computed = [p for p in self.held_inputs if values[p].requires_grad and not values[p].is_leaf]
        for position in self.held_inputs:
            if not values[position].requires_grad:
                values[position] = values[position].detach()
        if computed:
            aliases = _Alias.apply(*(values[p] for p in computed))  # type: ignore[no-untyped-call]
            for position, alias in zip(computed, aliases, strict=True):
                values[position] = alias
        return _Held(self.held, values, versions)


@dataclass(frozen=True)
class _Held:
    """Arguments by their indices, and the versions that they had when the forward ran."""

    indices: Sequence[int]
    values: Sequence[Any]
    versions: Sequence[int | None]

    def __contains__(self, index: int) -> bool:
        return index in self.indices

    def __getitem__(self, index: int) -> Any:
        """An argument; SecondDerivativeError, with PyTorch's words, if it has been written since."""
        position = self.indices.index(index)
        value, version = self.values[position], self.versions[position]
        if version is not None and value._version != version:
            raise SecondDerivativeError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: "
                f"[{value.type()} {list(value.shape)}] is at version {value._version}; "
                f"expected version {version} instead."
            )
        return value


_NOTHING_HELD = _Held((), (), ())


def _version(value: Any) -> int | None:
    """How often a tensor has been written; None for a size, and where nobody counts."""
    try:
        return value._version  # type: ignore[no-any-return]
    except (AttributeError, RuntimeError):  # an inference tensor
        return None


class _Alias(torch.autograd.Function):
    """Tensors with the same memory and the same version counter, as the results of an op."""

    @staticmethod
    def forward(ctx: Any, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ctx.set_materialize_grads(False)  # None stays None
        return tuple(t.detach() for t in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return gradients


class _Apply(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, graph: Differentiable, side: list[Any], held: _Held, *arguments: Any
    ) -> tuple[torch.Tensor, ...]:
        facts, backward = graph.forward_facts, graph.backward_facts
        plain = [a.detach() if isinstance(a, torch.Tensor) else a for a in arguments]
        if any(
            r.saved and r.dtype is None for r in facts.results
        ):  # tapes, which hold what a host call was given
            for i in graph.written - graph.overwritten:
                plain[i] = plain[i].clone()
        # What is saved stays on the device, unless hooks are to see it.
        stays = graph.resident and torch._C._autograd._top_saved_tensors_default_hooks(True) is None
        if stays:
            plain = [ResidentTensor.lend(a) if i in graph.taken_again else a for i, a in enumerate(plain)]
        results = graph.forward(plain)
        if not stays:
            results = [to_tensor(r) for r in results]
        visible = [i for i, r in enumerate(facts.results) if not r.saved]
        saved_results = {a.of_result for a in backward.arguments if a.role == "saved"}
        # What eager does not save may be written by the caller, who must not be told that the backward needs it.
        returned = [
            r.clone() if i in saved_results and facts.results[i].may_be_written else r
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
        ctx.resident = {}  # what the device has of saved values: of results all, of arguments a copy
        for position, argument in enumerate(backward.arguments):
            if argument.role == "tangent":
                continue
            if argument.of_argument is not None:
                value = arguments[argument.of_argument]
                lent = plain[argument.of_argument]
                if isinstance(lent, ResidentTensor) and lent.device_part:
                    ctx.resident[position] = lent.device_part
            else:
                value = results[argument.of_result]  # type: ignore[index]
            if isinstance(value, ResidentTensor):
                ctx.resident[position] = value
            elif isinstance(value, torch.Tensor):
                saved.append(value)
            else:
                ctx.numbers[position] = value
        token = torch.empty(0)  # an output that nobody can write, see `_refuse_later`
        ctx.save_for_backward(*saved, token)
        ctx.graph = graph
        ctx.held = held
        ctx.tensor_arguments = [i for i, a in enumerate(arguments) if isinstance(a, torch.Tensor)]
        ctx.set_materialize_grads(False)
        ctx.shapes = [t.shape for t in tensors]
        ctx.tensor_results = [i for i in visible if facts.results[i].dtype is not None]
        ctx.devices = [t.device for t in tensors]
        return (*tensors, token)

    @staticmethod
    def backward(ctx: Any, *tangents: torch.Tensor | None) -> tuple[Any, ...]:
        *saved, token = ctx.saved_tensors
        call = _BackwardCall(ctx, saved, tangents[:-1])
        if not torch._C._autograd._get_current_graph_task_keep_graph():
            ctx.held, ctx.resident = _NOTHING_HELD, {}  # PyTorch forgets the saved tensors now
        with torch._C._DisableAutocast():
            if torch.is_grad_enabled() and call.has_history():
                try:
                    gradients = call.gradients_with_history()
                except SecondDerivativeError as error:
                    gradients = call.gradients()
                    _refuse_later(gradients, [*call.tangents_with_history(), token], error)
            else:
                gradients = call.gradients()
        return (None, None, None, *gradients)


class _BackwardCall:
    """One run of a graph's backward. Gradients are one per argument of the forward, or None."""

    def __init__(
        self, ctx: Any, saved: Sequence[torch.Tensor], tangents: Sequence[torch.Tensor | None]
    ) -> None:
        self._ctx = ctx
        self._graph: Differentiable = ctx.graph
        self._facts = self._graph.backward_facts
        self._held: _Held = ctx.held
        self._tangents: dict[int, torch.Tensor | None] = dict(zip(ctx.tensor_results, tangents, strict=True))
        self._shapes = dict(zip(ctx.tensor_results, zip(ctx.shapes, ctx.devices, strict=True), strict=True))
        self._resident: Mapping[int, ResidentTensor] = ctx.resident
        remaining = iter(saved)
        self._saved = {
            position: ctx.numbers[position] if position in ctx.numbers else next(remaining)
            for position, argument in enumerate(self._facts.arguments)
            if argument.role != "tangent"
            and (argument.of_argument is not None or position not in ctx.resident)
        }

    def tangents_with_history(self) -> list[torch.Tensor]:
        """The tangents that gradients are differentiated by."""
        return [t for t in self._tangents.values() if t is not None and t.requires_grad]

    def has_history(self) -> bool:
        """Whether gradients depend differentiably on something: a tangent, or an argument that requires a gradient."""
        arguments = self._graph.forward_facts.arguments
        return bool(self.tangents_with_history()) or any(
            a.role == "saved" and (a.of_argument is None or arguments[a.of_argument].requires_grad)
            for a in self._facts.arguments
        )

    def gradients(self) -> list[Any]:
        """Gradients without a history: `@backward`."""
        arguments = [
            self._saved_value(position)
            if argument.role != "tangent"
            else self._tangent(argument.of_result).detach()
            for position, argument in enumerate(self._facts.arguments)
        ]
        with torch.no_grad():
            gradients = self._graph.backward(arguments)
        return self._per_argument(
            (fact.gradient_of, gradient)
            for fact, gradient in zip(self._facts.results, gradients, strict=True)
            if self._exists(fact)
        )

    def gradients_with_history(self) -> list[Any]:
        """The gradients that the engine asks for, with a history; SecondDerivativeError if that cannot be."""
        executed = self._executed()
        wanted = [r.gradient_of for r in self._facts.results if r.gradient_of in executed and self._exists(r)]
        if not wanted:
            return self._per_argument(())
        differentiated = frozenset(i for i, t in self._tangents.items() if t is not None and t.requires_grad)
        graph = self._graph.compile_gradients(frozenset(wanted), differentiated)
        arguments = [
            self._primal(a.of_argument) if a.of_argument is not None else self._tangent(a.of_result)
            for a in graph.facts.arguments
        ]
        with torch.set_grad_enabled(isinstance(graph.call, Differentiable)):
            gradients = graph.call(arguments)
        return self._per_argument(zip(wanted, gradients, strict=True))

    def _executed(self) -> set[int]:
        """The arguments whose gradients the engine will make use of."""
        nodes = [node for node, _ in self._ctx.next_functions]
        return {
            i
            for i, node in zip(self._ctx.tensor_arguments, nodes, strict=True)
            if node is not None and _is_executed(node)
        }

    def _exists(self, gradient: Result) -> bool:
        """As in eager, what no used output depends on has no gradient, rather than one of zeros."""
        return not gradient.of_tangents or any(self._tangents[i] is not None for i in gradient.of_tangents)

    def _saved_value(self, position: int) -> Any:
        """A saved value as `@backward` takes it. A tensor has been checked: it is what the device has a copy of."""
        resident = self._resident.get(position)
        if resident is None:
            return self._saved[position]
        return resident if position not in self._saved else resident.with_tensor(self._saved[position])

    def _tangent(self, index: int | None) -> torch.Tensor:
        assert index is not None
        tangent = self._tangents[index]
        if tangent is None:
            shape, device = self._shapes[index]
            dtype = self._graph.forward_facts.results[index].dtype
            tangent = torch.zeros(shape, dtype=dtype, device=device)
        return tangent

    def _primal(self, index: int) -> Any:
        """An argument of the forward, with its history."""
        for position, argument in enumerate(self._facts.arguments):
            if argument.of_argument == index:
                return self._saved[position]
        if index in self._held:
            return self._held[index]
        name = self._graph.forward_facts.arguments[index].name
        raise SecondDerivativeError(f"the graph wrote {name}, whose old value is not kept")

    def _per_argument(self, gradients: Iterable[tuple[int | None, Any]]) -> list[Any]:
        per_argument: list[Any] = [None] * len(self._graph.forward_facts.arguments)
        for index, gradient in gradients:
            assert index is not None
            per_argument[index] = gradient
        return per_argument


def _is_executed(node: Any) -> bool:
    """Whether the engine goes on to a node."""
    try:
        return bool(torch._C._will_engine_execute_node(node))
    except RuntimeError:  # a leaf whose gradient torch.autograd.grad was asked for
        return True


def _refuse_later(
    gradients: list[Any], origins: Sequence[torch.Tensor], error: SecondDerivativeError
) -> None:
    """Give gradients a history that raises, or else PyTorch would take them for constants.

    `origins` lead to the tangents, and to the node of the forward (its token does): so who differentiates with respect
    to any argument comes by.
    """
    present = [i for i, g in enumerate(gradients) if g is not None]
    known = _RefuseSecondDerivative.apply(error, len(origins), *origins, *(gradients[i] for i in present))  # type: ignore[no-untyped-call]
    for index, gradient in zip(present, known, strict=True):
        gradients[index] = gradient


class _RefuseSecondDerivative(torch.autograd.Function):
    """Gradients as they are, made from `count` other tensors; to differentiate them is an error, instead of zeros."""

    @staticmethod
    def forward(
        ctx: Any, error: SecondDerivativeError, count: int, *tensors: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        ctx.error = error
        return tuple(g.view_as(g) for g in tensors[count:])

    @staticmethod
    def backward(ctx: Any, *_: torch.Tensor | None) -> tuple[Any, ...]:
        raise SecondDerivativeError(
            f"the gradient of a compiled graph cannot be differentiated again: {ctx.error}"
        ) from ctx.error
