"""chebcb: an arm for every next instance by its context: a polynomial an arm, weights by the gaps between them
(`chebyshev.py`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.strategies.bandit.chebyshev import chebcb
from tuner.strategies.bandit.online import Online

if TYPE_CHECKING:
    from tuner.problem import Problem


@dataclass(frozen=True, slots=True)
class Options:
    """What `chebcb` can be told.

    Attributes:
        arms: How many configurations it chooses from.
        features: Chebyshev polynomials of the first context.
        floor: A lower bound of the loss (of minus the metric, where that is maximised).
        eta_cap: An upper bound of its greed, for streams that change; None for none.
        conservative: The share by which it may cost more than the baseline; None for no such bound.
        block: Instances a block at most; above 1 they are solved in blocks in tuner's own process (`tuner/stream.py`).
    """

    arms: int = 20
    features: int = 6
    floor: float = 0.0
    eta_cap: float | None = None
    conservative: float | None = None
    block: int = 1

    def __post_init__(self) -> None:
        if self.features < 1:
            raise ValueError(f"features must be >= 1, but got {self.features}")


def build(problem: Problem, options: Options) -> Online:
    """Return the strategy.

    Raises:
        UsageError: There are several goals, constraints, or no contexts.
    """
    return Online(
        problem,
        "chebcb",
        lambda setting: chebcb(
            len(setting.places),
            bounds=(float(setting.bounds[0, 0]), float(setting.bounds[0, 1])),
            seed=setting.seed,
            m=options.features,
            floor=options.floor,
            eta_cap=math.inf if options.eta_cap is None else options.eta_cap,
        ),
        arms=options.arms,
        conservative=options.conservative,
        block=options.block,
        needs_context=True,
    )
