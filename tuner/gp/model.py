"""Surrogates: one exact Gaussian process per outcome.

Notation
    X       inputs, shape (n, d), see `tuner.gp.covariance`
    Y       outcomes, shape (n, k), in their own units, NaN where a trial has none
    Z       outcomes in standard units: (Y - loc) / scale, tails clipped, shape (n, k)
    u       an outcome as its process sees it: Z, or Z transformed

Learning and conditioning are apart: hyperparameters learned from the first trials serve a while for those that follow.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from gpytorch.kernels import Kernel
from torch import Tensor

from tuner import catalog
from tuner.gp.directions import along_a_direction
from tuner.gp.fit import fit
from tuner.gp.logarithmic import Logarithmic
from tuner.gp.transfer import Mean
from tuner.gp.transforms import Stretch, Transform, bound_of, power_of, winsorise

_SHORTEST_OF_LABELS = 0.25
"""Least lengthscale for class labels, in units of sqrt(d)."""

_STRETCHES = {"stretch 2": 2.0, "stretch 4": 4.0}
_KINDS = ("bound", "power", "positive", *_STRETCHES)

_FEWER = 4
"""How many times fewer steps a fit under a transform gets, as it starts where the one without has ended."""

_JITTERS = (0.0, 1e-6, 1e-4, 1e-2)


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What was learned about one outcome.

    Attributes:
        kernel: The covariance, unit variance.
        noise: Variance, > 0.
        transform: The kind of transform: "none", "bound", "positive", "power", "stretch 2" or "stretch 4".
        note: What did not go as planned, for the provenance.
    """

    kernel: Kernel
    noise: float
    transform: str = "none"
    note: str = ""


