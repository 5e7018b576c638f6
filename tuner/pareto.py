"""Dominance, fronts, hypervolume, knees: what "better" means when there are several objectives.

Notation
    Y           objective values, shape (n, m), all MAXIMISED; a row with NaN is an observation that never came
    reference   the corner of the hypervolume, shape (m,): only what is better than it in every objective counts
    feasible    which rows meet all outcome constraints, shape (n,)
    violation   how far a row is from meeting them, shape (n,), 0 when it does

`a` dominates `b` when it is at least as good everywhere and better somewhere, so equal rows do not dominate each other:
all copies of a front member are on the front.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left, bisect_right
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_BLOCK = 256
_SCOUTS = 64
_MARGIN = 0.1


def non_dominated(Y: ArrayLike) -> Bools:
    """Return which rows no other row dominates, shape (n,). Rows with NaN are never on the front.

    O(n log n) up to three objectives (Kung, Luccio and Preparata 1975), O(n * front) beyond.

    Args:
        Y: Objectives, shape (n, m), maximised.
    """
    values = _matrix(Y)
    valid = ~np.isnan(values).any(axis=1)
    mask = np.zeros(len(values), dtype=bool)
    if not valid.any():
        return mask
    distinct, inverse = _distinct(values[valid])
    mask[valid] = _sorted_front(distinct)[inverse]
    return mask


def front(Y: ArrayLike, feasible: ArrayLike | None = None, violation: ArrayLike | None = None) -> Ints:
    """Return the indices of the best rows, ascending: the non-dominated feasible ones.

    When nothing is feasible, the rows with the smallest violation; without `violation` none.

    Args:
        Y: Objectives, shape (n, m), maximised.
        feasible: Shape (n,); all rows when None.
        violation: Shape (n,), >= 0.
    """
    values = _matrix(Y)
    ok = _feasible(values, feasible)
    if ok.any():
        chosen = np.flatnonzero(ok)
        return chosen[non_dominated(values[chosen])]
    if violation is None:
        return np.zeros(0, dtype=np.int64)
    distance = np.asarray(violation, dtype=float)
    distance = np.where(np.isnan(distance), np.inf, distance)
    if not np.isfinite(distance).any():
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(distance == distance.min())


def ranks(Y: ArrayLike, feasible: ArrayLike | None = None, violation: ArrayLike | None = None) -> Ints:
    """Return the front each row belongs to, shape (n,): 0 is best; feasible rows come before infeasible ones.

    Non-dominated sorting with the constrained dominance of Deb et al. 2002 (NSGA-II), section VI: among infeasible
    rows the smaller violation wins, whatever the objectives. Rows that are neither (NaN objectives, unknown
    violation) share the last rank.

    Args:
        Y: Objectives, shape (n, m), maximised.
        feasible: Shape (n,); all rows when None.
        violation: Shape (n,), >= 0; infeasible rows share one rank when None.
    """
    values = _matrix(Y)
    n = len(values)
    ok = _feasible(values, feasible)
    result = np.full(n, -1, dtype=np.int64)
    depth = 0
    if ok.any():
        result[ok] = _peel(values[ok])
        depth = int(result.max()) + 1
    if violation is None:
        known = np.zeros(n, dtype=bool) if feasible is None else ~np.isnan(values).any(axis=1)
        distance = np.ones(n)
    else:
        distance = np.asarray(violation, dtype=float)
        known = np.isfinite(distance)
    rest = ~ok & known
    if rest.any():
        _, order = np.unique(distance[rest], return_inverse=True)
        result[rest] = depth + order
        depth = int(result.max()) + 1
    result[result < 0] = depth
    return result


def hypervolume(Y: ArrayLike, reference: ArrayLike) -> float:
    """Return the volume dominated by the rows and bounded below by `reference`; exact.

    A sweep in O(n log n) for two objectives and O(n^2) at worst for three; BoTorch's box decomposition beyond.

    Args:
        Y: Objectives, shape (n, m), maximised; infinite values are not allowed.
        reference: Shape (m,).
    """
    values = _matrix(Y)
    corner = np.asarray(reference, dtype=float).reshape(-1)
    values = values[~np.isnan(values).any(axis=1)]
    values = values[(values > corner).all(axis=1)]
    if not len(values):
        return 0.0
    gains = _distinct(values - corner)[0]
    gains = gains[_sorted_front(gains)]
    m = gains.shape[1]
    if m == 1:
        return float(gains.max())
    if m == 2:
        return _area(gains)
    return _volume(gains) if m == 3 else _boxes(gains)


def infer_reference(Y: ArrayLike) -> Floats:
    """Return a hypervolume corner for these rows, shape (m,): the front's worst values less a tenth of its range.

    Where the front has no range in an objective (a single point), the range of all rows counts; where that is
    nothing either, the magnitude of the value; at zero, one. Rows with NaN are ignored.

    Args:
        Y: Feasible objectives, shape (n, m), maximised, at least one row without NaN.

    Raises:
        ValueError: No row is free of NaN.
    """
    values = _matrix(Y)
    values = values[np.isfinite(values).all(axis=1)]
    if not len(values):
        raise ValueError("at least one finite row is needed to infer a reference, but got none")
    best = values[non_dominated(values)]
    nadir = best.min(axis=0)
    scale = np.ptp(best, axis=0)
    scale = np.where(scale > 0, scale, np.ptp(values, axis=0))
    scale = np.where(scale > 0, scale, np.abs(nadir))
    scale = np.where(scale > 0, scale, 1.0)
    return np.asarray(nadir - _MARGIN * scale, dtype=float)


def knee(Y: ArrayLike) -> int:
    """Return the row with the best trade-off: the front member farthest above the plane through the extremes.

    Each objective is scaled to [0, 1] over the front; the plane is that of the unit vectors, which for two objectives
    is the chord between the extremes (Das 1999). Ties go to the first row.

    Args:
        Y: Objectives, shape (n, m), maximised, at least one row without NaN.

    Raises:
        ValueError: No row is free of NaN.
    """
    values = _matrix(Y)
    members = np.flatnonzero(non_dominated(values))
    if not len(members):
        raise ValueError("at least one row without NaN is needed to find a knee, but got none")
    best = values[members]
    span = np.ptp(best, axis=0)
    scaled = (best - best.min(axis=0)) / np.where(span > 0, span, 1.0)
    return int(members[np.argmax(scaled.sum(axis=1).round(12))])


def crowding(Y: ArrayLike) -> Floats:
    """Return how much room each row has among the others, shape (n,); infinite at the extremes.

    Deb et al. 2002 (NSGA-II), section III-B: the sum over objectives of the gap between the neighbours on either side,
    in units of the range. Meant for the rows of one front.
    """
    values = _matrix(Y)
    n, m = values.shape
    room = np.zeros(n)
    for j in range(m):
        order = np.argsort(values[:, j], kind="stable")
        column = values[order, j]
        span = column[-1] - column[0] if n else 0.0
        room[order[:1]] = room[order[-1:]] = np.inf
        if span > 0:
            room[order[1:-1]] += (column[2:] - column[:-2]) / span
    return room


def _matrix(Y: ArrayLike) -> Floats:
    values = np.asarray(Y, dtype=float)
    if values.ndim != 2:
        raise ValueError(f"objectives must have shape (n, m), but got {values.shape}; use Y[:, None] for one objective")
    return values


def _feasible(values: Floats, feasible: ArrayLike | None) -> Bools:
    valid = np.asarray(~np.isnan(values).any(axis=1), dtype=np.bool_)
    if feasible is not None:
        valid &= np.asarray(feasible, dtype=bool)
    return valid


def _distinct(values: Floats) -> tuple[Floats, Ints]:
    """Return the distinct rows, lexicographically descending, and where each row went.

    In this order nothing is dominated by a later row.
    """
    order = np.lexsort(-values.T[::-1])
    ordered = values[order]
    new = np.ones(len(values), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    inverse = np.empty(len(values), dtype=np.int64)
    inverse[order] = np.cumsum(new) - 1
    return ordered[new], inverse


def _sorted_front(values: Floats) -> Bools:
    """Return the front of distinct rows in lexicographically descending order."""
    n, m = values.shape
    if m == 1:
        return np.asarray(np.arange(n) == 0)
    if m == 2:
        best_before = np.concatenate([[-np.inf], np.maximum.accumulate(values[:-1, 1])])
        return np.asarray((values[:, 1] > best_before) | (np.arange(n) == 0))
    return _staircase_front(values) if m == 3 else _block_front(values)


def _staircase_front(values: Floats) -> Bools:
    """Three objectives: keep the maxima of (y1, y2) so far, y1 ascending and therefore y2 descending."""
    mask = np.zeros(len(values), dtype=bool)
    first: list[float] = []
    second: list[float] = []
    for i, (_, a, b) in enumerate(values.tolist()):
        right = bisect_left(first, a)
        if right < len(first) and second[right] >= b:
            continue
        mask[i] = True
        stop = right + (right < len(first) and first[right] == a)
        left = right
        while left > 0 and second[left - 1] <= b:
            left -= 1
        first[left:stop] = [a]
        second[left:stop] = [b]
    return mask


def _block_front(values: Floats) -> Bools:
    """Any number of objectives: a few strong rows remove most others, then blocks meet the front found so far."""
    span = np.ptp(values, axis=0)
    strength = (values / np.where((span > 0) & np.isfinite(span), span, 1.0)).sum(axis=1)
    alive = np.ones(len(values), dtype=bool)
    for i in np.argsort(-strength, kind="stable")[:_SCOUTS]:
        if alive[i]:
            alive &= ~(values[i] >= values).all(axis=1)
            alive[i] = True
    mask = np.zeros(len(values), dtype=bool)
    members = np.zeros((0, values.shape[1]))
    candidates = np.flatnonzero(alive)
    for start in range(0, len(candidates), _BLOCK):
        index = candidates[start : start + _BLOCK]
        for other in range(0, len(members), _BLOCK):
            index = index[~_covered(values[index], members[other : other + _BLOCK])]
        own = _at_least(values[index], values[index])
        np.fill_diagonal(own, False)
        index = index[~own.any(axis=1)]
        mask[index] = True
        members = np.concatenate([members, values[index]])
    return mask


def _at_least(rows: Floats, others: Floats) -> Bools:
    """Return whether others[j] >= rows[i] in every objective, shape (len(rows), len(others))."""
    covered = others[None, :, 0] >= rows[:, None, 0]
    for j in range(1, rows.shape[1]):
        covered &= others[None, :, j] >= rows[:, None, j]
    return np.asarray(covered)


def _covered(rows: Floats, others: Floats) -> Bools:
    return np.asarray(_at_least(rows, others).any(axis=1))


def _peel(values: Floats) -> Ints:
    """Return each row's front, rows without NaN."""
    distinct, inverse = _distinct(values)
    if values.shape[1] == 1:
        return inverse
    if values.shape[1] == 2:
        return _peel_pairs(distinct)[inverse]
    depth = np.zeros(len(distinct), dtype=np.int64)
    left = np.arange(len(distinct))
    level = 0
    while len(left):
        top = _sorted_front(distinct[left])
        depth[left[top]] = level
        left = left[~top]
        level += 1
    return depth[inverse]


