# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One table of samples per op family: `samples/<family>.py` holds the list `SAMPLES`."""

import importlib
import pkgutil

from tests.dialects.sample import Sample


def families() -> dict[str, list[Sample]]:
    """Family name -> its samples."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").SAMPLES for name in names}
