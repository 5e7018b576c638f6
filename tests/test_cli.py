"""The command line: what each verb prints, where, and with which exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tuner.cli import app
from typer.testing import CliRunner, Result

from tests.surroundings import environment
from tuner import catalog

ROOT = Path(__file__).resolve().parent.parent

FUNCTION = """
def f(config):
    return {"loss": config["x"] ** 2, "size": config["n"]}
def boom(config):
    raise RuntimeError("the data set is missing")
def nap(config):
    import time
    time.sleep(30)
    return {"loss": 1.0, "size": 1.0}
def learn(config, trial):
    import time
    for step in range(1, 9):
        trial.report(step, loss=config["x"] ** 2 + 1 / step)
        time.sleep(0.02)
    return {"loss": config["x"] ** 2, "size": 1.0}
def short_nap(config):
    import time
    time.sleep(1.0)
    return {"loss": config["x"] ** 2, "size": 1.0}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an objective in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "objective_here.py").write_text(FUNCTION)
    return tmp_path


def write(folder: Path, name: str = "sweep.yaml", **changes: Any) -> Path:
    sweep: dict[str, Any] = {
        "name": "first",
        "objective": "objective_here:f",
        "metrics": {"loss": "minimize", "size": "minimize"},
        "parameters": {"x": {"min": -1.0, "max": 1.0}, "n": {"min": 1, "max": 9}},
        "baseline": {"x": 0.5, "n": 9},
        "search": "random",
        "budget": {"trials": 8},
    }
    file = folder / name
    file.write_text(json.dumps({key: value for key, value in {**sweep, **changes}.items() if value is not None}))
    return file


def invoke(*args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(args))
    assert result.exit_code == code, f"{result.exit_code}: {result.stderr}\n{result.stdout}\n{result.exception}"
    return result


def as_json(*args: str, code: int = 0) -> Any:
    return json.loads(invoke(*args, code=code).stdout)


def test_a_sweep_from_the_file_to_the_front(here: Path) -> None:
    ran = invoke("run", str(write(here)), "--plain")
    assert "front of" in ran.stdout
    assert "[8/8] trial" in ran.stderr
    front = as_json("pareto", "--json")
    assert front["schema"] == "tuner.pareto/1"
    trials = as_json("trials", "first", "--json")["trials"]
    assert [trial["trial"] for trial in trials] == list(range(8))
    losses = {t["trial"]: (t["metrics"]["loss"], t["metrics"]["size"]) for t in trials}
    dominated = {
        a for a, (p, q) in losses.items() for r, s in losses.values() if r <= p and s <= q and (r < p or s < q)
    }
    assert {t["trial"] for t in front["trials"]} == set(losses) - dominated
    best = as_json("best", "--json")["trial"]
    assert best["trial"] in {t["trial"] for t in front["trials"]}
    assert float(invoke("best", "-f", "value", "--name", "x").stdout) == best["params"]["x"]


@pytest.mark.parametrize("format", ["table", "jsonl", "csv", "md"])
def test_formats(here: Path, format: str) -> None:
    invoke("run", str(write(here)), "-q")
    text = invoke("trials", "-f", format).stdout
    assert len(text.strip().splitlines()) >= 8
    assert "loss" in text


def test_running_again_continues_and_says_so(here: Path) -> None:
    sweep = write(here)
    invoke("run", str(sweep), "-q", "-S", "budget.trials=3")
    again = invoke("run", str(sweep), "--plain")
    assert "3/8 trials" in again.stderr
    assert as_json("status", "--json")["counts"] == {"completed": 8}


def test_a_changed_space_is_refused_with_the_difference(here: Path) -> None:
    invoke("run", str(write(here)), "-q")
    changed = write(here, parameters={"x": {"min": -2.0, "max": 1.0}, "n": {"min": 1, "max": 9}})
    refused = invoke("run", str(changed), "-q", code=2)
    assert "parameters.x" in refused.stderr
    assert "--new" in refused.stderr
    invoke("run", str(changed), "-q", "--adopt", "-S", "budget.trials=9")
    invoke("run", str(changed), "-q", "--new")
    assert {study["study"] for study in as_json("list", "--json")["studies"]} == {"first", "first.1"}


