"""Racing: a paired test over common seeds or instances drops what is worse; sequential halving of the finalists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import tuner
from tuner.errors import SweepError
from tuner.racing import MEASURED, Race, worse
from tuner.repeats import halving_rounds
from tuner.study import Study
from tuner.sweep import load_sweep
from tuner.trial import Outcome, Trial


def objective(config: dict[str, Any], trial: Trial) -> dict[str, float]:
    """Noise a hundred times as large as what there is to tell, but the same for every configuration of a seed."""
    noise = np.random.default_rng(trial.seed).normal(0.0, 100.0)
    return {"score": config["x"] + noise, "replicate": float(trial.replicate)}


def instances(config: dict[str, Any], trial: Trial) -> dict[str, float]:
    """Instances that favour different configurations; 0.6 is the best for all of them together."""
    best = [0.2, 1.0, 0.6, 0.5, 0.7][trial.replicate % 5]
    return {"score": -abs(config["x"] - best) - 10.0 * trial.replicate}


def sweep(**changes: Any) -> dict[str, Any]:
    return {
        "name": "race",
        "parameters": {"x": {"min": 0.0, "max": 1.0}},
        "metrics": {"score": "maximize", "replicate": {}},
        "search": "random",
        "budget": {"trials": 8},
        "repeats": {"n": 5, "race": 0.05},
        **changes,
    }


def test_the_p_value_is_that_of_the_paired_test() -> None:
    rng = np.random.default_rng(0)
    own, rival = rng.normal(0.0, 1.0, (6, 2)), rng.normal(0.4, 1.0, (6, 2))
    each = [stats.ttest_rel(own[:, j], rival[:, j], alternative="less").pvalue for j in range(2)]
    assert worse(own, rival) == pytest.approx(max(each))
    assert worse(rival - 1.0, rival) == 0.0
    assert worse(rival, rival) == 1.0
    assert worse(np.array([[1.0], [np.nan]]), rival[:2, :1]) == 1.0


def test_what_is_no_worse_is_hardly_ever_dropped() -> None:
    rng = np.random.default_rng(1)
    n, level, dropped = 10, 0.1, 0
    for _ in range(600):
        own, rival = rng.normal(0.0, 1.0, (n, 1)), rng.normal(0.0, 1.0, (n, 1))
        dropped += any(worse(own[:k], rival[:k]) <= level / (n - 1) for k in range(2, n + 1))
    assert dropped / 600 <= level + 0.04  # three standard errors: false alarm below 0.002


def test_common_seeds_tell_apart_what_noise_would_hide(tmp_path: Path) -> None:
    with tuner.run(sweep(objective=f"{__name__}:objective"), tmp_path / "s") as study:
        best = -1.0
        for record in study.records():
            x = record.config["x"]
            assert record.state == ("completed" if x > best else "pruned")
            assert record.measures["repeats"] == (5 if x > best else 2)  # two equal differences are enough
            best = max(best, x)
        assert study.counts()["pruned"] >= 3
        events = [event for event in study.events() if event["kind"] == "dropped"]
        assert len(events) == study.counts()["pruned"]
        assert json.loads(events[0]["detail"])["repeats"] == 2
        again = Race(study)  # of the next session: it knows what was measured
        measured = [event for event in study.events() if event["kind"] == MEASURED]
        assert len(measured) == 8
        bad = [Outcome(state="completed", metrics={"score": -1e6 - k, "replicate": 0.0}) for k in range(3)]
        assert again.drops(study.ask(1)[0] if not study.stop_reason else _proposal(study), bad)


def _proposal(study: Study) -> Any:
    from tuner.records import new_proposal

    return new_proposal(study.problem, 99, {"x": 0.5}, "added")


def test_instances_are_raced_by_the_number_of_the_repeat(tmp_path: Path) -> None:
    given = sweep(
        objective=f"{__name__}:instances", initial=[{"x": 0.6}, {"x": 0.0}, {"x": 0.61}], budget={"trials": 3},
        metrics={"score": "maximize"}, repeats={"n": 5, "race": 0.5},
    )  # fmt: skip
    with tuner.run(given, tmp_path / "s") as study:
        first, poor, near = study.records()
        assert first.state == near.state == "completed"
        assert poor.state == "pruned"
        assert 2 <= poor.measures["repeats"] < 5


def test_without_a_race_repeats_have_seeds_of_their_own(tmp_path: Path) -> None:
    given = sweep(objective=f"{__name__}:objective", budget={"trials": 2}, repeats={"n": 3})
    with tuner.run(given, tmp_path / "s") as study:
        assert all(record.measures["repeats"] == 3 for record in study.records())
        one, two = study.records()
        gap = (one.metrics["score"] - two.metrics["score"]) - (one.config["x"] - two.config["x"])
        assert abs(gap) > 1e-6
        assert one.metrics["replicate"] == 1.0  # the mean of 0, 1, 2


@pytest.mark.parametrize(
    ("arms", "each", "rounds"),
    [(8, 6, [(8, 2), (4, 4), (2, 8)]), (5, 4, [(5, 1), (3, 2), (2, 3)]), (1, 7, [(1, 7)]), (0, 5, [])],
)
def test_halving_shares_the_budget_among_its_rounds(arms: int, each: int, rounds: list[tuple[int, int]]) -> None:
    assert halving_rounds(arms, each) == rounds
    assert sum(n * k for n, k in rounds) <= max(arms * each, 0)


def test_finalists_are_halved(tmp_path: Path) -> None:
    given = sweep(
        objective=f"{__name__}:objective", repeats={"n": 3, "race": 0.05, "finalists": 4, "finalist_n": 4,
                                                    "allocate": "halving"},
        initial=[{"x": 0.1}, {"x": 0.2}, {"x": 0.3}, {"x": 0.4}, {"x": 0.5}], budget={"trials": 5},
    )  # fmt: skip
    with tuner.run(given, tmp_path / "s") as study:
        had = {r.config["x"]: r.measures.get("final.repeats", 0.0) for r in study.records()}
        assert had == {0.1: 0.0, 0.2: 2.0, 0.3: 2.0, 0.4: 6.0, 0.5: 6.0}
        recommended = study.recommend()
        assert recommended.config["x"] == 0.5


def test_a_race_needs_repeats() -> None:
    with pytest.raises(SweepError, match="race needs repeats"):
        load_sweep(sweep(repeats={"n": 2, "race": 0.05}))
