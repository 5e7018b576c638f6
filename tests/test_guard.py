"""guard: the makespan against a simulation and its break-even, and that a rule is followed only where it pays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.test_stopping import begin, full, say, study
from tuner.errors import UsageError
from tuner.stopping.guard import makespan, saves
from tuner.study import Study
from tuner.trial import Outcome


def waited(p: float, miss: float, hit: float, t: float, rng: np.random.Generator) -> float:
    """Time until a good trial came to its end, flagged ones being stopped at t."""
    time = 0.0
    while True:
        good = rng.random() < p
        if rng.random() < (miss if good else hit):
            time += t
        else:
            time += 1.0
            if good:
                return time


def test_the_makespan_is_that_of_a_simulation() -> None:
    rng = np.random.default_rng(0)
    p, miss, hit, t = 0.2, 0.25, 0.7, 0.3
    times = [waited(p, miss, hit, t, rng) for _ in range(20_000)]
    flagged = p * miss + (1 - p) * hit
    assert np.mean(times) == pytest.approx(makespan(p, flagged, miss, t), rel=0.03)  # four standard errors


def test_a_rule_breaks_even_where_the_makespan_is_that_without_it() -> None:
    rng = np.random.default_rng(1)
    for p, miss, hit, t in rng.uniform(0.01, 0.99, (200, 4)):
        flagged = p * miss + (1 - p) * hit
        shorter = makespan(p, flagged, miss, t) < 1.0 / p
        assert saves(p * miss / flagged, p, t) == shorter


SHAPES: dict[str, Any] = {"kept": lambda end, k: end * k / 8, "reversed": lambda end, k: (1 - end) if k < 8 else end}
"""What begins badly ends badly; or the other way round: the best are those that began worst."""


def play(made: Study, shape: str, seed: int, n: int = 60) -> list[int | None]:
    ends = []
    for end in np.random.default_rng(seed).random(n):
        (trial,) = begin(made)
        scores = [float(SHAPES[shape](end, k)) for k in range(1, 9)]
        stopped = say(made, trial, *scores)
        made.finish(trial, Outcome(state="completed" if stopped is None else "pruned", metrics={"score": scores[-1]}))
        ends.append(stopped)
    return ends


def test_a_good_rule_is_followed_after_it_has_shown_that_it_is() -> None:
    ends = play(study({"rule": "guard", "of": {"rule": "asha", "eta": 2}, "audit": 0.1}), "kept", seed=0)
    assert all(end is None for end in ends[:10])
    assert sum(end is not None for end in ends[20:]) >= 15  # asha alone stops most


def test_a_rule_that_stops_the_best_is_never_followed() -> None:
    rule = {"rule": "asha", "eta": 2, "max_rungs": 3}  # up to step 4
    alone = play(study(rule), "reversed", seed=0)
    assert sum(end is not None for end in alone) >= 20
    made = study({"rule": "guard", "of": rule})
    assert not any(play(made, "reversed", seed=0))
    flags = [event for event in made.events() if event["kind"] == "flagged"]
    assert len(flags) >= 20
    assert json.loads(flags[0]["detail"])["rule"] == "guard"


def test_what_was_learned_outlives_the_session(tmp_path: Path) -> None:
    made = study({"rule": "guard", "of": {"rule": "asha", "eta": 2}}, tmp_path / "s")
    play(made, "kept", seed=0, n=40)
    made.close()
    with Study.open(tmp_path / "s") as reopened:
        (bad,) = begin(reopened)
        assert say(reopened, bad, 0.0, 0.0) == 1


def test_controls_are_announced_once_over_sessions(tmp_path: Path) -> None:
    made = study({"rule": "asha", "eta": 2, "audit": 0.99}, tmp_path / "s")
    full(made, 0.9, 0.9, 0.9, 0.9)
    (bad,) = begin(made)
    assert say(made, bad, 0.1) is None
    made.close()
    with Study.open(tmp_path / "s") as reopened:
        assert say(reopened, bad, 0.1, 0.1, 0.1, since=2) is None
        assert [event["trial"] for event in reopened.events() if event["kind"] == "control"] == [bad]


@pytest.mark.parametrize(
    "options", [{"of": "guard"}, {"of": {"eta": 2}}, {"good": 0.0}, {"of": {"rule": "asha", "et": 2}}]
)
def test_options_that_do_not_fit_are_refused(options: Any) -> None:
    with pytest.raises(UsageError, match="early_stop"):
        study({"rule": "guard", **options}).check_strategy()
