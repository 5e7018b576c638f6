"""Fidelities: levels on the parameter's grid, who had how much, and what that means for the best and for repeats."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

import tuner
from tests.strategy_problems import make_problem, numeric
from tuner.fidelity import Levels, at_most, levels, may_rise, reached
from tuner.history import History, HistoryBuffer
from tuner.parameters import Choice, Constant, Float, Int, Parameter
from tuner.problem import Problem
from tuner.proposer import Proposer
from tuner.space import SearchSpace
from tuner.sweep import Fidelity
from tuner.trial import Outcome, Proposal, Provenance


def with_fidelity(low: float, high: float, *parameters: Parameter) -> Problem:
    space = SearchSpace([Float("x", low=0.0, high=1.0), *parameters])
    return dataclasses.replace(make_problem(space), fidelity=Fidelity(parameter="epochs", min=low, max=high))


@pytest.mark.parametrize(
    ("low", "high", "parameters", "expected"),
    [
        (1, 27, [], (1, 3, 9, 27)),
        (1, 27, [Constant("epochs", value=27)], (1, 3, 9, 27)),
        (50, 1350, [], (50, 150, 450, 1350)),
        (1, 10_000, [], (1, 10, 100, 1000, 10_000)),  # five at most
        (0.25, 0.75, [], (0.25, 0.5, 0.75)),  # evenly spaced below a factor 4
        (2, 3, [], (2, 3)),  # whole numbers stay whole
        (1, 27, [Int("epochs", low=1, high=27, step=2)], (1, 3, 9, 27)),
        (1, 60, [Int("epochs", low=5, high=60, step=5)], (5, 15, 60)),  # on the grid, and in the parameter's range
        (1, 27, [Choice("epochs", values=(1, 4, 8, 27), ordered=True)], (1, 4, 8, 27)),
    ],
)
def test_levels_lie_on_the_grid_and_in_the_range(
    low: float, high: float, parameters: list[Parameter], expected: tuple[float, ...]
) -> None:
    found = levels(with_fidelity(low, high, *parameters))
    assert found.values == pytest.approx(expected)
    assert found.full == high
    assert found.column == (bool(parameters) and bool(parameters[0].columns()))


def test_a_level_is_a_share_of_the_logarithmic_range_and_goes_into_the_configuration() -> None:
    found = Levels("epochs", (1.0, 9.0, 81.0), log=True, column=True)
    assert found.unit([1, 9, 81, math.nan, 200, 0.1]) == pytest.approx([0, 0.5, 1, 1, 1, 0])
    given = found.apply({"x": 0.5, "epochs": 81}, 9.0)
    assert given == {"x": 0.5, "epochs": 9}
    assert type(given["epochs"]) is int
    assert dataclasses.replace(found, column=False).apply({"epochs": 81}, 9.0) == {"epochs": 81}


def history(problem: Problem, trials: list[tuple[dict[str, Any], float | None, float]], **cut: Any) -> History:
    """Completed trials: configuration, fidelity, value."""
    buffer, space = HistoryBuffer(problem), problem.space
    for number, (config, fidelity, value) in enumerate(trials):
        x, active = space.encoding.encode(config)
        buffer.append(
            number=number, x=x, active=active, y=[value], margins=[], state="completed", fidelity=fidelity, seconds=1.0
        )
    keys = {space.key(config) for config, _, _ in trials}
    given: dict[str, Any] = {"pending": [], "next_trial": len(trials), **cut}
    return buffer.cut(
        seen=lambda config: space.key(config) in keys,
        n_seen=len(keys),
        curve=lambda number: (np.empty(0, dtype=np.int64), np.empty((0, 1))),
        **given,
    )


def test_how_much_a_configuration_had() -> None:
    problem = with_fidelity(1, 27)
    running = Proposal(config={"x": 0.2}, fidelity=9.0, provenance=Provenance(engine="test"))
    past = history(problem, [({"x": 0.2}, 1.0, 0.0), ({"x": 0.4}, None, 0.0)], pending=[running])
    assert [reached(past, {"x": x}) for x in (0.2, 0.4, 0.6)] == [9.0, math.inf, -math.inf]
    assert may_rise(past)
    assert not may_rise(history(problem, [({"x": 0.4}, 27.0, 0.0)]))
    assert not may_rise(history(make_problem(numeric()), []))
    assert at_most(past).tolist() == [False, True]
    assert at_most(past, np.array([True, False])).tolist() == [True, False]


def test_a_configuration_may_be_tried_again_at_more_fidelity_only() -> None:
    problem = with_fidelity(1, 27)
    past = history(problem, [({"x": 0.2}, 3.0, 0.0)])
    for fidelity, accepted in ((9.0, True), (3.0, False), (1.0, False), (None, False)):

        class Again:
            def suggest(self, *args: Any) -> list[Proposal]:
                return [Proposal(config={"x": 0.2}, fidelity=fidelity, provenance=Provenance(engine="again"))]  # noqa: B023

        proposer = Proposer(problem)
        proposer._strategy = Again()
        (proposal,) = proposer.propose(past, 1)
        assert (proposal.provenance.engine == "again") == accepted


def test_only_trials_at_full_fidelity_improve_meet_a_target_or_try_patience(tmp_path: Any) -> None:
    path = tmp_path / "study.db"
    sweep = {
        "name": "stops",
        "parameters": {"x": {"min": 0.0, "max": 1.0}, "epochs": 27},
        "metrics": {"y": {"goal": "maximize"}},
        "fidelity": {"parameter": "epochs", "min": 1, "max": 27},
        "search": {"method": "mf-gp", "initial": 6},
        "budget": {"no_improvement": 1, "target": {"y": 5.0}},
    }
    with tuner.Study.create(sweep, path) as study:
        for fidelity, y in ((27, 0.0), (1, 9.0), (1, -1.0)):  # the start of a design
            (proposal,) = study.ask(1)
            assert proposal.fidelity == fidelity
            study.finish(proposal.trial, Outcome(state="completed", metrics={"y": y}))
        assert study.stop_reason is None
    with tuner.Study.open(path) as study:
        assert study.stop_reason is None
        while (proposal := study.ask(1)[0]).fidelity != 27:
            study.finish(proposal.trial, Outcome(state="completed", metrics={"y": 9.0}))
        study.finish(proposal.trial, Outcome(state="completed", metrics={"y": -1.0}))
        assert study.stop_reason == "no improvement in 1 trials"


def test_the_best_is_among_the_trials_that_had_the_most() -> None:
    sweep = {
        "name": "levels",
        "parameters": {"x": {"min": 0.0, "max": 1.0}, "epochs": 27},
        "metrics": {"y": {"goal": "maximize"}},
        "fidelity": {"parameter": "epochs", "min": 1, "max": 27},
        "search": "mf-gp",
        "budget": {"trials": 40},
    }
    study = tuner.Study.create(sweep)
    values = {}
    for _ in range(16):
        (proposal,) = study.ask(1)
        assert proposal.fidelity is not None
        flattered = 10.0 if proposal.fidelity < 27 else 0.0
        values[proposal.trial] = flattered - (proposal.config["x"] - 0.3) ** 2
        study.finish(proposal.trial, Outcome(state="completed", metrics={"y": values[proposal.trial]}))
    best = study.best()
    assert best is not None
    assert best.fidelity == 27
    assert best.metrics["y"] == max(v for v in values.values() if v < 5)
    assert [record.fidelity for record in study.pareto()] == [27.0]
    assert study.recommendation() is None  # the same configuration at other fidelities is no sign of noise
