"""Online bandits as strategies: trial by trial, a function of the history.

Trial t solves instance t of the objective's stream. It is chosen knowing the trials up to t - p, where p trials run
side by side, and no others, so that the probability with which it was drawn follows from the history: replaying gives
it again, after a restart too. Results that came later than that are learned from when their turn comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner.errors import UsageError
from tuner.history import COMPLETED, FAILED
from tuner.strategies.bandit.arms import arms_of
from tuner.strategies.bandit.conservative import Conservative
from tuner.strategies.bandit.contextual import Contextual, contextual
from tuner.strategies.bandit.decisions import Arms, Array, Block, Policy
from tuner.trial import Proposal, Provenance

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.problem import Problem

_LOOK = 256
_LONGEST = 1_000_000
_ROOM = 0.05
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Setting:
    """What a policy is made for.

    Attributes:
        places: The arms in the unit cube, (d, columns).
        bounds: Least and largest contexts, (k, 2).
        seed: The study's.
    """

    places: Array
    bounds: Array
    seed: int


Make = Callable[[Setting], Policy]


class Online:
    """See the module.

    Attributes:
        repeats: Configurations are proposed again and again, on purpose.
        arms: What is chosen from.
        policy: What chooses, before the first decision.
        block: Instances a block at most, for a stream that is solved in blocks.
    """

    repeats = True

    def __init__(
        self,
        problem: Problem,
        name: str,
        make: Make,
        *,
        arms: int,
        conservative: float | None,
        needs_context: bool = False,
        block: int = 1,
    ) -> None:
        _check(problem, name, arms, conservative, needs_context=needs_context)
        self.arms = arms_of(problem.space, arms, problem.seed, baseline=problem.baseline)
        self._name, self._problem = name, problem
        self._places = problem.space.encoding.encode_many(self.arms)[0]
        self._delay = max(1, problem.parallel)
        self._known: list[tuple[float, ...]] = []
        setting = Setting(self._places, self._bounds(), problem.seed)
        self.policy = make(setting)
        self.block = block
        if not 1 <= block <= _LONGEST:
            raise ValueError(f"block must be a whole number from 1 to {_LONGEST:,}, but got {block!r}")
        if conservative is not None:
            assert problem.baseline is not None  # checked
            safe = [problem.space.key(config) for config in self.arms].index(problem.space.key(problem.baseline))
            model = contextual(setting.places, setting.bounds, seed=problem.seed)
            self.policy = Conservative(self.policy, model, safe, conservative)
        self._restart()

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Return the arms of the next `n` instances."""
        numbers = history.number
        arms, losses = self._arms_played(history.X), self._losses(history)
        known = int(np.searchsorted(numbers, self._upto, side="right"))
        if not np.array_equal(self._learned_rows, _rows(numbers[:known], arms, losses)):
            self._restart()  # another history, or a result that came late
        proposals = []
        for number in range(history.next_trial, history.next_trial + n):
            self._learn(numbers, arms, losses, upto=number - self._delay)
            context = self.contexts(number, number + 1)
            block = self._policies[-1].choose(context, np.array([number]))
            proposals.append(self._proposal(block, context))
        return proposals

    def _proposal(self, block: Block, context: Array) -> Proposal:
        arm, policy, reason = int(block.arms[0]), self._policies[-1], ""
        if block.wanted is not None and block.wanted.arms[0] != arm:
            reason = "safe: what was wanted could cost more than the margin allows"
        model = policy.model if isinstance(policy, Conservative) else policy
        mean: dict[str, float] = {}
        if isinstance(model, Contextual) and model.unit:
            metric = self._problem.objectives[0]
            mean = {metric.name: -metric.sign * float(model.predict(context)[0, arm])}
        drawn = float(block.chances[0])
        provenance = Provenance(engine=self._name, acquisition=drawn if drawn < 1.0 else None, mean=mean, reason=reason)
        return Proposal(config=dict(self.arms[arm]), provenance=provenance, again=True)

    def _restart(self) -> None:
        self._policies: deque[Policy] = deque([self.policy], maxlen=self._delay)
        self._upto = -1  # the newest policy knows every finished trial up to here
        self._learned_rows = np.empty((0, 3))

    def _learn(self, numbers: NDArray[np.int64], arms: Arms, losses: Array, *, upto: int) -> None:
        """Move on to the policy that knows the trials up to a number; the last ones tell how each was chosen."""
        rows = dict(zip(numbers.tolist(), range(len(numbers)), strict=True))
        while self._upto < upto:
            self._upto += 1
            row = rows.get(self._upto)
            newest = self._policies[-1]
            if row is not None and arms[row] >= 0 and np.isfinite(losses[row]):
                newest = self._told(newest, self._policies[0], self._upto, int(arms[row]), float(losses[row]))
            self._policies.append(newest)
        known = int(np.searchsorted(numbers, self._upto, side="right"))
        self._learned_rows = _rows(numbers[:known], arms, losses)

    def _told(self, newest: Policy, then: Policy, number: int, arm: int, loss: float) -> Policy:
        """The newest policy, told of a trial that `then` chose."""
        context, arms = self.contexts(number, number + 1), np.array([arm])
        chosen = then.choose(context, np.array([number]))
        if chosen.arms[0] != arm:  # enqueued, say
            chosen = Block(arms, then.chances(context, arms))
        return newest.learned(context, chosen, np.array([loss]))

    def _arms_played(self, X: Array) -> Arms:
        """The arm of each trial, -1 where it was none, (n,)."""
        if not len(X):
            return np.empty(0, dtype=np.int64)
        distance = np.abs(X[:, None, :] - self._places[None]).max(axis=2)
        nearest = distance.argmin(axis=1)
        return np.where(distance[np.arange(len(X)), nearest] < _SAME, nearest, -1)

    def _losses(self, history: History) -> Array:
        """What each trial lost, (n,): a failed one as much as the worst before it, NaN where nothing can be said."""
        losses = np.where(history.state == COMPLETED, -history.Y[:, 0], np.nan)
        if (history.state == FAILED).any():
            worst = np.fmax.accumulate(losses)
            losses = np.where(history.state == FAILED, worst, losses)
        return losses

    def contexts(self, start: int, end: int) -> Array:
        """Return the contexts of the instances from `start` to `end`, (b, k)."""
        context = self._problem.context
        if context is None:
            return np.empty((end - start, 0))
        self._known.extend(context(number) for number in range(len(self._known), end))
        return np.array(self._known[start:end], dtype=np.float64)

    def _bounds(self) -> Array:
        """The declared range of the contexts, or that of the first ones and a little more."""
        problem = self._problem
        if problem.context is None:
            return np.empty((0, 2))
        if problem.context_bounds is not None:
            return np.array(problem.context_bounds, dtype=np.float64)
        first = self.contexts(0, _LOOK)
        low, high = first.min(axis=0), first.max(axis=0)
        room = _ROOM * np.maximum(high - low, 1e-12)
        return np.stack([low - room, high + room], axis=1)


