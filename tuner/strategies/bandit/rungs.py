"""Rungs: the trials of a study by how much of the fidelity they had, and who is best on each.

A rung holds the trials at one level of the fidelity. A configuration climbs by promotion: a new trial with the same
configuration at the next level, whose `origin` is the trial below and whose checkpoint it continues. Everything here is
read off the history: a trial's rung from its fidelity, what was promoted from the origins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner import pareto
from tuner.errors import SpaceError, UsageError
from tuner.fidelity import Levels, ladder, reached
from tuner.history import COMPLETED, History
from tuner.trial import Config, Proposal, Provenance

if TYPE_CHECKING:
    from tuner.problem import Problem

Ints = NDArray[np.int64]

_PENDING = -1
_CLOSE = 1e-6
"""Relative distance at which a fidelity is a level."""


@dataclass(frozen=True, slots=True, eq=False)
class Board:
    """Trials that were given a level, by number.

    Attributes:
        number: Their numbers, ascending, shape (n,).
        level: The index of their level, shape (n,).
        origin: What they continue, -1 for nothing, shape (n,).
        row: Their row in the history, -1 while they are pending, shape (n,).
        state: As in the history, -1 while they are pending, shape (n,).
    """

    number: Ints
    level: Ints
    origin: Ints
    row: Ints
    state: Ints

    @property
    def finished(self) -> NDArray[np.bool_]:
        """Which came to an end, shape (n,)."""
        return np.asarray(self.state != _PENDING)

    @property
    def completed(self) -> NDArray[np.bool_]:
        """Which gave values, shape (n,)."""
        return np.asarray(self.state == COMPLETED)


def board(history: History, levels: Levels) -> Board:
    """The trials of a history that were given a level; those that were given none had everything, and do not climb."""
    waiting = [p for p in history.pending if p.fidelity is not None]
    fidelity = np.append(history.fidelity, [p.fidelity for p in waiting])
    values = np.array(levels.values)
    with np.errstate(invalid="ignore"):
        at = np.abs(fidelity[:, None] - values) <= _CLOSE * values
    n = len(waiting)
    found = Board(
        number=np.append(history.number, np.array([p.trial for p in waiting], dtype=np.int64)),
        level=at.argmax(axis=1),
        origin=np.append(history.origin, np.array([-1 if p.origin is None else p.origin for p in waiting], np.int64)),
        row=np.append(np.arange(history.n), np.full(n, -1)),
        state=np.append(history.state.astype(np.int64), np.full(n, _PENDING)),
    )
    kept = np.flatnonzero(at.any(axis=1))
    kept = kept[np.argsort(found.number[kept])]
    return Board(found.number[kept], found.level[kept], found.origin[kept], found.row[kept], found.state[kept])


def best_first(history: History, rows: Sequence[int] | Ints) -> Ints:
    """Rows of completed trials, the best first, shape (k,).

    Non-dominated sorting, feasible ones first (Deb et al. 2002, NSGA-II); within a front those with room around them,
    then the earlier ones. Rows without a value of some objective are left out.
    """
    chosen = np.asarray(rows, dtype=np.int64)
    chosen = chosen[~np.isnan(history.Y[chosen]).any(axis=1)]
    Y = history.Y[chosen]
    violation = -np.minimum(np.nan_to_num(history.C[chosen]), 0.0).sum(axis=1)
    ranks = pareto.ranks(Y, history.feasible[chosen], violation)
    room = np.zeros(len(chosen))
    if Y.shape[1] > 1:
        for rank in np.unique(ranks):
            room[ranks == rank] = pareto.crowding(Y[ranks == rank])
    return chosen[np.lexsort((history.number[chosen], -room, ranks))]


def promotion(history: History, levels: Levels, row: int, level: int, *, engine: str, reason: str) -> Proposal | None:
    """A finished trial's configuration at a higher level; None when it was tried there, or the space has none such."""
    value = levels.values[level]
    config = placed(history, levels, history.space.encoding.decode(history.X[row]), value)
    if config is None or reached(history, config) >= value:
        return None
    origin = int(history.number[row])
    why = f"trial {origin} goes on to {levels.parameter}={value:g}: {reason}"
    return Proposal(config=config, fidelity=value, origin=origin, provenance=Provenance(engine=engine, reason=why))


def placed(history: History, levels: Levels, config: Config, value: float) -> Config | None:
    """A configuration with so much of the fidelity; None when the space has no such one."""
    found = levels.apply(config, value)
    return found if history.space.contains(found) and history.space.feasible(found) else None


def checked_ladder(problem: Problem, engine: str, eta: int) -> Levels:
    """The levels that a strategy climbs.

    Raises:
        UsageError: The sweep declares no fidelity, only one level lies in it, its most is no value of its parameter, or
            nothing else is searched.
    """
    if problem.fidelity is None:
        raise UsageError(
            f"{engine} spends a fidelity, but the sweep declares none; add `fidelity: {{parameter: epochs, min: 1, max:"
            f" 27}}` with a parameter that makes trials cheaper, or use random with early_stop"
        )
    found = ladder(problem, eta)
    if len(found.values) < 2:
        low, high = problem.fidelity.min, problem.fidelity.max
        raise UsageError(
            f"{engine}: with eta={eta} only one level lies in fidelity {low:g} to {high:g}; lower eta or min"
        )
    if found.column and len(problem.space.encoding.columns) == 1:
        raise UsageError(f"{engine} searches what is left beside {found.parameter!r}, but nothing is; add a parameter")
    if found.column:
        try:
            problem.space[found.parameter].normalise(found.full)
        except SpaceError as error:
            raise UsageError(f"fidelity.max must be a value of {found.parameter!r}: {error}; change one") from None
    return found
