"""Fresh: gathers configurations that a trial may be spent on, whatever strategy they come from.

A configuration is taken when it honours the restrictions and, unless the policy is to replicate, when it is neither
finished, pending nor taken already. What a strategy cannot fill is drawn from the space; in a finite space that repeats
itself the untried rest is listed, so that fewer than asked for means: there are no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.trial import Config

if TYPE_CHECKING:
    import numpy as np

    from tuner.history import History
    from tuner.problem import Problem

ENUMERABLE = 100_000
_ROUNDS = 8


def replicates(problem: Problem) -> bool:
    """Whether repeating a configuration is wanted: declared, or because the objective is noisy."""
    declared = problem.search.duplicates if problem.search is not None else None
    return declared == "replicate" or (declared is None and problem.noisy)


class Fresh:
    """At most `n` new configurations.

    Attributes:
        configs: Those taken so far.
    """

    def __init__(self, history: History, n: int) -> None:
        self.configs: list[Config] = []
        self._history = history
        self._space = history.space
        self._n = n
        self._replicate = replicates(history.problem)
        self._taken: set[bytes] = set()

    @property
    def missing(self) -> int:
        """How many more are wanted."""
        return self._n - len(self.configs)

    @property
    def exhausted(self) -> bool:
        """Whether every configuration of a finite space without restrictions has been tried."""
        return not self._replicate and self._history.n_seen + len(self._taken) >= self._space.size()

    def acceptable(self, config: Config) -> bool:
        """Whether `config` may be spent a trial on; a configuration of the space is assumed."""
        if not self._space.feasible(config):
            return False
        return self._replicate or not (self._history.seen(config) or self._space.key(config) in self._taken)

    def take(self, config: Config) -> bool:
        """Add `config` when it is acceptable and still wanted; say whether it was."""
        if self.missing <= 0 or not self.acceptable(config):
            return False
        self._taken.add(self._space.key(config))
        self.configs.append(config)
        return True

    def draw(self, rng: np.random.Generator, *, prior: bool = False) -> list[Config]:
        """Fill up from the space itself and return what was added.

        Raises:
            SpaceError: Nothing feasible was found.
        """
        before = len(self.configs)
        batch, misses = max(self.missing, 1), 0
        while self.missing > 0 and misses < _ROUNDS and not self.exhausted:
            drawn = [self.take(config) for config in self._space.sample(batch, rng, prior=prior)]
            misses = 0 if any(drawn) else misses + 1
            batch = min(2 * batch, 128) if misses else max(self.missing, 1)
        if self.missing > 0 and not self.exhausted and self._space.size() <= ENUMERABLE:
            rest = [config for config in self._space.enumerate() if self.acceptable(config)]
            for i in rng.permutation(len(rest)):
                self.take(rest[int(i)])
        return self.configs[before:]

    def nearest(self, config: Config, rng: np.random.Generator, *, draws: int = 128) -> Config | None:
        """Return the acceptable configuration closest to `config` among its neighbours and some draws.

        Distance is Euclidean over the encoded columns. None when none of them is acceptable.
        """
        import numpy as np

        pool = [*self._space.neighbours(config, rng), *self._space.sample(draws, rng)]
        pool = [candidate for candidate in pool if self.acceptable(candidate)]
        if not pool:
            return None
        encoding = self._space.encoding
        gaps = encoding.encode_many(pool)[0] - encoding.encode(config)[0]
        return pool[int(np.argmin(np.square(gaps).sum(axis=1)))]
