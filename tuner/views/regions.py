"""Regions: where along the fronts which study is better.

With two objectives the first one is a level that must be reached: at each level, a study offers the best value of the
second one among its trials that reach it. The winner changes only at values that some front has, so that the regions
are exact. With more objectives there is no order along a front; each study's share of ways to weigh the objectives is
told instead, by which objective weighs most: of weightings w spread evenly, a study wins those for which one of its
trials has the least max_j w_j (1 - y_j), y scaled to [0, 1] over all fronts (weighted Chebyshev).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuner.views.outcomes import Floats

if TYPE_CHECKING:
    from tuner.trial import Metric

_STEPS = {3: 12, 4: 8}
_FEWEST_STEPS = 5
_EQUAL = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A range of levels of one metric, and who offers the best of another one there.

    Attributes:
        metric: The one whose levels are meant.
        best: The most demanding level of the region, in its own units.
        worst: The least demanding one; the region ends before it, unless it is the last.
        other: The metric that is compared there.
        winner: The study that offers the best of it, here and there together with others; None where several do all
            along.
        advantage: By how much, in its units and on average over the region; None where nobody else reaches the level.
    """

    metric: str
    best: float
    worst: float
    other: str
    winner: str | None
    advantage: float | None


def regions(fronts: Mapping[str, Floats], metrics: Sequence[Metric]) -> tuple[Region, ...]:
    """Who wins where, from the best level of the first objective to the worst; nothing without two objectives.

    Args:
        fronts: By study, the members' objectives (k, 2), maximised; empty ones never win.
        metrics: The two objectives.
    """
    if len(metrics) != 2:
        return ()
    levels = np.unique(np.concatenate([Y[:, 0] for Y in fronts.values()]))[::-1]  # descending
    pieces = _joined([_piece(fronts, level) for level in levels])
    found = []
    start = 0
    first, second = metrics
    for _, group in itertools.groupby(range(len(levels)), key=lambda i: pieces[i][0]):
        rows = list(group)
        end = min(rows[-1] + 1, len(levels) - 1)
        widths = np.array([abs(levels[i] - levels[min(i + 1, len(levels) - 1)]) for i in rows])
        known = [(pieces[i][1], width) for i, width in zip(rows, widths, strict=True)]
        led = [(float(by), max(width, _EQUAL)) for by, width in known if by is not None]
        by = sum(a * w for a, w in led) / sum(w for _, w in led) if led else None
        found.append(
            Region(
                metric=first.name,
                best=float(first.sign * levels[start]),
                worst=float(first.sign * levels[end]),
                other=second.name,
                winner=pieces[rows[0]][0],
                advantage=by if pieces[rows[0]][0] is not None else None,
            )
        )
        start = rows[-1] + 1
    return tuple(found)


def _joined(pieces: Sequence[tuple[str | None, float | None]]) -> list[tuple[str | None, float | None]]:
    """Ties between two stretches of the same winner become his, with no advantage."""
    joined = list(pieces)
    before: str | None = None
    since = 0
    for i, (winner, _) in enumerate(pieces):
        if winner is None:
            continue
        if winner == before:
            joined[since + 1 : i] = [(winner, 0.0)] * (i - since - 1)
        before, since = winner, i
    return joined


def _piece(fronts: Mapping[str, Floats], level: float) -> tuple[str | None, float | None]:
    """Who offers the best second objective at a level of the first, and its lead on the next best."""
    offers = {name: float(Y[Y[:, 0] >= level, 1].max()) for name, Y in fronts.items() if (Y[:, 0] >= level).any()}
    ranked = sorted(offers, key=lambda name: -offers[name])
    if len(ranked) == 1:
        return ranked[0], None
    lead = offers[ranked[0]] - offers[ranked[1]]
    return (None, 0.0) if lead <= _EQUAL * max(1.0, abs(offers[ranked[0]])) else (ranked[0], lead)


def weightings(fronts: Mapping[str, Floats], metrics: Sequence[Metric]) -> dict[str, dict[str, float]]:
    """Metric -> study -> the share it wins of the weightings in which that metric weighs most; ties are divided.

    Args:
        fronts: By study, the members' objectives (k, m), maximised.
        metrics: The objectives, at least three; with fewer there is nothing to tell.
    """
    m = len(metrics)
    every = np.vstack(list(fronts.values()))
    if m < 3 or not len(every):
        return {}
    low, span = every.min(axis=0), np.ptp(every, axis=0)
    steps = _STEPS.get(m, _FEWEST_STEPS)
    grid = [w for w in itertools.product(range(1, steps + 1), repeat=m) if sum(w) == steps + m - 1]
    W = np.array(grid, dtype=float)  # (w, m)
    able = {name: (Y - low) / np.where(span > 0, span, 1.0) for name, Y in fronts.items() if len(Y)}
    # the more an objective weighs, the less of it may be missing
    best = {name: -(W[:, None, :] * (1 - y)).max(axis=2).min(axis=1) for name, y in able.items()}
    top = np.max(list(best.values()), axis=0)
    won = {name: (values >= top - _EQUAL).astype(float) for name, values in best.items()}
    shared = {name: values / np.sum(list(won.values()), axis=0) for name, values in won.items()}
    shares: dict[str, dict[str, float]] = {}
    for j, metric in enumerate(metrics):
        most = (W[:, [j]] >= W).all(axis=1)
        shares[metric.name] = {name: float(shared[name][most].mean()) if name in shared else 0.0 for name in fronts}
    return shares
