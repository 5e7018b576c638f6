"""bohb: its densities against closed forms, which trials it learns from, and that it beats random search."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tests.strategy_problems import Lab, build, conditional, make_problem, numeric
from tuner.bench.suite import suite
from tuner.bench.worker import Run, play
from tuner.errors import UsageError
from tuner.randomness import generator
from tuner.strategies.bandit.bohb import Model, Options
from tuner.strategies.bandit.density import Density, filled, fit
from tuner.strategies.bandit.rungs import checked_ladder
from tuner.sweep import Fidelity

NUMERIC, MIXED = np.array([0, 0]), np.array([0, 3])


def test_bandwidths_are_the_normal_reference() -> None:
    X = np.array([[0.1, 1 / 6], [0.5, 1 / 2], [0.6, 1 / 2], [0.8, 5 / 6]])
    h = fit(X, MIXED, 1e-3).h
    assert h[0] == pytest.approx(1.06 * np.std(X[:, 0]) * 4 ** (-1 / 6))
    assert h[1] == pytest.approx(1.06 * np.std([0, 1, 1, 2]) * 4 ** (-1 / 6))  # of level numbers
    assert fit(np.full((3, 2), 0.5), NUMERIC, 0.02).h.tolist() == [0.02, 0.02]
    far = np.array([[1 / 6], [5 / 6]] * 2)
    assert fit(far, np.array([3]), 1e-3).h[0] == pytest.approx(2 / 3)  # every level is as likely: no more than that


def test_a_density_is_the_mean_of_products_of_kernels_and_sums_to_one() -> None:
    density = Density(np.array([[0.4, 1 / 6], [0.5, 5 / 6]]), np.array([0.1, 0.3]), MIXED)
    gauss = [math.exp(-0.5 * (z / 0.1) ** 2) / (0.1 * math.sqrt(2 * math.pi)) for z in (0.05, 0.05)]
    assert density.log(np.array([[0.45, 1 / 6]]))[0] == pytest.approx(math.log((gauss[0] * 0.7 + gauss[1] * 0.15) / 2))
    grid = np.linspace(-0.5, 1.5, 2001)
    points = np.array([[x, (level + 0.5) / 3] for x in grid for level in range(3)])
    assert np.exp(density.log(points)).sum() * (grid[1] - grid[0]) == pytest.approx(1.0, abs=1e-6)
    assert density.log(np.array([[99.0, 0.5]]))[0] == pytest.approx(math.log(1e-32))


def test_samples_lie_around_good_points_and_in_the_cube() -> None:
    density = Density(np.array([[0.02, 1 / 6]]), np.array([0.05, 0.3]), MIXED)
    points = density.sample(4000, np.random.default_rng(0), factor=2.0)
    assert points.min() >= 0.0
    assert points.max() <= 1.0
    # N(0.02, 0.1^2) cut to [0, 1] has mean 0.02 + 0.1 phi(0.2) / (1 - Phi(-0.2)) = 0.0875; four standard errors of it
    assert points[:, 0].mean() == pytest.approx(0.0875, abs=0.004)
    # kept with chance 0.7, else any of three: 0.8; four standard errors
    assert np.isclose(points[:, 1], 1 / 6).mean() == pytest.approx(0.8, abs=0.026)
    assert set(np.round(points[:, 1], 6)) == set(np.round([1 / 6, 1 / 2, 5 / 6], 6))


def test_inactive_columns_take_what_others_have_there() -> None:
    X = np.array([[0.1, 1 / 6, 0.5], [0.2, 5 / 6, 0.5], [0.3, 0.5, 0.5]])
    active = np.array([[True, True, False], [True, True, False], [True, False, False]])
    full = filled(X, active, np.array([0, 3, 2]), np.random.default_rng(0))
    assert full[:2, :2].tolist() == X[:2, :2].tolist()
    assert full[2, 1] in (1 / 6, 5 / 6)
    assert set(full[:, 2]) <= {0.25, 0.75}


def lab_at(levels: list[float], states: list[str] | None = None) -> tuple[Lab, Model]:
    problem = dataclasses.replace(make_problem(numeric()), fidelity=Fidelity(parameter="epochs", min=1, max=9))
    lab = Lab(problem)
    configs = problem.space.sample(len(levels), np.random.default_rng(3))
    for config, level, state in zip(configs, levels, states or ["completed"] * len(levels), strict=True):
        lab.add(config, fidelity=level, state=state)
    return lab, Model(problem, Options(random_fraction=0.0), checked_ladder(problem, "bohb", 3))


@pytest.mark.parametrize(
    ("levels", "learns"),
    [
        ([1.0] * 3, None),
        ([1.0] * 4, "epochs=1"),
        ([1.0] * 9 + [3.0] * 3, "epochs=1"),
        ([1.0] * 9 + [3.0] * 4, "epochs=3"),
        ([1.0] * 9 + [3.0] * 4 + [9.0] * 4, "epochs=9"),
    ],
)
def test_it_learns_from_the_highest_fidelity_with_columns_plus_one_trials(levels: list[float], learns: str) -> None:
    lab, model = lab_at(levels)
    found = model(lab.history(), 2, generator(0, 99))
    assert [learns in provenance.reason for _, provenance in found[:2]] == ([True] * 2 if learns else [])


def test_failed_trials_are_among_the_worst_and_pruned_ones_count_nowhere() -> None:
    lab, model = lab_at([1.0] * 9, ["completed"] * 6 + ["failed", "pruned", "infeasible"])
    (_, provenance), *_ = model(lab.history(), 1, generator(0, 99))
    assert "the best 4 of 8 at epochs=1" in provenance.reason


def test_it_proposes_near_the_good_and_away_from_the_bad() -> None:
    lab, model = lab_at([1.0] * 60)
    space = lab.problem.space
    X, _ = space.encoding.encode_many([config for config, _ in model(lab.history(), 40, generator(0, 99))[:40]])
    drawn, _ = space.encoding.encode_many(space.sample(40, np.random.default_rng(1)))
    assert np.abs(X - 0.3).mean() < 0.6 * np.abs(drawn - 0.3).mean()  # the lab's optimum is at 0.3 everywhere


@pytest.mark.parametrize("model", ["kde", "gp"])
def test_both_models_propose_in_conditional_spaces(model: str) -> None:
    lab = Lab(make_problem(conditional(), constraint=True))
    strategy = build("bohb", lab.problem, model=model, random_fraction=0.0)
    lab.run(strategy, 9)
    reasons = [proposal.provenance.reason for proposal in lab.ask(strategy, 3)]
    assert any(("dense among" if model == "kde" else "gp at") in reason for reason in reasons)


def test_options_that_do_not_fit_are_refused() -> None:
    for wrong in (
        {"model": "rf"},
        {"eta": 1},
        {"random_fraction": 2.0},
        {"top": 0.0},
        {"min_points": 1},
        {"brackets": 0},
    ):
        with pytest.raises(ValueError, match="must"):
            Options(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="add `fidelity:"):
        checked_ladder(make_problem(numeric()), "bohb", 3)


def test_it_halves_random_searchs_regret_on_counting_ones() -> None:
    """Falkner et al. 2018, their first experiment, at the cost of 32 full evaluations; 0.110 against 0.275 there."""
    problem = suite()["counting-ones-8-8"]

    def regret(method: str) -> float:
        lines = [play(Run(problem.name, method, seed, 32), problem) for seed in range(2)]
        return 1.0 - float(np.mean([line["at"]["32"] for line in lines])) / 16.0

    assert regret("bohb") <= 0.5 * regret("random")


def test_half_of_the_kinds_of_brackets_are_used_unless_told() -> None:
    problem = dataclasses.replace(make_problem(numeric()), fidelity=Fidelity(parameter="epochs", min=1, max=27))
    starts = {}
    for brackets in (None, 1, 4):
        lab = Lab(problem)
        lab.run(build("bohb", problem, brackets=brackets), 90)
        starts[brackets] = {lab.fidelities.get(number, 27) for number in lab.trials if number not in lab.origins}
    assert starts == {None: {1, 3}, 1: {1}, 4: {1, 3, 9, 27}}
