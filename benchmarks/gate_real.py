"""Real gates on this machine, as it is: a command that computes, against itself and against one that does more.

    python benchmarks/gate_real.py [GATES] [MORE]      10 gates of each kind; 6 percent more work

Prints the verdict, the measurements a side, the ratio with its interval and the seconds of each gate, then the counts.
"""

from __future__ import annotations

import collections
import os
import sys
import tempfile
from pathlib import Path

from tuner.verbs.gating import Request, gate

JOB = """
import json, os, time
n = json.load(open(os.environ["TUNER_PARAMS"]))["n"]
began = time.perf_counter()
sum(i * i for i in range(n * 2000))
print(json.dumps({"latency_ms": (time.perf_counter() - began) * 1e3}))
"""
SWEEP = """
name: spin
command: [python, job.py]
metrics: {latency_ms: {goal: minimize, unit: ms, stdout: json}}
parameters: {n: {min: 1, max: 1000}}
search: random
"""


def main(gates: int, more: int) -> None:
    """Print a line a gate, then how often each verdict came."""
    counts: collections.Counter[tuple[int, str]] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("job.py").write_text(JOB)
        Path("sweep.yaml").write_text(SWEEP)
        sweep, baseline = Path("sweep.yaml"), Path("base.json")
        gate(Request(candidate="n=100", sweep=sweep, save=baseline, quiet=True))
        print("| work | verdict | measurements | ratio | interval | seconds |\n|---|---|---|---|---|---|")
        for seed in range(gates):
            for n in (100, 100 + more):
                report = gate(Request(baseline=baseline, candidate=f"n={n}", sweep=sweep, seed=seed, quiet=True))
                assert report is not None
                [found] = report.results
                counts[n, report.verdict] += 1
                print(f"| {n} | {report.verdict} | {report.pairs} | {found.ratio:.4f} | "
                      f"{found.low:.3f} to {found.high:.3f} | {report.seconds:.1f} |", flush=True)  # fmt: skip
    for (n, verdict), count in sorted(counts.items()):
        print(f"{n} against 100: {count} of {gates} {verdict}")


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    main(given[0] if given else 10, given[1] if len(given) > 1 else 6)
