# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A loaded artefact: its functions as callables over torch tensors.

Results obey the caller's specification, not IREE's habits: dtype, strides, and memory of their own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import iree.runtime
import torch

from flambeau.runtime.devices import LOCAL_DRIVERS, Device, OpenDevice, open_device, vm_instance
from flambeau.runtime.devices.keep_awake import KeepAwake, attended
from flambeau.runtime.errors import ExecutionError, LoadError
from flambeau.runtime.iree.buffers import (
    CopyingTransfer,
    CudaTransfer,
    SharingTransfer,
    Span,
    Transfer,
)
from flambeau.runtime.iree.compiler import Artefact
from flambeau.runtime.resident import ResidentTensor

__all__ = ["CompiledFunction", "Executable", "ResultSpec"]

_TENSORS = (torch.Tensor, ResidentTensor)
Value = torch.Tensor | ResidentTensor | int
CompiledFunction = Callable[[Sequence[Value]], list[Value]]

# What IREE's status codes become in Python.
_IREE_ERRORS = (RuntimeError, ValueError, IndexError, KeyError, NotImplementedError, PermissionError)


@dataclass(frozen=True)
class ResultSpec:
    """What a result is to be.

    dtype: its dtype; None if it is an integer on the host (an `i64`, `index` or `!torch.int` result).
    stays: only compiled functions need it: on a device with memory of its own it is a ResidentTensor.
    """

    dtype: torch.dtype | None
    stays: bool = False


class Executable:
    """A loaded artefact on one device. Its functions may be called from any number of threads at once.

    Made by `iree_session.load`, which has checked that the device computes right numbers.
    """

    def __init__(self, artefact: Artefact, device: Device, keep_awake: KeepAwake = "off") -> None:
        """Load; LoadError if IREE refuses. `keep_awake`: how the CPU's workers are called."""
        self.artefact = artefact
        self.device = device
        self._opened = open_device(device)
        self._transfer = _transfer(device, self._opened)
        invoke = iree.runtime.VmContext.invoke
        self._invoke_in = attended(invoke, keep_awake) if device.driver == "local-task" else invoke
        try:
            self._module = iree.runtime.VmModule.copy_buffer(vm_instance(), artefact.vmfb)
            self._hal_module = iree.runtime.create_hal_module(vm_instance(), self._opened.hal)
            # An IREE context must not be entered by two threads, and a call leaves the interpreter lock: each call
            # takes a context out of this list, or makes one. List operations are atomic.
            self._idle_contexts = [self._new_context()]
        except _IREE_ERRORS as error:
            raise LoadError(
                f"IREE refuses the artefact on {device.driver} ({device.name}): {error}"
            ) from error

    def function(self, name: str, results: Sequence[ResultSpec]) -> CompiledFunction:
        """The function `name` as a callable: tensors, resident or not, and integers in a sequence -> a list of results.

        LookupError if there is no such function, ValueError if `results` do not fit it. The callable raises
        ExecutionError on arguments that the function does not take, and if it fails. Arguments are never written.
        """
        signature = self.artefact.functions.get(name)
        if signature is None:
            raise LookupError(
                f"no function {name!r} in the artefact; it has: {', '.join(self.artefact.functions)}"
            )
        if len(results) != len(signature.results):
            raise ValueError(f"@{name} has {len(signature.results)} results, {len(results)} were specified")
        specs = tuple(results)
        is_tensor = tuple(_is_tensor(type_) for type_ in signature.arguments)
        for position, (spec, type_) in enumerate(zip(specs, signature.results, strict=True)):
            if (spec.dtype is not None) != _is_tensor(type_):
                raise ValueError(f"result {position} of @{name} has type {type_}, which does not fit {spec}")
        native = self._module.lookup_function(name)
        private = not signature.keeps_arguments
        all_calls = self._transfer
        argument_count = len(is_tensor)
        result_count = len(specs) + sum(is_tensor)  # see keep_arguments.py

        def call(arguments: Sequence[Value]) -> list[Value]:
            if len(arguments) != argument_count:
                raise ExecutionError(f"@{name} takes {argument_count} arguments, got {len(arguments)}")
            transfer = all_calls.for_call(arguments)
            inputs = iree.runtime.VmVariantList(argument_count)
            spans: list[Span] = []
            for position, argument in enumerate(arguments):
                if is_tensor[position]:
                    if not isinstance(argument, _TENSORS):
                        raise ExecutionError(f"argument {position} of @{name} is a tensor, got {argument!r}")
                    view, span = transfer.to_device(argument, private=private)
                    inputs.push_ref(view.ref)
                    spans.append(span)
                else:
                    inputs.push_int(int(argument))  # type: ignore[arg-type]
                    spans.append((0, 0))
            outputs = iree.runtime.VmVariantList(result_count)
            self._invoke(name, native, inputs, outputs)
            values: list[Value] = []
            for position, spec in enumerate(specs):
                if spec.dtype is None:
                    values.append(outputs.get_variant(position))
                else:
                    view = outputs.get_as_object(position, iree.runtime.HalBufferView)
                    take = transfer.keep if spec.stays else transfer.to_torch
                    values.append(take(view, spec.dtype))
            _separate(values, spans)
            return values

        return call

    def _new_context(self) -> iree.runtime.VmContext:
        return iree.runtime.VmContext(vm_instance(), [self._hal_module, self._module])

    def _invoke(
        self,
        name: str,
        native: iree.runtime.VmFunction,
        inputs: iree.runtime.VmVariantList,
        outputs: iree.runtime.VmVariantList,
    ) -> None:
        try:
            context = self._idle_contexts.pop()
        except IndexError:
            context = self._new_context()
        try:
            self._invoke_in(context, native, inputs, outputs)
        except _IREE_ERRORS as error:
            raise ExecutionError(
                f"@{name} failed on {self.device.driver} ({self.device.name}): {error}"
            ) from error
        self._idle_contexts.append(context)  # only after a success: a failed one may be in any state


