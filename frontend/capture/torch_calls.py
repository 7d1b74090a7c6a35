# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls into torch during a trace: what one kernel would compute stays one node, or becomes plain ops.

Goes in: a call as the user or torch.nn.functional makes it. Comes out: its fake results; the nodes are in the recorder.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch._ops import OpOverload
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.overrides import TorchFunctionMode

from flambeau.frontend.capture.foreach import foreach, is_foreach
from flambeau.frontend.capture.recorder import TraceState
from flambeau.frontend.capture.records import UnsupportedGraphError

_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
_ATTENTION_CALLS = (torch.nn.functional.scaled_dot_product_attention, _ATTENTION, _ATTENTION.overloadpacket)
_TAKE_DATA = torch.Tensor.data.__get__  # type: ignore[attr-defined]
_DROPOUT_CALLS = (torch.dropout, torch.ops.aten.dropout.default, torch.ops.aten.dropout)
_RECURRENT_CALLS = (
    *(torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu),
    *(torch.ops.aten.lstm.input, torch.ops.aten.gru.input),
    *(torch.ops.aten.rnn_tanh.input, torch.ops.aten.rnn_relu.input),
)
_BATCH_NORM_CALLS = (torch.batch_norm, torch.native_batch_norm)
_NEAREST_CALLS = (torch._C._nn.upsample_nearest1d, torch._C._nn._upsample_nearest_exact1d)
_MAX_POOL1D_CALLS = (torch.max_pool1d, torch.nn.functional.max_pool1d)
_UPSAMPLE_CALLS = {
    torch._C._nn.upsample_nearest2d: torch.ops.aten.upsample_nearest2d.vec,
    torch._C._nn.upsample_bilinear2d: torch.ops.aten.upsample_bilinear2d.vec,
}


class TorchCalls(TorchFunctionMode):
    """Sees every call into torch: attention and upsampling stay one op, RNNs become plain ops instead of oneDNN's."""

    def __init__(self, state: TraceState) -> None:
        super().__init__()
        self._state = state

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        # Inside the call, PyTorch may hold the lock of a view whose history it renews, which describing it needs too.
        self._state.recorder.settle()
        self._state.call_grad_enabled = torch.is_grad_enabled()
        # torch.autocast(cache_enabled=True) turns the cache on, which would hand out casts that another trace made.
        torch.set_autocast_cache_enabled(False)
        if func == _TAKE_DATA:
            return self._state.recorder.take_data(*args)
        if func in _ATTENTION_CALLS:
            return _attention(self._state, args, kwargs)
        if func in _DROPOUT_CALLS:
            return _dropout(func, *args, **kwargs)
        if is_foreach(func):
            return foreach(func, args, kwargs)
        if func in _UPSAMPLE_CALLS:
            return _upsample(self._state, func, args, kwargs)
        if func in _RECURRENT_CALLS:
            return _in_plain_ops(func, *args, **kwargs)
        if func in _BATCH_NORM_CALLS:
            # Eager's kernels write the running statistics without counting it; the ops of the trace count.
            tensors = tuple(value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor))
            with torch.autograd._unsafe_preserve_version_counter(tensors):  # type: ignore[attr-defined]
                return func(*args, **kwargs)
        if (
            func in _NEAREST_CALLS
        ):  # PyTorch traces these by indexing, whose result has other strides than eager's
            return func(*args, **kwargs).contiguous()
        if func in _MAX_POOL1D_CALLS:
            return _max_pool1d(func, *args, **kwargs)
        if isinstance(func, FunctionType) and func.__globals__ is torch.nn.functional.__dict__:
            with self:  # a handler runs with its mode off; the calls inside this function have to be seen too
                return _without_override_check(func)(*args, **kwargs)
        return func(*args, **kwargs)


