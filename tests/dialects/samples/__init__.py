# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One table of samples per op family; `FAMILIES` names them all."""

import importlib

# A family is listed here once its file is there.
FAMILY_NAMES = ("convolution", "random", "elementwise", "shape",)


def families() -> dict[str, list]:
    """Family name -> its samples."""
    return {name: importlib.import_module(f"{__name__}.{name}").SAMPLES for name in FAMILY_NAMES}
