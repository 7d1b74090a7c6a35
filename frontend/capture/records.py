# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What capture knows about a graph: one record per input, output and node, and questions about ATen nodes.

Goes in: nothing (these are declarations). Comes out: the record types that the importer and the runtime wrapper read.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import fx
from torch._ops import HigherOrderOperator, OpOverload
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._pytree import TreeSpec

NODE_RECORD = "flambeau"
"""Key of the `NodeRecord` in an ATen node's `meta`."""

_TORCH_FOLDER = Path(torch.__file__).resolve().parent
_VARIABLE = re.compile(r"^[LG]\['(\w+)'\]")  # of the user's, as TorchDynamo writes it
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')

InputKind = Literal["input", "parameter", "buffer", "symint"]
Location = tuple[str, int]
Size = int | torch.SymInt


class UnsupportedGraphError(Exception):
    """The graph holds something that cannot be captured without guessing; it has to run in eager.

    Attributes: `op` (what is not supported), `location` (the user's file and line, or None), `reason`.
    """

    def __init__(self, op: str, location: Location | None, reason: str) -> None:
        self.op = op
        self.location = location
        self.reason = reason
        where = f"{location[0]}:{location[1]}: " if location else ""
        super().__init__(f"{where}cannot capture '{op}': {reason}")


@dataclass(frozen=True)
class TensorRecord:
    """What autograd and the storage said about one tensor at one moment of the trace.

    `storage` is a small number, equal for two tensors exactly when they share memory; it means the same in the whole
    captured graph, inner graphs included. `version` counts the writes to it so far. `view_base` names the node whose
    result this tensor is a view of (None: not a view, or the base never was a value of the graph). Sizes and offsets
    count elements. A view made under no_grad has requires_grad of its base although no gradient flows through it.
    `one_of_several`: a view made by an op that makes several (`unbind`), which autograd forbids to write.
    `uncounted`: made by `.data`, so that writes to it count in a version counter of its own.
    """

    shape: tuple[Size, ...]
    stride: tuple[Size, ...]
    storage_offset: Size
    dtype: torch.dtype
    device: torch.device
    storage: int
    version: int
    requires_grad: bool
    is_leaf: bool
    is_view: bool
    view_base: str | None
    one_of_several: bool = False
    uncounted: bool = False


@dataclass(frozen=True)
class NodeRecord:
    """How one ATen node ran: `meta["flambeau"]` of every node that computes something.

    `grad_enabled`: the grad mode under which it ran. `results`: one entry per flat result, None for what is no tensor.
    `written`: the storages that it wrote. `saved`: a `detach` of autograd's own, by which it saves a tensor for a
    backward inside the graph: the tensor gets its history back there.
    """

    grad_enabled: bool
    results: tuple[TensorRecord | None, ...]
    written: tuple[int, ...] = ()
    saved: bool = False


@dataclass(frozen=True)
class InputRecord:
    """One graph input, in the order of the placeholders.

    `name` is the placeholder's name, `source` is what the user would write (`L['self'].fc.weight`). `value` is the fake
    tensor before the graph ran, or the SymInt. `tensor` is None for a symint. `dynamic_dims` are the dimensions without
    a fixed size. `written`: the graph writes the input's storage, through this input or another tensor that shares it.
    `uncounted`: the writes leave the input's version counter alone. `gets_history`: after them it requires a gradient.
    """

    name: str
    source: str
    kind: InputKind
    value: torch.Tensor | torch.SymInt | int
    tensor: TensorRecord | None = None
    dynamic_dims: tuple[int, ...] = ()
    written: bool = False
    uncounted: bool = False
    gets_history: bool = False


@dataclass(frozen=True)
class OutputRecord:
    """One flat graph output.

    `value` is the constant of a "constant", the number of a "symint", or the position of the earlier output that a
    "repeated" one is (the same object; only in TorchDynamo's graphs). For a tensor: `is_input` is the input that the
    output is (the same object), `shares_input` the inputs whose storage it shares, `shares_output` the earlier outputs
    whose storage it shares. `saved`: eager's autograd keeps its storage for the backward. `viewed_again`: it is a view
    of a view made under no_grad, where its history ends. `is_member`: where bases took
    the place of the caller's arguments, the one of these that the output is.
    """

    kind: Literal["tensor", "symint", "constant", "repeated"]
    value: Any = None
    tensor: TensorRecord | None = None
    is_input: int | None = None
    is_member: int | None = None
    saved: bool = False
    viewed_again: bool = False
    shares_input: tuple[int, ...] = ()
    shares_output: tuple[int, ...] = ()


