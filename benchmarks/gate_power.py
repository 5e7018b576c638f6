"""How often `tuner gate` is right: verdicts on recorded timings of real commands, slowed down by a known share.

    python benchmarks/gate_power.py [COMPARISONS] [RUNS ...]      200 comparisons; 1, 3 and 5 runs a measurement
    python benchmarks/gate_power.py record FILE                   record timings anew (minutes)

A comparison takes a random stretch of the recording as it is, with its dependence from one timing to the next and its
outliers, hands the timings to the two sides in the gate's own order, and multiplies the candidate's by the true ratio.
A measurement is the median of so many runs, the two sides by turns, as with `tuner gate --runs`.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tuner.gate import Check, Design, Floats, Verdict, judged, order

TIMINGS = Path(__file__).with_name("gate_timings.json")
RATIOS = (1.0, 1.01, 1.02, 1.03, 1.04, 1.05, 1.07, 1.10)
VERDICTS = ("regression", "pass", "inconclusive")
DESIGN = Design(confidence=0.95, max_pairs=39)
CHECK = Check(name="time", goal="minimize", max_regress=0.03)


def compare(stretch: Floats, ratio: float, runs: int, seed: int) -> tuple[Verdict, int]:
    """The verdict on one stretch of timings, shape (2 * pairs * runs,), and how many measurements a side it took."""
    rows = stretch.reshape(DESIGN.max_pairs, runs, 2)
    first, second = np.median(rows[:, :, 0], axis=1), np.median(rows[:, :, 1], axis=1)
    swapped = np.array([order(seed, pair) for pair in range(DESIGN.max_pairs)])
    baseline = np.where(swapped, second, first)
    candidate = np.where(swapped, first, second) * ratio
    found = judged(CHECK, baseline, candidate, DESIGN, m=1)
    return found.verdict, found.decided_at or found.pairs


def table(timings: Floats, runs: int, comparisons: int) -> list[str]:
    """Shares of the verdicts by true ratio, in percent."""
    need = 2 * DESIGN.max_pairs * runs
    lines = []
    for ratio in RATIOS:
        rng = np.random.default_rng([comparisons, runs])  # the same stretches for every ratio
        starts = rng.integers(0, len(timings) - need + 1, comparisons)
        found = [compare(timings[s : s + need], ratio, runs, seed) for seed, s in enumerate(starts)]
        share = {
            v: 100 * sum(one == v for one, _ in found) / comparisons for v in ("regression", "pass", "inconclusive")
        }
        wrong = share["regression"] if ratio <= 1.03 else share["pass"]
        median, most = np.median([n for _, n in found]), max(n for _, n in found)
        cells = [f"{ratio:.2f}", *(f"{value:.1f}" for value in (*share.values(), wrong)), f"{median:.0f}", f"{most}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def describe(name: str, command: str, timings: Floats) -> str:
    """The noise of a recording in a sentence."""
    log = np.log(timings)
    rank = np.argsort(np.argsort(log)) / len(log)
    rank -= rank.mean()
    lag = float((rank[:-1] * rank[1:]).mean() / rank.var())
    pairs = log[1::2][: len(log) // 2] - log[::2][: len(log) // 2]
    core = 1.4826 * float(np.median(np.abs(pairs - np.median(pairs))))
    return (
        f"{name}: {len(timings)} timings of `{command}`, median {np.median(timings) / 1e3:.1f} ms, "
        f"sd of log {log.std():.1%}, of the ratios of neighbours {pairs.std():.1%} (by MAD {core:.1%}), "
        f"rank correlation of neighbours {lag:.2f}"
    )


def record(file: Path, n: int = 12000) -> None:
    """Time two short commands again and again."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(3000)]
    document: dict[str, object] = {"what": "wall time of a command run again and again, in microseconds"}
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "words.txt"
        text.write_text(" ".join(rng.choices(words, k=40000)))
        commands = {
            "gzip": (["gzip", "-6", "-c", str(text)], "gzip -6 -c of 258 kB of random words", n),
            "python": ([sys.executable, "-I", "-S", "-c", "import json"], "python -I -S -c 'import json'", n // 2),
        }
        for name, (argv, said, count) in commands.items():
            document[name] = {"command": said, "us": [_timed(argv) for _ in range(count + 20)][20:]}
    file.write_text(json.dumps(document, separators=(",", ":")))


def _timed(argv: list[str]) -> int:
    started = time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
    return round((time.perf_counter() - started) * 1e6)


def main() -> None:
    if sys.argv[1:2] == ["record"]:
        record(Path(sys.argv[2]))
        return
    comparisons = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    all_runs = [int(word) for word in sys.argv[2:]] or [1, 3, 5]
    document = json.loads(TIMINGS.read_text())
    for name in ("gzip", "python"):
        timings = np.array(document[name]["us"], dtype=np.float64)
        print(describe(name, document[name]["command"], timings))
        for runs in all_runs:
            print(f"\n{name}, {runs} runs a measurement, {comparisons} comparisons; percent\n")
            print("| true ratio | regression | pass | inconclusive | wrong | measurements a side, median | most |")
            print("|---|---|---|---|---|---|---|")
            print("\n".join(table(timings, runs, comparisons)), flush=True)
        print()


if __name__ == "__main__":
    main()
