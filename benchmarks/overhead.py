"""What the tool itself costs, each figure beside a reference measured in the same run.

python benchmarks/overhead.py            all of it, about two minutes on two cores
python benchmarks/overhead.py help flat  only these

store     ask + tell on disk with `random`, against two bare SQLite transactions a trial
workers   a trivial Python objective through `tuner.run`, against a process pool of the standard library
command   a trial that runs `true`, against `subprocess.run` of it
help      `tuner --help` against a bare two-command Typer application's
flat      ask + tell time and memory at 1,000 and at 100,000 finished trials
"""

from __future__ import annotations

import concurrent.futures
import itertools
import multiprocessing
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SWEEP = {
    "name": "overhead",
    "metrics": {"loss": "minimize"},
    "parameters": {
        "lr": {"min": 1e-5, "max": 1e-1, "log": True},
        "x": {"min": 0.0, "max": 1.0},
        "n": {"min": 1, "max": 64},
        "k": {"values": ["a", "b", "c"]},
        "beta": {"min": 0.0, "max": 1.0, "when": "k == 'a'"},
    },
    "search": "random",
}
BARE = """
import typer
app = typer.Typer()
@app.command()
def first(n: int = 1):
    "One."
@app.command()
def second(n: int = 1):
    "Two."
app()
"""


def trivial(config: dict[str, float]) -> float:
    return config["x"]


def ask_and_tell(study: object, n: int) -> float:
    """Seconds a trial."""
    started = time.perf_counter()
    for _ in range(n):
        proposal = study.ask()  # type: ignore[attr-defined]
        study.tell(proposal.trial, {"loss": proposal.config["x"]})  # type: ignore[attr-defined]
    return (time.perf_counter() - started) / n


def store(folder: Path) -> None:
    import tuner

    with tuner.Study.create(SWEEP, dir=folder / "store") as study:
        ask_and_tell(study, 200)
        ours = 1 / statistics.median(ask_and_tell(study, 1000) for _ in range(3))
    database = sqlite3.connect(folder / "bare.db", isolation_level=None)
    database.execute("pragma journal_mode=wal")
    database.execute("pragma synchronous=normal")
    database.execute("create table t (n integer primary key, state text, config text, metrics text)")
    started = time.perf_counter()
    for n in range(3000):
        database.execute("begin")
        database.execute("insert into t values (?, 'running', '{\"x\": 0.5}', null)", (n,))
        database.execute("commit")
        database.execute("begin")
        database.execute("update t set state = 'completed', metrics = '{\"loss\": 0.5}' where n = ?", (n,))
        database.execute("commit")
    bare = 3000 / (time.perf_counter() - started)
    print(f"store     {ours:8.0f} trials/s   bare SQLite {bare:8.0f} trials/s   ratio {ours / bare:.2f}   (bar: 1000)")


def workers(folder: Path) -> None:
    import tuner

    n = 2000
    definition = {**SWEEP, "objective": "overhead:trivial", "base_dir": str(ROOT / "benchmarks"), "parallel": 2}
    tuner.run({**definition, "name": "warm", "budget": {"trials": 20}}, folder / "warm").close()
    started = time.perf_counter()
    study = tuner.run({**definition, "budget": {"trials": n}}, folder / "workers")
    whole = time.perf_counter() - started
    finished = sorted(r.finished_at for r in study.records() if r.finished_at is not None)
    study.close()
    steady = (len(finished) - 100) / (finished[-1] - finished[99])
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(trivial, [{"x": 0.5}] * 20))
        started = time.perf_counter()
        running = {pool.submit(trivial, {"x": 0.5}) for _ in range(2)}
        for _ in range(n):
            done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            running |= {pool.submit(trivial, {"x": 0.5}) for _ in done}
        pooled = n / (time.perf_counter() - started)
    print(
        f"workers   {steady:8.0f} trials/s   bare pool   {pooled:8.0f} trials/s   ratio {steady / pooled:.2f}   "
        f"(bar: 300; with start-up {n / whole:.0f} over {n} trials)"
    )


def command(folder: Path) -> None:
    import tuner

    n = 300
    definition = {**SWEEP, "command": ["true"], "metrics": {"exit_code": "minimize"}, "budget": {"trials": n}}
    bare = []
    for _ in range(n):
        started = time.perf_counter()
        subprocess.run(["true"], check=True)
        bare.append(time.perf_counter() - started)
    study = tuner.run(definition, folder / "command")
    finished = sorted(r.finished_at for r in study.records() if r.finished_at is not None)
    study.close()
    ours = statistics.median(b - a for a, b in itertools.pairwise(finished))
    reference = statistics.median(bare)
    print(
        f"command   {ours * 1e3:8.2f} ms a trial   subprocess.run {reference * 1e3:5.2f} ms   "
        f"over it {(ours - reference) * 1e3:.2f} ms   (bar: 15)"
    )


def help_(folder: Path) -> None:
    bare = folder / "bare.py"
    bare.write_text(BARE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    commands = {"ours": [sys.executable, "-m", "tuner", "--help"], "bare": [sys.executable, str(bare), "--help"]}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(21):
        for name, argv in commands.items():
            started = time.perf_counter()
            subprocess.run(argv, check=True, capture_output=True, env=environment, cwd=folder)
            seconds[name].append(time.perf_counter() - started)
    ours, reference = statistics.median(seconds["ours"]), statistics.median(seconds["bare"])
    ratio = ours / reference
    print(f"help      {ours:8.3f} s          bare Typer  {reference:8.3f} s          ratio {ratio:.2f}   (bar: 1.5)")


def flat(folder: Path) -> None:
    import psutil

    import tuner

    memory = psutil.Process()
    with tuner.Study.create(SWEEP, dir=folder / "flat") as study:
        done = 0
        figures = []
        for target in (1_000, 100_000):
            ask_and_tell(study, target - 500 - done)
            figures.append((ask_and_tell(study, 500), memory.memory_info().rss / 2**20))
            done = target
    (t0, m0), (t1, m1) = figures
    print(
        f"flat      ask+tell {t0 * 1e6:.0f} us at 1,000, {t1 * 1e6:.0f} us at 100,000 (ratio {t1 / t0:.2f}); "
        f"memory {m0:.0f} MiB, {m1:.0f} MiB (ratio {m1 / m0:.2f})"
    )


PARTS: dict[str, Callable[[Path], None]] = {
    "store": store,
    "workers": workers,
    "command": command,
    "help": help_,
    "flat": flat,
}


def main() -> None:
    for name in sys.argv[1:] or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](Path(folder))


if __name__ == "__main__":
    main()
