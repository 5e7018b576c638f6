"""What it costs to look at a study of 10,000 trials: the reading verbs, the live view of a run, and `tuner watch`.

python benchmarks/looking.py              all of it, about two minutes
python benchmarks/looking.py verbs        status, best and pareto, from a cold start of the process
python benchmarks/looking.py watch        the share of a core that `tuner watch` takes while another process writes
python benchmarks/looking.py run          the share of a core that the live view of a run takes

The study is made through the public API, with two goals, every fiftieth trial failed. Figures of verbs are the median
and the least of five starts: wall-clock seconds, and processor seconds, which other processes disturb less.
"""

from __future__ import annotations

import math
import os
import pty
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

TRIALS = 10_000
STARTS = 5
WATCH_S = 20.0
SLOTS = 8
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "LINES": "40", "TERM": "xterm-256color"}
ENVIRONMENT.pop("CI", None)
TUNER = [sys.executable, "-m", "tuner"]
SWEEP = {
    "name": "looked-at",
    "metrics": {"accuracy": "maximize", "size": "minimize"},
    "parameters": {
        "lr": {"min": 1e-5, "max": 1e-1, "log": True},
        "layers": {"min": 1, "max": 24},
        "width": {"values": [64, 128, 256, 512], "ordered": True},
        "optim": {"values": ["adamw", "sgd"]},
        "beta2": {"min": 0.9, "max": 0.999, "when": "optim == 'adamw'"},
    },
    "search": "random",
    "budget": {"trials": 2 * TRIALS},
}


def evaluated(study: object, n: int, rng: random.Random) -> None:
    """So many more trials."""
    for _ in range(n):
        p = study.ask()  # type: ignore[attr-defined]
        if p.trial % 50 == 49:
            study.fail(p.trial, "crash", "RuntimeError: the data set is missing")  # type: ignore[attr-defined]
            continue
        size = p.config["layers"] * p.config["width"]
        accuracy = 1 - 0.02 * (math.log10(p.config["lr"]) + 3) ** 2 - 0.3 / (1 + math.log(size))
        study.tell(p.trial, {"accuracy": accuracy + 0.02 * rng.gauss(0, 1), "size": size})  # type: ignore[attr-defined]


def verbs(folder: Path) -> None:
    print(f"{'verb':8} {'wall median':>12} {'wall least':>11} {'cpu median':>11} {'cpu least':>10}   seconds")
    for verb in ("status", "best", "pareto"):
        walls, cpus = zip(*(started([*TUNER, verb, str(folder)]) for _ in range(STARTS)), strict=True)
        figures = (statistics.median(walls), min(walls), statistics.median(cpus), min(cpus))
        print(f"{verb:8} {figures[0]:12.3f} {figures[1]:11.3f} {figures[2]:11.3f} {figures[3]:10.3f}")


def started(command: list[str]) -> tuple[float, float]:
    """Wall-clock and processor seconds of a process from its start to its end."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def watch(folder: Path) -> None:
    """With another process writing ten trials a second, and with it only holding the study."""
    import psutil

    import tuner

    for pace, what in ((0.1, "10 trials a second written"), (None, "nothing written")):
        with tuner.Study.open(folder) as study:
            ours, theirs = pty.openpty()
            process = subprocess.Popen([*TUNER, "watch", str(folder)], stdout=theirs, env=ENVIRONMENT)
            drain(ours)
            time.sleep(5.0)  # its start is not what is measured
            times, began = psutil.Process(process.pid).cpu_times(), time.perf_counter()
            rng = random.Random(0)
            while time.perf_counter() - began < WATCH_S:
                if pace is not None:
                    evaluated(study, 1, rng)
                time.sleep(pace or 1.0)
            after, wall = psutil.Process(process.pid).cpu_times(), time.perf_counter() - began
            process.kill()
            process.wait()
        share = (after.user + after.system - times.user - times.system) / wall
        print(f"watch, {what}: {share:.2%} of a core over {wall:.0f} s")


def drain(descriptor: int) -> None:
    """Read what a terminal would show."""

    def read() -> None:
        try:
            while os.read(descriptor, 1 << 16):
                pass
        except OSError:
            pass

    threading.Thread(target=read, daemon=True).start()


def run(folder: Path) -> None:
    """The live view alone: what it takes of the thread that draws it, ten trials ending a second."""
    from rich.console import Console

    import tuner
    from tuner.reporting.live import LiveDisplay
    from tuner.slots import SlotState

    with tuner.Study.open(folder) as study, Path(os.devnull).open("w") as out:
        display = LiveDisplay(console=Console(file=out, force_terminal=True, width=100, height=40))
        display.began(study, slots=SLOTS)
        slots = [SlotState(f"cpu{i}", trial=i, pid=os.getpid(), since=time.time(), limit_s=600.0) for i in range(SLOTS)]
        spent, rng, began = 0.0, random.Random(0), time.perf_counter()
        while time.perf_counter() - began < WATCH_S:
            evaluated(study, 1, rng)
            before = time.thread_time()
            display.reported(3, 7, {"accuracy": 0.5})
            display.occupied(slots)
            display.tick()
            spent += time.thread_time() - before
            time.sleep(0.1)
        wall = time.perf_counter() - began
        display.ended("measured")
    print(f"run, {SLOTS} slots: {spent / wall:.2%} of a core over {wall:.0f} s")


PARTS: dict[str, Callable[[Path], None]] = {"verbs": verbs, "watch": watch, "run": run}


def main(wanted: list[str]) -> None:
    import tuner

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "looked-at"
        with tuner.Study.create(SWEEP, place) as study:
            evaluated(study, TRIALS, random.Random(0))
        for name in wanted or PARTS:
            PARTS[name](place)


if __name__ == "__main__":
    main(sys.argv[1:])
