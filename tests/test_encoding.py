from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.spaces import spaces
from tuner.errors import SpaceError
from tuner.parameters import Bool, Choice, Constant, Float, Int, Permutation, Prior, Simplex, Subset, Vector
from tuner.parameters.columns import Column
from tuner.space import SearchSpace


@settings(max_examples=60, deadline=None)
@given(space=spaces(), seed=st.integers(0, 2**32 - 1))
def test_round_trip_is_exact_and_inactive_columns_are_masked(space: SearchSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    configs = space.sample(5, rng)
    X, active = space.encoding.encode_many(configs)
    assert X.shape == active.shape == (5, space.encoding.dim)
    assert ((X >= 0) & (X <= 1)).all() and (X[~active] == 0.5).all()
    assert space.encoding.decode_many(X) == configs
    for config, row, mask in zip(configs, X, active, strict=True):
        x, one_mask = space.encoding.encode(config)
        assert (x == row).all() and (one_mask == mask).all()
        for name, columns in space.encoding.slices.items():
            assert mask[columns].all() if name in config else not mask[columns].any()


@settings(max_examples=60, deadline=None)
@given(space=spaces(restricted=False), seed=st.integers(0, 2**32 - 1))
def test_every_point_of_the_cube_is_a_configuration(space: SearchSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 2, (3, space.encoding.dim)).astype(float)
    for config in space.encoding.decode_many(np.vstack([rng.random((5, space.encoding.dim)), corners])):
        assert space.contains(config), space.violations(config)
        assert space.encoding.decode(space.encoding.encode(config)[0]) == config


def test_columns() -> None:
    space = SearchSpace(
        [
            Float("f", 0, 1),
            Float("g", 0, 1, step=0.5),
            Int("i", 1, 4),
            Int("l", 1, 3, log=True),
            Choice("c", ("a", "b")),
            Choice("o", (1, 2, 3), ordered=True),
            Bool("b"),
            Subset("s", ("q", "k")),
            Vector("v", 2, 0, 1),
            Simplex("m", ("x", "y", "z")),
            Permutation("p", ("x", "y")),
            Constant("k", 3),
        ]
    )
    encoding = space.encoding
    assert encoding.columns[0] == Column("continuous", None, "f", 0)
    assert encoding.columns[2] == Column("integer", 4, "i", 0, (0.125, 0.375, 0.625, 0.875))
    assert encoding.columns[5] == Column("ordinal", 3, "o", 0, (1 / 6, 0.5, 5 / 6))
    kinds = [(column.kind, column.levels) for column in encoding.columns]
    assert kinds[1] == ("integer", 3) and kinds[4] == ("categorical", 2) and kinds[6:9] == [("categorical", 2)] * 3
    assert kinds[9:] == [("continuous", None)] * 7 and encoding.dim == 16
    assert encoding.slices["m"] == slice(11, 14) and encoding.slices["k"] == slice(16, 16)
    grid = encoding.columns[3].grid
    assert grid is not None
    low, high = math.log(0.5), math.log(3.5)
    assert grid == pytest.approx([(math.log(k) - low) / (high - low) for k in (1, 2, 3)])


def test_huge_grids_are_not_written_out() -> None:
    assert SearchSpace([Int("i", 0, 10**9)]).encoding.columns[0].grid is None


def test_points_are_clipped_and_bad_ones_refused() -> None:
    encoding = SearchSpace([Float("x", 0, 1), Int("i", 0, 3)]).encoding
    assert encoding.decode([-0.1, 1.7]) == {"x": 0.0, "i": 3}
    with pytest.raises(SpaceError, match="2 coordinates"):
        encoding.decode([0.5])
    with pytest.raises(SpaceError, match="finite"):
        encoding.decode(np.array([0.5, math.nan]))


def test_no_configurations() -> None:
    X, active = SearchSpace([Float("x", 0, 1)]).encoding.encode_many([])
    assert X.shape == active.shape == (0, 1)


def test_prior_density_integrates_to_one_and_skips_inactive_columns() -> None:
    space = SearchSpace(
        [
            Float("x", 1e-4, 1.0, log=True, prior=Prior(1e-3, "high")),
            Choice("c", ("a", "b", "c"), prior=Prior("b")),
            Float("y", 0, 1, prior=Prior(0.2), when="c == 'a'"),
        ]
    )
    U = (np.arange(300) + 0.5) / 300
    X = np.stack(np.meshgrid(U, U[:30] * 10, indexing="ij"), axis=-1).reshape(-1, 2)
    X = np.hstack([X, np.full((len(X), 1), 0.5)])
    fixed = np.array([True, True, False])
    density = np.exp(space.prior_log_density(X, np.broadcast_to(fixed, X.shape)))
    assert density.mean() == pytest.approx(1, abs=1e-3)
    best = X[density.argmax()]
    assert space.encoding.decode(best)["c"] == "b" and best[0] == pytest.approx(0.25, abs=0.01)
    configs = space.sample(20, np.random.default_rng(0))
    points, active = space.encoding.encode_many(configs)
    assert (space.prior_log_density(points) == space.prior_log_density(points, active)).all()
    assert (SearchSpace([Float("x", 0, 1)]).prior_log_density(np.ones((3, 1))) == 0).all()
