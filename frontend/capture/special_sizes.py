# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Is a graph that was traced with symbolic sizes right for a size that tracing treats as special, such as 1?

In: graphs with symbols, and numbers for some of these. Out: yes or no; no where it cannot be told.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sympy
import torch
import torch.utils._pytree as pytree
from torch import fx
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.export import ExportedProgram

from flambeau.frontend.capture import sizes as symbolic
from flambeau.frontend.capture.records import written_arguments
from flambeau.frontend.capture.torch_calls import PlainRecurrence

Numbers = Mapping[sympy.Symbol, int]

# The same values, however they lie in memory; which of these are traced depends on what is known of sizes.
_SAME = (torch.ops.aten.contiguous.default, torch.ops.aten.alias.default)

_ERRORS = (RuntimeError, ValueError, IndexError, TypeError)  # what ops raise on sizes that they do not take


def shapes_hold(graph: fx.GraphModule, fakes: Sequence[torch.Tensor], sizes: Numbers) -> bool:
    """Whether each op of a graph has the shape that was traced for it where some symbols are these `sizes`.

    The other symbols are as in the example, `fakes`. Not so for squeeze, for one, which drops a dim of size 1.
    """
    values = example_sizes(fakes) | dict(sizes)
    interpreter = _Shapes(graph)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), _quietly():
            interpreter.run(
                *(
                    torch.empty([_number(s, values) for s in f.shape], dtype=f.dtype, device=f.device)
                    for f in fakes
                )
            )
    except _ERRORS:
        return False
    return all(shapes == _traced_shapes(node, values) for node, shapes in interpreter.shapes.items())


def retraces_alike(
    program: ExportedProgram,
    module: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    sizes: Numbers,
) -> bool:
    """Whether `module`, exported again with `sizes` for these symbols of `program`, is the same list of ops.

    It is not where the module looks at a size: `if x.shape[0] == 1: ...`.
    """
    leaves, spec = pytree.tree_flatten((tuple(args), dict(kwargs)))
    given = input_fakes(program, len(leaves))
    values = example_sizes([fake for fake in given if isinstance(fake, FakeTensor)]) | dict(sizes)
    shaped = [
        torch.zeros([_number(s, values) for s in fake.shape], dtype=leaf.dtype, device=leaf.device)
        if isinstance(leaf, torch.Tensor)
        else leaf
        for leaf, fake in zip(leaves, given, strict=True)
    ]
    small_args, small_kwargs = pytree.tree_unflatten(shaped, spec)
    try:
        with torch.no_grad(), PlainRecurrence(), _quietly():
            again = torch.export.export(module, small_args, small_kwargs, strict=False)
    except (*_ERRORS, torch._dynamo.exc.TorchDynamoException):
        return False
    return _steps(program.graph, values) == _steps(again.graph, {})


def input_fakes(program: ExportedProgram, count: int) -> list[Any]:
    """The examples of a program's `count` flat inputs, as fakes; its own tensors come before them in the graph."""
    examples = [n.meta["val"] for n in program.graph.nodes if n.op == "placeholder"]
    return examples[len(examples) - count :]


def example_sizes(fakes: Sequence[torch.Tensor]) -> dict[sympy.Symbol, int]:
    """What the symbols are for the example that a program was exported with."""
    # Ints, as far as type checkers know.
    sizes: list[Any] = [s for fake in fakes for s in fake.shape if isinstance(s, torch.SymInt)]
    known = {symbolic.expression(size): int(size.node.hint) for size in sizes}
    return {symbol: number for symbol, number in known.items() if isinstance(symbol, sympy.Symbol)}


class _Shapes(fx.Interpreter):
    """Runs a graph and notes the shapes of the tensors that each node makes."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.extra_traceback = False
        self.shapes: dict[fx.Node, list[list[int]]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one node."""
        value = super().run_node(n)
        if n.op == "call_function":
            leaves = pytree.tree_leaves(value)
            self.shapes[n] = [list(v.shape) for v in leaves if isinstance(v, torch.Tensor)]
        return value


def _steps(graph: fx.Graph, values: Numbers) -> list[Any]:
    """The ops of a graph with their arguments and shapes, in numbers: equal lists are equal programs."""
    numbers: dict[fx.Node, int] = {}

    def argument(value: Any) -> Any:
        if isinstance(value, fx.Node):
            size = value.meta.get("val")
            return _number(size, values) if isinstance(size, torch.SymInt | int) else f"%{numbers[value]}"
        return _number(value, values) if isinstance(value, torch.SymInt) else value

    steps: list[Any] = []
    writes = any(written_arguments(node.target) for node in graph.nodes)
    for node in graph.nodes:
        if isinstance(node.meta.get("val"), torch.SymInt):
            continue  # arithmetic on sizes stands for its result
        if node.target in _SAME and not writes:
            numbers[node] = numbers[node.args[0]]
            continue
        arguments = pytree.tree_map(argument, (list(node.args), dict(node.kwargs)))
        if node.target is torch.ops.aten.slice.Tensor:
            source = node.args[0]
            assert isinstance(source, fx.Node)
            if _traced_shapes(node, values) == _traced_shapes(source, values):
                numbers[node] = numbers[source]  # PyTorch leaves out what takes all, where it knows the sizes
                continue
            arguments[0][2:3] = [arguments[0][2] or 0]
        numbers[node] = len(steps)
        steps.append((node.op, str(node.target), repr(arguments), _traced_shapes(node, values)))
        inner = getattr(graph.owning_module, str(node.target)) if node.op == "get_attr" else None
        if isinstance(inner, fx.GraphModule):
            steps.append(_steps(inner.graph, values))
    return steps


def _traced_shapes(node: fx.Node, values: Numbers) -> list[list[int]]:
    leaves = pytree.tree_leaves(node.meta.get("val"))
    return [[_number(size, values) for size in v.shape] for v in leaves if isinstance(v, torch.Tensor)]


def _number(size: int | torch.SymInt, values: Numbers) -> int:
    return int(symbolic.expression(size).subs(values))


@contextmanager
def _quietly() -> Iterator[None]:
    """Without torch's messages about sizes that an op refuses: here that is an answer, no error."""
    loggers = [
        logging.getLogger(name) for name in ("torch._subclasses.fake_tensor", "torch._export", "torch.export")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
