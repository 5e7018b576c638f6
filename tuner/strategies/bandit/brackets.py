"""Brackets: successive halving in rungs that fill before they are judged, many brackets side by side.

A bracket starts n_0 configurations at its lowest level; when a rung of n_i trials has ended, its best n_{i+1} go on.
While a rung waits for its last trials, free slots start the next bracket, as BOHB's workers do (Falkner et al. 2018,
section 4.2): a slot is never idle. Which bracket a trial belongs to follows from its place among the new configurations
at its level, or from the trial that it continues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuner.strategies.bandit.rungs import Board, Ints, best_first, board, promotion
from tuner.strategies.bandit.sampling import Sampler, newcomers

if TYPE_CHECKING:
    from tuner.fidelity import Levels
    from tuner.history import History
    from tuner.trial import Proposal


@dataclass(frozen=True, slots=True)
class Bracket:
    """One kind of bracket.

    Attributes:
        first: Index of the level where it starts.
        sizes: Trials on each of its rungs.
    """

    first: int
    sizes: tuple[int, ...]


def hyperband_plan(levels: int, eta: int) -> tuple[Bracket, ...]:
    """Hyperband's brackets over so many levels, the one with the most configurations first.

    Li et al. 2018, "Hyperband", algorithm 1, with n_0 = floor(S / (s + 1)) eta^s as in Falkner et al. 2018, S levels.
    """
    plan = []
    for s in range(levels - 1, -1, -1):
        n = levels // (s + 1) * eta**s
        plan.append(Bracket(levels - 1 - s, tuple(max(n // eta**i, 1) for i in range(s + 1))))
    return tuple(plan)


class BracketSearch:
    """Goes through a plan of brackets again and again.

    Args:
        engine: The strategy's name.
        levels: Of the fidelity.
        plan: Brackets in their order.
        sampler: Where new configurations come from.
    """

    def __init__(self, engine: str, levels: Levels, plan: Sequence[Bracket], sampler: Sampler | None = None) -> None:
        self._engine = engine
        self._levels = levels
        self._plan = tuple(plan)
        self._sampler = sampler

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Return `n` proposals, promotions first; fewer when the space is exhausted."""
        trials = board(history, self._levels)
        found = self._promotions(history, trials, n)
        starts = self._starts(trials, n - len(found))
        engine = self._engine
        return found + newcomers(history, self._levels, starts, rng, engine=engine, sampler=self._sampler)

    def _starts(self, trials: Board, n: int) -> list[float]:
        """The fidelities of the next `n` new configurations: the earliest bracket that lacks some is filled first."""
        new = trials.level[trials.origin < 0]
        begun = [int((new == kind.first).sum()) for kind in self._plan]
        starts: list[float] = []
        b = min(count // kind.sizes[0] for count, kind in zip(begun, self._plan, strict=True)) * len(self._plan)
        while len(starts) < n:
            cycle, k = divmod(b, len(self._plan))
            size = self._plan[k].sizes[0]
            lacking = min(max((cycle + 1) * size - begun[k], 0), size)
            starts += [self._levels.values[self._plan[k].first]] * lacking
            b += 1
        return starts[:n]

    def _promotions(self, history: History, trials: Board, n: int) -> list[Proposal]:
        """What goes on from rungs that are full, the earliest bracket first."""
        if not len(trials.number):
            return []
        bracket, rung = self._places(trials)
        kinds = np.arange(int(bracket.max()) + 1) % len(self._plan)
        depth = len(self._levels.values)
        shape = (len(kinds), depth)
        known = (rung >= 0) & (rung < depth)

        def count(mask: np.ndarray) -> Ints:
            table = np.zeros(shape, dtype=np.int64)
            np.add.at(table, (bracket[mask & known], rung[mask & known]), 1)
            return table

        sizes = np.array([[*self._plan[k].sizes, *[0] * depth][:depth] for k in kinds.tolist()])
        ended, completed, begun = count(trials.finished), count(trials.completed), count(trials.number >= 0)
        due = sizes.copy()
        due[:, 1:] = np.minimum(sizes[:, 1:], completed[:, :-1])
        ready = (ended[:, :-1] >= due[:, :-1]) & (begun[:, :-1] > 0) & (begun[:, 1:] < due[:, 1:])
        found: list[Proposal] = []
        promoted = set(trials.origin.tolist())
        for b, r in np.argwhere(ready).tolist():
            there = trials.row[(bracket == b) & (rung == r) & trials.completed]
            level = self._plan[kinds[b]].first + r + 1
            for place, row in enumerate(best_first(history, there)[: due[b, r + 1]].tolist(), start=1):
                if len(found) == n:
                    return found
                if int(history.number[row]) not in promoted:
                    reason = f"{place} of {ended[b, r]} in bracket {b}"
                    proposal = promotion(history, self._levels, row, level, engine=self._engine, reason=reason)
                    found += [] if proposal is None else [proposal]
        return found

    def _places(self, trials: Board) -> tuple[Ints, Ints]:
        """The bracket and the rung of each trial, -1 where it continues a trial that is not there, shape (n,) each."""
        index = {number: i for i, number in enumerate(trials.number.tolist())}
        bracket = np.full(len(trials.number), -1)
        for k, kind in enumerate(self._plan):
            new = np.flatnonzero((trials.origin < 0) & (trials.level == kind.first))
            bracket[new] = np.arange(len(new)) // kind.sizes[0] * len(self._plan) + k
        for i in np.flatnonzero(trials.origin >= 0).tolist():  # ascending: what a trial continues comes before it
            origin = index.get(int(trials.origin[i]))
            bracket[i] = -1 if origin is None else bracket[origin]
        first = np.array([kind.first for kind in self._plan])[bracket % len(self._plan)]
        return np.maximum(bracket, 0), np.where(bracket < 0, -1, trials.level - first)
