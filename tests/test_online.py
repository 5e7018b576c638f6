"""Online bandits in the study: contexts, replaying, the conservative wrapper, and sweeps from the command line."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.strategy_problems import Lab, make_problem, numeric
from tuner import catalog
from tuner.errors import ObjectiveError, SweepError, UsageError
from tuner.parameters import Choice, Float, Int
from tuner.problem import Problem
from tuner.proposer import make_strategy
from tuner.space import SearchSpace
from tuner.strategies.bandit.arms import arms_of
from tuner.strategies.bandit.conservative import Conservative
from tuner.strategies.bandit.contextual import contextual
from tuner.study import Study
from tuner.trial import Metric

NAMES = ("tsallis-inf", "chebcb", "thompson", "ucb")
Array = NDArray[np.float64]


def context(number: int) -> tuple[float, ...]:
    """In [0, 1), a function of the number."""
    return (number * 0.6180339887 % 1.0,)


def loss(x: float, number: int) -> float:
    return 1.0 + 30.0 * (x - context(number)[0]) ** 2


class Stream:
    """Where the best x is the context."""

    space = SearchSpace([Float("x", 0.0, 1.0)])
    metrics = {"loss": Metric(name="loss", goal="minimize")}  # noqa: RUF012
    context_bounds = ((0.0, 1.0),)

    def context(self, number: int) -> tuple[float, ...]:
        return context(number)

    def evaluate(self, config: dict[str, Any], trial: Any) -> dict[str, float]:
        assert trial.context == context(trial.number)
        return {"loss": loss(config["x"], trial.number)}


def build_stream() -> Stream:
    return Stream()


def sweep(method: str, **more: Any) -> dict[str, Any]:
    search = {"method": method, **more.pop("search", {})}
    return {"name": "stream", "objective": "tests.test_online:Stream", "search": search, **more}


def played(study: Study, n: int) -> list[float]:
    """The losses of n trials, asked and told in turn."""
    found = []
    for proposal in (study.ask() for _ in range(n)):
        assert proposal.context == context(proposal.trial)
        found.append(loss(proposal.config["x"], proposal.trial))
        study.tell(proposal.trial, {"loss": found[-1]})
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_study_learns_which_arm_suits_the_context(name: str) -> None:
    bins = {"bins": 5} if name == "tsallis-inf" else {}
    with Study.create(sweep(name, search={"arms": 5, **bins})) as study:
        losses = played(study, 300)
    best_fixed = np.mean([loss(0.5, number) for number in range(300)])  # 3.5
    drawn = np.mean([loss(x, number) for number in range(300) for x in np.linspace(0.0, 1.0, 5)])  # 6.2
    limit = drawn if name == "tsallis-inf" else best_fixed  # five bandits of 60 trials each have little to go by
    assert np.mean(losses[-100:]) < 0.75 * limit


@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_study_goes_on_as_one_that_was_not(name: str, tmp_path: Any) -> None:
    with Study.create(sweep(name)) as whole:
        played(whole, 40)
        expected = [record.config["x"] for record in map(whole.read, range(40))]
    for start in range(0, 40, 10):
        study = Study.open(tmp_path / "s") if start else Study.create(sweep(name), tmp_path / "s")
        with study:
            played(study, 10)
            found = [study.read(number).config["x"] for number in range(start + 10)]
            assert study.read(start).context == context(start)
        assert found == expected[: start + 10]


def problem(**more: Any) -> Problem:
    base = make_problem(SearchSpace([Float("x", 0.0, 1.0)]), seed=5)
    return dataclasses.replace(base, context=context, context_bounds=((0.0, 1.0),), noisy=True, **more)


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_strategy_agrees_when_results_come_late(name: str) -> None:
    posed = problem(parallel=3)
    lab, kept = Lab(posed), make_strategy(posed, name, {"arms": 6})
    running: list[int] = []
    for step in range(24):
        (proposal,) = lab.ask(kept)
        (fresh,) = lab.ask(make_strategy(posed, name, {"arms": 6}))
        assert fresh.config == proposal.config
        running.append(lab.add(proposal.config, state="pending"))
        if len(running) == 3:
            lab.finish(running.pop(step % 3), "failed" if step == 9 else "completed")


def test_auto_takes_thompson_when_there_is_a_context() -> None:
    with Study.create(sweep("auto", budget={"trials": 30})) as study:
        proposal = study.ask()
    assert proposal.provenance.engine == "thompson"
    assert "auto chose thompson" in proposal.provenance.reason


def test_a_finite_space_does_not_end_a_stream() -> None:
    with Study.create({**sweep("thompson"), "parameters": {"x": {"min": 0.0, "max": 1.0, "step": 0.5}}}) as study:
        assert len(played(study, 12)) == 12


def test_bandits_without_contexts_find_the_best_arm() -> None:
    posed = {"metrics": {"gain": "maximize"}, "parameters": {"x": {"values": [0.1, 0.4, 0.8]}}}
    for name in ("tsallis-inf", "thompson", "ucb"):
        with Study.create({**posed, "name": "arms", "search": {"method": name}}) as study:
            found = []
            for step in range(120):
                proposal = study.ask()
                found.append(proposal.config["x"])
                study.tell(proposal.trial, {"gain": proposal.config["x"] + 0.05 * np.sin(step)})
        assert np.mean(np.array(found[-40:]) == 0.8) > 0.6, name


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(UsageError, match=r"context\(number\)"):
        make_strategy(make_problem(numeric()), "chebcb", {})
    with pytest.raises(UsageError, match="baseline"):
        make_strategy(problem(), "thompson", {"conservative": 0.1})
    with pytest.raises(UsageError, match="arms must be >= 2"):
        make_strategy(problem(), "ucb", {"arms": 1})
    two = (Metric(name="a", goal="minimize"), Metric(name="b", goal="minimize"))
    with pytest.raises(UsageError, match="one metric"):
        make_strategy(problem(metrics=two), "tsallis-inf", {})


def test_a_context_that_is_none_is_refused() -> None:
    from tuner.problem import make_problem as pose
    from tuner.sweep import load_sweep

    class Broken(Stream):
        def context(self, number: int) -> Any:
            return ("cold",)

    posed = pose(load_sweep(sweep("thompson")), Broken())
    assert posed.context is not None
    with pytest.raises((ObjectiveError, SweepError), match=r"context\(3\) must return finite numbers"):
        posed.context(3)


def test_arms_are_the_whole_of_a_small_space_a_grid_or_draws() -> None:
    small = SearchSpace([Int("n", 1, 4), Choice("c", ("a", "b"))])
    assert len(arms_of(small, 20, 0)) == 8
    line = arms_of(SearchSpace([Float("omega", 1.0, 1.95)]), 20, 0)
    assert [config["omega"] for config in line] == pytest.approx(np.linspace(1.0, 1.95, 20))
    wide = SearchSpace([Float(f"x{i}", 0.0, 1.0) for i in range(8)])
    drawn = arms_of(wide, 20, 0, baseline={f"x{i}": 0.5 for i in range(8)})
    assert len(drawn) == 21
    assert arms_of(wide, 20, 0) == drawn[:20]


def conserved(margin: float, seed: int) -> tuple[Array, Array]:
    """Cumulative cost, and the baseline's, of Thompson sampling held to a margin."""
    places, rng = np.linspace(0.0, 1.0, 9)[:, None], np.random.default_rng(seed)
    model = contextual(places, np.array([[0.0, 1.0]]), seed=seed)
    policy = Conservative(model, model, 2, margin)
    paid, safe = np.empty(400), np.empty(400)
    for number in range(400):
        seen = np.array([context(number)])
        expected = np.array([loss(float(x), number) for x in places[:, 0]]) ** 2
        block = policy.choose(seen, np.array([number]))
        paid[number] = expected[block.arms[0]] * np.exp(0.05 * rng.standard_normal())
        safe[number] = expected[2]
        policy = policy.learned(seen, block, paid[number : number + 1])
    return np.cumsum(paid), np.cumsum(safe)


def test_a_conservative_policy_stays_within_its_margin_and_still_learns() -> None:
    for seed in range(4):
        paid, safe = conserved(0.1, seed)
        # noise of 5% a measurement may push the sum over by a few of them at the start
        assert (paid <= 1.1 * safe + 0.2 * safe[9]).all()
        assert paid[-1] < 0.7 * safe[-1]
    free, safe = conserved(1e9, 0)
    assert free[-1] < 0.5 * safe[-1]


def test_a_conservative_sweep_starts_at_the_baseline() -> None:
    posed = sweep("thompson", search={"conservative": 0.2}, baseline={"x": 0.45})
    with Study.create(posed) as study:
        played(study, 3)
        proposal = study.ask()
        told = [study.read(number) for number in range(3)]
    assert [record.config["x"] for record in told[:2]] == [0.45, 0.45]
    assert proposal.provenance.engine == "thompson"
    assert told[1].provenance.engine == "thompson"


def test_they_are_in_the_catalog() -> None:
    assert set(NAMES) <= set(catalog.names("strategies"))
    summaries = catalog.summaries("strategies")
    assert all(summaries[name] for name in NAMES)
