# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Facts about arguments and results: what is written is what is read, and nothing else gets lost."""

from dataclasses import fields

import pytest

from flambeau.dialects import create_context
from flambeau.dialects.bindings import ir
from flambeau.dialects.facts import ArgumentFacts, ResultFacts, Role, View, fact_names

ARGUMENT = ArgumentFacts(
    role=Role.SAVED,
    name="L['x']",
    dims=("s0", 4),
    strides=(1, 2),
    of_argument=0,
    of_result=2,
    requires_grad=True,
    kept=True,
    uncounted=True,
    gets_history=True,
)
RESULT = ResultFacts(
    output=0,
    updates=1,
    saved=True,
    base=True,
    is_argument=2,
    view_of_argument=3,
    view_of_result=4,
    view=View(("2*s0", 3), (3, 1), "s0"),
    strides=(1, "s0"),
    gradient_of=5,
    of_tangents=(),
    requires_grad=True,
    hidden=True,
    saved_in_eager=True,
    detached=True,
    uncounted=True,
    viewed_again=True,
    one_of_several=True,
)


@pytest.fixture(autouse=True)
def context():
    with create_context() as context, ir.Location.unknown():
        yield context


@pytest.mark.parametrize("facts", [ARGUMENT, RESULT], ids=["argument", "result"])
def test_every_fact_survives_writing_and_reading(facts: ArgumentFacts | ResultFacts) -> None:
    unstated = type(facts)()
    names = [item.name for item in fields(facts) if item.name != "others"]
    assert all(getattr(facts, name) != getattr(unstated, name) for name in names), "state every fact here"
    assert sorted(facts.write()) == sorted(fact_names(type(facts)).values())
    assert type(facts).read(facts.write()) == facts
    assert unstated.write() == {}


def test_other_attributes_are_kept() -> None:
    attributes = {"user.note": ir.StringAttr.get("keep"), "flambeau.role": ir.StringAttr.get("input")}
    assert ArgumentFacts.read(attributes).write() == attributes


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("flambeau.role", '"inptu"', "unknown role 'inptu'; valid: input, parameter, buffer, .*tangent"),
        ("flambeau.of_result", '"one"', 'flambeau.of_result = "one"'),
        ("flambeau.dims", "[1.0 : f32]", "flambeau.dims"),
    ],
)
def test_an_attribute_of_another_kind_is_refused(name: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ArgumentFacts.read({name: ir.Attribute.parse(text)})
