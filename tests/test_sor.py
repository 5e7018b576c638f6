"""The objective `sor`: batched sweeps against dense ones, closed forms, streams, and the published experiment."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tuner.objectives.solver import reference, relaxation, streams, young
from tuner.objectives.solver.sor import build

from tuner import catalog
from tuner.errors import UsageError
from tuner.trial import Trial

Array = NDArray[np.float64]
SIDE = 6
SHIFTS = torch.tensor([-0.01, 0.3, 0.1], dtype=torch.float64)
OMEGAS = torch.tensor([1.2, 1.5, 1.9], dtype=torch.float64)


def grids() -> list[relaxation.Grid]:
    rng = np.random.default_rng(0)
    kx, ky = rng.uniform(0.5, 2.0, (SIDE + 1, SIDE)), rng.uniform(0.5, 2.0, (SIDE, SIDE + 1))
    return [relaxation.poisson(SIDE), relaxation.Grid(torch.from_numpy(kx), torch.from_numpy(ky))]


def dense(grid: relaxation.Grid, c: float) -> tuple[Array, list[int]]:
    """The matrix with its red cells first, and the order that puts them there."""
    eye = torch.eye(SIDE**2, dtype=torch.float64).reshape(SIDE, SIDE, SIDE**2)
    shift = torch.full((SIDE**2,), c, dtype=torch.float64)
    A = relaxation.apply(grid, shift, eye).reshape(SIDE**2, SIDE**2).numpy()
    order = sorted(range(SIDE**2), key=lambda q: ((q // SIDE + q % SIDE) % 2, q))
    return A[np.ix_(order, order)], order


def dense_sor(A: Array, b: Array, omega: float) -> int:
    W, x, k = np.diag(np.diag(A)) / omega + np.tril(A, -1), np.zeros_like(b), 0
    while np.linalg.norm(r := b - A @ x) >= 1e-8 * np.linalg.norm(b):
        x, k = x + np.linalg.solve(W, r), k + 1
    return k


def dense_cg(A: Array, b: Array, M: Array) -> int:
    x, r, k = np.zeros_like(b), b.copy(), 0
    z = np.linalg.solve(M, r)
    p = z.copy()
    while np.linalg.norm(r) >= 1e-8 * np.linalg.norm(b):
        q, rz = A @ p, r @ z
        x, r = x + rz / (p @ q) * p, r - rz / (p @ q) * q
        z = np.linalg.solve(M, r)
        p, k = z + (r @ z) / rz * p, k + 1
    return k


@pytest.mark.parametrize("grid", grids(), ids=["constant", "variable"])
def test_batched_sweeps_count_what_dense_ones_count(grid: relaxation.Grid) -> None:
    b = torch.from_numpy(np.random.default_rng(1).standard_normal((SIDE, SIDE, 3)))
    solved = relaxation.sor(grid, SHIFTS, OMEGAS, b, solutions=True)
    symmetric = relaxation.ssor_cg(grid, SHIFTS, OMEGAS, b)
    plain = relaxation.ssor_cg(grid, SHIFTS, OMEGAS, b, preconditioned=False)
    assert solved.x is not None and symmetric.x is not None
    for x in (solved.x, symmetric.x):
        residual = (relaxation.apply(grid, SHIFTS, x) - b).norm() / b.norm()
        assert float(residual) < 1.01e-8
    for t in range(3):
        A, order = dense(grid, float(SHIFTS[t]))
        right, w = b[:, :, t].numpy().ravel()[order], float(OMEGAS[t])
        D, L = np.diag(np.diag(A)), np.tril(A, -1)
        M = (D + w * L) @ np.linalg.inv(D) @ (D + w * L).T / (w * (2.0 - w))
        assert int(solved.iterations[t]) == dense_sor(A, right, w)
        assert int(symmetric.iterations[t]) == dense_cg(A, right, M)
        assert int(plain.iterations[t]) == dense_cg(A, right, np.eye(SIDE**2))


def test_a_cap_and_a_start() -> None:
    grid, b = relaxation.poisson(SIDE), torch.ones(SIDE, SIDE, 2, dtype=torch.float64)
    c, omega = SHIFTS[:2], torch.tensor([1.0, 1.5], dtype=torch.float64)
    capped = relaxation.sor(grid, c, omega, b, cap=5)
    assert capped.iterations.tolist() == [5, 5]
    assert not capped.converged.any()
    whole = relaxation.sor(grid, c, omega, b, solutions=True)
    again = relaxation.sor(grid, c, omega, b, x0=whole.x, tolerance=0.5)
    assert whole.converged.all() and (again.iterations <= 4).all()  # relative to a residual that is tiny already


def test_youngs_closed_form_is_the_radius_of_the_iteration() -> None:
    grid = relaxation.poisson(SIDE)
    for c in (-0.1, 0.0, 0.5):
        A, _ = dense(grid, c)
        D, L = np.diag(np.diag(A)), np.tril(A, -1)
        beta = young.jacobi_radius(SIDE, np.array(c))
        jacobi = np.abs(np.linalg.eigvals(np.eye(SIDE**2) - np.linalg.solve(D, A))).max()
        assert float(beta) == pytest.approx(jacobi, abs=1e-12)
        best = float(young.best_omega(beta))
        for omega in (1.0, 1.2, best - 0.05, best + 0.05, 1.8):
            C = np.eye(SIDE**2) - A @ np.linalg.inv(D / omega + L)
            # eigenvalues near the best omega are nearly defective: numerical ones are good to 1e-6
            computed = np.abs(np.linalg.eigvals(C)).max()
            assert float(young.radius(np.array(omega), beta)) == pytest.approx(computed, abs=1e-6)


@pytest.mark.parametrize("stream", ["high", "low"])
def test_the_bound_dominates_and_the_best_arms_are_those_published(stream: str) -> None:
    n, omegas = 150, np.linspace(1.0, 1.95, 20)
    counts = reference.counts(stream, 10, n, omegas)
    c = reference.systems(stream, 10, n)[1]
    beta = young.jacobi_radius(10, c)
    bound = young.count_bound(omegas[None, :], beta[:, None])
    assert (bound >= counts[:, :-1]).all()
    fixed = counts[:, :-1].mean(axis=0)
    assert omegas[fixed.argmin()] == pytest.approx({"high": 1.8, "low": 1.65}[stream], abs=0.101)
    best = counts[:, :-1].min(axis=1).mean()
    assert best < 0.8 * fixed.min()  # what a context can be worth
    assert counts[:, -1].mean() < 1.05 * best  # Young's omega is asymptotic, the grid has 20 values


def test_streams_are_functions_of_the_number() -> None:
    shifts = np.array([streams.shift("high", i) for i in range(2_000)])
    assert shifts.min() >= -0.15 and shifts.max() <= 0.45
    # Beta(0.5, 1.5): mean 1/4, variance 1/16; 5 standard errors are a false alarm in two million
    assert abs(shifts.mean() - 0.0) < 5.0 * 0.6 * 0.25 / np.sqrt(2_000)
    assert streams.shift("high", 7) == shifts[7]
    assert (streams.right_side(3) == streams.right_side(3)).all()
    assert streams.least_eigenvalue(10) == pytest.approx(0.162, abs=5e-4)
    low, _ = streams.shift_range(64)
    assert -1.0 < low / streams.least_eigenvalue(64) < -0.9


def test_heat_steps_follow_the_exact_trajectory() -> None:
    steps = list(streams.heat_systems(8, 3))
    for (c, b, _), (_, _, after) in itertools.pairwise(steps):
        solved = relaxation.apply(
            relaxation.poisson(8), torch.tensor([c], dtype=torch.float64), torch.from_numpy(after)[:, :, None]
        )
        assert np.abs(solved[:, :, 0].numpy() - b).max() < 1e-10 * np.abs(b).max()


def test_the_objective_solves_one_or_many() -> None:
    sor = build(stream="low", solver="any")
    configs = [{"solver": "sor", "omega": 1.5}, {"solver": "ssor-cg", "omega": 1.2}, {"solver": "cg"}]
    trials = [Trial(number=number) for number in (4, 9, 11)]
    many = sor.evaluate_batch(configs, trials)
    for config, trial, together in zip(configs, trials, many, strict=True):
        alone = sor.evaluate(config, trial)
        assert alone["iterations"] == together["iterations"]
        assert set(alone) == set(sor.metrics)
    assert many[1]["work"] == 2.0 * many[1]["iterations"]
    heat = build(stream="heat", side=8)
    (coefficient,) = heat.context(0)
    assert heat.context_bounds[0][0] < coefficient < heat.context_bounds[0][1]
    assert heat.evaluate({"omega": 1.0}, Trial(number=0))["iterations"] > 0


@pytest.mark.parametrize("stream", ["high", "heat", "heat-varied"])
def test_a_free_tolerance_is_paid_for_in_error(stream: str) -> None:
    sor = build(stream=stream, side=12, solver="any", tolerance="free")
    assert sor.metrics["error"].goal == "minimize" and sor.metrics["work"].goal == "minimize"
    assert {"solver", "omega", "tolerance"} == {parameter.name for parameter in sor.space.parameters}
    configs = [{"solver": name, "omega": 1.2, "tolerance": 10.0**-k} for name in ("sor", "ssor-cg") for k in (1, 4, 10)]
    found = sor.evaluate_batch(configs, [Trial(number=3)] * len(configs))
    for three in (found[:3], found[3:]):
        errors, work = [each["error"] for each in three], [each["work"] for each in three]
        assert errors == sorted(errors, reverse=True) and work == sorted(work)
        assert errors[-1] < 1e-7  # 1e-10 times the condition number, below 100 here


def test_conductivity_varies_and_the_best_omega_with_it() -> None:
    kx, ky = streams.conductivity(9, varied=True)
    assert kx.shape == (10, 9) and ky.shape == (9, 10)
    assert kx.max() / kx.min() > 8.0
    counts = reference.counts("heat-varied", 9, 12, np.array([1.0, 1.5]))
    assert (counts[:, -1] <= 1.5 * counts[:, :-1].min(axis=1)).all()  # constant coefficients' omega is a fair guess


@pytest.mark.parametrize("options", [{"stream": "mid"}, {"side": 2}, {"solver": "jacobi"}, {"tolerance": 0.0}])
def test_options_out_of_range_are_named(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        build(**options)  # type: ignore[arg-type]


def test_it_is_in_the_catalog() -> None:
    assert "sor" in catalog.names("objectives")
    assert catalog.entry("objectives", "sor")(stream="high")
