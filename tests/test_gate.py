"""Verdicts of the gate: known answers, error rates under noise, and what makes checks differ."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tuner.gate import Check, Design, Floats, Result, bootstrap, judged, order, overall

TIME = Check(name="time", goal="minimize", max_regress=0.03)
RATE = Check(name="rate", goal="maximize", max_regress=0.03)
DESIGN = Design()


def noisy(rng: np.random.Generator, n: int) -> Floats:
    """Log timings with outliers that come in bursts."""
    busy = np.cumsum(rng.normal(size=n)) > 3.0
    return rng.normal(0, 0.02, n) + np.where(busy, rng.exponential(0.4, n), 0.0)


def verdicts(ratio: float, count: int, design: Design = DESIGN, m: int = 1) -> list[Result]:
    found = []
    for seed in range(count):
        slots = np.exp(noisy(np.random.default_rng(seed), 2 * design.max_pairs)).reshape(-1, 2)
        first = np.array([order(seed, pair) for pair in range(len(slots))])
        b, c = np.where(first, slots[:, 1], slots[:, 0]), np.where(first, slots[:, 0], slots[:, 1])
        found.append(judged(TIME, b, c * ratio, design, m=m))
    return found


def test_the_earliest_verdict_is_the_first_that_the_spending_allows() -> None:
    # every pair is beyond the limit: the sign test's p is 2^-n, and 0.025 (n / 39)^2 exceeds it first at n = 10
    base = np.linspace(1.0, 1.01, 39)
    found = judged(TIME, base, base * np.linspace(1.10, 1.11, 39), DESIGN, m=1)
    assert 2.0**-9 > 0.025 * (9 / 39) ** 2
    assert 2.0**-10 < 0.025 * (10 / 39) ** 2
    assert found.verdict == "regression"
    assert found.decided_at in (10, 11)  # the flips are drawn: 9,999 of them tell 0.00098 from 0.00164 but for luck
    assert found.low is not None and found.high is not None and found.bound is not None
    assert found.bound == pytest.approx(1.03)
    assert found.bound < found.low <= found.high < 1.111


@pytest.mark.parametrize(("check", "ratio", "verdict"), [
    (TIME, 1.0, "pass"), (TIME, 0.5, "pass"), (TIME, 1.2, "regression"),
    (RATE, 1.0, "pass"), (RATE, 2.0, "pass"), (RATE, 0.8, "regression"),
])  # fmt: skip
def test_the_goal_says_what_is_worse(check: Check, ratio: float, verdict: str) -> None:
    rng = np.random.default_rng(0)
    base, other = rng.lognormal(0, 0.005, 39), rng.lognormal(0, 0.005, 39)
    found = judged(check, base, other * ratio, DESIGN, m=1)
    assert found.verdict == verdict
    assert found.ratio == pytest.approx(ratio, rel=0.01)


def test_wrong_verdicts_are_rare_on_the_limit_and_a_larger_regression_is_found() -> None:
    """Exactly on the limit either verdict comes at most 2.5% of the time; 14 of 200 or more: p < 0.1% at 2.5%."""
    at_limit = [one.verdict for one in verdicts(1.03, 200)]
    assert at_limit.count("regression") < 14
    assert at_limit.count("pass") < 14
    assert not any(one.verdict == "regression" for one in verdicts(1.0, 60))
    assert sum(one.verdict == "regression" for one in verdicts(1.08, 60)) > 50


def test_looking_once_after_every_pair_without_a_correction_would_be_wrong_more_often() -> None:
    """What the alpha spending is for: the 95% bootstrap interval at every look excludes the truth far too often."""
    crossed = 0
    for seed in range(60):
        x = np.random.default_rng(seed).normal(size=39)
        ends = [bootstrap(x[:n], 0.025, 0) for n in range(5, 40, 3)]
        crossed += any(low > 0 for low, _ in ends)
    assert crossed > 6  # 10% at nominally 2.5%


def test_what_does_not_vary_needs_few_measurements() -> None:
    sure = Check(name="size", goal="minimize", max_regress=0.03, sure=True)
    assert judged(sure, [100.0], [103.0], DESIGN, m=1).verdict == "pass"
    found = judged(sure, [100.0], [103.1], DESIGN, m=1)
    assert (found.verdict, found.deterministic, found.low) == ("regression", True, None)
    assert judged(TIME, [2.0] * 4, [2.0] * 4, DESIGN, m=1).verdict == "inconclusive"
    assert judged(TIME, [2.0] * 5, [2.0] * 5, DESIGN, m=1).verdict == "pass"
    assert judged(TIME, [2.0] * 5, [2.2] * 5, DESIGN, m=1).verdict == "regression"


def test_values_that_are_not_positive_are_compared_by_their_difference() -> None:
    score = Check(name="score", goal="maximize", max_regress=0.1, sure=True)
    assert judged(score, [-10.0], [-10.9], DESIGN, m=1).verdict == "pass"
    worse = judged(score, [-10.0], [-11.5], DESIGN, m=1)
    assert (worse.verdict, worse.ratio, worse.bound) == ("regression", pytest.approx(0.85), pytest.approx(0.9))
    assert judged(score, [0.0], [-0.1], DESIGN, m=1).verdict == "regression"
    assert judged(score, [0.0], [0.0], DESIGN, m=1).verdict == "pass"


def test_a_constraint_is_checked_by_its_margin() -> None:
    rng = np.random.default_rng(0)
    check = Check(name="loss <= 1", kind="constraint", goal=None, max_regress=0.0)
    met = judged(check, rng.normal(0.5, 0.1, 39), rng.normal(0.4, 0.1, 39), DESIGN, m=1)
    broken = judged(check, rng.normal(0.5, 0.1, 39), rng.normal(-0.4, 0.1, 39), DESIGN, m=1)
    assert (met.verdict, broken.verdict) == ("pass", "regression")
    assert met.ratio is None and met.low is not None and broken.high is not None
    assert met.low > 0 > broken.high
    assert judged(check, rng.normal(0, 1, 39), rng.normal(0, 0.1, 39), DESIGN, m=1).verdict == "inconclusive"


def test_more_checks_make_a_regression_harder_to_claim_and_a_pass_no_harder() -> None:
    alone, among = (verdicts(1.2, 1, m=m)[0].decided_at or math.inf for m in (1, 20))
    assert alone < among
    assert verdicts(0.8, 1, m=1)[0].decided_at == verdicts(0.8, 1, m=20)[0].decided_at


def test_the_whole_is_as_bad_as_its_worst_check() -> None:
    ok, bad, open_ = (Result(check=TIME, verdict=v) for v in ("pass", "regression", "inconclusive"))  # type: ignore[arg-type]
    assert overall([ok, ok]) == "pass"
    assert overall([ok, open_]) == "inconclusive"
    assert overall([ok, open_, bad]) == "regression"
    assert overall([]) == "inconclusive"


def test_noise_that_is_too_large_is_inconclusive_and_said_so() -> None:
    rng = np.random.default_rng(3)
    found = judged(TIME, rng.lognormal(0, 0.5, 39), rng.lognormal(0, 0.5, 39), DESIGN, m=1)
    assert found.verdict == "inconclusive"
    assert found.decided_at is None
    assert found.why == "not clear after 39 pairs"


def test_the_same_measurements_bring_the_same_verdict() -> None:
    first, second = (verdicts(1.05, 3)[-1] for _ in range(2))
    assert first == second
    flips = [order(1, pair) for pair in range(400)]
    assert 150 < sum(flips) < 250  # a fair coin, false alarm below 1e-6
