# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""options={"freezing": True}: in inference, parameters are copied to the device once, not at every call.

In: a compiled function for a device with memory of its own. Out: the same function, which keeps these copies.
"""

import weakref
from collections import defaultdict
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

from flambeau.frontend.calling.autograd import Execute
from flambeau.frontend.calling.signature import Signature
from flambeau.runtime.resident import ResidentTensor

__all__ = ["Frozen"]


@dataclass(frozen=True)
class _Copy:
    """What the device has of a tensor, and the tensor's `_version` then."""

    version: int
    values: ResidentTensor


# By kind of device: the latest copy of each tensor, so that several graphs share it; graphs keep it alive.
_COPIES: defaultdict[str, MutableMapping[torch.Tensor, weakref.ref[_Copy]]] = defaultdict(WeakIdKeyDictionary)


class Frozen:
    """A function without a backward, with copies of its parameters on the device.

    A copy is used as long as the same tensor object comes with the same `_version`, and freed with the tensor or with
    this function. Not copied are buffers (batch norm in training writes its statistics without counting it), parameters
    that the function gives new values, and those that have no version.
    """

    def __init__(self, call: Execute, facts: Signature, device: str) -> None:
        """`device`: what kind the function runs on."""
        written = {r.updates for r in facts.results}
        self._call = call
        self._positions = [
            i for i, a in enumerate(facts.arguments) if a.role == "parameter" and i not in written
        ]
        self._copies: MutableMapping[torch.Tensor, _Copy] = WeakIdKeyDictionary()
        self._of_all_graphs = _COPIES[device]

    def __call__(self, arguments: Sequence[Any]) -> list[Any]:
        given = list(arguments)
        new: list[tuple[torch.Tensor, int, ResidentTensor]] = []
        for position in self._positions:
            tensor = arguments[position]
            if not tensor.is_cpu or tensor.is_inference():
                continue
            version = tensor._version
            values = self._find(tensor, version)
            if values is None:
                values = ResidentTensor.lend(tensor)
                new.append((tensor, version, values))
            given[position] = values
        results = self._call(given)
        for tensor, version, values in new:
            part = values.device_part
            if part is not None:  # it is, unless only the host reads it
                copy = self._copies[tensor] = _Copy(version, part)
                self._of_all_graphs[tensor] = weakref.ref(copy)
        return results

    def _find(self, tensor: torch.Tensor, version: int) -> ResidentTensor | None:
        """A tensor with a copy of its present values."""
        copy = self._copies.get(tensor)
        if copy is None or copy.version != version:
            shared = self._of_all_graphs.get(tensor)
            copy = None if shared is None else shared()
            if copy is None or copy.version != version:
                return None
            self._copies[tensor] = copy
        return copy.values.with_tensor(tensor)