def test_overrides_fix_parameters_and_set_keys(here: Path) -> None:
    invoke("run", str(write(here, baseline=None)), "-q", "-P", "n=4", "-S", "budget.trials=2")
    assert [t["params"]["n"] for t in as_json("trials", "--json")["trials"]] == [4, 4]


def test_exit_code_3_when_nothing_is_feasible_or_the_target_is_missed(here: Path) -> None:
    impossible = write(here, metrics={"loss": {"goal": "minimize", "max": -1.0}, "size": {}})
    assert "no feasible trial" in invoke("run", str(impossible), "-q", code=3).stdout
    invoke("best", code=3)
    missed = write(here, name="missed.yaml", budget={"trials": 2, "target": {"loss": -5.0}})
    invoke("run", str(missed), "-q", "--new", code=3)


def test_exit_code_6_with_the_log_of_one_trial(here: Path) -> None:
    broken = invoke("run", str(write(here, objective="objective_here:boom")), "-q", code=6)
    assert "3 trials failed in the first minute" in broken.stderr
    assert "the data set is missing" in broken.stderr
    assert "Traceback" in invoke("logs", "0").stdout  # the trial's own, in its log
    retried = invoke("retry", "first", "--failed")
    assert "0, 1, 2" in retried.stdout
    invoke("run", str(write(here)), "-q", "--adopt")
    assert as_json("status", "--json")["counts"] == {"completed": 8}


def test_user_errors_are_exit_code_2_without_a_traceback(here: Path) -> None:
    sweep = write(here, metricz={"loss": "minimize"})
    for arguments in (
        ("run", str(sweep)),
        ("validate", "nothing.yaml"),
        ("run", str(write(here, name="a.yaml", search={"method": "random", "temperature": 3}))),
        ("run", str(write(here, name="b.yaml", search="gpp"))),
        ("run", str(write(here, name="c.yaml", objective="nonesuch"))),
        ("trials", "-f", "xml"),
    ):
        if arguments[0] == "trials":
            invoke("run", str(write(here, name="ok.yaml")), "-q")
        result = invoke(*arguments, code=2)
        assert result.stderr.startswith("error: ")
        assert "Traceback" not in result.stderr
    assert "metrics" in invoke("run", str(sweep), code=2).stderr


def test_storage_errors_are_exit_code_7(here: Path) -> None:
    assert "no study" in invoke("status", code=7).stderr
    invoke("run", str(write(here)), "-q")
    assert "first" in invoke("status", "nonesuch", code=7).stderr


def test_dry_run_and_validate_start_nothing(here: Path) -> None:
    script = here / "train.py"
    script.write_text("open('ran', 'w')")
    sweep = write(here, objective=None, command=[sys.executable, "train.py", "${args}"])
    shown = invoke("run", str(sweep), "--dry-run").stdout
    assert "trial 0 (baseline): x=0.5 n=9" in shown
    assert "train.py --x=0.5 --n=9" in shown
    assert "infinitely many" in invoke("validate", str(sweep)).stdout
    assert not (here / "ran").exists()
    assert not (here / ".tuner").exists()


def test_validate_tries_metric_patterns_on_a_sample(here: Path) -> None:
    metrics = {"loss": {"goal": "minimize", "stdout": "loss ([0-9.]+)"}, "size": {"stdout": "json"}}
    sweep = write(here, objective=None, command=["true"], metrics=metrics)
    (here / "log.txt").write_text('loss 0.9\nloss 0.5\n{"size": 3}\n')
    shown = invoke("validate", str(sweep), "--sample-output", "log.txt").stdout
    assert "loss: 0.5" in shown
    assert "size: 3" in shown


def test_init_gives_a_sweep_that_runs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    invoke("init", "mine")
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    invoke(
        "run",
        "mine/sweep.yaml",
        "-q",
        "-S",
        "budget.trials=4",
        "-S",
        f"command=[{sys.executable}, train.py, '${{args}}']",
    )
    assert as_json("best", "--json")["trial"]["metrics"]["loss"] >= 0
    assert "--force" in invoke("init", "mine", code=2).stderr


