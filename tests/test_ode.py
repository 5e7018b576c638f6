"""The objective `ode`: denoisers, orders of the solvers, exact flows, schedules, procedures, samplers, spaces."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from tuner.objectives.solver import (
    ode_metrics,
    ode_mixtures,
    ode_plans,
    ode_procedures,
    ode_sampling,
    ode_schedules,
    ode_solvers,
)
from tuner.objectives.solver.ode import Ode, build
from tuner.objectives.solver.ode_sampling import Plan
from tuner.search_spaces.ode import spaces

from tuner import catalog
from tuner.errors import UsageError
from tuner.trial import Trial

Array = NDArray[np.float64]
ONE_PASS = [name for name, rule in ode_solvers.SOLVERS.items() if rule.stages == 1 and not rule.momentum]


def gaussian(c: float = 0.5, *, dim: int = 2) -> ode_mixtures.Mixture:
    mean = torch.linspace(-1.0, 1.0, dim, dtype=torch.float64)[None, :]
    zero = torch.zeros(1, dtype=torch.float64)
    return ode_mixtures.Mixture(zero, mean, zero + c**2)


def normal(n: int, dim: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, dim)))


def flowed(mixture: ode_mixtures.Mixture, y: Tensor, start: float, end: float) -> Tensor:
    """The exact flow of one Gaussian: deviations shrink by sqrt((c^2 + end^2) / (c^2 + start^2))."""
    c2 = float(mixture.variances[0])
    return mixture.means + (y - mixture.means) * math.sqrt((c2 + end**2) / (c2 + start**2))


# -- mixtures ----------------------------------------------------------------------------------------------------------


def test_the_denoiser_is_the_posterior_mean() -> None:
    mixture, rho = ode_mixtures.drawn(2, 3, 4), torch.tensor(0.7, dtype=torch.float64)
    y = normal(5, 2)

    def log_density(at: Tensor) -> Tensor:
        v = mixture.variances + rho**2
        squares = (at[:, None, :] - mixture.means).square().sum(dim=2)
        return torch.logsumexp(mixture.log_weights - v.log() - squares / (2.0 * v), dim=1)

    at = y.clone().requires_grad_()
    (score,) = torch.autograd.grad(log_density(at).sum(), at)
    tweedie = y + rho**2 * score  # E[X | y] = y + rho^2 grad log p (Robbins 1956)
    assert torch.allclose(ode_mixtures.exact(mixture)(y, rho), tweedie, atol=1e-12)


def test_a_noise_for_every_sample_is_the_same_as_one_after_another() -> None:
    denoise, y = ode_mixtures.exact(ode_mixtures.drawn(3, 4, 0)), normal(6, 3)
    levels = torch.linspace(0.1, 3.0, 6, dtype=torch.float64)
    together = denoise(y, levels[:, None])
    alone = torch.stack([denoise(row, level) for row, level in zip(y, levels, strict=True)])
    assert torch.allclose(together, alone, atol=1e-12)


def test_draws_have_the_mixtures_moments() -> None:
    mixture = ode_mixtures.drawn(4, 5, 1)
    x = ode_mixtures.samples(mixture, 40_000, 0)
    w = mixture.log_weights.exp()
    assert float(w.sum()) == pytest.approx(1.0)
    # 5 standard errors of a mean of unit-scale samples: a false alarm in a million
    assert float((x.mean(dim=0) - w @ mixture.means).abs().max()) < 5.0 * 1.5 / math.sqrt(40_000)
    assert float((x - x.mean(dim=0)).square().mean().sqrt()) == pytest.approx(mixture.sd, rel=0.02)


def test_a_wrong_denoiser_is_as_wrong_as_asked() -> None:
    mixture = ode_mixtures.drawn(16, 4, 2)
    right, off = ode_mixtures.exact(mixture), ode_mixtures.wrong(mixture, 0.1, 2)
    rho = torch.tensor(0.5, dtype=torch.float64)
    y = ode_mixtures.samples(mixture, 2_000, 3) + rho * normal(2_000, 16)
    error = float((off(y, rho) - right(y, rho)).square().mean().sqrt())
    scale = 0.5 * mixture.sd / math.hypot(0.5, mixture.sd)
    assert error == pytest.approx(0.1 * scale, rel=0.1)  # 16 random waves, each of unit mean square over the data


# -- solvers -----------------------------------------------------------------------------------------------------------


def graded(n: int, order: int, *, start: float = 2.0, end: float = 0.2) -> list[float]:
    """n even steps in log rho, the first divided until Euler's error in it is of the method's order."""
    logs = np.linspace(math.log(start), math.log(end), n + 1)
    h = logs[1] - logs[0]
    fractions = [2.0**-k for k in range(math.ceil(order * math.log2(n)), 0, -1)]
    inner = [logs[0] + h * fraction for fraction in fractions]
    return [float(rho) for rho in np.exp([logs[0], *inner, *logs[1:]])]


@pytest.mark.parametrize("path", ["ve", "flow"])
@pytest.mark.parametrize("name", [*ONE_PASS, "heun"])
def test_halving_the_step_divides_the_error_by_two_to_the_order(name: str, path: str) -> None:
    rule, mixture = ode_solvers.SOLVERS[name], ode_mixtures.drawn(2, 3, 0)
    order = 2 if name == "heun" else rule.order
    denoise, y = ode_mixtures.exact(mixture), 2.0 * normal(32, 2)
    ends = ode_sampling.fine(denoise, y, np.geomspace(2.0, 0.2, 400).tolist())[-1]
    errors = []
    for n in (96, 192):
        knots = np.geomspace(2.0, 0.2, n + 1).tolist() if name == "heun" else graded(n, order)
        reached, count = ode_sampling.walk(denoise, y, Plan(knots=knots, solvers=[name] * (len(knots) - 1), path=path))
        errors.append(ode_metrics.endpoint_error(reached, ends))
        assert count == len(knots) - 1
    # log2 of the ratio tends to the order from either side; the steps are small, but not infinitely so
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize("name", ["euler", "ab2", "deis-1", "dpm-2"])
def test_the_corrector_raises_the_order_by_one_and_costs_nothing(name: str) -> None:
    rule, mixture = ode_solvers.SOLVERS[name], ode_mixtures.drawn(2, 3, 0)
    denoise, y = ode_mixtures.exact(mixture), 2.0 * normal(32, 2)
    ends = ode_sampling.fine(denoise, y, np.geomspace(2.0, 0.2, 400).tolist())[-1]
    errors = []
    for n in (96, 192):
        knots = graded(n, rule.order + 1)
        # the last step has no corrector; its local error is one order higher than the method's anyway
        plan = Plan(knots=knots, solvers=[name] * (len(knots) - 1), correct=[True] * (len(knots) - 1))
        reached, count = ode_sampling.walk(denoise, y, plan)
        errors.append(ode_metrics.endpoint_error(reached, ends))
        assert count == len(knots) - 1
    assert math.log2(errors[0] / errors[1]) == pytest.approx(rule.order + 1, abs=0.35)


def test_steps_are_those_of_the_textbook() -> None:
    even = [0.9, 0.8, 0.7]
    ab3 = ode_solvers.step_row(ode_solvers.SOLVERS["ab3"], "ve", even, 0.7, 0.6)
    assert ab3.noise / -0.1 == pytest.approx([5 / 12, -16 / 12, 23 / 12])
    moulton = ode_solvers.step_row(ode_solvers.SOLVERS["ab2"], "ve", [0.8, 0.7, 0.6], 0.7, 0.6)
    assert moulton.noise / -0.1 == pytest.approx([-1 / 12, 8 / 12, 5 / 12])
    ddim = ode_solvers.step_row(ode_solvers.SOLVERS["deis-0"], "ve", [0.7], 0.7, 0.6)
    assert (ddim.scale, ddim.noise[0], ddim.data[0]) == pytest.approx((1.0, -0.1, 0.0))
    # DPM-Solver++(2M) takes D + (D - D before) / (2 r) over the whole step; ours integrates the line in lambda exactly
    h, before = math.log(0.7 / 0.6), math.log(0.8 / 0.7)
    two = ode_solvers.step_row(ode_solvers.SOLVERS["dpm-2"], "ve", [0.8, 0.7], 0.7, 0.6)
    slope = (h - 1.0 + math.exp(-h)) / before  # int_0^h e^-(h-s) s ds / before
    assert two.scale == pytest.approx(0.6 / 0.7)
    assert two.data == pytest.approx([-slope, 1.0 - math.exp(-h) + slope])


def test_one_euler_step_differs_between_paths_and_an_exponential_step_does_not() -> None:
    denoise, y = ode_mixtures.exact(ode_mixtures.drawn(2, 3, 1)), normal(4, 2)
    reached = {
        (name, path): ode_sampling.walk(denoise, y, Plan(knots=[1.0, 0.5], solvers=[name], path=path))[0]
        for name in ("euler", "deis-0")
        for path in ("ve", "flow")
    }
    assert torch.equal(reached["deis-0", "ve"], reached["deis-0", "flow"])
    assert torch.allclose(reached["deis-0", "ve"], reached["euler", "ve"])
    # Euler on either path goes along D and eps exactly, so one step from fresh states is DDIM on both
    assert torch.allclose(reached["euler", "flow"], reached["euler", "ve"])


@pytest.mark.parametrize("beta", [0.3, 0.8, 1.0])
def test_momentum_is_the_published_recurrence(beta: float) -> None:
    denoise, y, h = ode_mixtures.exact(gaussian()), normal(3, 2), -0.1
    rho = [1.0 + h * i for i in range(6)]
    x, v, before = y, None, None
    for level in rho[:-1]:
        f = (x - denoise(x, torch.tensor(level, dtype=torch.float64))) / level
        v, before = (f if v is None else (1.0 - beta) * v + beta * f), v
        ahead = v if before is None else (2.0 + beta) / (2.0 * beta) * v - (2.0 - beta) / (2.0 * beta) * before
        x = x + h * ahead
    reached = ode_sampling.walk(denoise, y, Plan(knots=rho, solvers=["ghvb-2"] * 5, beta=beta))[0]
    assert torch.allclose(reached, x, atol=1e-12)
    # of equal steps, order 3: beta f + (2 - beta)/2 df + (6 - beta)/12 ddf equals (beta + (1 - beta) d) of the step
    row = ode_solvers.momentum_row(ode_solvers.SOLVERS["ghvb-3"], "ve", rho, rho[-1], rho[-1] + h, beta)
    c = (1.0 - beta) / beta
    v_all = ode_solvers.averages(6, beta)
    steps = np.array([1.0, 0.5 + c, 5.0 / 12.0 + 0.5 * c])
    differences = np.stack([v_all[-1], v_all[-1] - v_all[-2], v_all[-1] - 2.0 * v_all[-2] + v_all[-3]])
    assert row.noise / h == pytest.approx(steps @ differences)
    assert beta * steps[2] == pytest.approx((6.0 - beta) / 12.0)


def test_heuns_method_is_eulers_step_and_a_trapezoid() -> None:
    denoise, y = ode_mixtures.exact(ode_mixtures.drawn(2, 3, 1)), normal(4, 2)

    def slope(x: Tensor, level: float) -> Tensor:
        return (x - denoise(x, torch.tensor(level, dtype=torch.float64))) / level

    k1 = slope(y, 1.0)
    by_hand = y - 0.25 * (k1 + slope(y - 0.5 * k1, 0.5))
    plan = Plan(knots=[1.0, 0.7, 0.5, 0.4], solvers=["heun", "heun", "euler"])
    reached, count = ode_sampling.walk(denoise, y, plan)
    by_hand = by_hand - 0.1 * slope(by_hand, 0.5)
    assert count == 3
    assert torch.allclose(reached, by_hand, atol=1e-12)


def test_offsets_gains_and_repeated_knots() -> None:
    denoise, y = ode_mixtures.exact(ode_mixtures.drawn(2, 3, 1)), normal(4, 2)
    knots = [1.0, 0.6, 0.3]
    plain, _ = ode_sampling.walk(denoise, y, Plan(knots=knots, solvers=["ab2"] * 2))
    neutral = Plan(knots=knots, solvers=["ab2"] * 2, offsets=[0.0, 0.0], gains=[1.0, 1.0])
    assert torch.allclose(ode_sampling.walk(denoise, y, neutral)[0], plain)
    repeated, count = ode_sampling.walk(denoise, y, Plan(knots=[1.0, 0.6, 0.6, 0.3], solvers=["ab2"] * 3))
    assert (count, torch.allclose(repeated, plain)) == (2, True)
    still = ode_sampling.walk(denoise, y, Plan(knots=knots[:2], solvers=["euler"], gains=[0.0]))[0]
    assert torch.equal(still, y)
    told = torch.tensor(math.exp(0.1), dtype=torch.float64)
    moved = ode_sampling.walk(denoise, y, Plan(knots=knots[:2], solvers=["euler"], offsets=[0.1]))[0]
    assert torch.allclose(moved, y - 0.4 * (y - denoise(y, told)) / told)


# -- samplers ----------------------------------------------------------------------------------------------------------


def test_the_fine_flow_of_one_gaussian_is_exact() -> None:
    mixture = gaussian()
    denoise, y, rho = ode_mixtures.exact(mixture), 80.0 * normal(8, 2), ode_schedules.log_linear(60)
    states = ode_sampling.fine(denoise, y, rho)
    for k in (1, 30, 60):
        assert torch.allclose(states[k], flowed(mixture, y, 80.0, rho[k]), atol=1e-6)
    denoise = ode_mixtures.exact(ode_mixtures.drawn(4, 8, 3))
    y = 80.0 * normal(64, 4)
    finer = ode_sampling.fine(denoise, y, rho, substeps=8)[-1]
    assert ode_metrics.endpoint_error(ode_sampling.fine(denoise, y, rho)[-1], finer) < 1e-4


def test_picard_ends_where_euler_ends_and_needs_fewer_rounds() -> None:
    denoise, y = ode_mixtures.exact(ode_mixtures.drawn(2, 4, 0)), 80.0 * normal(16, 2)
    knots = ode_schedules.edm(60)
    euler, _ = ode_sampling.walk(denoise, y, Plan(knots=knots, solvers=["euler"] * 60))
    exactly, count, rounds = ode_sampling.picard(denoise, y, knots, window=8, tolerance=0.0)
    assert torch.allclose(exactly, euler, atol=1e-9)
    assert rounds <= 60
    nearly, more, fewer = ode_sampling.picard(denoise, y, knots, window=16, tolerance=0.1)
    assert fewer < 40
    assert more > 60
    assert ode_metrics.endpoint_error(nearly, euler) < 0.05
    alone, count, rounds = ode_sampling.picard(denoise, y, knots, window=1, tolerance=0.0)
    assert (count, rounds) == (60, 60)
    assert torch.allclose(alone, euler, atol=1e-9)


def test_restarts_contract_the_error_of_a_wrong_score() -> None:
    objective = build(space="restart", mixture="ring", wrong=0.15)
    plain = {"steps": 18, "solver": "deis-2", "times": 0}
    again = {"steps": 18, "solver": "deis-2", "times": 6, "low": 0.05, "ratio": 10.0, "again": 5}
    without, with_it = (objective.evaluate(config, Trial(seed=1)) for config in (plain, again))
    assert (without["evaluations"], with_it["evaluations"]) == (18.0, 48.0)
    assert objective.known(again) == {"evaluations": 48.0}
    assert with_it["sliced_w2"] < 0.9 * without["sliced_w2"]  # with other seeds 0.71 to 0.78 of it
    assert with_it["sliced_w2"] != objective.evaluate(again, Trial(seed=2))["sliced_w2"]
    assert with_it["sliced_w2"] == objective.evaluate(again, Trial(seed=1))["sliced_w2"]


def test_least_squares_reproduces_the_trajectory_that_it_was_fitted_to() -> None:
    mixture, knots = gaussian(), ode_schedules.edm(4)
    denoise, y = ode_mixtures.exact(mixture), 80.0 * normal(32, 2)
    states = torch.stack([flowed(mixture, y, 80.0, rho) for rho in knots])
    coefficients = ode_sampling.least_squares(denoise, states, knots)
    fresh = 80.0 * normal(32, 2, seed=1)
    ends = flowed(mixture, fresh, 80.0, knots[-1])
    fitted = ode_metrics.endpoint_error(ode_sampling.combined(denoise, fresh, knots, coefficients), ends)
    plain = ode_sampling.walk(denoise, fresh, Plan(knots=knots, solvers=["deis-2"] * 4))[0]
    assert fitted < 0.5 * ode_metrics.endpoint_error(plain, ends)


# -- schedules and procedures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ode_schedules.SCHEDULES))
def test_schedules_fall_from_end_to_end_and_survive_the_space(name: str) -> None:
    knots = ode_schedules.SCHEDULES[name](6)
    assert (knots[0], knots[-1], len(knots)) == (80.0, 0.002, 7)
    assert all(low < high for high, low in itertools.pairwise(knots))
    back = ode_schedules.spread_out(ode_schedules.gathered(knots))
    assert np.log(back) == pytest.approx(np.log(knots), abs=1e-6)


def test_the_closed_form_is_the_published_table_and_beats_other_knots() -> None:
    published = [80, 3.0535, 1.5171, 0.9737, 0.6851, 0.4989, 0.3632, 0.2553, 0.1635, 0.0807, 0.002]
    assert ode_schedules.gauss(10, 0.5) == pytest.approx(published, rel=1e-3)

    def divergence(knots: list[float]) -> float:
        """KL of the sampler's Gaussian from the exact one, c = 0.5: Euler is a scalar gain a step."""
        gain = math.prod(1.0 + (low - high) * high / (0.25 + high**2) for high, low in itertools.pairwise(knots))
        square = gain**2 * (0.25 + 80.0**2) / (0.25 + 0.002**2)
        return 0.5 * (square - 1.0 - math.log(square))

    made = {name: divergence(make(10)) for name, make in ode_schedules.SCHEDULES.items()}
    assert (made["edm"], made["log-linear"]) == pytest.approx((0.0673, 0.0592), abs=5e-5)
    best = divergence(ode_schedules.gauss(10, 0.5))
    assert best == pytest.approx(0.0138, abs=5e-5)
    assert best < min(made.values())


