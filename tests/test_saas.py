"""The saas strategy: sparse priors, ensembles of models, and what they predict."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import tuner
from tests.strategy_problems import Lab, build, make_problem, numeric
from tuner import catalog
from tuner.gp.acquisition import Goal, make_acquisition
from tuner.gp.covariance import Layout
from tuner.gp.model import Outcomes, Surrogate, condition, learn
from tuner.gp.optimize import one_thread
from tuner.gp.transforms import Stretch
from tuner.parameters import Bool, Choice, Float
from tuner.space import SearchSpace
from tuner.strategies.bayesian.saas import Options

ACTIVE = (3, 8, 17)


def saas() -> Any:
    return catalog.load("kernels", "saas")


def matern(d: int) -> Any:
    return catalog.load("kernels", "matern").Matern(d).double()


def sample(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.rand(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def three_of_many(X: Tensor) -> Tensor:
    """A function of three columns of thirty."""
    a, b, c = (X[:, j] for j in ACTIVE)
    return torch.sin(4 * a) + 6 * (b - 0.4).square() + torch.cos(5 * c * a)


def ensemble(X: Tensor, Y: Tensor, taus: tuple[float, ...]) -> list[Surrogate]:
    outcomes = Outcomes(stretched=True)
    found = []
    for tau in taus:
        learned = learn(X, Y, outcomes, covariance=lambda tau=tau: saas().shrink(matern(X.shape[1]), tau))
        found.append(condition(X, Y, learned, outcomes))
    return found


def mixed(members: list[Surrogate], X: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the first outcome under an equal mixture."""
    means, sds = (torch.stack([member.predict(X)[i][:, 0] for member in members]) for i in (0, 1))
    mean = means.mean(dim=0)
    return mean, ((sds.square() + means.square()).mean(dim=0) - mean.square()).sqrt()


def test_shrinkages_are_quantiles_of_a_half_cauchy() -> None:
    found = torch.tensor(saas().shrinkages(4), dtype=torch.float64)
    assert (2 / math.pi * torch.atan(found / 0.1)).tolist() == pytest.approx([0.125, 0.375, 0.625, 0.875])


def test_the_prior_is_half_cauchy_in_what_a_column_adds_to_the_distance() -> None:
    space = SearchSpace([Float("x", low=0, high=1), Choice("c", values=("a", "b", "d")), Bool("b")])
    kernel = saas().shrink(Layout(space).covariance(), 0.25)
    found = {}
    for name, module, prior, value, _ in kernel.named_priors():
        if name.endswith("lengthscale_prior"):
            found[type(module).__name__] = prior.log_prob(value(module)).flatten().tolist()
            lengths = module.lengthscale.flatten()
            rho = 1 / lengths if type(module).__name__ == "Overlap" else lengths**-2
            density = 2 * 0.25 / math.pi / (1 + (0.25 * rho).square())
            assert found[type(module).__name__] == pytest.approx(density.log().tolist())
    assert set(found) == {"Matern", "Overlap"}


def test_a_member_is_the_posterior_of_its_covariance() -> None:
    X, x = sample(20, 6), sample(7, 6, seed=1)
    Y = torch.sin(5 * X[:, :1])
    with one_thread():
        (member,) = ensemble(X, Y, (0.1,))
    model = member.models[0]
    K = model.kernel.forward(X, X) + torch.diag(model.noise)
    k = model.kernel.forward(x, X)
    inverse = torch.linalg.inv(K)
    one = torch.ones(20, dtype=torch.float64)
    centre = one @ inverse @ model.u / (one @ inverse @ one)
    mean, sd = model.predict(x)
    # The covariance's condition number is below 1e6, so inverting it loses no more than 1e-10.
    assert mean.tolist() == pytest.approx((centre + k @ inverse @ (model.u - centre)).tolist(), abs=1e-7)
    assert sd.square().tolist() == pytest.approx((1 - (k @ inverse * k).sum(dim=1)).tolist(), abs=1e-7)
    factor = member.transforms[0].factor if isinstance(member.transforms.get(0), Stretch) else 1.0
    assert member.predict(x)[1][:, 0].tolist() == pytest.approx((member.scale[0] * factor * sd).tolist())


