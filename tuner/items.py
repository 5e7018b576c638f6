"""Items: a score that is a mean over items (questions, images, instances), reported as the running mean it has so far.

Items are evaluated in one order in every trial, so that the means of two trials at a step are over the same items; the
step is the number of items. The standard error is that of the mean of independent items, s / sqrt(n). Standard library
only: scripts that run as trials import it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

SUFFIX = "_se"
"""Of the name under which a mean's standard error is reported."""

Scores = float | Iterable[float]


@dataclass(slots=True)
class Tally:
    """Running means by name (Welford 1962).

    Attributes:
        n: Items so far.
        means: Of each score.
        squares: Sums of squared distances to the mean.
    """

    n: int = 0
    means: dict[str, float] = field(default_factory=dict)
    squares: dict[str, float] = field(default_factory=dict)

    def take(self, scores: Mapping[str, Scores]) -> dict[str, float]:
        """Take in the scores of one more item, or of several; the means so far, with standard errors from two items on.

        Raises:
            ValueError: Scores are not given for the same number of items, or other scores were given before.
        """
        lists = {name: _listed(value) for name, value in scores.items()}
        sizes = {len(values) for values in lists.values()}
        if len(sizes) != 1:
            raise ValueError(f"every score must be given for the same items, but got {sorted(sizes)} of them")
        if self.n and lists.keys() != self.means.keys():
            raise ValueError(f"the scores were {sorted(self.means)} so far, but now they are {sorted(lists)}")
        for name, values in lists.items():
            mean, squares = self.means.get(name, 0.0), self.squares.get(name, 0.0)
            for n, value in enumerate(values, start=self.n + 1):
                step = value - mean
                mean += step / n
                squares += step * (value - mean)
            self.means[name], self.squares[name] = mean, squares
        self.n += sizes.pop()
        return {**self.means, **self.errors()}

    def errors(self) -> dict[str, float]:
        """Standard errors of the means; none before the second item."""
        if self.n < 2:
            return {}
        return {f"{name}{SUFFIX}": math.sqrt(s / (self.n - 1) / self.n) for name, s in self.squares.items()}


def _listed(value: Scores) -> list[float]:
    tolist = getattr(value, "tolist", None)
    plain = tolist() if tolist is not None else value
    return [float(item) for item in plain] if isinstance(plain, Iterable) else [float(plain)]
