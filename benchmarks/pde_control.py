"""Control of a heat equation with a kink: what reduced models save, and fronts found at the same cost.

    python benchmarks/pde_control.py [--cost 20] [--seeds 3] [--methods auto gp nsga2 random]

First a table of reduced models against the full one on 20 controls that they were not trained on. Then fronts: every
method may spend the cost of so many solutions of the full model. `auto` has the modes as its fidelity and takes mf-gp;
the others solve the full model every time. The volume is measured from tracking 1 and effort 1, on trials of the full
model alone, as a share of that of the reference front (weighted sums with the adjoint's gradient, which the methods do
not have).
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from tuner.objectives.solver import control_front
from tuner.objectives.solver.pde_control import MODES, PdeControl, build
from tuner.search_spaces.control import SCALE

import tuner
from tuner.pareto import hypervolume
from tuner.trial import Trial

CORNER = np.array([1.0, 1.0])


def volume(values: np.ndarray) -> float:
    """Hypervolume of (tracking, effort) rows, both minimised, from (1, 1)."""
    inside = values[(values < CORNER).all(axis=1)]
    return float(hypervolume(-inside, -CORNER)) if len(inside) else 0.0


def table(objective: PdeControl) -> None:
    tried = np.random.default_rng(99).uniform(-SCALE, SCALE, (20, objective.heat.controls))
    full = np.array([objective.tracking(u) for u in tried])
    print("| modes | seconds a solution | mean error of tracking | largest |")
    print("|---|---|---|---|")
    for modes in (2, 4, 8, 16, 32, MODES):
        objective.tracking(tried[0], modes)  # makes the model
        began = time.perf_counter()
        found = np.array([objective.tracking(u, modes) for u in tried])
        seconds, apart = (time.perf_counter() - began) / len(tried), np.abs(found - full)
        name = f"{modes}, the full model" if modes == MODES else f"{modes}"
        print(f"| {name} | {seconds:.5f} | {apart.mean():.4f} | {apart.max():.4f} |", flush=True)


def searched(objective: PdeControl, method: str, cost: float, seed: int) -> tuple[float, int, float]:
    """Volume of the full trials, how many trials there were, and seconds in all."""
    goal = {"goal": "minimize", "reference": 1.0}
    reduced = {"fidelity": {"parameter": "modes", "min": 4, "max": MODES}} if method == "auto" else {}
    sweep = {
        "objective": "pde-control",
        "metrics": {"tracking": goal, "effort": goal, "cost": {}},
        "budget": {"cost": {"metric": "cost", "limit": cost}} if reduced else {"trials": int(cost)},
        "search": method,
        "seed": seed,
        **reduced,
    }
    values, spent, trials, began = [], 0.0, 0, time.perf_counter()
    with tuner.Study.create(sweep) as study:
        while spent < cost and (asked := study.ask(1)):
            found = objective.evaluate(asked[0].config, Trial(fidelity=asked[0].fidelity))
            study.tell(asked[0].trial, {name: found[name] for name in ("tracking", "cost")})
            spent, trials = spent + found["cost"], trials + 1
            if found["cost"] == 1.0:
                values.append([found["tracking"], found["effort"]])
    return volume(np.array(values)), trials, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cost", type=float, default=20.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=["auto", "gp", "nsga2", "random"])
    given = parser.parse_args()
    objective = build()
    table(objective)
    _, reference = control_front.front(objective.heat, SCALE)
    whole = volume(reference)
    print(f"\nreference front: volume {whole:.4f}; tracking {reference[0, 0]:.4f} at effort {reference[0, 1]:.4f}\n")
    print(f"| method | volume / reference, {given.seeds} seeds | median | trials | seconds a run |")
    print("|---|---|---|---|---|")
    for method in given.methods:
        runs = [searched(objective, method, given.cost, seed) for seed in range(given.seeds)]
        shares = [run[0] / whole for run in runs]
        each = ", ".join(f"{share:.3f}" for share in shares)
        trials, seconds = (statistics.median(run[k] for run in runs) for k in (1, 2))
        print(f"| {method} | {each} | {statistics.median(shares):.3f} | {trials:.0f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
