# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""op_db and module_db of the torch wheel: names of entries in, functions with fresh arguments for each call out."""

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence
from torch.testing._internal import common_methods_invocations
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db
from torch.utils import _pytree as pytree

from tests.oracle import Make

UNINITIALISED = frozenset(
    {"empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided"}
    | {"resize_", "resize_as_"}
)
"""Entries whose result holds whatever was in memory: only what is around the values can be compared."""

_EXACT = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}


class NoSample(Exception):
    """The entry has no such sample for the dtype, or eager itself refuses it."""


@dataclass(frozen=True)
class Subject:
    """A function and how to make its arguments.

    make(requires_grad, variant): a builder of leaves and arguments; with requires_grad=False no leaf requires a
    gradient; variant 0 has the sample's values, each other one has floats of its own. exact: the function for float64,
    or None where the dtype is no float of less precision; exact_make(variant): the same values in float64.
    """

    function: Callable[..., Any]
    make: Callable[[bool, int], Make]
    exact: Callable[..., Any] | None
    exact_make: Callable[[int], Make]


def entries(database: str, dtype: torch.dtype) -> list[str]:
    """The names of the entries of a database that say they support a dtype on the CPU."""
    if database == "op_db":
        return [name for name, op in _operators().items() if op.supports_dtype(dtype, "cpu")]
    return [
        f"{name}.{mode}"
        for name, info in _modules().items()
        if dtype in info.supported_dtypes("cpu")
        for mode in ("train", "eval")
    ]


def load(database: str, entry: str, dtype: torch.dtype, sample: int) -> Subject:
    """One sample. NoSample if there is none."""
    torch.manual_seed(0)
    random.seed(0)
    return (_operator_sample if database == "op_db" else _module_sample)(entry, dtype, sample)


