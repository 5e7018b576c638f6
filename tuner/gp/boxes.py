"""Boxes: what the fronts of two or three maximised objectives leave free, cut into disjoint boxes.

With two objectives BoTorch's partitioning takes all samples at once. With three it takes them one by one, 37 ms each
for a hundred points (docs/log.md); here a sweep does, point by point from the highest third objective down. Above a
plane the front is a staircase in the first two, and the free part lies in strips over its steps. A point raises some
steps: their strips end at its plane as boxes, and at most two others begin. So n points leave at most 2 n + 1 boxes
(as many as those of Lacour, Klamroth and Fonseca 2017).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

import torch
from botorch.utils.multi_objective.box_decompositions.non_dominated import FastNondominatedPartitioning
from torch import Tensor

_FAR = 1e6
"""Stands for infinity in bounds."""

_MOST_OBJECTIVES = 3


class Boxes(NamedTuple):
    """The boxes of S samples of a front, by the values of their bounds, which many of them share.

    Attributes:
        real: Which boxes are, (S, C); the others fill up samples with fewer.
        levels: By objective, the values that bounds have, (S, L).
        lower: By objective, which of them is the lower bound of each box, (S, C).
        upper: And which the upper one.
    """

    real: Tensor
    levels: tuple[Tensor, ...]
    lower: tuple[Tensor, ...]
    upper: tuple[Tensor, ...]


def free_boxes(Z: Tensor, reference: Tensor) -> Boxes:
    """Return the boxes above `reference` (m,) that no row of Z (S, N, m) dominates, for m of 2 or 3."""
    lower, upper = bounds(Z, reference)
    columns = torch.cat([lower, upper], dim=1).unbind(dim=-1)
    levels, at = zip(*(_levels(column) for column in columns), strict=True)
    low, high = zip(*(each.chunk(2, dim=-1) for each in at), strict=True)
    return Boxes((upper > lower).all(dim=-1), levels, low, high)


def bounds(Z: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Return lower and upper bounds of these boxes, each (S, C, m); a box without a volume is none."""
    if Z.shape[-1] < _MOST_OBJECTIVES:
        found = FastNondominatedPartitioning(ref_point=reference, Y=Z).get_hypercell_bounds()
        return found[0], found[1].clamp(max=_FAR)
    corner = reference.tolist()
    each = [Z.new_tensor(_swept(sample.tolist(), corner)) for sample in Z.cpu()]
    padded = torch.nn.utils.rnn.pad_sequence(each, batch_first=True)  # (S, C, 2, m)
    return padded[:, :, 0], padded[:, :, 1]


def _swept(points: list[list[float]], corner: list[float]) -> list[list[list[float]]]:
    """The boxes, [lower, upper] each, that points in three objectives leave free above a corner."""
    left, floor, bottom = corner
    found: list[list[list[float]]] = []
    # strips, from left to right: where they begin, minus the step below (ascending as steps fall), and their top
    begins, steps, tops = [left], [-floor], [_FAR]

    def end(i: int, plane: float) -> None:
        right = begins[i + 1] if i + 1 < len(begins) else _FAR
        if tops[i] > plane:
            found.append([[begins[i], -steps[i], plane], [right, _FAR, tops[i]]])

    for x, y, z in sorted(points, key=lambda point: -point[2]):
        if x <= left or y <= floor or z <= bottom:
            continue
        first, last = bisect_right(steps, -y), bisect_left(begins, x)  # these strips begin left of x, with lower steps
        if first >= last:
            continue
        for i in range(first, last):
            end(i, z)
        right = begins[last] if last < len(begins) else _FAR
        rest = [(x, steps[last - 1], z)] if x < right else []
        new = [(begins[first], -y, z), *rest]
        begins[first:last], steps[first:last], tops[first:last] = ([*part] for part in zip(*new, strict=True))
    for i in range(len(begins)):
        end(i, bottom)
    return found


def _levels(values: Tensor) -> tuple[Tensor, Tensor]:
    """The different values of each row (S, B), ascending, (S, L), and which of them each value is."""
    ascending, order = values.sort(dim=-1)
    rank = torch.diff(ascending, prepend=ascending[:, :1]).gt(0.0).cumsum(dim=-1)
    levels = ascending.new_zeros(len(values), int(rank.max()) + 1).scatter(-1, rank, ascending)
    return levels, torch.empty_like(rank).scatter(-1, order, rank)
