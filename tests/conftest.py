# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tests compile what they test: no artefact comes from an earlier run, in child processes neither."""

import os

os.environ["FLAMBEAU_CACHE_SIZE"] = "0"
