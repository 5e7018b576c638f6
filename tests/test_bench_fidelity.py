"""The class multi-fidelity: what a trial costs, what a run is judged by, and what the problems say at less."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest

from tuner.bench.cache import Evaluations
from tuner.bench.methods import open_session
from tuner.bench.problem import BenchProblem, Fidelity, floats, minimise
from tuner.bench.problems import functions
from tuner.bench.record import Meter, Record
from tuner.bench.suite import select, suite
from tuner.bench.worker import Run, play
from tuner.errors import UsageError
from tuner.space import SearchSpace

PROBLEMS = select(["all", "multi-fidelity"])


def fake(**changes: Any) -> BenchProblem:
    """x0 in [0, 1], to minimise; at less than 9 epochs the loss is mirrored: the worst looks best."""

    def partial(config: dict[str, Any], level: float) -> dict[str, float]:
        return {"y": config["x0"] if level == 9 else 1 - config["x0"]}

    given: dict[str, Any] = {"fidelity": Fidelity("epochs", 1, 9), **changes}
    return BenchProblem(
        name="fake", kind="multi-fidelity", split="dev", space=SearchSpace(floats([(0, 1)])), metrics=minimise("y"),
        evaluate=lambda config: {"y": config["x0"]}, partial=partial, best=0.0, source="here", **given,
    )  # fmt: skip


# --- cost and merit ---


def test_a_trial_costs_its_share() -> None:
    meter = Meter(Fidelity("rows", 1, 9))
    assert meter.level(None) == 9 and meter.level(0.1) == 1 and meter.level(20) == 9
    assert [meter.charge(b"a", level) for level in (1, 3, 9)] == pytest.approx([1 / 9, 1 / 3, 1.0])


def test_training_that_continues_costs_the_difference() -> None:
    meter = Meter(Fidelity("epochs", 1, 9, continues=True))
    assert [meter.charge(b"a", level) for level in (1, 3, 9)] == pytest.approx([1 / 9, 2 / 9, 6 / 9])
    assert meter.charge(b"a", 9) == 1.0  # the same again begins again
    assert meter.charge(b"b", 3) == pytest.approx(1 / 3)


def test_a_run_is_judged_by_the_best_at_its_highest_fidelity() -> None:
    problem = fake()
    record = Record(problem, Evaluations(problem, None), 0)
    record.run({"x0": 0.9}, 1)  # looks good
    record.run({"x0": 0.1}, 1)
    assert record.spent == pytest.approx(2 / 9)
    assert record.merit(1) == -0.9
    record.run({"x0": 0.5}, 9)
    record.run({"x0": 0.4}, None)
    assert record.merit(2) == -0.5  # the last one ended beyond a budget of 2
    assert record.merit(3) == -0.4


def test_methods_that_ignore_fidelity_are_judged_as_everywhere() -> None:
    line = play(Run("fake", "random", 0, 30), fake())
    plain = play(Run("fake", "random", 0, 30), fake(fidelity=None))
    assert line["at"] == plain["at"] and len(line["suggest_s"]) == 30


def test_hyperband_climbs_rungs_until_the_budget_is_spent() -> None:
    problem = suite()["hartmann6-levels"]
    session: Any = open_session("optuna-tpe-hyperband", problem, 10, 0, 60.0)
    record = Record(problem, Evaluations(problem, None), 0)
    climbed: list[tuple[bytes, float]] = []
    while record.spent < 10:
        config = session.ask()
        climbed.append((problem.space.key(config), session.fidelity))
        session.tell(config, record.run(config, session.fidelity))
    assert {level for _, level in climbed} == {1.0, 3.0, 9.0, 27.0}
    for (before, low), (after, high) in itertools.pairwise(climbed):
        assert (after == before and high == 3 * low) or high == 1.0
    line = play(Run(problem.name, "optuna-tpe-hyperband", 0, 10), problem)
    assert line["status"] == "done" and len(line["suggest_s"]) == len(climbed)
    with pytest.raises(UsageError, match="has none; use optuna-tpe"):
        open_session("optuna-tpe-hyperband", suite()["tree"], 5, 0, 60.0)


def test_a_strategy_is_told_of_the_fidelity_and_of_what_was_spent() -> None:
    problem = suite()["branin-levels"]
    session: Any = open_session("random", problem, 3, 0, 60.0)
    study = session._study
    assert (study.problem.fidelity.min, study.problem.fidelity.max) == (1, 27)
    assert study.problem.space.encoding.dim == 2  # the fidelity is no column
    ask = study.ask

    def ask_for_less(n: int) -> Any:
        return [dataclasses.replace(proposal, fidelity=9.0) for proposal in ask(n)]

    study.ask = ask_for_less
    config = session.ask()
    assert problem.space.contains(config) and session.fidelity == 9.0
    session.tell(config, problem.at(config, 9.0))
    (record,) = study.records()
    assert record.metrics["full_trials"] == pytest.approx(1 / 3)
    assert study.history.seconds[0] == pytest.approx(20.0)


# --- the problems ---


@pytest.mark.parametrize("name", [p.name for p in PROBLEMS])
def test_problems_have_one_goal_and_rungs(name: str) -> None:
    problem = suite()[name]
    assert problem.fidelity is not None and problem.partial is not None and len(problem.goals) == 1
    assert not problem.noise and problem.fidelity.parameter not in problem.space.names
    rungs = math.log(problem.fidelity.max / problem.fidelity.min, 3)
    assert rungs == pytest.approx(round(rungs))  # whole numbers at every rung a factor of 3 apart


@pytest.mark.parametrize("name", [p.name for p in PROBLEMS if not p.name.startswith("counting")])
def test_the_highest_level_is_the_truth_and_the_lowest_is_not(name: str) -> None:
    problem = suite()[name]
    assert problem.fidelity is not None
    config = problem.space.sample(1, np.random.default_rng(1))[0]
    assert problem.at(config, problem.fidelity.max) == problem.evaluate(config)
    assert problem.at(config, problem.fidelity.min) != problem.evaluate(config)


def test_published_forms_at_both_ends() -> None:
    branin, borehole, park = (suite()[f"{name}-levels"] for name in ("branin", "borehole", "park"))
    x = {"x0": 2.0, "x1": 3.0}
    assert branin.evaluate(x)["y"] == pytest.approx(functions.branin(np.array([2.0, 3.0])))
    # by hand from the formulas of Xiong et al. 2013, at a point of round numbers
    well = dict(zip([f"x{i}" for i in range(8)], (0.1, 0.1 * math.exp(10), 1e5, 1000.0, 100.0, 800.0, 1500.0, 1e4)))
    leak = 2 * 1500 * 1e5 / (10 * 0.01 * 1e4) + 1000
    assert borehole.evaluate(well)["y"] == pytest.approx(2 * math.pi * 1e5 * 200 / (10 * (1 + leak)))
    assert borehole.at(well, 1)["y"] == pytest.approx(5 * 1e5 * 200 / (10 * (1.5 + leak)))
    ones = {f"x{i}": 1.0 for i in range(4)}
    high = 0.5 * (math.sqrt(3) - 1) + 4 * math.exp(1 + math.sin(1))
    assert park.evaluate(ones)["y"] == pytest.approx(high)
    assert park.at(ones, 1)["y"] == pytest.approx((1 + math.sin(1) / 10) * high - 2 + 1 + 1 + 0.5)


def test_counting_ones_is_unbiased_and_its_noise_shrinks() -> None:
    problem = suite()["counting-ones-8-8"]
    configs = problem.space.sample(400, np.random.default_rng(0))
    truth = np.array([problem.evaluate(config)["loss"] for config in configs])
    for samples in (9, 729):
        errors = np.array([problem.at(config, samples)["loss"] for config in configs]) - truth
        # 8 means of n draws, chances uniform: variance 8 E[p (1 - p)] / n = 8 / 6 / n
        sd = math.sqrt(8 / 6 / samples)
        assert abs(errors.mean()) < 5 * sd / 20  # five standard errors of 400: false alarm below 1 in 10^6
        assert errors.std() == pytest.approx(sd, rel=0.2)  # its own standard error is 3.5%: false alarm 1 in 10^8
    assert problem.at(configs[0], 9) == problem.at(configs[0], 9)


def test_costly_values_are_kept_by_level(tmp_path: Any) -> None:
    calls: list[float] = []

    def partial(config: Any, level: float) -> dict[str, float]:
        calls.append(level)
        return {"y": config["x0"] * level}

    problem = fake(costly=True)
    object.__setattr__(problem, "partial", partial)
    for _ in range(2):
        kept = Evaluations(problem, tmp_path)
        assert kept.values({"x0": 0.5}, 3) == {"y": 1.5}
        assert kept.values({"x0": 0.5}, 9) == kept.values({"x0": 0.5}) == {"y": 0.5}
    assert calls == [3]
