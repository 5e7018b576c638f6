"""What every covariance of the catalog must do, whatever its columns."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

from tuner import catalog
from tuner.gp.logarithmic import Logarithmic
from tuner.parameters import Bool, Choice, Float, Int, Parameter, Permutation, Simplex, Subset, Vector

if TYPE_CHECKING:
    from gpytorch.kernels import Kernel

NAMES = catalog.names("kernels")
NUMERIC: tuple[Parameter, ...] = (Float("x", low=0.0, high=1.0), Int("k", low=1, high=9))
UNORDERED = (Choice("optim", values=("sgd", "adam", "lion", "muon")), Bool("nesterov"), Choice("act", values=(1, 2, 3)))
PARAMETERS: Mapping[str, tuple[Parameter, ...]] = {
    "conditional": (NUMERIC[0], UNORDERED[0]),
    "layered": (Vector("keep", length=6, low=0.0, high=1.0),),
    "learning-curve": (Int("epochs", low=1, high=81, log=True),),
    "mixed": (*NUMERIC, *UNORDERED),
    "ordered": (
        Choice("width", values=(64, 96, 128, 192, 256), ordered=True),
        Choice("depth", values=("s", "m", "l"), ordered=True),
    ),
    "overlap": UNORDERED,
    "permutation": (Permutation("passes", items=("a", "b", "c", "d", "e")),),
    "simplex": (Simplex("mix", items=("web", "code", "books", "wiki")),),
    "subset": (Subset("modules", items=("q", "k", "v", "o", "up")),),
    "transformed-overlap": UNORDERED,
}
"""The parameters whose columns a covariance is for; NUMERIC for those that are not listed."""

FAR = 1e-3


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def parameters(name: str) -> tuple[Parameter, ...]:
    return PARAMETERS.get(name, NUMERIC)


def points(name: str, n: int, seed: int = 0) -> Tensor:
    """n random points of the space, shape (n, d); for `conditional` with the activity as one more column."""
    rng = np.random.default_rng(seed)
    drawn = [[u for p in parameters(name) for u in p.encode(p.sample(rng))] for _ in range(n)]
    X = torch.tensor(drawn, dtype=torch.float64)
    if name != "conditional":
        return X
    active = torch.tensor(rng.random((n, 1)) < 0.6)
    return torch.cat([torch.where(active, X, 0.5), active.double()], dim=-1)


def covariance(name: str, seed: int | None = None) -> Kernel:
    """With hyperparameters as built, or random around that by about a factor e."""
    build: Callable[[Sequence[object]], Kernel] = catalog.load("kernels", name).build
    kernel = build([column for p in parameters(name) for column in p.columns()]).double()
    if seed is not None:
        rng = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in kernel.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    return kernel


@pytest.mark.parametrize("seed", range(5))
def test_it_is_a_correlation_matrix(name: str, seed: int) -> None:
    kernel, X = covariance(name, seed), points(name, 25, seed)
    K = kernel.forward(X, X).detach()
    assert K.shape == (25, 25)
    assert K.dtype == torch.float64
    assert torch.allclose(K, K.T, rtol=0, atol=1e-12)
    # Distances by inner products lose about 1e-16 of the squared norms, which are below 1e4 here.
    assert torch.allclose(K.diagonal(), torch.ones(25).double(), rtol=0, atol=1e-10)
    assert float(torch.linalg.eigvalsh(K).min()) > -1e-8
    assert float(K.abs().max()) <= 1 + 1e-10
    assert float(K.min()) < 1 - FAR


def test_the_diagonal_agrees_with_the_matrix(name: str) -> None:
    kernel, a, b = covariance(name, 3), points(name, 9, 1), points(name, 9, 2)
    assert torch.allclose(kernel.forward(a, b, diag=True), kernel.forward(a, b).diagonal(), rtol=0, atol=1e-10)
    assert torch.allclose(kernel.forward(a, a, diag=True), torch.ones(9).double(), rtol=0, atol=1e-10)


def test_batches_are_done_one_by_one(name: str) -> None:
    kernel, X, Z = covariance(name, 4), points(name, 30, 1).reshape(2, 3, 5, -1), points(name, 4, 2)
    K, k = kernel.forward(X, Z.expand(2, 3, 4, -1)), kernel.forward(X, X, diag=True)
    assert K.shape == (2, 3, 5, 4)
    assert k.shape == (2, 3, 5)
    assert torch.allclose(kernel.forward(X, Z), K, rtol=0, atol=1e-12)
    for i in range(2):
        for j in range(3):
            assert torch.allclose(K[i, j], kernel.forward(X[i, j], Z), rtol=0, atol=1e-12)


def test_gradients_are_finite_at_coinciding_points_and_at_the_edges(name: str) -> None:
    kernel, X = covariance(name, 5), points(name, 6)
    X = torch.cat([X, X, torch.zeros_like(X[:1]), torch.ones_like(X[:1]), torch.eye(X.shape[-1]).double()])
    X.requires_grad_(True)
    K = kernel.forward(X, X)
    weights = torch.randn(K.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    leaves = [X, *kernel.parameters()]
    for slope in torch.autograd.grad((weights * K).sum(), leaves, allow_unused=True):
        assert slope is None or bool(torch.isfinite(slope).all())
    assert bool(torch.isfinite(K).all())


def test_gradients_in_the_hyperparameters_are_those_of_differences(name: str) -> None:
    kernel, X = covariance(name, 6), points(name, 8)
    rng = torch.Generator().manual_seed(1)
    leaves = list(kernel.parameters())
    directions = [torch.randn(p.shape, generator=rng, dtype=torch.float64) for p in leaves]
    weights = torch.randn((8, 8), generator=rng, dtype=torch.float64)

    def moved(step: float) -> float:
        with torch.no_grad():
            for leaf, direction in zip(leaves, directions, strict=True):
                leaf.add_(step * direction)
            value = float((weights * kernel.forward(X, X)).sum())
            for leaf, direction in zip(leaves, directions, strict=True):
                leaf.sub_(step * direction)
        return value

    slopes = torch.autograd.grad((weights * kernel.forward(X, X)).sum(), leaves)
    along = sum(float((s * d).sum()) for s, d in zip(slopes, directions, strict=True))
    # Central differences with h = 1e-5: truncation of order h^2 = 1e-10, rounding of order 1e-15 / h = 1e-10.
    assert along == pytest.approx((moved(1e-5) - moved(-1e-5)) / 2e-5, rel=1e-5, abs=1e-7)


def test_every_hyperparameter_is_unbounded_and_has_a_prior(name: str) -> None:
    kernel = covariance(name, 7)
    for _, _, constraint in kernel.named_parameters_and_constraints():
        assert constraint is None or isinstance(constraint, Logarithmic)
    density = sum(prior.log_prob(value(module)).sum() for _, module, prior, value, _ in kernel.named_priors())
    assert bool(torch.isfinite(density))
    for parameter, slope in zip(
        kernel.parameters(), torch.autograd.grad(density, list(kernel.parameters())), strict=True
    ):
        assert parameter.numel() == 0 or bool((slope != 0).any())


def test_extreme_hyperparameters_stay_finite(name: str) -> None:
    X = points(name, 10)
    for raw in (math.log(1e-3), math.log(1e3)):
        kernel = covariance(name)
        with torch.no_grad():
            for parameter in kernel.parameters():
                parameter.fill_(raw)
        K = kernel.forward(X, X)
        slopes = torch.autograd.grad(K.sum(), list(kernel.parameters()), allow_unused=True)
        assert bool(torch.isfinite(K).all())
        assert all(slope is None or bool(torch.isfinite(slope).all()) for slope in slopes)


def test_it_follows_the_precision_asked_for(name: str) -> None:
    X = points(name, 5)
    exact, single = covariance(name).forward(X, X), covariance(name).float().forward(X.float(), X.float())
    assert single.dtype == torch.float32
    # Single precision: squared distances are good to about 1e-7 of the squared norms, below 1e3 here.
    assert torch.allclose(single.double(), exact, rtol=0, atol=1e-3)


def test_it_serves_a_model_of_botorch(name: str) -> None:
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from gpytorch.mlls import ExactMarginalLogLikelihood

    X = points(name, 12)
    kernel = covariance(name)
    assert torch.allclose(kernel(X).to_dense(), kernel.forward(X, X), rtol=0, atol=1e-12)
    Y = torch.sin(X @ torch.linspace(1.0, 3.0, X.shape[-1]).double()).unsqueeze(-1)
    model = SingleTaskGP(X, (Y - Y.mean()) / Y.std(), covar_module=kernel, outcome_transform=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # stopping after a few steps is meant
        fit_gpytorch_mll(
            ExactMarginalLogLikelihood(model.likelihood, model),
            optimizer_kwargs={"options": {"maxiter": 4}},
            max_attempts=1,
            warning_handler=lambda warning: True,
        )
    posterior = model.posterior(points(name, 5, 1))
    assert bool(torch.isfinite(posterior.mean).all())
    assert bool((posterior.variance > 0).all())
