"""tpe: the tree-structured Parzen estimator (Bergstra et al. 2011; Watanabe 2023), by Optuna."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from tuner.optuna import OptunaStrategy
    from tuner.problem import Problem


@dataclass(frozen=True, slots=True)
class Options:
    """What `tpe` can be told.

    Attributes:
        n_startup_trials: Random trials before the first model.
        n_ei_candidates: Draws from the better half, of which the best is proposed.
        multivariate: Model the columns jointly; conditional ones in groups that occur together.
    """

    n_startup_trials: int = 10
    n_ei_candidates: int = 24
    multivariate: bool = True


def build(problem: Problem, options: Options) -> OptunaStrategy:
    """Return the strategy; it works on every problem."""
    from optuna.samplers import TPESampler

    from tuner.optuna import OptunaStrategy

    conditional = any(parameter.when is not None for parameter in problem.space.parameters)

    def sampler(seed: int) -> BaseSampler:
        return TPESampler(
            n_startup_trials=options.n_startup_trials,
            n_ei_candidates=options.n_ei_candidates,
            multivariate=options.multivariate,
            group=conditional and options.multivariate,
            seed=seed,
        )

    return OptunaStrategy(problem, "tpe", sampler)
