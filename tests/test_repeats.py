"""Repeats: how many measurements are behind a row, and what models make of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from tests.strategy_problems import Lab, build, make_problem
from tuner import catalog
from tuner.gp import fit as gp_fit
from tuner.gp.acquisition import Goal
from tuner.gp.fit import fit
from tuner.gp.model import Hyperparameters, Outcomes, condition, process
from tuner.parameters import Int
from tuner.repeats import averaged
from tuner.space import SearchSpace
from tuner.strategies.bayesian.observations import observe
from tuner.strategies.bayesian.predicted import noise_sd
from tuner.study import Study
from tuner.trial import Outcome

SWEEP: dict[str, Any] = {
    "name": "repeated",
    "parameters": {"x": {"min": 0.0, "max": 1.0}},
    "metrics": {"gain": "maximize", "heat": {"max": 0.9}},
    "search": {"method": "gp", "initial": 4, "raw_samples": 24, "restarts": 2, "maxiter": 8},
    "repeats": {"n": 2, "finalists": 2, "finalist_n": 8},
}


def sample(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def matern(d: int = 1) -> Any:
    return catalog.load("kernels", "matern").Matern(d).double()


def test_a_mean_of_measurements_with_its_share_of_the_noise_says_what_they_say() -> None:
    X, counts = sample(6, 1), torch.tensor([1, 4, 1, 2, 9, 1])
    every, each = X.repeat_interleave(counts, dim=0), torch.split(noise(int(counts.sum())), counts.tolist())
    means = torch.stack([values.mean() for values in each])
    kernel, variance = matern(), 0.3
    apart = process(kernel, torch.full((len(every),), variance, dtype=torch.float64), every, torch.cat(each))
    together = process(kernel, variance / counts, X, means)
    for a, b in zip(apart.predict(sample(9, 1, seed=1)), together.predict(sample(9, 1, seed=1)), strict=True):
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-9)


def test_the_noise_learned_from_rows_of_unequal_weight_is_that_of_an_ordinary_one() -> None:
    # 80 rows, half of them means of 25: the estimated variance of the others' noise is off by 1 / sqrt(20) = 22%.
    X = sample(80, 1)
    share = torch.where(torch.arange(80) % 2 == 0, 1.0, 0.04).double()
    z = torch.sin(6 * X[:, 0]) + 0.5 * share.sqrt() * noise(80, seed=2)
    assert fit(X, z, matern, share=share, noisy=True).noise == pytest.approx(0.25, rel=0.5)
    packed = gp_fit._Packed(matern(), share=share)
    v = packed.start(0.2)
    _, gradient = gp_fit._loss(v, packed, X, z, True)
    for i in range(len(v)):
        step = np.eye(len(v))[i] * 1e-5
        rise = gp_fit._loss(v + step, packed, X, z, True)[0] - gp_fit._loss(v - step, packed, X, z, True)[0]
        assert gradient[i] == pytest.approx(rise / 2e-5, rel=1e-5, abs=1e-7)  # central differences: O(step^2)


def test_an_average_says_of_how_many() -> None:
    outcomes = [Outcome(state="completed", metrics={"gain": value}, measures={"wall_s": 1.0}) for value in (1.0, 3.0)]
    found = averaged(outcomes)
    assert found.metrics == {"gain": 2.0}
    assert found.measures == {"wall_s": 2.0, "repeats": 2.0, "gain_sd": pytest.approx(math.sqrt(2))}
    assert averaged(outcomes[:1]).measures == {"wall_s": 1.0, "repeats": 1.0}


def finished(study: Study, n: int) -> None:
    """That many trials, the second of them cut short after one measurement, and the third measured again."""
    for number in range(n):
        proposal = study.ask()
        x = proposal.config["x"]
        metrics = {"gain": 1.0 - (x - 0.4) ** 2 + 0.1 * (-1) ** number, "heat": x}
        measures = {"repeats": 1.0} if number == 1 else {}
        study.finish(proposal.trial, Outcome(state="completed", metrics=metrics, measures=measures))
        if number == 2:
            study.annotate(2, {"final.gain": 0.7, "final.heat": 0.5, "final.gain_sd": 0.1, "final.failed": 2.0})


def test_finalists_and_trials_cut_short_have_their_weight_and_a_resumed_study_knows(tmp_path: Path) -> None:
    with Study.create(SWEEP, dir=tmp_path / "s") as study:
        finished(study, 6)
        history = study.history
        assert history.repeats.tolist() == [2, 1, 2, 2, 2, 2]
        data = observe(history, max_rows=100)
        assert data.share.tolist() == [1, 2, 1, 1, 1, 1, 2 / 6]  # six of eight fresh measurements succeeded
        assert data.X[6].tolist() == data.X[2].tolist()
        assert data.Y[6].tolist() == [0.7, pytest.approx(0.4)]
        assert not data.feasible[6] and not data.standing[6] and math.isnan(data.seconds[6])
        assert len(observe(history.first(2), max_rows=100).X) == 2  # not known then
        assert len(observe(history.since(3), max_rows=100).X) == 3
        expected = study.ask()
        assert "over 6 trials" in expected.provenance.reason
    with Study.open(tmp_path / "s") as study:
        again = observe(study.history, max_rows=100)
        assert again.share.tolist() == data.share.tolist()
        assert np.array_equal(again.Y, data.Y, equal_nan=True)
    with Study.create(SWEEP) as study:
        finished(study, 6)
        assert study.ask().config == expected.config


def surrogate(transform: str, *, variance: float = 0.04) -> Any:
    """Two outcomes, of which the first is modelled with that noise in its own units or the transform's."""
    X = sample(20, 1)
    Y = torch.stack([torch.exp(1.0 + 2.0 * X[:, 0]), X[:, 0]], dim=1)
    learned = {0: Hyperparameters(matern(), variance, transform)}
    return condition(X, Y, learned, Outcomes(exact=[1], positive=[0], stretched=transform.startswith("stretch")))


