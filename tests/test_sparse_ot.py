"""The objective `sparse-ot`: projections by brute force, duality, and linear programs with known answers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from tuner.objectives.solver import transport
from tuner.objectives.solver.sparse_ot import build

from tuner import catalog
from tuner.errors import UsageError
from tuner.trial import Trial

Array = NDArray[np.float64]
GIVEN = transport.problem(8, 3)
FORMS = ("semi-dual", "dual")


def on_simplex(v: Array, mass: float) -> Array:
    """The projection onto the simplex, by bisection of its level."""
    low, high = v.min() - mass, v.max()
    for _ in range(200):
        middle = (low + high) / 2.0
        low, high = (middle, high) if np.maximum(v - middle, 0.0).sum() > mass else (low, middle)
    return np.maximum(v - low, 0.0)


def best_column(s: Array, k: int, gamma: float, mass: float | None) -> float:
    """The most that s't - gamma |t|^2 / 2 can be with k nonzeros, over all choices of k rows."""
    values = []
    for rows in itertools.combinations(range(len(s)), k):
        v = s[list(rows)] / gamma
        t = np.maximum(v, 0.0) if mass is None else on_simplex(v, mass)
        values.append(gamma * (v @ t - t @ t / 2.0))
    return float(max(values))


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_plans_are_the_best_of_all_with_k_nonzeros(k: int) -> None:
    rng = np.random.default_rng(k)
    S, b, gamma = rng.standard_normal((6, 4)), rng.uniform(0.5, 2.0, 4), 0.7
    for T, masses in ((transport.semi_dual_plan(S, b, k, gamma), b), (transport.dual_plan(S, k, gamma), [None] * 4)):
        assert ((T > 0.0).sum(axis=0) <= k).all() and (T >= 0.0).all()
        for j, mass in enumerate(masses):
            value = S[:, j] @ T[:, j] - gamma * T[:, j] @ T[:, j] / 2.0
            assert value == pytest.approx(best_column(S[:, j], k, gamma, mass), abs=1e-12)
            assert mass is None or T[:, j].sum() == pytest.approx(mass, abs=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("k", [2, 8])
def test_gradients_are_those_of_differences(form: str, k: int) -> None:
    minimised = transport.negative_dual(GIVEN, form, k, 0.3)
    x = np.random.default_rng(0).uniform(0.0, 0.5, 16 if form == "dual" else 8)
    _, slope = minimised(x)
    for i in range(len(x)):
        step = 1e-6 * np.eye(len(x))[i]
        # piecewise quadratic: exact but for rounding, 1e-16 * 10 / 1e-6
        assert slope[i] == pytest.approx((minimised(x + step)[0] - minimised(x - step)[0]) / 2e-6, abs=1e-7)


def test_without_a_cardinality_both_duals_meet_the_primal() -> None:
    values = []
    for form in FORMS:
        minimised = transport.negative_dual(GIVEN, form, 8, 0.3)
        found = minimize(
            minimised, np.zeros(16 if form == "dual" else 8), jac=True, method="L-BFGS-B",
            options={"gtol": 1e-10, "ftol": 1e-15, "maxiter": 5_000},
        )  # fmt: skip
        T = transport.plan(GIVEN, form, found.x, 8, 0.3)
        assert np.abs(T.sum(1) - GIVEN.a).max() < 1e-6 and np.abs(T.sum(0) - GIVEN.b).max() < 1e-6
        primal = (T * GIVEN.C).sum() + 0.15 * (T**2).sum()
        assert primal == pytest.approx(-found.fun, rel=1e-6)
        values.append(-found.fun)
    assert values[0] == pytest.approx(values[1], rel=1e-7)


def test_one_nonzero_a_column_is_transport_without_regularisation_but_for_a_constant() -> None:
    alpha, gamma = np.random.default_rng(1).standard_normal(8), 0.4
    value, _ = transport.negative_dual(GIVEN, "semi-dual", 1, gamma)(alpha)
    plain = GIVEN.b @ (alpha[:, None] - GIVEN.C).max(axis=0) - alpha @ GIVEN.a
    assert value == pytest.approx(plain - gamma * (GIVEN.b**2).sum() / 2.0, rel=1e-12)


def test_every_dual_value_is_below_the_exact_plans_cost() -> None:
    T = transport.exact(GIVEN.C, GIVEN.a, GIVEN.b)
    k = int((T > 0.0).sum(axis=0).max())
    rng = np.random.default_rng(2)
    for form, gamma in itertools.product(FORMS, (0.01, 1.0)):
        minimised = transport.negative_dual(GIVEN, form, k, gamma)
        primal = GIVEN.least + gamma * (T**2).sum() / 2.0
        for _ in range(20):
            assert -minimised(rng.standard_normal(16 if form == "dual" else 8))[0] <= primal + 1e-9


def test_the_linear_program_sorts_points_on_a_line() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.random(9), rng.random(9)
    T = transport.exact((x[:, None] - y) ** 2, np.ones(9), np.ones(9))
    assert (T * (x[:, None] - y) ** 2).sum() == pytest.approx(((np.sort(x) - np.sort(y)) ** 2).sum(), rel=1e-7)


def test_rounding_gives_the_masses_asked_for_and_leaves_a_right_plan_alone() -> None:
    wrong = np.random.default_rng(5).random((8, 8)) * (np.random.default_rng(6).random((8, 8)) < 0.3)
    T = transport.rounded(wrong, GIVEN.a, GIVEN.b)
    assert np.abs(T.sum(1) - GIVEN.a).max() < 1e-12 and np.abs(T.sum(0) - GIVEN.b).max() < 1e-12
    assert (T >= 0.0).all()
    exact = transport.exact(GIVEN.C, GIVEN.a, GIVEN.b)
    assert np.abs(transport.rounded(exact, GIVEN.a, GIVEN.b) - exact).max() < 1e-9


def test_less_regularisation_and_more_work_come_nearer_to_the_linear_program() -> None:
    objective = build(points=16, instances=2)
    at = {"k": 16, "formulation": "semi-dual", "optimiser": "lbfgs"}

    def gap(gamma: float, iterations: int, **other: object) -> float:
        return objective.evaluate({**at, "gamma": gamma, "iterations": iterations, **other}, Trial())["gap"]

    assert gap(0.001, 500) < 0.01 < gap(0.1, 500) < gap(1.0, 500)
    assert gap(0.01, 5) > 2.0 * gap(0.01, 200)
    assert gap(0.1, 500, optimiser="gradient", step=0.1) == pytest.approx(gap(0.1, 500), abs=0.01)
    found = objective.evaluate({**at, "k": 2, "gamma": 0.1, "iterations": 50}, Trial())
    assert set(found) == set(objective.metrics)
    assert found["nonzeros"] <= 2.0 and found["gap"] >= 0.0 and found["evaluations"] >= 50.0


def test_configurations_of_the_space_can_be_solved() -> None:
    objective = catalog.entry("objectives", "sparse-ot")(points=8, instances=1)
    assert "transport/sparse-ot" in catalog.load("search_spaces", "transport").spaces()
    space = objective.space  # type: ignore[attr-defined]
    for config in [objective.baseline(), *space.sample(12, np.random.default_rng(0))]:  # type: ignore[attr-defined]
        assert space.contains(config)
        found = objective.evaluate(config, Trial())  # type: ignore[attr-defined]
        assert all(np.isfinite(value) for value in found.values())


@pytest.mark.parametrize("options", [{"points": 3}, {"points": 1.5}, {"instances": 0}])
def test_options_out_of_range_are_named(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        build(**options)  # type: ignore[arg-type]
