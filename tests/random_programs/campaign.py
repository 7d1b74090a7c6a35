# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Programs of consecutive seeds, checked on some rungs: counts, and every failing program shrunk."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from tests.random_programs.check import NotUsable, Outcome, Verdict, check
from tests.random_programs.generate import generate
from tests.random_programs.program import Program
from tests.random_programs.shrink import shrink

RUNGS = ("imported", "functional", "partitioned", "cpu")

FAILURES = (Outcome.DIFFERS, Outcome.RAISES)

_PROGRAMS_PER_RESET = 25
"""TorchDynamo keeps all it has compiled."""


@dataclass(frozen=True)
class Failure:
    """A program that is not like eager on a rung, shrunk."""

    rung: str
    program: Program
    verdict: Verdict

    def text(self) -> str:
        """For people: the program as Python, and the difference."""
        p = self.program
        head = f"# seed {p.seed}, rung {self.rung}: {self.verdict.outcome}"
        how = f"# outputs afterwards: {p.afterwards}; partitioner {p.partitioner}; dynamic {p.dynamic}; "
        how += f"calls {p.calls}{f' under {p.caller}' if p.caller else ''}"
        reason = "\n".join(f"# {line}" for line in self.verdict.reason.splitlines())
        return f"{head}\n{how}\n{reason}\n{p.text()}"


@dataclass
class Campaign:
    """What became of many programs."""

    count: int = 0
    outcomes: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    refused: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    drawn_again: Counter[str] = field(default_factory=Counter)


def run_programs(
    seed: int,
    count: int,
    rungs: Sequence[str],
    shrink_seconds: float = 60,
    on_failure: Callable[[Failure], None] = lambda failure: None,
) -> Campaign:
    """Check `count` programs that eager accepts, from `seed` on."""
    campaign = Campaign()
    while campaign.count < count:
        program = generate(seed)
        seed += 1
        try:
            verdicts = check(program, rungs)
        except NotUsable as error:
            campaign.drawn_again[str(error).partition(":")[0][:60]] += 1
            continue
        campaign.count += 1
        for rung, verdict in verdicts.items():
            campaign.outcomes[rung, verdict.outcome] += 1
            if verdict.outcome is Outcome.REFUSED:
                campaign.refused[f"{rung}: {_cause(verdict.reason)}"].append(program.seed)
            if verdict.outcome in FAILURES:
                failure = shrunk(program, rung, verdict, shrink_seconds)
                campaign.failures.append(failure)
                on_failure(failure)
        if not campaign.count % _PROGRAMS_PER_RESET:
            torch._dynamo.reset()
    torch._dynamo.reset()
    return campaign


def _cause(reason: str) -> str:
    """A refusal without the names and shapes of one program."""
    return re.sub(r"L\['x\d+'\]|tensor<[^>]*>|output \d+|%\d+|<random program \d+>:\d+: ", "_", reason)[:130]


def shrunk(program: Program, rung: str, verdict: Verdict, seconds: float) -> Failure:
    """The failure of a smaller program, with the same outcome."""

    def fails(candidate: Program) -> bool:
        try:
            return check(candidate, [rung])[rung].outcome is verdict.outcome
        except NotUsable:
            return False
        finally:
            torch._dynamo.reset()

    smaller = shrink(program, fails, seconds)
    return Failure(rung, smaller, check(smaller, [rung])[rung])