def test_ask_and_tell_from_outside(here: Path) -> None:
    sweep = write(here, objective=None, baseline=None)
    asked = as_json("ask", str(sweep), "--n", "2", "--json")
    assert [p["trial"] for p in asked["proposals"]] == [0, 1]
    assert "completed" in invoke("tell", "first", "0", "loss=0.5", "size=2").stdout
    assert "late" in invoke("tell", "first", "0", "loss=0.4", "size=2").stdout
    assert "failed" in invoke("tell", "first", "1", "--failed", "crash", "--message", "boom").stdout
    assert "must be a number" in invoke("tell", "first", "1", "loss=abc", code=2).stderr
    assert "size is missing" in invoke("tell", "first", str(as_json("ask", "first", "--json")["proposals"][0]["trial"]),
                                       "loss=1", code=2).stderr  # fmt: skip
    states = {t["trial"]: t["state"] for t in as_json("trials", "first", "--json")["trials"]}
    assert states == {0: "completed", 1: "failed", 2: "running"}


def test_enqueue_is_tried_next(here: Path) -> None:
    sweep = write(here)
    invoke("run", str(sweep), "-q", "-S", "budget.trials=2")
    invoke("enqueue", "first", "x=0.125", "n=3")
    invoke("run", str(sweep), "-q", "-S", "budget.trials=3")
    assert as_json("trials", "--json")["trials"][2]["params"] == {"x": 0.125, "n": 3}
    assert "n" in invoke("enqueue", "first", "m=3", code=2).stderr


def test_exports_and_imports(here: Path) -> None:
    import optuna
    import pandas as pd

    invoke("run", str(write(here)), "-q")
    invoke("export", "--to", "csv", "-o", "trials.csv")
    invoke("export", "--to", "parquet", "-o", "trials.parquet")
    frame = pd.read_csv("trials.csv", dtype=str)  # pandas reads floats with an error in the last digit
    assert list(frame["trial"].astype(int)) == list(range(8))
    assert list(pd.read_parquet("trials.parquet")["loss"]) == [float(text) for text in frame["loss"]]
    invoke("export", "--to", "optuna", "-o", "sqlite:///optuna.db")
    storage = optuna.storages.RDBStorage("sqlite:///optuna.db")
    study = optuna.load_study(study_name="first", storage=storage)
    ours = {t["trial"] for t in as_json("pareto", "--json")["trials"]}
    assert {t.number for t in study.best_trials} == ours
    storage.remove_session()
    storage.engine.dispose()
    invoke("run", str(write(here)), "-q", "--dir", "taker", "-S", "budget.trials=1")
    assert "added 8 of 8" in invoke("import", "trials.csv", "--study", "taker").stdout
    assert len(as_json("trials", "taker", "--json")["trials"]) == 9


def test_show_tells_why_and_how(here: Path) -> None:
    invoke("run", str(write(here)), "-q")
    shown = invoke("show", "3").stdout
    assert "proposed by random" in shown
    assert "wall_s" in shown
    assert as_json("show", "3", "--json")["trial"]["provenance"]["engine"] == "random"
    assert "no trial 99" in invoke("show", "99", code=2).stderr


def test_schema_and_doctor() -> None:
    assert as_json("schema")["type"] == "object"
    assert all(finding["ok"] for finding in as_json("doctor", "--json")["findings"])


def test_every_command_has_help_with_an_example() -> None:
    import typer

    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        assert f"Example: tuner {name}" in command.help, name


