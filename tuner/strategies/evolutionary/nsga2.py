"""nsga2: the genetic algorithm NSGA-II (Deb et al. 2002), by Optuna: for many cheap trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from tuner.optuna import OptunaStrategy
    from tuner.problem import Problem


@dataclass(frozen=True, slots=True)
class Options:
    """What `nsga2` can be told.

    Attributes:
        population: Trials a generation.
        crossover: Chance that a child has two parents.
        mutation: Chance that a column changes; one column a child on average when None.
    """

    population: int = 50
    crossover: float = 0.9
    mutation: float | None = None


def build(problem: Problem, options: Options) -> OptunaStrategy:
    """Return the strategy; it works on every problem."""
    from optuna.samplers import NSGAIISampler

    from tuner.optuna import OptunaStrategy

    def sampler(seed: int) -> BaseSampler:
        return NSGAIISampler(
            population_size=options.population,
            crossover_prob=options.crossover,
            mutation_prob=options.mutation,
            seed=seed,
        )

    return OptunaStrategy(problem, "nsga2", sampler, replay=True)
