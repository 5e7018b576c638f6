"""The stdlib-only helper for scripts that run as trials."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tuner import trial_client


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNER_REPORT", str(tmp_path / "report.jsonl"))
    monkeypatch.setenv("TUNER_STOP", str(tmp_path / "stop"))
    monkeypatch.setenv("TUNER_PARAMS", str(tmp_path / "params.json"))
    monkeypatch.delenv("RANK", raising=False)
    return tmp_path


def lines(folder: Path) -> list[object]:
    return [json.loads(line) for line in (folder / "report.jsonl").read_text().splitlines()]


def test_a_report_is_one_line(trial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trial_client.report({"val/f1": 1}, step=3, loss=np.float64(0.5)) is False
    monkeypatch.setenv("RANK", "2")
    trial_client.report(latency=np.array([1.0, 2.0]), ok=True)
    assert lines(trial) == [
        {"metrics": {"val/f1": 1, "loss": 0.5}, "step": 3},
        {"metrics": {"latency": [1.0, 2.0], "ok": True}, "rank": 2},
    ]


def test_the_package_exports_it() -> None:
    import tuner

    assert tuner.report is trial_client.report and tuner.should_stop is trial_client.should_stop


def test_a_report_tells_when_to_stop(trial: Path) -> None:
    assert not trial_client.should_stop()
    (trial / "stop").touch()
    assert trial_client.should_stop() and trial_client.report(loss=1)


def test_parameters_are_read(trial: Path) -> None:
    (trial / "params.json").write_text('{"lr": 0.1, "keep": [1, 2]}')
    assert trial_client.params() == {"lr": 0.1, "keep": [1, 2]}


def test_outside_a_trial_values_are_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TUNER_REPORT", "TUNER_STOP", "TUNER_PARAMS"):
        monkeypatch.delenv(name, raising=False)
    assert trial_client.report(step=2, loss=0.5) is False
    assert capsys.readouterr().out == "step=2 loss=0.5\n"
    assert not trial_client.should_stop() and trial_client.params() == {}


def test_lines_of_several_writers_do_not_mix(trial: Path) -> None:
    def write(writer: int) -> None:
        for i in range(100):
            trial_client.report({"text": str(writer) * 5000}, step=i)

    writers = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(lines(trial)) == 400


def test_it_is_light() -> None:
    code = "import sys; before = set(sys.modules); import tuner.trial_client; print(*(set(sys.modules) - before))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in found if name.startswith("tuner")} == {"tuner", "tuner.trial_client"}
    assert not {"numpy", "torch", "pydantic", "sqlalchemy"} & set(found)
