# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The cases by topic: each module adds its own to `CASES`."""

from tests.frontend.calling.case import CASES
from tests.frontend.calling.cases import histories, outputs, sizes, writes

__all__ = ["CASES", "histories", "outputs", "sizes", "writes"]
