"""Real early stopping: how many epochs it takes to reach what full-length random search reaches, and what audits say.

    python benchmarks/early_stopping.py race digits --seeds 10 --trials 50 --methods asha,bohb
    python benchmarks/early_stopping.py audit digits --seeds 5 --trials 100
    python benchmarks/early_stopping.py front digits --seeds 5 --trials 60

Small networks, on digits or on text, 27 epochs each (see `learners`); the score is the log loss on what was held out.
`race`: random search spends TRIALS times 27 epochs, and its best loss is the target; each method gets as many epochs
and is done when a trial with all of its 27 epochs has that loss. A line a seed and method: the epochs it took as a
share of random search's. `audit`: random search under the stopping form of asha, a fifth of the stopped trials running
on as controls; afterwards all that was stopped is trained to the end, and what the controls say is set against that.
`front`: loss against weights (in thousands), with an accuracy of 0.9 at least on digits, 0.3 on text; the hypervolume
after half of the epochs of a full run of random search with and without a stopping rule, how many times the epochs it
takes without the rule to have as much, and which members of the full run's front the rule stops; with `--same` what the
rule saves goes unspent, and nothing is trained that the full run does not train. The runs of random search are the same
everywhere. Curves that were trained are kept in the folder that `--curves` names, and played again.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.learners import EPOCHS, PARAMETERS, Learners
from tuner import pareto
from tuner.bench.simulation import Cluster, Played, Recorded, simulate
from tuner.study import Study
from tuner.views.stopping import stopping_view

ONE = Cluster(workers=1, stragglers=0.0)


def sweep(task: str, method: str, seed: int, trials: int, **early_stop: Any) -> dict[str, Any]:
    """`random+RULE` is random search under a stopping rule; `bohb-gp` is bohb over a Gaussian process."""
    name, _, rule = method.partition("+")
    found: dict[str, Any] = {
        "name": task, "metrics": {"loss": "minimize"}, "parameters": PARAMETERS[task], "seed": seed,
        "search": {"method": "bohb", "model": "gp"} if name == "bohb-gp" else name,
        "budget": {"trials": trials},
    }  # fmt: skip
    if rule:
        found["early_stop"] = {"rule": rule, **early_stop}
    if name not in ("random", "sobol"):
        found["fidelity"] = {"parameter": "epochs", "min": 1, "max": EPOCHS}
    return found


def reached(study: Study, played: Played, target: float) -> float:
    """Epochs until a trial that had all of them had the target's loss; infinity when none had."""
    for _, epochs, trial in played.path:
        record = study.read(trial)
        if played.ends[trial][1] == EPOCHS and record.metrics["loss"] <= target:
            return float(epochs)
    return math.inf


def race(task: str, seeds: range, trials: int, methods: list[str], curves: Path | None) -> None:
    shares: dict[str, list[float]] = {method: [] for method in methods}
    limit = trials * EPOCHS
    for seed in seeds:
        learners = Learners(task, seed, curves)
        full = Study.create(sweep(task, "random", seed + 1000, trials))
        simulate(full, learners, ONE, steps=EPOCHS)
        best = full.best()
        assert best is not None
        target = best.metrics["loss"]
        for method in methods:
            definition = sweep(task, method, seed, 100 * trials)
            definition["budget"]["target"] = {"loss": target}
            study = Study.create(definition)
            played = simulate(study, learners, ONE, steps=EPOCHS, limit=limit)
            shares[method].append(reached(study, played, target) / limit)
            print(f"seed {seed} target {target:.4f} {method:12} {shares[method][-1]:.3f}", flush=True)
        learners.keep()
    print(f"median share of the {limit} epochs of random search on {task}:")
    for method, found in shares.items():
        within = sum(share <= 1 / 3 for share in found)
        print(f"{method:12} {np.median(found):.3f}   a third or less in {within} of {len(found)}")


def audit(task: str, seeds: range, trials: int, curves: Path | None) -> None:
    for seed in seeds:
        learners = Learners(task, seed, curves)
        study = Study.create(sweep(task, "random+asha", seed + 1000, trials, audit=0.2))
        spent = simulate(study, learners, ONE, steps=EPOCHS).steps
        view = stopping_view(study)
        assert view is not None
        stopped = list(study.records(states=("pruned",)))
        completed = sorted(r.metrics["loss"] for r in study.records(states=("completed",)))
        bar = completed[max(math.ceil(0.1 * len(completed)) - 1, 0)]
        ends = [learners(record.config, EPOCHS)["loss"] for record in stopped]
        left = trials * EPOCHS - spent
        lost, good = np.mean([end < completed[0] for end in ends]), np.mean([end <= bar for end in ends])
        print(f"seed {seed}: {view.stopped} stopped, {view.judged} controls; {spent} epochs of {trials * EPOCHS}")
        for what, said, true in (
            ("would have been best", view.false_stops, lost),
            ("in the best tenth", view.good_stops, good),
            ("epochs saved", view.saved_steps, left),
        ):
            if said is not None:
                print(f"  {what:20} said {said.value:.3g} ({said.low:.3g} to {said.high:.3g}), true {true:.3g}")
        learners.keep()


