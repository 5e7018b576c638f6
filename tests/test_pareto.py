"""Dominance and hypervolume against brute force, closed forms and invariances."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tuner import pareto

Floats = NDArray[np.float64]


@st.composite
def tables(draw: st.DrawFn, max_rows: int = 30, min_rows: int = 1) -> Floats:
    """Small integer grids: many ties, many duplicates."""
    m = draw(st.integers(1, 5))
    n = draw(st.integers(min_rows, max_rows))
    cells = st.lists(st.integers(0, 4), min_size=n * m, max_size=n * m)
    return np.array(draw(cells), dtype=float).reshape(n, m)


def brute_front(Y: Floats) -> list[bool]:
    return [not any((b >= a).all() and (b > a).any() for b in Y) for a in Y]


def brute_volume(Y: Floats) -> float:
    """Count unit cells: exact for integer tables with the reference at zero."""
    top = int(Y.max(initial=0))
    cells = np.stack(np.meshgrid(*[np.arange(top)] * Y.shape[1], indexing="ij"), axis=-1).reshape(-1, Y.shape[1])
    return float(sum(bool((cell < Y).all(axis=1).any()) for cell in cells))


@settings(max_examples=150, deadline=None)
@given(tables())
def test_the_front_is_what_the_definition_says(Y: Floats) -> None:
    assert pareto.non_dominated(Y).tolist() == brute_front(Y)


def test_the_front_of_many_objectives_survives_blocks() -> None:
    Y = np.random.default_rng(0).normal(size=(1200, 5))
    assert pareto.non_dominated(Y).tolist() == brute_front(Y)


def test_duplicates_are_all_kept_and_rows_with_nan_never() -> None:
    Y = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [np.nan, 9.0]])
    assert pareto.non_dominated(Y).tolist() == [True, True, True, False, False]
    assert pareto.non_dominated(np.full((2, 2), np.nan)).tolist() == [False, False]
    assert pareto.non_dominated(np.zeros((0, 3))).tolist() == []


def test_infinite_values_compare_as_values() -> None:
    Y = np.array([[-np.inf, 1.0], [np.inf, 0.0], [0.0, 0.0], [-np.inf, -np.inf]])
    assert pareto.non_dominated(Y).tolist() == [True, True, False, False]


@pytest.mark.parametrize("shape", ["cloud", "front"])
@pytest.mark.parametrize("m", [2, 3])
def test_a_hundred_thousand_trials_take_well_under_a_second(m: int, shape: str) -> None:
    Y = np.random.default_rng(0).normal(size=(100_000, m))
    if shape == "front":
        Y = np.abs(Y) / np.linalg.norm(Y, axis=1, keepdims=True)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        mask = pareto.non_dominated(Y)
        seconds.append(time.perf_counter() - start)
    assert mask.all() == (shape == "front")
    assert min(seconds) < 0.8


def test_feasible_rows_come_first_and_then_the_least_violating() -> None:
    Y = np.array([[9.0], [1.0], [2.0], [np.nan]])
    feasible = np.array([False, True, True, False])
    violation = np.array([1.0, 0.0, 0.0, 0.5])
    assert pareto.front(Y, feasible, violation).tolist() == [2]
    nothing = np.zeros(4, dtype=bool)
    assert pareto.front(Y, nothing).tolist() == []
    assert pareto.front(Y, nothing, [1.0, 0.5, 0.5, np.nan]).tolist() == [1, 2]
    assert pareto.front(Y, nothing, [np.nan] * 4).tolist() == []
    assert pareto.front(Y).tolist() == [0]


def test_ranks_put_feasible_fronts_before_violations() -> None:
    Y = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 0.0], [9.0, 9.0], [8.0, 8.0], [np.nan, 1.0]])
    feasible = np.array([True, True, True, False, False, False])
    violation = np.array([0.0, 0.0, 0.0, 2.0, 1.0, np.nan])
    assert pareto.ranks(Y, feasible, violation).tolist() == [0, 0, 1, 3, 2, 4]
    assert pareto.ranks(Y, feasible).tolist() == [0, 0, 1, 2, 2, 3]


@settings(max_examples=100, deadline=None)
@given(tables())
def test_ranks_peel_one_front_after_another(Y: Floats) -> None:
    ranks = pareto.ranks(Y)
    left = np.arange(len(Y))
    for level in range(int(ranks.max()) + 1):
        top = left[brute_front(Y[left])]
        assert top.tolist() == np.flatnonzero(ranks == level).tolist()
        left = np.setdiff1d(left, top)
    assert not len(left)


@settings(max_examples=80, deadline=None)
@given(tables(max_rows=12))
def test_hypervolume_counts_the_cells_it_covers(Y: Floats) -> None:
    assert pareto.hypervolume(Y, np.zeros(Y.shape[1])) == pytest.approx(brute_volume(Y), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(tables(min_rows=2), st.integers(0, 2**32 - 1))
def test_hypervolume_ignores_order_and_never_falls_with_a_row_more(Y: Floats, seed: int) -> None:
    rng = np.random.default_rng(seed)
    m = Y.shape[1]
    corner = np.full(m, -0.5)
    volume = pareto.hypervolume(Y, corner)
    assert pareto.hypervolume(Y[rng.permutation(len(Y))][:, rng.permutation(m)], corner) == pytest.approx(volume)
    assert pareto.hypervolume(Y[:-1], corner) <= volume + 1e-9
    assert pareto.hypervolume(np.vstack([Y, corner - 1]), corner) == pytest.approx(volume)


@settings(max_examples=40, deadline=None)
@given(tables(), st.floats(-100, 100), st.floats(0.01, 100))
def test_hypervolume_moves_and_scales_with_the_axes(Y: Floats, shift: float, scale: float) -> None:
    corner = np.full(Y.shape[1], -1.0)
    volume = pareto.hypervolume(Y, corner)
    moved = pareto.hypervolume(Y * scale + shift, corner * scale + shift)
    assert moved == pytest.approx(volume * scale ** Y.shape[1], rel=1e-6)


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_one_point_covers_its_box_and_nothing_beyond_the_reference_counts(m: int) -> None:
    assert pareto.hypervolume(np.full((1, m), 3.0), np.ones(m)) == pytest.approx(2.0**m)
    assert pareto.hypervolume(np.ones((1, m)), np.ones(m)) == 0.0
    assert pareto.hypervolume(np.full((1, m), np.nan), np.ones(m)) == 0.0
    assert pareto.hypervolume(np.zeros((0, m)), np.ones(m)) == 0.0


def test_a_fine_linear_front_covers_half_the_square() -> None:
    x = np.linspace(0, 1, 10_001)
    assert pareto.hypervolume(np.stack([x, 1 - x], axis=1), [0, 0]) == pytest.approx(0.5, abs=1e-4)


def test_a_random_three_objective_volume_agrees_with_the_box_decomposition() -> None:
    Y = np.abs(np.random.default_rng(3).normal(size=(60, 3)))
    padded = np.hstack([Y, np.ones((60, 1))])
    assert pareto.hypervolume(Y, np.zeros(3)) == pytest.approx(pareto.hypervolume(padded, np.zeros(4)))


def test_the_inferred_reference_lies_a_tenth_of_the_range_below_the_front() -> None:
    Y = np.array([[0.0, 10.0], [4.0, 0.0], [-100.0, -100.0], [np.nan, 0.0]])
    assert pareto.infer_reference(Y).tolist() == pytest.approx([-0.4, -1.0])


def test_the_inferred_reference_is_below_a_single_point_too() -> None:
    assert pareto.infer_reference([[5.0, 0.0]]).tolist() == pytest.approx([4.5, -0.1])
    assert pareto.infer_reference([[5.0, 5.0], [3.0, 5.0]]).tolist() == pytest.approx([4.8, 4.5])
    with pytest.raises(ValueError, match="finite row"):
        pareto.infer_reference([[np.nan, 0.0]])


def test_the_knee_is_the_corner_of_an_l() -> None:
    Y = np.array([[0.0, 1.0], [0.9, 0.9], [1.0, 0.0], [0.5, 0.5]])
    assert pareto.knee(Y) == 1
    assert pareto.knee(Y * [1000.0, 0.001]) == 1
    assert pareto.knee([[np.nan, 1.0], [2.0, 1.0]]) == 1
    with pytest.raises(ValueError, match="without NaN"):
        pareto.knee([[np.nan, 1.0]])


def test_crowding_is_infinite_at_the_extremes_and_sums_the_gaps_between() -> None:
    Y = np.array([[0.0, 4.0], [1.0, 3.0], [4.0, 0.0]])
    assert pareto.crowding(Y).tolist() == [np.inf, 2.0, np.inf]
    assert pareto.crowding(np.ones((3, 2)))[1] == 0.0


def test_a_vector_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"shape \(n, m\)"):
        pareto.non_dominated(np.ones(3))
