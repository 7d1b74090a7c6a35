# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The runtime wrapper of one graph: from the caller's tensors to eager's results.

Around the compiled functions it draws the random seed, copies updates back into the caller's tensors, replays views,
and restores layouts and requires_grad flags: all from the facts in the signature.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch._C._autograd import CreationMeta, _set_creation_meta

from flambeau.frontend.calling.signature import Result, Signature, Sizes
from flambeau.frontend.capture.shared_memory import SharedMemory, meet, place_of

Call = Callable[[Sequence[Any]], list[Any]]


class CompiledGraph:
    """What TorchDynamo calls in place of a graph: flat arguments in, the flat list of outputs out.

    `call` computes the results that `facts` describes, connected to autograd where needed. By position: `constants` are
    outputs that are no tensors, `repeated` names the earlier outputs that others are. `eager` runs the original graph,
    for calls that the compiled code does not cover: `refuse_call` hears the reason first, and may raise.
    `grad_enabled_after` is the grad mode that the graph leaves behind.
    """

    def __init__(
        self,
        call: Call,
        facts: Signature,
        outputs: int,
        constants: dict[int, Any],
        repeated: dict[int, int],
        eager: Callable[..., Any],
        refuse_call: Callable[[str], None],
        grad_enabled_after: bool,
    ):
        self._call = call
        self._facts = facts
        self._outputs = outputs
        self._constants = constants
        self._repeated = repeated
        self._eager = eager
        self._refuse_call = refuse_call
        self._grad_enabled_after = grad_enabled_after
        self._arguments = tuple(a for a in facts.arguments if a.role != "seed")
        self._seeded = len(self._arguments) != len(facts.arguments)
        self._updated = [r.updates for r in facts.results if r.updates is not None]
        self._differentiates = any(a.requires_grad for a in facts.arguments)

    def __call__(self, *arguments: Any) -> list[Any]:
        if self._updated:
            overlap = self._overlap(arguments)
            if overlap is not None:
                self._refuse_call(overlap)
                return list(self._eager(*arguments))
        given = [*arguments, draw_seed()] if self._seeded else list(arguments)
        # Casts are in the graph already; nothing may be cast a second time.
        # The graph knows which of its ops ran under no_grad; the caller's mode is that of its first op only.
        with (
            torch._C._DisableAutocast(),
            torch.set_grad_enabled(self._differentiates or torch.is_grad_enabled()),
        ):
            outputs = self._finish(arguments, self._call(given))
        if torch.is_grad_enabled() != self._grad_enabled_after:
            torch.set_grad_enabled(self._grad_enabled_after)  # the graph's own set_grad_enabled
        return outputs

    def _overlap(self, arguments: Sequence[Any]) -> str | None:
        """Which written argument shares memory with which other one; None if none does."""
        storages: list[tuple[int, int, int]] = []
        for number, argument in enumerate(arguments):
            if isinstance(argument, torch.Tensor):
                storage = argument.untyped_storage()
                storages.append((storage.data_ptr(), storage.data_ptr() + storage.nbytes(), number))
        storages.sort()
        reach = 0  # where the storages so far end: most calls have nothing in common, and see that here
        group: list[int] = []
        for start, end, number in storages:
            group = [*group, number] if start < reach else [number]
            reach = max(reach, end)
            pair = self._overlapping_in(group, arguments) if len(group) > 1 else None
            if pair is not None:
                return pair
        return None

    def _overlapping_in(self, group: list[int], arguments: Sequence[Any]) -> str | None:
        """The same among arguments whose storages meet, for pairs with the last of them."""
        *others, last = group
        for other in others:
            written = last if last in self._updated else other
            if written in self._updated and meet(place_of(arguments[last]), place_of(arguments[other])):
                names = (self._arguments[p].name for p in (written, other if written == last else last))
                return " is written and shares memory with ".join(names)
        return None

    def _finish(self, arguments: Sequence[Any], results: list[Any]) -> list[Any]:
        sizes = Sizes(self._arguments, arguments)
        outputs: list[Any] = [None] * self._outputs
        for position, value in self._constants.items():
            outputs[position] = value
        for fact, value in zip(self._facts.results, results, strict=False):
            if fact.updates is not None:
                argument = arguments[fact.updates]
                if self._arguments[fact.updates].uncounted:
                    argument = argument.data
                _copy_back(argument, value, hidden=fact.hidden)
        for fact, value in zip(self._facts.results, results, strict=False):
            if fact.output is not None:
                outputs[fact.output] = self._output(fact, value, arguments, results, sizes)
        for position, earlier in self._repeated.items():
            outputs[position] = outputs[earlier]
        return outputs

    def _output(
        self, fact: Result, value: Any, arguments: Sequence[Any], results: Sequence[Any], sizes: Sizes
    ) -> Any:
        if fact.dtype is None:
            return value
        if fact.is_argument is not None:
            return arguments[fact.is_argument]
        if fact.view is not None:
            if fact.view_of_argument is not None:
                base = arguments[fact.view_of_argument]
            else:
                assert fact.view_of_result is not None
                base = results[fact.view_of_result]
            offset = base.storage_offset() + sizes.extent(fact.view.offset)
            with torch.set_grad_enabled(torch.is_grad_enabled() and not fact.hidden):
                value = base.as_strided(
                    sizes.extents(fact.view.sizes), sizes.extents(fact.view.strides), offset
                )
        if fact.uncounted:
            return value.data
        if fact.detached or (value.requires_grad and not fact.requires_grad):
            return value.detach()
        if fact.hidden and not value.requires_grad:
            value = value.requires_grad_()
        if fact.viewed_again:
            value = value.as_strided(value.shape, value.stride())
        if fact.view is not None and fact.one_of_several:
            _set_creation_meta(value, CreationMeta.MULTI_OUTPUT_NODE)
        return value


class GraphOfBases:
    """What TorchDynamo calls where arguments share memory that is written: `graph` takes their bases instead.

    `returned`: which outputs are arguments, by position. `eager` and `refuse_call` as for CompiledGraph.
    """

    def __init__(
        self,
        graph: Callable[..., list[Any]],
        shared: SharedMemory,
        returned: Mapping[int, int],
        eager: Callable[..., Any],
        refuse_call: Callable[[str], None],
    ):
        self._graph = graph
        self._shared = shared
        self._returned = returned
        self._eager = eager
        self._refuse_call = refuse_call

    def __call__(self, *arguments: Any) -> list[Any]:
        merged = self._shared.merged(arguments)
        if merged is not None:
            outputs = self._graph(*merged)
            for position, argument in self._returned.items():
                outputs[position] = arguments[argument]
            return outputs
        self._refuse_call(
            "what shares memory that is written lies in memory otherwise than it was compiled for"
        )
        return list(self._eager(*arguments))


def draw_seed() -> torch.Tensor:
    """The seed of one call, from torch's default generator: so `torch.manual_seed` reproduces. Shape [2], int32."""
    return torch.randint(-(2**31), 2**31, (2,), dtype=torch.int32)


def _copy_back(target: torch.Tensor, value: torch.Tensor, *, hidden: bool) -> None:
    """Give the caller's tensor its new value, as an op that autograd sees exactly if it saw eager's write."""
    if hidden:
        with torch.no_grad():
            target.detach().copy_(value)
    else:
        target.copy_(value)
