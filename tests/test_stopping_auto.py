"""auto: which stopping rule, and which strategy where less fidelity saves some of the budget."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tuner
from tests.strategy_problems import Lab, build, make_problem, numeric
from tests.test_stopping import begin, full, say, study
from tuner.observer import Observer
from tuner.problem import make_problem as problem_of
from tuner.stopping.auto import choose
from tuner.sweep import Budget, Fidelity, load_sweep
from tuner.trial import Trial

BASE: dict[str, Any] = {"name": "chosen", "parameters": {"x": {"min": 0.0, "max": 1.0}, "items": 100}}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"metrics": {"score": "maximize"}}, "asha"),
        ({"metrics": {"score": "maximize", "size": "minimize"}}, "neighbours"),
        ({"metrics": {"score": "maximize", "memory": {"max": 4.0}}}, "neighbours"),
        ({"metrics": {"score": "maximize"}, "fidelity": {"parameter": "items", "min": 1, "max": 100}}, "interval"),
    ],
)
def test_the_rule_follows_from_the_problem(changes: dict[str, Any], rule: str) -> None:
    assert choose(problem_of(load_sweep({**BASE, **changes})))[0] == rule


def test_events_name_the_rule_that_was_chosen() -> None:
    made = study("auto")
    for value in (1.0, 2.0, 3.0):
        full(made, value)
    (trial,) = begin(made)
    assert say(made, trial, 0.0) == 1
    assert '"asha"' in made.events()[-1]["detail"]


def objective(config: dict[str, Any], trial: Trial) -> dict[str, float]:
    trial.report(1, score=config["x"])
    return {"score": config["x"], "size": config["x"]}


def test_a_run_says_which_and_why(tmp_path: Path) -> None:
    class Notes(Observer):
        said: list[str] = []  # noqa: RUF012

        def note(self, text: str) -> None:
            self.said.append(text)

    given = {
        "name": "chosen", "objective": f"{__name__}:objective", "parameters": {"x": {"min": 0.0, "max": 1.0}},
        "metrics": {"score": "maximize", "size": "minimize"}, "budget": {"trials": 2}, "early_stop": "auto",
        "search": "random",
    }  # fmt: skip
    with tuner.run(given, tmp_path / "s", observer=Notes()):
        assert "early_stop: auto chose neighbours: 2 objectives" in Notes.said


def test_a_strategy_that_spends_less_on_a_trial_yields_to_a_lighter_one() -> None:
    problem = dataclasses.replace(
        make_problem(numeric()), fidelity=Fidelity(parameter="epochs", min=1, max=27), budget=Budget(time=3600.0)
    )
    lab = Lab(problem)
    for config in problem.space.sample(40, np.random.default_rng(0)):
        lab.add(config, fidelity=1.0)
    chosen = {}
    for floor in (60.0, 0.05, 0.001):
        (proposal,) = lab.ask(build("auto", problem, floor_s=floor, max_overhead=0.0))
        chosen[floor] = proposal.provenance.reason.split(":")[0]
    assert chosen == {60.0: "auto chose mf-gp", 0.05: "auto chose bohb", 0.001: "auto chose asha"}
