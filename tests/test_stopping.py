"""Stopping rules on recorded curves whose right answers are known, and what holds under every rule."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tuner
from tuner import catalog
from tuner.errors import UnknownNameError, UsageError
from tuner.stopping.curves import Curves, Told
from tuner.stopping.judge import is_control
from tuner.stopping.patience import last_improvement
from tuner.stopping.threshold import bound_at
from tuner.study import Study
from tuner.trial import Failure, Outcome


def study(rule: Any, dir: Path | None = None, **changes: Any) -> Study:
    sweep = {
        "name": "curves",
        "metrics": {"score": "maximize"},
        "parameters": {"x": {"min": 0.0, "max": 1.0}},
        "search": "random",
        "early_stop": rule,
        **changes,
    }
    return Study.create(sweep, dir)


def begin(made: Study, n: int = 1) -> list[int]:
    return [proposal.trial for proposal in made.ask(n)]


def say(made: Study, trial: int, *scores: float | Mapping[str, float], since: int = 1) -> int | None:
    """Report scores at steps 1, 2, ...; the step at which the trial was told to stop, None when it never was."""
    for step, score in enumerate(scores, start=since):
        if made.report(trial, step, score if isinstance(score, Mapping) else {"score": score}):
            return step
    return None


def full(made: Study, *scores: float) -> int:
    """A trial that reports these and completes with the last."""
    (trial,) = begin(made)
    assert say(made, trial, *scores) is None
    made.tell(trial, {"score": scores[-1]})
    return trial


# --- asha ---


def test_asha_lets_one_in_eta_pass_each_rung() -> None:
    made = study({"rule": "asha", "eta": 3})  # rungs at 1, 3, 9, ...
    trials = begin(made, 6)
    assert [say(made, t, s) for t, s in zip(trials, (0.5, 0.4, 0.6, 0.45, 0.3, 0.55))] == [None, 1, None, 1, 1, None]
    # 0.5 came first, 0.6 beat it; of the first three one goes on; the sixth is second of six: two go on


def test_asha_judges_a_trial_once_a_rung_at_its_value_there() -> None:
    made = study({"rule": "asha", "eta": 2, "min_steps": 2})  # rungs at 2, 4, 8
    a, b, c = begin(made, 3)
    assert say(made, a, 0.1, 0.9, 0.0) is None  # 0.9 at the rung; what follows is not judged before step 4
    assert say(made, b, 0.9, 0.5) == 2
    assert say(made, c, 0.0, 0.95) is None


@pytest.mark.parametrize("rule", ["asha", "median"])
def test_a_rule_that_starts_later_decides_the_same(rule: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    curves = rng.random((14, 1)) * (1 - np.exp(-np.arange(1, 10) / 3.0)) + 0.05 * rng.random((14, 9))

    def play(made: Study, *, reopened: bool) -> list[int | None]:
        ends: list[int | None] = []
        for k, curve in enumerate(curves):
            (trial,) = begin(made)
            end = say(made, trial, *curve[:4])
            if reopened and k % 3 == 1:
                made.close()
                made = Study.open(tmp_path / "reopened")
            end = say(made, trial, *curve[4:], since=5) if end is None else end
            outcome = Outcome(state="completed" if end is None else "pruned", metrics={"score": float(curve[-1])})
            made.finish(trial, outcome)
            ends.append(end)
        made.close()
        return ends

    whole = play(study(rule, tmp_path / "whole"), reopened=False)
    assert play(study(rule, tmp_path / "reopened"), reopened=True) == whole
    assert 3 <= sum(end is not None for end in whole) <= 12


# --- median ---


def test_median_compares_the_best_so_far_with_the_median_of_running_averages() -> None:
    made = study({"rule": "median", "min_trials": 3})
    for level in (0.2, 0.4, 0.6):
        full(made, level, level + 0.2)  # running averages at step 2: 0.3, 0.5, 0.7
    above, below, rising = begin(made, 3)
    assert say(made, above, 0.45, 0.51) is None
    assert say(made, below, 0.45, 0.45) == 2  # beats the 0.4 at step 1, not the 0.5 at step 2
    assert say(made, rising, 0.41, 0.1, since=1) == 2


def test_median_waits_for_its_first_trials_and_steps() -> None:
    made = study({"rule": "median", "min_trials": 2, "min_steps": 3})
    full(made, 0.9, 0.9, 0.9)
    (early,) = begin(made)
    assert say(made, early, 0.0, 0.0, 0.0) is None  # one trial to compare with
    made.tell(early, {"score": 0.8})
    full(made, 0.9, 0.9, 0.9)
    (late,) = begin(made)
    assert say(made, late, 0.0, 0.0, 0.0) == 3


def test_median_with_two_objectives_needs_both_below() -> None:
    made = study({"rule": "median", "min_trials": 3}, metrics={"score": "maximize", "loss": "minimize"})
    for level in (0.4, 0.5, 0.6):
        (trial,) = begin(made)
        assert say(made, trial, {"score": level, "loss": 1 - level}) is None
        made.tell(trial, {"score": level, "loss": 1 - level})
    one, other, none, unsaid = begin(made, 4)
    assert say(made, one, {"score": 0.1, "loss": 0.45}) is None
    assert say(made, other, {"score": 0.55, "loss": 0.9}) is None
    assert say(made, none, {"score": 0.3, "loss": 0.8}) == 1
    assert say(made, unsaid, {"score": 0.0}) is None  # its loss may be the best of all


# --- patience ---


def test_patience_counts_from_the_last_improvement() -> None:
    made = study({"rule": "patience", "steps": 3, "protect": False})
    a, b = begin(made, 2)
    assert say(made, a, 0.1, 0.2, 0.2, 0.1, 0.2) == 5  # better last at step 2
    assert say(made, b, 0.1, 0.1, 0.1, 0.2, 0.2, 0.2) is None
    assert say(made, b, 0.2, since=7) == 7


def test_patience_asks_for_min_delta_in_total_not_at_once() -> None:
    told = Told([tuner.history.Report(s, [0.04 * s]) for s in range(1, 9)])
    told.take()
    assert last_improvement(told) == 8
    assert last_improvement(told, 0.1) == 7  # 0.04 at first, then 0.16 at step 4, 0.28 at step 7
    flat = Told([tuner.history.Report(s, [0.5], [-1.0 / s]) for s in range(1, 5)])
    flat.take()
    assert last_improvement(flat) == 4  # its constraint is violated less and less


def test_patience_leaves_what_stands_on_the_front() -> None:
    made = study({"rule": "patience", "steps": 2})
    full(made, 0.1, 0.5)
    best, other = begin(made, 2)
    assert say(made, best, 0.6, 0.6, 0.6, 0.6) is None
    assert say(made, other, 0.4, 0.4, 0.4) == 3


# --- threshold ---


def test_threshold_tightens_with_the_steps() -> None:
    metrics = {"loss": "minimize", "memory": {"max": 50.0}}
    bounds = {"loss": [[2, 0.9], [4, 0.5]], "memory": 40}
    made = study({"rule": "threshold", "metrics": bounds}, metrics=metrics)
    losses, memory, good = begin(made, 3)
    assert say(made, losses, *({"loss": v} for v in (5.0, 0.8, 0.7, 0.6))) == 4
    assert say(made, memory, {"loss": 0.1, "memory": 39.0}, {"memory": 41.0}) == 2
    assert say(made, good, *({"loss": v} for v in (5.0, 0.9, 0.9, 0.5))) is None
    table = ((2, 0.9), (4, 0.5))
    assert [bound_at(table, step) for step in (1, 2, 3, 4, 99)] == [None, 0.9, 0.9, 0.5, 0.5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "at least one bound"),
        ({"metrics": {"los": 1}}, "no metric 'los'"),
        ({"metrics": {"score": "x"}}, "must be a number"),
        ({"metrics": {"score": [[2, 0.1], [1, 0.5]]}}, "must tighten"),
        ({"metrics": {"score": 1}, "audit": 1.0}, r"audit must lie in \[0, 1\)"),
        ({"metrics": {"score": 1}, "audit": "x"}, "early_stop"),
        ({"metrics": {"score": 1}, "violations": 0}, "at least 1"),
        ({"metrics": {"score": 1}, "patience": 3}, "has no option 'patience'"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_a_trial_starts(options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        study({"rule": "threshold", **options}).check_strategy()


def test_an_unknown_rule_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="median"):
        study("mediann").check_strategy()
    assert {"asha", "median", "patience", "threshold"} <= set(catalog.names("stopping"))


# --- constraints ---


def test_a_constraints_curve_stops_a_trial_under_any_rule() -> None:
    metrics = {"score": "maximize", "memory": {"max": 40.0}}
    made = study({"rule": "patience", "steps": 99, "violations": 2}, metrics=metrics)
    over, once = begin(made, 2)
    assert say(made, over, {"memory": 41.0}, {"memory": 39.0}, {"memory": 42.0}, {"memory": 43.0}) == 4
    assert say(made, once, {"memory": 41.0}, {"score": 0.1}, {"memory": 41.0}) is None  # not two known ones in a row
    (event,) = [e for e in made.events() if e["kind"] == "stopped"]
    assert json.loads(event["detail"])["rule"] == "constraint"


def test_asha_ranks_what_is_feasible_first() -> None:
    made = study({"rule": "asha", "eta": 2}, metrics={"score": "maximize", "memory": {"max": 40.0}})
    good, worse, better = begin(made, 3)
    assert say(made, good, {"score": 0.5, "memory": 30.0}) is None
    assert say(made, worse, {"score": 0.9, "memory": 41.0}) == 1  # the best score, but not within its memory
    assert say(made, better, {"score": 0.6, "memory": 39.0}) is None


def test_asha_may_take_a_violation_for_one_more_objective() -> None:
    rule = {"rule": "asha", "eta": 2, "feasible_first": False}
    made = study(rule, metrics={"score": "maximize", "memory": {"max": 40.0}})
    good, over, both = begin(made, 3)
    assert say(made, good, {"score": 0.5, "memory": 30.0}) is None
    assert say(made, over, {"score": 0.9, "memory": 41.0}) is None  # better in one, worse in the other
    assert say(made, both, {"score": 0.4, "memory": 42.0}) == 1


def test_a_metric_that_follows_from_the_configuration_is_known_on_the_way() -> None:
    metrics = {"score": "maximize", "size": {"goal": "minimize", "formula": "x * 10"}}
    made = study({"rule": "asha", "eta": 3}, metrics=metrics)
    for x in (0.2, 0.6, 0.1):
        made.enqueue({"x": x})
    small, large, smallest = begin(made, 3)
    assert say(made, small, 0.5) is None
    assert say(made, large, 0.4) == 1  # larger and worse
    assert say(made, smallest, 0.1) is None  # worse, but the smallest: on the front of the rung


# --- what everybody relies on ---


def test_what_is_told_of_a_stopped_trial_is_pruned_and_another_attempt_is_judged_anew() -> None:
    made = study({"rule": "asha", "eta": 2})
    first, second, third = begin(made, 3)
    say(made, first, 0.9)
    assert say(made, second, 0.1) == 1
    assert made.report(second, 2, {"score": 0.2}) is True  # it is still to stop
    made.tell(second, {"score": 0.2})
    assert made.read(second).state == "pruned"
    made.tell(first, {"score": 0.9})
    assert made.read(first).state == "completed"
    assert say(made, third, 0.1) == 1
    made.finish(third, Outcome(state="failed", failure=Failure(kind="interrupted")))
    assert begin(made) == [third]
    assert say(made, third, 0.95) is None
    made.tell(third, {"score": 0.95})
    assert made.read(third).state == "completed"


def test_controls_run_on_and_are_written_down_once() -> None:
    made = study({"rule": "asha", "eta": 2, "audit": 0.4})
    say(made, begin(made)[0], 0.99)
    trials = begin(made, 60)
    ends = {trial: say(made, trial, 0.5 - 0.001 * trial, 0.1) for trial in trials}
    controls = {trial for trial in trials if is_control(0, trial, 0.4)}
    assert {trial for trial, end in ends.items() if end is None} == controls
    assert {e["trial"] for e in made.events() if e["kind"] == "control"} == controls
    assert len([e for e in made.events() if e["kind"] == "control"]) == len(controls)
    assert 10 < len(controls) < 40  # 24 expected of 60; outside with probability 1e-4 (and it is a fixed draw)


def test_curves_take_reports_as_they_come() -> None:
    made = study({"rule": "patience", "steps": 99}, metrics={"score": "maximize", "loss": "minimize"})
    (trial,) = begin(made)
    say(made, trial, {"score": 0.1}, {"loss": 2.0}, {"score": 0.3})
    curves = Curves()
    told = curves.update(made.history, trial)
    assert told.at(1) == 1  # the first report by which both are known
    assert told.Y[2] == [0.3, -2.0]
    assert curves.rank(trial, 1) == (0, 1)
    assert curves.rank(trial, 9) is None
