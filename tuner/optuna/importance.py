"""Which parameters matter for one objective: PED-ANOVA on the mirror of a history."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial

from tuner.history import History
from tuner.optuna.mirror import AddedMirror, quiet

MIN_TRIALS = 10
"""Below, the best tenth is a single trial, and what it has in particular says nothing."""


def importances(history: History, objective: int, rows: Sequence[int]) -> dict[str, float]:
    """The share of each parameter in what sets the best tenth of these trials apart; all shares sum to one.

    Watanabe, Bansal and Hutter 2023 (PED-ANOVA), in Optuna's form for conditional parameters. The columns of a
    structured parameter are added up. All shares are zero when nothing sets the best apart.

    Args:
        history: What was tried.
        objective: Its column in `history.Y`.
        rows: The completed trials to look at, at least `MIN_TRIALS`.
    """
    problem = history.problem
    with quiet():
        mirror = AddedMirror(problem)
        study = mirror.study(history.first(history.n))  # nothing pending: Optuna's trials are our rows
        trials = study.get_trials(deepcopy=False)
        kept = _only([trials[row] for row in rows], len(problem.objectives))
        found = PedAnovaImportanceEvaluator().evaluate(kept, target=lambda trial: -float(trial.values[objective]))
    shares = dict.fromkeys((n for n, part in problem.space.encoding.slices.items() if part.stop > part.start), 0.0)
    for axis, column in zip(mirror.axes, problem.space.encoding.columns, strict=True):
        shares[column.parameter] += max(found.get(axis.name, 0.0), 0.0)
    total = float(np.sum(list(shares.values())))
    return {name: value / total if total > 0 else 0.0 for name, value in shares.items()}


def _only(trials: Sequence[FrozenTrial], n_objectives: int) -> optuna.Study:
    study = optuna.create_study(directions=["maximize"] * n_objectives)
    study.add_trials(trials)
    return study
