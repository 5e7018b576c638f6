"""Logarithmic: the constraint of positive hyperparameters that are fitted by their logarithms, in a range."""

from __future__ import annotations

import torch
from gpytorch.constraints import Positive

LOWEST, HIGHEST = 1e-3, 1e3


class Logarithmic(Positive):  # type: ignore[misc]
    """The raw parameter is the logarithm; `tuner.gp.fit` keeps the value in [low, high].

    Attributes:
        low: Least value.
        high: Largest value.
    """

    def __init__(self, initial: float, *, low: float = LOWEST, high: float = HIGHEST) -> None:
        super().__init__(
            transform=torch.exp, inv_transform=torch.log, initial_value=min(max(initial, 1.1 * low), high / 1.1)
        )
        self.low = low
        self.high = high
