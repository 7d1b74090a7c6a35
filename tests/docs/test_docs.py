# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The documentation is true: its code runs, and what it shows is what comes out.

`ACCEPT=1` rewrites the pages instead.
"""

import os
import re
import shutil
from pathlib import Path

import pytest

from flambeau.dialects.facts import ArgumentFacts, ResultFacts, fact_names
from tests.docs import page

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("README.md"), *(ROOT / "docs").rglob("*.md")])  # none beside an installed wheel
GUIDES = [p for p in PAGES if page.needs_checkout(p.read_text())]

pytestmark = pytest.mark.checkout


def check(path: Path, folder: Path) -> None:
    differences = page.run(path, folder)
    if os.environ.get("ACCEPT"):
        page.accept(path, differences)
        return
    for block, output in differences:
        pytest.fail(f"{path.name}:{block.line} shows\n{block.text}\nbut this came out\n{output}")


@pytest.mark.parametrize("path", [p for p in PAGES if p not in GUIDES], ids=lambda p: p.name)
def test_page(path: Path, tmp_path: Path) -> None:
    check(path, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("path", GUIDES, ids=lambda p: p.name)
def test_guide(path: Path, tmp_path: Path) -> None:
    """Follow the page to the letter, in a copy of the checkout."""
    copy = tmp_path / "flambeau"
    unwanted = shutil.ignore_patterns(
        ".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache"
    )
    shutil.copytree(ROOT, copy, symlinks=True, ignore=unwanted)
    check(path, copy)


def test_every_fact_is_documented() -> None:
    """docs/ir.md describes every fact about arguments and results."""
    facts = {*fact_names(ArgumentFacts).values(), *fact_names(ResultFacts).values()}
    page_text = (ROOT / "docs" / "ir.md").read_text()
    assert [fact for fact in sorted(facts) if f"`{fact}`" not in page_text] == []


def test_the_reading_path_is_there() -> None:
    """Each step of docs/reading.md names a file, and names that are in it."""
    steps = re.findall(r"^\d+\. `(.+?)`: (.+)$", (ROOT / "docs/reading.md").read_text(), re.MULTILINE)
    assert 0 < len(steps) <= 12
    for file, text in steps:
        source, names = (ROOT / file).read_text(), re.findall(r"`(\w+)`", text)
        assert names and [name for name in names if not re.search(rf"\b{name}\b", source)] == [], file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('```mlir\n"flambeau.tanh"() : () -> ()\n```\n', "flambeau-opt fails"),
        ("```python run\nraise SystemExit(3)\n```\n", "exit code 3"),
        ("```python run fails\nprint(1)\n```\n", "exit code 0"),
    ],
)
def test_a_broken_block_is_noticed(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(text)
    with pytest.raises(AssertionError, match=message):
        page.run(path, tmp_path)


def test_a_wrong_output_is_noticed_and_can_be_accepted(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("```python run\nprint('one two')\n```\n\n```text\none three\n```\n")
    differences = page.run(path, tmp_path)
    assert [output for _, output in differences] == ["one two\n"]
    page.accept(path, differences)
    assert page.run(path, tmp_path) == []
    path.write_text(path.read_text().replace("one", "..."))
    assert page.run(path, tmp_path) == []