def test_bellmans_path_is_the_cheapest_of_all() -> None:
    rng = np.random.default_rng(0)
    C = np.full((9, 9), np.inf)
    rows, columns = np.triu_indices(9, 1)
    C[rows, columns] = rng.random(len(rows))
    for steps in (1, 2, 3, 5, 8):
        paths = [(0, *inner, 8) for inner in itertools.combinations(range(1, 8), steps - 1)]
        costs = [sum(C[i, j] for i, j in itertools.pairwise(path)) for path in paths]
        found, cost = ode_procedures.bellman(C, steps)
        assert cost == pytest.approx(min(costs))
        assert tuple(found) == paths[int(np.argmin(costs))]


def test_bosss_costs_are_the_errors_of_single_steps_and_its_path_has_the_least_sum() -> None:
    denoise = ode_mixtures.exact(ode_mixtures.ring())
    flow = ode_procedures.trajectories(denoise, 80.0 * normal(64, 2), grid=30)
    C = ode_procedures.step_costs(flow)
    one = ode_sampling.walk(denoise, flow.states[4], Plan(knots=[flow.rho[4], flow.rho[9]], solvers=["euler"]))[0]
    assert C[4, 9] == pytest.approx(ode_metrics.endpoint_error(one, flow.states[9]) ** 2)
    path, cost = ode_procedures.bellman(C, 6)
    even = [0, 5, 10, 15, 20, 25, 30]
    # the method's own objective; that the sum forgets what becomes of an error is in the paper's nature
    assert cost < 0.8 * sum(C[i, j] for i, j in itertools.pairwise(even))
    assert ode_procedures.boss(flow, 6) == [flow.rho[i] for i in path]


