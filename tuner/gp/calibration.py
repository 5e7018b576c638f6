"""Leave-one-out predictions of a Gaussian process in closed form: is the fitted model to be trusted?

Notation
    K       covariance of the observations, noise on its diagonal, shape (n, n)
    y       observations minus the prior mean, shape (n,)

Rasmussen and Williams 2006, section 5.4.2. The hyperparameters stay those of the fit to all observations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tuner.gp.model import Surrogate


def leave_one_out(K: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation of each observation given all others, shapes (n,).

    Eq. (5.12): mean_i = y_i - [K^-1 y]_i / [K^-1]_ii and variance_i = 1 / [K^-1]_ii. One factorisation, O(n^3).

    Args:
        K: Positive definite.
        y: Observations minus the prior mean.

    Raises:
        LinAlgError: K is not positive definite in floating point.
    """
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(K))
    variance = 1.0 / inverse.diagonal()
    return y - (inverse @ y) * variance, variance.sqrt()


def left_out(surrogate: Surrogate) -> dict[int, tuple[Tensor, Tensor, Tensor]]:
    """Return, for each modelled outcome, its leave-one-out means, deviations, and the outcomes, shapes (n,).

    In the model's units (standardised, tails clipped, perhaps transformed), where it is a Gaussian process: ranks and
    deviations in units of sd are the same there.
    """
    found = {}
    for j, model in surrogate.models.items():
        prior = model.prior(model.X)
        y = model.u - prior
        mean, sd = leave_one_out(model.L @ model.L.T, y)
        found[j] = mean + prior, sd, model.u
    return found
