# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which dynamic sizes are equal whatever the inputs are: read off the ops' own type inference.

A size is traced to what it must be equal to: an op's operands get a made-up number for each dynamic size, and the
result dim whose inferred size is such a number has that operand's size, if it is so with several choices of numbers.
What cannot be traced is equal to itself only.
"""

import operator
from collections.abc import Hashable
from random import Random

from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import OPS, infer_types
from flambeau.dialects.types import DYNAMIC, is_tensor, shape_of, tensor_type

# Made-up sizes are random, and rise or fall from one origin to the next: what is a sum or the smaller of two sizes by
# chance, is it not with the others. They are small enough for the product of a few to be a size.
_FIRST, _STEP, _CHOICES = 1 << 14, 1 << 8, (1, -1, 1)

_ARITHMETIC = {"arith.addi": operator.add, "arith.muli": operator.mul}


class SizeOrigins:
    """Traces sizes of one function; two sizes are surely equal if their origins are."""

    def __init__(self) -> None:
        self._origins: dict[tuple[ir.Value, int], Hashable] = {}
        self._traced: set[ir.Value] = set()

    def dim(self, tensor: ir.Value, dim: int) -> Hashable:
        """The origin of a tensor's size; a static size is its own."""
        static = shape_of(tensor)[dim]
        if static != DYNAMIC:
            return static
        key = (tensor, dim)
        if key not in self._origins:
            if isinstance(tensor.owner, ir.Block):
                self._origins[key] = key
            else:
                for op in self._untraced(tensor.owner.operation):
                    self._trace(op)
        return self._origins[key]

    def size(self, size: int | ir.Value) -> Hashable:
        """The origin of an int or index value; of what computes with sizes, the op's name and its operands' origins."""
        itself: Hashable = size
        if isinstance(size, int) or isinstance(size.owner, ir.Block):
            return itself
        op = size.owner.operation
        if op.name == "flambeau.dim":
            return self.dim(op.operands[0], op.opview.index)
        if op.name == "arith.constant":
            return int(ir.IntegerAttr(op.attributes["value"]).value)
        if op.name.startswith("arith."):
            operands = [self.size(o) for o in op.operands]
            exact = _quotient(*operands) if op.name == "arith.floordivsi" else None
            return exact if exact is not None else (op.name, *operands)
        return itself

    def describe(self, tensor: ir.Value, dim: int, origin: Hashable) -> None:
        """Say where a size comes from: sizes that are described alike are equal."""
        self._origins[tensor, dim] = origin

    def _untraced(self, last: ir.Operation) -> list[ir.Operation]:
        """The ops that `last` depends on and that are not traced yet, then itself; definitions before uses."""
        order: list[ir.Operation] = []
        seen: set[ir.Value] = set()
        stack = [(last, False)]
        while stack:
            op, ready = stack.pop()
            if ready:
                order.append(op)
            elif op.results[0] not in seen and op.results[0] not in self._traced:
                seen.add(op.results[0])
                stack.append((op, True))
                stack += [
                    (v.owner.operation, False) for v in op.operands if not isinstance(v.owner, ir.Block)
                ]
        return order

    def _trace(self, op: ir.Operation) -> None:
        self._traced.add(op.results[0])
        dims = [
            (index, dim)
            for index, result in enumerate(op.results)
            if is_tensor(result.type)
            for dim, size in enumerate(shape_of(result))
            if size == DYNAMIC
        ]
        if not dims:
            return
        guesses: list[list[list[Hashable]] | None]
        if op.name in OPS and OPS[op.name].elementwise:
            guesses = [self._of_operands(op)]
        else:
            guesses = [self._guess(op, Random(seed), sign) for seed, sign in enumerate(_CHOICES)]
        for index, dim in dims:
            result = op.results[index]
            found = {guess[index][dim] if guess else None for guess in guesses}
            origin = found.pop() if len(found) == 1 else None
            self._origins.setdefault((result, dim), (result, dim) if origin is None else origin)

    def _of_operands(self, op: ir.Operation) -> list[list[Hashable]]:
        """The sizes of an elementwise op are those of each operand: a name or number where one has it."""
        sizes: list[Hashable] = []
        for dim in range(op.results[0].type.rank):
            origins = [self.dim(o, dim) for o in op.operands]
            sizes.append(next((o for o in origins if isinstance(o, str | int)), origins[0]))
        return [sizes for _ in op.results]

    def _guess(self, op: ir.Operation, random: Random, sign: int) -> list[list[Hashable]] | None:
        """For each result the origins of its sizes, as inference gives them for one choice of numbers.

        None for a size that is no operand's; no result where such sizes cannot be (a view that divides them).
        """
        numbers: dict[Hashable, int] = {}
        last = _FIRST

        def made_up() -> int:
            nonlocal last
            last += sign * random.randint(1, _STEP)
            return last

        def number(origin: Hashable) -> int:
            if isinstance(origin, int):
                return origin
            if origin not in numbers:
                if isinstance(origin, tuple) and origin[0] in _ARITHMETIC:
                    numbers[origin] = _ARITHMETIC[origin[0]](*map(number, origin[1:]))
                else:
                    numbers[origin] = made_up()
            return numbers[origin]

        def size(origin: Hashable) -> int:
            if number(origin) < 0:  # s - (s + 1) // 2 is no size while the quotient is made up too
                numbers[origin] = made_up()
            return number(origin)

        def sized(value: ir.Value) -> ir.Type:
            if not is_tensor(value.type):
                return value.type
            sizes = [size(self.dim(value, d)) for d in range(value.type.rank)]
            return tensor_type(sizes, value.type.element_type)

        if op.name not in OPS:
            return None
        with op.location:
            inferred = infer_types(op.opview, sized, lambda value: size(self.size(value)))
        if inferred is None:
            return None
        origins = {n: origin for origin, n in numbers.items()}
        return [[origins.get(s) for s in shape_of(t)] if is_tensor(t) else [] for t in inferred]


def _quotient(size: Hashable, divisor: Hashable) -> Hashable | None:
    """The origin of a product without a factor; None if that does not divide it whatever the sizes are."""
    if not isinstance(divisor, int) or divisor == 0:
        return None
    if isinstance(size, int):
        return size // divisor if size % divisor == 0 else None
    if divisor == 1:
        return size
    if isinstance(size, tuple) and size[0] == "arith.muli":
        for factor, other in (size[1:], size[:0:-1]):
            rest = _quotient(factor, divisor)
            if rest is not None:
                return other if rest == 1 else ("arith.muli", rest, other)
    return None