def test_the_bound_of_one_gaussian_is_its_closed_form() -> None:
    c = 0.5
    rho, C = ode_procedures.bound_costs(gaussian(c), grid=100, n=4096)
    i, j = 30, 45
    fine = np.geomspace(rho[i], rho[j], 4001)
    # E|D(x_rho) - D(x_i)|^2 = 2 c^4 (1/(rho^2 + c^2) - 1/(rho_i^2 + c^2)) in two dimensions, over rho^2 dlog rho
    density = 2.0 * c**4 * (1.0 / (fine**2 + c**2) - 1.0 / (rho[i] ** 2 + c**2)) / fine**2
    exact = float((0.5 * (density[1:] + density[:-1]) * np.log(fine[:-1] / fine[1:])).sum())
    # 8,192 squares have a relative standard error of 1.6%, the trapezoid on the grid adds less
    assert C[i, j] == pytest.approx(exact, rel=0.08)
    aligned = ode_procedures.align(rho, C, 6, c)
    at = [rho.index(knot) for knot in aligned]
    total = sum(C[i, j] for i, j in itertools.pairwise(at))
    assert total < 1.1 * ode_procedures.bellman(C, 6)[1]


# -- metrics and the objective -----------------------------------------------------------------------------------------


def test_distances_of_shifted_samples() -> None:
    x = normal(500, 3)
    shift = torch.tensor([0.3, -0.4, 0.0], dtype=torch.float64)
    assert ode_metrics.endpoint_error(x + shift, x) == pytest.approx(0.5)
    along = ode_metrics.directions(3, 64, 0)
    moved = ode_metrics.sliced_w2(x + shift, along, ode_metrics.projected(x, along))
    assert moved == pytest.approx(float((shift @ along).square().mean().sqrt()))
    assert ode_metrics.sliced_w2(x, along, ode_metrics.projected(x, along)) == 0.0


