"""Local: proposals by model within a trust region around the best trial, always or by turns with others.

What a model promises far away, in the corners above all, is mostly its ignorance, and of five columns or more there is
too much of it to be explored. Close to the best trial an improvement is small, but likely. So numeric columns of one
objective are searched by turns: everywhere, and in a region that grows with success and shrinks with failure (Eriksson
et al. 2019, TuRBO, has nothing but the region).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tuner import pareto
from tuner.strategies.bayesian.trust import Rules, replay

if TYPE_CHECKING:
    from torch import Tensor

    from tuner.gp.model import Surrogate
    from tuner.history import History
    from tuner.problem import Problem
    from tuner.strategies.bayesian.engine import Engine
    from tuner.strategies.bayesian.observations import Observations
    from tuner.strategies.bayesian.regions import Region
    from tuner.strategies.fresh import Fresh
    from tuner.trial import Proposal

_FIRST, _LEAST, _MOST = 0.4, 2.0**-7, 1.6
_SUCCESSES, _FAILURES = 2, 4


class Local:
    """Proposals by model within the region.

    Args:
        problem: What is searched.
        engine: Models, and finds the best candidates.
        rules: How the region changes.
    """

    def __init__(self, problem: Problem, engine: Engine, rules: Rules) -> None:
        self._problem = problem
        self._engine = engine
        self._rules = rules

    def propose(
        self, history: History, fresh: Fresh, n: int, rng: np.random.Generator, *, since: int
    ) -> list[Proposal]:
        """Up to `n` proposals; the history begins with the current start."""
        trust = replay(history, self._rules)

        def within(data: Observations, X: Tensor, surrogate: Surrogate, rng: np.random.Generator) -> Region:
            from tuner.strategies.bayesian.regions import region, stretches

            at = self._centre(data, X, surrogate, rng)
            stretch = stretches(surrogate, X[at : at + 1], data.X.shape[1])
            note = f"trust region of length {trust.length:.3g}"
            return region(self._problem.space, data.X[at], data.active[at], trust.length, stretch, note)

        return self._engine.propose(history, fresh, n, rng, since=since, within=within)

    def _centre(self, data: Observations, X: Tensor, surrogate: Surrogate, rng: np.random.Generator) -> int:
        """The row in the middle: the best, by its mean under noise; one of the front with several objectives."""
        usable = data.feasible & data.complete
        rank = pareto.ranks(data.objectives, usable, data.violation)
        front = np.flatnonzero(rank == 0)
        if not usable.any():
            return int(front[0])
        if data.n_objectives > 1:
            room = np.minimum(pareto.crowding(data.objectives[front]), 2.0)
            return int(rng.choice(front, p=(room + 1e-3) / (room + 1e-3).sum()))
        if data.noisy and 0 in surrogate.models:
            mean = surrogate.predict(X)[0][:, 0].cpu().numpy()
            return int(np.argmax(np.where(usable, mean, -math.inf)))
        return int(front[0])


class ByTurns:
    """Proposals by model, those of every second number of trials within a region.

    Args:
        problem: What is searched; all of its columns have an order, and there is one objective.
        engine: Models, and finds the best candidates.
        initial: Trials before the first model.
    """

    def __init__(self, problem: Problem, engine: Engine, initial: int) -> None:
        rules = Rules(
            initial=initial,
            first=_FIRST,
            least=_LEAST,
            most=_MOST,
            successes=_SUCCESSES,
            failures=_FAILURES,
            forgets=False,
        )
        self._everywhere = engine
        self._local = Local(problem, engine, rules)

    def propose(
        self, history: History, fresh: Fresh, n: int, rng: np.random.Generator, *, since: int
    ) -> list[Proposal]:
        """Up to `n` proposals."""
        proposer = self._local if history.n % 2 else self._everywhere
        return proposer.propose(history, fresh, n, rng, since=since)
