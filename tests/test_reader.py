"""Reading a study beside its writer: the same rows as the store's, what is new, no SQLAlchemy, no waiting."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tuner
from tests.surroundings import ROOT, environment
from tuner.errors import StoreError
from tuner.reader import Reader
from tuner.sqlite import sqlite_url
from tuner.store import Store

SWEEP = {
    "name": "read",
    "metrics": {"loss": "minimize", "size": "minimize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}, "n": {"min": 1, "max": 9}},
    "baseline": {"x": 0.5, "n": 5},
    "early_stop": {"rule": "asha", "eta": 2, "min_steps": 2},
    "search": "random",
}


def fill(study: tuner.Study, n: int) -> None:
    for _ in range(n):
        p = study.ask()
        study.report(p.trial, 1, {"loss": p.config["x"] + 1.0, "size": p.config["n"]})
        if p.trial % 5 == 3:
            study.fail(p.trial, "crash", "no such file")
        else:
            study.tell(p.trial, {"loss": p.config["x"], "size": p.config["n"]})


def test_a_reader_answers_as_the_store_does(tmp_path: Path) -> None:
    with tuner.Study.create(SWEEP, tmp_path / "s") as study:
        fill(study, 9)
        study.ask(2)
        study.retry([3])
    file = tmp_path / "s" / "study.db"
    reader, store = Reader(file, "read"), Store(sqlite_url(file), "read", read_only=True)
    assert reader.readable
    for name in ("read_study", "trials", "counts", "reports", "events", "last_event"):
        assert getattr(reader, name)() == getattr(store, name)(), name
    assert reader.trials(states=("failed", "running")) == store.trials(states=("failed", "running"))
    assert list(reader.numbered([7, 2, 5])) == list(store.numbered([7, 2, 5]))
    assert list(reader.configs()) == list(store.configs())
    for after in (-1, 4, 99):
        rows = [row for rows in reader.finished(columns=("trial", "metrics"), after=after) for row in rows]
        assert rows == [tuple(r) for rs in store.finished(columns=("trial", "metrics"), after=after) for r in rs]
    for trial in (2, 9, 77):
        assert reader.trial(trial) == store.trial(trial)
        assert reader.reports(trial) == store.reports(trial)
        assert reader.last_report(trial) == store.last_report(trial)
    store.close()
    reader.close()


def test_a_reader_changes_nothing(tmp_path: Path) -> None:
    with tuner.Study.create(SWEEP, tmp_path / "s") as study:
        fill(study, 1)
    with tuner.Study.open(tmp_path / "s", read_only=True) as reading:
        with pytest.raises(StoreError, match="was opened to be read"):
            reading.add_event("kind", "detail")
        with pytest.raises(StoreError, match="was opened to be read"):
            reading.enqueue({"x": 0.1})


@pytest.mark.parametrize("elsewhere", [False, True])
def test_refresh_takes_in_what_another_process_wrote(tmp_path: Path, elsewhere: bool) -> None:
    storage = {"storage": f"sqlite:///{tmp_path / 'shared.db'}"} if elsewhere else {}  # then through SQLAlchemy
    with tuner.Study.create({**SWEEP, **storage}, tmp_path / "s") as study:
        fill(study, 6)
        with tuner.Study.open(tmp_path / "s", read_only=True) as reading:
            assert reading.ledger.spent.finished == 6
            fill(study, 5)
            running = study.ask()
            study.spend(7.0)
            assert not reading.refresh()
            assert reading.ledger.spent.finished == 11
            assert reading.ledger.spent.seconds == 7.0
            assert reading.ledger.spent.running == {running.trial}
            assert [r.trial for r in reading.pareto()] == [r.trial for r in study.pareto()]
            np.testing.assert_array_equal(reading.history.Y, study.history.Y)
            study.retry([3])  # a finished trial becomes unfinished: everything is read anew
            assert reading.refresh()
            assert reading.ledger.spent.finished == 10
            study.ask()
            study.tell(3, {"loss": 0.0, "size": 1.0})
            assert not reading.refresh()
            assert reading.best() == study.read(3) == reading.read(3)


def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    with tuner.Study.create(SWEEP, tmp_path / "s") as study:
        fill(study, 3)
    writer = sqlite3.connect(tmp_path / "s" / "study.db", isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    writer.execute("UPDATE trials SET state = 'failed'")
    with tuner.Study.open(tmp_path / "s", read_only=True) as reading:
        assert reading.counts() == {"completed": 3}  # as it was before the transaction
    writer.execute("ROLLBACK")
    writer.close()


def test_curves_of_a_reader_come_from_the_store(tmp_path: Path) -> None:
    with tuner.Study.create(SWEEP, tmp_path / "s") as study:
        p = study.ask()
        study.report(p.trial, 1, {"loss": 0.5, "size": 2.0})
        study.report(p.trial, 2, {"loss": 0.25, "size": 2.0})
        study.tell(p.trial, {"loss": 0.25, "size": 2.0})
    with tuner.Study.open(tmp_path / "s", read_only=True) as reading:
        steps, values = reading.history.curve(p.trial)
    assert steps.tolist() == [1, 2]
    assert values.tolist() == [[-0.5, -2.0], [-0.25, -2.0]]


def test_looking_at_a_study_needs_no_sqlalchemy(tmp_path: Path) -> None:
    with tuner.Study.create(SWEEP, tmp_path / "s") as study:
        fill(study, 3)
    for verb in ("status", "best", "pareto"):
        code = f"import sys; from tuner.cli import app; app([{verb!r}, {str(tmp_path / 's')!r}], standalone_mode=False)"
        done = subprocess.run(
            [sys.executable, "-c", f"{code}; print(*sys.modules, file=sys.stderr)"],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env=environment(),
        )
        loaded = set(done.stderr.split())
        assert not loaded & {"sqlalchemy", "pandas", "torch", "scipy", "plotext", "matplotlib", "rich.live"}
