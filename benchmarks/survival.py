"""Kills a running sweep twenty times for each target and strategy, and says what was lost, doubled or left behind.

    python benchmarks/survival.py [KILLS]

`main` kills the process of `tuner run`, `worker` the one that evaluates a Python objective, `trial` a command. After
killing the main process the proposals must equal those of an undisturbed run with the same seed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.survival import torture


def main(kills: int) -> None:
    for method in ("random", "sobol", "tpe", "gp"):
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            trials = 40 if method == "gp" else 4 * kills
            undisturbed, _ = torture(Path(folder) / "a", method, target="main", kills=0, trials=trials)
            survived, hits = torture(Path(folder) / "b", method, target="main", kills=kills, trials=trials)
        same = "identical to" if survived == undisturbed else "DIFFERENT FROM"
        seconds = time.monotonic() - started
        print(f"main   {method:7} {hits} kills, {len(survived)} trials: {same} an undisturbed run ({seconds:.0f} s)")
    for target, command in (("worker", False), ("trial", True)):
        with tempfile.TemporaryDirectory() as folder:
            trials = 12 * kills
            kind = "worker" if target == "worker" else "trial"
            survived, hits = torture(Path(folder), "random", target=kind, kills=kills, trials=trials, command=command)
        failed = sum(trial["state"] == "failed" for trial in survived)
        print(f"{target:6} random  {hits} kills, {len(survived)} trials, {failed} failed; none lost or left behind")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
