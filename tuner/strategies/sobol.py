"""sobol: a scrambled Sobol sequence over the unit cube, trial number by trial number.

Trial t gets the t-th point of the sequence that honours the restrictions, so an interrupted study continues exactly
where it stopped. Conditions need no care: every column is drawn, and those of inactive parameters are ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuner.strategies.fresh import Fresh
from tuner.trial import Config, Proposal, Provenance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tuner.history import History
    from tuner.problem import Problem
    from tuner.space import SearchSpace

_MAX_COLUMNS = 21_201
_STARVED = 1_000
_SEED_STREAM = 0x50B0


class SobolSequence:
    """The feasible points of one scrambled sequence, by index.

    A gap of more than 1,000 infeasible points in a row counts as one index without a point.

    Args:
        space: Where they lie.
        seed: Of the scrambling.
        widths: What part of each column they cover, in its middle; all of it when None.
    """

    def __init__(self, space: SearchSpace, seed: int, *, widths: NDArray[np.float64] | None = None) -> None:
        self._space = space
        self._widths = 1.0 if widths is None else widths
        self._seed = seed
        self._dim = space.encoding.dim
        self._skips = bool(space.restrictions)
        self._engine: Any = None
        self._index = 0

    def config(self, index: int) -> Config | None:
        """The point of an index; None when there is none within reach."""
        if not 0 < self._dim <= _MAX_COLUMNS:
            return None
        if self._engine is None or index < self._index:
            self._restart()
        if not self._skips:
            self._engine.fast_forward(index - self._index)
            self._index = index
        while self._index < index:
            self._next()
        return self._next()

    def _restart(self) -> None:
        from torch.quasirandom import SobolEngine

        self._engine = SobolEngine(self._dim, scramble=True, seed=self._seed)  # type: ignore[no-untyped-call]
        self._index = 0

    def _next(self) -> Config | None:
        import torch

        self._index += 1
        for _ in range(_STARVED if self._skips else 1):
            point = self._engine.draw(1, dtype=torch.float64)[0].numpy()
            config = self._space.encoding.decode(0.5 + self._widths * (point - 0.5))
            if not self._skips or self._space.feasible(config):
                return config
        return None


class SobolSearch:
    """Low-discrepancy search: as simple as random draws, but without their gaps and clusters."""

    def __init__(self, problem: Problem) -> None:
        import numpy as np

        state = np.random.SeedSequence([problem.seed, _SEED_STREAM]).generate_state(1)
        self._sequence = SobolSequence(problem.space, int(state[0]) & 0x7FFFFFFF)

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Return the points of the next `n` trial numbers; draws where a point is taken or out of reach."""
        fresh = Fresh(history, n)
        proposals = []
        for i in range(n):
            config = None if fresh.exhausted else self._sequence.config(history.next_trial + i)
            if config is not None and fresh.take(config):
                proposals.append(Proposal(config=config, provenance=Provenance(engine="sobol")))
        reason = "the sequence repeats itself or leaves the restrictions here; drawn from the space"
        for config in fresh.draw(rng):
            proposals.append(Proposal(config=config, provenance=Provenance(engine="random", reason=reason)))
        return proposals


def build(problem: Problem) -> SobolSearch:
    """Return the strategy; it works on every problem."""
    return SobolSearch(problem)
