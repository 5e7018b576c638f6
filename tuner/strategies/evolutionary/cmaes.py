"""cmaes: the covariance matrix adaptation evolution strategy (Hansen 2016), by Optuna.

It searches the continuous and integer columns that are always active; categorical and conditional ones are sampled
independently, by TPE. Outcome constraints count as a penalty that ranks every infeasible trial behind the feasible.
It can go on from the best that others have found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuner import pareto
from tuner.errors import UsageError

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from tuner.history import History
    from tuner.optuna import OptunaStrategy
    from tuner.problem import Problem
    from tuner.trial import Proposal

Start = Mapping[str, float | int]
"""Where a search begins, by Optuna's names and values."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `cmaes` can be told.

    Attributes:
        sigma: Initial step, in units of the cube's edge; 1/6 when None.
        population: Trials a generation; 4 + 3 log(d) when None.
    """

    sigma: float | None = None
    population: int | None = None


class Onward:
    """CMA-ES from the best of the trials before it, as if these had been another study's.

    Args:
        problem: What is tuned.
        after: How many they are.
    """

    def __init__(self, problem: Problem, after: int) -> None:
        self._problem = problem
        self._after = after
        self._start: Start = {}
        self._search: OptunaStrategy | None = None

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Its proposals; at least `after` trials have finished."""
        start = _best(history.first(self._after))
        if self._search is None or start != self._start:
            self._start, self._search = start, _search(self._problem, Options(), start)
        return self._search.suggest(history.since(self._after), n, rng)


def _best(history: History) -> Start:
    """The best trial, by the violation of constraints and by the objective."""
    from tuner.optuna.mirror import Axis

    violation = -np.minimum(np.nan_to_num(history.C), 0.0).sum(axis=1)
    usable = history.feasible & ~np.isnan(history.Y).any(axis=1)
    row = int(np.argmin(pareto.ranks(history.Y, usable, violation)))
    axes = [Axis.of(column) for column in history.space.encoding.columns]
    return {axis.name: axis.value(x) for axis, x, there in zip(axes, history.X[row], history.active[row]) if there}


def _search(problem: Problem, options: Options, start: Start | None = None) -> OptunaStrategy:
    from optuna.samplers import CmaEsSampler, TPESampler

    from tuner.optuna import OptunaStrategy

    def sampler(seed: int) -> BaseSampler:
        return CmaEsSampler(
            x0=None if start is None else dict(start),
            sigma0=options.sigma,
            popsize=options.population,
            independent_sampler=TPESampler(multivariate=False, seed=seed),
            warn_independent_sampling=False,
            seed=seed,
        )

    return OptunaStrategy(problem, "cmaes", sampler, replay=True, penalise=True)


def build(problem: Problem, options: Options) -> OptunaStrategy:
    """Return the strategy.

    Raises:
        UsageError: There is more than one objective.
    """
    if len(problem.objectives) > 1:
        names = ", ".join(metric.name for metric in problem.objectives)
        raise UsageError(f"cmaes takes exactly one objective, but got {names}; use gp, tpe, nsga2 or nsga3")
    return _search(problem, options)
