"""What earlier studies say of an outcome: weights with known answers, and what they are worth to a process."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tuner.gp.model import fit_surrogate
from tuner.gp.optimize import one_thread
from tuner.gp.transfer import Mean, prior_mean, weights


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def bumps(x: Tensor) -> Tensor:
    return torch.sin(5 * x[:, 0]) + torch.cos(4 * x[:, 1]) - 3 * (x[:, 2] - 0.4) ** 2


def test_what_is_a_sum_of_the_sources_gets_its_own_weights_in_its_own_units() -> None:
    M = normal(20, 3)
    w = weights(M, 1e6 + M @ torch.tensor([2e3, 0.0, 5e3], dtype=torch.float64))
    assert w.tolist() == pytest.approx([2e3, 0.0, 5e3], rel=1e-3, abs=1.0)  # a ridge of 1e-6 of the mean square


def test_a_contradicting_source_counts_for_nothing_beside_one_that_agrees() -> None:
    M = normal(20, 2)
    y = 3 * M[:, 0] - 2 * M[:, 1] + 0.1 * normal(20, seed=1)
    w = weights(M, y)
    assert float(w[0]) > 1.0 and float(w[1]) == 0.0
    assert prior_mean(M, -bumps(uniform(20, 3)), [lambda _: bumps(uniform(20, 3))]) is None


def test_an_irrelevant_source_is_mostly_ignored() -> None:
    """Normal errors: t exceeds 2 with probability 0.033 at 13 degrees; of 300, over 0.07 once in a thousand times."""
    found = torch.stack([weights(normal(15, 1, seed=2 * k), normal(15, seed=2 * k + 1)) for k in range(300)])
    assert float((found > 0).double().mean()) < 0.07
    assert float(found.mean()) < 0.02  # E[w (1 - 4/t^2)+] is below 0.02 standard errors, which are 0.27 each


@pytest.mark.parametrize(
    ("M", "y"),
    [
        (normal(4, 1), normal(4, 1)[:, 0]),  # too few
        (torch.ones(20, 1, dtype=torch.float64), normal(20)),  # nothing varies
        (normal(20, 1), torch.ones(20, dtype=torch.float64)),
        (torch.full((20, 1), torch.inf, dtype=torch.float64), normal(20)),
    ],
)
def test_without_evidence_there_is_no_prior_mean(M: Tensor, y: Tensor) -> None:
    assert prior_mean(M, y, [lambda x: x[:, 0]]) is None
    assert prior_mean(M, y, []) is None


def test_a_source_that_is_broken_or_twice_there_does_no_harm() -> None:
    m = normal(20)
    y = 3 * m + 0.1 * normal(20, seed=1)
    w = weights(torch.stack([m, m, torch.full_like(m, torch.nan)], dim=1), y)
    assert float(w.sum()) <= 3.1 and float(w[2]) == 0.0 and bool(torch.isfinite(w).all())


def source(function: Mean, seed: int) -> Mean:
    X = uniform(60, 3, seed=seed)
    surrogate = fit_surrogate(X, function(X)[:, None])
    return lambda x: (surrogate.predict(x)[0][:, 0] - surrogate.loc[0]) / surrogate.scale[0]


def error(y: Tensor, X: Tensor, means: list[Mean]) -> float:
    """Root mean square error, at 200 other points, of a process of the residual with the sources' mean."""
    found = prior_mean(X, y, means)
    offset = torch.zeros_like(y) if found is None else found(X)
    surrogate = fit_surrogate(X, (y - offset)[:, None])
    test = uniform(200, 3, seed=99)
    predicted = surrogate.predict(test)[0][:, 0] + (0.0 if found is None else found(test))
    return float((predicted - bumps(test)).square().mean().sqrt())


def test_sources_that_agree_or_are_moved_help_and_one_that_contradicts_does_no_harm() -> None:
    X = uniform(12, 3, seed=5)
    y = bumps(X)
    with one_thread():
        cold = error(y, X, [])
        agrees, moved = source(lambda x: 7 * bumps(x) - 3, 1), source(lambda x: bumps(x + 0.05), 2)
        contradicts = source(lambda x: -bumps(x), 3)
        assert error(y, X, [agrees]) < 0.2 * cold
        assert error(y, X, [moved]) < 0.6 * cold
        assert error(y, X, [contradicts]) == cold
        assert error(y, X, [contradicts, agrees]) < 0.2 * cold


def test_the_prior_mean_has_a_gradient() -> None:
    X = uniform(10, 3)
    found = prior_mean(X, bumps(X), [bumps])
    assert found is not None
    x = uniform(2, 3, seed=7).requires_grad_()
    found(x).sum().backward()
    reference = x.detach().clone().requires_grad_()
    bumps(reference).sum().backward()
    assert x.grad is not None and reference.grad is not None
    assert torch.allclose(x.grad, reference.grad, rtol=1e-3)  # of weight 1 up to the ridge
