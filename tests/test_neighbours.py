"""neighbours: the chance by hand, where precedents are alike; late bloomers, constraints and sizes told apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.test_stopping import begin, full, say, study
from tuner.errors import UsageError
from tuner.study import Study

STEPS = 10


def rising(to: float, since: int = 1) -> list[float]:
    """A score that is 0 until a step, and then goes straight to where it ends."""
    return [to * max(step - since, 0) / (STEPS - since) for step in range(1, STEPS + 1)]


def ended(made: Study, values: list[dict[str, float]], **config: Any) -> None:
    trial = made.enqueue(config)
    assert made.ask().trial == trial
    for step, value in enumerate(values, start=1):
        assert not made.report(trial, step, value)
    made.tell(trial, values[-1])


@pytest.mark.parametrize(("chance", "n"), [(0.1, 12), (0.1, 3), (0.02, 30), (0.3, 5)])
def test_the_chance_is_the_prior_shared_with_precedents(chance: float, n: int) -> None:
    """Far from them is the best; n precedents exactly alike, none of which helps: a share 1.5 / (n + 2), diluted."""
    made = study({"rule": "neighbours", "chance": chance, "min_trials": n + 1, "protect": False})
    full(made, *np.linspace(9.9, 10.0, STEPS))
    for _ in range(n):
        full(made, *([0.5] * STEPS))
    (trial,) = begin(made)
    prior = max(1.5 / (n + 2), 2 * chance)
    # at the second report of ten, when four fifths are left; later there is less to save
    sd = 9.4 * np.sqrt(n) / (n + 1)  # of one that stands 9.4 above n others
    far = np.exp(-0.5 * (9.4 / sd) ** 2)
    assert (say(made, trial, *([0.5] * STEPS)) is not None) == (prior / (1 + n + far) < 0.8 * chance)


def test_late_bloomers_are_spared_where_others_bloomed_late() -> None:
    for since, spared in ((6, True), (1, False)):
        made = study({"rule": "neighbours", "chance": 0.05, "min_trials": 12})
        for k in range(12):
            full(made, *rising(0.05 * k, since))
        (trial,) = begin(made)
        end = say(made, trial, *rising(0.6, since=6))
        assert (end is None) == spared


SIZES = {
    "parameters": {"width": {"min": 0.0, "max": 10.0}},
    "metrics": {
        "loss": "minimize",
        "size": {"goal": "minimize", "formula": "width"},
        "accuracy": {"min": 0.5},
    },
}


def curve(loss: float, accuracy: float) -> list[dict[str, float]]:
    steps = np.arange(1, STEPS + 1) / STEPS
    return [{"loss": 2.0 - (2.0 - loss) * float(t), "accuracy": accuracy * float(t)} for t in steps]


def test_a_small_one_is_compared_with_small_ones_and_may_meet_the_constraint_late() -> None:
    made = study({"rule": "neighbours", "chance": 0.1, "min_trials": 15}, **SIZES)
    for k in range(15):
        ended(made, curve(0.2 + 0.06 * k, 0.9 - 0.02 * k), width=8.0 + 0.1 * k)
    small, large = made.enqueue({"width": 1.0}), made.enqueue({"width": 8.65})
    begin(made, 2)
    assert say(made, small, *curve(0.6, 0.75)) is None  # feasible from step 7 on
    assert say(made, large, *curve(0.6, 0.75)) is not None


def test_a_constraint_that_nobody_came_to_meet_stops_a_trial() -> None:
    made = study({"rule": "neighbours", "min_trials": 30}, **SIZES)
    for k in range(15):
        ended(made, curve(0.5, 0.3), width=2.0 + 0.1 * k)
        ended(made, curve(0.2, 0.9), width=8.0 + 0.1 * k)
    trial = made.enqueue({"width": 1.0})
    begin(made)
    assert say(made, trial, *curve(0.5, 0.3)) is not None


def test_nothing_is_stopped_before_there_are_precedents() -> None:
    made = study({"rule": "neighbours", "min_trials": 4, "chance": 0.3})
    for _ in range(3):
        full(made, *rising(1.0))
    (trial,) = begin(made)
    assert say(made, trial, *([-1.0] * STEPS)) is None


@pytest.mark.parametrize("option", [{"chance": 0.0}, {"width": 0.0}, {"min_trials": 1}, {"min_reports": 0}])
def test_options_are_checked(option: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="neighbours"):
        study({"rule": "neighbours", **option}).check_strategy()
