"""Calibration: how well predictions with an interval agreed with what came of them.

Notation, for n predictions
    mean, sd, outcome   shape (n,); sd >= 0 is the outcome's own, noise included where it is known
    z                   (outcome - mean) / sd

The predictions that a strategy wrote down when it proposed its trials are all out of sample: comparing them with the
outcomes (Dawid 1984 calls it prequential) needs no model, only what the study stores. Leave-one-out predictions of a
model fitted today come from `tuner.gp.calibration`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from tuner.study import Study

Array = NDArray[np.float64]

FEWEST = 10
"""Predictions below which there is no verdict."""

_LATEST = 20
_Z95, _Z68 = 1.959964, 1.0
_P95, _P68 = 0.95, 0.682689
_ALARM = 0.01
"""Probability of a well calibrated model being called over- or underconfident."""

_Z_INFORMATIVE = 1.644854
"""A rank correlation is above chance when it is this many of its standard errors, 1 / sqrt(n - 1), above 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What n predictions were worth.

    Attributes:
        n: How many there were.
        outside_95: How many outcomes fell outside their 95% interval.
        inside_68: Share of outcomes inside their 68% interval.
        inside_95: Share inside their 95% interval.
        rank_correlation: Spearman's, of means and outcomes; None when either is constant.
        squared_error: Mean of z squared: 1 for a calibrated model, more for an overconfident one.
        verdict: "overconfident", "underconfident", "uninformative", "calibrated", or "too few predictions".
    """

    n: int
    outside_95: int
    inside_68: float
    inside_95: float
    rank_correlation: float | None
    squared_error: float
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)

    def __str__(self) -> str:
        rank = "undefined" if self.rank_correlation is None else f"{self.rank_correlation:.2f}"
        return (
            f"{self.outside_95} of {self.n} predictions outside their 95% interval; "
            f"rank correlation {rank}; {self.verdict}"
        )


def calibration(mean: ArrayLike, sd: ArrayLike, outcome: ArrayLike) -> Calibration | None:
    """Return what predictions were worth; None without a finite one.

    A share inside an interval is off when a binomial count as far off has a probability under 1%. An overconfident
    model is named so before anything else, since it misleads; an uninformative one has means whose ranks say no more
    of the outcomes' than chance.

    Args:
        mean: Shape (n,).
        sd: Shape (n,), > 0; predictions that claim certainty are left out.
        outcome: Shape (n,).
    """
    m, s, y = (np.asarray(values, dtype=np.float64) for values in (mean, sd, outcome))
    usable = np.isfinite(m) & np.isfinite(s) & np.isfinite(y) & (s > 0)
    m, s, y = m[usable], s[usable], y[usable]
    n = len(y)
    if not n:
        return None
    with np.errstate(over="ignore"):
        z = np.abs(y / s - m / s)
        squared = min(float(np.mean(np.square(z))), 1e300)
    in_68, in_95 = int((z <= _Z68).sum()), int((z <= _Z95).sum())
    rank = _spearman(m, y)
    return Calibration(
        n=n,
        outside_95=n - in_95,
        inside_68=in_68 / n,
        inside_95=in_95 / n,
        rank_correlation=rank,
        squared_error=squared,
        verdict=_verdict(n, in_68, in_95, rank),
    )


def _verdict(n: int, in_68: int, in_95: int, rank: float | None) -> str:
    if n < FEWEST:
        return "too few predictions"
    if _at_most(in_95, n, _P95) < _ALARM:
        return "overconfident"
    if _at_most(n - in_68, n, 1 - _P68) < _ALARM:
        return "underconfident"
    if rank is None or rank * math.sqrt(n - 1) < _Z_INFORMATIVE:
        return "uninformative"
    return "calibrated"


def _at_most(k: int, n: int, p: float) -> float:
    """P(X <= k) for a binomial X of n draws of probability p."""
    terms = (
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p) + (n - i) * math.log1p(-p)
        for i in range(k + 1)
    )
    return math.fsum(map(math.exp, terms))


def _spearman(a: Array, b: Array) -> float | None:
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(), y - y.mean()
    norm = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / norm if norm > 0 else None


def _ranks(values: Array) -> Array:
    """Ranks from 0, ties sharing their mean."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count) - 1.0
    return np.asarray((last - (count - 1) / 2)[place], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was expected of one metric of one trial, and what came.

    Attributes:
        mean: In the metric's own units.
        sd: Of the outcome, noise included.
        outcome: As measured.
    """

    mean: float
    sd: float
    outcome: float

    @property
    def z(self) -> float | None:
        """Standard deviations from the mean to the outcome; None for a prediction that claimed certainty."""
        z = (self.outcome - self.mean) / self.sd if self.sd > 0 else math.nan
        return z if math.isfinite(z) else None

    def to_json(self) -> dict[str, float | None]:
        """Mean, sd, outcome and z."""
        return {**asdict(self), "z": self.z}


def predictions(provenance: Mapping[str, Any], metrics: Mapping[str, float]) -> dict[str, Prediction]:
    """Return the predictions of one trial by metric, where there was a mean, a deviation and an outcome.

    Args:
        provenance: Its fields `mean` and `sd`, by metric.
        metrics: What came.
    """
    means, sds = provenance.get("mean", {}), provenance.get("sd", {})
    names = means.keys() & sds.keys() & metrics.keys()
    return {name: Prediction(means[name], sds[name], metrics[name]) for name in names}


def prequential(study: Study) -> dict[str, Calibration]:
    """Return what the latest predictions made when trials were proposed turned out to be worth, by objective.

    The latest 20: a model that has learned since that measurements are noisy is not judged by what it said before.
    """
    problem = study.problem
    made = [
        predictions(json.loads(provenance), json.loads(metrics))
        for state, provenance, metrics, _ in study.stored("state", "provenance", "metrics")
        if state == "completed" and '"mean"' in provenance and metrics
    ]
    found = {metric.name: _of(metric.name, made) for metric in problem.objectives}
    return {name: value for name, value in found.items() if value is not None}


def _of(name: str, made: Sequence[Mapping[str, Prediction]]) -> Calibration | None:
    rows = [trial[name] for trial in made if name in trial][-_LATEST:]
    return calibration([row.mean for row in rows], [row.sd for row in rows], [row.outcome for row in rows])
