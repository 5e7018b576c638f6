"""Surrogates: one exact Gaussian process per outcome, over the columns of the unit cube.

Notation
    X       inputs, shape (n, d), in [0, 1]; an inactive column holds 0.5
    Y       outcomes, shape (n, k), in their own units, NaN where a trial has none
    Z       outcomes as the models see them: (Y - loc) / scale, tails clipped, shape (n, k)

The covariance is Matern-5/2 over continuous, integer and ordinal columns times a Hamming kernel over categorical ones,
with a lengthscale a column. Their priors grow with the dimension (Hvarfner, Hellsten and Nardi 2024), which is what
keeps an exact process useful beyond twenty columns.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gpytorch
import torch
from botorch.exceptions.errors import ModelFittingError
from botorch.fit import fit_gpytorch_mll
from botorch.models.gp_regression import SingleTaskGP
from botorch.models.kernels.categorical import CategoricalKernel
from gpytorch.constraints import GreaterThan
from gpytorch.kernels import Kernel, MaternKernel
from gpytorch.priors import LogNormalPrior
from torch import Tensor

_TAIL = 3.0
"""Interquartile ranges beyond the quartile at which a tail is clipped."""

_HEADROOM = 0.1
_ROWS_FOR_BOUND = 8
_LARGEST_LOG = 50.0
_MIN_GAIN = 0.1
"""Nats a trial by which a transform must explain the outcomes better."""

_SHORTEST = 2.5e-2
"""Lower bound of lengthscales, as BoTorch has it."""

_SHORTEST_OF_LABELS = 0.25
"""The same for class labels, in units of sqrt(d)."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The transform u = -s log(s (limit - Z)), standardised: for an outcome that presses against a bound.

    Attributes:
        side: s: 1.0 when Z stays below the limit, -1.0 when it stays above.
        limit: In Z.
        loc: Mean of u over the trials.
        scale: Its standard deviation, > 0.
    """

    side: float
    limit: float
    loc: float
    scale: float

    def forward(self, Z: Tensor) -> Tensor:
        """Z to the model's units."""
        return (-self.side * torch.log(self.side * (self.limit - Z)) - self.loc) / self.scale

    def inverse(self, U: Tensor) -> Tensor:
        """The model's units to Z."""
        return self.limit - self.side * torch.exp((-self.side * (self.loc + self.scale * U)).clamp(max=_LARGEST_LOG))


