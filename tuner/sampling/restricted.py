"""Feasible configurations of a restricted space: by rejection, from the list of all of them, or from a Markov chain.

Which way is a property of the space alone, found once with a fixed seed, so that sampling stays a pure function of its
generator. Rejection serves down to one feasible configuration in a thousand. Below, a finite space of at most
`MAX_LISTED` configurations is listed; any other one gets a pool of feasible configurations (by `splitting`, or by
`repair` where that stalls), and a sample is a random one of the pool moved on by the chain. The first two ways are
exact, the third approaches the same law.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.errors import SpaceError
from tuner.sampling import counting
from tuner.sampling.chain import Chain
from tuner.sampling.repair import Repair, Violation
from tuner.sampling.splitting import split

if TYPE_CHECKING:
    from tuner.space import SearchSpace
    from tuner.trial import Config

N_PROBE = 20_000
"""Random configurations looked at before rejection is given up."""

ENOUGH = 20
"""Feasible ones among them that make rejection worth while."""

MAX_LISTED = 200_000
N_STARTS = 16
N_POOL = 128
N_NEAR = 8
EVALUATIONS = 2000
CANDIDATES = 16
"""Configurations from which one is chosen by its prior density, where the prior cannot be sampled directly."""


@dataclass(frozen=True, slots=True)
class Ways:
    """How a space is sampled.

    Attributes:
        fraction: Estimated feasible fraction.
        rejection: Whether rejection serves.
        pool: Feasible configurations, when it does not.
        weights: Cumulative probabilities of the pool when it lists every feasible configuration; None for a chain.
        chain: The chain that moves on from the pool.
    """

    fraction: float
    rejection: bool
    pool: tuple[Config, ...] = ()
    weights: tuple[float, ...] | None = None
    chain: Chain | None = None


def sample(space: SearchSpace, n: int, rng: np.random.Generator, *, prior: bool) -> list[Config]:
    """n feasible configurations.

    Raises:
        SpaceError: Nothing feasible was found.
    """
    if n < 1:
        return []
    ways = space.ways
    if ways.rejection:
        found = _rejected(space, n, rng, prior=prior, limit=math.ceil(50 / ways.fraction))
        if found is not None:
            return found
    if not prior or all(parameter.prior is None for parameter in space.parameters):
        return [_one(space, ways, rng) for _ in range(n)]
    return [_believed(space, ways, rng) for _ in range(n)]


def _rejected(space: SearchSpace, n: int, rng: np.random.Generator, *, prior: bool, limit: int) -> list[Config] | None:
    """n feasible draws, or None when `limit` draws in a row were not."""
    found: list[Config] = []
    misses = 0
    while len(found) < n:
        config = space.draw(rng, prior=prior)
        if space.feasible(config):
            found.append(config)
            misses = 0
        else:
            misses += 1
            if misses >= limit:
                return None
    return found


def _one(space: SearchSpace, ways: Ways, rng: np.random.Generator) -> Config:
    if ways.rejection:
        found = _rejected(space, 1, rng, prior=False, limit=10**9)
        assert found is not None
        return found[0]
    if ways.weights is not None:
        place = int(np.searchsorted(ways.weights, float(rng.random()) * ways.weights[-1], side="right"))
        return copy.deepcopy(ways.pool[min(place, len(ways.pool) - 1)])
    assert ways.chain is not None
    start = ways.pool[int(rng.integers(len(ways.pool)))]
    return copy.deepcopy(ways.chain.advance(start, rng, _thinning(space)))


def _believed(space: SearchSpace, ways: Ways, rng: np.random.Generator) -> Config:
    """One of several uniform samples, by their prior density."""
    candidates = [_one(space, ways, rng) for _ in range(CANDIDATES)]
    X, active = space.encoding.encode_many(candidates)
    log_density = space.prior_log_density(X, active)
    weights = np.exp(log_density - log_density.max())
    return candidates[int(rng.choice(len(candidates), p=weights / weights.sum()))]


def _thinning(space: SearchSpace) -> int:
    return 60 + 25 * len(space.parameters)


def find_ways(space: SearchSpace) -> Ways:
    """How this space is sampled.

    Raises:
        SpaceError: Nothing feasible was found; the message holds the estimated feasible fraction.
    """
    rng = np.random.default_rng(0)
    draws: list[Config] = []
    hits: list[Config] = []
    while len(draws) < N_PROBE and len(hits) < ENOUGH:
        draws.append(space.draw(rng))
        if space.feasible(draws[-1]):
            hits.append(draws[-1])
    fraction = len(hits) / len(draws)
    if len(hits) >= ENOUGH:
        return Ways(fraction, True)
    if space.size() <= MAX_LISTED:
        return _listed(space)
    violation = Violation(space, draws[:64])
    found = split(space, violation, draws, rng)
    if found is not None:
        return Ways(found.fraction, False, found.particles, None, Chain(space, space.feasible))
    repair = Repair(space, violation)
    starts = list(hits)
    for _ in range(N_STARTS - len(starts)):
        start = min((draws[int(i)] for i in rng.integers(len(draws), size=16)), key=violation.of)
        reached = repair.search(start, rng, evaluations=EVALUATIONS)
        if reached is not None:
            starts.append(reached)
    if not starts:
        raise _nothing(space, len(draws))
    return Ways(fraction, False, _spread(space, starts, rng), None, Chain(space, space.feasible))


def _listed(space: SearchSpace) -> Ways:
    pool = tuple(counting.members(space))
    if not pool:
        raise SpaceError(
            f"{_failure(space)}: none of all {int(space.size()):,} configurations is feasible; {_advice(space)}"
        )
    log_mass = np.array([sum(space[name].log_mass(value) for name, value in config.items()) for config in pool])
    weights = np.cumsum(np.exp(log_mass - log_mass.max()))
    # The share of the listed mass is the feasible fraction, exactly.
    fraction = min(float(np.exp(log_mass).sum()), 1.0)
    return Ways(fraction, False, pool, tuple(weights.tolist()))


def _spread(space: SearchSpace, starts: list[Config], rng: np.random.Generator) -> tuple[Config, ...]:
    """A pool of feasible configurations: from every start a chain, burnt in, of which some states are kept."""
    chain = Chain(space, space.feasible)
    each = math.ceil(N_POOL / len(starts))
    pool: list[Config] = []
    for start in starts:
        config = chain.advance(start, rng, 4 * _thinning(space))
        for _ in range(each):
            config = chain.advance(config, rng, _thinning(space))
            pool.append(config)
    return tuple(pool)


def _failure(space: SearchSpace) -> str:
    n = len(space.restrictions)
    which = f"the {n} restrictions" if n > 1 else f'"{space.restrictions[0]}"'
    return f"no configuration satisfies {which}"


def _nothing(space: SearchSpace, tries: int) -> SpaceError:
    rare = f"0 of {tries:,} random ones do (a feasible fraction below {3 / tries:.1e} with 95 % confidence)"
    search = f"a search from {N_STARTS} of them reached none"
    return SpaceError(f"{_failure(space)}: {rare}, and {search}; {_advice(space)}")


def _advice(space: SearchSpace) -> str:
    """How often each restriction holds on its own, and which to relax."""
    rng = np.random.default_rng(1)
    n = 1000
    held = np.zeros(len(space.restrictions), dtype=int)
    for _ in range(n):
        held += np.array(space.violations_of(space.draw(rng))) <= 0
    order = np.argsort(held, kind="stable")[:5]
    rates = ", ".join(f'"{space.restrictions[i]}" holds in {held[i] / n:.1%}' for i in order)
    hint = ""
    for restriction in space.restrictions:
        loose = [name for name in restriction.names if name in space.names and space[name].size() == math.inf]
        if "==" in restriction.text and loose:
            hint = (
                f'; "{loose[0]}" is continuous and meets an equality by chance only: give it a step, leave it out and '
                "compute it from the others, or use a simplex"
            )
    return f"alone, {rates} of random configurations{hint or '; relax the rarest'}"


def fill(space: SearchSpace, fixed: Mapping[str, Any]) -> Config | None:
    """A feasible configuration that keeps the fixed values; None when none was found."""
    rng = np.random.default_rng(0)
    for _ in range(500):
        config = space.changed({}, fixed, rng)
        if space.feasible(config):
            return config
    repair = Repair(space, Violation(space, [space.draw(rng) for _ in range(64)]))
    for _ in range(8):
        start = space.changed({}, fixed, rng)
        found = repair.search(start, rng, evaluations=EVALUATIONS, fixed=fixed)
        if found is not None:
            return found
    return None


def near(space: SearchSpace, config: Config, rng: np.random.Generator) -> list[Config]:
    """Feasible configurations a few moves of the chain away from a feasible one, none when it is not.

    Where no move leads anywhere, the nearest of those that sampling knows.
    """
    if not space.feasible(config):
        return []
    chain = Chain(space, space.feasible)
    found: dict[bytes, Config] = {}
    for _ in range(8):
        other = config
        for _ in range(12):
            other = chain.advance(other, rng, 1)
            found.setdefault(space.key(other), other)
    found.pop(space.key(config), None)
    if not found:
        ways = space.ways
        others = [other for other in ways.pool if space.key(other) != space.key(config)]
        return copy.deepcopy(_nearest(space, config, others)[:N_NEAR]) if others else []
    return copy.deepcopy(list(found.values()))


def _nearest(space: SearchSpace, config: Config, others: list[Config]) -> list[Config]:
    """The others by distance in the unit cube."""
    x, _ = space.encoding.encode(config)
    X, _ = space.encoding.encode_many(others)
    return [others[i] for i in np.argsort(((X - x) ** 2).sum(axis=1), kind="stable")]


def nearest_feasible(space: SearchSpace, config: Config) -> Config:
    """Of 64 samples the nearest to `config` in the unit cube, with as many of `config`'s values as stay feasible."""
    rng = np.random.default_rng(0)
    found = space.sample(64, rng)
    best = _nearest(space, config, found)[0]
    for name in space.names:
        if name in best and name in config:
            other = space.changed(best, {name: config[name]}, rng)
            if space.feasible(other):
                best = other
    return best
