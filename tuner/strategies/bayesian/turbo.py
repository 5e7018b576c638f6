"""turbo: Bayesian optimisation within a trust region, for 20 to 200 columns and many trials.

Candidates lie in a box around the best trial, whose sides are in proportion to the lengthscales; the box grows with
success and shrinks with failure, and what has become too small starts over elsewhere (Eriksson et al. 2019). Of
constraints, feasibility comes first (Eriksson and Poloczek 2021). With several objectives the centre is drawn among the
front, by the room that its members have, and a new start forgets nothing (compare Daulton et al. 2022, MORBO, which has
several regions at once). Models and acquisition functions are those of `gp`. The region's state is replayed from the
trials, so that a resumed study goes on as an undisturbed one.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuner.history import History
from tuner.strategies.bayesian import gp
from tuner.strategies.bayesian.local import Local
from tuner.strategies.bayesian.trust import Rules, replay
from tuner.trial import Proposal

if TYPE_CHECKING:
    from tuner.problem import Problem


@dataclass(frozen=True, slots=True)
class Options:
    """What `turbo` can be told.

    Attributes:
        initial: Trials before the first model of each start; as for `gp` when None.
        length_initial: Length of the region, in units of the cube, at a start.
        length_min: Below it, the search starts over.
        length_max: The region does not grow beyond.
        success_tolerance: Successes in a row after which it doubles.
        failure_tolerance: Failures in a row after which it halves; the columns, at least 4, when None.
        fit_steps: Steps of L-BFGS-B for the hyperparameters.
        restarts: Local searches of the acquisition function.
        raw_samples: Draws from the region that they start from.
        mc_samples: Samples of the objectives' noise-free values at the trials.
        maxiter: Steps of each gradient search.
        max_rows: Most trials a model is conditioned on: of the current start, the best half and the latest.
    """

    initial: int | None = None
    length_initial: float = 0.8
    length_min: float = 2.0**-7
    length_max: float = 1.6
    success_tolerance: int = 3
    failure_tolerance: int | None = None
    fit_steps: int = 60
    restarts: int = 4
    raw_samples: int = 512
    mc_samples: int = 32
    maxiter: int = 40
    max_rows: int = 500

    def __post_init__(self) -> None:
        if not 0.0 < self.length_min <= self.length_initial <= self.length_max:
            raise ValueError(
                "0 < length_min <= length_initial <= length_max must hold, but got "
                f"{self.length_min}, {self.length_initial}, {self.length_max}"
            )
        for name in ("success_tolerance", "failure_tolerance"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be >= 1, but got {value}")


class Turbo:
    """See the module."""

    def __init__(self, problem: Problem, options: Options) -> None:
        shared = gp.shared(options)
        self._rules = Rules(
            initial=gp.initial_trials(problem, shared),
            first=options.length_initial,
            least=options.length_min,
            most=options.length_max,
            successes=options.success_tolerance,
            failures=options.failure_tolerance or max(4, problem.space.encoding.dim),
            forgets=len(problem.objectives) == 1,
        )
        self._search = gp.GpSearch(
            problem, shared, proposer=lambda: Local(problem, gp.engine(problem, shared, name="turbo"), self._rules)
        )

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Return `n` proposals that are good to try together; fewer when the space is exhausted."""
        trust = replay(history, self._rules)
        proposals = self._search.suggest(history.since(trust.start), n, rng)
        return [_after(proposal, trust.restarts) for proposal in proposals] if trust.restarts else proposals


def _after(proposal: Proposal, restarts: int) -> Proposal:
    reason = f"{proposal.provenance.reason}; restart {restarts}"
    return dataclasses.replace(proposal, provenance=dataclasses.replace(proposal.provenance, reason=reason))


def build(problem: Problem, options: Options) -> Turbo:
    """Return the strategy; it works on every problem."""
    return Turbo(problem, options)
