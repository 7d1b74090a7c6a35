# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What happened in this process, by name: `graphs`, `ops.native`, `graphs.eager`, `compile.O2`, `bytes.to_device`..."""

import threading
from collections import Counter

__all__ = ["Counters", "counters"]


class Counters(Counter[str]):
    """A `collections.Counter` whose `add` may be called from many threads. A name never counted reads as 0."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def add(self, name: str, count: int = 1) -> None:
        """Count `name`, `count` times."""
        with self._lock:
            self[name] += count


counters = Counters()
