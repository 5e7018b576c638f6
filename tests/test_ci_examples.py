"""The workflows of `examples/ci`: they parse, and their commands run, on a repository of their own and a tiny sweep."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from ruamel.yaml import YAML

from tests.surroundings import environment

CI = Path(__file__).resolve().parent.parent / "examples" / "ci"


def parsed(name: str) -> Any:
    return YAML(typ="safe").load((CI / name).read_text(encoding="utf-8"))


def github_commands() -> list[str]:
    steps = parsed("github.yml")["jobs"]["gate"]["steps"]
    return [step["run"] for step in steps if "run" in step and step["name"] != "Install"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with the example at its place, its own remote; `tuner` on the PATH beside it."""
    folder = tmp_path / "repository"
    shutil.copytree(CI, folder / "examples" / "ci", ignore=shutil.ignore_patterns("__pycache__"))
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "Start"],
                  ["remote", "add", "origin", str(folder)]):  # fmt: skip
        git = ["git", "-c", "user.name=n", "-c", "user.email=e", *words]
        subprocess.run(git, cwd=folder, check=True, capture_output=True)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "tuner").write_text(f'#!/bin/sh\nexec {sys.executable} -m tuner "$@"\n')
    (programs / "tuner").chmod(0o755)
    return folder


def shell(commands: list[str], folder: Path, **variables: str) -> str:
    """What the commands print, in a shell that stops at the first that fails, as both services have it."""
    path = f"{folder.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    around = environment(PATH=path, CI="1", OMP_NUM_THREADS="1", TRIALS="1", MAX_REGRESS="900%", **variables)
    script = "\n".join(["set -e", *commands])
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=around, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_github_workflow(checkout: Path, tmp_path: Path) -> None:
    workflow = parsed("github.yml")
    job = workflow["jobs"]["gate"]
    assert workflow["on" if "on" in workflow else True] == "pull_request"
    assert workflow["permissions"] == {"contents": "read"}
    assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    files = {name: str(tmp_path / name) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    printed = shell(github_commands(), checkout, TARGET="HEAD", GITHUB_ACTIONS="true", **files)
    assert "pass at confidence 0.95" in printed
    names = [case.get("name") for case in ET.parse(checkout / "gate.xml").iter("testcase")]
    assert names == ["latency_ms", "table_kb <= 64.0"]
    assert (checkout / "gate.md").read_text().startswith("<!-- tuner-gate -->\n### tuner gate: pass\n")
    assert "| pass | latency_ms (minimize) |" in Path(files["GITHUB_STEP_SUMMARY"]).read_text()
    assert Path(files["GITHUB_OUTPUT"]).read_text().startswith("verdict<<")


def test_the_gitlab_job(checkout: Path) -> None:
    job = parsed("gitlab.yml")["tune"]
    assert job["artifacts"]["reports"] == {"junit": "gate.xml"}
    assert job["allow_failure"] == {"exit_codes": [5]}
    assert set(job) <= {
        "image",
        "rules",
        "timeout",
        "variables",
        "before_script",
        "script",
        "allow_failure",
        "artifacts",
    }
    tuner = [line.split() for line in job["script"] if line.startswith("tuner ")]
    assert tuner == [line.split() for line in github_commands() if line.startswith("tuner ")]  # which are run above
    rest = [line for line in job["script"] if not line.startswith("tuner ")]
    shell(rest, checkout, CI_MERGE_REQUEST_TARGET_BRANCH_NAME="main")
    assert (checkout.parent / "target/examples/ci/sweep.yaml").is_file()
