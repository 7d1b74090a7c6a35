# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Questions asked of autograd's graph behind traced tensors: what is kept for a backward, where a history ends."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch.autograd.function import BackwardCFunction

from flambeau.frontend.capture.records import UnsupportedGraphError
from flambeau.frontend.capture.torch_calls import WholeNode


def refuse_lost_backwards(values: Sequence[Any]) -> None:
    """Refuse results whose history holds a user's autograd.Function: its forward was traced, its backward was not."""
    for grad_fn in _history(values):
        if isinstance(grad_fn, BackwardCFunction):
            owner = type(grad_fn)._forward_cls  # type: ignore[attr-defined]
            if owner is not WholeNode and owner.__module__.partition(".")[0] != "torch":
                reason = "the backward of a custom autograd.Function is seen only through torch.compile"
                raise UnsupportedGraphError(owner.__qualname__, None, reason)


def saved_tensors(values: Sequence[Any]) -> Iterator[torch.Tensor]:
    """What autograd keeps for the backward of some values, except for what has been written since."""
    for grad_fn in _history(values):
        for name in _saved_names(type(grad_fn)):  # type: ignore[arg-type]
            try:
                saved = getattr(grad_fn, name)
            except RuntimeError:  # written since, or given up by a backward in the graph
                continue
            yield from (v for v in pytree.tree_leaves(saved) if isinstance(v, torch.Tensor))


def is_view_without_history(view: torch.Tensor) -> bool:
    """Whether a view's history ends in nothing, unlike its base's: it is a view of a view made under no_grad."""
    base = view._base
    assert base is not None
    return _leads_nowhere(view.grad_fn) and (base.is_leaf or not _leads_nowhere(base.grad_fn))


def _history(values: Sequence[Any]) -> Iterator[Any]:
    """The nodes of autograd's graph that values come from, each once."""
    waiting = [value.grad_fn for value in values if isinstance(value, torch.Tensor)]
    seen: set[Any] = set()
    while waiting:
        grad_fn = waiting.pop()
        if grad_fn is None or grad_fn in seen:
            continue
        seen.add(grad_fn)
        yield grad_fn
        waiting.extend(next_fn for next_fn, _ in grad_fn.next_functions)


@cache
def _saved_names(node: type) -> tuple[str, ...]:
    """The attributes of a kind of node that hold saved values."""
    if issubclass(node, BackwardCFunction):
        return ("saved_tensors",)
    return tuple(name for name in dir(node) if name.startswith("_saved_"))


def _leads_nowhere(grad_fn: Any) -> bool:
    """Whether a history ends in nothing."""
    while grad_fn is not None and len(grad_fn.next_functions) == 1:
        grad_fn = grad_fn.next_functions[0][0]
    return grad_fn is None