def _peel_pairs(values: Floats) -> Ints:
    """Two objectives in O(n log n): a row goes to the first front whose best second objective it exceeds."""
    depth = np.zeros(len(values), dtype=np.int64)
    worst: list[float] = []  # minus the best second objective of each front: ascending
    for i, value in enumerate((-values[:, 1]).tolist()):
        # front k covers the row when -worst[k] >= y1, i.e. worst[k] <= value
        k = bisect_right(worst, value)
        depth[i] = k
        worst[k : k + 1] = [value]
    return depth


def _area(gains: Floats) -> float:
    """Two objectives: a front in lexicographically descending order has its second objective ascending."""
    heights = np.diff(gains[:, 1], prepend=0.0)
    return float(np.sum(gains[:, 0] * heights))


def _volume(gains: Floats) -> float:
    """Three objectives: sweep down the first; the area covered in the other two only grows.

    The staircase keeps (y1 ascending, y2 descending); a new point adds the rectangle pieces between the old steps
    and itself.
    """
    first: list[float] = [0.0, np.inf]
    second: list[float] = [np.inf, 0.0]
    area = total = 0.0
    depths = gains[:, 0].tolist() + [0.0]
    for i, (_, a, b) in enumerate(gains.tolist()):
        right = bisect_left(first, a)
        if second[right] < b:
            left = right - 1
            top = a
            while second[left] <= b:
                area += (top - first[left]) * (b - second[left + 1])
                top = first[left]
                left -= 1
            area += (top - first[left]) * (b - second[left + 1])
            stop = right + (first[right] == a)
            first[left + 1 : stop] = [a]
            second[left + 1 : stop] = [b]
        total += area * (depths[i] - depths[i + 1])
    return total


def _boxes(gains: Floats) -> float:
    """More than three objectives: disjoint boxes (Lacour, Klamroth and Fonseca 2017), by BoTorch."""
    import torch

    with warnings.catch_warnings():  # importing BoTorch meets torch.jit.script, which torch deprecates
        warnings.simplefilter("ignore", DeprecationWarning)
        from botorch.utils.multi_objective.box_decompositions.dominated import DominatedPartitioning

    scale = gains.max(axis=0)
    points = torch.from_numpy(np.ascontiguousarray(gains / scale))
    partition: Any = DominatedPartitioning(ref_point=torch.zeros(gains.shape[1], dtype=torch.float64), Y=points)
    return float(partition.compute_hypervolume().item() * np.prod(scale))
