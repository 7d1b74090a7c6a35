# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the cost model and the loops need to know of a CPU."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CpuTarget:
    """A CPU: bits and number of its vector registers, bytes of its caches, cores that work on one kernel.

    arch: `x86_64` or another; it decides how denormals are kept.
    """

    arch: str = "x86_64"
    vector_bits: int = 512
    registers: int = 32
    l1: int = 32 * 1024
    l2: int = 512 * 1024
    cores: int = 2

    def lanes(self, bits: int) -> int:
        """Elements of `bits` bits in one register."""
        return self.vector_bits // bits
