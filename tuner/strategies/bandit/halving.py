"""halving: many configurations with little, the best 1/eta of them with eta times as much, and so on.

Karnin, Koren and Somekh 2013, "Almost Optimal Exploration in Multi-Armed Bandits" (sequential halving, eta = 2: the
best arm of a fixed budget); Jamieson and Talwalkar 2016 for hyperparameters. With the fidelity a number of repeats or
of instances it is a race: every rung measures what is left on more of them. For how brackets follow one another, see
`brackets`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.strategies.bandit.brackets import Bracket, BracketSearch
from tuner.strategies.bandit.rungs import checked_ladder

if TYPE_CHECKING:
    from tuner.problem import Problem


@dataclass(frozen=True, slots=True)
class Options:
    """What `halving` can be told.

    Attributes:
        eta: Of the trials on a rung 1/eta go on, to `eta` times the fidelity.
        configurations: That start in a bracket; as many as leave one at the end when None.
    """

    eta: int = 3
    configurations: int | None = None

    def __post_init__(self) -> None:
        if self.eta < 2:
            raise ValueError(f"eta must be at least 2, but got {self.eta}")
        if self.configurations is not None and self.configurations < 1:
            raise ValueError(f"configurations must be at least 1, but got {self.configurations}")


def build(problem: Problem, options: Options) -> BracketSearch:
    """Return the strategy.

    Raises:
        UsageError: See `rungs.checked_ladder`.
    """
    levels = checked_ladder(problem, "halving", options.eta)
    rungs = len(levels.values)
    n = options.configurations or options.eta ** (rungs - 1)
    sizes = tuple(max(n // options.eta**i, 1) for i in range(rungs))
    return BracketSearch("halving", levels, [Bracket(0, sizes)])