@pytest.fixture(scope="module")
def small() -> Ode:
    return build(particles=128, evaluations=4, dim=3, seed=1)


@pytest.mark.parametrize("name", sorted(name.partition("/")[2] for name in spaces()))
def test_every_space_is_measured_and_its_evaluations_are_known(name: str) -> None:
    objective = build(space=name, particles=64, evaluations=5)
    for config in [objective.baseline(), *objective.space.sample(6, np.random.default_rng(0))]:
        assert objective.space.contains(objective.space.normalise(config))
        found = objective.evaluate(config, Trial(seed=1))
        assert set(found) == set(objective.metrics)
        assert all(math.isfinite(value) for value in found.values())
        known = objective.known(config)
        assert found | known == found
        if name not in ("restart", "paradigms"):
            assert found["evaluations"] <= 5


@pytest.mark.parametrize("solver", ["euler", "ab3", "deis-3", "dpm-3", "hb", "ghvb-3"])
def test_a_published_schedule_is_a_configuration_of_every_step(solver: str) -> None:
    objective, knots = build(space="free", particles=64), ode_schedules.cosine(6)
    config = ode_plans.configuration("free", knots, solver=solver)
    assert objective.space.contains(objective.space.normalise(config))
    plan = Plan(knots=knots, solvers=[solver] * 6, beta=0.8)
    assert objective.test(config)["error"] == pytest.approx(objective.test_plan(plan), rel=1e-6)


