"""Learned: hyperparameters that serve for a while.

Fitting them is what a suggestion costs most. They are learned from the first trials only, at numbers of trials that
grow by a sixteenth at a time: a strategy made anew learns the same from the same history, and one that goes on need not
learn again until the next of these numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tuner.gp.model import Hyperparameters, learn
from tuner.history import History

if TYPE_CHECKING:
    from gpytorch.kernels import Kernel

    from tuner.strategies.bayesian.table import Table, Tables

_EVERY_TRIAL = 24
_SHARE = 16
_ROWS = 256
"""Most trials that hyperparameters are learned from."""

_STARTS_UNTIL = 64
_KEPT = 4


def checkpoint(n: int) -> int:
    """Return the number of trials, at most `n`, that hyperparameters are learned from.

    Every number up to 24; beyond, multiples of the largest power of two that is at most n / 16.
    """
    if n <= _EVERY_TRIAL:
        return n
    step = 1 << max((n // _SHARE).bit_length() - 1, 0)
    return n - n % step


class Learned:
    """Hyperparameters by history; a cache, which changes no answer.

    Args:
        tables: Makes the tables of the problem.
        covariance: Makes a covariance over their X.
        maxiter: Steps of L-BFGS-B.
    """

    def __init__(self, tables: Tables, covariance: Callable[[], Kernel], *, maxiter: int = 60) -> None:
        self._tables = tables
        self._covariance = covariance
        self._maxiter = maxiter
        self._cache: dict[bytes, dict[str, Hyperparameters]] = {}

    def hyperparameters(self, history: History, table: Table) -> dict[int, Hyperparameters]:
        """What is learned of each column of the table; of one that earlier trials did not have, from all of them."""
        n = checkpoint(history.n)
        past = history if n == history.n else history.first(n)
        key = past.X.tobytes() + past.Y.tobytes() + past.C.tobytes() + past.state.tobytes() + past.fidelity.tobytes()
        key += past.repeats.tobytes() + repr(sorted(past.again.items())).encode()
        if key not in self._cache:
            while len(self._cache) >= _KEPT:
                self._cache.pop(next(iter(self._cache)))
            self._cache[key] = {}
        found = self._cache[key]
        if not found and int((past.state == 0).sum()) >= 2:
            early = self._tables.table(self._tables.observe(past, max_rows=_ROWS))
            found.update(self._learn(early, set(early.names)))
        missing = {name for j, name in enumerate(table.names) if j not in table.outcomes.exact and name not in found}
        fresh = self._learn(table, missing) if missing else {}
        both: Mapping[str, Hyperparameters] = {**fresh, **found}
        return {j: both[name] for j, name in enumerate(table.names) if j not in table.outcomes.exact}

    def _learn(self, table: Table, names: set[str]) -> dict[str, Hyperparameters]:
        """Of the named columns that have a model and values, from evenly spaced rows when there are too many."""
        X, Y, share, given = table.X, table.Y, table.share, table.outcomes
        if len(X) > _ROWS:
            rows = np.linspace(0, len(X) - 1, _ROWS).astype(int)
            X, Y, share = X[rows], Y[rows], share[rows]
        left = [j for j, name in enumerate(table.names) if name not in names or not bool((Y[:, j] == Y[:, j]).any())]
        outcomes = dataclasses.replace(given, exact={*given.exact, *left})
        starts = 2 if len(X) <= _STARTS_UNTIL else 1
        found = learn(X, Y, outcomes, share=share, covariance=self._covariance, maxiter=self._maxiter, starts=starts)
        return {table.names[j]: learned for j, learned in found.items()}
