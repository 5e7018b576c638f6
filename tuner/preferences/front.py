"""What the answers about a study's trials say of its front: which member is best, and which pair to ask about next.

The utility is one of outcomes: a point is a trial's objectives, maximised, each scaled to [0, 1] over the front and the
trials that were compared. Two points that nobody measured are compared with every other: the best of every objective is
better, the worst of every one is worse. That more of a goal is better needs no asking, and tells the process so beyond
what was compared. An answer about a trial without all objectives says nothing; of two answers about the same pair the
later one counts; "equal" is an answer either way.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tuner import pareto
from tuner.fidelity import at_most
from tuner.preferences import skew
from tuner.preferences.utility import NOISE, Array, Utility, answers_matrix, eubo, fitted_lengths, laplace

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.trial import Answer

Model = Literal["pairwise", "skew"]

_MOST = 60
"""Latest answers that count: the cost grows with the cube of their number."""

_DRAWS = 4000

_RIVALS = 100
"""Members with the greatest expected utility: one of them is the best, for all that the others may say."""

_SPREAD, _LIKED = 40, 20
"""Of a long front, members spread along the first objective, and those liked best, are asked about."""


@dataclass(frozen=True, slots=True, eq=False)
class Preferred:
    """A utility of the objectives of one study.

    Attributes:
        low: What becomes 0, shape (m,), maximised.
        width: What becomes 1 above it.
        utility: Of scaled outcomes.
        n: How many answers it rests on.
    """

    low: Array
    width: Array
    utility: Utility
    n: int

    def scaled(self, Y: Array) -> Array:
        """Objectives (b, m), maximised, as the utility takes them."""
        return np.asarray((Y - self.low) / self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The member of the front that the answers speak for.

    Attributes:
        trial: Its number.
        probability: That its utility is the greatest of the front's.
        answers: On how many answers that rests.
        ranking: The front's members, best first by expected utility.
    """

    trial: int
    probability: float
    answers: int
    ranking: tuple[int, ...]

    def __str__(self) -> str:
        among = f"of the front's {len(self.ranking)}" if len(self.ranking) > 1 else "alone on the front"
        by = f"{self.answers} answer{'s' if self.answers > 1 else ''}"
        odds = f"{self.probability:.0%}" if self.probability >= 0.01 else "under 1%"
        return f"preferred: trial {self.trial} {among}, with probability {odds} by {by}"


def latest(answers: Sequence[Answer]) -> list[Answer]:
    """Of every pair the last answer, oldest first."""
    by_pair = {frozenset((answer.better, answer.worse)): answer for answer in answers}
    kept = set(map(id, by_pair.values()))
    return [answer for answer in answers if id(answer) in kept]


def front_rows(history: History) -> NDArray[np.int64]:
    """Rows of the history that make its front."""
    rows = at_most(history, history.feasible & ~np.isnan(history.Y).any(axis=1))
    kept = np.flatnonzero(rows)
    return np.asarray(kept[pareto.front(history.Y[kept])]) if len(kept) else np.zeros(0, dtype=np.int64)


def preferred(
    history: History,
    *,
    model: Model = "pairwise",
    noise: float | None = None,
    rng: np.random.Generator | None = None,
) -> Preferred | None:
    """The utility that the answers of a history speak for; None without a usable answer.

    Args:
        history: Its answers, and the outcomes they are about.
        model: Laplace's approximation, or one draw of the skew process (the hallucination believer).
        noise: Standard deviation of a judgement, in units of the utility's; the model's own when None.
        rng: For the draw.
    """
    row_of = {int(number): row for row, number in enumerate(history.number)}
    known = np.asarray(~np.isnan(history.Y).any(axis=1))
    usable = [
        answer
        for answer in latest(history.answers)
        if all(trial in row_of and bool(known[row_of[trial]]) for trial in (answer.better, answer.worse))
    ][-_MOST:]
    if not usable or history.Y.shape[1] < 2:
        return None
    rows = list(dict.fromkeys(row_of[trial] for answer in usable for trial in (answer.better, answer.worse)))
    spanned = history.Y[[*rows, *front_rows(history)]]
    low = spanned.min(axis=0)
    width = np.where(np.ptp(spanned, axis=0) > 0, np.ptp(spanned, axis=0), 1.0)
    m, k = len(low), len(rows)
    P = np.vstack([(history.Y[rows] - low) / width, np.ones((1, m)), np.zeros((1, m))])
    place = {row: i for i, row in enumerate(rows)}
    duels: list[tuple[int, int]] = []
    for answer in usable:
        pair = place[row_of[answer.better]], place[row_of[answer.worse]]
        duels += [pair, pair[::-1]] if answer.equal else [pair]
    own = answers_matrix(duels, k + 2)
    ends = [(k, i) for i in range(k)] + [(i, k + 1) for i in range(k)]
    A = np.vstack([own, answers_matrix(ends, k + 2)])
    lengths = fitted_lengths(P, A, noise=max(noise or NOISE, NOISE))
    if model == "skew":
        utility = skew.hallucinated(P, A, lengths, rng or np.random.default_rng(0), noise=noise or skew.NOISE)
    else:
        utility = laplace(P, A, lengths, noise=noise or NOISE)[0]
    return Preferred(low=low, width=width, utility=utility, n=len(usable))


