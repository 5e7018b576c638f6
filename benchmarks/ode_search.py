"""Samplers in six evaluations: what `auto` finds, against the published schedules with every solver.

    python benchmarks/ode_search.py --seeds 0 1 2 3 4 5 6 7 8 9 [--start baseline | published] [--trials 100]
                                    [--space ays] [--evaluations 6]
    python benchmarks/ode_search.py --ring [--trials 300]

Every seed draws a mixture of 8 modes, in 2, 4, 8, 16 or 64 dimensions by turns. A study searches on 2,048 noises; what
it finds and the references are compared by their error on 8,192 others. A reference is a schedule with one solver for
all steps, and all are tried, so the bar of each mixture is the best of them chosen with hindsight:

    edm, log-linear, cosine     as published; Heun's method gets half as many steps, each of two evaluations
    ays                         the bound of Align Your Steps for this mixture: for six steps, or for ten and then
                                interpolated; stopped after one, two or all rounds; the published table of Stable
                                Diffusion; and the closed form for a Gaussian of the data's standard deviation
    boss                        Bellman's path over 100 grid points, from 100 exact trajectories of this mixture

With `--start baseline` a search knows Euler's method on the schedule of Karras et al., its trial 0, and nothing else;
with `--start published` its next trials are the four closed-form schedules, with solvers of DEIS.

`--ring` compares at 5 evaluations, Euler's method alone, equal modes on a circle.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from typing import Any

import torch
from tuner.objectives.solver import ode_procedures, ode_schedules
from tuner.objectives.solver.ode import Ode, build
from tuner.objectives.solver.ode_plans import configuration
from tuner.objectives.solver.ode_sampling import Plan
from tuner.objectives.solver.ode_solvers import SOLVERS

import tuner
from tuner.trial import Trial

DIMS = (2, 4, 8, 16, 64)
USUAL = {"edm": "heun", "log-linear": "dpm-2", "cosine": "euler", "ays": "dpm-2", "boss": "euler"}
BETA = 0.8


def paired(knots: list[float]) -> list[float]:
    """The knots of half as many steps of two evaluations: what lies between is not used."""
    inner = [level for high, low in itertools.pairwise(knots) for level in (high, math.sqrt(high * low))]
    return [*inner, knots[-1]]


def schedules(objective: Ode, n: int) -> list[tuple[str, list[float]]]:
    """(family, knots) of every reference schedule of n steps."""
    with torch.inference_mode():
        flow = ode_procedures.trajectories(objective.denoiser(), objective.noises("fit")[:100])
        rho, C = ode_procedures.bound_costs(objective.mixture)
    c = objective.mixture.sd
    found = [(name, ode_schedules.SCHEDULES[name](n)) for name in ("edm", "log-linear", "cosine")]
    found += [("ays", ode_schedules.interpolated(n)), ("ays", ode_schedules.gauss(n, c))]
    for sweeps in (1, 2, 20):
        found.append(("ays", ode_procedures.align(rho, C, n, c, sweeps=sweeps)))
        ten = ode_procedures.align(rho, C, 10, c, sweeps=sweeps)
        found.append(("ays", ode_schedules.interpolated(n, ten)))
    return [*found, ("boss", ode_procedures.boss(flow, n))]


def references(objective: Ode, n: int) -> dict[tuple[str, str], float]:
    """Test error by family and solver, the best of a family's schedules."""
    found: dict[tuple[str, str], float] = {}
    whole = schedules(objective, n)
    halves = schedules(objective, n // 2)
    for (family, knots), (_, half) in zip(whole, halves, strict=True):
        for solver in SOLVERS:
            used = paired(half) if solver == "heun" else knots
            error = objective.test_plan(Plan(knots=used, solvers=[solver] * (len(used) - 1), beta=BETA))
            found[family, solver] = min(error, found.get((family, solver), math.inf))
    return found


def searched(objective: Ode, options: dict[str, Any], trials: int, **sections: Any) -> tuple[dict[str, Any], float]:
    """The configuration that a study ends with, and its error where it was searched."""
    study = tuner.Study.create(
        {
            "name": "ode",
            "objective": {"name": "ode", **options},
            "metrics": {"error": "minimize"},
            "search": "auto",
            "budget": {"trials": trials},
            "seed": 0,
            **sections,
        }
    )
    while proposals := study.ask(1):
        proposal = proposals[0]
        measured = objective.evaluate(proposal.config, Trial(number=proposal.trial, seed=proposal.seed))
        study.tell(proposal.trial, {"error": measured["error"]})
    best = study.best()
    assert best is not None
    return dict(best.config), float(best.metrics["error"])


def published(space: str, n: int) -> list[dict[str, Any]]:
    """Configurations of the schedules that need nothing of the mixture."""
    orders = {"edm": "deis-3", "log-linear": "deis-2", "cosine": "deis-2", "ays-table": "deis-2"}
    return [configuration(space, ode_schedules.SCHEDULES[name](n), solver=solver) for name, solver in orders.items()]


def compare(seeds: list[int], trials: int, space: str, n: int, start: str) -> None:
    won, initial = 0, published(space, n) if start == "published" else []
    heads = " | ".join(f"{family}, {solver}" for family, solver in USUAL.items())
    print(f"| seed | d | {heads} | best of all | which | auto | ratio | on its own noises | seconds |")
    print("|" + "---|" * (len(USUAL) + 8))
    for number, seed in enumerate(seeds):
        began = time.monotonic()
        options = {"space": space, "dim": DIMS[number % len(DIMS)], "seed": seed, "evaluations": n}
        objective = build(**options)
        tried = references(objective, n)
        (family, solver), bar = min(tried.items(), key=lambda pair: pair[1])
        config, own = searched(objective, options, trials, baseline=objective.baseline(), initial=initial)
        error = objective.test(config)["error"]
        won += error < bar
        usual = " | ".join(f"{tried[pair]:.3f}" for pair in USUAL.items())
        cells = f"{usual} | {bar:.4f} | {family}, {solver} | {error:.4f} | {error / bar:.3f} | {own:.4f}"
        print(f"| {seed} | {options['dim']} | {cells} | {time.monotonic() - began:.0f} |", flush=True)
    print(f"\nauto below the best of all references on {won} of {len(seeds)} mixtures, {trials} trials from {start}")


def ring(trials: int, n: int = 5) -> None:
    options = {"space": "ays", "mixture": "ring", "evaluations": n}
    objective = build(**options)
    print("| schedule | error, Euler |\n|---|---|")
    shown = dict(schedules(objective, n))
    for name in ("edm", "log-linear", "cosine", "boss"):
        print(f"| {name} | {objective.test_plan(Plan(knots=shown[name], solvers=['euler'] * n)):.4f} |")
    closed = ode_schedules.gauss(n, objective.mixture.sd)
    print(f"| closed form for the data's sd | {objective.test_plan(Plan(knots=closed, solvers=['euler'] * n)):.4f} |")
    baseline = {"knots": objective.baseline()["knots"]}
    config, own = searched(objective, options, trials, baseline=baseline, parameters={"solver": "euler"})
    error = objective.test(config)["error"]
    edm = objective.test_plan(Plan(knots=shown["edm"], solvers=["euler"] * n))
    print(f"| auto, {trials} trials | {error:.4f} ({own:.4f} on its own noises) |")
    print(f"\n{'pass' if error <= 0.6 * edm else 'FAIL'}  auto / edm: {error / edm:.3f}, at most 0.6")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--space", default="ays")
    parser.add_argument("--start", choices=("baseline", "published"), default="baseline")
    parser.add_argument("--evaluations", type=int, default=6)
    parser.add_argument("--ring", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.ring:
        ring(given.trials)
    else:
        compare(given.seeds, given.trials, given.space, given.evaluations, given.start)


if __name__ == "__main__":
    main()
