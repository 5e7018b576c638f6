"""thompson: an arm for every next instance, the best in a draw of a Gaussian process over arms and contexts
(`contextual.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.strategies.bandit.contextual import contextual
from tuner.strategies.bandit.online import Online

if TYPE_CHECKING:
    from tuner.problem import Problem


@dataclass(frozen=True, slots=True)
class Options:
    """What `thompson` can be told.

    Attributes:
        arms: How many configurations it chooses from.
        conservative: The share by which it may cost more than the baseline; None for no such bound.
        block: Instances a block at most; above 1 they are solved in blocks in tuner's own process (`tuner/stream.py`).
    """

    arms: int = 20
    conservative: float | None = None
    block: int = 1


def build(problem: Problem, options: Options) -> Online:
    """Return the strategy.

    Raises:
        UsageError: There are several goals or constraints.
    """
    return Online(
        problem,
        "thompson",
        lambda setting: contextual(setting.places, setting.bounds, rule="thompson", seed=setting.seed),
        arms=options.arms,
        conservative=options.conservative,
        block=options.block,
    )
