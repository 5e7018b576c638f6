"""Calibration: verdicts on predictions of known quality, and leave-one-out against refits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from tuner import calibration as module
from tuner.calibration import Prediction, calibration, predictions, prequential
from tuner.gp.calibration import leave_one_out
from tuner.reporting import texts
from tuner.reporting.texts import status_text, trial_text
from tuner.study import Study


def quantiles(n: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Standard normal quantiles at (i + 1/2) / n, in an order without pattern."""
    return np.random.default_rng(0).permutation(stats.norm.ppf((np.arange(n) + 0.5) / n))


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, "calibrated"), (1 / 3, "overconfident"), (3.0, "underconfident")]
)
def test_verdicts_on_predictions_whose_deviations_are_off_by_a_factor(factor: float, verdict: str) -> None:
    z, mean = quantiles(60), np.linspace(-5.0, 5.0, 60)
    found = calibration(mean, np.full(60, 0.1 * factor), mean + 0.1 * z)
    assert found is not None
    assert found.verdict == verdict
    assert found.inside_68 == np.mean(np.abs(z) <= factor)
    assert found.outside_95 == np.sum(np.abs(z) > 1.959964 * factor)
    assert found.squared_error == pytest.approx(np.mean(z**2) / factor**2)
    assert found.rank_correlation == pytest.approx(stats.spearmanr(mean, mean + 0.1 * z).statistic)


def test_means_that_say_nothing_are_uninformative_and_few_are_not_judged() -> None:
    z = quantiles(40)
    found = calibration(np.zeros(40), np.ones(40), z)
    assert found is not None
    assert found.rank_correlation is None
    assert found.verdict == "uninformative"
    unrelated = np.sin(np.arange(40.0))
    shuffled = calibration(0.01 * unrelated, np.ones(40), z)
    assert shuffled is not None
    assert shuffled.verdict == "uninformative"
    few = calibration(z[:9], np.ones(9), z[:9])
    assert few is not None
    assert few.verdict == "too few predictions"


def test_what_cannot_be_judged_is_left_out() -> None:
    found = calibration([0.0, math.nan, 1.0, 1e300], [1.0, 1.0, 0.0, 1.0], [0.5, 1.0, 1.0, -1e300])
    assert found is not None
    assert found.n == 2
    assert found.outside_95 == 1
    assert math.isfinite(found.squared_error)
    assert calibration([], [], []) is None


def test_ranks_and_tails_equal_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 5, 50).astype(float), rng.integers(0, 4, 50).astype(float)
    assert module._spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    for k in (0, 3, 41, 60):
        assert module._at_most(k, 60, 0.95) == pytest.approx(stats.binom.cdf(k, 60, 0.95), rel=1e-9)


def test_leave_one_out_equals_conditioning_on_the_others() -> None:
    g = torch.Generator().manual_seed(0)
    X = torch.rand(12, 2, dtype=torch.float64, generator=g)
    K = torch.exp(-(torch.cdist(X, X) ** 2) / 0.2) + 0.05 * torch.eye(12, dtype=torch.float64)
    y = torch.randn(12, dtype=torch.float64, generator=g)
    mean, sd = leave_one_out(K, y)
    for i in range(12):
        rest = [j for j in range(12) if j != i]
        weights = torch.linalg.solve(K[rest][:, rest], K[rest, i])
        assert mean[i].item() == pytest.approx(float(weights @ y[rest]), abs=1e-9)
        assert sd[i].item() ** 2 == pytest.approx(float(K[i, i] - weights @ K[rest, i]), abs=1e-9)


def test_predictions_have_a_mean_a_deviation_and_an_outcome() -> None:
    provenance = {"mean": {"a": 1.0, "b": 2.0}, "sd": {"a": 0.3}}
    found = predictions(provenance, {"a": 1.6, "b": 3.0, "c": 4.0})
    assert found == {"a": Prediction(1.0, 0.3, 1.6)}
    assert found["a"].z == pytest.approx(2.0)
    assert Prediction(1.0, 0.0, 1.0).z is None


def noisy_study(n: int) -> Study:
    """A study of one noisy column, modelled from its fourth trial on, of n finished trials."""
    study = Study.create(
        {
            "name": "calibrated",
            "parameters": {"x": {"min": 0.0, "max": 1.0}},
            "metrics": {"loss": "minimize"},
            "search": {"method": "gp", "initial": 3},
        }
    )
    rng = np.random.default_rng(0)
    for _ in range(n):
        proposal = study.ask()
        study.tell(proposal.trial, {"loss": (proposal.config["x"] - 0.3) ** 2 + 0.05 * rng.standard_normal()})
    return study


def test_a_study_tells_what_its_predictions_were_worth() -> None:
    with noisy_study(8) as study:
        found = prequential(study)["loss"]
        z = [
            (record.metrics["loss"] - record.provenance.mean["loss"]) / record.provenance.sd["loss"]
            for record in study.records()
            if record.provenance.mean
        ]
        assert found.n == len(z) > 0
        assert found.outside_95 == sum(abs(value) > 1.959964 for value in z)
        assert f"model: {found.outside_95} of {found.n} predictions outside" in status_text(study, "table")
        assert '"outside_95"' in status_text(study, "json")
        side = "below" if z[-1] > 0 else "above"
        assert f"{abs(z[-1]):.1f} sd {side} it)" in trial_text(study, 7, "table")
        assert '"predictions": {' in trial_text(study, 7, "json")
        left_out = study.diagnose()["loss"]
        assert left_out.n == 8


def test_only_the_latest_predictions_are_judged() -> None:
    z = quantiles(60)
    made = [{"loss": Prediction(0.0, 0.1 if i < 40 else 1.0, float(v))} for i, v in enumerate(z)]
    found = module._of("loss", made)
    assert found is not None
    assert (found.n, found.outside_95) == (20, sum(abs(z[40:]) > 1.959964))
    assert found.verdict != "overconfident"


def test_overconfidence_without_a_word_on_noise_gets_the_advice_to_declare_it(monkeypatch: pytest.MonkeyPatch) -> None:
    z = quantiles(40)
    found = calibration(np.zeros(40), np.full(40, 0.3), z)
    monkeypatch.setattr(texts, "prequential", lambda study: {"loss": found})
    definition = {"name": "s", "parameters": {"x": {"min": 0.0, "max": 9.0}}, "metrics": {"loss": "minimize"}}
    with Study.create({**definition, "search": "random"}) as study:
        study.add({"x": 1.0}, {"loss": 1.0})
        assert "repeats: {finalists: 3}" in status_text(study, "table")
        study.add({"x": 1.0}, {"loss": 1.0})  # it is known now
        assert "overconfident" in status_text(study, "table")
        assert "repeats:" not in status_text(study, "table")


def test_a_study_without_a_model_has_nothing_to_tell() -> None:
    definition = {"name": "s", "parameters": {"x": {"min": 0, "max": 9}}, "metrics": {"loss": "minimize"}}
    with Study.create({**definition, "search": "random"}) as study:
        study.tell(study.ask().trial, {"loss": 1.0})
        assert prequential(study) == {}
        assert "model" not in status_text(study, "table")
        assert study.diagnose() == {}
