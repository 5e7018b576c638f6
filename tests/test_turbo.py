"""The turbo strategy: when its region changes, what lies in it, and what it finds."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch

from tests.strategy_problems import Lab, all_kinds, build, conditional, make_problem, numeric, restricted
from tuner import catalog
from tuner.gp.covariance import Layout
from tuner.gp.model import fit_surrogate
from tuner.gp.optimize import one_thread
from tuner.parameters import Choice, Float, Int
from tuner.space import SearchSpace
from tuner.strategies.bayesian.candidates import Candidates
from tuner.strategies.bayesian.regions import region, stretches
from tuner.strategies.bayesian.trust import Rules, Trust, replay
from tuner.strategies.bayesian.turbo import Options

RULES = Rules(initial=2, first=0.8, least=0.3, most=1.6, successes=2, failures=3)


def line() -> SearchSpace:
    return SearchSpace([Float("x", low=0.0, high=1.0)])


def cube(d: int) -> SearchSpace:
    return SearchSpace([Float(f"x{j}", low=0.0, high=1.0) for j in range(d)])


def told(values: list[Any], **problem: Any) -> Lab:
    """A study whose trials had these values of f0, or these metrics; None failed."""
    lab = Lab(make_problem(line(), **problem))
    for i, value in enumerate(values):
        metrics = value if isinstance(value, dict) else {"f0": value}
        lab.add({"x": (i + 1) / 100}, state="failed" if value is None else "completed", metrics=metrics)
    return lab


def test_a_region_doubles_after_successes_and_halves_after_failures() -> None:
    values = [0.0, 1.0]
    assert replay(told(values).history(), RULES) == Trust(0.8)
    values += [2.0, 3.0]
    assert replay(told(values).history(), RULES) == Trust(1.6)
    values += [4.0, 5.0]
    assert replay(told(values).history(), RULES) == Trust(1.6)  # it is as large as it gets
    values += [4.0, None]
    assert replay(told(values).history(), RULES) == Trust(1.6, failures=2)
    values += [5.0]  # as good is not better
    assert replay(told(values).history(), RULES) == Trust(0.8)
    assert replay(told([*values, 6.0]).history(), RULES) == Trust(0.8, successes=1)


def test_too_small_a_region_starts_over_and_forgets() -> None:
    rules = Rules(initial=2, first=0.8, least=0.3, most=1.6, successes=2, failures=1)
    values = [5.0, 4.0, 3.0, 2.0]
    assert replay(told(values).history(), rules) == Trust(0.8, start=4, restarts=1)
    values += [0.0, 1.0, 2.0]  # worse than before the start, but the best since
    assert replay(told(values).history(), rules) == Trust(0.8, start=4, restarts=1, successes=1)
    kept = Rules(initial=2, first=0.8, least=0.3, most=1.6, successes=2, failures=1, forgets=False)
    assert replay(told(values[:4]).history(), kept) == Trust(0.8, restarts=1)
    assert replay(told(values[:5]).history(), kept) == Trust(0.4, restarts=1)


def test_less_violation_is_a_success_until_something_is_feasible() -> None:
    values: list[Any] = [{"f0": 9.0, "g": 4.9}, {"f0": 8.0, "g": 3.9}, {"f0": 0.0, "g": 2.9}]
    assert replay(told(values, constraint=True).history(), RULES).successes == 1
    values += [{"f0": -5.0, "g": 0.5}]  # the first that is feasible
    assert replay(told(values, constraint=True).history(), RULES) == Trust(1.6)
    values += [{"f0": 99.0, "g": 1.0}]
    assert replay(told(values, constraint=True).history(), RULES) == Trust(1.6, failures=1)


def test_what_is_not_dominated_is_a_success() -> None:
    values = [{"f0": a, "f1": b} for a, b in ((0.0, 0.0), (1.0, 1.0), (0.5, 0.5))]  # f1 is minimised
    assert replay(told(values, objectives=2).history(), RULES).successes == 1
    values += [{"f0": 0.4, "f1": 0.6}]
    assert replay(told(values, objectives=2).history(), RULES).failures == 1


def test_a_region_holds_its_box_and_few_unordered_changes() -> None:
    space = SearchSpace(
        [Float("x", low=0, high=1), Int("k", low=1, high=10), *(Choice(f"c{i}", values=("a", "b")) for i in range(4))]
    )
    config = {"x": 0.5, "k": 5, **{f"c{i}": "a" for i in range(4)}}
    x, active = space.encoding.encode(config)
    small = region(space, x, active, 0.02, np.ones(6), "")
    rows = [{}, {"x": 0.505}, {"x": 0.52}, {"k": 6}, {"k": 7}, {"c0": "b"}, {"c0": "b", "c1": "b"}]
    held = small.holds(space.encoding.encode_many([{**config, **row} for row in rows])[0])
    assert held.tolist() == [True, True, False, True, False, True, False]
    drawn = small.draw(200, np.random.default_rng(0))
    assert (np.abs(drawn - x) > 0).any(axis=1).all()
    assert ((drawn[:, :2] >= small.low[:2]) & (drawn[:, :2] <= small.high[:2])).all()


def test_sides_are_in_proportion_to_the_lengthscales() -> None:
    kernel = catalog.load("kernels", "matern").Matern(3).double()
    kernel.lengthscale = torch.tensor([1.0, 2.0, 4.0])
    X = torch.rand(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with one_thread():
        surrogate = fit_surrogate(X, X[:, :1], covariance=lambda: kernel, maxiter=1, starts=1)
    kernel.lengthscale = torch.tensor([1.0, 2.0, 4.0])
    found = stretches(surrogate, X[:1], 3)
    assert np.prod(found) == pytest.approx(1.0)
    assert found / found[0] == pytest.approx([1.0, 2.0, 4.0], rel=0.02)  # a step of 0.1 is not quite nothing


@pytest.mark.parametrize("space", [numeric, conditional, restricted, all_kinds])
def test_candidates_of_a_region_are_feasible_and_climb_within_it(space: Any) -> None:
    class Right:
        """Rises with every column, fastest at the centre."""

        device = torch.device("cpu")
        name = "right"

        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return x.sum(dim=1)

        def smoothed(self, *args: object) -> Any:
            import contextlib

            return contextlib.nullcontext()

    found: SearchSpace = space()
    config = found.sample(1, np.random.default_rng(3))[0]
    x, active = found.encoding.encode(config)
    near = region(found, x, active, 0.1, np.ones(len(x)), "")
    candidates = Candidates(Layout(found), found, x[None], 64, np.random.default_rng(0), region=near)
    ranked = candidates.ranked(Right(), restarts=2, maxiter=10)  # type: ignore[arg-type]
    assert ranked
    for _, candidate in ranked:
        assert found.contains(candidate)
        assert found.feasible(candidate)
    if space is numeric:
        best, _ = found.encoding.encode(ranked[0][1])
        assert near.holds(best[None]).all()
        assert best[:2] == pytest.approx(near.high[:2], abs=1e-6)


def test_the_provenance_tells_the_length_and_the_restart() -> None:
    lab = Lab(make_problem(numeric()))
    strategy = build("turbo", lab.problem)
    reasons = []
    for _ in range(16):
        (proposal,) = lab.ask(strategy)
        value = lab.measure(proposal.config)["f0"] if len(lab.trials) < 4 else -1.0
        lab.add(proposal.config, metrics={"f0": value})
        reasons.append(proposal.provenance.reason)
    assert reasons[4] == "qLogNEI over 4 trials; trust region of length 0.8"
    assert reasons[6] == "qLogNEI over 6 trials; trust region of length 0.4"
    assert reasons[8] == "initial design, 1 of 4; restart 1"
    assert reasons[12] == "qLogNEI over 4 trials; trust region of length 0.8; restart 1"


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="length_min <= length_initial"):
        Options(length_initial=0.001)
    with pytest.raises(ValueError, match="failure_tolerance must be >= 1"):
        Options(failure_tolerance=0)


def test_a_bowl_in_ten_columns_is_descended() -> None:
    problem = make_problem(cube(10), trials=18)
    lab, target = Lab(problem), np.random.default_rng(1).uniform(0.3, 0.7, 10)
    strategy = build("turbo", problem, initial=5, length_min=0.01, failure_tolerance=4, raw_samples=64)
    losses = []
    for _ in range(18):
        (proposal,) = lab.ask(strategy)
        x, _ = problem.space.encoding.encode(proposal.config)
        losses.append(float(np.square(x - target).sum()))
        lab.add(proposal.config, metrics={"f0": -losses[-1]})
    # Random points of the cube lie at 10 (1/12 + about 0.01) = 0.9 from the target, with a deviation of 0.3.
    assert min(losses) < 0.5 * min(losses[1:5])


def test_a_suggestion_is_quick_at_a_hundred_columns_and_a_thousand_trials() -> None:
    problem = make_problem(cube(100), trials=2000)
    lab = Lab(problem)
    for x in np.random.default_rng(0).random((1000, 100)):
        lab.add({f"x{j}": float(u) for j, u in enumerate(x)}, metrics={"f0": float(-np.square(x - 0.4).sum())})
    strategy = catalog.load("strategies", "turbo").build(problem, Options(failure_tolerance=5000))
    history = lab.history()
    strategy.suggest(history, 1, np.random.default_rng(0))  # learns
    started = time.process_time()
    (proposal,) = strategy.suggest(history, 1, np.random.default_rng(1))
    assert time.process_time() - started < 3.0
    assert proposal.provenance.engine == "turbo"