@dataclass(frozen=True)
class CapturedGraph:
    """An ATen graph on fake tensors as the user wrote it: before autograd, with writes and views kept.

    `graph_module` takes the inputs in order and returns the flat outputs. Its nodes carry `val`, `stack_trace` and a
    `NodeRecord`. `grad_enabled` and `grad_enabled_after`: the grad mode when the graph starts, and the one that it
    leaves behind. A custom autograd.Function is one node (torch.ops.higher_order.autograd_function_apply) with two
    inner graphs captured in the same way, and so are torch.cond and the loops; other control-flow operators keep
    torch's own inner graphs, without records.
    `out_spec` rebuilds the caller's containers from the flat outputs (None for a Dynamo graph, which is flat already).
    """

    graph_module: fx.GraphModule
    inputs: tuple[InputRecord, ...]
    outputs: tuple[OutputRecord, ...]
    shape_env: ShapeEnv | None
    grad_enabled: bool
    grad_enabled_after: bool
    out_spec: TreeSpec | None = field(default=None, compare=False)


def user_location(node: fx.Node) -> Location | None:
    """The user's file and line that made this node: the innermost frame outside torch, None where no trace was kept."""
    return location_in_trace(node.stack_trace or "")


def user_module(node: fx.Node) -> str:
    """The innermost nn.Module that this node ran in, as `self.blocks.0.norm`; empty outside of any."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return plain_source(stack[-1][0]) if stack else ""


def plain_source(source: str) -> str:
    """`L['self'].norm.weight`, TorchDynamo's way to say where a value comes from, as `self.norm.weight`."""
    return _VARIABLE.sub(r"\1", source)


def location_in_trace(stack_trace: str) -> Location | None:
    """The innermost frame outside torch's own folder in a printed stack trace."""
    frames = [(match["file"], int(match["line"])) for match in _FRAME.finditer(stack_trace)]
    return next((frame for frame in reversed(frames) if not is_torch_file(frame[0])), None)


@cache
def is_torch_file(filename: str) -> bool:
    """Whether a source file belongs to torch (or has no place on disk, as generated code)."""
    return filename.startswith("<") or _TORCH_FOLDER in Path(filename).parents


def written_arguments(target: Any) -> tuple[str, ...]:
    """The arguments that an ATen overload writes, as its schema's alias annotations say; () for anything else."""
    if not isinstance(target, OpOverload):
        return ()
    return tuple(
        argument.name
        for argument in target._schema.arguments
        if argument.alias_info is not None and argument.alias_info.is_write
    )


def written_values(target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Iterator[Any]:
    """The values that a call of an ATen overload writes, lists flattened. `args` may hold nodes or tensors."""
    names = written_arguments(target)
    if not names:
        return
    for position, argument in enumerate(target._schema.arguments):
        if argument.name not in names:
            continue
        value = kwargs.get(argument.name)
        if position < len(args):
            value = args[position]
        if isinstance(value, (list, tuple)):
            yield from value
        elif value is not None:
            yield value


def written_nodes(node: fx.Node) -> tuple[fx.Node, ...]:
    """The nodes whose tensors `node` writes: as its schema says or, for a higher-order operator, in an inner graph."""
    if isinstance(node.target, HigherOrderOperator):
        return tuple(_nodes_written_by_inner_graphs(node))
    return tuple(v for v in written_values(node.target, node.args, node.kwargs) if isinstance(v, fx.Node))


def inner_graphs(node: fx.Node) -> tuple[fx.GraphModule, ...]:
    """The graph modules that a node takes, in order: branches of a cond, forward and backward of a user's function."""
    owner = node.graph.owning_module
    if owner is None:
        return ()
    found = (
        getattr(owner, argument.target)
        for argument in node.all_input_nodes
        if argument.op == "get_attr" and isinstance(argument.target, str)
    )
    return tuple(module for module in found if isinstance(module, fx.GraphModule))


def _nodes_written_by_inner_graphs(node: fx.Node) -> Iterator[fx.Node]:
    """Operands of a higher-order operator whose storage an inner graph writes.

    An inner graph's placeholders stand for the operator's operands. Which for which differs between operators, so they
    are matched by storage, which is numbered once for the whole captured graph. Without records: every operand.
    """
    written: set[int] = set()
    known = True
    for module in inner_graphs(node):
        for inner in module.graph.nodes:
            record = inner.meta.get(NODE_RECORD)
            if isinstance(record, NodeRecord):
                written.update(record.written)
            elif written_nodes(inner):
                known = False
    if known and not written:
        return
    for operand in node.all_input_nodes:
        record = operand.meta.get(NODE_RECORD)
        if not isinstance(record, NodeRecord):
            continue
        if not known or any(result is not None and result.storage in written for result in record.results):
            yield operand
