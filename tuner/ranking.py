"""Ranking of a study's trials: the best one, the front, its hypervolume. From columns to trial numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner import pareto
from tuner.fidelity import at_most

if TYPE_CHECKING:
    from tuner.history import Array, History
    from tuner.preferences.front import Best


def _feasible(history: History) -> tuple[Array, NDArray[np.int64]]:
    """Objectives (k, m), maximised, and numbers (k,) of the feasible trials that have them all.

    With a fidelity, of those that had the most of it: what less of it brings does not compare.
    """
    rows = at_most(history, history.feasible & ~np.isnan(history.Y).any(axis=1))
    return history.Y[rows], history.number[rows]


def front(history: History) -> list[int]:
    """Numbers of the feasible trials that no other dominates, best first by the first objective."""
    Y, number = _feasible(history)
    if not len(Y):
        return []
    mask = pareto.non_dominated(Y)
    Y, number = Y[mask], number[mask]
    return [int(n) for n in number[np.lexsort((number, -Y[:, 0]))]]


def ordered(history: History) -> list[int]:
    """Numbers of the feasible trials, best first by the first objective."""
    Y, number = _feasible(history)
    return [int(n) for n in number[np.lexsort((number, -Y[:, 0]))]]


def best(history: History) -> int | None:
    """The best feasible trial; None when there is none.

    With several objectives the member of the front that the answers of `tuner prefer` speak for, otherwise its knee.
    """
    Y, number = _feasible(history)
    if not len(Y):
        return None
    if history.answers and (liked := preferred(history)) is not None:
        return liked.trial
    if Y.shape[1] == 1:
        return int(number[np.argmax(Y[:, 0])])
    mask = pareto.non_dominated(Y)
    return int(number[mask][pareto.knee(Y[mask])])


def preferred(history: History) -> Best | None:
    """The member of the front that the answers speak for, with its probability; None without answers or a front."""
    if not history.answers or len(history.problem.objectives) < 2:
        return None
    from tuner.preferences.front import best_of_front

    return best_of_front(history)


def reference(history: History) -> Array:
    """The hypervolume's corner (m,), maximised: declared where the metrics say so, otherwise inferred."""
    Y, _ = _feasible(history)
    objectives = history.problem.objectives
    inferred = pareto.infer_reference(Y) if len(Y) else np.zeros(len(objectives))
    declared = [np.nan if m.reference is None else m.sign * m.reference for m in objectives]
    return np.where(np.isnan(declared), inferred, declared)


def hypervolume(history: History) -> tuple[float, list[float]]:
    """Hypervolume of the front and its corner in the metrics' own units and signs; 0 without a feasible trial."""
    Y, _ = _feasible(history)
    corner = reference(history)
    own = [float(m.sign * c) for m, c in zip(history.problem.objectives, corner, strict=True)]
    return (float(pareto.hypervolume(Y, corner)) if len(Y) else 0.0), own
