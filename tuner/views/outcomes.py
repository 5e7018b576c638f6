"""Outcomes: the completed trials of a study that may be compared with each other, in the metrics' own units."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner.errors import UsageError
from tuner.fidelity import spent
from tuner.history import COMPLETED

if TYPE_CHECKING:
    from tuner.problem import Problem
    from tuner.study import Study
    from tuner.trial import Metric

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """Completed trials that have every objective, by number; with a fidelity, those that had the most of it.

    Attributes:
        row: Their rows in the study's history, shape (n,).
        number: Trial numbers, shape (n,).
        Y: Objectives, all maximised, shape (n, m).
        values: The same in the metrics' own units and signs.
        feasible: Which meet every constraint, shape (n,).
    """

    row: Ints
    number: Ints
    Y: Floats
    values: Floats
    feasible: Bools


def outcomes(study: Study) -> Outcomes:
    """The trials of a study that may be compared.

    Raises:
        UsageError: No trial has completed.
    """
    history = study.history
    done = (history.state == COMPLETED) & np.isfinite(history.Y).all(axis=1)
    levels = spent(history)
    able = done & history.feasible
    most = levels[able if able.any() else done].max(initial=-np.inf)
    row = np.flatnonzero(done & (levels == most))
    if not len(row):
        raise UsageError(f"study {study.sweep.name!r} has no completed trial yet; start some with `tuner run`")
    Y = history.Y[row]
    return Outcomes(row, history.number[row], Y, Y * signs(study.problem), history.feasible[row])


def signs(problem: Problem) -> Floats:
    """+1 for each maximised objective, -1 for each minimised one, shape (m,)."""
    return np.array([metric.sign for metric in problem.objectives])


def baseline_values(study: Study) -> Floats | None:
    """The baseline's objectives in their own units, shape (m,); None without a measured baseline."""
    names = [metric.name for metric in study.problem.objectives]
    known = study.ledger.baseline
    if study.problem.baseline is None or known is None or not all(name in known for name in names):
        return None
    return np.array([known[name] for name in names])


def objective_index(problem: Problem, name: str | None) -> int:
    """Which objective is called `name`; the first for None.

    Raises:
        UsageError: None is.
    """
    names = [metric.name for metric in problem.objectives]
    return 0 if name is None else names.index(known_name("metric with a goal", name, names))


def known_name(what: str, name: str, names: Iterable[str]) -> str:
    """`name`, if it is among `names`.

    Raises:
        UsageError: It is not; the message says what comes near, or what there is.
    """
    known: Sequence[str] = list(names)
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known) or 'none'}"
    raise UsageError(f"there is no {what} called {name!r}; {hint}")


def metric_label(metric: Metric) -> str:
    """A metric's name, its unit, and which way is better."""
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{metric.name}{unit} {'↑' if metric.goal == 'maximize' else '↓'}"
