# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a kernel computes at each place of one iteration space: loads, arithmetic, reductions, stores.

A plan knows nothing of views any more: they have become the index maps of loads.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from flambeau.dialects.bindings import ir
from flambeau.pipelines.kernels.index_maps import START, Index
from flambeau.pipelines.kernels.polynomial import Polynomial
from flambeau.pipelines.kernels.symbols import Symbols


@dataclass(frozen=True, eq=False)
class Node:
    """A scalar at each place. `loops`: the loop variables that it depends on. `level`: how many reductions deep.

    `type`: the element type as the kernel's ops say it.
    """

    type: ir.Type
    loops: frozenset[int]
    level: int
    arguments: tuple["Node", ...] = ()


@dataclass(frozen=True)
class Guard:
    """That an index lies in [low, high), or outside of it."""

    index: Index
    low: Polynomial
    high: Polynomial
    inside: bool = True


@dataclass(frozen=True, eq=False)
class Load(Node):
    """The element of operand `operand` at `place` in its memory; where a guard does not hold, any number."""

    operand: int = 0
    place: Index = START
    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True, eq=False)
class Choose(Node):
    """The first argument where the guard holds, else the second."""

    guard: Guard | None = None


@dataclass(frozen=True, eq=False)
class Constant(Node):
    """The same number everywhere."""

    value: ir.Attribute | None = None


@dataclass(frozen=True, eq=False)
class Position(Node):
    """An index as a number."""

    index: Index = START


@dataclass(frozen=True, eq=False)
class Apply(Node):
    """An elementwise op."""

    op: Any = None


@dataclass(frozen=True, eq=False)
class Random(Node):
    """The top `bits` bits of word number `word`; arguments: the two words of the key, the draw, the position."""

    word: int = 0
    bits: int = 32


@dataclass(frozen=True, eq=False)
class Reduce(Node):
    """A reduction of its argument over all reduced loops: `kind` is sum, prod, amax or amin.

    A mean is a sum with a divisor.
    """

    kind: str = "sum"
    divisor: Polynomial | None = None


@dataclass(frozen=True)
class Store:
    """Result number `result` is `node`, at `place` in its memory."""

    result: int
    node: Node
    place: Index


@dataclass(frozen=True)
class Loop:
    """A loop of the iteration space: its number in index maps, how many places it has, whether it is reduced over."""

    number: int
    size: Polynomial
    reduced: bool


@dataclass(frozen=True)
class LookedUp:
    """An index that is a value: `node`, in [0, size), or from -size on, counted from the end."""

    node: Node
    size: Polynomial


FIRST_LOOKED_UP = 1000  # the numbers of looked-up indices in index maps begin here, behind all loops


@dataclass(frozen=True)
class Plan:
    """A kernel's iteration space, outer loops first, what is stored, and the looked-up indices by number."""

    loops: tuple[Loop, ...]
    stores: tuple[Store, ...]
    reductions: tuple[Reduce, ...]
    symbols: Symbols = field(repr=False)
    looked_up: dict[int, LookedUp] = field(default_factory=dict)

    @property
    def parallel(self) -> list[Loop]:
        return [loop for loop in self.loops if not loop.reduced]

    @property
    def reduced(self) -> list[Loop]:
        return [loop for loop in self.loops if loop.reduced]

    @cached_property
    def nodes(self) -> list[Node]:
        """All nodes, arguments before what uses them."""
        found: dict[int, Node] = {}

        def visit(node: Node) -> None:
            if id(node) not in found:
                for argument in (*node.arguments, *self.indices_of(node)):
                    visit(argument)
                found[id(node)] = node

        for store in self.stores:
            visit(store.node)
        return list(found.values())

    def indices_of(self, node: Node) -> list[Node]:
        """The values that say where a node looks."""
        if not isinstance(node, Load):
            return []
        indices = [node.place, *(guard.index for guard in node.guards)]
        numbers = sorted({n for index in indices for n in index.loops if n in self.looked_up})
        return [self.looked_up[n].node for n in numbers]

    @property
    def loads(self) -> list[Load]:
        return [node for node in self.nodes if isinstance(node, Load)]
