# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The recorder: ATen calls on fake tensors under make_fx -> a `NodeRecord` in the meta of every node they become."""

import linecache
import operator
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import fx
from torch._C._autograd import CreationMeta, _get_creation_meta
from torch._ops import OpOverload
from torch._prims_common import suggest_memory_format
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import PythonKeyTracer, track_tensor_tree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from flambeau.dialects.infer import overlaps_itself
from flambeau.frontend.capture import sizes as symbolic
from flambeau.frontend.capture.records import (
    NODE_RECORD,
    Location,
    NodeRecord,
    TensorRecord,
    UnsupportedGraphError,
    is_torch_file,
    location_in_trace,
    written_values,
)

_STORAGE_SURGERY = (
    *("aten::set_", "aten::resize_", "aten::resize_as_", "aten::_resize_output_"),
    "inductor::resize_storage_bytes_",
)
_BUILTIN_NAMESPACES = ("aten", "prim", "prims")
_DETACH = torch.ops.aten.detach.default
_LIFT = torch.ops.aten.lift_fresh.default
_LIFT_BECOMES = (
    torch.ops.aten.lift_fresh_copy.default
)  # make_fx copies constants, so that a write cannot change them
_EAGER_LAYOUTS: dict[Any, Callable[[torch.Tensor], torch.memory_format]] = {
    torch.ops.aten.log_sigmoid_forward: lambda x: torch.contiguous_format,
    torch.ops.aten._native_batch_norm_legit: suggest_memory_format,
    torch.ops.aten._native_batch_norm_legit_no_training: suggest_memory_format,
    torch.ops.aten.native_batch_norm: suggest_memory_format,
}
"""Ops whose first result PyTorch traces with the strides of their argument, and where eager takes them from."""
_PLAIN_TENSOR_TYPES = (torch.Tensor, torch.nn.Parameter, FakeTensor)


class TraceState:
    """What all graphs of one capture share: fake mode, user's line, grad mode of their call, numbers of storages."""

    def __init__(self, fake_mode: FakeTensorMode) -> None:
        self.fake_mode = fake_mode
        self.recorders: list[Recorder] = []
        """Of the graphs being traced, the outermost first."""
        self.stack_trace: str | None = None
        """Of the Dynamo node being run; None: read Python's own stack."""
        self.call_grad_enabled = torch.is_grad_enabled()
        """The grad mode when the user's last call into torch began."""
        self.initial_seed = torch.initial_seed()
        """Of the CPU's generator, at the start."""
        self._storages: dict[int, tuple[int, torch.UntypedStorage]] = {}

    @property
    def recorder(self) -> "Recorder":
        """Of the graph being traced just now, the innermost one."""
        return self.recorders[-1]

    @contextmanager
    def only_fake(self) -> Iterator[None]:
        """Run on fake tensors without recording."""
        with _disable_current_modes(), self.fake_mode:
            yield

    @property
    def location(self) -> Location | None:
        """The user's line that is being traced."""
        return location_in_trace(self.current_stack_trace())

    def current_stack_trace(self) -> str:
        return self.stack_trace if self.stack_trace is not None else _python_stack_trace()

    def storage_number(self, tensor: torch.Tensor) -> int:
        """A number that two tensors share exactly when they share storage."""
        storage = tensor.untyped_storage()  # kept alive: another one must not get its address
        return self._storages.setdefault(storage._cdata, (len(self._storages), storage))[0]


