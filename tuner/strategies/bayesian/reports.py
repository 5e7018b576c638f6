"""Reports: what trials said on the way, as observations at less fidelity.

A report at step k of a trial counts as a trial of k of the fidelity where steps are in its units: where no trial's last
step is beyond its fidelity, or before the half of it. A trial adds at most one row a level, the latest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner.history import COMPLETED, PRUNED

if TYPE_CHECKING:
    from tuner.fidelity import Levels
    from tuner.history import History
    from tuner.strategies.bayesian.observations import Observations

Array = NDArray[np.float64]

_MOST = 256
"""Rows of reports, those of the latest trials."""


def with_reports(data: Observations, history: History, levels: Levels) -> Observations:
    """Return the observations with rows for the reports of the history's trials, where these are of use."""
    found = _found(history, levels)[-_MOST:]
    if not found:
        return data
    rows = [row for row, _, _ in found]
    n = len(rows)
    Y = np.full((n, data.Y.shape[1]), np.nan)
    Y[:, : data.n_objectives] = [values for _, _, values in found]
    no = np.zeros(n, dtype=np.bool_)
    return replace(
        data,
        X=np.concatenate([data.X, history.X[rows]]),
        active=np.concatenate([data.active, history.active[rows]]),
        Y=np.concatenate([data.Y, Y]),
        feasible=np.concatenate([data.feasible, no]),
        violation=np.concatenate([data.violation, np.full(n, np.nan)]),
        standing=np.concatenate([data.standing, no]),
        outputs=np.concatenate([data.outputs, np.full((n, data.outputs.shape[1]), np.nan)]),
        seconds=np.concatenate([data.seconds, np.full(n, np.nan)]),
        fidelity=np.concatenate([data.fidelity, [step for _, step, _ in found]]),
    )


def _found(history: History, levels: Levels) -> list[tuple[int, float, Array]]:
    """Row of the history, step and objectives of each report that is used."""
    found: list[tuple[int, float, Array]] = []
    for row in np.flatnonzero(np.isin(history.state, (COMPLETED, PRUNED))):
        steps, Y = history.curve(int(history.number[row]))
        if not len(steps):
            continue
        own = history.fidelity[row]
        end = levels.full if np.isnan(own) else float(own)
        last = float(steps.max())
        if last > end or (history.state[row] == COMPLETED and last < end / 2):
            return []
        below = -np.inf
        for value in levels.values:
            use = (steps > below) & (steps <= value) & (steps >= levels.low) & ~np.isnan(Y).any(axis=1)
            use &= (steps < end) | (history.state[row] == PRUNED)
            if use.any():
                at = int(np.flatnonzero(use)[np.argmax(steps[use])])
                found.append((int(row), float(steps[at]), Y[at]))
            below = value
    return found
