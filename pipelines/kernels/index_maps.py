# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Index maps: at which element of a tensor a place of the iteration space looks, as sums of loop variables.

Views are changes of these maps and never copies. Where a view joins dims that one loop variable runs over, the loop
has to be split: `SplitLoop` says where, and the analysis begins again with two loops.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from flambeau.pipelines.kernels.polynomial import ZERO, Polynomial, product


class NotCovered(Exception):
    """A kernel that no loop form covers, and why."""


class SplitLoop(Exception):
    """The loop `number` must become two, of which the inner one runs over `inner` places."""

    def __init__(self, number: int, inner: int) -> None:
        super().__init__(f"loop {number} at {inner}")
        self.number, self.inner = number, inner


@dataclass(frozen=True)
class Index:
    """`constant` plus the sum of coefficients times loop variables, which are numbered."""

    constant: Polynomial = ZERO
    terms: tuple[tuple[int, Polynomial], ...] = ()

    @staticmethod
    def loop(number: int, coefficient: int | Polynomial = 1) -> "Index":
        return Index(ZERO, ((number, Polynomial.of(coefficient)),))

    @property
    def loops(self) -> frozenset[int]:
        return frozenset(number for number, _ in self.terms)

    def coefficient(self, number: int) -> Polynomial:
        return dict(self.terms).get(number, ZERO)

    def __add__(self, other: "int | Polynomial | Index") -> "Index":
        if not isinstance(other, Index):
            return Index(self.constant + other, self.terms)
        total = dict(self.terms)
        for number, coefficient in other.terms:
            total[number] = total.get(number, ZERO) + coefficient
        return Index(self.constant + other.constant, _sorted(total))

    def __mul__(self, factor: int | Polynomial) -> "Index":
        return Index(self.constant * factor, _sorted({n: c * factor for n, c in self.terms}))


def _sorted(terms: dict[int, Polynomial]) -> tuple[tuple[int, Polynomial], ...]:
    return tuple(sorted((n, c) for n, c in terms.items() if c))


START = Index()


def strides(shape: Sequence[Polynomial]) -> list[Polynomial]:
    """The strides of a tensor that lies in memory in row-major order."""
    return [product(list(shape[i + 1 :])) for i in range(len(shape))]


def linear(indices: Sequence[Index], shape: Sequence[Polynomial]) -> Index:
    """The place in memory of an element of a row-major tensor."""
    total = START
    for index, stride in zip(indices, strides(shape), strict=True):
        total = total + index * stride
    return total


def reshape(
    indices: Sequence[Index],
    shape: Sequence[Polynomial],
    source: Sequence[Polynomial],
    sizes: Sequence[Polynomial],
) -> list[Index]:
    """The indices into a tensor of shape `source` at which its view of another `shape` looks.

    `sizes`: how many places each loop has.
    """
    result: list[Index] = [START] * len(source)
    for to, from_ in _groups(shape, source):
        place = linear([indices[i] for i in to], [shape[i] for i in to])
        for i, index in zip(from_, _delinearize(place, [source[i] for i in from_], sizes), strict=True):
            result[i] = index
    return result


def _groups(a: Sequence[Polynomial], b: Sequence[Polynomial]) -> list[tuple[list[int], list[int]]]:
    """The dims of two shapes in the smallest groups of equal products; dims of size 1 are left out."""
    groups = []
    rest_a = [i for i, s in enumerate(a) if s.static != 1]
    rest_b = [i for i, s in enumerate(b) if s.static != 1]
    while rest_a or rest_b:
        count = _shortest(a, b, rest_a, rest_b)
        if count is None:
            raise NotCovered("a view regroups dims of unknown sizes")
        groups.append((rest_a[: count[0]], rest_b[: count[1]]))
        rest_a, rest_b = rest_a[count[0] :], rest_b[count[1] :]
    return groups


