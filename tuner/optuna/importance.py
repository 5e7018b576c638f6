"""Which parameters matter for one objective: PED-ANOVA on the mirror of a history."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial

from tuner.history import History
from tuner.optuna.mirror import AddedMirror, quiet
from tuner.problem import Problem

MIN_TRIALS = 10
"""Below, the best tenth is a single trial, and what it has in particular says nothing."""


_MOST = 2_500
"""Of more trials the best tenth is known well enough from these."""


def importances(history: History, objectives: Sequence[int], rows: Sequence[int]) -> list[dict[str, float]]:
    """The share of each parameter in what sets the best tenth of these trials apart; all shares sum to one.

    Watanabe, Bansal and Hutter 2023 (PED-ANOVA), in Optuna's form for conditional parameters. The columns of a
    structured parameter are added up. All shares are zero when nothing sets the best apart.

    Args:
        history: What was tried.
        objectives: Columns of `history.Y`; a mapping for each comes back.
        rows: The completed trials to look at, at least `MIN_TRIALS`; of many an even sample.
    """
    problem = history.problem
    evaluator = PedAnovaImportanceEvaluator()
    with quiet():
        mirror = AddedMirror(problem)
        study = mirror.only(history.first(history.n), _spread(rows))  # nothing pending: Optuna's trials are our rows
        found = [evaluator.evaluate(study, target=_minimised(objective)) for objective in objectives]
    return [_by_parameter(one, mirror, problem) for one in found]


def _minimised(objective: int) -> Callable[[FrozenTrial], float]:
    return lambda trial: -float(trial.values[objective])


def _by_parameter(found: Mapping[str, float], mirror: AddedMirror, problem: Problem) -> dict[str, float]:
    shares = dict.fromkeys((n for n, part in problem.space.encoding.slices.items() if part.stop > part.start), 0.0)
    for axis, column in zip(mirror.axes, problem.space.encoding.columns, strict=True):
        shares[column.parameter] += max(found.get(axis.name, 0.0), 0.0)
    total = sum(shares.values())
    return {name: value / total if total > 0 else 0.0 for name, value in shares.items()}


def _spread(rows: Sequence[int]) -> list[int]:
    """The rows, or of many as many as are enough, evenly."""
    if len(rows) <= _MOST:
        return list(rows)
    return [rows[k * len(rows) // _MOST] for k in range(_MOST)]
