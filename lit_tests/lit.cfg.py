# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Configuration of lit: `lit -v lit_tests` runs the tests with the tools installed beside the running Python.

`--param plugin=FILE` loads a pass plugin into every `flambeau-opt`; the test of these tests breaks passes that way.
"""

import os
import sys
from pathlib import Path

import lit.formats

BIN = Path(sys.executable).parent
HERE = Path(__file__).resolve().parent

config.name = "Flambeau"
config.test_format = lit.formats.ShTest()
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs"]
config.test_source_root = str(HERE)
config.test_exec_root = str(HERE.parent / "build" / "lit")

for tool in ("flambeau-opt", "filecheck"):
    if not (BIN / tool).exists():
        lit_config.fatal(f"{tool} is not installed beside {sys.executable}; run: pip install -e '.[test]'")

plugin = lit_config.params.get("plugin")
opt = f"{BIN / 'flambeau-opt'}" + (f" --load-pass-plugin={plugin}" if plugin else "")
config.substitutions += [
    (r"\bflambeau-opt\b", opt),
    (r"\b(FileCheck|filecheck)\b", str(BIN / "filecheck")),
    ("%python", sys.executable),
]

config.environment["PATH"] = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
config.environment["FLAMBEAU_CACHE_DIR"] = str(HERE.parent / "build" / "lit-cache")
for variable in (
    "HOME",
    "TMPDIR",
    "OMP_NUM_THREADS",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "VK_DRIVER_FILES",
    "LP_NATIVE_VECTOR_WIDTH",
):
    if variable in os.environ:
        config.environment[variable] = os.environ[variable]


def has_device(driver: str) -> bool:
    """Whether IREE finds a device of this driver."""
    import iree.runtime

    try:
        return bool(iree.runtime.get_driver(driver).query_available_devices())
    except (RuntimeError, ValueError):  # the driver's library is missing, or it refuses to start
        return False


for driver in ("vulkan", "cuda"):
    if has_device(driver):
        config.available_features.add(driver)
