"""`tuner pick`: members of a front whose best by weights, bounds and knee is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tuner.cli import app
from typer.testing import CliRunner, Result

from tests.test_explain import at, gave, make

FRONT = [
    (at(0.1), gave(0.5, 1.0, 1.0)),
    (at(0.2), gave(0.8, 2.0, 2.0)),
    (at(0.3), gave(0.9, 5.0, 3.0)),
    (at(0.4), gave(0.7, 4.0, 0.5)),  # dominated by trial 1, but with the least memory
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make(tmp_path, FRONT).close()
    return tmp_path


def pick(folder: Path, *args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["pick", str(folder), *args])
    assert result.exit_code == code, f"{result.exit_code}: {result.stderr}\n{result.stdout}\n{result.exception}"
    return result


def picked(folder: Path, *args: str) -> Any:
    found = json.loads(pick(folder, *args, "--json").stdout)
    assert found["schema"] == "tuner.pick/1"
    return found


@pytest.mark.parametrize(
    ("args", "trial"),
    [
        (("--weights", "acc=1"), 2),
        (("--weights", "acc=1,size=1"), 1),  # 0.75 + 0.75 against 0 + 1 and 1 + 0
        (("--weights", "acc=1", "--weights", "size=5"), 0),
        (("--max", "size=2.5"), 1),
        (("--min", "acc=0.85"), 2),
        (("--max", "size=5,mem=2.5"), 1),
        (("--max", "mem=0.7"), 3),  # off the front without the bound
        (("--knee",), 1),
        (("--knee", "--max", "size=1"), 0),
        (("--max", "size=2.5", "--weights", "size=1"), 0),
    ],
)
def test_the_member_that_the_rule_says(folder: Path, args: tuple[str, ...], trial: int) -> None:
    assert picked(folder, *args)["trial"]["trial"] == trial


def test_weights_tell_their_scores(folder: Path) -> None:
    found = picked(folder, "--weights", "acc=1,size=1")
    assert found["scores"] == {"2": 0.5, "1": pytest.approx(0.75), "0": 0.5}
    assert "then trial" in " ".join(found["why"])


def test_formats_of_the_reading_verbs(folder: Path) -> None:
    assert float(pick(folder, "--knee", "-f", "value", "-n", "x").stdout) == pytest.approx(0.2)
    assert "knee" in pick(folder, "--knee").stdout
    assert pick(folder, "--knee", "-f", "md").stdout.startswith("| trial |")
    assert pick(folder, "--knee", "-f", "csv").stdout.count("\n") == 2
    assert json.loads(pick(folder, "--knee", "-f", "jsonl").stdout)["trial"] == 1


def test_nothing_qualifies(folder: Path, tmp_path: Path) -> None:
    none = pick(folder, "--max", "size=0.5", "--min", "acc=0.1", code=3)
    assert none.stdout == ""
    assert "no feasible trial has acc >= 0.1 and size <= 0.5" in none.stderr
    assert "the least size is 1 (trial 0)" in none.stderr
    make(tmp_path / "empty", []).close()
    assert "no feasible trial yet" in pick(tmp_path / "empty", "--knee", code=3).stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "say how to choose"),
        (("--knee", "--weights", "acc=1"), "two ways"),
        (("--weights", "acc"), "name=number"),
        (("--weights", "acc=-1"), ">= 0"),
        (("--weights", "acc=0"), "above 0"),
        (("--weights", "mem=1"), "no metric with a goal called 'mem'"),
        (("--max", "sise=1"), "did you mean 'size'"),
        (("--max", "size=nan"), "name=number"),
    ],
)
def test_mistakes_are_told(folder: Path, args: tuple[str, ...], message: str) -> None:
    assert message in pick(folder, *args, code=2).stderr
