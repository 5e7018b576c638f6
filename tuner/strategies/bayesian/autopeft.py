"""autopeft: the procedure of AutoPEFT (Zhou et al. 2024): random trials, then sparse models of the objectives.

Half of the trials, at most 100, are random; after them come those of `saas`, which improve the hypervolume in
expectation (noisy, in its log form) by local search. It differs from the publication in what `saas` does: shrinkages
instead of Monte Carlo over them, metrics that follow from the configuration not modelled, and robust scales instead of
normal scores. The published batches of four are `runner: {batch: 4}`, or `parallel: 4`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.strategies import random
from tuner.strategies.bayesian import saas

if TYPE_CHECKING:
    import numpy as np

    from tuner.history import History
    from tuner.problem import Problem
    from tuner.strategies.protocol import Strategy
    from tuner.trial import Proposal

_START = 100


@dataclass(frozen=True, slots=True)
class Options:
    """What `autopeft` can be told.

    Attributes:
        start: Random trials before the first model; half of the trial budget, at most 100, when None.
        members: Models of each outcome, as for `saas`.
    """

    start: int | None = None
    members: int = 4

    def __post_init__(self) -> None:
        if self.start is not None and self.start < 1:
            raise ValueError(f"start must be >= 1, but got {self.start}; leave it out for half of the budget")


class AutoPeft:
    """See the module."""

    def __init__(self, start: int, uniform: Strategy, modelled: Strategy) -> None:
        self._start = start
        self._uniform = uniform
        self._modelled = modelled

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Return `n` proposals, all random while the start lasts."""
        if history.next_trial < self._start:
            return [_said(one, f"one of {self._start} random") for one in self._uniform.suggest(history, n, rng)]
        return self._modelled.suggest(history, n, rng)


def _said(proposal: Proposal, reason: str) -> Proposal:
    return dataclasses.replace(proposal, provenance=dataclasses.replace(proposal.provenance, reason=reason))


def build(problem: Problem, options: Options) -> AutoPeft:
    """Return the strategy; it works on every problem."""
    budget = problem.budget.trials if problem.budget is not None else None
    start = options.start if options.start is not None else min(_START, max(1, (budget or 2 * _START) // 2))
    modelled = saas.build(problem, saas.Options(initial=1, members=options.members))
    return AutoPeft(start, random.build(problem, random.Options()), modelled)
