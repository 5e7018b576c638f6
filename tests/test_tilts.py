"""Tilts of the acquisition function: declared priors (piBO) and seconds a trial."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from tests.strategy_problems import Lab, build, make_problem
from tuner.expressions import parse
from tuner.gp.covariance import Layout
from tuner.gp.model import Hyperparameters, Outcomes, condition
from tuner.gp.transforms import Stretch
from tuner.parameters import Bool, Choice, Float, Int, Permutation, Prior, Simplex, Subset, Vector
from tuner.space import SearchSpace
from tuner.strategies.bayesian import tilts
from tuner.strategies.bayesian.gp import Options, counts_seconds
from tuner.sweep import Budget


def believed() -> SearchSpace:
    """Priors on every kind of parameter, one of them mostly inactive, beside a parameter without."""
    return SearchSpace(
        [
            Float("x", low=-1.0, high=2.0, prior=Prior(0.5, "high")),
            Float("lr", low=1e-5, high=1.0, log=True, prior=Prior(1e-3)),
            Int("k", low=1, high=9, prior=Prior(9, "low")),
            Choice("c", values=("a", "b", "d"), prior=Prior("b", "high")),
            Choice("o", values=(1, 2, 4), ordered=True, prior=Prior(2)),
            Bool("flag", prior=Prior(True)),
            Float("momentum", low=0.0, high=0.99, when="flag and c != 'd'", prior=Prior(0.9, "high")),
            Choice("nested", values=("p", "q"), when="momentum > 0.3", prior=Prior("q")),
            Vector("keep", length=3, low=0.1, high=1.0, monotone="decreasing", when="flag", prior=Prior(0.5)),
            Subset("layers", items=("q", "k", "v"), min_size=1, prior=Prior(["q"])),
            Simplex("mix", items=("web", "code"), prior=Prior({"web": 0.9, "code": 0.1})),
            Permutation("order", items=("i", "j", "l"), prior=Prior(["l", "j", "i"])),
            Float("free", low=0.0, high=1.0),
        ],
        [parse("x + free <= 2.5")],
    )


def test_the_tilt_is_the_log_density_of_prior_and_no_prior_by_trust() -> None:
    space = believed()
    layout = Layout(space)
    X, active = space.encoding.encode_many(space.sample(200, np.random.default_rng(0)))
    assert 0 < active[:, space.encoding.slices["momentum"].start].sum() < 200
    log_density = space.prior_log_density(X, active)
    rows, some = torch.from_numpy(layout.arrange(X, active)), np.arange(0, 200, 25)
    rank = np.array([0, 3, 1, 7, 5, 2, 6, 4])
    t = tilts.trust(log_density[some], rank)
    assert 0.0 < t < 1.0
    for started, weight in ((2, 1.0), (5, 1.0), (20, 0.25)):
        tilt = tilts.prior_tilt(make_problem(space, trials=50), layout, started, rows[some], rank)
        assert tilt is not None
        expected = weight * np.log(t * np.exp(log_density) + 1 - t)
        assert tilt(rows).numpy() == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert np.ptp(expected) > 0.5


def test_trust_is_the_odds_of_a_right_prior_in_a_correlation() -> None:
    # By hand: 7 trials, r = 23 / 28, z = 1.16119, z_1 = artanh 0.6 = 0.69315; ln o = ln 0.25 + 4 z_1 (z - z_1 / 2).
    density, rank = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), np.array([5, 6, 3, 4, 0, 2, 1])
    assert np.corrcoef(density, -rank)[0, 1] == pytest.approx(23 / 28)
    assert tilts.trust(density, rank) == pytest.approx(1 / (1 + 4 * np.exp(-2.258607)), rel=1e-6)
    assert tilts.trust(np.exp(density), rank) == tilts.trust(density, rank)  # ranks only
    many, up = np.arange(40.0), np.arange(40)
    assert tilts.trust(many, up[::-1]) > 0.99  # the denser the better
    assert tilts.trust(many, up) < 1e-6  # the denser the worse
    assert tilts.trust(many, up * 17 % 40) < 0.05  # has nothing to do with merit
    for none in (many[:3], np.zeros(40)):
        assert tilts.trust(none, up[: len(none)]) == pytest.approx(0.2)  # nothing is known yet


def test_a_prior_that_is_contradicted_adds_nothing_where_it_is_densest() -> None:
    space = SearchSpace([Float(f"x{i}", low=0.0, high=1.0, prior=Prior(0.0, "high")) for i in range(4)])
    layout, ends = Layout(space), torch.tensor([[0.0] * 4, [1.0] * 4], dtype=torch.float64)
    X = torch.linspace(0, 1, 10, dtype=torch.float64).unsqueeze(1).expand(10, 4)
    gains = []
    for rank in (np.arange(10), np.arange(10)[::-1]):
        tilt = tilts.prior_tilt(make_problem(space, trials=40), layout, 1, X, rank)
        assert tilt is not None
        gains.append(float(tilt(ends)[0] - tilt(ends)[1]))
    assert gains[0] > 5.0 and 0.0 <= gains[1] < 0.5
    free = make_problem(SearchSpace([Float("x", low=0.0, high=1.0)]))
    assert tilts.prior_tilt(free, Layout(free.space), 1, X[:, :1], np.arange(10)) is None
    assert tilts.together(None, None) is None


def test_every_third_trial_of_the_initial_design_is_drawn_from_the_priors() -> None:
    # The first is where they are densest. Draws have a log density above 1.5, 99 of 100; as few uniform points have.
    space = SearchSpace([Float(f"x{i}", low=0.0, high=1.0, prior=Prior(0.9, "high")) for i in range(6)])
    lab = Lab(make_problem(space))
    configs = lab.run(build("gp", lab.problem, initial=8), 8)
    density = space.prior_log_density(space.encoding.encode_many(configs)[0])
    assert configs[0] == pytest.approx(dict.fromkeys(configs[0], 0.9))
    assert density[[2, 5]].min() > 1.5 > density[[1, 3, 4, 6, 7]].max()


def best_gaps(at: float | None, n: int, seed: int) -> list[float]:
    """How far the best of n trials so far is from the top of a wavy bowl in three columns; a prior at `at` in each."""
    prior = None if at is None else Prior(at)
    space = SearchSpace([Float(f"x{i}", low=0.0, high=1.0, prior=prior) for i in range(3)])
    lab = Lab(make_problem(space, trials=24, seed=seed))
    strategy = build("gp", lab.problem, fit_steps=30)
    gaps = []
    for _ in range(n):
        (proposal,) = lab.ask(strategy)
        z = np.array([proposal.config[f"x{i}"] for i in range(3)]) - 0.2
        gaps.append(float(10 * np.square(z).sum() + (1 - np.cos(9 * z)).sum()))
        lab.add(proposal.config, metrics={"f0": -gaps[-1]})
    return [min(gaps[: i + 1]) for i in range(n)]


def test_a_good_prior_speeds_the_search_up_and_a_wrong_one_is_forgotten() -> None:
    # What Hvarfner et al. 2022 show, made small: medians of three seeds.
    cold, good, wrong = (np.median([best_gaps(at, 16, seed) for seed in range(3)], axis=0) for at in (None, 0.3, 1.0))
    assert good[11] <= 0.3 * cold[11]
    assert good[15] <= 0.3 * cold[15]
    assert wrong[15] <= 1.5 * cold[15]


def seconds_of(config: Any) -> float:
    """Ten times as many in the lower half of x."""
    return 10.0 if config["x"] < 0.5 else 1.0


def dear_trials(per_second: bool | None, seed: int) -> int:
    """How many of trials 3 to 9 are in the half where trials take ten times as long; both have a top, equally high."""
    space = SearchSpace([Float("x", low=0.0, high=1.0), Float("y", low=0.0, high=1.0)])
    problem = dataclasses.replace(make_problem(space, seed=seed), budget=Budget(time=3600.0))
    lab = Lab(problem)
    strategy = build("gp", problem, per_second=per_second, fit_steps=30)
    for _ in range(10):
        (proposal,) = lab.ask(strategy)
        x, y = proposal.config["x"], proposal.config["y"]
        value = -((abs(x - 0.5) - 0.3) ** 2) - (y - 0.5) ** 2
        lab.seconds[lab.add(proposal.config, metrics={"f0": value})] = seconds_of(proposal.config)
    return sum(seconds_of(config) > 1.0 for config, _, _ in list(lab.trials.values())[3:])


def test_of_two_equal_tops_the_one_of_quick_trials_is_tried_when_time_runs_out() -> None:
    by_seconds, by_trials = (sum(dear_trials(which, seed) for seed in range(4)) for which in (None, False))
    assert by_trials >= 8  # of 28: either half is as good
    assert by_seconds <= 0.7 * by_trials


def test_seconds_count_by_themselves_only_when_time_is_all_that_runs_out() -> None:
    problem = make_problem(SearchSpace([Float("x", low=0.0, high=1.0)]))
    budgets = [Budget(time=60.0), Budget(time=60.0, trials=9), Budget(trials=9)]
    found = [counts_seconds(dataclasses.replace(problem, budget=budget), Options().per_second) for budget in budgets]
    assert found == [True, False, False]
    assert counts_seconds(problem, True)


@pytest.mark.parametrize("transform", ["none", "stretch 4"])
def test_the_seconds_tilt_is_minus_the_predicted_logarithm(transform: str) -> None:
    X = torch.linspace(0, 1, 9, dtype=torch.float64).unsqueeze(-1)
    logs = 2.0 + 3.0 * X
    kernel = Layout(SearchSpace([Float("x", low=0.0, high=1.0)])).covariance()
    surrogate = condition(X, logs, {0: Hyperparameters(kernel, 1e-6, transform)}, Outcomes(stretched=True))
    assert isinstance(surrogate.transforms.get(0), Stretch) == (transform != "none")
    tilt = tilts.seconds_tilt(surrogate, 0)
    assert tilt is not None
    assert tilt(X).detach().numpy() == pytest.approx(-logs[:, 0].numpy(), abs=0.01)
    assert tilts.seconds_tilt(surrogate, None) is None