def _shortest(
    a: Sequence[Polynomial], b: Sequence[Polynomial], rest_a: list[int], rest_b: list[int]
) -> tuple[int, int] | None:
    """How many dims of each side the first group takes."""
    for total in range(2, len(rest_a) + len(rest_b) + 1):
        for i in range(1, min(total, len(rest_a) + 1)):
            j = total - i
            if j > len(rest_b):
                continue
            if product([a[k] for k in rest_a[:i]]) == product([b[k] for k in rest_b[:j]]):
                return i, j
    return None


def _delinearize(place: Index, shape: Sequence[Polynomial], sizes: Sequence[Polynomial]) -> list[Index]:
    """The indices of the element at a place of a row-major tensor."""
    result = []
    for size in reversed(shape[1:]):
        place, inner = _divide(place, size, sizes)
        result.append(inner)
    return [place, *reversed(result)]


def _divide(place: Index, size: Polynomial, sizes: Sequence[Polynomial]) -> tuple[Index, Index]:
    """Quotient and remainder of a place by a dim's size, both sums of loop variables again."""
    divisor = size.static
    if divisor == 0:
        raise NotCovered("a view of no elements")
    if divisor is None:
        return _divide_unknown(place, size, sizes)
    outer, inner, reach = START, START, 0
    if any(number >= len(sizes) for number in place.loops):
        raise NotCovered("a view joins dims that are looked up")
    for number, coefficient in place.terms:
        factor, count = coefficient.static, sizes[number].static
        if factor is not None and factor % divisor == 0:
            outer = outer + Index.loop(number, factor // divisor)
        elif factor is not None and count is not None and 0 < factor * (count - 1) < divisor:
            inner, reach = inner + Index.loop(number, factor), reach + factor * (count - 1)
        elif (
            factor is not None
            and count
            and factor > 0
            and divisor % factor == 0
            and _splits(count, divisor // factor)
        ):
            raise SplitLoop(number, divisor // factor)
        else:
            raise NotCovered("a view joins dims in a way that is not a sum of loop variables")
    constant = place.constant.static
    if constant is None or not 0 <= constant % divisor + reach < divisor:
        raise NotCovered("a view of a part joins dims")
    return outer + constant // divisor, inner + constant % divisor


def _splits(count: int, inner: int) -> bool:
    """Whether a loop over `count` places can become two, the inner one over `inner`."""
    return 1 < inner < count and count % inner == 0


def _divide_unknown(place: Index, size: Polynomial, sizes: Sequence[Polynomial]) -> tuple[Index, Index]:
    """The same where the size is not known: the loops that run over exactly that dim are the remainder."""
    outer, inner = START, START
    if any(number >= len(sizes) for number in place.loops):
        raise NotCovered("a view joins dims that are looked up")
    for number, coefficient in place.terms:
        if coefficient.static == 1 and sizes[number] == size:
            inner = inner + Index.loop(number)
        elif (factor := _exact(coefficient, size)) is not None:
            outer = outer + Index.loop(number, factor)
        else:
            raise NotCovered("a view joins dims of unknown sizes")
    if place.constant:
        raise NotCovered("a view of a part joins dims of unknown sizes")
    return outer, inner


def _exact(coefficient: Polynomial, size: Polynomial) -> Polynomial | None:
    """A coefficient without the factor `size`, which is one monomial."""
    ((divisor, number),) = size.terms if len(size.terms) == 1 else (((), 0),)
    if not number:
        return None
    terms: Polynomial = ZERO
    for monomial, factor in coefficient.terms:
        left = list(monomial)
        for symbol in divisor:
            if symbol not in left:
                return None
            left.remove(symbol)
        if factor % number:
            return None
        terms = terms + Polynomial(((tuple(left), factor // number),))
    return terms


def with_gaps(index: Sequence[Index], gone: Sequence[int], rank: int) -> list[Index]:
    """An index of a tensor that lacks dims, as one of a tensor that has them, at their beginning."""
    rest = iter(index)
    return [START if d in gone else next(rest) for d in range(rank)]