class Recorder(TorchDispatchMode):
    """The outermost dispatch mode of one graph's trace.

    A result's autograd state exists only after the op's autograd kernel has returned, that is after this mode has:
    records wait in `_pending` and are settled when the user's next call into torch begins.
    """

    supports_higher_order_operators = True

    def __init__(self, state: TraceState, tracer: PythonKeyTracer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tracer = tracer
        self._state = state
        self._pending: list[tuple[fx.Node, Any, bool, tuple[int, ...], bool]] = []
        self._owners: dict[int, tuple[str, torch.Tensor]] = {}  # id of a live tensor -> the node that made it
        self._user_detaches = False  # by `.data`, which looks like autograd's own way to do it
        self._data: dict[int, torch.Tensor] = {}  # by id: what `.data` gave

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.prim.device.default:
            return func(*args, **kwargs)
        if isinstance(func, OpOverload):
            self._refuse(func)
        # An operator whose autograd is written in Python arrives from inside an autograd.Function, which turns
        # grad mode off.
        builtin = isinstance(func, OpOverload) and func.namespace in _BUILTIN_NAMESPACES
        grad_enabled = torch.is_grad_enabled() if builtin else self._state.call_grad_enabled
        previous = self.last_node
        saved = func is _DETACH and not self._user_detaches and not _below_autograd()
        result = func(*args, **kwargs)
        if builtin:
            _clear_flags(result, (args, kwargs))
            if func.overloadpacket in _EAGER_LAYOUTS:
                result = self._in_eagers_layout(func, args[0], result)
        written = [v for v in written_values(func, args, kwargs) if isinstance(v, FakeTensor)]
        numbers = sorted({self._state.storage_number(value) for value in written})
        if any(map(_overlaps_itself, written)) or (builtin and len(numbers) < len(written)):
            reason = "more than one element of the written-to tensor refers to a single memory location"
            raise UnsupportedGraphError(str(func), self._state.location, reason)
        self._note(previous, func, result, grad_enabled, tuple(numbers), saved)
        return result

    def _in_eagers_layout(self, func: OpOverload, x: torch.Tensor, result: Any) -> Any:
        """The result of an op of `x`, the first tensor of it with the strides that it has in eager."""
        leaves, structure = pytree.tree_flatten(result)
        with self._state.only_fake():
            first = torch.empty_like(leaves[0], memory_format=_EAGER_LAYOUTS[func.overloadpacket](x))
        proxy = self.tracer.unwrap_proxy(leaves[0])
        track_tensor_tree(first, proxy, constant=None, tracer=self.tracer)
        return pytree.tree_unflatten([first, *leaves[1:]], structure)

    def take_data(self, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor.data`: what is detached here without a call of `detach` is the user's doing."""
        self._user_detaches = True
        try:
            data = tensor.data
        finally:
            self._user_detaches = False
        self._data[id(data)] = data
        return data

    def _refuse(self, func: OpOverload) -> None:
        """Raise for what a graph of ATen ops cannot say."""
        reason = None
        if func._schema.name in _STORAGE_SURGERY:
            reason = "it changes the storage behind a tensor"
        elif (
            torch.Tag.nondeterministic_seeded in func.tags
            and torch.initial_seed() != self._state.initial_seed
        ):
            reason = "the graph seeds the random generator"
        if reason is not None:
            raise UnsupportedGraphError(str(func), self._state.location, reason)

    @property
    def last_node(self) -> fx.Node:
        """The node after which the next one will be put."""
        return self.tracer.graph._root.prev

    def nodes_after(self, node: fx.Node) -> Iterator[fx.Node]:
        """The nodes written since `last_node` was `node`."""
        while (node := node.next) is not self.tracer.graph._root:
            yield node

    def emit(
        self,
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        grad_enabled: bool,
        written: tuple[int, ...] = (),
    ) -> Any:
        """Write a node by hand for a call whose fake result is known; `written` are the storages that it writes."""
        self.settle()
        previous = self.last_node
        proxy_args, proxy_kwargs = pytree.tree_map(self.tracer.unwrap_proxy, (args, kwargs))
        name = self.tracer.graph._target_to_str(target.name().rpartition("::")[2])
        proxy = self.tracer.create_proxy("call_function", target, proxy_args, proxy_kwargs, name=name)
        track_tensor_tree(result, proxy, constant=None, tracer=self.tracer)
        self._note(previous, target, result, grad_enabled, written)
        return result

    def settle(self) -> None:
        """Write the records that waited for their call into torch to finish. Not for use inside such a call.

        There PyTorch may hold the lock of a view while it replays it to renew its history; describing that view asks
        for its history as well, and would wait for ever.
        """
        while self._pending:
            node, value, grad_enabled, written, saved = self._pending.pop(0)
            results = tuple(self.adopt(node, leaf) for leaf in pytree.tree_leaves(value))
            node.meta[NODE_RECORD] = NodeRecord(grad_enabled, results, written, saved)

    def adopt(self, node: fx.Node, value: Any) -> TensorRecord | None:
        """Describe a value and remember which node made it, the first one where several return it."""
        if isinstance(value, torch.Tensor):
            self._owners.setdefault(id(value), (node.name, value))
        return self.describe(value)

    def describe(self, value: Any) -> TensorRecord | None:
        """The present state of a tensor; None for anything else."""
        if not isinstance(value, FakeTensor):
            return None
        base = value._base if value._is_view() else None
        owner = self._owners.get(id(base))
        counted_by = value if base is None else base
        try:
            requires_grad, is_leaf = value.requires_grad, value.is_leaf
        except RuntimeError:  # a view made under no_grad, of memory that was written since: it has no history
            requires_grad, is_leaf = base is not None and base.requires_grad, True
        return TensorRecord(
            shape=tuple(value.shape),
            stride=tuple(value.stride()),
            storage_offset=value.storage_offset(),
            dtype=value.dtype,
            device=value.fake_device,
            storage=self._state.storage_number(value),
            version=value._version,
            requires_grad=requires_grad,
            is_leaf=is_leaf,
            is_view=base is not None,
            view_base=owner[0] if owner is not None else None,
            one_of_several=base is not None and _get_creation_meta(value) == CreationMeta.MULTI_OUTPUT_NODE,
            uncounted=id(counted_by) in self._data,
        )

    def _note(
        self,
        previous: fx.Node,
        target: Any,
        result: Any,
        grad_enabled: bool,
        written: tuple[int, ...],
        saved: bool = False,
    ) -> None:
        """Queue the records of the nodes made since `previous`: the call itself, and the items of its result.

        Size arithmetic may stand between them; it has no record of its own making.
        """
        for leaf in pytree.tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                refuse_tensor(leaf, str(target), self._state.location)
        values: dict[Any, Any] = {}
        for node in self.nodes_after(previous):
            if node.op == "call_function" and not node.stack_trace:
                node.stack_trace = self._state.current_stack_trace()
            if node.target is target or (target is _LIFT and node.target is _LIFT_BECOMES):
                values[node] = result
                self._pending.append((node, result, grad_enabled, written, saved))
            elif node.target is operator.getitem and node.args[0] in values:
                values[node] = values[node.args[0]][node.args[1]]
                self._pending.append((node, values[node], grad_enabled, (), False))


def _below_autograd() -> bool:
    """Whether the op being dispatched came through autograd, as what users call does."""
    return torch._C._dispatch_tls_is_dispatch_key_excluded(torch._C.DispatchKey.AutogradFunctionality)


def _clear_flags(result: Any, arguments: Any) -> None:
    """Undo what PyTorch's reference of an op may do (`F.pad`): pass an argument's requires_grad on below autograd."""
    given = pytree.tree_leaves(arguments)
    for leaf in pytree.tree_leaves(result):
        fresh = isinstance(leaf, FakeTensor) and not any(leaf is argument for argument in given)
        if fresh and leaf.requires_grad and leaf.is_leaf:
            leaf.requires_grad_(False)


def _overlaps_itself(tensor: torch.Tensor) -> bool:
    """Whether elements of a tensor may be one in memory: what a write to it leaves there is not defined.

    Eager refuses expanded tensors alone. A dynamic size is more than one in other calls. In doubt: yes.
    """
    sizes = [size if type(size) is int else max(symbolic.hint(size), 2) for size in tensor.shape]
    return 0 not in sizes and overlaps_itself(sizes, [symbolic.hint(stride) for stride in tensor.stride()])


def refuse_tensor(tensor: torch.Tensor, op: str, location: Location | None) -> None:
    """Raise for a tensor that the IR has no type for."""
    reason = None
    if type(tensor) not in _PLAIN_TENSOR_TYPES:
        reason = f"the tensor subclass {type(tensor).__name__} would have to be flattened"
    elif tensor.layout is not torch.strided:
        reason = f"a tensor has the layout {tensor.layout}"
    elif tensor.is_quantized:
        reason = "a tensor is quantized"
    elif tensor.is_complex() or tensor.is_neg():
        reason = "complex numbers are not supported"
    elif tensor.device.type not in ("cpu", "cuda"):
        reason = f"a tensor is on the device {tensor.device.type}; cpu and cuda are known"
    if reason is not None:
        raise UnsupportedGraphError(op, location, reason)


def _python_stack_trace() -> str:
    """The user's frame that is running, in the form of a printed stack trace."""
    frame = sys._getframe(1)
    folder = __file__.rpartition("/")[0]
    while is_torch_file(frame.f_code.co_filename) or frame.f_code.co_filename.startswith(folder):
        if frame.f_back is None:
            return ""
        frame = frame.f_back
    code = frame.f_code
    line = linecache.getline(code.co_filename, frame.f_lineno).strip()
    return f'  File "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}\n    {line}\n'
