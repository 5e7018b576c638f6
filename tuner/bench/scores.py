"""Scores: 0 where random search's median run ends with that many trials, 1 at the best known value.

Linear in between, -1 at worst. A best value that was beaten gives more than 1. Ranks are within a problem, over each
method's mean score there, the best is 1, ties share. Intervals are 95% percentile bootstraps over problems and, within
each, over seeds (Efron and Tibshirani 1993, section 8.3).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.bench.cache import Evaluations
from tuner.bench.problem import BenchProblem
from tuner.bench.record import Record

BASELINE_SEEDS = 25
COSTLY_SEEDS = 9
_WORST = -1.0
_RESAMPLES = 1000

Scores = Mapping[tuple[str, str], Sequence[float]]
"""(problem, method) -> the score of each seed."""


def normalised(merit: float, baseline: float, best: float) -> float:
    """The score of a merit."""
    if best - baseline <= 1e-12 * max(1.0, abs(best)):
        return 1.0 if merit >= baseline - 1e-9 * max(1.0, abs(baseline)) else _WORST
    return max(_WORST, (merit - baseline) / (best - baseline))


class Baselines:
    """Random search's median merit by problem and number of trials, kept in the results folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "baselines.json"
        text = self._file.read_text(encoding="utf-8") if self._file.exists() else ""
        self._known: dict[str, float] = json.loads(text) if text.strip() else {}

    def merit(self, problem: BenchProblem, trials: int) -> float:
        """The median over `BASELINE_SEEDS` runs of uniform sampling, fewer for costly problems."""
        seeds = COSTLY_SEEDS if problem.costly else BASELINE_SEEDS
        key = f"{problem.name}/{problem.space.digest()[:8]}/{trials}/{seeds}"
        if key not in self._known:
            self._known[key] = random_median(problem, trials, seeds, self._folder / "evaluations")
            fresh = self._file.with_suffix(".new")
            fresh.write_text(json.dumps(self._known, indent=0, sort_keys=True), encoding="utf-8")
            fresh.replace(self._file)
        return self._known[key]


def random_median(problem: BenchProblem, trials: int, seeds: int, cache: Path | None = None) -> float:
    """The median merit of `seeds` runs of uniform sampling, with seeds that no run of a method has."""
    evaluations = Evaluations(problem, cache)
    merits = []
    for seed in range(seeds):
        record = Record(problem, evaluations, 1_000_000 + seed)
        for config in problem.space.sample(trials, np.random.default_rng([20260, seed])):
            record.run(config)
        merits.append(record.merit(trials))
    return float(np.median(merits))


def scores(
    lines: Sequence[Mapping[str, Any]], problems: Mapping[str, BenchProblem], baselines: Baselines, at: int
) -> dict[tuple[str, str], list[float]]:
    """The scores after `at` trials of the runs that got there."""
    found: dict[tuple[str, str], list[float]] = {}
    for line in sorted(lines, key=lambda line: line["seed"]):
        problem, merit = problems.get(line["problem"]), line["at"].get(str(at))
        if problem is not None and merit is not None:
            score = normalised(merit, baselines.merit(problem, at), problem.best_merit)
            found.setdefault((problem.name, line["method"]), []).append(score)
    return found


@dataclass(frozen=True, slots=True)
class Summary:
    """One method on one class.

    Attributes:
        mean: Mean over problems of the mean score over seeds.
        interval: Its interval.
        problems: How many problems it finished at least one seed of.
    """

    mean: float
    interval: tuple[float, float]
    problems: int


def summary(found: Scores, method: str, names: Sequence[str]) -> Summary | None:
    """Mean and interval over these problems; None when the method finished none."""
    groups = [np.asarray(found[name, method]) for name in names if (name, method) in found]
    if not groups:
        return None
    mean = float(np.mean([group.mean() for group in groups]))
    draws = _resampled(groups, np.random.default_rng(0))
    low, high = np.percentile(draws, [2.5, 97.5])
    return Summary(mean, (float(low), float(high)), len(groups))


def _resampled(groups: Sequence[NDArray[np.float64]], rng: np.random.Generator) -> NDArray[np.float64]:
    """Means of bootstrap draws, shape (_RESAMPLES,): problems, then seeds within each."""
    own = np.stack([g[rng.integers(len(g), size=(_RESAMPLES, len(g)))].mean(axis=1) for g in groups])
    chosen = rng.integers(len(groups), size=(_RESAMPLES, len(groups)))
    return np.asarray(own[chosen, np.arange(_RESAMPLES)[:, None]].mean(axis=1))


def ranks(found: Scores, methods: Sequence[str], names: Sequence[str]) -> dict[str, Summary]:
    """Mean rank of each method over the problems that all of them finished, with intervals over these."""
    shared = [name for name in names if all((name, method) in found for method in methods)]
    if not shared:
        return {}
    means = np.array([[np.mean(found[name, method]) for method in methods] for name in shared])
    above = (means[:, None, :] > means[:, :, None] + 1e-9).sum(axis=2)
    equal = (np.abs(means[:, None, :] - means[:, :, None]) <= 1e-9).sum(axis=2)
    rank = 1 + above + (equal - 1) / 2
    rng = np.random.default_rng(0)
    draws = rank[rng.integers(len(shared), size=(_RESAMPLES, len(shared)))].mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    return {
        m: Summary(float(rank[:, j].mean()), (float(low[j]), float(high[j])), len(shared))
        for j, m in enumerate(methods)
    }
