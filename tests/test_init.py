"""`tuner init` with answers: from flags, and asked for one by one; what it writes is valid, or nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tuner.cli import app
from typer.testing import CliRunner

from tests.terminal import needs_tmux, terminal
from tuner.errors import TunerError, UsageError
from tuner.sweep import load_sweep
from tuner.verbs.interview import Answers, interview, metric, parameter, sweep_of, write_sweep


def test_flags_make_a_sweep(tmp_path: Path) -> None:
    words = [
        "init",
        str(tmp_path / "digits"),
        "--command",
        "python train.py",
        "-m",
        "accuracy:maximize",
        "-m",
        "gb<=40",
    ]
    words += ["-p", "lr=1e-5..1e-1:log", "-p", "optim=adamw,sgd", "--trials", "20", "--time", "4h"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    file = tmp_path / "digits" / "sweep.yaml"
    assert done.stdout.strip() == str(file)
    sweep = load_sweep(file)
    assert sweep.name == "digits"
    assert sweep.command == ("python", "train.py", "${args}")
    assert sweep.to_dict()["metrics"] == {"accuracy": {"goal": "maximize"}, "gb": {"max": 40.0}}
    assert sweep.budget is not None
    assert (sweep.budget.trials, sweep.budget.time) == (20, 4 * 3600.0)
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert CliRunner().invoke(app, [*words, "--force"]).exit_code == 0


def test_without_answers_it_writes_the_example(tmp_path: Path) -> None:
    for words in ([], ["--yes"]):
        folder = tmp_path / f"mine{len(words)}"
        assert CliRunner().invoke(app, ["init", str(folder), *words]).exit_code == 0
        assert sorted(file.name for file in folder.iterdir()) == ["sweep.yaml", "train.py"]


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("lr=1e-5..1e-1:log", {"min": 1e-5, "max": 0.1, "log": True}),
        ("layers=1..12", {"min": 1, "max": 12}),
        ("width = 64..512:step=64", {"min": 64, "max": 512, "step": 64}),
        ("optim=adamw, sgd", {"values": ["adamw", "sgd"]}),
        ("bits=2,4,8:ordered", {"values": [2, 4, 8], "ordered": True}),
        ("amp=true,false", {"values": [True, False]}),
        ("shift=-1..-0.5", {"min": -1, "max": -0.5}),
        ("epochs=3", 3),
        ("file=a:b", "a:b"),
    ],
)
def test_parameters_are_written_shortly(text: str, entry: Any) -> None:
    name, found = parameter(text)
    assert name == text.partition("=")[0].strip()
    assert found == entry
    data = {"metrics": {"loss": "minimize"}, "parameters": {name: found, "x": {"min": 0.0, "max": 1.0}}}
    assert load_sweep(data).parameters


def test_metrics_are_written_shortly() -> None:
    assert metric("accuracy:max") == ("accuracy", {"goal": "maximize"})
    assert metric("val:loss:minimize") == ("val:loss", {"goal": "minimize"})
    assert metric("gb <= 40") == ("gb", {"max": 40})
    both = sweep_of(Answers(metrics=["ms:min", "ms<=9"], params=["x=0..1"]), Path("two"))
    assert both["metrics"] == {"ms": {"goal": "minimize", "max": 9}}


@pytest.mark.parametrize(
    "answers",
    [
        Answers(params=["x=0..1"]),
        Answers(metrics=["loss:minimize"]),
        Answers(metrics=["loss"], params=["x=0..1"]),
        Answers(metrics=["loss:less"], params=["x=0..1"]),
        Answers(metrics=["loss:minimize"], params=["x"]),
        Answers(metrics=["loss:minimize"], params=["x=1..0"]),
        Answers(metrics=["loss:minimize"], params=["x=0..1:log"]),
        Answers(metrics=["loss:minimize"], params=["x=a..b"]),
        Answers(metrics=["loss:minimize"], params=["x=0..1:quick"]),
        Answers(metrics=["loss:minimize"], params=["x=0..1", "x=0..2"]),
        Answers(metrics=["loss:minimize"], params=["x=0..1"], command="python 'train.py"),
        Answers(metrics=["loss:minimize"], params=["x=0..1"], command="a", objective="b:c"),
        Answers(metrics=["loss:minimize"], params=["x=0..1"], trials=0),
        Answers(metrics=["loss:minimize"], params=["x=0..1"], time="soon"),
        Answers(metrics=["loss:minimize"], params=["x=0..1"], command="python train.py ${missing}"),
    ],
)
def test_wrong_answers_write_nothing(answers: Answers, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_sweep(tmp_path / "new", answers)
    assert not (tmp_path / "new").exists()


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_any_words_give_a_sweep_or_an_error(one: str, two: str) -> None:
    for words in (Answers(metrics=[one], params=[two]), Answers(metrics=[f"{one}:max"], params=[f"{two}=0..1"])):
        try:
            data = sweep_of(words, Path("any"))
        except TunerError:
            continue
        assert load_sweep(data).to_dict()


def test_a_question_is_put_until_its_answer_can_be_understood() -> None:
    answers = iter(
        ["train:fit", "accuracy", "accuracy:max", "", "lr", "lr=0..1", "n=1..9", "", "many", "7", "soon", ""]
    )
    wrong: list[str] = []
    found = interview(lambda question, default: next(answers) or default, wrong.append)
    assert found == Answers(objective="train:fit", metrics=("accuracy:max",), params=("lr=0..1", "n=1..9"), trials=7)
    assert len(wrong) == 4
    assert interview(lambda question, default: "", wrong.append) is None


@needs_tmux
def test_a_person_is_asked(tmp_path: Path) -> None:
    with terminal(["init", "mine"], cwd=tmp_path, columns=110) as window:
        for answer, question in (
            ("python train.py", "What runs a trial"),
            ("loss:less", "What should get better"),
            ("loss:minimize", "a metric is written"),
            ("", "Another metric"),
            ("lr=1e-5..1e-1:log", "What may vary"),
            ("", "Another parameter"),
            ("", "How many trials"),
            ("", "How long at most"),
        ):
            window.until(lambda lines, question=question: any(question in line for line in lines))  # type: ignore[misc]
            window.type(answer, "Enter")
        assert window.until(lambda lines: "exit code 0" in lines)[-2] == "mine/sweep.yaml"
    sweep = load_sweep(tmp_path / "mine" / "sweep.yaml")
    assert sweep.budget is not None
    assert sweep.budget.trials == 60
    assert sweep.command == ("python", "train.py", "${args}")
