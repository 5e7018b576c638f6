"""Shell completion, through the environment by which bash, zsh and fish ask for it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import tuner
from tests.surroundings import environment

SWEEP = {
    "metrics": {"loss": "minimize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}},
    "search": "random",
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies; the later one has trials of every kind."""
    folder = tmp_path_factory.mktemp("here")
    tuner.Study.create(SWEEP, folder / ".tuner" / "digits").close()
    with tuner.Study.create(SWEEP, folder / ".tuner" / "dogs & cats") as study:
        for p in study.ask(13):
            if p.trial % 5 == 1:
                study.fail(p.trial, "crash", "boom")
            elif p.trial < 12:
                study.tell(p.trial, {"loss": 1.0})
    (folder / ".tuner" / "notes").mkdir()
    return folder


def complete(here: Path, shell: str, line: str) -> list[str]:
    """What a shell would propose for a line that ends where Tab was pressed."""
    words = line.split(" ")
    asked = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tuner"],
        cwd=here,
        env=environment(_TUNER_COMPLETE=f"complete_{shell}", **asked),
        capture_output=True,
        text=True,
        check=False,
    )
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert not loaded & {"numpy", "sqlalchemy", "torch", "pandas", "ruamel", "plotext"}
    if shell == "zsh":
        return [name for name, _ in re.findall(r'"([^"]*)":"([^"]*)"', done.stdout)] or re.findall(
            r'"([^"]+)"', done.stdout
        )
    return [line.split("\t")[0] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_studies_and_trials_are_proposed(here: Path, shell: str) -> None:
    assert complete(here, shell, "tuner status di") == ["digits"]
    assert complete(here, shell, "tuner show 1") == ["12", "11", "10", "1"]


def test_trials_are_those_that_the_verb_takes(here: Path) -> None:
    assert complete(here, "bash", "tuner retry digits ") == []
    assert complete(here, "fish", "tuner show 9") == ["9"]


def test_words_are_proposed(here: Path) -> None:
    assert complete(here, "bash", "tuner plot p") == ["progress", "parallel"]
    assert complete(here, "bash", "tuner best -f js") == ["json", "jsonl"]
    assert "watch" in complete(here, "bash", "tuner w")


def test_where_there_is_nothing_nothing_is_proposed(tmp_path: Path) -> None:
    assert complete(tmp_path, "bash", "tuner status ") == []
    assert complete(tmp_path, "bash", "tuner show ") == []
    torn = tmp_path / ".tuner" / "torn"
    torn.mkdir(parents=True)
    (torn / "sweep.yaml").touch()
    (torn / "study.db").write_bytes(b"not a database")
    assert complete(tmp_path, "bash", "tuner show ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_that_a_shell_loads_is_printed(here: Path, shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tuner"],
        cwd=here,
        env=environment(_TUNER_COMPLETE=f"source_{shell}"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"complete_{shell}" in done.stdout
    assert "_TUNER_COMPLETE" in done.stdout