def test_columns_without_effect_get_long_lengthscales() -> None:
    X = sample(30, 30, seed=10)
    with one_thread():
        (member,) = ensemble(X, three_of_many(X).unsqueeze(-1), (0.1,))
    lengths = member.models[0].kernel.lengthscale.flatten()
    inert = [j for j in range(30) if j not in ACTIVE]
    assert lengths[list(ACTIVE)].max() < lengths[inert].median() / 10


def test_an_ensemble_has_the_moments_of_a_mixture() -> None:
    X, x = sample(12, 3), sample(5, 3, seed=2)
    Y = torch.sin(7 * X[:, :1]) + X[:, 1:2]
    goal = Goal(n_objectives=1, thresholds=torch.empty(0), reference=torch.zeros(1, dtype=torch.float64))
    with one_thread():
        members = ensemble(X, Y, (0.02, 0.5))
        acquisition = make_acquisition(members, goal, X, seed=1, n_samples=2048)
    mean, sd = mixed(members, x)
    loc, scale = members[0].loc[0], members[0].scale[0]
    for i in range(len(x)):
        means, sds = acquisition.predict(x[i : i + 1])
        # Draws come in pairs of opposite sign, so means are exact; 1024 draws know a variance within 5% (one sd).
        assert float(loc + scale * means[0]) == pytest.approx(float(mean[i]), abs=1e-6)
        assert float(scale * sds[0]) == pytest.approx(float(sd[i]), rel=0.1)
    values = acquisition(x)
    assert torch.isfinite(values).all()


def test_a_stretch_is_undone() -> None:
    z = torch.linspace(-2, 2, 5, dtype=torch.float64)
    stretch = Stretch(4.0)
    assert stretch.inverse(stretch.forward(z)).tolist() == pytest.approx(z.tolist())
    assert stretch.log_slope(z).tolist() == pytest.approx([-math.log(4)] * 5)


def test_it_predicts_as_well_as_the_reference_and_better_than_gp() -> None:
    from botorch.fit import fit_gpytorch_mll
    from botorch.models.map_saas import EnsembleMapSaasSingleTaskGP
    from gpytorch.mlls import ExactMarginalLogLikelihood

    X, x = sample(30, 30, seed=10), sample(300, 30, seed=11)
    Y, truth = three_of_many(X).unsqueeze(-1), three_of_many(x)
    outcomes = Outcomes()
    with one_thread():
        ours = mixed(ensemble(X, Y, saas().shrinkages(4)), x)[0]
        plain = condition(X, Y, learn(X, Y, outcomes), outcomes).predict(x)[0][:, 0]
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = EnsembleMapSaasSingleTaskGP(X, Y)
            fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
            theirs = model.posterior(x).mixture_mean[:, 0].detach()
    errors = [float((mean - truth).square().mean().sqrt()) for mean in (ours, theirs, plain)]
    assert errors[0] < 1.25 * errors[1], errors
    assert errors[0] < 0.7 * errors[2], errors


def test_the_provenance_names_the_ensemble() -> None:
    lab = Lab(make_problem(numeric()))
    strategy = build("saas", lab.problem)
    for _ in range(5):
        (proposal,) = lab.ask(strategy)
        lab.add(proposal.config)
    assert proposal.provenance.engine == "saas"
    assert proposal.provenance.reason == "qLogNEI over 4 trials; 2 models"
    assert np.isfinite(proposal.provenance.sd["f0"])
    with pytest.raises(ValueError, match="use gp"):
        Options(members=1)


def test_autopeft_is_random_first_and_then_by_models() -> None:
    sweep = {
        "parameters": {"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}},
        "metrics": {"a": "minimize", "b": "minimize"},
        "search": "autopeft",
        "budget": {"trials": 10},
    }
    study = tuner.Study.create(sweep)
    engines = []
    for _ in range(7):
        (proposal,) = study.ask(1)
        engines.append(proposal.provenance.engine)
        x, y = proposal.config["x"], proposal.config["y"]
        study.tell(proposal.trial, {"a": x + 0.1 * y, "b": (1 - x) ** 2 + y})
    assert engines == ["random"] * 5 + ["saas"] * 2
