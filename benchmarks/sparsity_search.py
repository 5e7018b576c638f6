"""Does searching a keep ratio per layer beat one ratio for all? Strategies against a grid of uniform ratios.

    python benchmarks/sparsity_search.py vit 60 random,tpe,gp 2
    python benchmarks/sparsity_search.py MODEL TRIALS METHODS SEEDS

Each line: hypervolume from (accuracy 0.5, dense size) as a share of that box; then the smallest network, in thousands
of parameters, that reaches 95, 97 and 98% of the validation split, and the test accuracy of those networks.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tuner.objectives.compression.sparsity import Sparsity, build

import tuner
from tuner.pareto import hypervolume, non_dominated
from tuner.trial import Trial

LEVELS = (0.95, 0.97, 0.98)


def describe(label: str, objective: Sparsity, tried: list[tuple[dict[str, Any], float, float]]) -> None:
    """`tried`: configuration, accuracy, thousands of parameters kept."""
    dense = objective.known(objective.baseline())["kept_kparams"]
    Y = np.array([[accuracy, -size] for _, accuracy, size in tried])
    corner = np.array([0.5, -dense])
    share = hypervolume(Y[non_dominated(Y)], corner) / (0.5 * dense)
    parts = []
    for level in LEVELS:
        reached = [(size, config) for config, accuracy, size in tried if accuracy >= level]
        if reached:
            size, config = min(reached, key=lambda pair: pair[0])
            parts.append(f"{size:.1f}k at {level:.0%} (test {objective.test(config)['accuracy']:.1%})")
    print(f"{label:24} hypervolume {share:.3f}   {'   '.join(parts)}", flush=True)


def main(model: str, n: int, methods: list[str], seeds: int) -> None:
    objective = build(model=model)
    objective.prepare()
    baseline = objective.baseline()
    tried = []
    for criterion in ("magnitude", "wanda"):
        for ratio in np.linspace(0.05, 1.0, n // 2):
            config = {"keep": [float(ratio)] * len(baseline["keep"]), "criterion": criterion}
            values = objective.evaluate(config, Trial())
            tried.append((config, values["accuracy"], values["kept_kparams"]))
    describe(f"uniform grid of {n}", objective, tried)
    for method in methods:
        for seed in range(seeds):
            started = time.monotonic()
            study = tuner.Study.create(
                {
                    "name": "sparsity",
                    "objective": {"name": "sparsity", "model": model},
                    "metrics": {"accuracy": "maximize", "kept_kparams": "minimize"},
                    "baseline": baseline,
                    "search": method,
                    "budget": {"trials": n},
                    "seed": seed,
                }
            )
            tried = []
            while proposals := study.ask(1):
                proposal = proposals[0]
                values = objective.evaluate(proposal.config, Trial(seed=proposal.seed))
                tried.append((proposal.config, values["accuracy"], values["kept_kparams"]))
                study.tell(proposal.trial, {name: values[name] for name in ("accuracy", "kept_kparams")})
            describe(f"{method}, seed {seed}, {time.monotonic() - started:.0f} s", objective, tried)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3].split(","), int(sys.argv[4]))
