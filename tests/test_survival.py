"""A sweep that is killed loses nothing, doubles nothing, leaves nothing, and goes on as if it had not been.

`benchmarks/survival.py` does the same twenty times for each target and strategy.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.survival import torture
from tuner.study import Study

TRIALS = 16


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_killing_the_main_process_changes_nothing(tmp_path: Path, method: str) -> None:
    undisturbed, _ = torture(tmp_path / "a", method, target="main", kills=0, trials=TRIALS)
    survived, hits = torture(tmp_path / "b", method, target="main", kills=3, trials=TRIALS)
    assert hits == 3
    assert survived == undisturbed
    assert [trial["trial"] for trial in survived] == list(range(TRIALS))


@pytest.mark.parametrize("command", [False, True])
def test_killing_what_evaluates_costs_only_that_trial(tmp_path: Path, command: bool) -> None:
    survived, hits = torture(tmp_path, "random", target="worker", kills=2, trials=TRIALS, command=command)
    assert [trial["trial"] for trial in survived] == list(range(TRIALS))
    failed = [trial for trial in survived if trial["state"] == "failed"]
    assert len(failed) <= hits
    with Study.open(tmp_path / "study", read_only=True) as study:
        assert all(r.failure is not None and r.failure.kind == "signal" for r in study.records(states=("failed",)))
