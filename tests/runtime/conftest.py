# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Short ways to compile and load hand-written modules."""

from collections.abc import Callable

import pytest

from flambeau.runtime.backends import lookup_backend
from flambeau.runtime.iree.compiler import compile_module
from flambeau.runtime.iree.executable import Executable
from flambeau.runtime.iree.session import load

Build = Callable[..., Executable]


@pytest.fixture(scope="module")
def build() -> Build:
    """`build(asm)`: a module compiled and loaded, by default on the CPU in the caller's thread.

    Kept per test file and no longer: an open software GPU keeps two cores busy.
    """
    loaded: dict[tuple[str, str, str | None], Executable] = {}

    def build(asm: str, backend: str = "cpu", driver: str | None = None) -> Executable:
        if backend == "cpu" and driver is None:
            driver = "local-sync"
        key = (asm, backend, driver)
        if key not in loaded:
            record = lookup_backend(backend)
            loaded[key] = load(compile_module(asm, record), record, driver=driver)
        return loaded[key]

    return build
