# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sizes and strides as polynomials: sums of products of numbers and of sizes that are known at run time only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Monomial: TypeAlias = tuple[int, ...]  # the numbers of its symbols, sorted; () is the constant term


@dataclass(frozen=True)
class Polynomial:
    """A sum of coefficients times monomials; equal polynomials are equal objects."""

    terms: tuple[tuple[Monomial, int], ...] = ()

    @staticmethod
    def of(value: "int | Polynomial") -> "Polynomial":
        """A number as a polynomial; a polynomial as it is."""
        return value if isinstance(value, Polynomial) else _make({(): value})

    @staticmethod
    def symbol(number: int) -> "Polynomial":
        """The unknown size of this number."""
        return _make({(number,): 1})

    @property
    def static(self) -> int | None:
        """The value, if it depends on no symbol."""
        if not self.terms:
            return 0
        return self.terms[0][1] if len(self.terms) == 1 and self.terms[0][0] == () else None

    @property
    def symbols(self) -> set[int]:
        return {symbol for monomial, _ in self.terms for symbol in monomial}

    def __add__(self, other: "int | Polynomial") -> "Polynomial":
        total = dict(self.terms)
        for monomial, factor in Polynomial.of(other).terms:
            total[monomial] = total.get(monomial, 0) + factor
        return _make(total)

    def __mul__(self, other: "int | Polynomial") -> "Polynomial":
        total: dict[Monomial, int] = {}
        for a, x in self.terms:
            for b, y in Polynomial.of(other).terms:
                key = tuple(sorted((*a, *b)))
                total[key] = total.get(key, 0) + x * y
        return _make(total)

    def __sub__(self, other: "int | Polynomial") -> "Polynomial":
        return self + Polynomial.of(other) * -1

    def __bool__(self) -> bool:
        return bool(self.terms)


def _make(terms: Mapping[Monomial, int]) -> Polynomial:
    return Polynomial(tuple(sorted((m, c) for m, c in terms.items() if c)))


ZERO, ONE = Polynomial.of(0), Polynomial.of(1)


def product(factors: "list[Polynomial]") -> Polynomial:
    """The product of sizes."""
    result = ONE
    for factor in factors:
        result = result * factor
    return result