FORMULAS = {
    "digits": "(64*width + width + (depth-1)*(width*width + width) + 10*width + 10) / 1000",
    "text": "((context*embedding + 1)*width + (depth-1)*(width*width + width) + 64*(width + 1) + 64*embedding) / 1000",
}
"""`learners.kparams` as the sweep file says it: known of every configuration before it is tried."""


def goals(task: str) -> dict[str, Any]:
    """Loss against weights, with a bound on accuracy; the corner is round numbers, chosen before anything was run."""
    return {
        "loss": {"goal": "minimize", "reference": 1.0 if task == "digits" else 3.0},
        "kparams": {"goal": "minimize", "reference": 30.0, "formula": FORMULAS[task]},
        "accuracy": {"min": 0.9 if task == "digits" else 0.3},
    }


def measured(learners: Learners) -> Recorded:
    """What a network reports, without what is known of it."""
    return lambda config, epoch: {name: v for name, v in learners(config, epoch).items() if name != "kparams"}


def path(study: Study, played: Played) -> list[tuple[int, float]]:
    """(Epochs, hypervolume) after each trial that had all of its epochs."""
    found, front, problem = [], [], study.problem
    corner = [metric.sign * (metric.reference or 0.0) for metric in problem.objectives]
    for _, epochs, trial in played.path:
        record = study.read(trial)
        if record.state == "completed" and problem.feasible(record.config, record.metrics, None):
            front.append(problem.values(record.metrics))
            found.append((epochs, pareto.hypervolume(front, corner)))
    return found


def front(task: str, seeds: range, trials: int, rule: str, curves: Path | None, *, same: bool) -> None:
    gains, speeds, lost, members = [], [], [], []
    for seed in seeds:
        learners, half = Learners(task, seed, curves), trials * EPOCHS // 2
        recorded, plain = measured(learners), {**sweep(task, "random", seed + 1000, trials), "metrics": goals(task)}
        full = Study.create(plain)
        without = path(full, simulate(full, recorded, ONE, steps=EPOCHS))
        stops = {**plain, "early_stop": {"rule": rule}}
        longer = Study.create({**stops, "budget": {"trials": trials if same else 100 * trials}})
        last = [v for epochs, v in path(longer, simulate(longer, recorded, ONE, steps=EPOCHS, limit=half))][-1]
        before = max((v for epochs, v in without if epochs <= half), default=0.0)
        took = next((epochs for epochs, v in without if v >= last), math.inf)
        again = Study.create(stops)
        spent = simulate(again, recorded, ONE, steps=EPOCHS).steps
        best = {record.trial for record in full.pareto()}
        gone = {trial for trial in best if again.read(trial).state == "pruned"}
        gains, speeds = [*gains, last / before if before else math.inf], [*speeds, took / half]
        lost, members = [*lost, len(gone)], [*members, len(best)]
        print(
            f"seed {seed}: hypervolume at half {before:.3f}, with {rule} {last:.3f} ({gains[-1]:.3f} times): "
            f"{took / half:.2f} times the epochs without; full run {without[-1][1]:.3f}; the same {trials} trials "
            f"took {spent} of {trials * EPOCHS} epochs and lost {len(gone)} of {len(best)} members of the front",
            flush=True,
        )
        learners.keep()
    print(f"median hypervolume {np.median(gains):.3f} times, median epochs without {np.median(speeds):.2f} times (at")
    print(f"least 1.5 in {sum(speed >= 1.5 for speed in speeds)} of {len(speeds)} seeds; inf: more than the full run);")
    print(f"lost {sum(lost)} of {sum(members)} members, some in {sum(map(bool, lost))} of {len(lost)} seeds")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("race", "audit", "front"))
    parser.add_argument("task", choices=tuple(PARAMETERS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--methods", default="random+asha,asha,hyperband,bohb")
    parser.add_argument("--rule", default="neighbours", help="of front")
    parser.add_argument("--same", action="store_true", help="front: with the rule no more trials than without")
    parser.add_argument("--curves", type=Path, help="a folder to keep learning curves in")
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.seeds)
    if given.what == "race":
        race(given.task, seeds, given.trials, given.methods.split(","), given.curves)
    elif given.what == "front":
        front(given.task, seeds, given.trials, given.rule, given.curves, same=given.same)
    else:
        audit(given.task, seeds, given.trials, given.curves)


if __name__ == "__main__":
    main()
