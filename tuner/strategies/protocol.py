"""What every strategy is: a pure function of the history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from tuner.history import History
    from tuner.trial import Proposal


class Strategy(Protocol):
    """Proposes configurations. May cache, but a fresh instance given the same history and seed proposes the same."""

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Return `n` proposals, fewer only when the space is exhausted.

        Args:
            history: Everything known so far; never changed.
            n: How many, >= 1; they will run side by side.
            rng: Derived from (study seed, `history.next_trial`), never from call order.
        """
        ...