def test_measurements_repeat_and_other_noises_agree(small: Ode) -> None:
    config = ode_plans.configuration("free", ode_schedules.edm(4), solver="euler")
    first, again = (small.evaluate(config, Trial(seed=seed)) for seed in (0, 1))
    assert first["error"] == again["error"]
    tested = small.test(config)
    assert set(tested) == {"error", "sliced_w2"}
    assert tested["error"] != first["error"]
    assert tested["error"] == pytest.approx(first["error"], rel=0.5)  # 128 and 512 particles
    plan = Plan(knots=ode_schedules.edm(4), solvers=["euler"] * 4)
    assert small.test_plan(plan) == pytest.approx(tested["error"], rel=1e-6)


def test_single_precision_agrees(small: Ode) -> None:
    config = ode_plans.configuration("free", ode_schedules.edm(4), solver="euler")
    single = build(particles=128, evaluations=4, dim=3, seed=1, dtype="float32")
    double = small.evaluate(config, Trial())["error"]
    assert single.evaluate(config, Trial())["error"] == pytest.approx(double, rel=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"space": "best"},
        {"mixture": "square"},
        {"dim": 1},
        {"modes": 0},
        {"evaluations": 1},
        {"particles": 2.5},
        {"path": "vp"},
        {"wrong": -0.1},
        {"dtype": "half"},
    ],
)
def test_options_out_of_range_are_named(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        build(**options)  # type: ignore[arg-type]


def test_it_is_in_the_catalog() -> None:
    assert "ode" in catalog.names("objectives")
    assert catalog.entry("search_spaces", "ode")() == spaces()
