"""ucb: an arm for every next instance, the best by the confidence bounds of a Gaussian process over arms and contexts
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
    """What `ucb` can be told.

    Attributes:
        arms: How many configurations it chooses from.
        beta: Standard deviations of optimism.
        conservative: The share by which it may cost more than the baseline; None for no such bound.
        block: Instances a block at most; above 1 they are solved in blocks in tuner's own process (`tuner/stream.py`).
    """

    arms: int = 20
    beta: float = 2.0
    conservative: float | None = None
    block: int = 1


def build(problem: Problem, options: Options) -> Online:
    """Return the strategy.

    Raises:
        UsageError: There are several goals or constraints.
    """
    return Online(
        problem,
        "ucb",
        lambda setting: contextual(setting.places, setting.bounds, rule="ucb", seed=setting.seed, beta=options.beta),
        arms=options.arms,
        conservative=options.conservative,
        block=options.block,
    )
