"""Seconds a suggestion against past trials; `python -m tuner.bench.timing METHOD TRIALS ASKS` measures one cell."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tuner.bench.interpreters import launch
from tuner.bench.methods import open_session
from tuner.bench.runner import Conditions
from tuner.bench.suite import suite

PROBLEM = "levy-10"
ASKS = 5


def asked(method: str, n: int, asks: int = ASKS) -> list[float]:
    """The seconds of `asks` suggestions on 10 columns after n random trials, each told before the next."""
    problem = suite()[PROBLEM]
    session = open_session(method, problem, n + asks + 1, 0, 60.0)
    for config in problem.space.sample(n, np.random.default_rng(0)):
        session.add(config, problem.evaluate(config))
    seconds = []
    for _ in range(asks):
        begun = time.perf_counter()
        config_or_none = session.ask()
        seconds.append(time.perf_counter() - begun)
        if config_or_none is None:
            break
        session.tell(config_or_none, problem.evaluate(config_or_none))
    return seconds


def measure(method: str, n: int, asks: int = ASKS) -> float:
    """Their median."""
    return float(np.median(asked(method, n, asks)))


def table(
    methods: Sequence[str], sizes: Sequence[int], conditions: Conditions
) -> Iterator[tuple[str, int, float | str]]:
    """(method, past trials, seconds or what went wrong), one process a cell, one after the other."""
    with tempfile.TemporaryDirectory(prefix="tuner-bench-") as folder:
        for n in sizes:
            for method in methods:
                yield method, n, _cell(method, n, conditions, Path(folder))


def _cell(method: str, n: int, conditions: Conditions, folder: Path) -> float | str:
    command, environment = launch(method, "tuner.bench.timing", conditions.pythons, folder, conditions.threads)
    command += [method, str(n), str(ASKS)]
    limit_s = conditions.limit_s
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return f"over {limit_s:g} s"
    if run.returncode:
        return (run.stderr.strip().splitlines() or ["failed"])[-1][:60]
    return float(json.loads(run.stdout.strip().splitlines()[-1]))


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
