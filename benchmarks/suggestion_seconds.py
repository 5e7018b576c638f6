"""Seconds a suggestion of `gp` on ten columns, on the CPU and on a GPU, against the trials before it.

    python benchmarks/suggestion_seconds.py 200 1000 5000

For each number of trials and each device: the first suggestion of a strategy made anew, which learns hyperparameters,
and the median of the next five. Where there is a GPU, the crossover `_GPU_PAYS` of `tuner.strategies.bayesian.engine`
is read off this table.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

import tuner.strategies.bayesian.engine as engine
from tuner.bench.timing import asked

ASKS = 6


def main(sizes: list[int]) -> None:
    """Print the table."""
    devices = {"cpu": sys.maxsize, **({"cuda": 0} if torch.cuda.is_available() else {})}
    print(f"{'trials':>8}  {'device':<6} {'first s':>8} {'next s':>8}")
    for device, pays in devices.items():  # once for what a first use of a device costs
        engine._GPU_PAYS = pays
        asked("gp", 30, ASKS)
        for n in sizes:
            first, *later = asked("gp", n, ASKS)
            print(f"{n:>8}  {device:<6} {first:>8.3f} {float(np.median(later)):>8.3f}", flush=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [200, 1000, 5000])
