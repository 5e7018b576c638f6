"""Few arms of a space: the configurations an online bandit chooses from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tuner.randomness import generator
from tuner.strategies.grid import positions
from tuner.trial import Config

if TYPE_CHECKING:
    from tuner.space import SearchSpace

_SEED_STREAM = 0xA7


def arms_of(space: SearchSpace, count: int, seed: int, *, baseline: Config | None = None) -> list[Config]:
    """Return about `count` configurations, the same ones for the same seed.

    All of a space that has no more; else an even grid, where one with at least two levels a number has no more; else
    draws. The baseline is among them when it is given, as an arm of its own if need be.
    """
    found = _whole(space, count) or _grid(space, count)
    if len(found) < 2:
        found = space.sample(count, generator(seed, 0, _SEED_STREAM))
    distinct = {space.key(config): config for config in found}
    if baseline is not None:
        distinct.setdefault(space.key(baseline), baseline)
    return list(distinct.values())


def _whole(space: SearchSpace, count: int) -> list[Config]:
    return list(space.enumerate()) if space.size() <= count else []


def _grid(space: SearchSpace, count: int) -> list[Config]:
    """The finest even grid of at most `count` places, what is infeasible left out; nothing when that is too coarse."""
    columns = space.encoding.columns
    places: list[tuple[float, ...]] = []
    for levels in range(2, count + 1):
        finer = [positions(column, levels) for column in columns]
        if math.prod(map(len, finer)) > count:
            break
        places = finer
    if not places:
        return []
    mesh = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1).reshape(-1, len(columns))
    return [config for config in map(space.encoding.decode, mesh) if space.feasible(config)]
