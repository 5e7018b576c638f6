"""Plays random nasty studies and counts what goes wrong: exceptions, suggestions that are not allowed, fallbacks.

    python benchmarks/nasty.py [STUDIES] [FIRST_SEED]

Exit code 1 when a rule was broken (see `tests/nasty.py`). A fallback is no violation, but a defect: the model failed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.nasty import play, table


def main(n: int, first: int) -> int:
    started = time.monotonic()
    reports = {}
    for seed in range(first, first + n):
        reports[seed] = report = play(seed)
        for text in report.violations:
            print(f"study {seed}: VIOLATED {text}", flush=True)
        for text in dict.fromkeys(report.fallbacks):
            print(f"study {seed}: fell back {report.fallbacks.count(text)} times: {text}", flush=True)
    print(table(list(reports.values())))
    violated = sum(bool(report.violations) for report in reports.values())
    fell = sum(bool(report.fallbacks) for report in reports.values())
    print(f"{n} studies in {time.monotonic() - started:.0f} s: {violated} with violations, {fell} with fallbacks")
    return int(violated > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200, int(sys.argv[2]) if len(sys.argv) > 2 else 0))
