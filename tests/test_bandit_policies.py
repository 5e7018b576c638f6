"""Online bandits as functions of sums: weights, features, draws, and regret on streams with known best arms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tuner.strategies.bandit.adversarial import tsallis_inf, weights
from tuner.strategies.bandit.chebyshev import boxed, chebcb, features, gap_weights
from tuner.strategies.bandit.contextual import contextual
from tuner.strategies.bandit.decisions import Block, Policy, block_length, blocks, drawn, normals, uniforms
from tuner.strategies.bandit.surface import surface

Array = NDArray[np.float64]
PLACES = np.linspace(0.0, 1.0, 5)[:, None]
POLICIES: dict[str, Callable[[], Policy]] = {
    "tsallis-inf": lambda: tsallis_inf(5, floor=0.0, seed=3),
    "binned": lambda: tsallis_inf(5, bins=4, seed=3),
    "chebcb": lambda: chebcb(5, bounds=(0.0, 1.0), seed=3),
    "thompson": lambda: contextual(PLACES, np.array([[0.0, 1.0]]), seed=3),
    "ucb": lambda: contextual(PLACES, np.array([[0.0, 1.0]]), rule="ucb"),
}


def played(policy: Policy, contexts: Array, losses: Array, longest: int = 1) -> tuple[NDArray[np.int64], Policy]:
    """Arms chosen on a stream with losses (n, d)."""
    arms = np.empty(len(losses), dtype=np.int64)
    for start, end in blocks(len(losses), longest):
        numbers = np.arange(start, end)
        block = policy.choose(contexts[start:end], numbers)
        arms[start:end] = block.arms
        policy = policy.learned(contexts[start:end], block, losses[numbers, block.arms])
    return arms, policy


@given(st.lists(st.floats(0.0, 1e6), min_size=2, max_size=30), st.floats(1e-4, 2.0))
@settings(max_examples=60, deadline=None)
def test_tsallis_weights_sum_to_one_and_solve_the_fixed_point(losses: list[float], eta: float) -> None:
    z = np.array(losses)
    p = weights(z, eta)
    assert abs(p.sum() - 1.0) < 1e-9
    x = z - 2.0 / (eta * np.sqrt(p))  # p_i = 4 / (eta (z_i - x))^2 for one x
    assert np.ptp(x) <= 1e-6 * (1.0 + np.abs(x).max())
    assert (np.diff(p[np.argsort(z, kind="stable")]) <= 1e-15).all()  # more loss, less weight


def test_two_arms_have_weights_in_closed_form() -> None:
    # 4 / a^2 + 4 / (a + eta g)^2 = 1 with a = eta (z_0 - x): a = 2.5 gives (a + eta g)^2 = 4 / (1 - 0.64) = 100 / 9
    p = weights(np.array([0.0, (10.0 / 3.0 - 2.5) / 0.5]), 0.5)
    assert p == pytest.approx([0.64, 0.36], abs=1e-12)


def test_chebyshev_features_are_those_of_the_recurrence() -> None:
    c = np.linspace(-0.15, 0.65, 17)[:, None]
    u = 2.0 * (c[:, 0] + 0.15) / 0.8 - 1.0
    T = [np.ones_like(u), u]
    for _ in range(4):
        T.append(2.0 * u * T[-1] - T[-2])
    assert np.allclose(features(c, (-0.15, 0.65), 6), np.stack(T, axis=1), atol=1e-12)
    outside = features(np.array([[-9.0], [9.0]]), (-0.15, 0.65), 3)
    assert np.allclose(outside, [[1.0, -1.0, 1.0], [1.0, 1.0, 1.0]])


def test_inverse_gap_weights() -> None:
    p = gap_weights(np.array([[0.3, 0.1, 0.6]]), 10.0)
    assert p == pytest.approx(np.array([[1 / 5, 1 - 1 / 5 - 1 / 8, 1 / 8]]))
    assert gap_weights(np.zeros((2, 4)), 100.0) == pytest.approx(np.full((2, 4), 0.25))


def test_least_squares_in_a_box_agree_with_scipy() -> None:
    from scipy.optimize import lsq_linear

    rng = np.random.default_rng(0)
    F, y, box = rng.standard_normal((40, 4)), rng.standard_normal(40) * 3.0, np.array([0.2, 0.1, 1.0, 0.05])
    found = boxed((F.T @ F)[None], (F.T @ y)[None], np.zeros((1, 4)), box)[0]
    assert found == pytest.approx(lsq_linear(F, y, (-box, box), tol=1e-12).x, abs=1e-7)


def test_draws_depend_on_seed_and_number_alone() -> None:
    whole = uniforms(7, np.arange(1000))
    assert (np.concatenate([uniforms(7, np.arange(a, a + 50)) for a in range(0, 1000, 50)]) == whole).all()
    assert not (uniforms(8, np.arange(1000)) == whole).any()
    n = 100_000
    u, z = uniforms(1, np.arange(n)), normals(1, np.arange(n // 4), 4).ravel()
    # means within 5 standard errors: a false alarm in two million runs
    assert abs(u.mean() - 0.5) < 5.0 * np.sqrt(1 / 12 / n)
    assert abs(z.mean()) < 5.0 / np.sqrt(n)
    assert abs((z**2).mean() - 1.0) < 5.0 * np.sqrt(2.0 / n)
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 5.0 / np.sqrt(n)


def test_arms_are_drawn_with_their_weights() -> None:
    p = np.array([0.5, 0.0, 0.3, 0.2])
    block = drawn(p, uniforms(2, np.arange(40_000)))
    shares = np.bincount(block.arms, minlength=4) / 40_000
    assert np.abs(shares - p).max() < 5.0 * 0.5 / np.sqrt(40_000)
    assert (block.chances == p[block.arms]).all()
    rows = drawn(np.tile(p, (40_000, 1)), uniforms(2, np.arange(40_000)))
    assert (rows.arms == block.arms).all()


def test_blocks_cover_the_stream_and_stay_short() -> None:
    spans = list(blocks(5_000, 256))
    assert [start for start, _ in spans[1:]] == [end for _, end in spans[:-1]]
    assert spans[0][0] == 0 and spans[-1][1] == 5_000
    assert all(end - start <= max(1, 0.05 * start) and end - start <= 256 for start, end in spans)
    assert block_length(10**6, 1024) == 1024


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_learning_leaves_the_policy_as_it_was_and_repeats(name: str) -> None:
    rng = np.random.default_rng(1)
    contexts, losses = rng.random((60, 1)), rng.random((60, 5)) + np.arange(5)
    first, after = played(POLICIES[name](), contexts, losses)
    again, _ = played(POLICIES[name](), contexts, losses)
    assert (first == again).all()
    numbers = np.arange(60, 64)
    before = after.choose(contexts[:4], numbers).arms
    block = Block(np.array([1, 2, 1, 0]), np.full(4, 0.5))
    after.learned(contexts[:4], block, np.array([9.0, 1.0, 4.0, 2.0]))
    assert (after.choose(contexts[:4], numbers).arms == before).all()


def regret(arms: NDArray[np.int64], losses: Array) -> float:
    return float(losses[np.arange(len(arms)), arms].sum() - losses.sum(axis=0).min())


@pytest.mark.parametrize("longest", [1, 512])
def test_tsallis_regret_against_independent_losses_and_an_adversary(longest: int) -> None:
    """Zimmert and Seldin 2021, theorems 1 and 2 (losses in [0, 1], eta = 2 / sqrt t): within their bounds, by far."""
    n, d, rng = 10_000, 10, np.random.default_rng(5)
    nothing = np.zeros((n, 0))
    means = np.r_[0.4, np.full(d - 1, 0.6)]
    stochastic = (rng.random((n, d)) < means).astype(float)
    arms, _ = played(tsallis_inf(d, floor=0.0), nothing, stochastic, longest)
    pseudo = float((means[arms] - 0.4).sum())
    assert pseudo < (d - 1) * (4.0 * np.log(n) + 20.0) / 0.2 / 2.0  # 829: half of sum (4 ln n + 20) / gap
    # the best arm changes in phases that grow, all arms' losses with it (Zimmert and Seldin 2021, section 6)
    phase = np.floor(np.log(np.arange(1, n + 1)) / np.log(1.6)).astype(int) % 2
    shifted = (rng.random((n, d)) < np.where(phase == 0, 0.0, 0.8)[:, None] + np.r_[0.0, np.full(d - 1, 0.2)]).astype(
        float
    )
    arms, _ = played(tsallis_inf(d, floor=0.0), nothing, shifted, longest)
    assert regret(arms, shifted) < 4.0 * np.sqrt(n * d)


@pytest.mark.parametrize("name", ["chebcb", "thompson", "ucb"])
def test_contextual_policies_find_the_arm_that_suits_the_context(name: str) -> None:
    rng = np.random.default_rng(2)
    contexts = rng.random((2_000, 1))
    losses = 1.0 + 20.0 * (PLACES[:, 0] - contexts) ** 2 + 0.05 * rng.standard_normal((2_000, 5))
    arms, _ = played(POLICIES[name](), contexts, losses, 64)
    cost, best = losses[np.arange(2_000), arms][-500:].mean(), losses.min(axis=1)[-500:].mean()
    assert cost < 1.05 * best
    assert losses.mean(axis=0).min() > 1.6 * best  # no arm alone is near


def test_losses_below_zero_turn_the_surface_to_plain_units() -> None:
    rng = np.random.default_rng(4)
    losses = (PLACES[:, 0] - 0.75) ** 2 * 4.0 - 1.0 + 0.01 * rng.standard_normal((300, 5))
    arms, after = played(contextual(PLACES, np.zeros((0, 2))), np.zeros((300, 0)), losses)
    assert not after.positive  # type: ignore[attr-defined]
    assert (arms[-50:] == 3).mean() > 0.9


def test_the_surface_is_the_dense_gaussian_process_of_its_features() -> None:
    rng = np.random.default_rng(3)
    arms, contexts, y = rng.integers(0, 5, 6), rng.random((6, 1)), rng.standard_normal(6)
    known = surface(PLACES, 1).learned(arms, contexts, y)
    posterior, noise = known.posterior(), 0.06
    phi = posterior.basis.features(arms, contexts)
    K = phi @ phi.T + noise**2 * np.eye(6)
    every = posterior.basis.every_arm(contexts[:2]).reshape(10, -1)
    mean, sd = posterior.predict(contexts[:2])
    assert mean.ravel() == pytest.approx(every @ phi.T @ np.linalg.solve(K, y), abs=1e-7)
    scale = (2.0 + y @ np.linalg.solve(K, y)) / (2.0 + 6)
    cross = phi @ every.T
    variance = (every**2).sum(axis=1) - (cross * np.linalg.solve(K, cross)).sum(axis=0)
    assert sd.ravel() ** 2 == pytest.approx(scale * variance, rel=1e-6, abs=1e-9)
