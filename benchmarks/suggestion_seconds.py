"""Seconds a suggestion of `gp` on ten columns, on the CPU and on a GPU, against the trials before it.

    python benchmarks/suggestion_seconds.py 200 1000 5000

For each number of trials and each device: the first suggestion of a strategy made anew, which learns hyperparameters,
and the median of the next five. Where there is a GPU, the crossover `_GPU_PAYS` of `tuner.strategies.bayesian.engine`
is read off this table.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

import tuner.strategies.bayesian.engine as engine
from tuner.bench.methods import open_session
from tuner.bench.suite import suite

PROBLEM = "levy-10"
ASKS = 6


def seconds(n: int) -> tuple[float, float]:
    """The first suggestion after n random trials, and the median of the next ones."""
    problem = suite()[PROBLEM]
    session = open_session("gp", problem, n + ASKS, 0, 60.0)
    for config in problem.space.sample(n, np.random.default_rng(0)):
        session.add(config, problem.evaluate(config))
    times = []
    for _ in range(ASKS):
        begun = time.perf_counter()
        config_or_none = session.ask()
        times.append(time.perf_counter() - begun)
        assert config_or_none is not None
        session.tell(config_or_none, problem.evaluate(config_or_none))
    return times[0], float(np.median(times[1:]))


def main(sizes: list[int]) -> None:
    """Print the table."""
    devices = {"cpu": sys.maxsize, **({"cuda": 0} if torch.cuda.is_available() else {})}
    print(f"{'trials':>8}  {'device':<6} {'first s':>8} {'next s':>8}")
    for device, pays in devices.items():  # once for what a first use of a device costs
        engine._GPU_PAYS = pays
        seconds(30)
        for n in sizes:
            first, later = seconds(n)
            print(f"{n:>8}  {device:<6} {first:>8.3f} {later:>8.3f}", flush=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [200, 1000, 5000])
