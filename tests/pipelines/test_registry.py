# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The registry: declaring passes, pipeline text to passes and back, and its error messages."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.dialects.bindings import ir
from flambeau.pipelines.registry import (
    PASSES,
    PipelineError,
    load_passes,
    options,
    parse_pipeline,
    pass_text,
    register_pass,
    single_passes,
)
from flambeau.pipelines.stages import PIPELINES, named_pipeline

LIT = Path(__file__).parent.parent.parent / "lit_tests" / "pipelines"


@dataclass(frozen=True)
class Sample:
    """A pass with an option of each kind."""

    name = "sample-pass"
    some_number: int = 3
    ratio: float = 0.5
    flag: bool = False
    text: str = ""
    choice: Literal["default", "min-cut"] = "default"
    limit: int | None = None

    def run(self, module: ir.Module) -> None:
        """Do nothing."""


@pytest.fixture(autouse=True, scope="module")
def _sample_pass() -> Iterator[None]:
    load_passes()
    register_pass(Sample)
    yield
    del PASSES["sample-pass"]


# --- Passes of the project --------------------------------------------------------------------------------------------


def project_passes() -> list[str]:
    return sorted(name for name in load_passes() if name != "sample-pass")


@pytest.mark.checkout
@pytest.mark.parametrize("name", project_passes())
def test_every_pass_has_a_lit_test(name: str) -> None:
    runs = [line for line in (LIT / f"{name}.mlir").read_text().splitlines() if "RUN:" in line]
    assert any(re.search(rf"(?<!\w)(?<!\w-){name}(?![\w-])", line) for line in runs), (
        f"no RUN line names {name}"
    )


@pytest.mark.checkout
def test_lit_tests_are_called_after_passes() -> None:
    """By the pass alone, or with what is special after an underscore."""
    names = {file.stem.partition("_")[0] for file in LIT.glob("*.mlir")}
    assert names == set(project_passes())


def written(passes: list[Any]) -> str:
    return ",".join(item if isinstance(item, str) else pass_text(item) for item in passes)


@pytest.mark.parametrize("name", PIPELINES)
def test_named_pipelines_parse(name: str) -> None:
    assert f"builtin.module({written(parse_pipeline(named_pipeline(name)))})" == named_pipeline(name)


def test_unknown_named_pipeline() -> None:
    with pytest.raises(KeyError, match=r"unknown pipeline 'x'; valid: .*inference.*training"):
        named_pipeline("x")


# --- Text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", []),
        ("builtin.module()", []),
        ("cse", ["cse"]),
        ("builtin.module( cse , canonicalize )", ["cse", "canonicalize"]),
        ("sample-pass", [Sample()]),
        ("sample-pass{}", [Sample()]),
        ("sample-pass{some-number=-7  flag}", [Sample(some_number=-7, flag=True)]),
        ("sample-pass{flag=false ratio=1e-3 limit=none}", [Sample(ratio=1e-3)]),
        (
            "sample-pass{text='a b,(c' choice=min-cut limit=4}",
            [Sample(text="a b,(c", choice="min-cut", limit=4)],
        ),
        (
            "builtin.module(func.func(cse,canonicalize{max-iterations=2}),sample-pass)",
            ["func.func(cse,canonicalize{max-iterations=2})", Sample()],
        ),
    ],
)
def test_parse(text: str, passes: list[Any]) -> None:
    assert parse_pipeline(text) == passes
    assert parse_pipeline(written(passes)) == passes


