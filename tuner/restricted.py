"""Feasible configurations of a restricted space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.errors import SpaceError

if TYPE_CHECKING:
    from tuner.encoding import Config
    from tuner.space import SearchSpace

N_PROBE = 20_000


def sample(space: SearchSpace, n: int, rng: np.random.Generator, *, prior: bool) -> list[Config]:
    """n feasible configurations by rejection."""
    found: list[Config] = []
    tries = 0
    while len(found) < n:
        config = space.draw(rng, prior=prior)
        tries += 1
        if space.feasible(config):
            found.append(config)
            tries = 0
        elif tries >= N_PROBE:
            raise SpaceError(f"no feasible configuration: 0 of {tries:,} random ones satisfy the restrictions")
    return found


def fill(space: SearchSpace, fixed: Mapping[str, Any]) -> Config | None:
    """A feasible configuration that keeps the fixed values; None when none was found."""
    rng = np.random.default_rng(0)
    for _ in range(2000):
        config = space.changed(space.draw(rng), fixed, rng)
        if space.feasible(config):
            return config
    return None


def near(space: SearchSpace, config: Config, rng: np.random.Generator) -> list[Config]:
    """Nothing yet but single changes."""
    return []


def nearest_feasible(space: SearchSpace, config: Config) -> Config:
    """The feasible configuration among samples that is nearest to `config` in the unit cube."""
    found = space.sample(64, np.random.default_rng(0))
    x, _ = space.encoding.encode(config)
    X, _ = space.encoding.encode_many(found)
    return found[int(np.argmin(((X - x) ** 2).sum(axis=1)))]
