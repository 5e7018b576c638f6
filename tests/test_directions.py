"""Directions across the columns: the covariance `ridge`, and when a model takes it."""

from __future__ import annotations

import torch
from torch import Tensor

from tuner import catalog
from tuner.gp.directions import first_direction
from tuner.gp.fit import fit
from tuner.gp.model import fit_surrogate
from tuner.gp.slopes import followed, traced
from tuner.parameters import Float

W = torch.tensor([0.8, -0.6, 0.0], dtype=torch.float64)


def uniform(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.rand(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def covariance(d: int, kernel: str = "effects") -> object:
    columns = [column for j in range(d) for column in Float(f"x{j}", low=0.0, high=1.0).columns()]
    return catalog.load("kernels", kernel).build(columns).double()


def valley(X: Tensor) -> Tensor:
    return -((10.0 * (X @ W) - 1.0) ** 2) - X[:, 2]


def test_ridge_is_effects_of_one_column_more() -> None:
    effects = covariance(4)
    ridge = catalog.load("kernels", "ridge").Ridge(W)
    ridge.effects.load_state_dict(effects.state_dict())
    X, Z = uniform(5, 3), uniform(4, 3, seed=1)
    wide = [torch.cat([at, (at @ W).unsqueeze(-1)], dim=1) for at in (X, Z)]
    assert torch.allclose(ridge.forward(X, Z), effects.forward(*wide), rtol=0.0, atol=1e-12)


def test_the_gradient_of_ridge_is_that_of_differences() -> None:
    ridge = catalog.load("kernels", "ridge").Ridge(W).requires_grad_(False)
    assert torch.autograd.gradcheck(ridge.forward, (uniform(5, 3).requires_grad_(), uniform(4, 3, seed=1)))


def test_ridge_is_followed_as_autograd_follows_it() -> None:
    ridge = catalog.load("kernels", "ridge").Ridge(W).requires_grad_(False)
    X, Z, given = uniform(5, 3), uniform(4, 3, seed=1), uniform(5, 4, seed=2)
    (k, pull), (value, autograd) = followed(ridge, X, Z), traced(lambda at: ridge.forward(at, Z), X)
    assert torch.allclose(k, value, rtol=0.0, atol=1e-12)
    assert torch.allclose(pull(given), autograd(given), rtol=0.0, atol=1e-12)


def test_ridge_begins_where_the_effects_of_its_columns_ended() -> None:
    X, z = uniform(20, 3), valley(uniform(20, 3))
    plain = fit(X, (z - z.mean()) / z.std(), lambda: covariance(3)).kernel
    ridge = catalog.load("kernels", "ridge").Ridge(W, plain)
    assert torch.equal(ridge.effects.lengthscale[..., :3], plain.lengthscale)
    assert torch.equal(ridge.effects.together.lengthscale[..., :3], plain.together.lengthscale)
    assert torch.equal(ridge.effects.raw_alone, plain.raw_alone)


def test_the_first_direction_is_the_one_of_all_slopes() -> None:
    direction, share = first_direction(torch.outer(torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64), W))
    assert abs(float(direction @ W)) > 1.0 - 1e-9
    assert share > 1.0 - 1e-9


def test_a_valley_across_the_columns_is_learned_from_few_trials() -> None:
    """Beside the plain covariance on the same trials: a tenth of the squared error is left, inside, where no tail was
    clipped."""
    X, T = uniform(30, 3), uniform(400, 3, seed=1)
    T = T[valley(T) > -10.0]
    found = fit_surrogate(X, valley(X).unsqueeze(-1), covariance=lambda: covariance(3))
    assert type(found.models[0].kernel).__name__ == "Ridge"
    direction = found.models[0].kernel.direction
    assert abs(float(direction @ W) / float(direction.norm())) > 0.99

    plain = fit_surrogate(X, valley(X).unsqueeze(-1), covariance=lambda: covariance(3, "matern"))
    assert type(plain.models[0].kernel).__name__ == "Matern"
    left = [float((each.predict(T)[0][:, 0] - valley(T)).square().mean()) for each in (found, plain)]
    assert left[0] < 0.1 * left[1]


def test_a_sum_of_columns_has_no_direction_of_its_own() -> None:
    X = uniform(30, 3)
    y = torch.sin(6.0 * X).sum(dim=-1, keepdim=True)
    kernel = fit_surrogate(X, y, covariance=lambda: covariance(3)).models[0].kernel
    assert type(kernel).__name__ == "Effects"
