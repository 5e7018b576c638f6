"""Items as the fidelity: running means, a rule that stops by their interval, and halving that finds the best model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import tuner
from tests.test_stopping import begin, study
from tuner import trial_client
from tuner.errors import ObjectiveError, UsageError
from tuner.items import Tally
from tuner.problem import make_problem
from tuner.study import Study
from tuner.sweep import load_sweep
from tuner.trial import Outcome, Trial

ITEMS = 2000


def test_running_means_are_those_of_all_items() -> None:
    scores = np.random.default_rng(0).normal(3.0, 2.0, 57)
    tally = Tally()
    assert tally.take({"score": scores[0]}) == {"score": scores[0]}
    tally.take({"score": scores[1:20]})
    found = tally.take({"score": list(scores[20:])})
    assert tally.n == 57
    assert found["score"] == pytest.approx(scores.mean())
    assert found["score_se"] == pytest.approx(scores.std(ddof=1) / np.sqrt(57))
    with pytest.raises(ValueError, match="same items"):
        tally.take({"score": [1.0, 2.0], "other": 1.0})
    with pytest.raises(ValueError, match="so far"):
        tally.take({"other": 1.0})


def test_the_client_reports_means_and_starts_afresh_with_each_trial() -> None:
    told: list[tuple[int | None, dict[str, Any]]] = []
    for _ in range(2):
        trial_client.connect(lambda step, values: told.append((step, dict(values))) or step == 4)
        assert not tuner.report_items(accuracy=[1.0, 0.0])
        assert tuner.report_items({"accuracy": [1.0, 1.0]})
    trial_client.connect(None)
    assert [step for step, _ in told] == [2, 4, 2, 4]
    assert told[1][1] == {"accuracy": 0.75, "accuracy_se": pytest.approx(0.25)}


def responses(models: int, seed: int) -> np.ndarray:
    """Right or wrong (models, ITEMS) by item response theory: abilities N(0, 1), slopes lognormal, difficulties wide.

    methods: a two-parameter logistic model; items in random order.
    """
    rng = np.random.default_rng(seed)
    ability, slope = rng.normal(size=(models, 1)), rng.lognormal(0.0, 0.4, ITEMS)
    chance = 1.0 / (1.0 + np.exp(-slope * (ability - rng.normal(0.0, 1.3, ITEMS))))
    return (rng.random((models, ITEMS)) < chance).astype(float)


def test_halving_over_items_finds_the_best_of_27_models_with_a_tenth_of_the_items() -> None:
    same, spent = 0, 0
    for seed in range(10):
        right = responses(27, seed)
        made = Study.create({
            "name": "models", "parameters": {"model": {"values": list(range(27))}, "items": ITEMS},
            "metrics": {"accuracy": "maximize"}, "search": {"method": "halving", "configurations": 27},
            "fidelity": {"parameter": "items", "min": 24, "max": ITEMS}, "budget": {"trials": 41},
        })  # fmt: skip
        done: dict[int, int] = {}
        while proposals := made.ask(1):
            (proposal,) = proposals
            model, n = proposal.config["model"], ITEMS if proposal.fidelity is None else round(proposal.fidelity)
            spent += n - done.get(model, 0)  # a promoted trial has the scores of its items in its checkpoint
            done[model] = n
            made.tell(proposal.trial, {"accuracy": right[model, :n].mean()})
        best = made.best()
        assert best is not None
        same += best.config["model"] == right.mean(axis=1).argmax()
    assert spent <= 0.1 * 10 * 27 * ITEMS
    assert same >= 8


def items(made: Study, scores: np.ndarray, batch: int = 50) -> int | None:
    """Report a trial's items batch by batch; how many it had when it was stopped, None when it had all."""
    (trial,) = begin(made)
    tally = Tally()
    for start in range(0, len(scores), batch):
        means = tally.take({"score": scores[start : start + batch]})
        if made.report(trial, tally.n, means):
            made.finish(trial, Outcome(state="pruned", metrics=means))
            return tally.n
    made.finish(trial, Outcome(state="completed", metrics=means))
    return None


def test_a_trial_stops_once_its_interval_lies_below_the_best() -> None:
    made = study({"rule": "interval", "protect": False})
    right = responses(40, seed=1)
    order = np.argsort(-right.mean(axis=1))
    best, rest = order[0], order[1:]
    assert items(made, right[best]) is None
    ends = [items(made, right[model]) for model in rest]
    stopped = [end for end in ends if end is not None]
    assert len(stopped) >= 35
    assert np.mean(stopped[-10:]) <= 100  # the worst are far below
    assert sum(end or ITEMS for end in ends) < 0.35 * ITEMS * len(rest)


def test_what_is_as_good_is_hardly_ever_stopped() -> None:
    stopped = 0
    for seed in range(60):
        made = study({"rule": "interval", "level": 0.1, "protect": False})
        rng = np.random.default_rng(seed)
        assert items(made, (rng.random(500) < 0.7).astype(float)) is None
        stopped += items(made, (rng.random(500) < 0.7).astype(float)) is not None
    assert stopped <= 13  # at most 0.1 of 60; P(more than 13) < 0.01


def test_values_without_standard_errors_stop_nothing() -> None:
    made = study({"rule": "interval", "min_items": 2})
    for value in (1.0, -5.0):
        (trial,) = begin(made)
        assert not any(made.report(trial, step, {"score": value}) for step in range(1, 50))
        made.tell(trial, {"score": value})
    with pytest.raises(UsageError, match="level"):
        study({"rule": "interval", "level": 2.0}).check_strategy()


class Exam:
    """An objective whose score is a mean over 200 items."""

    items = 200
    metrics: ClassVar = {"score": tuner.Metric(name="score", goal="maximize")}

    def evaluate(self, config: dict[str, Any], trial: Trial) -> dict[str, float]:
        right = np.random.default_rng(0).random(self.items) < config["x"]
        means: dict[str, float] = {}
        for start in range(0, len(trial.items(self.items)), 20):
            means = trial.report_items(score=right[start : start + 20].astype(float))
            time.sleep(0.05 if config["x"] < 0.1 else 0.0)  # so that it hears that it should stop
        return {"score": means["score"]}


EXAM: dict[str, Any] = {"name": "exam", "parameters": {"x": {"min": 0.0, "max": 1.0}}, "search": "random"}


def test_an_objective_that_says_how_many_items_it_has_makes_them_the_fidelity(tmp_path: Path) -> None:
    problem = make_problem(load_sweep({**EXAM, "metrics": {"score": "maximize"}}), Exam())
    assert problem.fidelity is not None
    assert (problem.fidelity.parameter, problem.fidelity.min, problem.fidelity.max) == ("items", 8, 200)
    given = {**EXAM, "objective": f"{__name__}:Exam", "budget": {"trials": 12}, "search": "halving"}
    with tuner.run(given, tmp_path / "s") as study:
        levels = sorted({record.fidelity for record in study.records()})
        assert levels[:2] == [22, 67]  # 200 / 9 and 200 / 3 on whole items
    rule = {**EXAM, "objective": f"{__name__}:Exam", "budget": {"trials": 8}, "early_stop": "interval",
            "initial": [{"x": 0.99}, {"x": 0.05}]}  # fmt: skip
    with tuner.run(rule, tmp_path / "t") as study:
        assert [record.state for record in study.records()][:2] == ["completed", "pruned"]


def test_a_wrong_number_of_items_is_told() -> None:
    exam = Exam()
    exam.items = 1
    with pytest.raises(ObjectiveError, match="items must be a whole number"):
        make_problem(load_sweep({**EXAM, "metrics": {"score": "maximize"}}), exam)
