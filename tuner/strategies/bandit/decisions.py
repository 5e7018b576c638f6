"""What online bandits have in common: draws by counter, blocks of decisions, and the policy that makes them.

A stream of instances arrives in blocks. For a block of b instances with contexts (b, k) a policy answers with one arm
each; what each cost comes back before the next block. Within a block nothing is learned, so a block's length decides
how fast decisions can be made, and how stale the newest ones are (`block_length`).

Notation: d arms, b instances in a block, k numbers a context; losses are minimised, in the metric's own units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Arms = NDArray[np.int64]

_WORD = np.uint64(0xFFFFFFFFFFFFFFFF)
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Block:
    """Decisions made together.

    Attributes:
        arms: Which arm for each instance, (b,).
        chances: With which probability it was drawn, (b,); 1 where nothing was drawn.
        wanted: What was drawn at first, when arms were put in its place.
    """

    arms: Arms
    chances: Array
    wanted: Block | None = None


class Policy(Protocol):
    """Chooses arms. Its state is a value: `learned` returns another policy and leaves this one as it is."""

    def choose(self, contexts: Array, numbers: Arms) -> Block:
        """Return an arm for each instance of a block.

        Args:
            contexts: Shape (b, k); k may be 0.
            numbers: The instances' numbers in the stream, (b,): what randomness is derived from.
        """
        ...

    def chances(self, contexts: Array, arms: Arms) -> Array:
        """Return with which probability it would choose these arms, (b,); 1 where chance plays no part in learning."""
        ...

    def learned(self, contexts: Array, block: Block, losses: Array) -> Self:
        """Return the policy that also knows what a block cost, (b,)."""
        ...


def uniforms(seed: int, numbers: Arms, stream: int = 0) -> Array:
    """Return numbers in [0, 1), one for each instance, that depend on (seed, number, stream) alone.

    SplitMix64 (Steele, Lea and Flood 2014) of the counter, its start hashed from seed and stream: the same draws
    whether instances come one by one or in blocks.
    """
    start = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]
    return _mixed(numbers.astype(np.uint64) * _STEP + start)


def _mixed(state: NDArray[np.uint64]) -> Array:
    state = (state ^ (state >> _SHIFTS[0])) * _MIX[0]
    state = (state ^ (state >> _SHIFTS[1])) * _MIX[1]
    state = state ^ (state >> _SHIFTS[2])
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normals(seed: int, numbers: Arms, size: int, stream: int = 0) -> Array:
    """Return standard normal numbers, (b, size), that depend on (seed, number, stream) alone (Box and Muller 1958)."""
    start = np.random.SeedSequence([seed, stream, 1]).generate_state(1, np.uint64)[0]
    half = (size + 1) // 2
    places = np.arange(2 * half, dtype=np.uint64)
    u = _mixed((numbers.astype(np.uint64)[:, None] * np.uint64(2 * half) + places) * _STEP + start)
    radius = np.sqrt(-2.0 * np.log1p(-u[:, :half]))
    angle = 2.0 * np.pi * u[:, half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :size]


def drawn(weights: Array, u: Array) -> Block:
    """Return arms drawn from weights (b, d) or (d,), whose rows sum to 1, by inverting their sums at u (b,)."""
    sums = np.cumsum(weights, axis=-1)
    if weights.ndim == 1:
        arms = np.minimum(np.searchsorted(sums, u * sums[-1], side="right"), len(weights) - 1)
        return Block(arms, weights[arms])
    arms = np.minimum((sums <= (u * sums[:, -1])[:, None]).sum(axis=1), weights.shape[1] - 1)
    return Block(arms, weights[np.arange(len(arms)), arms])


def block_length(done: int, longest: int) -> int:
    """Return how many instances the next block may hold: a twentieth of those done, at least 1, at most `longest`.

    With that share the newest decisions know at least 95 of 100 earlier results, and the number of blocks grows with
    the logarithm of the stream.
    """
    return max(1, min(longest, int(_SHARE * done)))


def blocks(n: int, longest: int) -> Iterator[tuple[int, int]]:
    """Yield the starts and ends of the blocks of a stream of `n` instances."""
    start = 0
    while start < n:
        end = min(n, start + block_length(start, longest))
        yield start, end
        start = end
