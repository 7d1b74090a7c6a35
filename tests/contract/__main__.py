# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`python -m tests.contract`: run the contract's tests on all rungs, and write docs/contract.md."""

import sys

from tests.contract.page import PAGE, with_rows
from tests.contract.record import run

if __name__ == "__main__":
    record = run(*sys.argv[1:])
    PAGE.write_text(with_rows(PAGE.read_text() if PAGE.exists() else "", record))
    print(f"wrote {PAGE.name}")
    sys.exit(1 if record.failed else 0)