@given(
    st.lists(
        st.one_of(
            st.sampled_from(["cse", "func.func(cse,canonicalize)", "canonicalize{max-iterations=2}"]),
            st.builds(
                Sample,
                some_number=st.integers(),
                ratio=st.floats(allow_nan=False),
                flag=st.booleans(),
                text=st.text(st.characters(codec="utf-8", exclude_characters="'")),
                choice=st.sampled_from(["default", "min-cut"]),
                limit=st.none() | st.integers(),
            ),
        ),
        max_size=3,
    )
)
def test_text_round_trip(passes: list[Any]) -> None:
    assert parse_pipeline(written(passes)) == passes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "sample-pas",
            r"unknown pass 'sample-pas'; did you mean 'sample-pass'\? valid: .*canonicalize, .*sample-pass",
        ),
        ("func.func(nothing-like-it)", "unknown pass 'nothing-like-it'; valid: "),
        (
            "sample-pass{some-nmber=1}",
            r"has no option 'some-nmber'; did you mean 'some-number'\? \(it has: some-number=<int>, ",
        ),
        ("sample-pass{some_number=1}", "has no option 'some_number'"),
        ("sample-pass{some-number=x}", "option 'some-number' takes <int>, not 'x'"),
        ("sample-pass{some-number}", "option 'some-number' takes <int>, not ''"),
        ("sample-pass{flag=yes}", r"option 'flag' takes <true\|false>, not 'yes'"),
        ("sample-pass{choice=max-cut}", r"option 'choice' takes <default\|min-cut>, not 'max-cut'"),
        ("func.func(sample-pass)", "'sample-pass' runs on the whole module: write it outside of"),
        ("sample-pass(cse)", "after pass 'sample-pass': expected {options}"),
        ("cse{no-such=1}", "no such option no-such"),
        ("cse,,cse", "empty element"),
        ("cse,", "empty element"),
        ("cse(", r"missing '\)' at the end"),
        ("cse)", r"unbalanced '\)' at character 4"),
        ("sample-pass{text='a}", 'missing "\'" at the end'),
        ("{x}", "expected the name of a pass"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(
        PipelineError, match=message.replace("'?", r"'\?") if r"\?" not in message else message
    ):
        parse_pipeline(text)


def test_single_passes() -> None:
    assert single_passes("cse{x=1}") == [("cse", "cse{x=1}")]
    assert single_passes("func.func(cse,scf.for(canonicalize,cse))") == [
        ("cse", "func.func(cse)"),
        ("canonicalize", "func.func(scf.for(canonicalize))"),
        ("cse", "func.func(scf.for(cse))"),
    ]


def test_options() -> None:
    found = {o.name: (o.spelling, o.default_text) for o in options(Sample)}
    assert found == {
        "some-number": ("int", "3"),
        "ratio": ("float", "0.5"),
        "flag": ("true|false", "false"),
        "text": ("str", '""'),
        "choice": ("default|min-cut", "default"),
        "limit": ("int", "none"),
    }


# --- Declarations -----------------------------------------------------------------------------------------------------


def declare(**members: Any) -> type:
    """A pass class that is complete but for what `members` overrides (None: absent)."""
    complete = {"__doc__": "Help.", "name": "declared-in-a-test", "run": lambda self, module: None}
    body = {k: v for k, v in {**complete, **members}.items() if v is not None}
    return type("Declared", (), {**body, "__module__": __name__})


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (declare(), r"lacks @dataclass\(frozen=True\)"),
        (dataclass(declare()), r"lacks @dataclass\(frozen=True\)"),
        (dataclass(frozen=True)(declare(__doc__=None)), "lacks a docstring"),
        (dataclass(frozen=True)(declare(name=None)), "lacks name = 'in-kebab-case'"),
        (dataclass(frozen=True)(declare(name="Not_Kebab")), "lacks name = 'in-kebab-case'"),
        (dataclass(frozen=True)(declare(run=None)), r"lacks run\(self, module\)"),
        (dataclass(frozen=True)(declare(__annotations__={"n": int})), "option 'n' needs a default"),
        (
            dataclass(frozen=True)(declare(__annotations__={"n": list}, n=())),
            "cannot be the type of a pass option",
        ),
        (
            dataclass(frozen=True)(declare(name="sample-pass")),
            "'sample-pass' is declared twice: .*Sample and .*Declared",
        ),
    ],
)
def test_incomplete_declarations(cls: type, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        register_pass(cls)
    assert "declared-in-a-test" not in PASSES
