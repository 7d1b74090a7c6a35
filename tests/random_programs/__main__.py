# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`python -m tests.random_programs --count 2000 --rung partitioned`: random programs, what differs shrunk."""

import argparse
import time
from collections import Counter
from collections.abc import Sequence

from tests.random_programs.campaign import RUNGS, Failure, run_programs


def main(arguments: Sequence[str] | None = None) -> int:
    """0, or 1 if a program differs from eager or raises."""
    parser = argparse.ArgumentParser(prog="python -m tests.random_programs", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="how many programs that eager accepts")
    parser.add_argument("--rung", choices=RUNGS, nargs="+", default=["functional", "partitioned"])
    parser.add_argument("--seed", type=int, default=0, help="the first seed; the others follow")
    parser.add_argument("--shrink-seconds", type=float, default=60, help="at most, per failing program")
    parser.add_argument("--refused", action="store_true", help="list what refused graphs are refused for")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    campaign = run_programs(
        options.seed, options.count, options.rung, options.shrink_seconds, on_failure=_print
    )
    seconds = time.perf_counter() - start
    print(f"{campaign.count} programs on {', '.join(options.rung)} in {seconds:.0f} s; ", end="")
    print(f"{sum(campaign.drawn_again.values())} drawn again, because eager raises or a number is too large")
    for rung in options.rung:
        counts = Counter({o: n for (r, o), n in campaign.outcomes.items() if r == rung})
        print(f"{rung}: {', '.join(f'{outcome} {n}' for outcome, n in counts.most_common())}")
    if options.refused:
        for reason, seeds in sorted(campaign.refused.items(), key=lambda item: -len(item[1])):
            print(f"{len(seeds):5d}  {reason}  (seeds {seeds[:5]})")
    return int(bool(campaign.failures))


def _print(failure: Failure) -> None:
    print(failure.text(), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
