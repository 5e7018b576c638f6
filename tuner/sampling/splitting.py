"""Feasible configurations that random draws would not meet, and how rare they are.

Subset simulation (Au and Beck 2001, "Estimation of small failure probabilities in high dimensions"): particles drawn
from the space's law are restricted to ever smaller violations. At each level the best fifth is kept, copied, and moved
on by a Markov chain among the configurations of at most that violation, so the particles end up distributed over the
feasible set in proportion to the mass of its parts; the product of the kept shares estimates the feasible fraction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuner.sampling.chain import Chain

if TYPE_CHECKING:
    from tuner.sampling.repair import Violation
    from tuner.space import SearchSpace
    from tuner.trial import Config

N_PARTICLES = 200
KEPT = 0.2
RAREST = 1e-10
"""The smallest feasible fraction that is looked for."""


@dataclass(frozen=True, slots=True)
class Split:
    """Particles of the feasible set, and the estimated share of the space that it takes."""

    particles: tuple[Config, ...]
    fraction: float


def split(space: SearchSpace, violation: Violation, draws: Sequence[Config], rng: np.random.Generator) -> Split | None:
    """Particles of the feasible set, from random draws of the space; None when a level cannot be improved on."""
    values = [violation.of(config) for config in draws]
    level = sorted(values)[min(N_PARTICLES, len(values)) - 1]
    particles = [config for config, value in zip(draws, values, strict=True) if value <= level]
    log_fraction = math.log(len(particles) / len(draws))
    steps = 16 + 3 * len(space.parameters)
    while log_fraction > math.log(RAREST):
        particles = [particles[i] for i in _copies(len(particles), rng)]
        chain = Chain(space, _below(violation, level) if level > 0 else space.feasible)
        particles = [chain.advance(particle, rng, steps if level > 0 else 6 * steps) for particle in particles]
        if level == 0:
            return Split(tuple(particles), math.exp(log_fraction))
        values = [violation.of(config) for config in particles]
        ranked = sorted(values)
        following = ranked[int(KEPT * len(ranked))]
        if following >= level:
            following = max((value for value in ranked if value < level), default=level)
        if following >= level:
            return None
        particles = [config for config, value in zip(particles, values, strict=True) if value <= following]
        log_fraction += math.log(len(particles) / len(values))
        level = following
    return None


def _below(violation: Violation, level: float) -> Callable[[Config], bool]:
    return lambda config: violation.of(config) <= level


def _copies(n: int, rng: np.random.Generator) -> list[int]:
    """N_PARTICLES indices below n, each as often as any other up to one."""
    order = rng.permutation(n)
    return [int(order[i % n]) for i in range(N_PARTICLES)]
