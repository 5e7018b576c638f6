"""Everything in the README is run: its commands, its sweep file, its Python, its tree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.surroundings import environment
from tuner.sweep import load_sweep
from tuner.verbs.preview import preview

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def run(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(arguments, cwd=cwd, env=environment(CI="1"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_main_job_prints_what_the_readme_shows(tmp_path: Path) -> None:
    command = blocks("bash")[0].strip().rpartition("&& ")[2].split()
    assert command[:3] == [".venv/bin/tuner", "run", "examples/sparsity.yaml"]
    shown = blocks("text")[0]
    printed = run(sys.executable, "-m", "tuner", "run", str(ROOT / command[2]), "-S", "budget.trials=8", cwd=tmp_path)
    for text in (shown, printed):
        assert re.search(r"^ trial +accuracy +kept_kparams +mflops +test.accuracy", text, re.MULTILINE)
        assert re.search(r"^ 0 baseline +0.98329 +136.01 ", text, re.MULTILINE)
        assert re.search(r"^front of \d+ in \d+/\d+ trials; hypervolume [\d.]+ from", text, re.MULTILINE)


def test_ci_runs_the_second_command() -> None:
    command = blocks("bash")[1].strip()
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert command in script
    assert re.search(r"\d+ passed", blocks("text")[1])


def test_init_run_best(tmp_path: Path) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "tuner").write_text(f'#!/bin/sh\nexec {sys.executable} -m tuner "$@"\n')
    (bin_folder / "tuner").chmod(0o755)
    (bin_folder / "python").symlink_to(sys.executable)
    script = f"export PATH={bin_folder}:$PATH\nset -e\n{blocks('bash')[2]}"
    assert float(run("bash", "-c", script, cwd=tmp_path).strip().splitlines()[-1]) > 0


def test_the_sweep_file_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(blocks("yaml")[0])
    assert load_sweep(file).restrictions
    assert "is valid" in preview(file, params=(), sets=(), suggestions=0)


def test_the_python_runs(tmp_path: Path) -> None:
    printed = run(sys.executable, "-c", blocks("python")[0], cwd=tmp_path)
    assert set(keys_of(printed)) == {"loss", "size"}


def keys_of(text: str) -> list[str]:
    return re.findall(r"'(\w+)':", text)


def test_the_tree_is_the_tree() -> None:
    tree = next(text for name, text in BLOCKS if not name and text.startswith("cli.py"))
    named = [name for line in tree.splitlines() for name in re.split(r" {3,}", line.strip())[0].split()]
    assert len(named) > 25
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "tuner" / name).exists(), name


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
