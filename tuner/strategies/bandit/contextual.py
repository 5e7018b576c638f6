"""Thompson sampling and upper confidence bounds on a Gaussian process over few arms and the context.

Losses that are all positive are modelled by their logarithm: iterations and seconds differ by factors, and then an arm
that is ten times worse does not blur what is known of the good ones. Sums of both are kept, so that a first loss of
zero or less turns the model to plain losses without another look at what was measured.

Notation: d arms, b instances in a block, k numbers a context, w features (`surface.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from tuner.strategies.bandit.decisions import Arms, Array, Block, normals
from tuner.strategies.bandit.surface import Posterior, Surface, surface

Rule = Literal["thompson", "ucb"]


@dataclass(frozen=True, slots=True)
class Contextual:
    """The policy's state.

    Attributes:
        logs: The surface of log losses; left alone from the first loss of zero or less.
        plain: The surface of the losses in units of `unit`.
        unit: The first block's median size of a loss; 0 before it.
        positive: Whether every loss was positive.
        low: Least contexts, (k,).
        width: Ranges of the contexts, (k,).
        rule: How arms follow from what is known.
        beta: Standard deviations of optimism, for "ucb".
        seed: Of the draws.
    """

    logs: Surface
    plain: Surface
    low: Array
    width: Array
    unit: float = 0.0
    positive: bool = True
    rule: Rule = "thompson"
    beta: float = 2.0
    seed: int = 0

    def choose(self, contexts: Array, numbers: Arms) -> Block:
        """Return the arms that are best in a draw of the surface, or by their lower confidence bounds."""
        inside, posterior = self.inside(contexts), self.posterior()
        if self.rule == "ucb":
            mean, sd = posterior.predict(inside)
            arms = (mean - self.beta * sd).argmin(axis=1)
        else:
            weights = posterior.draw(normals(self.seed, numbers, len(posterior.mean)))
            arms = np.einsum("bdw,bw->bd", posterior.basis.every_arm(inside), weights).argmin(axis=1)
        return Block(arms.astype(np.int64), np.ones(len(arms)))

    def chances(self, contexts: Array, arms: Arms) -> Array:
        """Return ones: what it learns does not depend on how arms were chosen."""
        return np.ones(len(arms))

    def learned(self, contexts: Array, block: Block, losses: Array) -> Self:
        """Return the policy that also knows what a block cost."""
        inside = self.inside(contexts)
        unit = self.unit or float(np.median(np.abs(losses))) or 1.0
        positive = self.positive and bool((losses > 0.0).all())
        logs = self.logs.learned(block.arms, inside, np.log(losses / unit)) if positive else self.logs
        plain = self.plain.learned(block.arms, inside, losses / unit)
        return replace(self, logs=logs, plain=plain, unit=unit, positive=positive)

    def inside(self, contexts: Array) -> Array:
        """Return contexts in [0, 1], clamped."""
        found: Array = np.clip((contexts - self.low) / self.width, 0.0, 1.0)
        return found

    def posterior(self) -> Posterior:
        """Return what is known of the weights."""
        return (self.logs if self.positive else self.plain).posterior()

    def predict(self, contexts: Array, deviations: float = 0.0) -> Array:
        """Return every arm's expected loss at each context, (b, d), so many standard deviations above the mean."""
        posterior = self.posterior()
        mean, sd = posterior.predict(self.inside(contexts))
        if self.positive:
            found: Array = np.exp(np.clip(mean + deviations * sd + posterior.noise**2 / 2.0, -700.0, 700.0))
        else:
            found = mean + deviations * sd
        return found * (self.unit or 1.0)


def contextual(
    places: Array, bounds: Array, *, rule: Rule = "thompson", seed: int = 0, beta: float = 2.0
) -> Contextual:
    """Return the policy before its first decision.

    Args:
        places: The arms' coordinates in [0, 1], (d, columns).
        bounds: Least and largest contexts, (k, 2); k may be 0.
        rule: "thompson" or "ucb".
        seed: Of its draws.
        beta: Standard deviations of optimism, for "ucb".
    """
    empty = surface(places, len(bounds))
    width = np.maximum(bounds[:, 1] - bounds[:, 0], 1e-300)
    return Contextual(empty, empty, bounds[:, 0], width, rule=rule, seed=seed, beta=beta)
