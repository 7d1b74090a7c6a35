# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A seed -> a random program that eager accepts: each line is run as it is drawn, and drawn again if eager raises."""

import random
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch

from flambeau.frontend.capture.shared_memory import meet, place_of
from tests.oracle import AFTERWARDS
from tests.random_programs import statements as lines
from tests.random_programs.program import DEFINITIONS, IMPORTS, Leaf, Program, Statement, in_mode
from tests.random_programs.statements import Scope

LARGEST = 50.0
"""Larger numbers amplify rounding errors: a line that makes one is drawn again."""

_LEAF_DTYPES = (
    *[torch.float32] * 7,
    *[torch.float64] * 5,
    *(torch.int64, torch.int64, torch.int64, torch.bool, torch.int32, torch.uint8),
)
_MODES = ("no_grad", "no_grad", "enable_grad", "autocast")

_PARTITIONERS = ("min-cut", "save-all")  # not all that are registered: a seed is one program in every process


class Rejected(Exception):
    """Eager raises, or the numbers are too large."""


@dataclass
class _Draft:
    """A program being written, and the tensors that running its lines gave."""

    dice: random.Random
    drawn: Counter[str]
    names: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    count: int = 0
    mode: str = ""

    def __post_init__(self) -> None:
        exec("\n".join([IMPORTS, *DEFINITIONS.values()]), self.names)

    def new_name(self, kind: str = "v") -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def run(self, statement: Statement) -> None:
        """Run a line. Rejected leaves the tensors as they were, but for what an in-place op has done already."""
        before = {name: t.detach().clone() for name, t in self.tensors.items()}
        try:
            in_mode(statement.mode, exec)(statement.text, self.names)
            made = {name: self.names[name] for name in statement.targets}
            if any(not _tame(t) for t in [*made.values(), *self.tensors.values()]):
                raise Rejected("the numbers are too large")
            self.tensors.update(made)
        except Rejected:
            self._restore(before)
            raise
        except (RuntimeError, IndexError, ValueError, TypeError) as error:
            self._restore(before)
            raise Rejected(str(error)) from error

    def _restore(self, before: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, old in before.items():
                if not torch.equal(self.tensors[name], old):
                    self.tensors[name].data.copy_(old)

    def attempt(self, statement: Statement | None) -> Statement | None:
        """The line if it runs, else None."""
        if statement is None:
            return None
        try:
            self.run(statement)
        except Rejected:
            self.drawn["lines drawn again"] += 1
            return None
        self.drawn["lines"] += 1
        return statement


def _tame(tensor: torch.Tensor) -> bool:
    if tensor.numel() > 200 or tensor.dim() > 5:
        return False
    if tensor.dtype not in (torch.bool, torch.uint8):
        return bool((tensor.detach().double().abs() <= LARGEST).all())
    return True


def generate(seed: int, drawn: Counter[str] | None = None) -> Program:
    """The program of a seed. `drawn` counts the lines, and those that were drawn again."""
    dice = random.Random(seed)
    drawn = Counter() if drawn is None else drawn
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        draft = _Draft(dice, drawn)
        leaves = _leaves(draft)
        setup, arguments = _arguments(draft)
        inputs = {f"x{i}": draft.tensors[name] for i, name in enumerate(arguments)}
        draft.tensors = dict(inputs)
        draft.names.update(inputs)
        body = [s for _ in range(dice.randrange(3, 13)) if (s := _statement(draft)) is not None]
        caller = dice.choice(("no_grad", "inference_mode")) if dice.random() < 0.08 else ""
        return Program(
            seed=seed,
            leaves=leaves,
            setup=setup,
            arguments=arguments,
            statements=tuple(body),
            outputs=_outputs(draft, inputs),
            afterwards=dice.choice((*AFTERWARDS, "nothing", "nothing")) if not caller else "nothing",
            partitioner=dice.choice(_PARTITIONERS),
            dynamic=dice.random() < 0.25,
            calls=2 if dice.random() < 0.12 else 1,
            caller=caller,
        )


def _leaves(draft: _Draft) -> tuple[Leaf, ...]:
    """One to four tensors of related sizes, at least one of floats."""
    dice = draft.dice
    sizes = [dice.choice((2, 3, 4, 5)) for _ in range(3)]
    sizes[dice.randrange(3)] = dice.choice((1, 0, 2, 3, 3, 4, 4, 4))
    half = dice.choice(lines.HALF) if dice.random() < 0.1 else None
    leaves = []
    for number in range(dice.randrange(1, 5)):
        dtype = dice.choice(_LEAF_DTYPES) if number else dice.choice((torch.float32, torch.float64))
        if half and dtype == torch.float32:
            dtype = half
        shape = tuple(sizes[-rank:] if (rank := dice.choice((0, 1, 1, 2, 2, 2, 2, 3))) else ())
        if rank == 2 and dice.random() < 0.2:
            shape = (shape[1], shape[1])
        differentiable = dtype.is_floating_point and dice.random() < 0.7
        leaf = Leaf(
            f"p{number}", shape, dtype, differentiable, parameter=differentiable and dice.random() < 0.2
        )
        exec(leaf.text(exact=False), draft.names)
        draft.tensors[leaf.name] = draft.names[leaf.name]
        leaves.append(leaf)
    return tuple(leaves)


_BASES = ("{f}.sin()", "{f} * 1", "{f}.clone()", "{f}.detach().clone()", "{i} + 0")
_PARTS = (
    "{a}[{r}]",
    "{a}[1:]",
    "{a}[:-1]",
    "{a}.t()",
    "{a}.view(-1)",
    "{a}[..., 0]",
    "{a}[:]",
    "{a}.detach()",
)


def _arguments(draft: _Draft) -> tuple[tuple[Statement, ...], tuple[str, ...]]:
    """What is passed: leaves, what is computed from them, views, several views of one tensor, one tensor twice."""
    dice = draft.dice
    setup: list[Statement] = []
    arguments: list[str] = []
    for leaf in list(draft.tensors):
        name = leaf
        if dice.random() < 0.5:
            name = _setup_line(draft, setup, _BASES, leaf) or leaf
        passed = [name]
        if dice.random() < 0.3:
            parts = [_setup_line(draft, setup, _PARTS, name) for _ in range(dice.randrange(1, 3))]
            passed = [part for part in parts if part is not None] + ([name] if dice.random() < 0.4 else [])
        arguments += passed or [name]
    if dice.random() < 0.05:
        arguments.append(dice.choice(arguments))
    dice.shuffle(arguments)
    return tuple(setup), tuple(arguments)


def _setup_line(draft: _Draft, setup: list[Statement], templates: tuple[str, ...], of: str) -> str | None:
    text = lines.fill(draft.dice.choice(templates), _scope(draft, {of: draft.tensors[of]}))
    if text is None:
        return None
    statement = draft.attempt(Statement(f"{draft.new_name('s')} = {text}"))
    if statement is not None:
        setup.append(statement)
    return statement.targets[0] if statement is not None else None


def _scope(draft: _Draft, tensors: dict[str, torch.Tensor] | None = None) -> Scope:
    return Scope(draft.dice, draft.tensors if tensors is None else tensors, draft.new_name)


_WAYS = (*["value"] * 9, *["view"] * 5, *["write"] * 6, "several", "cast")


def _statement(draft: _Draft) -> Statement | None:
    """A line that eager accepts; None if a dozen draws gave none."""
    dice = draft.dice
    if draft.mode:
        draft.mode = draft.mode if dice.random() < 0.6 else ""
    elif dice.random() < 0.12:
        draft.mode = dice.choice(_MODES)
    half = draft.mode == "autocast" or any(t.dtype in lines.HALF for t in draft.tensors.values())
    way = dice.choice(_WAYS)
    for _ in range(12):
        statement = _drawn(way, draft)
        if statement is None or (half and lines.DISCRETE.search(statement.text)):
            continue
        if way == "write" and _overlap([draft.tensors[name] for name in statement.uses]):
            continue
        done = draft.attempt(Statement(statement.text, draft.mode, statement.exact))
        if done is not None:
            draft.drawn[f"kind: {way}"] += 1
            return done
    return None


def _drawn(way: str, draft: _Draft) -> Statement | None:
    dice, scope = draft.dice, _scope(draft)
    if way == "value":
        return lines.value(dice.choice(lines.VALUES), scope)
    if way == "cast":
        return lines.cast(scope)
    if way == "view":
        text = lines.fill(dice.choice(lines.VIEWS), scope)
        return None if text is None else Statement(f"{draft.new_name()} = {text}")
    text = lines.fill(dice.choice(lines.SEVERAL if way == "several" else lines.WRITES), scope)
    return None if text is None else Statement(text)


def _overlap(tensors: Sequence[torch.Tensor]) -> bool:
    """Whether different tensors have elements in common: eager may read what a line has just written, or may not."""
    pairs = ((a, b) for a, b in combinations(tensors, 2) if place_of(a) != place_of(b))
    return any(meet(place_of(a), place_of(b)) for a, b in pairs)


def _outputs(draft: _Draft, inputs: dict[str, torch.Tensor]) -> tuple[str, ...]:
    """One to four tensors, mostly late ones; arguments and repetitions among them at times."""
    dice = draft.dice
    made = [name for name in draft.tensors if name not in inputs] or list(inputs)
    outputs = [made[-1]]
    for _ in range(dice.randrange(4)):
        outputs.append(dice.choice(made if dice.random() < 0.85 else list(inputs)))
    return tuple(outputs)