@dataclass(frozen=True, slots=True)
class Surrogate:
    """Fitted models of the outcomes, except the known ones, of which it has the units only.

    Attributes:
        models: In Z: outcome -> its model, without the known ones.
        bounds: Outcome -> the transform under which it was modelled, for those that have one.
        observed: Outcome -> the rows of X that its model was fitted to.
        loc: Shape (k,): Y = loc + scale * Z.
        scale: Shape (k,), > 0.
        notes: What did not go as planned, for the provenance.
    """

    models: Mapping[int, SingleTaskGP]
    bounds: Mapping[int, Bound]
    observed: Mapping[int, Tensor]
    loc: Tensor
    scale: Tensor
    notes: tuple[str, ...] = ()

    def predict(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Return the posterior mean and standard deviation of each outcome in its own units, shapes (n, k).

        NaN for known outcomes.
        """
        mean, sd = X.new_full((len(X), len(self.loc)), math.nan), X.new_full((len(X), len(self.loc)), math.nan)
        for j, model in self.models.items():
            with torch.no_grad():
                posterior = model.posterior(X)
            mean[:, j], sd[:, j] = posterior.mean.squeeze(-1), posterior.variance.clamp_min(0).sqrt().squeeze(-1)
            if j in self.bounds:  # medians, and half the width of the central 68%
                ends = [self.bounds[j].inverse(mean[:, j] + step * sd[:, j]) for step in (-1.0, 0.0, 1.0)]
                mean[:, j], sd[:, j] = ends[1], (ends[2] - ends[0]) / 2
        return self.loc + self.scale * mean, self.scale * sd


def fit_surrogate(
    X: Tensor,
    Y: Tensor,
    *,
    categorical: Sequence[int] = (),
    two_sided: Sequence[bool] = (),
    labels: int | None = None,
    exact: Collection[int] = (),
    bounded: Collection[int] = (),
    positive: Collection[int] = (),
    maxiter: int = 75,
) -> Surrogate:
    """Return models of the columns of `Y`, each fitted to the rows where it has a value.

    Args:
        X: Inputs, shape (n, d), float64.
        Y: Outcomes, shape (n, k), NaN where unknown; at least one known row each.
        categorical: The columns of X without an order.
        two_sided: For each outcome whether its upper tail is clipped as well as its lower; never when left out.
        labels: The outcome, if any, whose values are two classes. Between classes there is a jump, which likelihood
            explains by the shortest lengthscale it may have, so that nothing would be learned beyond the next trial:
            it gets a longer one.
        exact: Outcomes that are known functions of the input: no model, and no clipping.
        bounded: Outcomes that may be modelled under an upper bound, where they press against one.
        positive: Outcomes that may be modelled by their logarithm, where that is more normal.
        maxiter: Steps of L-BFGS-B for the hyperparameters.
    """
    models: dict[int, SingleTaskGP] = {}
    bounds: dict[int, Bound] = {}
    observed: dict[int, Tensor] = {}
    loc, scale, notes = [], [], []
    for j in range(Y.shape[1]):
        known = ~torch.isnan(Y[:, j])
        y = Y[known, j] if j in exact else winsorise(Y[known, j], upper=bool(two_sided) and two_sided[j])
        centre = float(y.mean())
        spread = float(y.std()) if len(y) > 1 else 0.0
        spread = spread if spread > 1e-12 * max(1.0, abs(centre)) else 1.0
        loc.append(centre)
        scale.append(spread)
        if j in exact:
            continue
        shortest = _SHORTEST_OF_LABELS * math.sqrt(X.shape[1]) if j == labels else _SHORTEST
        z = (y - centre) / spread
        bound = bound_of(z) if j in bounded else None
        if j in positive and float(y.min()) > 0:
            bound = bound_of(z, side=-1.0, limit=-centre / spread)
        if bound is not None:
            bounds[j], z = bound, bound.forward(z)
        models[j], note = fit(X[known], z, categorical=categorical, shortest=shortest, maxiter=maxiter)
        observed[j] = known.nonzero().squeeze(-1)
        notes += [note] if note else []
    return Surrogate(models, bounds, observed, X.new_tensor(loc), X.new_tensor(scale), tuple(notes))


def bound_of(z: Tensor, *, side: float = 1.0, limit: float | None = None) -> Bound | None:
    """Return the transform that makes outcomes z (n,) more normal, when they press against a bound.

    An accuracy does: most trials lie just below what can be reached, and the bad ones far below. A process with a
    symmetric predictive distribution then expects more than can be had wherever it is unsure. Normal likelihoods with
    and without the transform, its Jacobian included, decide.

    Args:
        z: Standardised outcomes.
        side: 1.0 for an upper bound, -1.0 for a lower one.
        limit: The bound; a tenth of the range beyond the extreme trial when None.
    """
    if len(z) < _ROWS_FOR_BOUND or not float(z.std()) > 0:
        return None
    if limit is None:
        limit = side * (float((side * z).max()) + _HEADROOM * float(z.max() - z.min()))
    u = -side * torch.log((side * (limit - z)).clamp_min(1e-300))
    spread = float(u.std())
    if not (math.isfinite(spread) and spread > 0):
        return None
    gain = side * float(u.mean()) - math.log(spread) + math.log(float(z.std()))
    return Bound(side, limit, float(u.mean()), spread) if gain > _MIN_GAIN else None


def winsorise(y: Tensor, *, upper: bool = False) -> Tensor:
    """Return `y` (n,) with its lower tail clipped at three interquartile ranges below the lower quartile.

    One disastrous trial would otherwise flatten all others. The upper tail holds the best trials of an objective and
    is left alone unless `upper`.
    """
    if len(y) < 5:
        return y
    low, high = torch.quantile(y, torch.tensor([0.25, 0.75], dtype=y.dtype)).tolist()
    reach = _TAIL * (high - low)
    if reach <= 0:
        return y
    return y.clamp(min=low - reach, max=high + reach if upper else math.inf)


def covariance(d: int, categorical: Sequence[int] = (), *, shortest: float = _SHORTEST) -> Kernel:
    """Return the covariance over `d` columns, of which `categorical` have no order; no lengthscale under `shortest`."""
    ordered = [i for i in range(d) if i not in set(categorical)]
    parts: list[Kernel] = []
    if ordered:
        prior = LogNormalPrior(loc=math.sqrt(2) + 0.5 * math.log(len(ordered)), scale=math.sqrt(3))
        parts.append(_with_lengthscales(MaternKernel, ordered, prior, shortest))
    if categorical:
        prior = LogNormalPrior(loc=0.0, scale=1.0)
        parts.append(_with_lengthscales(CategoricalKernel, list(categorical), prior, _SHORTEST))
    return parts[0] if len(parts) == 1 else parts[0] * parts[1]


def _with_lengthscales(kind: Any, columns: list[int], prior: Any, shortest: float) -> Kernel:
    kernel: Kernel = kind(
        ard_num_dims=len(columns),
        active_dims=columns,
        lengthscale_prior=prior,
        lengthscale_constraint=GreaterThan(shortest, transform=None, initial_value=max(prior.mode, 1.1 * shortest)),
    )
    return kernel


def fit(
    X: Tensor, z: Tensor, *, categorical: Sequence[int] = (), shortest: float = _SHORTEST, maxiter: int = 75
) -> tuple[SingleTaskGP, str]:
    """Return a fitted model of one standardised outcome, and a remark when the fit was not the usual one.

    Tries in this order: maximum a posteriori; the same with a noise floor of 1e-2, for nearly repeated inputs; the
    priors' modes, without a fit.

    Args:
        X: Shape (n, d), float64.
        z: Shape (n,), about zero mean and unit variance.
        categorical: The columns of X without an order.
        shortest: Lower bound of the lengthscales of the others.
        maxiter: Steps of L-BFGS-B.
    """
    for floor in (1e-4, 1e-2):
        model = _model(X, z, covariance(X.shape[-1], categorical, shortest=shortest), floor)
        mll = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                options = {"options": {"maxiter": maxiter}}
                fit_gpytorch_mll(mll, optimizer_kwargs=options, max_attempts=1, warning_handler=_accept)
            return model, "" if floor == 1e-4 else "refitted with a noise floor"
        except (ModelFittingError, RuntimeError, ValueError, ArithmeticError):
            continue
    model = _model(X, z, covariance(X.shape[-1], categorical, shortest=shortest), 1e-2)
    model.eval()
    return model, "hyperparameters left at their priors' modes: the fit failed"


def _accept(warning: warnings.WarningMessage) -> bool:
    """Count a warning as dealt with: stopping at `maxiter` is meant, not a failed fit."""
    return True


def _model(X: Tensor, z: Tensor, kernel: Kernel, floor: float) -> SingleTaskGP:
    noise = LogNormalPrior(loc=-4.0, scale=1.0)
    likelihood = gpytorch.likelihoods.GaussianLikelihood(
        noise_prior=noise, noise_constraint=GreaterThan(floor, transform=None, initial_value=max(noise.mode, floor))
    )
    return SingleTaskGP(X, z.unsqueeze(-1), likelihood=likelihood, covar_module=kernel, outcome_transform=None)
