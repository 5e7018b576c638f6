"""cmaes: the covariance matrix adaptation evolution strategy (Hansen 2016), by Optuna.

It searches the continuous and integer columns that are always active; categorical and conditional ones are sampled
independently, by TPE. Outcome constraints count as a penalty that ranks every infeasible trial behind the feasible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.errors import UsageError

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from tuner.optuna import OptunaStrategy
    from tuner.problem import Problem


@dataclass(frozen=True, slots=True)
class Options:
    """What `cmaes` can be told.

    Attributes:
        sigma: Initial step, in units of the cube's edge; 1/6 when None.
        population: Trials a generation; 4 + 3 log(d) when None.
    """

    sigma: float | None = None
    population: int | None = None


def build(problem: Problem, options: Options) -> OptunaStrategy:
    """Return the strategy.

    Raises:
        UsageError: There is more than one objective.
    """
    if len(problem.objectives) > 1:
        names = ", ".join(metric.name for metric in problem.objectives)
        raise UsageError(f"cmaes takes exactly one objective, but got {names}; use gp, tpe, nsga2 or nsga3")
    from optuna.samplers import CmaEsSampler, TPESampler

    from tuner.optuna import OptunaStrategy

    def sampler(seed: int) -> BaseSampler:
        return CmaEsSampler(
            sigma0=options.sigma,
            popsize=options.population,
            independent_sampler=TPESampler(multivariate=False, seed=seed),
            warn_independent_sampling=False,
            seed=seed,
        )

    return OptunaStrategy(problem, "cmaes", sampler, replay=True, penalise=True)
