# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Graph inputs: real tensors -> fake tensors with the right symbols, and the names that people know them by."""

import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import fx
from torch._functorch import config as functorch_config
from torch._guards import TracingContext
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from flambeau.frontend.capture.recorder import refuse_tensor
from flambeau.frontend.capture.records import InputKind, UnsupportedGraphError


def new_fake_mode(shape_env: ShapeEnv | None) -> FakeTensorMode:
    """A mode whose tensors refuse to show a data pointer, which would be that of no real tensor."""
    with functorch_config.patch(fake_tensor_allow_unsafe_data_ptr_access=False):
        return FakeTensorMode(shape_env=shape_env)


def fake_of_dynamo_input(fake_mode: FakeTensorMode, context: TracingContext, value: Any, name: str) -> Any:
    """The fake of one of Dynamo's example inputs, with Dynamo's symbols for its sizes. Symbolic numbers stay."""
    if not isinstance(value, torch.Tensor):
        return value
    _refuse_input(value, name)
    symbolic_context = context.tensor_to_context.get(value)  # type: ignore[no-untyped-call]
    if symbolic_context is None:
        return fake_mode.from_tensor(_outside_inference(value), static_shapes=True)
    # Without the source torch would invent new symbols, which none of Dynamo's guards and relations cover.
    return fake_mode.from_tensor(
        value, source=symbolic_context.tensor_source, symbolic_context=symbolic_context
    )


def fake_of_tensor(
    fake_mode: FakeTensorMode, value: torch.Tensor, name: str, dynamic_dims: Sequence[int]
) -> Any:
    """A fake of a real tensor; only the named dimensions get symbols."""
    _refuse_input(value, name)
    value = _outside_inference(value)
    if not dynamic_dims:
        return fake_mode.from_tensor(value, static_shapes=True)
    dynamic = {dim % value.dim() for dim in dynamic_dims}
    sizes = [DimDynamic.DYNAMIC if dim in dynamic else DimDynamic.STATIC for dim in range(value.dim())]
    return fake_mode.from_tensor(value, symbolic_context=StatelessSymbolicContext(dynamic_sizes=sizes))


def _outside_inference(value: torch.Tensor) -> torch.Tensor:
    """A tensor without version counter (made in inference mode) as an ordinary one over the same storage."""
    if not value.is_inference():
        return value
    ordinary = torch.empty(0, dtype=value.dtype, device=value.device)
    return ordinary.set_(value.untyped_storage(), value.storage_offset(), value.shape, value.stride())


def _refuse_input(value: torch.Tensor, name: str) -> None:
    if isinstance(value, FakeTensor):
        raise UnsupportedGraphError(name, None, "it is a fake tensor made by someone else")
    refuse_tensor(value, name, None)


def dynamo_source(placeholder: fx.Node) -> str:
    """Dynamo's expression for where a graph input comes from."""
    graph_arg = placeholder.meta.get("grapharg")
    return str(graph_arg.source.name) if graph_arg is not None else placeholder.name


def readable_source(source: str) -> str:
    """L['self']._modules['fc']._parameters['weight'] -> L['self'].fc.weight"""
    return re.sub(r"\._(?:modules|parameters|buffers)\['([^']+)'\]", r".\1", source)


def input_kind(value: Any, source: str) -> InputKind:
    if not isinstance(value, torch.Tensor):
        return "symint"
    if isinstance(value, torch.nn.Parameter):
        return "parameter"
    return "buffer" if "._buffers[" in source else "input"


def argument_name(path: pytree.KeyPath) -> str:
    """Path of a leaf in (args, kwargs) -> args[0]['x'] or kwargs['mask']."""
    root = "args" if path[0] == pytree.SequenceKey(0) else "kwargs"
    return root + pytree.keystr(path[1:])


def identifier(source: str) -> str:
    """A placeholder name that still says where the input comes from."""
    words = re.sub(r"\W+", "_", re.sub(r"^[LG]\[", "", source)).strip("_")
    return words if words and not words[0].isdigit() else f"arg_{words}"