@dataclass(frozen=True, slots=True)
class GaussianProcess:
    """A process with a constant mean, or one known up to a constant, conditioned on u (n,) at X (n, d).

    Attributes:
        kernel: The covariance of the noise-free process, unit variance.
        noise: Variance of the noise, shape (n,).
        X: Inputs.
        u: Outcomes.
        centre: The mean, or what is added to it.
        L: Cholesky factor of the covariance of the outcomes, noise included, shape (n, n).
        weights: Shape (n,): the posterior mean at x is prior(x) + k(x, X) weights.
        K: Covariance of the noise-free process at X, shape (n, n).
        mean: The mean up to a constant, in u; None for zero.
    """

    kernel: Kernel
    noise: Tensor
    X: Tensor
    u: Tensor
    centre: float
    L: Tensor
    weights: Tensor
    K: Tensor
    mean: Mean | None = None

    def prior(self, x: Tensor) -> Tensor:
        """The mean before any observation, shape (b,), at x (b, d)."""
        constant = x.new_full((len(x),), self.centre)
        return constant if self.mean is None else constant + self.mean(x)

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and standard deviation of the noise-free process, shapes (b,), at x (b, d)."""
        with torch.no_grad():
            k = self.kernel.forward(x, self.X)
            w = torch.linalg.solve_triangular(self.L, k.T, upper=False)
            return self.prior(x) + k @ self.weights, (1.0 - w.square().sum(dim=0)).clamp_min(1e-12).sqrt()


def process(kernel: Kernel, noise: Tensor, X: Tensor, u: Tensor, mean: Mean | None = None) -> GaussianProcess:
    """Return a process conditioned on u (n,) at X (n, d), its constant mean estimated by generalised least squares.

    Args:
        kernel: Unit variance.
        noise: Variances, shape (n,).
        X: Inputs.
        u: Outcomes.
        mean: The mean up to a constant; None for zero.
    """
    with torch.no_grad():
        r = u if mean is None else u - mean(X)
        K = kernel.forward(X, X).detach()
        L = cholesky(K + torch.diag(noise))
        solved = torch.cholesky_solve(torch.stack([r, torch.ones_like(r)], dim=1), L)
        centre = float(solved[:, 0].sum() / solved[:, 1].sum())
        return GaussianProcess(kernel, noise, X, u, centre, L, solved[:, 0] - centre * solved[:, 1], K, mean)


def cholesky(K: Tensor) -> Tensor:
    """The lower factor of K with as little jitter as it takes.

    Raises:
        RuntimeError: There is none, even with a tenth of the mean diagonal added.
    """
    scale = float(K.diagonal().mean())
    for jitter in _JITTERS:
        M = K if jitter == 0.0 else K + jitter * scale * torch.eye(len(K), dtype=K.dtype, device=K.device)
        L: Tensor
        L, info = torch.linalg.cholesky_ex(M)
        if not int(info):
            return L
    last: Tensor = torch.linalg.cholesky(K + 0.1 * scale * torch.eye(len(K), dtype=K.dtype, device=K.device))
    return last


@dataclass(frozen=True, slots=True)
class Surrogate:
    """Models of the outcomes, except the known ones, of which it has the units only.

    Attributes:
        models: Outcome -> its process, in u, without the known ones.
        transforms: Outcome -> the transform under which it was modelled, for those that have one.
        observed: Outcome -> the rows of X that its process is conditioned on.
        loc: Shape (k,): Y = loc + scale * Z.
        scale: Shape (k,), > 0.
        noise: Outcome -> the variance of a trial's noise, in u.
        notes: What did not go as planned, for the provenance.
    """

    models: Mapping[int, GaussianProcess]
    transforms: Mapping[int, Transform]
    observed: Mapping[int, Tensor]
    loc: Tensor
    scale: Tensor
    noise: Mapping[int, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def predict(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Return the posterior mean and standard deviation of each outcome in its own units, shapes (n, k).

        NaN for known outcomes. Under a transform the median, and half the width of the central 68%.
        """
        mean, sd = X.new_full((len(X), len(self.loc)), math.nan), X.new_full((len(X), len(self.loc)), math.nan)
        for j, model in self.models.items():
            mean[:, j], sd[:, j] = model.predict(X)
            if j in self.transforms:
                ends = [self.transforms[j].inverse(mean[:, j] + step * sd[:, j]) for step in (-1.0, 0.0, 1.0)]
                mean[:, j], sd[:, j] = ends[1], (ends[2] - ends[0]) / 2
        return self.loc + self.scale * mean, self.scale * sd

    def noise_sd(self, X: Tensor) -> Tensor:
        """Return the standard deviation of the noise of trials at X (n, d), in Z, shape (n, k); 0 for known outcomes.

        Under a transform half the width of its central 68%, around the median outcome.
        """
        found = X.new_zeros(len(X), len(self.loc))
        for j, variance in self.noise.items():
            sd = math.sqrt(variance)
            found[:, j] = sd
            if j in self.transforms:
                u, inverse = self.models[j].predict(X)[0], self.transforms[j].inverse
                found[:, j] = (inverse(u + sd) - inverse(u - sd)) / 2
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What is known beforehand of the columns of Y.

    Attributes:
        two_sided: Those whose upper tail is clipped as well as the lower.
        whole: Those of which no tail is clipped.
        labels: The outcome, if any, whose values are two classes. Between classes there is a jump, which likelihood
            explains by the shortest lengthscale it may have, so that nothing would be learned beyond the next trial:
            it gets a longer one.
        exact: Those that are known functions of the input: no model, and no clipping.
        bent: Those that may be modelled under a transform, where it explains them better.
        positive: Those that may be modelled by their logarithm, where that is more normal.
        worth: Nats a trial by which a transform must be better than none to be used.
        noisy: Whether trials of the same configuration are known to differ.
        stretched: Whether processes may vary more than the trials show: their lengthscales are free to be long.
        means: Outcome -> its mean up to a constant, in its own units: what remains is what is modelled.
    """

    two_sided: Collection[int] = ()
    whole: Collection[int] = ()
    labels: int | None = None
    exact: Collection[int] = ()
    bent: Collection[int] = ()
    positive: Collection[int] = ()
    worth: float = 0.15
    noisy: bool = False
    stretched: bool = False
    means: Mapping[int, Mean] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Standard:
    """One outcome in standard units: the rows that have it, its values there, Y = loc + scale * z."""

    rows: Tensor
    z: Tensor
    loc: float
    scale: float
    transforms: Mapping[str, Transform] = field(default_factory=dict)


def learn(
    X: Tensor,
    Y: Tensor,
    outcomes: Outcomes | None = None,
    *,
    share: Tensor | None = None,
    covariance: Callable[[], Kernel] | None = None,
    maxiter: int = 60,
    starts: int = 2,
) -> dict[int, Hyperparameters]:
    """Return what can be learned of each column of Y that is not exact; it has a value in at least one row.

    Args:
        X: Inputs, shape (n, d), float64.
        Y: Outcomes, shape (n, k), NaN where unknown.
        outcomes: What is known of them.
        share: What part of the noise's variance each row has, shape (n,); all of it when None.
        covariance: Makes a covariance over X; matern over all columns when None.
        maxiter: Steps of L-BFGS-B for the hyperparameters.
        starts: How many times it starts.
    """
    outcomes = outcomes or Outcomes()
    make = covariance or (lambda: catalog.load("kernels", "matern").Matern(X.shape[1]).double())
    share = X.new_ones(len(X)) if share is None else share
    learned = {}
    for j in range(Y.shape[1]):
        if j in outcomes.exact:
            continue
        one = _standard(X, Y[:, j], j, outcomes, _KINDS)
        kernels: Callable[[], Kernel] = make
        if j == outcomes.labels:
            kernels = _longer(make, _SHORTEST_OF_LABELS * math.sqrt(X.shape[1]))
        settings = {"share": share[one.rows], "noisy": outcomes.noisy, "maxiter": maxiter, "starts": starts}
        learned[j] = _learn_one(X[one.rows], one, kernels, outcomes.worth, **settings)
    return learned


def _learn_one(X: Tensor, one: _Standard, make: Callable[[], Kernel], worth: float, **settings: Any) -> Hyperparameters:
    """The best of the fits under each transform, by density in z, so that Jacobians count; and along a direction."""
    make_on = (lambda: make().to(X.device)) if X.is_cuda else make
    plain = fit(X, one.z, make_on, **settings)
    steps = max(settings["maxiter"] // _FEWER, 1)
    best, name, score = plain, "none", plain.score
    for kind, transform in one.transforms.items():
        found = fit(X, transform.forward(one.z), make_on, like=plain, **{**settings, "starts": 1, "maxiter": steps})
        density = found.score + float(transform.log_slope(one.z).mean())
        least = 0.0 if isinstance(transform, Stretch) else worth  # one changes a scale, the others the shape
        if found.ok and density > max(score, plain.score + least):
            best, name, score = found, kind, density
    u = one.transforms[name].forward(one.z) if name in one.transforms else one.z
    best = along_a_direction(X, u, best, **{**settings, "starts": 1}) or best
    note = "" if best.ok else "hyperparameters left at their priors' modes: the fit failed"
    for parameter in best.kernel.parameters():
        parameter.requires_grad_(False)
    return Hyperparameters(best.kernel, best.noise, name, note)


def condition(
    X: Tensor,
    Y: Tensor,
    learned: Mapping[int, Hyperparameters],
    outcomes: Outcomes | None = None,
    *,
    share: Tensor | None = None,
) -> Surrogate:
    """Return processes with these hyperparameters, conditioned on all of X (n, d) and Y (n, k); `share` as above."""
    outcomes = outcomes or Outcomes()
    share = X.new_ones(len(X)) if share is None else share
    models: dict[int, GaussianProcess] = {}
    transforms: dict[int, Transform] = {}
    observed: dict[int, Tensor] = {}
    loc, scale, notes = [], [], []
    for j in range(Y.shape[1]):
        one = _standard(X, Y[:, j], j, outcomes, (learned[j].transform,) if j in learned else ())
        loc.append(one.loc)
        scale.append(one.scale)
        if j in outcomes.exact:
            continue
        found = learned[j]
        u = one.z
        if found.transform in one.transforms:
            transforms[j] = one.transforms[found.transform]
            u = transforms[j].forward(u)
        mean = _scaled(outcomes.means[j], one.scale) if j in outcomes.means else None
        u = u if mean is None else u + mean(X[one.rows])
        kernel = found.kernel if X.device.type == "cpu" else copy.deepcopy(found.kernel).to(X.device)
        models[j] = process(kernel, found.noise * share[one.rows], X[one.rows], u, mean)
        observed[j] = one.rows
        notes += [found.note] if found.note else []
    noise = {j: learned[j].noise for j in models}
    return Surrogate(models, transforms, observed, X.new_tensor(loc), X.new_tensor(scale), noise, tuple(notes))


def fit_surrogate(
    X: Tensor, Y: Tensor, outcomes: Outcomes | None = None, *, share: Tensor | None = None, **settings: Any
) -> Surrogate:
    """Learn and condition at once; arguments as for `learn`."""
    return condition(X, Y, learn(X, Y, outcomes, share=share, **settings), outcomes, share=share)


def _scaled(mean: Mean, scale: float) -> Mean:
    return lambda x: mean(x) / scale


def _standard(X: Tensor, column: Tensor, j: int, outcomes: Outcomes, kinds: Collection[str]) -> _Standard:
    """The outcome of column j, and those kinds of transforms that suit it."""
    rows = (~torch.isnan(column)).nonzero().squeeze(-1)
    if j in outcomes.means:
        column, kinds = column - outcomes.means[j](X), ()
    as_is = j in outcomes.exact or j in outcomes.whole
    y = column[rows] if as_is else winsorise(column[rows], upper=j in outcomes.two_sided)
    peak = float(y.abs().max()) or 1.0  # squares of 1e300 overflow
    y = y / peak
    centre = float(y.mean())
    spread = float(y.std()) if len(y) > 1 else 0.0
    spread = spread if spread > 1e-12 * max(1e-300, abs(centre)) else 1.0
    z = (y - centre) / spread
    found: dict[str, Transform | None] = {}
    if j in outcomes.bent and "bound" in kinds:
        found["bound"] = bound_of(z)
    if j in outcomes.bent and "power" in kinds:
        found["power"] = power_of(z)
    if j in outcomes.positive and "positive" in kinds and float(y.min()) > 0:
        found["positive"] = bound_of(z, side=-1.0, limit=-centre / spread)
    if outcomes.stretched and j != outcomes.labels:
        found |= {name: Stretch(factor) for name, factor in _STRETCHES.items() if name in kinds}
    return _Standard(rows, z, centre * peak, spread * peak, {name: t for name, t in found.items() if t is not None})


def _longer(make: Callable[[], Kernel], shortest: float) -> Callable[[], Kernel]:
    """The same covariance with lengthscales that start, and stay, above `shortest`."""

    def longer() -> Kernel:
        kernel = make()
        for _, parameter, constraint in kernel.named_parameters_and_constraints():
            if isinstance(constraint, Logarithmic):
                constraint.low = max(constraint.low, shortest)
                with torch.no_grad():
                    parameter.clamp_(min=math.log(1.1 * shortest))
        return kernel

    return longer
