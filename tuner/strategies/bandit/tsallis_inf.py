"""tsallis-inf: an arm for every next instance, without assumptions on the losses; best against an adversary and against
independent draws (`adversarial.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.strategies.bandit.adversarial import tsallis_inf
from tuner.strategies.bandit.online import Online

if TYPE_CHECKING:
    from tuner.problem import Problem


@dataclass(frozen=True, slots=True)
class Options:
    """What `tsallis-inf` can be told.

    Attributes:
        arms: How many configurations it chooses from.
        bins: Cells of the first context's range, each with a bandit of its own; 1 leaves contexts aside.
        floor: A lower bound of the loss (of minus the metric, where that is maximised); the least seen when None.
        rate: Of the learning rate, rate / sqrt(t).
        conservative: The share by which it may cost more than the baseline; None for no such bound.
        block: Instances a block at most; above 1 they are solved in blocks in tuner's own process (`tuner/stream.py`).
    """

    arms: int = 20
    bins: int = 1
    floor: float | None = None
    rate: float = 2.0
    conservative: float | None = None
    block: int = 1

    def __post_init__(self) -> None:
        if self.bins < 1:
            raise ValueError(f"bins must be >= 1, but got {self.bins}")
        if self.rate <= 0:
            raise ValueError(f"rate must be > 0, but got {self.rate}")


def build(problem: Problem, options: Options) -> Online:
    """Return the strategy.

    Raises:
        UsageError: There are several goals, constraints, or bins without contexts.
    """
    return Online(
        problem,
        "tsallis-inf",
        lambda setting: tsallis_inf(
            len(setting.places),
            seed=setting.seed,
            bins=options.bins,
            bounds=(float(setting.bounds[0, 0]), float(setting.bounds[0, 1])) if len(setting.bounds) else (0.0, 1.0),
            floor=options.floor,
            rate=options.rate,
        ),
        arms=options.arms,
        conservative=options.conservative,
        block=options.block,
        needs_context=options.bins > 1,
    )
