"""Reports: what trials said on the way, as observations at less fidelity.

A report at step k of a trial counts as a trial of k of the fidelity where steps are in its units: where no trial's last
step is beyond its fidelity, or before the half of it. A trial adds at most one row a level, the latest.
"""

from __future__ import annotations

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
    return data.extended(
        X=history.X[rows],
        active=history.active[rows],
        Y=Y,
        outputs=np.full((n, data.outputs.shape[1]), np.nan),
        fidelity=np.array([step for _, step, _ in found]),
        share=np.ones(n),
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
