"""What a declared formula is worth: calibrating eight constants of a mode-choice model against target shares.

    python benchmarks/composite_search.py 40 3

Ten thousand agents choose among eight modes by a logit model; the metric is the L1 distance, in percentage points, of
the shares to their targets. Each line: a seed, and the best distance after so many trials by gp with the formula
declared (`composite`), and by tpe and gp told the distance alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import tuner

TARGETS = {
    "car": 64.36, "ride_hail": 5.028, "ride_hail_pooled": 5.229, "walk": 6.938, "drive_transit": 5.983,
    "ride_hail_transit": 5.983, "walk_transit": 5.983, "bike": 0.5,
}  # fmt: skip
AGENTS, NOISE = 10_000, 0.3


class City:
    """Shares, in percent, of the modes, given a constant for each; noisy."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._utility = rng.normal(0, 1.5, 8) + rng.normal(0, 1.2, (AGENTS, 8))
        self._noise = np.random.default_rng(1000 + seed)

    def shares(self, config: dict[str, Any]) -> dict[str, float]:
        utility = self._utility + np.array([config[f"c_{mode}"] for mode in TARGETS])
        weight = np.exp(utility - utility.max(axis=1, keepdims=True))
        exact = 100 * (weight / weight.sum(axis=1, keepdims=True)).mean(axis=0)
        noisy = np.maximum(exact + self._noise.normal(0, NOISE, 8), 1e-3)
        return dict(zip(TARGETS, noisy.tolist(), strict=True))


def search(seed: int, n: int, method: str, *, composite: bool) -> float:
    terms = ", ".join(f"abs(100 * {mode} / total - {share})" for mode, share in TARGETS.items())
    metrics: dict[str, Any] = {"l1": {"goal": "minimize"}}
    if composite:
        metrics = {mode: {} for mode in TARGETS}
        metrics |= {"total": {"formula": " + ".join(TARGETS)}, "l1": {"goal": "minimize", "formula": f"sum([{terms}])"}}
    study = tuner.Study.create(
        {
            "name": "city",
            "command": ["true"],
            "parameters": {f"c_{mode}": {"min": -5.0, "max": 10.0} for mode in TARGETS},
            "metrics": metrics,
            "baseline": {f"c_{mode}": 1.0 for mode in TARGETS},
            "search": method,
            "budget": {"trials": n},
            "seed": seed,
        }
    )
    city, best = City(seed), np.inf
    for _ in range(n):
        (proposal,) = study.ask(1)
        shares = city.shares(proposal.config)
        total = sum(shares.values())
        distance = sum(abs(100 * shares[mode] / total - share) for mode, share in TARGETS.items())
        study.tell(proposal.trial, shares if composite else {"l1": distance})
        best = min(best, distance)
    return best


def main(n: int, seeds: int) -> None:
    for seed in range(seeds):
        found = {"composite": search(seed, n, "gp", composite=True)}
        found |= {method: search(seed, n, method, composite=False) for method in ("tpe", "gp")}
        print(f"seed {seed}   " + "   ".join(f"{name} {value:.1f}" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
