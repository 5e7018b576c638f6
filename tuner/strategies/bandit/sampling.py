"""Sampling: where the configurations come from that enter the lowest rung of a bracket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tuner.fidelity import Levels
from tuner.strategies.bandit.rungs import placed
from tuner.strategies.fresh import Fresh
from tuner.trial import Config, Proposal, Provenance

if TYPE_CHECKING:
    import numpy as np

    from tuner.history import History

Sampler = Callable[["History", int, "np.random.Generator"], Sequence[tuple[Config, Provenance]]]
"""History, how many, rng -> configurations of the space, with what is known of each; they need not be new."""

_SPARE = 4


def newcomers(
    history: History,
    levels: Levels,
    starts: Sequence[float],
    rng: np.random.Generator,
    *,
    engine: str,
    sampler: Sampler | None = None,
) -> list[Proposal]:
    """New configurations, one for each of the fidelities `starts`; fewer when the space is exhausted.

    Args:
        history: What was tried.
        levels: Of the fidelity.
        starts: What each gets.
        rng: For the draws.
        engine: Who proposes.
        sampler: Where they come from; uniform draws when None, and where it has nothing new.
    """
    fresh = Fresh(history, len(starts))
    found: list[Proposal] = []
    if sampler is not None and starts:
        for config, provenance in sampler(history, len(starts), rng):
            if len(found) < len(starts):
                _take(found, history, levels, fresh, config, starts[len(found)], provenance)
    uniform = Provenance(engine=engine, reason="drawn from the space")
    for _ in range(_SPARE):
        if len(found) == len(starts) or fresh.exhausted:
            break
        for config in Fresh(history, len(starts) - len(found)).draw(rng):
            _take(found, history, levels, fresh, config, starts[len(found)], uniform)
    if len(found) < len(starts) and not levels.column:
        for config in fresh.draw(rng):
            found.append(Proposal(config=config, fidelity=starts[len(found)], provenance=uniform))
    return found


def _take(
    found: list[Proposal],
    history: History,
    levels: Levels,
    fresh: Fresh,
    config: Config,
    start: float,
    provenance: Provenance,
) -> None:
    own = placed(history, levels, config, start)
    if own is not None and fresh.take(own):
        found.append(Proposal(config=own, fidelity=start, provenance=provenance))
