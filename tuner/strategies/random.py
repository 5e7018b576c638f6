"""random: independent draws from the space, uniform or from the declared priors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.strategies.fresh import Fresh
from tuner.trial import Proposal, Provenance

if TYPE_CHECKING:
    import numpy as np

    from tuner.history import History
    from tuner.problem import Problem


@dataclass(frozen=True, slots=True)
class Options:
    """What `random` can be told.

    Attributes:
        prior: Draw from the parameters' priors where they are declared, instead of uniformly.
    """

    prior: bool = False


class RandomSearch:
    """Bergstra and Bengio 2012: hard to beat when the budget is small and few parameters matter."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Return `n` draws; fewer when the space is exhausted."""
        configs = Fresh(history, n).draw(rng, prior=self._options.prior)
        return [Proposal(config=config, provenance=Provenance(engine="random")) for config in configs]


def build(problem: Problem, options: Options) -> RandomSearch:
    """Return the strategy; it works on every problem."""
    return RandomSearch(options)
