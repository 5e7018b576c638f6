"""Problems of the other files with noise on what a trial reports; judged without it."""

from __future__ import annotations

import dataclasses

from tuner.bench.problem import BenchProblem, Split
from tuner.bench.problems import constrained, continuous, mixed

ROWS: tuple[tuple[str, Split, float], ...] = (
    ("hartmann6", "dev", 0.2),
    ("ackley-5", "dev", 1.0),
    ("branin-in-6", "dev", 5.0),
    ("levy-10", "held-out", 5.0),
    ("rosenbrock-5", "held-out", 20.0),
    ("tables-4-3", "dev", 0.1),
    ("training-b", "held-out", 0.05),
    ("gramacy", "held-out", 0.05),
)
"""Name, split, standard deviation: about a tenth of the spread of random trials, or what training runs show."""


def problems() -> tuple[BenchProblem, ...]:
    """The rows above."""
    clean = {p.name: p for module in (continuous, mixed, constrained) for p in module.problems()}
    return tuple(
        dataclasses.replace(clean[name], name=f"noisy-{name}", kind="noisy", split=split, noise=sd)
        for name, split, sd in ROWS
    )
