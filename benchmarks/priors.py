"""What a prior or an earlier study is worth, and what a wrong one costs: problems of the bench with a known optimum.

    python benchmarks/priors.py 5 --problems hartmann6,tree --kinds cold,right,wrong

Each line: what the search was told, and the median regret over so many seeds after 10, 20, 30 and 40 trials, with that
of each seed after the last. Priors are of every parameter that the optimum has:

    right      a tenth of the range off the optimum in every column, and its value of an unordered choice
    off        two tenths off
    vague      as right, of low confidence instead of medium
    wrong      on the opposite side of the range, or at an end from the middle, and another value of an unordered choice
    far        at the end of the range that is further from the optimum, and another value of an unordered choice
    earlier    no prior, but a warm start from a study of 30 random trials of the same function
    contrary   the same of its mirror image: what was good there is bad here
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import tuner
from tuner.bench.problem import BenchProblem
from tuner.bench.suite import suite
from tuner.parameters import Parameter

MARKS = (10, 20, 30, 40)
OFF = {"right": 0.1, "vague": 0.1, "off": 0.2}
WRONG = ("wrong", "far")
KINDS = ("cold", *OFF, *WRONG, "earlier", "contrary")
EARLIER = 30


def levels(parameter: Parameter) -> list[Any] | None:
    """The values of an unordered choice; None of any other parameter."""
    names = [column.kind for column in parameter.columns()]
    return [parameter.decode([u]) for u in parameter.columns()[0].grid or ()] if "categorical" in names else None


def moved(parameter: Parameter, value: Any, kind: str, rng: np.random.Generator) -> Any:
    """Where a prior of that kind is of a parameter whose best value is `value`."""
    own = levels(parameter)
    if own is not None:
        return own[(own.index(value) + 1) % len(own)] if kind in WRONG else value
    u = np.array(parameter.encode(value))
    if kind in WRONG:
        mirror = (np.abs(u - 0.5) > 0.1) & (kind == "wrong")
        return parameter.decode(list(np.where(mirror, 1.0 - u, np.where(u < 0.5, 1.0, 0.0))))
    return parameter.decode(list(np.clip(u + OFF[kind] * rng.choice([-1.0, 1.0], len(u)), 0.0, 1.0)))


def mirrored(problem: BenchProblem) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A configuration of the same space with every number on the other side and every choice the next value."""

    def other(config: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for name in problem.space.names:
            parameter = problem.space[name]
            own, value = levels(parameter), config.get(name, parameter.centre())
            if own is not None:
                found[name] = own[(own.index(value) + 1) % len(own)]
            else:
                found[name] = parameter.decode([1.0 - u for u in parameter.encode(value)])
        return found

    return other


def sweep(problem: BenchProblem, kind: str, seed: int) -> dict[str, Any]:
    """What is searched, and what is told of it."""
    rng = np.random.default_rng(seed)
    declared = problem.space.to_dict()
    for name, value in problem.optima[0].items() if kind in OFF or kind in WRONG else ():
        at = moved(problem.space[name], value, kind, rng)
        declared["parameters"][name] |= {"prior": {"at": at, "confidence": "low" if kind == "vague" else "medium"}}
    goals = {goal.name: {"goal": goal.goal} for goal in problem.goals}
    return {"name": "prior", **declared, "metrics": goals, "search": "auto", "seed": seed}


def regrets(problem: BenchProblem, kind: str, seed: int) -> list[float]:
    """After so many trials."""
    goal, told = problem.goals[0], {**sweep(problem, kind, seed), "budget": {"trials": MARKS[-1]}}
    with tempfile.TemporaryDirectory() as folder:
        if kind in ("earlier", "contrary"):
            view = mirrored(problem) if kind == "contrary" else dict
            before = {**sweep(problem, "cold", seed + 1000), "search": "random"}
            with tuner.Study.create(before, Path(folder) / "before") as earlier:
                for proposal in earlier.ask(EARLIER):
                    earlier.tell(proposal.trial, dict(problem.evaluate(view(proposal.config))))
            told["warm_start"] = [str(Path(folder) / "before")]
        study = tuner.Study.create(told)
        values = []
        for _ in range(MARKS[-1]):
            proposal = study.ask()
            metrics = dict(problem.evaluate(proposal.config))
            values.append(goal.sign * metrics[goal.name])
            study.tell(proposal.trial, metrics)
    return [problem.best_merit - max(values[:mark]) for mark in MARKS]


def main(texts: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What priors are worth.")
    parser.add_argument("seeds", nargs="?", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--problems", default="hartmann6,training-a,tree")
    parser.add_argument("--kinds", default=",".join(KINDS))
    given = parser.parse_args(texts)
    for name in given.problems.split(","):
        for kind in given.kinds.split(","):
            seeds = range(given.first, given.first + given.seeds)
            runs = np.array([regrets(suite()[name], kind, seed) for seed in seeds])
            each = " ".join(f"{value:.4f}" for value in runs[:, -1])
            print(f"{name:20} {kind:9}", *(f"{v:.4f}" for v in np.median(runs, axis=0)), f"({each})", flush=True)


if __name__ == "__main__":
    main()
