# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A fixed number of random programs on every rung, and tests that a wrong compiler would be found and shrunk.

`FLAMBEAU_RANDOM_PROGRAMS=2000` is the nightly size: that many on the interpreter's rungs, a seventh of it on cpu.
"""

import os
import random
from collections import Counter

import pytest
import torch

from flambeau.pipelines.partitioning.partitioners import PARTITIONERS
from tests.random_programs import campaign, check
from tests.random_programs.campaign import Outcome, run_programs, shrunk
from tests.random_programs.generate import generate
from tests.random_programs.program import Leaf, Program, Statement
from tests.random_programs.shrink import shrink
from tests.random_programs.statements import SEVERAL, VALUES, VIEWS, WRITES, Scope, fill

NIGHTLY = int(os.environ.get("FLAMBEAU_RANDOM_PROGRAMS", "0"))

MOST_REFUSED = 0.2
"""The share of programs that may be refused: more, and the programs test little."""


@pytest.mark.parametrize(
    ("rungs", "count"),
    [
        pytest.param(["functional", "partitioned"], NIGHTLY or 24, id="interpreted"),
        pytest.param(["cpu"], NIGHTLY // 7 or 12, id="cpu", marks=pytest.mark.slow),
    ],
)
def test_random_programs_do_what_eager_does(rungs: list[str], count: int) -> None:
    done = run_programs(seed=0, count=count, rungs=rungs)
    assert not done.failures, "\n\n".join(failure.text() for failure in done.failures)
    refused = sum(n for (_, outcome), n in done.outcomes.items() if outcome is Outcome.REFUSED)
    assert refused <= MOST_REFUSED * count * len(rungs), dict(done.refused)


def test_a_seed_is_one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = [generate(seed) for seed in range(20)]
    texts = [program.text() for program in programs]
    monkeypatch.setitem(PARTITIONERS, "a-users", PARTITIONERS["save-all"])
    assert [generate(seed) for seed in range(20)] == programs
    assert [generate(seed).text() for seed in range(20)] == texts
    assert len(set(texts)) == 20


def test_the_programs_hold_what_they_are_meant_to_hold() -> None:
    counts: Counter[str] = Counter()
    words = (
        "no_grad",
        "enable_grad",
        "autocast",
        "requires_grad_",
        "Parameter",
        "_(",
        "out=",
        "detach",
        "float32",
    )
    words += (
        "int64",
        "bfloat16",
        "torch.float16",
        "uint8",
        "class Skewed",
        "def block",
        "def choose",
        "dropout",
    )
    for seed in range(150):
        program = generate(seed, counts)
        text = program.text()
        for word in words:
            counts[word] += word in text
        counts["dynamic"] += program.dynamic
        counts["called twice"] += program.calls > 1
        counts["a mode of the caller"] += bool(program.caller)
        counts["an output twice"] += len(set(program.outputs)) < len(program.outputs)
        counts["an argument returned"] += bool(set(program.outputs) & set(program.parameters))
        counts["arguments share memory"] += len(set(program.arguments)) < len(program.leaves + program.setup)
    assert all(counts.values())
    assert {f"kind: {k}" for k in ("value", "view", "write", "several", "cast")} <= counts.keys()
    assert counts["lines drawn again"] < counts["lines"]


def test_every_template_can_be_filled_in() -> None:
    """With some tensors, and something that Python reads comes out."""
    shapes = ((4,), (3, 4), (4, 4), (2, 3, 4))
    tensors = {}
    for dtype in (torch.float64, torch.int64, torch.bool):
        for shape in shapes:
            tensors[f"x{len(tensors)}"] = torch.zeros(shape, dtype=dtype)
    for template in (*VALUES, *VIEWS, *SEVERAL, *WRITES):
        texts = [fill(template, Scope(random.Random(seed), tensors, lambda: "v1")) for seed in range(50)]
        assert any(texts), template
        for text in filter(None, texts):
            compile(text, template, "exec")


def _program(*statements: str, outputs: tuple[str, ...]) -> Program:
    leaves = (Leaf("p0", (3, 4), torch.float32, True), Leaf("p1", (3, 4), torch.float64))
    lines = tuple(map(Statement, statements))
    return Program(0, leaves, (Statement("s1 = p0.sin()"),), ("s1", "p1"), lines, outputs, dynamic=True)


def test_a_wrong_rung_is_found_and_its_program_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that takes `sigmoid` for `tanh`."""
    compile_graph = check.compile_graph

    def wrong(gm, example_inputs, backend, options):
        for node in gm.graph.nodes:
            if node.target is torch.sigmoid:
                node.target = torch.tanh
        gm.recompile()
        return compile_graph(gm, example_inputs, backend, options)

    program = _program(
        *("v2 = torch.cos(x0)", "v3 = v2[1:]", "v4 = torch.sigmoid(x1)", "v3.add_(1)", "v5 = v4 * v2"),
        outputs=("v5", "v2", "x1"),
    )
    assert check.check(program, ["partitioned"])["partitioned"].outcome is Outcome.AGREES
    monkeypatch.setattr(check, "compile_graph", wrong)
    monkeypatch.setattr(check._OneTrace, "__call__", _with_a_copy_for_eager)
    verdict = check.check(program, ["partitioned"])["partitioned"]
    assert verdict.outcome is Outcome.DIFFERS
    failure = shrunk(program, "partitioned", verdict, seconds=20)
    assert [s.text.partition("(")[0] for s in failure.program.statements] == ["v4 = torch.sigmoid"]
    assert len(failure.program.arguments) == 1 and not failure.program.dynamic
    assert "torch.sigmoid" in failure.text() and "# seed 0, rung partitioned: differs" in failure.text()


