"""Which parameters matter for one objective: PED-ANOVA on the mirror of a history."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from tuner.history import History
from tuner.optuna.mirror import AddedMirror, quiet
from tuner.problem import Problem

MIN_TRIALS = 10
"""Below, the best tenth is a single trial, and what it has in particular says nothing."""


def importances(history: History, objectives: Sequence[int], rows: Sequence[int]) -> list[dict[str, float]]:
    """The share of each parameter in what sets the best tenth of these trials apart; all shares sum to one.

    Watanabe, Bansal and Hutter 2023 (PED-ANOVA), in Optuna's form for conditional parameters. The columns of a
    structured parameter are added up. All shares are zero when nothing sets the best apart.

    Args:
        history: What was tried.
        objectives: Columns of `history.Y`; a mapping for each comes back.
        rows: The completed trials to look at, at least `MIN_TRIALS`.
    """
    problem = history.problem
    evaluator = PedAnovaImportanceEvaluator()
    with quiet():
        mirror = AddedMirror(problem)
        study = mirror.study(history.first(history.n))  # nothing pending: Optuna's trials are our rows
        trials = study.get_trials(deepcopy=False)
        if sum(trial.state == TrialState.COMPLETE for trial in trials) > len(rows):
            study = _only([trials[row] for row in rows], len(problem.objectives))
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


def _only(trials: Sequence[FrozenTrial], n_objectives: int) -> optuna.Study:
    study = optuna.create_study(directions=["maximize"] * n_objectives)
    study.add_trials(trials)
    return study
