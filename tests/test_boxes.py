"""Boxes: every point above the corner is in one of them, or a trial dominates it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tuner.gp.boxes import bounds, free_boxes

CORNER = [-0.5, 0.0, 0.5]


def holders(lower: Tensor, upper: Tensor, y: Tensor) -> Tensor:
    """How many boxes (C, m) hold each point (p, m), shape (p,)."""
    return ((lower < y.unsqueeze(1)) & (y.unsqueeze(1) <= upper)).all(dim=-1).sum(dim=-1)


@settings(deadline=None, max_examples=60)
@given(
    m=st.sampled_from([2, 3]),
    points=st.lists(st.tuples(*[st.integers(-2, 6)] * 3), min_size=1, max_size=25),
    other=st.lists(st.tuples(*[st.integers(-2, 6)] * 3), min_size=25, max_size=25),
)
def test_every_point_is_in_one_box_or_dominated(
    m: int, points: list[tuple[int, ...]], other: list[tuple[int, ...]]
) -> None:
    Z = torch.tensor([points, other[: len(points)]], dtype=torch.float64)[..., :m]
    corner = torch.tensor(CORNER[:m], dtype=torch.float64)
    axes = torch.arange(-2, 8, dtype=torch.float64) - 0.25  # between the points, which are whole numbers: no ties
    probes = torch.cartesian_prod(*[axes[axes > low] for low in CORNER[:m]])
    lower, upper = bounds(Z, corner)
    for sample, low, high in zip(Z, lower, upper, strict=True):
        counted = sample[(sample > corner).all(dim=-1)]
        dominated = (counted.unsqueeze(0) > probes.unsqueeze(1)).all(dim=-1).any(dim=-1)
        assert (holders(low, high, probes) == (~dominated).long()).all()


@pytest.mark.parametrize("n", [1, 7, 60])
def test_a_front_of_three_objectives_leaves_at_most_two_boxes_a_point_and_one(n: int) -> None:
    Z = torch.rand(1, n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    Z /= Z.norm(dim=-1, keepdim=True)
    lower, upper = bounds(Z, torch.zeros(3, dtype=torch.float64))
    assert lower.shape == upper.shape == (1, lower.shape[1], 3)
    assert lower.shape[1] <= 2 * n + 1
    assert (upper > lower).all()


@pytest.mark.parametrize("m", [2, 3])
def test_shared_bounds_are_the_bounds(m: int) -> None:
    Z = torch.rand(4, 9, m, dtype=torch.float64, generator=torch.Generator().manual_seed(m))
    Z[1, 2:] = -1.0  # a sample with a front of two, whose boxes are filled up
    corner = torch.zeros(m, dtype=torch.float64)
    lower, upper = bounds(Z, corner)
    boxes = free_boxes(Z, corner)
    assert (boxes.real == (upper > lower).all(dim=-1)).all()
    assert not boxes.real[1].all()
    for j, levels in enumerate(boxes.levels):
        assert (levels.gather(-1, boxes.lower[j]) == lower[..., j]).all()
        assert (levels.gather(-1, boxes.upper[j]) == upper[..., j]).all()
        assert levels.shape[1] <= 9 + 3  # the points, the corner, the far end, and what fills up
