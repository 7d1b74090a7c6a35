# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every test starts and ends with nothing compiled."""

from tests.frontend.conftest import _fresh_dynamo as _fresh_dynamo
