# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""docs/ops.md is what the op classes say."""

from pathlib import Path

import pytest

from flambeau.dialects.opdef import OPS
from flambeau.tools.list_ops import ops_page

PAGE = Path(__file__).parents[2] / "docs" / "ops.md"


def test_every_op_is_listed():
    page = ops_page()
    missing = [name for name in OPS if f"| `{name}(" not in page]
    assert not missing


@pytest.mark.checkout
def test_page_is_current():
    assert PAGE.read_text() == ops_page(), "run `python -m flambeau.tools.list_ops > docs/ops.md`"
