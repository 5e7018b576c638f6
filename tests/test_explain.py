"""`tuner explain`: studies whose predictions, neighbours, margins and steps are known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tuner.cli import app
from typer.testing import CliRunner, Result

from tuner.store import Store, sqlite_url
from tuner.study import Study
from tuner.trial import Outcome

EVIL = "\x1b[31mred\x1b[0m\n::error::x <script>alert(1)</script>"


def make(folder: Path, tried: Sequence[tuple[Mapping[str, Any], Mapping[str, float] | None]], **changes: Any) -> Study:
    """A study whose trials had these configurations and metrics; None fails."""
    definition = {
        "metrics": {"acc": "maximize", "size": "minimize", "mem": {"max": 10.0}},
        "parameters": {
            "x": {"min": 0.0, "max": 1.0},
            "c": {"values": ["p", "q", "r"]},
            "y": {"min": 0.0, "max": 1.0, "when": "c == 'q'"},
        },
        "restrictions": ["x <= 0.9"],
    }
    study = Study.create({**definition, "search": "random", **changes}, folder)
    for config, metrics in tried:
        study.enqueue(dict(config))
        trial = study.ask().trial
        if metrics is None:
            study.fail(trial, "crash", EVIL)
        else:
            study.finish(trial, Outcome(state="completed", metrics=metrics))
    return study


def at(x: float, c: str = "p", **more: float) -> dict[str, Any]:
    return {"x": x, "c": c, **more}


def gave(acc: float, size: float, mem: float = 1.0) -> dict[str, float]:
    return {"acc": acc, "size": size, "mem": mem}


FOUR = [
    (at(0.5), gave(0.7, 3.0)),
    (at(0.6), gave(0.8, 4.0)),
    (at(0.5, "q", y=0.25), gave(0.6, 1.0, 9.9)),
    (at(0.5, "q", y=0.5), gave(0.5, 2.0, 12.0)),
]


def propose(folder: Path, study: str, trial: int, **provenance: Any) -> None:
    """Rewrite where a stored trial came from."""
    store = Store(sqlite_url(folder / "study.db"), study)
    store.update_trial(trial, provenance=json.dumps({"engine": "gp", **provenance}))
    store.close()


def explain(folder: Path, trial: int, *args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["explain", str(trial), str(folder), *args])
    assert result.exit_code == code, f"{result.exit_code}: {result.stderr}\n{result.stdout}\n{result.exception}"
    return result


def document(folder: Path, trial: int) -> Any:
    found = json.loads(explain(folder, trial, "--json").stdout)
    assert found["schema"] == "tuner.explain/1"
    return found


def test_predictions_against_outcomes(tmp_path: Path) -> None:
    study = make(tmp_path, FOUR)
    study.close()
    reason = "auto chose gp: 3 columns; qLogNEHVI over 2 trials"
    # 1.959964 sd is the edge of the 95% interval, which a calibrated model misses once in 20
    exact = {"mean": {"acc": 0.8 - 0.01 * 1.959964, "size": 4.0}, "sd": {"acc": 0.01, "size": 0.0}}
    propose(tmp_path, study.sweep.name, 1, **exact, acquisition=0.5, reason=reason, seconds=1.25)
    propose(tmp_path, study.sweep.name, 0, mean={"acc": 0.7}, sd={"acc": 0.1})
    propose(tmp_path, study.sweep.name, 2, mean={"acc": 0.6 - 0.03}, sd={"acc": 0.01})
    found = document(tmp_path, 1)
    assert found["reasons"] == ["auto chose gp: 3 columns", "qLogNEHVI over 2 trials"]
    assert (found["acquisition"], found["seconds"]) == (0.5, 1.25)
    acc, size = found["expected"]
    assert acc["z"] == pytest.approx(1.959964)
    assert acc["low"] == pytest.approx(0.8 - 2 * 0.01 * 1.959964)
    assert acc["high"] == pytest.approx(0.8)
    assert acc["once_in"] == pytest.approx(20.0, rel=1e-5)
    assert (acc["farther_than"], acc["others"]) == (1, 2)
    assert size["z"] is None
    text = explain(tmp_path, 1).stdout
    assert "2.0 sd above" in text
    assert "farther off than 1 of 2 others" in text
    assert "it follows from the configuration" in text


def test_nearest_trials_by_the_encoded_distance(tmp_path: Path) -> None:
    make(tmp_path, FOUR).close()
    nearest = {one["trial"]: one for one in document(tmp_path, 0)["nearest"]}
    assert list(nearest) == [1, 2, 3]
    assert nearest[1]["distance"] == pytest.approx(0.1)
    assert nearest[2]["distance"] == pytest.approx(2**0.5)  # another category, and a column more
    assert nearest[1]["changes"] == {"x": {"from": 0.5, "to": 0.6}}
    assert nearest[2]["changes"]["y"] == {"from": None, "to": 0.25}
    assert not nearest[3]["feasible"]
    between = {one["trial"]: one["distance"] for one in document(tmp_path, 2)["nearest"]}
    assert between[3] == pytest.approx(0.25)


def test_bounds_that_are_tight_broken_and_slack(tmp_path: Path) -> None:
    make(tmp_path, [*FOUR, (at(0.0), gave(0.1, 9.0)), (at(0.9), gave(0.1, 9.5))]).close()
    tight, broken, slack = (document(tmp_path, k)["bounds"] for k in (2, 3, 0))
    assert (tight[0]["text"], tight[0]["state"]) == ("mem <= 10.0", "tight")  # 0.1 of a range of 11
    assert tight[0]["margin"] == pytest.approx(0.1)
    assert tight[0]["range"] == pytest.approx(11.0)
    assert broken[0]["state"] == "broken"
    assert [one["state"] for one in slack] == ["slack", "slack"]
    at_low = [one for one in document(tmp_path, 4)["bounds"] if one["kind"] == "edge"]
    assert [one["text"] for one in at_low] == ["x >= 0"]
    at_end = {one["text"]: one["state"] for one in document(tmp_path, 5)["bounds"]}
    assert at_end["x <= 0.9"] == "tight"
    assert document(tmp_path, 3)["standing"] == "infeasible"


def test_steps_along_the_front_and_what_dominates(tmp_path: Path) -> None:
    make(tmp_path, [*FOUR, (at(0.55), gave(0.65, 3.5))]).close()
    up, down = document(tmp_path, 0)["steps"]
    assert (up["towards"], up["trial"], down["towards"], down["trial"]) == ("acc", 1, "size", 2)
    assert up["gains"] == {"acc": pytest.approx(0.1)}
    assert up["costs"] == {"size": pytest.approx(1.0)}
    assert down["changes"].keys() == {"c", "y"}
    assert "+0.1 acc costs +1 size (trial 1: x 0.5 → 0.6)" in explain(tmp_path, 0).stdout
    assert len(document(tmp_path, 1)["steps"]) == 1  # an end of the front
    (better,) = document(tmp_path, 4)["steps"]
    assert (better["trial"], better["towards"]) == (0, None)


def test_one_goal_has_no_steps_and_waiting_trials_are_explained(tmp_path: Path) -> None:
    study = make(tmp_path, [(at(0.5), {"loss": 1.0}), (at(0.6), {"loss": 2.0})], metrics={"loss": "minimize"})
    study.enqueue(at(0.1))
    study.close()
    assert "the best so far" in explain(tmp_path, 0).stdout
    assert "not the best" in explain(tmp_path, 1).stdout
    waiting = document(tmp_path, 2)
    assert (waiting["state"], waiting["standing"], waiting["steps"]) == ("waiting", "waiting", [])
    assert len(waiting["nearest"]) == 2


def test_what_people_and_trials_wrote_does_nothing(tmp_path: Path) -> None:
    study = make(tmp_path, [(at(0.5), gave(0.7, 3.0)), (at(0.6), None)])
    study.close()
    propose(tmp_path, study.sweep.name, 0, reason=EVIL)
    for args in ((), ("-f", "md")):
        for trial in (0, 1):
            text = explain(tmp_path, trial, *args).stdout
            assert "\x1b" not in text
            assert not any(line.lstrip().startswith("::") for line in text.splitlines())
            if args:
                assert "<script" not in text
    shown = CliRunner().invoke(app, ["show", "1", str(tmp_path)]).stdout
    assert "\x1b" not in shown
    assert "::error" not in [line[:7] for line in shown.splitlines()]


def test_mistakes_are_told(tmp_path: Path) -> None:
    make(tmp_path, FOUR).close()
    assert "no trial 77" in explain(tmp_path, 77, code=2).stderr
    assert "-f must be one of" in explain(tmp_path, 0, "-f", "csv", code=2).stderr


def test_a_narrow_terminal_cuts_nothing_that_matters(tmp_path: Path) -> None:
    from tuner.verbs.explaining import explain_trial

    make(tmp_path, FOUR).close()
    with Study.open(tmp_path, read_only=True) as study:
        text = explain_trial(study, 0, "table", width=80)
    assert "2: c p → q, y none → 0.25" in text
    assert "…" not in text
    assert "no room" not in text