def _call(op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return op(*args, **kwargs)


# Random entries set the seed inside the operator, which TorchDynamo cannot capture; a sweep sets it before each call.
common_methods_invocations.wrapper_set_seed = _call  # type: ignore[attr-defined]


@cache
def _operators() -> dict[str, Any]:
    return {op.full_name: op for op in op_db}


@cache
def _modules() -> dict[str, Any]:
    return {info.name.replace("nn.", "", 1).replace(".", "_"): info for info in module_db}


def _nth(samples: Iterator[Any], index: int, entry: str) -> Any:
    for sample in islice(samples, index, None):
        return sample
    raise NoSample(f"{entry} has no sample {index}")


# --- Operators --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Slot:
    """Stands for the tensor with this number in a nest of arguments."""

    index: int


def _filled(tree: Any, tensors: Sequence[torch.Tensor]) -> Any:
    """The nest with its tensors. Plain Python, for TorchDynamo reads it too."""
    if isinstance(tree, _Slot):
        return tensors[tree.index]
    if type(tree) is list:
        return [_filled(item, tensors) for item in tree]
    if type(tree) is tuple:
        return tuple([_filled(item, tensors) for item in tree])
    if type(tree) is dict:
        return {key: _filled(item, tensors) for key, item in tree.items()}
    return tree


def _may_have_equal_elements(tensor: torch.Tensor) -> bool:
    """In the sample or in a variant of it."""
    distinct = set(tensor.detach().flatten().tolist())
    return len(distinct) < tensor.numel() or tensor.numel() > 1000


def _operator_sample(entry: str, dtype: torch.dtype, index: int) -> Subject:
    op = _operators()[entry]
    differentiable = dtype in op.supported_backward_dtypes("cpu") and op.supports_autograd
    sample = _nth(iter(op.sample_inputs("cpu", dtype, requires_grad=differentiable)), index, entry)
    # Any of equal elements may come first, unless a stable order is asked for: then indices and gradients say nothing.
    if entry in ("sort", "argsort"):
        sample.kwargs.setdefault("stable", True)
    values_only = entry in ("msort", "topk") and _may_have_equal_elements(sample.input)
    if values_only:
        sample.input.requires_grad_(False)
    tensors: list[torch.Tensor] = []
    numbers: dict[int, int] = {}

    def slot(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        if id(leaf) not in numbers:
            numbers[id(leaf)] = len(tensors)
            tensors.append(leaf)
        return _Slot(numbers[id(leaf)])

    structure = pytree.tree_map(slot, (sample.input, tuple(sample.args), dict(sample.kwargs)))
    if any(t.layout is not torch.strided or t.is_nested for t in tensors):
        raise NoSample("its tensors are not strided")

    def function_of(nest: Any) -> Callable[..., Any]:
        def function(*args: torch.Tensor) -> Any:
            first, rest, named = _filled(nest, args)
            returned = op.op(first, *rest, **named)
            return returned[0] if values_only and isinstance(returned, tuple) else returned

        return function

    def make(requires_grad: bool, variant: int) -> Make:
        def build() -> tuple[Sequence[torch.Tensor], Sequence[Any]]:
            arguments = _copies(tensors, variant)
            for argument, original in zip(arguments, tensors, strict=True):
                argument.requires_grad_(requires_grad and original.requires_grad)
            return arguments, arguments

        return build

    def exact_make(variant: int) -> Make:
        def build() -> tuple[Sequence[torch.Tensor], Sequence[Any]]:
            arguments = [t.to(_EXACT.get(t.dtype, t.dtype)) for t in _copies(tensors, variant)]
            for argument, original in zip(arguments, tensors, strict=True):
                argument.requires_grad_(original.requires_grad)
            return arguments, arguments

        return build

    in_float64 = pytree.tree_map(lambda v: _EXACT.get(v, v) if isinstance(v, torch.dtype) else v, structure)
    exact = function_of(in_float64) if dtype in _EXACT else None
    return Subject(function_of(structure), make, exact, exact_make)


def _copies(tensors: Sequence[torch.Tensor], variant: int) -> list[torch.Tensor]:
    """Leaves like the given tensors, which share memory where these do. Variants but 0 have other floats."""
    noise = torch.Generator().manual_seed(variant)
    storages: dict[int, torch.UntypedStorage] = {}
    copied = []
    for tensor in tensors:
        plain = tensor.detach().resolve_conj().resolve_neg()
        memory = plain.untyped_storage()
        storage = storages.get(memory.data_ptr())
        if storage is None or not memory.nbytes():
            storage = storages[memory.data_ptr()] = memory.clone()  # type: ignore[no-untyped-call]
            if variant and (plain.is_floating_point() or plain.is_complex()):
                whole = torch.empty(0, dtype=plain.dtype).set_(storage)
                whole.mul_(1 - torch.rand(whole.shape, generator=noise).to(plain.dtype) / 8)
        copied.append(
            torch.empty(0, dtype=plain.dtype).set_(
                storage, plain.storage_offset(), plain.shape, plain.stride()
            )
        )
    return copied


# --- Modules ----------------------------------------------------------------------------------------------------------


def _module_sample(entry: str, dtype: torch.dtype, index: int) -> Subject:
    name, _, mode = entry.rpartition(".")
    info = _modules()[name]
    training = mode == "train"
    samples = info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training)
    sample = _nth((s for s in samples if s.forward_input is not None), index, entry)
    built, call = sample.constructor_input, sample.forward_input
    keywords = dict(built.kwargs)
    module = info.module_cls(*built.args, **keywords).to(dtype).train(training)
    leaves, spec = pytree.tree_flatten((tuple(call.args), dict(call.kwargs)))
    if any(isinstance(leaf, PackedSequence) or _is_special(leaf) for leaf in leaves):
        raise NoSample("its inputs are not plain tensors")
    with torch.no_grad():  # lazy modules get their parameters
        module(*_detached(call.args), **_detached(dict(call.kwargs)))
    calls = _ModuleCalls(module, leaves, spec)
    if dtype not in _EXACT:
        return Subject(calls.function, calls.make, None, partial(calls.make, True))
    exact = _ModuleCalls(copy.deepcopy(module).double(), leaves, spec, torch.float64)
    return Subject(calls.function, calls.make, exact.function, partial(exact.make, True))


def _is_special(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and (leaf.layout is not torch.strided or leaf.is_nested)


def _detached(tree: Any) -> Any:
    return pytree.tree_map_only(torch.Tensor, lambda t: t.detach().clone(), tree)


class _ModuleCalls:
    """A module, set back to the same state before each call, and its arguments, with floats of a dtype if asked for."""

    def __init__(
        self,
        module: torch.nn.Module,
        leaves: Sequence[Any],
        spec: pytree.TreeSpec,
        dtype: torch.dtype | None = None,
    ):
        self.owned = [*module.parameters(), *module.buffers()]
        self.state = [(t.detach().clone(), t.requires_grad) for t in self.owned]
        self.leaves = leaves
        self.spec = spec
        self.dtype = dtype

        def function(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return module(*args, **kwargs)

        self.function = function

    def make(self, requires_grad: bool, variant: int) -> Make:
        originals = [leaf for leaf in self.leaves if isinstance(leaf, torch.Tensor)]

        def build() -> tuple[Sequence[torch.Tensor], Sequence[Any]]:
            with torch.no_grad():
                for tensor, (value, required) in zip(self.owned, self.state, strict=True):
                    tensor.copy_(value).requires_grad_(requires_grad and required)
            arguments = _copies(originals, variant)
            if self.dtype is not None:
                arguments = [a.to(self.dtype) if a.is_floating_point() else a for a in arguments]
            for argument, original in zip(arguments, originals, strict=True):
                argument.requires_grad_(requires_grad and original.requires_grad)
            tensors = iter(arguments)
            filled = [next(tensors) if isinstance(v, torch.Tensor) else v for v in self.leaves]
            args, kwargs = pytree.tree_unflatten(filled, self.spec)
            return [*self.owned, *arguments], [args, kwargs]

        return build