def goal(**changes: Any) -> Goal:
    return Goal(n_objectives=2, thresholds=torch.empty(0), reference=torch.zeros(2), **changes)


def test_noise_comes_back_through_a_transform() -> None:
    x = torch.tensor([[0.2], [0.8]], dtype=torch.float64)
    plain = surrogate("none")
    assert plain.noise_sd(x).tolist() == [[0.2, 0.0], [0.2, 0.0]]
    stretched = surrogate("stretch 4")
    assert stretched.noise_sd(x)[:, 0].tolist() == pytest.approx([0.8, 0.8])
    bent = surrogate("positive", variance=0.01)
    sd = bent.noise_sd(x)[:, 0] * bent.scale[0]
    relative = 0.1 * bent.transforms[0].scale  # the logarithm was standardised
    assert (sd / bent.predict(x)[0][:, 0]).tolist() == pytest.approx([math.sinh(relative)] * 2, rel=0.02)


def test_noise_of_a_formula_comes_from_what_it_reads() -> None:
    x = torch.tensor([[0.3]], dtype=torch.float64)
    one = surrogate("none")
    known = {1: lambda x: (x[:, 0] - one.loc[1]) / one.scale[1]}
    assert noise_sd([one, one], goal(known=known), x).tolist() == pytest.approx([0.2, 0.0])
    composite = goal(known=known, composites={1: (lambda Z: 5.0 - 3.0 * Z[..., 0], (0,))})
    assert noise_sd([one], composite, x).tolist() == pytest.approx([0.2, 0.6])


def test_a_proposal_predicts_what_will_be_measured() -> None:
    # 30 measurements of standard deviation 1 at two points, whose values are known to 0.26 each: an outcome is not.
    lab = Lab(make_problem(SearchSpace([Int("k", low=1, high=2)]), noisy=True))
    for i, value in enumerate(np.random.default_rng(0).permutation(stats.norm.ppf((np.arange(30) + 0.5) / 30))):
        lab.add({"k": 1 + i % 2}, metrics={"f0": float(value)})
    for name in ("gp", "saas"):
        (proposal,) = lab.ask(build(name, lab.problem))
        assert proposal.provenance.sd["f0"] == pytest.approx(1.0, abs=0.3), name
