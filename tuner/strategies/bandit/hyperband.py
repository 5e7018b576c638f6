"""hyperband: successive halving in brackets that trade the number of configurations for the least fidelity of each.

Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar 2018, "Hyperband: A Novel Bandit-Based Approach to Hyperparameter
Optimization", algorithm 1. Brackets overlap where slots would be idle; see `brackets`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.strategies.bandit.brackets import BracketSearch, hyperband_plan
from tuner.strategies.bandit.rungs import checked_ladder

if TYPE_CHECKING:
    from tuner.problem import Problem


@dataclass(frozen=True, slots=True)
class Options:
    """What `hyperband` can be told.

    Attributes:
        eta: Of the trials on a rung 1/eta go on, to `eta` times the fidelity.
    """

    eta: int = 3

    def __post_init__(self) -> None:
        if self.eta < 2:
            raise ValueError(f"eta must be at least 2, but got {self.eta}")


def build(problem: Problem, options: Options) -> BracketSearch:
    """Return the strategy.

    Raises:
        UsageError: See `rungs.checked_ladder`.
    """
    levels = checked_ladder(problem, "hyperband", options.eta)
    return BracketSearch("hyperband", levels, hyperband_plan(len(levels.values), options.eta))