def begin(folder: Path, sweep: Path, *options: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tuner", "run", str(sweep), "--plain", *options],
        cwd=folder,
        env=environment(CI="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if (folder / ".tuner/first/sweep.yaml").is_file() and as_json("status", "--json")["counts"].get("running"):
            time.sleep(1.0)  # the objective itself is loaded and asleep
            return process
        time.sleep(0.1)
    raise AssertionError("the sweep did not start")


def test_one_interrupt_lets_running_trials_end(here: Path) -> None:
    process = begin(here, write(here, objective="objective_here:short_nap"))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Ctrl-C again" in errors
    assert "continue: tuner run" in errors
    assert set(as_json("status", "--json")["counts"]) == {"completed"}


@pytest.mark.parametrize(("signals", "code"), [((signal.SIGINT, signal.SIGINT), 130), ((signal.SIGTERM,), 143)])
def test_two_interrupts_or_sigterm_put_trials_back(here: Path, signals: tuple[signal.Signals, ...], code: int) -> None:
    process = begin(here, write(here, objective="objective_here:nap"))
    started = time.monotonic()
    for number in signals:
        process.send_signal(number)
        time.sleep(0.4)
    process.communicate(timeout=30)
    assert process.returncode == code
    assert time.monotonic() - started < 10  # seconds; the nap takes thirty
    assert as_json("status", "--json")["counts"] == {"waiting": 1}


def test_stop_from_another_terminal(here: Path) -> None:
    process = begin(here, write(here, objective="objective_here:short_nap"))
    assert "asked" in invoke("stop", "first").stdout
    process.communicate(timeout=30)
    assert process.returncode in (0, 3)
    assert "nothing is running" in invoke("stop", "first").stdout


def test_what_is_printed_continues_the_same_study(here: Path) -> None:
    import shlex

    sweep = write(here, name="my sweep.yaml")
    arguments = [str(sweep), "--dir", "my study", "-P", "n=4", "-S", "budget={trials: 3, target: {loss: -1}}"]
    done = invoke("run", *arguments, "--plain", code=3)
    assert "continue:" not in done.stderr  # its budget is spent
    look = done.stderr.split("look: ")[1]
    assert json.loads(invoke(*shlex.split(look)[1:], "--json").stdout)["study"] == "first"

    process = begin(here, write(here, objective="objective_here:nap"), "-P", "x=0.5")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    line = next(line for line in errors.splitlines() if line.startswith("continue: "))
    assert shlex.split(line)[1:] == ["tuner", "run", str(here / "sweep.yaml"), "-P", "x=0.5"]


def test_a_reader_that_has_seen_enough_is_no_error(here: Path) -> None:
    command = f"{sys.executable} -m tuner run {write(here)} --plain | true; exit ${{PIPESTATUS[0]}}"
    run = subprocess.run(
        ["bash", "-c", command], cwd=here, env=environment(CI="1"), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0
    assert "Traceback" not in run.stderr
    assert as_json("status", "--json")["counts"] == {"completed": 8}


def test_a_wide_table_is_made_to_fit_and_says_what_is_missing() -> None:
    from tuner.reporting.tables import render

    columns = ["trial", "loss", "keep", "failure"]
    rows = [{"trial": 1, "loss": 0.25, "keep": [0.123456] * 12, "failure": None}]
    whole = render(columns, rows, "table")
    assert "0.12346, 0.12346" in whole
    cut = render(columns, rows, "table", width=60)
    assert max(map(len, cut.splitlines())) <= 60
    assert "…" in cut
    narrow = render(columns, rows, "table", width=20, first=["failure"])
    assert "no room for loss, keep" in narrow
    assert "failure" in narrow
    assert max(map(len, narrow.splitlines()[:3])) <= 20
    wide = render(["name", "n"], [{"name": "模型\n[b]", "n": 1}, {"name": "abc", "n": 22}], "table").splitlines()
    assert wide[1:] == [" name        n", " " + "─" * 13, " 模型 [b]    1", " abc        22"]


def test_every_reading_verb_has_every_format(here: Path) -> None:
    invoke("run", str(write(here)), "-q")
    for verb in (["status"], ["show", "3"], ["list"], ["best"], ["pareto"], ["trials"]):
        for form in ("table", "json", "jsonl", "csv", "md"):
            text = invoke(*verb, "-f", form).stdout
            assert text.strip(), (verb, form)
            if form == "json":
                assert json.loads(text)["schema"].startswith("tuner.")
            elif form == "jsonl":
                assert all(json.loads(line) for line in text.splitlines())
    assert invoke("status", "-f", "value", "-n", "budget_trials").stdout == "8\n"
    assert "nothing called" in invoke("list", "-n", "nonsense", code=2).stderr


def test_an_unknown_state_is_refused_and_no_trial_is_said(here: Path) -> None:
    invoke("run", str(write(here)), "-q")
    assert "--state must be one of waiting, running" in invoke("trials", "--state", "done", code=2).stderr
    assert invoke("trials", "--state", "failed").stdout == "no trials\n"


def test_a_dry_run_shows_the_exact_command_and_environment(here: Path) -> None:
    sweep = write(here, objective=None, command=["python", "train.py", "${args}"], runner={"env": {"MODE": "fast one"}})
    shown = invoke("run", str(sweep), "--dry-run").stdout
    assert "infinitely many configurations, all feasible" in shown
    assert "  python train.py --x=0.5 --n=9\n" in shown
    assert "    MODE='fast one'\n" in shown
    assert "    TUNER_PARAM_N=9\n" in shown
    assert f"    TUNER_PARAMS={here}/.tuner/first/trials/0/params.json\n" in shown
    assert not (here / ".tuner").exists()


@pytest.mark.parametrize(
    ("objective", "complaint"),
    [
        ("objective_here:ff", "did you mean 'f'?"),
        ("objective_here", 'a Python function is written "package.module:function"'),
        ("nowhere:f", "ModuleNotFoundError: No module named 'nowhere'"),
        ("models/train.py:f", "write models.train:f"),
        ("broken_here:f", "broken_here.py"),
    ],
)
def test_an_objective_that_cannot_be_loaded_is_a_wrong_sweep(here: Path, objective: str, complaint: str) -> None:
    (here / "broken_here.py").write_text("def f(config:\n")
    refused = invoke("run", str(write(here, objective=objective)), "-q", code=2)
    assert complaint in refused.stderr
    assert not as_json("list", "--json")["studies"]


def test_a_program_that_does_not_exist_is_exit_code_8_and_leaves_nothing_running(here: Path) -> None:
    sweep = write(here, objective=None, command=["no-such-program", "${args}"])
    refused = invoke("run", str(sweep), "--plain", code=8)
    assert "ended: the command must start with a program that exists" in refused.stderr
    assert as_json("status", "--json")["counts"] == {"waiting": 1}


def test_what_is_enqueued_beyond_the_budget_says_so(here: Path) -> None:
    sweep = write(here)
    invoke("run", str(sweep), "-q", "-S", "budget.trials=2")
    assert invoke("enqueue", "first", "x=0.1").stdout.startswith("trial 2 waits; it starts when the budget is raised")
    invoke("run", str(sweep), "-q", "-S", "budget.trials=3")
    assert as_json("show", "2", "--json")["trial"]["params"]["x"] == 0.1


def test_status_tells_trials_that_run_from_those_that_died(here: Path) -> None:
    process = begin(here, write(here, objective="objective_here:nap"))
    assert "ended with the process" not in invoke("status").stdout
    process.kill()
    process.communicate(timeout=30)
    assert "1 of the running trials ended with the process that ran them" in invoke("status").stdout
    invoke("ask", "first", "--n", "2")  # takes over: the one that died, and a new one, are leased to nobody's process
    assert "ended with the process" not in invoke("status").stdout


def test_a_pruned_trial_is_not_called_infeasible(here: Path) -> None:
    sweep = write(here, objective="objective_here:learn", metrics={"loss": "minimize"},
                  early_stop={"rule": "asha", "eta": 2})  # fmt: skip
    lines = invoke("run", str(sweep), "--plain").stderr
    assert " pruned: loss=" in lines
    assert "infeasible" not in lines


def test_list_tells_what_there_is_of_a_kind() -> None:
    for kind in ("strategies", "objectives", "search-spaces", "kernels", "stopping"):
        result = CliRunner().invoke(app, ["list", kind, "--json"])
        assert result.exit_code == 0, result.output
        entries = json.loads(result.stdout)["entries"]
        assert [entry["name"] for entry in entries] == catalog.names(kind.replace("-", "_"))  # type: ignore[arg-type]
        assert all(entry["summary"] and not entry["summary"].startswith(entry["name"]) for entry in entries)
    result = CliRunner().invoke(app, ["list", "strategems"])
    assert result.exit_code == 2
    assert "known: studies, strategies" in result.stderr
