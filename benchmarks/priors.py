"""What a prior is worth, and what a wrong one costs: Hartmann's function of six columns, minimised by gp.

    python benchmarks/priors.py 5

Each line: what the search was told, and the median regret over so many seeds after 10, 20, 30 and 40 trials. A good
prior is centred a tenth, or two, off the optimum in every column; a wrong one on the opposite side of the cube. The
standard deviation of all is that of medium confidence.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import tuner
from tuner.bench.suite import suite

HARTMANN = suite()["hartmann6"]
OPTIMUM = np.array([0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573])
"""Surjanovic and Bingham, Virtual Library of Simulation Experiments."""
MARKS = (10, 20, 30, 40)


def centre(kind: str, seed: int) -> np.ndarray | None:
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], 6)
    if kind == "cold":
        return None
    if kind == "wrong":
        return 1.0 - OPTIMUM
    return np.clip(OPTIMUM + float(kind) * signs, 0.0, 1.0)


def regrets(kind: str, seed: int) -> list[float]:
    at = centre(kind, seed)
    names = list(HARTMANN.space.names)
    parameters: dict[str, Any] = {name: {"min": 0.0, "max": 1.0} for name in names}
    for name, value in zip(names, at if at is not None else []):
        parameters[name]["prior"] = {"at": float(value), "confidence": "medium"}
    study = tuner.Study.create(
        {
            "name": "prior",
            "parameters": parameters,
            "metrics": {"y": {"goal": "minimize"}},
            "search": "gp",
            "budget": {"trials": MARKS[-1]},
            "seed": seed,
        }
    )
    values = []
    for _ in range(MARKS[-1]):
        proposal = study.ask()
        values.append(next(iter(HARTMANN.evaluate(proposal.config).values())))
        study.tell(proposal.trial, {"y": values[-1]})
    return [min(values[:mark]) - HARTMANN.best for mark in MARKS]


if __name__ == "__main__":
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for kind in sys.argv[2].split(",") if len(sys.argv) > 2 else ("cold", "0.1", "0.2", "wrong"):
        median = np.median([regrets(kind, seed) for seed in range(seeds)], axis=0)
        print(f"{kind:>6}", *(f"{value:.4f}" for value in median), flush=True)