def _with_a_copy_for_eager(self, gm, example_inputs):
    calls = {check.NO_COMPILER: torch.fx.GraphModule(gm, gm.graph.__deepcopy__({})).forward}
    calls |= {rung: self._compiled(rung, gm, example_inputs) for rung in self.rungs}
    return lambda *arguments: calls[self.rung](*arguments)


def test_what_eager_refuses_is_no_program() -> None:
    with pytest.raises(check.NotUsable, match="eager raises"):
        check.check(_program("v2 = x0 @ x1", outputs=("v2",)), ["functional"])
    with pytest.raises(check.NotUsable, match="modified by an inplace operation"):
        check.check(_program("v2 = x0.exp()", "v2.add_(1)", outputs=("v2",)), ["functional"])


def test_shrinking_ends_where_nothing_simpler_fails() -> None:
    program = generate(3)
    assert shrink(program, lambda candidate: False) == program
    smallest = shrink(program, lambda candidate: True)
    assert not smallest.statements and len(smallest.arguments) == len(smallest.leaves) == 1


def test_the_program_in_float64_has_the_same_values() -> None:
    program = _program("v2 = x0.to(torch.bfloat16)", "v3 = v2.to(torch.float32)", outputs=("v2", "v3"))
    function, make = program.executable(exact=True)
    leaves, arguments = make(1)()
    assert leaves[0].dtype == torch.float64 and torch.equal(
        leaves[0], program.executable()[1](1)()[0][0].double()
    )
    assert all(output.dtype == torch.float64 for output in function(*arguments))


def test_what_cancels_in_float64_is_judged_in_float32() -> None:
    """The gradient through batch norm of two rows is rounding errors of eager's as well."""
    program = Program(
        seed=0,
        leaves=(Leaf("p0", (2, 2), torch.float64, requires_grad=True),),
        setup=(),
        arguments=("p0",),
        statements=(Statement("v2 = F.batch_norm(x0, None, None, training=True)"),),
        outputs=("v2",),
    )
    verdict = check.check(program, ["partitioned"])["partitioned"]
    assert verdict.outcome is check.Outcome.AGREES, verdict.reason
    assert "float64" not in program.single().text()


def test_seeds_go_on_after_programs_that_are_not_counted() -> None:
    done = run_programs(seed=0, count=3, rungs=["functional"])
    assert done.count == 3 and sum(done.outcomes.values()) == 3
    assert campaign.RUNGS[-1] == "cpu"
