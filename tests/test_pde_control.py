"""The objective `pde-control`: discretisation, adjoint, reduced models and front against closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.fft import dstn, idstn
from tuner.objectives.solver import control_front
from tuner.objectives.solver.heat_control import NU, Heat
from tuner.objectives.solver.pde_control import build
from tuner.objectives.solver.reduced import Training

from tuner import catalog
from tuner.errors import UsageError
from tuner.study import Study
from tuner.trial import Trial

Array = NDArray[np.float64]
SMALL = Heat(side=11, steps=16)
U = np.array([9.0, -4.0, 6.0, 3.0, -8.0, 5.0, -6.0, 7.0])


def test_without_the_kink_every_mode_of_the_square_decays_on_its_own() -> None:
    heat = Heat(side=9, steps=8, kappa=0.0)
    wave = 4.0 * 10**2 * np.sin(np.pi * np.arange(1, 10) / 20) ** 2
    decay = 1.0 + heat.dt * NU * (wave[:, None] + wave[None, :])
    mode = np.zeros((9, 9))
    for y, control in zip(heat.states(U), heat.each_step(U), strict=True):
        mode = (mode + heat.dt * dstn((heat.B @ control).reshape(9, 9), type=1)) / decay
        assert np.abs(y - idstn(mode, type=1).ravel()).max() < 1e-12 * np.abs(y).max()


def test_a_step_solves_the_equation_with_the_kink() -> None:
    Y = SMALL.states(U)
    before = np.vstack([np.zeros(SMALL.side**2), Y[:-1]])
    assert (Y > 0.1).any() and (Y < -0.1).any()
    force = SMALL.each_step(U) @ SMALL.B.T
    left = Y - before + SMALL.dt * (NU * (SMALL.A @ Y.T).T + SMALL.kappa * np.maximum(Y, 0.0) - force)
    assert np.abs(left).max() < 1e-12


def errors(fine: Heat, coarse: list[Heat], stride: list[int]) -> list[float]:
    """Largest differences of last states from a fine one's, at the cells of the first grid."""

    def last(heat: Heat, every: int) -> Array:
        side = heat.side
        return heat.states(U)[-1].reshape(side, side)[every - 1 :: every, every - 1 :: every]

    exact = last(fine, stride[-1])
    return [float(np.abs(last(heat, every) - exact).max()) for heat, every in zip(coarse, stride, strict=False)]


def test_it_converges_in_time_and_in_space() -> None:
    in_time = errors(Heat(side=11, steps=512), [Heat(side=11, steps=n) for n in (16, 32, 64)], [1, 1, 1, 1])
    # implicit Euler: errors against 512 steps go as 1/n - 1/512, 2.07 and 2.14; the kink leaves the order as it is
    assert all(1.8 < big / small < 2.4 for big, small in itertools.pairwise(in_time))
    in_space = errors(Heat(side=63, steps=8), [Heat(side=n, steps=8) for n in (7, 15, 31)], [1, 2, 4, 8])
    # second order: h^2 against h = 1/64 gives 4.2 and 5
    assert all(3.0 < big / small < 6.5 for big, small in itertools.pairwise(in_space))


def test_the_adjoint_gives_the_slope_of_differences() -> None:
    value, slope = SMALL.gradient(U)
    assert value == SMALL.tracking(SMALL.states(U))
    for i in range(SMALL.controls):
        step = 1e-5 * np.eye(SMALL.controls)[i]
        ends = [SMALL.tracking(SMALL.states(U + sign * step)) for sign in (1.0, -1.0)]
        # central differences: rounding 1e-16 / 1e-5, and a jump of slope where a cell changes sign in between
        assert slope[i] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-6)


def test_linear_and_quadratic_problems_have_the_front_of_the_normal_equations() -> None:
    heat, scale, weights = Heat(side=11, steps=16, kappa=0.0), 1e3, (0.01, 0.3, 3.0)
    _, found = control_front.front(heat, scale, weights)
    S = np.stack([heat.states(unit).ravel() for unit in np.eye(heat.controls)], axis=1)
    whole = (heat.wanted**2).sum()
    for weight, (tracking, effort) in zip(weights, found, strict=True):
        normal = S.T @ S / whole + weight / scale**2 / heat.controls * np.eye(heat.controls)
        u = np.linalg.solve(normal, S.T @ heat.wanted.ravel() / whole)
        best = heat.tracking((S @ u).reshape(heat.wanted.shape)) + weight * float(np.mean((u / scale) ** 2))
        # L-BFGS-B ends at a relative decrease of 2e-9
        assert tracking + weight * effort == pytest.approx(best, rel=1e-6)


def test_more_modes_are_nearer_to_the_full_model() -> None:
    training = Training(SMALL, 12.0)
    rng = np.random.default_rng(5)
    tried = rng.uniform(-10.0, 10.0, (6, SMALL.controls))
    full = np.array([SMALL.states(u) for u in tried])
    error = []
    for modes in (2, 4, 8, 16, 32):
        model = training.model(modes)
        states = np.array([model.coordinates(u) @ model.V.T for u in tried])
        error.append(float(np.linalg.norm(states - full) / np.linalg.norm(full)))
        exact = [SMALL.tracking(each) for each in states]
        assert [model.tracking(u) for u in tried] == pytest.approx(exact, rel=1e-9)
    assert error == sorted(error, reverse=True)
    assert error[1] < 0.3 and error[-1] < 0.01, error


def test_the_fidelity_chooses_the_model() -> None:
    objective = build(side=11, steps=16)
    config = {"control": U.tolist(), "modes": 64}
    full = objective.evaluate(config, Trial())
    assert full["tracking"] == SMALL.tracking(SMALL.states(U))
    assert full["effort"] == objective.known(config)["effort"] == pytest.approx(float(np.mean((U / 12.0) ** 2)))
    few = objective.evaluate(config, Trial(fidelity=4.0))
    assert few["cost"] == 4 / 64 and few["effort"] == full["effort"]
    assert 0.0 < abs(few["tracking"] - full["tracking"]) < 0.5
    nothing = objective.evaluate(objective.baseline(), Trial())
    assert (nothing["tracking"], nothing["effort"]) == (1.0, 0.0)


def test_it_is_in_the_catalog_and_a_study_runs_it() -> None:
    assert "control/heat" in catalog.load("search_spaces", "control").spaces()
    sweep = {
        "objective": {"name": "pde-control", "side": 11, "steps": 16},
        "fidelity": {"parameter": "modes", "min": 4, "max": 64},
        "budget": {"trials": 3},
        "search": "random",
    }
    with Study.create(sweep) as study:
        proposal = study.ask()
        assert len(proposal.config["control"]) == 8
        study.tell(proposal.trial, {"tracking": 0.9, "cost": 1.0, "seconds": 0.1})


@pytest.mark.parametrize("options", [{"side": 5}, {"steps": 2}, {"intervals": 0}, {"steps": 9}, {"kappa": -1.0}])
def test_options_out_of_range_are_named(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        build(**options)  # type: ignore[arg-type]