class PlainRecurrence(TorchFunctionMode):
    """Lets PyTorch trace its recurrent layers as plain ops, not as one op of oneDNN's."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (
            _in_plain_ops(func, *args, **(kwargs or {}))
            if func in _RECURRENT_CALLS
            else func(*args, **(kwargs or {}))
        )


class WholeNode(torch.autograd.Function):
    """Gives one node kept whole eager's requires_grad. Its gradient is a matter of a pass over the IR."""

    @staticmethod
    def forward(ctx: Any, emit: Callable[..., Any], what: str, *tensors: torch.Tensor | None) -> Any:
        ctx.what = what
        ctx.save_for_backward(*(t for t in tensors if isinstance(t, torch.Tensor)))  # as eager does
        return emit(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return refuse_inner_gradient(ctx.what)


def refuse_inner_gradient(what: str) -> Any:
    """Raise for a backward that runs inside of the graph being traced."""
    raise UnsupportedGraphError(what, None, "its gradient is taken inside the graph")


def forced_call(
    state: TraceState,
    overload: OpOverload,
    opened: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> Any:
    """A composite op as one node, which PyTorch will run; `opened` takes it apart."""
    if get_proxy_mode() is None:
        return opened(*args, **kwargs)
    if torch._C._functorch.peek_interpreter_stack() is not None:  # in vmap, torch.func.grad
        reason = "force_eager names it, but it runs inside of a transformation of torch.func"
        raise UnsupportedGraphError(str(overload), state.location, reason)
    leaves, spec = pytree.tree_flatten((tuple(args), kwargs))
    positions = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    with state.only_fake(), torch.no_grad():
        example = opened(*args, **kwargs)
    results = example if isinstance(example, list | tuple) else (example,)
    given = {leaves[i].untyped_storage()._cdata for i in positions}
    if any(r.untyped_storage()._cdata in given for r in results if isinstance(r, torch.Tensor)):
        return opened(*args, **kwargs)  # it returns what it got: dropout in evaluation
    grad_enabled = torch.is_grad_enabled()

    def emit(*tensors: torch.Tensor) -> Any:
        for position, tensor in zip(positions, tensors, strict=True):
            leaves[position] = tensor
        node_args, node_kwargs = pytree.tree_unflatten(leaves, spec)
        result = tuple(results) if isinstance(example, list | tuple) else example
        return state.recorder.emit(overload, node_args, node_kwargs, result, grad_enabled)

    return WholeNode.apply(emit, str(overload), *(leaves[i] for i in positions))  # type: ignore[no-untyped-call]


def _attention(state: TraceState, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """scaled_dot_product_attention as one node, instead of the kernel that this device would pick."""
    call = _AttentionArguments.of(*args, **kwargs)
    if get_proxy_mode() is None:
        return call.run()
    if torch._C._functorch.peek_interpreter_stack() is not None:  # in vmap, torch.func.grad
        return call.run_opened()
    with state.only_fake():
        example = call.run()  # eager decides on the shape, the strides and, under autocast, the dtype
    if example.dtype != call.tensors[0].dtype:
        with torch.autocast(example.device.type, enabled=False):
            call = replace(call, tensors=tuple(_cast(tensor, example.dtype) for tensor in call.tensors))
    grad_enabled = torch.is_grad_enabled()

    def emit(*tensors: torch.Tensor | None) -> Any:
        with state.only_fake():
            result = torch.empty_strided(
                example.shape, example.stride(), dtype=example.dtype, device=example.device
            )
        node_args = (*tensors, call.dropout_p, call.is_causal)
        node_kwargs = {"scale": call.scale, "enable_gqa": call.enable_gqa}
        return state.recorder.emit(_ATTENTION, node_args, node_kwargs, result, grad_enabled)

    return WholeNode.apply(emit, "scaled_dot_product_attention", *call.tensors)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _AttentionArguments:
    """The arguments of one call of scaled_dot_product_attention; `tensors` are query, key, value and mask."""

    tensors: tuple[Any, ...]
    dropout_p: float
    is_causal: bool
    scale: float | None
    enable_gqa: bool

    @staticmethod
    def of(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> "_AttentionArguments":
        return _AttentionArguments((query, key, value, attn_mask), dropout_p, is_causal, scale, enable_gqa)

    def run(self) -> torch.Tensor:
        result = _ATTENTION(
            *self.tensors, self.dropout_p, self.is_causal, scale=self.scale, enable_gqa=self.enable_gqa
        )
        assert isinstance(result, torch.Tensor)
        return result

    def run_opened(self) -> Any:
        """By the mathematical formula, in plain ops."""
        formula = torch.ops.aten._scaled_dot_product_attention_math.default
        return formula(
            *self.tensors, self.dropout_p, self.is_causal, scale=self.scale, enable_gqa=self.enable_gqa
        )[0]


def _cast(tensor: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """Autocast's rule: floating tensors except float64 are cast."""
    if tensor is None or not tensor.is_floating_point() or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(dtype)


def _upsample(
    state: TraceState, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """Upsampling as one node, instead of the index arithmetic that PyTorch's decomposition makes of it."""
    if get_proxy_mode() is None or torch._C._functorch.peek_interpreter_stack() is not None:
        return function(*args, **kwargs)
    x, *rest = args
    with state.only_fake(), torch.no_grad():
        result = function(*args, **kwargs)
    grad_enabled = torch.is_grad_enabled()

    def emit(x: torch.Tensor) -> Any:
        return state.recorder.emit(_UPSAMPLE_CALLS[function], (x, *rest), dict(kwargs), result, grad_enabled)

    return WholeNode.apply(emit, "upsampling", x)  # type: ignore[no-untyped-call]


def _dropout(function: Callable[..., Any], input: torch.Tensor, p: float, train: bool) -> Any:
    """Where dropout does nothing eager returns its argument; the decomposition used in tracing would return a copy."""
    return function(input, p, train) if train and p != 0 and input.numel() != 0 else input


def _max_pool1d(function: Callable[..., Any], input: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    """Where no gradient is recorded, eager has a kernel of its own; else the result is a view, as in tracing."""
    found = function(input, *args, **kwargs)
    recorded = torch.is_grad_enabled() and input.requires_grad
    if recorded or not input.is_cpu or isinstance(found, tuple):  # a tuple: with indices
        return found
    return found.clone(memory_format=torch.contiguous_format)


def _in_plain_ops(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a recurrent layer without oneDNN. For the rest of a graph it stays on: it decides other things too."""
    with torch.backends.mkldnn.flags(enabled=False):
        return function(*args, **kwargs)


def _without_override_check(function: FunctionType) -> FunctionType:
    """A copy of a torch.nn.functional function that does not hand itself to the active function mode."""
    checks = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    names = {**function.__globals__, **dict.fromkeys(checks, lambda *_: False)}
    copy = FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy
