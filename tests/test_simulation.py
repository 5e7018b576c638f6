"""The scheduler under a simulated clock: no slot is idle while budget remains, and it decides as a real run does."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner.bench.simulation import Cluster, Played, simulate
from tuner.study import Study
from tuner.trial import Trial

STEPS = 9


def recorded(config: dict[str, Any], step: int) -> dict[str, float]:
    """A learning curve that follows from the configuration: it may cross others."""
    return {"score": -abs(config["x"] - 0.7) - config["slow"] / step}


def objective(config: dict[str, Any], trial: Trial) -> dict[str, float]:
    """The same, as a real objective."""
    for step in range(1, STEPS + 1):
        trial.report(step, **recorded(config, step))
    return recorded(config, STEPS)


def sweep(method: Any, trials: int, **changes: Any) -> dict[str, Any]:
    return {
        "name": "simulated",
        "parameters": {"x": {"min": 0.0, "max": 1.0}, "slow": {"min": 0.0, "max": 1.0}, "epochs": STEPS},
        "metrics": {"score": "maximize"},
        "search": method,
        "budget": {"trials": trials},
        **changes,
    }


FIDELITY = {"parameter": "epochs", "min": 1, "max": STEPS}


def play(method: Any, workers: int, trials: int, **changes: Any) -> tuple[Study, Played]:
    study = Study.create(sweep(method, trials, **changes))
    return study, simulate(study, recorded, Cluster(workers=workers), steps=STEPS)


@pytest.mark.parametrize(("method", "workers"), [("asha", 1000), ("hyperband", 200), ("halving", 200), ("bohb", 200)])
def test_no_slot_is_idle_while_budget_remains(method: str, workers: int) -> None:
    trials = 2 * workers + 200
    study, played = play(method, workers, trials, fidelity=FIDELITY)
    assert len(played.ends) == trials
    assert played.idle_s == 0.0
    assert played.busy_s == pytest.approx(workers * played.started_s)
    assert played.started_s > 0.0
    levels = Counter(record.fidelity for record in study.records())
    assert levels[1] > levels[3] > 0  # and trials were promoted although one in ten took ten times as long


def test_no_slot_is_idle_under_a_stopping_rule() -> None:
    study, played = play("random", 300, 900, early_stop={"rule": "asha", "eta": 3, "audit": 0.1})
    assert played.idle_s == 0.0
    assert study.counts()["pruned"] > 400
    assert played.steps < 0.5 * 900 * STEPS


def test_a_promoted_trial_pays_for_what_is_new() -> None:
    _, played = play("halving", 1, 13, fidelity=FIDELITY)
    assert played.steps == 9 + 3 * 2 + 6
    assert played.path[-1][1] == played.steps


def test_without_stragglers_the_clock_is_simple() -> None:
    study = Study.create(sweep("random", 10))
    played = simulate(study, recorded, Cluster(workers=5, stragglers=0.0, step_s=2.0), steps=STEPS)
    assert (played.seconds, played.started_s) == (2 * STEPS * 2.0, STEPS * 2.0)
    assert played.busy_s == 5 * STEPS * 2.0
    record = study.read(9)
    assert record.seconds == pytest.approx(STEPS * 2.0)


def decisions(study: Study) -> list[tuple[int, str, int]]:
    return [(e["trial"], e["kind"], json.loads(e["detail"])["step"]) for e in study.events() if e["trial"] is not None]


def test_it_decides_as_the_real_run_does(tmp_path: Path) -> None:
    """Not on a front that moves: a real trial may end before it hears that it should stop."""
    rule = {"rule": "asha", "eta": 2, "audit": 0.2, "protect": False}
    simulated, _ = play("random", 1, 24, early_stop=rule)
    definition = sweep("random", 24, early_stop=rule, objective=f"{__name__}:objective", parallel=1)
    with tuner.run(definition, tmp_path / "s") as real:
        assert decisions(real) == decisions(simulated)
        assert len(decisions(real)) >= 10


def continued(config: dict[str, Any], trial: Trial) -> dict[str, float]:
    """The same as a real objective that spends its fidelity and goes on from its checkpoint."""
    assert trial.checkpoint is not None
    file, last = trial.checkpoint / "step", STEPS if trial.fidelity is None else round(trial.fidelity)
    done = int(file.read_text()) if file.is_file() else 0
    for step in range(done + 1, last + 1):
        trial.report(step, **recorded(config, step))
    file.write_text(str(last))
    return recorded(config, last)


def asked(study: Study) -> list[tuple[dict[str, Any], float | None, int | None]]:
    """What was tried, with how much, and what it continued, trial by trial."""
    return [(record.config, record.fidelity, record.origin) for record in study.records()]


SPENDING = ["asha", "hyperband", "halving", "bohb", {"method": "bohb", "model": "gp", "min_points": 5}, "mf-gp"]


@pytest.mark.parametrize("method", SPENDING, ids=str)
def test_every_strategy_that_spends_a_fidelity_asks_as_in_the_real_run(method: Any, tmp_path: Path) -> None:
    trials = {"mf-gp": 8, "asha": 40}.get(str(method), 20)
    simulated, _ = play(method, 1, trials, fidelity=FIDELITY)
    definition = sweep(method, trials, fidelity=FIDELITY, objective=f"{__name__}:continued", parallel=1)
    with tuner.run(definition, tmp_path / "s") as real:
        assert asked(real) == asked(simulated)
        assert [r.metrics for r in real.records()] == [r.metrics for r in simulated.records()]
        spent = {record.fidelity for record in real.records()}
        assert len(spent) > 1


def slowly(config: dict[str, Any], trial: Trial) -> dict[str, float]:
    """The objective, slow enough to hear that it should stop before it ends."""
    for step in range(1, STEPS + 1):
        trial.report(step, **recorded(config, step))
        time.sleep(0.01)
    return recorded(config, STEPS)


RULES: list[Any] = ["asha", "median", "neighbours", {"rule": "extrapolate", "min_trials": 4}]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_rule_decides_as_in_the_real_run(rule: Any, tmp_path: Path) -> None:
    simulated, _ = play("random", 1, 24, early_stop=rule)
    definition = sweep("random", 24, early_stop=rule, objective=f"{__name__}:slowly", parallel=1)
    with tuner.run(definition, tmp_path / "s") as real:
        assert decisions(real) == decisions(simulated)
        assert len(decisions(real)) >= 5