def _transfer(device: Device, opened: OpenDevice) -> Transfer:
    """The way of tensors to a device."""
    if device.driver in LOCAL_DRIVERS:
        return SharingTransfer(opened)
    return CudaTransfer(opened, int(device.path)) if device.driver == "cuda" else CopyingTransfer(opened)


def _is_tensor(type_: str) -> bool:
    return type_.startswith(("!torch.vtensor<", "tensor<"))


def _separate(values: list[Value], argument_spans: list[Span]) -> None:
    """Replace by a copy each result that shares memory with an argument or with an earlier result.

    IREE returns an argument's buffer from a clone or a reshape, and one buffer for two equal results.
    """
    spans = argument_spans + [
        (start := value.data_ptr(), start + value.nbytes) if isinstance(value, torch.Tensor) else (0, 0)
        for value in values
    ]
    if _disjoint(spans):
        return
    copied: set[int] = set()
    for first, second in sorted(_overlaps(spans), key=lambda pair: pair[1]):
        position = second - len(argument_spans)
        if position < 0 or second in copied or first in copied:
            continue  # two arguments are the caller's affair; a copy overlaps nothing any more
        value = values[position]
        assert isinstance(value, torch.Tensor)  # an integer has an empty span
        values[position] = value.clone()
        copied.add(second)


def _disjoint(spans: list[Span]) -> bool:
    """Whether no two spans overlap: what holds in nearly every call."""
    reach = 0
    for start, end in sorted(spans):
        if start < reach and start != end:
            return False
        reach = max(reach, end)
    return True


def _overlaps(spans: list[Span]) -> list[tuple[int, int]]:
    """All pairs (lower index, higher index) of spans that have an address in common; empty spans have none."""
    pairs = []
    reaching: list[int] = []  # earlier spans that end beyond the current start
    for index in sorted(range(len(spans)), key=lambda index: spans[index][0]):
        start, end = spans[index]
        if start == end:
            continue
        reaching = [other for other in reaching if spans[other][1] > start]
        pairs += [(min(index, other), max(index, other)) for other in reaching]
        reaching.append(index)
    return pairs
