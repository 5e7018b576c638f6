"""grid: every combination of levels once, in a shuffled order, and then no more.

A column with few levels takes part with all of them, any other with `levels` evenly spaced positions in its own scale
(logarithmic where declared so). The order is a permutation computed position by position, so that nothing is listed
ahead and a grid of any size costs nothing to start. Combinations that differ only in inactive parameters are one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner.trial import Config, Proposal, Provenance

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.parameters.columns import Column
    from tuner.problem import Problem

_ROUNDS = 4
_WITNESSES = 16
_SEED_STREAM = 0x6121D
_WORD = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Options:
    """What `grid` can be told.

    Attributes:
        levels: Positions a column has when it is continuous or has more levels than that and is not categorical.
        shuffle: Visit them in an order that depends on the study's seed; otherwise the first parameter varies slowest.
    """

    levels: int = 5
    shuffle: bool = True

    def __post_init__(self) -> None:
        if self.levels < 1:
            raise ValueError(f"levels must be >= 1, but got {self.levels}")


def positions(column: Column, levels: int) -> tuple[float, ...]:
    """The places in [0, 1] where a column is tried."""
    count = column.levels
    if count is not None and (column.kind == "categorical" or count <= levels):
        return column.grid if column.grid is not None else tuple((i + 0.5) / count for i in range(count))
    return (0.5,) if levels == 1 else tuple(i / (levels - 1) for i in range(levels))


def shuffled(position: int, size: int, keys: Sequence[int]) -> int:
    """Return where a pseudo-random permutation of range(size) puts `position`.

    A Feistel network over the next even number of bits, walked until it falls inside (Black and Rogaway 2002).
    """
    half = ((size - 1).bit_length() + 1) // 2
    mask = (1 << half) - 1
    while True:
        left, right = position >> half, position & mask
        for key in keys:
            mixed = (right ^ key) * 0x9E3779B97F4A7C15 & _WORD
            mixed = (mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9 & _WORD
            left, right = right, left ^ ((mixed ^ (mixed >> 32)) & mask)
        position = (left << half) | right
        if position < size:
            return position


class GridSearch:
    """All combinations, once each."""

    def __init__(self, problem: Problem, options: Options) -> None:
        self._space = problem.space
        self._options = options
        self._positions = [positions(column, options.levels) for column in problem.space.encoding.columns]
        self._size = math.prod(len(places) for places in self._positions)
        words = np.random.SeedSequence([problem.seed, _SEED_STREAM]).generate_state(_ROUNDS, np.uint64)
        self._keys = [int(word) for word in words]
        self._cursor = 0  # every position before it is tried or infeasible
        self._passed: deque[Config] = deque(maxlen=_WITNESSES)

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Return the next `n` untried combinations; fewer when the grid ends."""
        if not all(history.seen(config) for config in self._passed):  # another history than last time
            self._cursor = 0
            self._passed.clear()
        configs: list[Config] = []
        taken: set[bytes] = set()
        position = self._cursor
        while len(configs) < n and position < self._size:
            config = self._config(position)
            key = self._space.key(config)
            position += 1
            feasible = self._space.feasible(config)
            if feasible and key not in taken and not history.seen(config):
                taken.add(key)
                configs.append(config)
            elif not configs:
                self._cursor = position
                self._passed.extend([config] if feasible else [])
        return [Proposal(config=config, provenance=Provenance(engine="grid")) for config in configs]

    def _config(self, position: int) -> Config:
        rest = shuffled(position, self._size, self._keys) if self._options.shuffle else position
        x: NDArray[np.float64] = np.empty(len(self._positions))
        for j in range(len(self._positions) - 1, -1, -1):
            rest, digit = divmod(rest, len(self._positions[j]))
            x[j] = self._positions[j][digit]
        return self._space.encoding.decode(x)


def build(problem: Problem, options: Options) -> GridSearch:
    """Return the strategy; it works on every problem."""
    return GridSearch(problem, options)
