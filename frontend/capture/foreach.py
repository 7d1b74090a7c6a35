# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""PyTorch's operators on lists of tensors (`torch._foreach_add_`), which its optimizers use, as one op per tensor."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

_PREFIX = "_foreach_"
_KEYWORDS = frozenset({"alpha", "value"})  # of the operators on one tensor, by the same names
_VALUE_LAST = ("addcmul", "addcdiv")


def is_foreach(function: Any) -> bool:
    """Whether a function of torch is one of these operators."""
    return str(getattr(function, "__name__", "")).startswith(_PREFIX)


def foreach(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call it tensor by tensor, as PyTorch's own code for the CPU does. What is not understood is called as it is."""
    name = function.__name__.removeprefix(_PREFIX).partition(".")[0]
    lists = [a for a in args if isinstance(a, list | tuple)]
    count = len(lists[0]) if lists else 0
    operator = _of_one_tensor(name, args)
    if operator is None or not count or any(len(a) != count for a in lists) or not kwargs.keys() <= _KEYWORDS:
        return function(*args, **kwargs)
    results = [
        operator(*(a[i] if isinstance(a, list | tuple) else a for a in args), **kwargs) for i in range(count)
    ]
    return list(args[0]) if name.endswith("_") else results


def _of_one_tensor(name: str, args: Sequence[Any]) -> Callable[..., Any] | None:
    """The operator on one tensor that takes the entries of these arguments in order; None if there is none."""
    base, inplace = name.removesuffix("_"), "_" * name.endswith("_")
    if base == "norm":
        norm: Callable[..., Any] = torch.linalg.vector_norm
        return norm
    last = args[-1]
    if base in ("maximum", "minimum") and not isinstance(
        last[0] if isinstance(last, list | tuple) else last, torch.Tensor
    ):
        base = "clamp_min" if base == "maximum" else "clamp_max"
    operator: Callable[..., Any] | None = getattr(torch.ops.aten, base + inplace, None)
    compute: Callable[..., torch.Tensor] | None = getattr(torch.ops.aten, base, None)
    if operator is None and compute is not None:  # as there is no maximum_ of one tensor
        return lambda tensor, *others: tensor.copy_(compute(tensor, *others))
    if operator is None or base not in _VALUE_LAST or len(args) < 4:
        return operator
    if isinstance(last, torch.Tensor):
        return None  # the values of all tensors in one
    return lambda tensor, first, second, value: operator(tensor, first, second, value=value)
