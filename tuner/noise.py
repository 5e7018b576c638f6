"""Whether measurements are noisy: as declared, or as trials of the same configuration have shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tuner.fidelity import spent

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.problem import Problem

_EQUAL = 1e-9


def declared(problem: Problem) -> bool | None:
    """What the sweep says of noise; None when it says nothing."""
    duplicates = problem.search.duplicates if problem.search is not None else None
    finalists = problem.repeats is not None and problem.repeats.finalists > 0
    if problem.noisy or finalists or duplicates == "replicate":
        return True
    return None if duplicates is None else False


def tried_again(history: History) -> bool:
    """Whether some configuration came twice."""
    return history.n_seen < history.n + len(history.pending)


def in_doubt(history: History) -> bool:
    """Whether nothing says if measurements are noisy: it is not declared, and no configuration came twice."""
    return declared(history.problem) is None and not tried_again(history)


def is_noisy(history: History) -> bool:
    """Whether measurements are noisy: declared, or the same configuration gave different values."""
    if declared(history.problem):
        return True
    if not tried_again(history):
        return False
    rows = ~np.isnan(history.Y).any(axis=1)
    Y = history.Y[rows]
    at = np.concatenate([history.X[rows], np.minimum(spent(history)[rows], np.finfo(np.float64).max)[:, None]], axis=1)
    _, place = np.unique(at, axis=0, return_inverse=True)
    first = np.full((place.max(initial=-1) + 1, Y.shape[1]), np.nan)
    first[place[::-1]] = Y[::-1]
    return bool((np.abs(Y - first[place]) > _EQUAL * np.abs(Y)).any())
