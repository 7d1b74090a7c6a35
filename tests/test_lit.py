# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A test of the lit tests: a pass that does nothing turns its own lit test red. (That it is green, lit itself says.)"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flambeau.pipelines.registry import load_passes

LIT_TESTS = Path(__file__).parent.parent / "lit_tests"
pytestmark = [pytest.mark.slow, pytest.mark.checkout]

# In each run of the opt tool, the pass that the file is called after does nothing.
PLUGIN = """
import sys
from pathlib import Path
from flambeau.pipelines.registry import load_passes
(name,) = [Path(argument).stem for argument in sys.argv if argument.endswith(".mlir")]
load_passes()[name].run = lambda self, module: None
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """What lit says of the passes' files with broken passes, by name: "PASS", "FAIL", ..., and the output."""
    folder = tmp_path_factory.mktemp("lit")
    plugin, results = folder / "plugin.py", folder / "results.json"
    plugin.write_text(PLUGIN)
    command = [Path(sys.executable).parent / "lit", f"--param=plugin={plugin}", f"--output={results}"]
    subprocess.run([*command, LIT_TESTS / "pipelines"], capture_output=True, check=False)
    return {test["name"]: (test["code"], test["output"]) for test in json.loads(results.read_text())["tests"]}


@pytest.mark.parametrize("name", sorted(load_passes()))
def test_a_pass_that_does_nothing_is_noticed(name: str, outcomes: dict[str, tuple[str, str]]) -> None:
    code, output = outcomes[f"Flambeau :: pipelines/{name}.mlir"]
    assert code == "FAIL" and 'plugin.py", line' not in output, output
