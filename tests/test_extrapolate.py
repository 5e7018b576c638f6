"""extrapolate: forecasts that are as sure as they say, on curves from elsewhere, and the decisions that follow."""

from __future__ import annotations

import numpy as np
import pytest

from tests.test_stopping import begin, full, say, study
from tuner.stopping.extrapolation import Array, Family, forecast, learn

STEPS = 20


def power_laws(n: int, seed: int, noise: float = 0.005) -> Array:
    """Scores (n, STEPS): c - d k^-p plus noise; no mixture of exponentials."""
    rng = np.random.default_rng(seed)
    k = np.arange(1, STEPS + 1)
    c, d, p = rng.uniform(0.5, 0.9, (n, 1)), rng.uniform(0.2, 0.5, (n, 1)), rng.uniform(0.4, 1.2, (n, 1))
    return c - d * k**-p + noise * rng.standard_normal((n, STEPS))


def test_without_a_report_near_the_end_the_forecast_is_that_of_a_gaussian() -> None:
    family = Family(np.array([0.0, 1.0]), np.zeros(2), 0.0, 1.0, 1.5, 0.3, 0.3, 0.05)
    t, y = np.array([0.5]), np.array([1.0])
    prior = 1.5**2 + 0.3**2 * (0.3 / 1.3) ** 1.5 + 0.05**2  # at t = 0.5 with itself: t + t' = 1
    shared = 1.5**2 + 0.3**2 * (0.3 / 1.8) ** 1.5
    end = 1.5**2 + 0.3**2 * (0.3 / 2.3) ** 1.5 + 0.05**2
    mean, sd = forecast(family, t, y)
    assert mean == pytest.approx(shared / prior)
    assert sd == pytest.approx(np.sqrt(end - shared**2 / prior))


@pytest.mark.parametrize("seen", [3, 6, 12])
def test_forecasts_are_as_sure_as_they_say(seen: int) -> None:
    t = np.arange(1, STEPS + 1) / STEPS
    family = learn([(t, y) for y in power_laws(30, seed=1)])
    curves = power_laws(200, seed=2)
    found = np.array([forecast(family, t[:seen], y[:seen]) for y in curves])
    z = (curves[:, -1] - found[:, 0]) / found[:, 1]
    inside = float((np.abs(z) < 1.645).mean())
    assert 0.8 <= inside <= 1.0  # 90 % are stated; four standard errors are 0.085
    error, naive = np.abs(curves[:, -1] - found[:, 0]).mean(), np.abs(curves[:, -1] - curves[:, seen - 1]).mean()
    assert error < 0.7 * naive


def test_it_is_surer_the_more_was_seen() -> None:
    t = np.arange(1, STEPS + 1) / STEPS
    curves = power_laws(20, seed=3)
    family = learn([(t, y) for y in curves])
    sds = [forecast(family, t[:k], curves[0, :k])[1] for k in (2, 5, 10, 19)]
    assert sds == sorted(sds, reverse=True)
    assert sds[-1] < 0.03


def test_it_stops_what_will_not_reach_the_best_and_lets_the_rest_go_on() -> None:
    made = study({"rule": "extrapolate", "min_trials": 8})
    curves = power_laws(8, seed=4)
    for row in curves:
        full(made, *row)
    best = curves[:, -1].max()
    hopeless, late, hopeful = begin(made, 3)
    k = np.arange(1, STEPS + 1)
    end = say(made, hopeless, *(best - 0.25 - 0.3 / k))
    assert end is not None
    assert end <= 6
    assert say(made, late, *(best + 0.1 - 0.45 / k**0.6)) is None  # for long far below the best, and above at the end
    assert say(made, hopeful, *(best + 0.02 - 0.3 / k)) is None


def test_a_constraints_curve_counts() -> None:
    metrics = {"score": "maximize", "memory": {"max": 40.0}}
    made = study("extrapolate", metrics=metrics)
    for row in power_laws(8, seed=5):
        (trial,) = begin(made)
        values = [{"score": s, "memory": 30.0 + j / 4 + row[0]} for j, s in enumerate(row)]
        assert say(made, trial, *values) is None or trial >= 5
        made.tell(trial, values[-1])
    within, beyond = begin(made, 2)
    score = list(0.95 - 0.3 / np.arange(1, STEPS + 1))
    assert say(made, within, *({"score": s, "memory": 30.0 + j / 4} for j, s in enumerate(score))) is None
    end = say(made, beyond, *({"score": s, "memory": 39.0 + j / 4} for j, s in enumerate(score)))
    assert end is not None  # it grows by five in twenty steps
    assert end < 20


def test_it_waits_for_trials_and_reports() -> None:
    made = study({"rule": "extrapolate", "min_trials": 3, "min_reports": 5})
    for row in power_laws(2, seed=6) + 1.0:
        full(made, *row)
    (early,) = begin(made)
    assert say(made, early, *([0.0] * STEPS)) is None
    made.tell(early, {"score": 0.0})
    (late,) = begin(made)
    assert say(made, late, *(-10.0 - 1.0 / np.arange(1, STEPS + 1))) == 5
