# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The environment of all tests and their child processes: nothing comes from a cache, threads sleep while they wait."""

import os

# Tests compile what they test: no artefact comes from an earlier run.
os.environ["FLAMBEAU_CACHE_SIZE"] = "0"

# PyTorch's threads spin while they wait, on cores that test workers and compilers share: half of the tests' time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