def _rows(numbers: NDArray[np.int64], arms: Arms, losses: Array) -> Array:
    """What was learned from, (n, 3); NaN as a number, so that rows can be compared."""
    n = len(numbers)
    return np.stack([numbers, arms[:n], np.nan_to_num(losses[:n], nan=np.inf)], axis=1).astype(np.float64)


def _check(problem: Problem, name: str, arms: int, conservative: float | None, *, needs_context: bool) -> None:
    if len(problem.objectives) != 1 or problem.constraints:
        raise UsageError(
            f"search: {name!r} learns from one metric with a goal and takes no outcome constraints, but there are "
            f"{len(problem.objectives)} and {len(problem.constraints)}; use search: auto"
        )
    if arms < 2:
        raise ValueError(f"arms must be >= 2, but got {arms}")
    if needs_context and problem.context is None:
        raise UsageError(
            f"search: {name!r} chooses by a context, but the objective has no context(number); give it one, or use "
            "tsallis-inf"
        )
    if conservative is not None and conservative <= 0:
        raise ValueError(f"conservative must be > 0, the share that may be lost, but got {conservative!r}")
    if conservative is not None and problem.baseline is None:
        raise UsageError(f"search: {name!r} with `conservative` needs a baseline to stay near; declare `baseline:`")
