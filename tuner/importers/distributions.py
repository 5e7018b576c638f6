"""What other tools' distributions become here: a range with `log`, `step` and a `prior`.

A distribution without bounds (normal and its kin) becomes the range that holds 99.7 % of it, with a prior at its
median: strategies that know priors start there, all others stay inside.
"""

from __future__ import annotations

import math
from typing import Any

SIGMAS = 3.0
"""An unbounded normal is cut this many standard deviations from its mean: 99.73 % remain."""


def tidy(value: float) -> float:
    """Return `value` without the noise of exp and rounding: 12 significant digits."""
    return float(f"{value:.12g}")


def uniform(low: float, high: float, *, log: bool = False, step: float | None = None) -> dict[str, Any]:
    """Return the entry of a range; a single point is a constant.

    Args:
        low: Smallest value.
        high: Largest value.
        log: Uniform in the logarithm.
        step: Both bounds are rounded to its multiples, as tools that round samples do.

    Raises:
        ValueError: The range is empty, or logarithmic and not positive.
    """
    if not low <= high:
        raise ValueError(f"min <= max must hold, but got min={low}, max={high}; swap them")
    if log and low <= 0:
        raise ValueError(f"a logarithmic range needs min > 0, but got min={low}; raise it")
    if step is not None:
        low, high, whole = _multiples(low, high, step)
        if log and low <= 0:
            low = step
        if low >= high:
            return {"value": int(high) if whole else tidy(high)}
        if whole:
            low, high, step = int(low), int(high), int(step)
    if low == high:
        return {"value": low}
    entry: dict[str, Any] = {"min": low, "max": high}
    if log:
        entry["log"] = True
    if step is not None and not (isinstance(step, int) and step == 1):
        entry["step"] = step
    if step is None and isinstance(low, int) and isinstance(high, int):
        entry["type"] = "float"
    return entry


def _multiples(low: float, high: float, step: float) -> tuple[float, float, bool]:
    """Return the bounds at multiples of `step`, and whether all of them are whole numbers."""
    if not step > 0 or (high - low) / step > 1e15:
        raise ValueError(f"a step must be positive and not tiny beside its range, but got {step}; correct it")
    low, high = tidy(round(low / step) * step), tidy(round(high / step) * step)
    return low, high, all(float(value).is_integer() for value in (low, high, step))


def normal(mu: float, sigma: float, *, step: float | None = None) -> dict[str, Any]:
    """Return a range of three standard deviations around `mu`, with a prior there."""
    if not sigma > 0:
        raise ValueError(f"sigma > 0 must hold, but got sigma={sigma}; correct it")
    entry = uniform(tidy(mu - SIGMAS * sigma), tidy(mu + SIGMAS * sigma), step=step)
    return with_prior(entry, mu)


def log_normal(mu: float, sigma: float, *, step: float | None = None) -> dict[str, Any]:
    """Return the logarithmic range of three standard deviations around exp(`mu`), with a prior there."""
    if not sigma > 0:
        raise ValueError(f"sigma > 0 must hold, but got sigma={sigma}; correct it")
    low, middle, high = (exp(mu + k * SIGMAS * sigma) for k in (-1, 0, 1))
    return with_prior(uniform(low, high, log=True, step=step), middle)


def beta(a: float, b: float, *, step: float | None = None) -> dict[str, Any]:
    """Return the range 0 to 1 with a prior at the mean of Beta(a, b)."""
    if not (a > 0 and b > 0):
        raise ValueError(f"a > 0 and b > 0 must hold, but got a={a}, b={b}; correct them")
    return with_prior(uniform(0.0, 1.0, step=step), a / (a + b))


def with_prior(entry: dict[str, Any], at: float) -> dict[str, Any]:
    """Return the range with a prior at its admissible value nearest to `at`."""
    if "min" not in entry:
        return entry
    low, high = entry["min"], entry["max"]
    at = min(max(at, low), high)
    if step := entry.get("step"):
        at = low + round((at - low) / step) * step
    whole = entry.get("type") != "float" and all(isinstance(bound, int) for bound in (low, high))
    at = round(at) if whole else min(max(tidy(at), low), high)
    return {**entry, "prior": {"at": at, "confidence": "medium"}}


def exp(value: float) -> float:
    """Return e to the power of `value`.

    Raises:
        ValueError: It is not a positive finite number.
    """
    result = math.exp(value) if value < 700 else math.inf
    if not 0 < result < math.inf:
        raise ValueError(f"an exponent must be between -745 and 700, but got {value}; did you mean the value?")
    return tidy(result)