def best_of_front(history: History) -> Best | None:
    """The member of the front with the greatest expected utility; None without answers or a front."""
    found, rows = preferred(history), front_rows(history)
    if found is None or not len(rows):
        return None
    scaled = found.scaled(history.Y[rows])
    order = np.lexsort((history.number[rows], -found.utility.mean(scaled).round(9)))
    draws = _draws(*found.utility.joint(scaled[order[:_RIVALS]]))
    return Best(
        trial=int(history.number[rows[order[0]]]),
        probability=float((draws.argmax(axis=1) == 0).mean()),
        answers=found.n,
        ranking=tuple(int(history.number[rows[i]]) for i in order),
    )


def _draws(mean: Array, cov: Array) -> Array:
    """Joint normal draws, the same every time, shape (draws, b)."""
    values, vectors = np.linalg.eigh((cov + cov.T) / 2)
    base = np.random.default_rng(0).standard_normal((_DRAWS, len(mean)))
    return np.asarray(mean + base * np.sqrt(np.maximum(values, 0.0)) @ vectors.T)


def _askable(history: History, rows: NDArray[np.int64], found: Preferred | None) -> NDArray[np.int64]:
    """The members of a front, or enough of a long one."""
    if len(rows) <= _SPREAD + _LIKED:
        return rows
    order = np.lexsort((history.number[rows], history.Y[rows, 0]))
    kept = set(order[np.linspace(0, len(rows) - 1, _SPREAD).round().astype(int)].tolist())
    if found is not None:
        mean = found.utility.mean(found.scaled(history.Y[rows]))
        kept |= set(np.argsort(-mean, kind="stable")[:_LIKED].tolist())
    return rows[sorted(kept)]


def question(history: History, skipped: Collection[frozenset[int]] = ()) -> tuple[int, int] | None:
    """The pair of front members whose answer helps most, by EUBO; None when all were asked.

    Without an answer, the pair that lies farthest apart. The one that is expected to be better comes first.

    Args:
        history: With the answers so far.
        skipped: Pairs that are not to be asked now.
    """
    found = preferred(history)
    rows = _askable(history, front_rows(history), found)
    numbers = history.number[rows].tolist()
    asked = {frozenset((answer.better, answer.worse)) for answer in history.answers} | set(skipped)
    Y = history.Y[rows]
    pairs = [
        (i, j)
        for i, j in itertools.combinations(range(len(rows)), 2)
        if frozenset((numbers[i], numbers[j])) not in asked and (Y[i] != Y[j]).any()
    ]
    if not pairs:
        return None
    if found is None:
        span = np.where(np.ptp(Y, axis=0) > 0, np.ptp(Y, axis=0), 1.0)
        mean, value = np.zeros(len(Y)), np.square((Y[:, None, :] - Y[None, :, :]) / span).sum(axis=-1)
    else:
        mean, cov = found.utility.joint(found.scaled(Y))
        value = eubo(mean, cov)
    i, j = max(pairs, key=lambda pair: (round(float(value[pair]), 9), -pair[0], -pair[1]))
    return (numbers[i], numbers[j]) if mean[i] >= mean[j] else (numbers[j], numbers[i])
